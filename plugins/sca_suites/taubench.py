"""The environment `taubench`: retail and airline of a checkout of tau-bench (v1), loaded inside the world's jail.

The `__init__` files of its packages import a client for language models. We replace these packages with empty ones that
have only a path, so that only the data, the tools and the tasks are imported.
"""

import importlib
import inspect
import json
import sys
import types
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from sca_cli import Environment, MissingError, RecordError, Shown, Tool, ToolError
from sca_cli.toolkit.tables import Each, misfit
from sca_suites.faults import absent, reading
from sca_suites.loading import (
    RECORDS,
    UNLIMITED_TOKENS,
    by_name,
    carrying_out,
    chosen,
    evaluates_code,
    fingerprint,
    first_line,
    rounded_arithmetic,
    tool_from_schema,
)

SOURCE = "a whole checkout of github.com/sierra-research/tau-bench"
SPLITS = {"retail": ("test", "train", "dev"), "airline": ("test",)}
_PACKAGES = ("data", "tools")
"""Modules of a domain that are directories."""
_ENDING = ("transfer_to_human_agents",)
"""Names of the tools that end an episode (`terminate_tools` in the benchmark)."""
_PUBLISHED = {
    "actions": "json",
    "attempts": 1,
    "temperature": 0.0,
    "turns": 30,
    "max_tokens": UNLIMITED_TOKENS,
    "user_temperature": 1.0,
}
"""The defaults of `run.py` and of its agent. For the user it sets no temperature; servers then use 1."""
_READING = ("get_", "find_", "list_", "search_", "calculate", "think", "transfer_")
"""Prefixes of the names of tools that only read; the benchmark does not mark them."""


