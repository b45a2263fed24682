"""The environment `taubench`: retail and airline of a checkout of tau-bench (v1), loaded inside the world's jail.

Its packages import a client for language models on the way to the data; they are replaced by empty ones that only have
a place, so that nothing but the data, the tools and the tasks is imported.
"""

import importlib
import json
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sca_cli import Environment, MissingError, PluginError, Tool, ToolError
from sca_suites.loading import (
    RECORDS,
    carrying_out,
    chosen,
    evaluates_code,
    fingerprint,
    first_line,
    rounded_arithmetic,
    tool_from_schema,
)

SPLITS = {"retail": ("test", "train", "dev"), "airline": ("test",)}
_READING = ("get_", "find_", "list_", "search_", "calculate", "think", "transfer_")
"""How the names of tools begin that change nothing; the benchmark does not mark them."""


class TauBench(Environment):
    """A domain's tools over its database; every seed has the same state.

    Args:
        path: a checkout of tau-bench, or its directory tau_bench.
        domain: retail or airline.
        split: of the tasks: test, and for retail train or dev.
        listing: yes to have the tasks instead: no tools, and `state` returns them.
    """

    customer = True

    def __init__(self, path: str = "", domain: str = "retail", split: str = "test", listing: str = "") -> None:
        self._name = f"tau_bench.envs.{chosen('domain', domain, tuple(SPLITS))}"
        folder = _folder(path)
        _place_packages(folder)
        self._listing: dict[str, Any] | None = None
        if listing == "yes":
            options = {"path": path, "domain": domain}
            self._listing = {
                "data": f"tau-bench v1 {fingerprint(folder / 'envs' / domain)}, {domain}, split {split}",
                "checker": "state",
                "records": RECORDS[domain],
                "tasks": self._specs(chosen("split", split, SPLITS[domain]), options),
            }
        self.policy = "" if self._listing else str(self._import("wiki").WIKI)
        self._theirs = {} if self._listing else _by_name(self._import("tools").ALL_TOOLS)
        self._fresh = False
        self.reset(0)

    def reset(self, seed: int) -> None:  # noqa: ARG002  the benchmark has one state
        """Load the database, unless it is as it was loaded."""
        if not self._fresh:
            self._data = self._import("data").load_data()
            self._fresh = True

    def state(self) -> Any:
        """Return the database, or the tasks."""
        return self._listing or self._data

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the domain's tools."""
        return {name: self._tool(their) for name, their in self._theirs.items()}

    def _tool(self, their: Any) -> tuple[Tool, Callable[..., Any]]:
        schema = their.get_info()["function"]
        tool, signature = tool_from_schema(schema, writes=not schema["name"].startswith(_READING))
        if evaluates_code(their.invoke):
            return tool, rounded_arithmetic
        return tool, carrying_out(partial(self._call, their, tool), signature)

    def _call(self, their: Any, tool: Tool, arguments: dict[str, Any]) -> Any:
        self._fresh = self._fresh and not tool.writes
        text = their.invoke(data=self._data, **arguments)
        if isinstance(text, str) and text.startswith("Error"):
            raise ToolError(text.removeprefix("Error:").strip())
        return _decoded(text)

    def _import(self, name: str) -> Any:
        """Import a module of the domain.

        Raises:
            MissingError: a package is absent.
            PluginError: it cannot be imported.
        """
        try:
            return importlib.import_module(f"{self._name}.{name}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("tau_bench"):
                raise PluginError(f"this checkout of tau-bench has no {error.name}") from None
            raise MissingError(f"tau-bench needs the package '{error.name}'", f"pip install {error.name}") from None
        except Exception as error:  # noqa: BLE001  foreign code may fail in any way
            raise PluginError(f"{self._name}.{name} cannot be loaded: {first_line(error)}") from None

    def _specs(self, split: str, options: dict[str, str]) -> list[dict[str, Any]]:
        return [_spec(str(place), task, options) for place, task in enumerate(self._tasks(split))]

    def _tasks(self, split: str) -> list[Any]:
        found = vars(self._import(f"tasks_{split}"))
        for name in (f"TASKS_{split.upper()}", "TASKS"):
            if name in found:
                return list(found[name])
        raise PluginError(f"{self._name}.tasks_{split} has no TASKS")


def _folder(path: str) -> Path:
    """Return the package's directory within a checkout.

    Raises:
        MissingError: there is none.
    """
    if not path.startswith("/"):
        raise MissingError("no checkout of tau-bench named", "path=DIR, an absolute path")
    for folder in (Path(path) / "tau_bench", Path(path)):
        if (folder / "envs").is_dir():
            return folder
    raise MissingError(f"{path} holds no tau-bench", "it has tau_bench/envs")


def _place_packages(folder: Path) -> None:
    for name in ("tau_bench", "tau_bench.envs", "tau_bench.envs.retail", "tau_bench.envs.airline"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package


def _by_name(classes: list[Any]) -> dict[str, Any]:
    try:
        return {their.get_info()["function"]["name"]: their for their in classes}
    except (AttributeError, KeyError, TypeError) as error:
        raise PluginError(f"the tools cannot be read: {first_line(error)}") from None


def _spec(name: str, task: Any, options: dict[str, str]) -> dict[str, Any]:
    try:
        actions = [{"name": action.name, "arguments": dict(action.kwargs)} for action in task.actions]
        return {
            "name": name,
            "instruction": task.instruction,
            "options": options,
            "actions": [action for action in actions if action["name"] != "respond"],
            "outputs": list(task.outputs),
        }
    except (AttributeError, TypeError) as error:
        raise PluginError(f"a task cannot be read: {first_line(error)}") from None


def _decoded(text: Any) -> Any:
    """Return what a tool returned, as data where it is the text of a JSON object or list."""
    if isinstance(text, str) and text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
