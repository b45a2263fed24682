"""`verifiers`: a Python package with a taskset for Prime Intellect's verifiers 0.4 (`verifiers.v1`).

The tool server of a rollout holds the world, and sends its calls to the state of the rollout. The reward makes these
calls again in a new world, which has the same state because it has the same seed, and runs the check there.
"""

import json
from pathlib import Path

from sca_cli.exports import trl
from sca_cli.exports.attempt import LOST, opening
from sca_cli.exports.source import ExportSource
from sca_cli.records import encode

_PROJECT = """\
[project]
name = "{distribution}"
version = "0.1.0"
description = "{count} verified tasks, exported by sca"
requires-python = ">=3.12"
dependencies = ["verifiers>=0.4,<0.5", "sca-cli"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["{name}"]
"""

_README = """\
# {name}: tasks for verifiers

Written by `sca export verifiers`: {count} tasks. Install the package beside sca-cli, then prove each task: its solution
scores 1, each failure case 0, and doing nothing 0.

```sh
pip install -e .
vf-validate {distribution} --runtime.type subprocess
vf-eval {distribution} -m MODEL
```

{lost}
"""

_TASKSET = '''\
"""The tasks, their reward and their validation; written by `sca export verifiers`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import verifiers.v1 as vf

from sca_cli.exports.attempt import Attempt
from {name}.data import Row, Played
from {name}.servers.tools import Tools


class Config(vf.TaskConfig):
    """The configuration of the tool server."""

    tools: vf.ToolsetConfig = vf.ToolsetConfig()


class VerifiedTask(vf.Task[Row, Played, Config]):
    """A task with its own check."""

    @property
    def key(self) -> str:
        return str(self.data.id)

    @classmethod
    def toolsets(cls, config: Config) -> list[vf.Toolset]:
        return [Tools(config.tools)]

    @vf.reward(weight=1.0)
    async def solved(self, trace: vf.Trace) -> float:
        """Make the calls of the rollout again, and run the check."""
        return await asyncio.to_thread(self._score, trace.state)

    def _score(self, played: Played) -> float:
        with Attempt(self.data.record) as attempt:
            for tool, arguments in played.calls:
                attempt.call(tool, arguments)
            if played.answered:
                attempt.answer(played.answer)
            return _judged(attempt)

    async def validate(self, runtime: vf.Runtime) -> bool:
        """Return whether the solution scores 1 and each failure case 0."""
        return await asyncio.to_thread(self._holds)

    def _holds(self) -> bool:
        with Attempt(self.data.record) as attempt:
            programs = [attempt.task.solution, *attempt.task.failure_cases]
        scores = []
        for program in programs:
            with Attempt(self.data.record) as attempt:
                attempt.run(program)
                scores.append(_judged(attempt))
        return scores == [1.0] + [0.0] * (len(programs) - 1)


def _judged(attempt: Attempt) -> float:
    reward = attempt.reward()
    if reward is None:
        raise RuntimeError("the attempt cannot be judged: its check or its environment failed")
    return reward


class TasksetSettings(vf.TasksetConfig):
    """The configuration of the task set."""

    task: Config = Config()


class VerifiedTaskset(vf.Taskset[VerifiedTask, TasksetSettings]):
    """The tasks of tasks.jsonl."""

    def load(self) -> Iterator[VerifiedTask]:
        with Path(__file__).with_name("tasks.jsonl").open(encoding="utf-8") as file:
            for line in file:
                yield VerifiedTask(Row.model_validate_json(line), self.config.task)
'''

_DATA = '''\
"""The data of a task, and of a rollout; written by `sca export verifiers`."""

from typing import Any

import verifiers.v1 as vf


class Row(vf.TaskData):
    """A task: what the model reads, and the task record with its check."""

    environment: str
    record: str


class Played(vf.State):
    """What the model did: tools with their arguments, and the answer."""

    calls: list[tuple[str, dict[str, Any]]] = []
    answered: bool = False
    answer: Any = None
'''

_TOOLS = '''\
"""The tool server of one rollout; written by `sca export verifiers`."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import verifiers.v1 as vf

from {name}.data import Played, Row
from {name}.environments import ENVIRONMENTS

_NO_TOOLS = ("reset", "get_reward")


class Tools(vf.Toolset[vf.ToolsetConfig, Played]):
    """The tools of the environment of the task, in its world."""

    TOOL_PREFIX = None

    async def setup_task(self, task: Row) -> None:
        """Start the world of the task."""
        self._environment = ENVIRONMENTS[task.environment](self._record)
        self._environment.reset(task.record)
        self._played = Played()

    def _record(self, calls: list[tuple[str, dict[str, Any]]], answered: bool, answer: Any) -> None:
        self._played = Played(calls=calls, answered=answered, answer=answer)

    def register(self, mcp: Any) -> None:
        """Offer each public method of the environment as a tool."""
        for name, _ in inspect.getmembers(type(self._environment), inspect.isfunction):
            if name[0] != "_" and name not in _NO_TOOLS:
                method = getattr(self._environment, name)
                mcp.add_tool(self._with_state(self._sent(method)), name=name, description=inspect.getdoc(method))

    def _sent(self, method: Callable[..., str]) -> Callable[..., str]:
        """Return a function that calls a method, and sends what was done so far to the state of the rollout."""

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> str:
            text = method(*args, **kwargs)
            self.state.calls = self._played.calls
            self.state.answered, self.state.answer = self._played.answered, self._played.answer
            return text

        call.__signature__ = inspect.signature(method)
        return call


if __name__ == "__main__":
    Tools.run()
'''


def export(source: ExportSource, folder: Path) -> int:
    """Write the package."""
    name = source.name
    package = folder / name
    (package / "servers").mkdir(parents=True)
    environments = trl.Environments(source)
    count = 0
    with (package / "tasks.jsonl").open("w", encoding="utf-8") as file:
        for task in source.tasks():
            system, user = opening(environments.policy(task.env), task.instruction)
            row = {"id": task.id, "prompt": user["content"], "system_prompt": system["content"]}
            row |= {"environment": environments.name(task.env), "record": encode(task).decode()}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    distribution = name.replace("_", "-")
    files = {
        folder / "pyproject.toml": _PROJECT.format(distribution=distribution, name=name, count=count),
        folder / "README.md": _README.format(name=name, distribution=distribution, count=count, lost=LOST),
        package
        / "__init__.py": f'"""Verified tasks, exported by sca."""\n\nfrom {name}.taskset import VerifiedTaskset\n\n'
        '__all__ = ["VerifiedTaskset"]\n',
        package / "taskset.py": _TASKSET.format(name=name),
        package / "data.py": _DATA,
        package / "environments.py": environments.source_text(),
        package / "servers" / "__init__.py": "",
        package / "servers" / "tools.py": _TOOLS.format(name=name),
    }
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    source.notes.append(LOST)
    return count
