"""Clean up after the sessions of a world zygote that runs without a jail, in place of confinement. Linux only.

Covered: a session's process and all processes that it started, in any session or process group, are killed when the
session, the zygote or the host ends. Not covered: effects of the environment on systems outside its process; the
environment is trusted.
"""

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from sca_cli.sandbox.inside.confine import Confinement

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Unjailed(Confinement):
    """A confinement that limits nothing, but kills leftover processes after each session."""

    tick_s = 0.1

    def __init__(self) -> None:
        self._prctl = ctypes.CDLL(None).prctl
        self.last_fd = os.sysconf("SC_OPEN_MAX")
        self.seal()
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, *_: object) -> None:
        """End this process and all that the environment started, even during its construction: the host has ended."""
        self.ended(())
        os._exit(1)

    def seal(self, import_mb: int = 0) -> None:  # noqa: ARG002  limits exist only in a jail
        """Make orphans children of this process instead of init, so that `ended` finds them."""
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def prepare(self, first_closed: int, memory_mb: int, cpu_s: int) -> None:  # noqa: ARG002  limits exist only in a jail
        """Store the number from which descriptors are closed."""
        self._first_closed = first_closed

    def apply(self) -> None:
        """End with the zygote, become the parent of the session's orphans, and close descriptors."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        self.seal()
        os.closerange(self._first_closed, self.last_fd)

    def ended(self, living: Iterable[int]) -> None:
        """Kill and reap all descendants of this process except live sessions and their processes.

        When a process is killed, its children become ours. So this repeats until none is left.
        """
        session_pids = set(living)
        while strays := _children(os.getpid()) - session_pids:
            for pid in strays:
                os.kill(pid, signal.SIGKILL)
            for pid in strays:
                os.waitpid(pid, 0)


def _children(parent: int) -> set[int]:
    pids = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = entry.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(tail.split()[1]) == parent:
            pids.add(int(head.partition(" ")[0]))
    return pids
