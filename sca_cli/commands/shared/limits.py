"""The limits of each task: `verify` records them, and every verb that judges or attempts the task uses them.

A task that passed with 60 s for its check would fail with 10 s elsewhere, through no fault of the agent.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from sca_cli import machine
from sca_cli.errors import RecordError
from sca_cli.records import Task, TaskLimits
from sca_cli.sandbox import AllowedEnvs, Limits, Sandbox

_MOST_SANDBOXES = 8
"""Different limits in one run; each needs processes of its own. Chosen by hand."""


class Sandboxes:
    """One sandbox for each set of limits; a sandbox starts nothing until it is used. Thread-safe.

    Args:
        allowed: the environments that the user named. Required, because records name the environments to start.
        default: limits of tasks that record none.
        typed: fields of `TaskLimits` → values from the command line, which replace those of the task.
    """

    def __init__(
        self,
        allowed: AllowedEnvs,
        default: TaskLimits | None = None,
        typed: Mapping[str, Any] | None = None,
    ) -> None:
        self._allowed = allowed
        self._default, self._typed = default or TaskLimits(), dict(typed or {})
        self._memory_mb = self._free_mb = machine.programs_mb()
        self._freed = asyncio.Condition()
        self._lock = threading.Lock()
        self._sandboxes: dict[Limits, Sandbox] = {}

    def __enter__(self) -> "Sandboxes":
        return self

    def __exit__(self, *_: object) -> None:
        for sandbox in self._sandboxes.values():
            sandbox.close()

    def limits_of(self, task: Task | None) -> TaskLimits:
        """Return the limits of a task; None is a task that records none."""
        recorded = task.verdict.limits if task and task.verdict else None
        return msgspec.structs.replace(recorded or self._default, **self._typed)

    @asynccontextmanager
    async def room_for(self, task: Task) -> AsyncIterator[None]:
        """Wait until this machine has enough memory for one program of a task, and reserve it inside the `with` block.

        The reserved amount is the task's memory limit: together, many sessions at their limits could need more memory
        than the machine has. A task whose limit exceeds the whole memory runs alone. Use it on one event loop.
        """
        size_mb = min(self.limits_of(task).memory_mb, self._memory_mb)
        async with self._freed:
            await self._freed.wait_for(lambda: self._free_mb >= size_mb)
            self._free_mb -= size_mb
        try:
            yield
        finally:
            async with self._freed:
                self._free_mb += size_mb
                self._freed.notify_all()

    def sandbox_of(self, task: Task | None = None) -> Sandbox:
        """Return the sandbox with the limits of a task; None is a task that records none.

        Raises:
            RecordError: the tasks of this run have too many different limits.
        """
        limits = Limits.of(self.limits_of(task))
        with self._lock:
            if limits not in self._sandboxes:
                if task and len(self._sandboxes) >= _MOST_SANDBOXES:
                    message = f"task {task.id}: more than {_MOST_SANDBOXES} different limits in one run"
                    raise RecordError(message, "give tasks of the same limits to one run")
                self._sandboxes[limits] = Sandbox(limits, self._allowed)
            return self._sandboxes[limits]