class TauBench(Environment):
    """Offer a domain's tools over its database; every seed has the same state.

    Args:
        path: a checkout of tau-bench, or its directory tau_bench.
        domain: retail or airline.
        split: the listed tasks: test; for retail also train or dev.
        listing: yes to list the tasks: then there are no tools, and `state` returns the tasks.
    """

    customer = True
    checks_arguments = True

    def __init__(self, path: str = "", domain: str = "retail", split: str = "test", listing: str = "") -> None:
        self._name = f"tau_bench.envs.{chosen('domain', domain, tuple(SPLITS))}"
        self._domain = domain
        self._folder = folder = _folder(path)
        _place_packages(folder)
        self._listing: dict[str, Any] | None = None
        if listing == "yes":
            options = {"path": path, "domain": domain}
            self._listing = {
                "data": f"tau-bench v1 {fingerprint(folder / 'envs' / domain)}, {domain}, split {split}",
                "checker": "state",
                "records": RECORDS[domain],
                "words": {"unknown_tool": "Unknown action {tool}"},
                "published": _PUBLISHED if split == "test" else None,
                "tasks": self._specs(chosen("split", split, SPLITS[domain]), options),
            }
        self.policy = "" if self._listing else str(self._value("wiki", ("WIKI",), str, "a text"))
        self._theirs = {} if self._listing else self._tools_by_name()
        self._fresh = False
        self.reset(0)

    def reset(self, seed: int) -> None:  # noqa: ARG002  the benchmark has one state
        """Load the database, unless it is unchanged since it was loaded.

        Raises:
            MissingError, PluginError, RecordError: as `reading`.
        """
        self._ended = False
        if not self._fresh:
            load = self._value("data", ("load_data",), Callable, "a function")
            with self._reading():
                self._data = load()
            if not isinstance(self._data, dict):
                raise RecordError(f"{self._file('data')}: load_data should return tables by name")
            for name in RECORDS[self._domain]:
                file = self._place("data") / f"{name}.json"
                if wrong := misfit(self._data, {name: Each({})}, ""):
                    raise RecordError(f"{file}: {wrong}") if file.exists() else absent(file, SOURCE)
            self._fresh = True

    def state(self) -> Any:
        """Return the database; with the option `listing=yes`, return the tasks instead."""
        return self._listing or self._data

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the domain's tools."""
        return {name: self._tool(their) for name, their in self._theirs.items()}

    def _tool(self, their: Any) -> tuple[Tool, Callable[..., Any]]:
        schema = their.get_info()["function"]
        name = schema["name"]
        tool, signature = tool_from_schema(schema, writes=not name.startswith(_READING), ends=name in _ENDING)
        if evaluates_code(their.invoke):
            return tool, carrying_out(rounded_arithmetic, signature)
        return tool, carrying_out(partial(self._call, their, tool, signature), signature)

    def _call(self, their: Any, tool: Tool, signature: inspect.Signature, *args: Any, **kwargs: Any) -> Any:
        arguments = by_name(signature, args, kwargs)
        if self._ended and tool.writes:
            raise ToolError("the conversation has ended")
        self._ended = self._ended or tool.ends
        self._fresh = self._fresh and not tool.writes
        text = their.invoke(data=self._data, **arguments)
        if not isinstance(text, str):
            return text
        if text.startswith("Error"):
            raise ToolError(text.removeprefix("Error:").strip())
        return Shown(_decoded(text), text)

    def _place(self, *names: str) -> Path:
        return self._folder.joinpath("envs", self._domain, *names)

    def _reading(self) -> AbstractContextManager[None]:
        return reading("tau_bench", self._folder, SOURCE, self._place())

    def _file(self, module: str) -> Path:
        return self._place(module, "__init__.py") if module in _PACKAGES else self._place(f"{module}.py")

    def _value(self, module: str, names: tuple[str, ...], kind: Any, words: str) -> Any:
        """Import a module of the domain and return one of its values.

        Args:
            module: the module's name.
            names: possible names of the value; the first one that the module defines is used.
            kind: the type of the value.
            words: the type in words, for the error message.

        Raises:
            MissingError, PluginError, RecordError: as `reading`; or the module defines none of the names, or the value
                has another type.
        """
        file = self._file(module)
        if not file.is_file():
            raise absent(file, SOURCE)
        with self._reading():
            variables = vars(importlib.import_module(f"{self._name}.{module}"))
        name = next((name for name in names if name in variables), None)
        if name is None:
            raise RecordError(f"{file} has no {' or '.join(names)}")
        if not isinstance(variables[name], kind):
            raise RecordError(f"{file}: {name} should be {words}, not {variables[name]!r:.60}")
        return variables[name]

    def _tools_by_name(self) -> dict[str, Any]:
        classes = self._value("tools", ("ALL_TOOLS",), list | tuple, "a list of tools")
        try:
            return {their.get_info()["function"]["name"]: their for their in classes}
        except (AttributeError, KeyError, TypeError) as error:
            raise RecordError(f"{self._file('tools')}: the tools cannot be read: {first_line(error)}") from None

    def _specs(self, split: str, options: dict[str, str]) -> list[dict[str, Any]]:
        module = f"tasks_{split}"
        tasks = self._value(module, (module.upper(), "TASKS"), list | tuple, "a list of tasks")
        try:
            return [_spec(str(place), task, options) for place, task in enumerate(tasks)]
        except (AttributeError, TypeError, ValueError) as error:
            raise RecordError(f"{self._file(module)}: a task cannot be read: {first_line(error)}") from None


def _folder(path: str) -> Path:
    """Return the package's directory within a checkout.

    Raises:
        MissingError: the checkout does not contain the package.
    """
    if not path.startswith("/"):
        raise MissingError("no checkout of tau-bench named", "taubench:PATH names it, as in taubench:tau-bench")
    for folder in (Path(path) / "tau_bench", Path(path)):
        if (folder / "envs").is_dir():
            return folder
    raise MissingError(f"{path} holds no tau-bench", "it has tau_bench/envs")


def _place_packages(folder: Path) -> None:
    for name in ("tau_bench", "tau_bench.envs", "tau_bench.envs.retail", "tau_bench.envs.airline"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package


def _spec(name: str, task: Any, options: dict[str, str]) -> dict[str, Any]:
    """Return a task as plain data, without messages, and without transfers before other actions.

    The benchmark's replay of the reference skips transfers, and ours could not continue after one.
    """
    given = [action for action in task.actions if action.name != "respond"]
    last = len(given) - 1
    kept = [action for place, action in enumerate(given) if place == last or action.name not in _ENDING]
    actions = [{"name": action.name, "arguments": dict(action.kwargs)} for action in kept]
    return {
        "name": name,
        "instruction": task.instruction,
        "options": options,
        "actions": actions,
        "outputs": list(task.outputs),
    }


def _decoded(text: str) -> Any:
    """Return the result of a tool; parse text that is a JSON object or list."""
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
