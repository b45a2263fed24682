"""Attempt an exported task from another system: exported packages import `Attempt`, and nothing else of sca.

Covered: the tools, their state and the check run in the jail of sca, in processes of their own, under the limits of the
task. Not covered: what the other system runs itself, such as the model and its agent. Where the jail does not hold,
`Attempt` raises `SandboxError` and runs nothing.
"""

import atexit
import json
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from sca_cli.errors import RecordError
from sca_cli.records import JSON, Observation, Outcome, Task, TaskLimits, decode
from sca_cli.sandbox import Limits, Sandbox

HOW = (
    "Solve the task with the tools. When you have the answer, call final_answer with it; that ends the task. "
    "If the task asks for no answer, call final_answer with null when it is done."
)
"""The part of the system message that explains how an attempt ends."""

LOST = (
    "Tools and checks run in child processes in the jail of sca: install sca-cli where the package runs; 'sca doctor' "
    "must pass there. Lost outside sca: the package starts the environments that its tasks name without asking for "
    "--allow-env, and nothing limits the memory of all attempts together."
)
"""What protection an exported package keeps, and what it loses."""

_sandboxes: dict[Limits, Sandbox] = {}
_lock = threading.Lock()


def opening(policy: str, instruction: str) -> list[dict[str, Any]]:
    """Return the first messages of an attempt by native tool calls: policy and instruction."""
    system = f"{policy.strip()}\n\n{HOW}" if policy.strip() else HOW
    return [{"role": "system", "content": system}, {"role": "user", "content": instruction}]


def result_text(call: Observation) -> str:
    """Return the text of a tool message: the error, the text that the tool returned, or its value as JSON."""
    if call.error:
        return f"Error: {call.error}"
    return call.result if isinstance(call.result, str) else json.dumps(call.result, ensure_ascii=False)


class Attempt:
    """One attempt at a task: its world, and at the end its check.

    Args:
        record: the task record as JSON text.

    Raises:
        RecordError: the text is no task record.
        MissingError, PluginError, SandboxError: the environment or the jail does not start.
    """

    def __init__(self, record: str) -> None:
        self.task = _task(record)
        self.calls: list[tuple[str, dict[str, JSON]]] = []
        """Tools that were called, with their arguments."""
        self.answered = False
        self.given: JSON = None
        """Whether there is an answer, and the answer."""
        self._outcome: Outcome | None = None
        self._session = _sandbox_of(self.task).session(self.task.env, self.task.seed)

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, tool: str, arguments: Mapping[str, JSON]) -> str:
        """Call a tool, and return the text for the model. After the final answer, no tool is called.

        Raises:
            WorldError: the environment failed.
        """
        if self._outcome:
            return "Error: the task has ended"
        self.calls.append((tool, dict(arguments)))
        return result_text(self._session.call(tool, (), arguments))

    def answer(self, value: JSON) -> str:
        """Set the final answer, and return the text for the model."""
        if self._outcome:
            return "Error: the task has ended"
        try:
            self._session.answer(value)
        except (TypeError, ValueError) as error:
            return f"Error: {error}"
        self.answered, self.given = True, value
        return "The answer was recorded."

    def answer_text(self, text: str) -> str:
        """Set the final answer from text: JSON is decoded, other text is the answer. Return the text for the model."""
        try:
            return self.answer(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return self.answer(text)

    def run(self, program: str) -> None:
        """Run a program, such as the solution of the task or one of its failure cases."""
        self._session.run(program)

    def outcome(self) -> Outcome:
        """Run the check, once, and end the attempt."""
        if not self._outcome:
            self._outcome = self._session.evaluate(self.task.evaluate).outcome
        return self._outcome

    def reward(self) -> float | None:
        """Return 1.0 for pass, 0.0 for fail, and None if the attempt cannot be judged."""
        return {"pass": 1.0, "fail": 0.0, "invalid": None}[self.outcome()]

    def close(self) -> None:
        """End the attempt without a verdict. May be called twice."""
        self._session.close()


def _task(record: str) -> Task:
    task = decode(record)
    if not isinstance(task, Task):
        raise RecordError(f"a {type(task).__name__.lower()} record where a task is expected")
    return task


def _sandbox_of(task: Task) -> Sandbox:
    """Return the sandbox with the limits of a task. It lives as long as this process."""
    limits = Limits.of((task.verdict and task.verdict.limits) or TaskLimits())
    with _lock:
        if limits not in _sandboxes:
            _sandboxes[limits] = Sandbox(limits)
            atexit.register(_sandboxes[limits].close)
        return _sandboxes[limits]
