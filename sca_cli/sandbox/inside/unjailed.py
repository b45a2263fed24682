"""What a world zygote without a jail does in place of confinement: nothing a session started outlives it. Linux only.

Covered: a session's process and all that it started, whatever session or group they made their own, are killed when
the session ends, and when the zygote or its host does. Not covered: what the environment does to the world outside; it
is trusted.
"""

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from sca_cli.sandbox.inside.confine import Confinement

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Free(Confinement):
    """A confinement that limits nothing, and cleans up after each session."""

    tick_s = 0.1

    def __init__(self) -> None:
        self._prctl = ctypes.CDLL(None).prctl
        self.last_fd = os.sysconf("SC_OPEN_MAX")
        self.seal()
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, *_: object) -> None:
        """End with all that the environment has started, though it may not be constructed yet: the host is gone."""
        self.ended(())
        os._exit(1)

    def seal(self) -> None:
        """Have orphans fall to this process, and not to init, so that `ended` finds them."""
        self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def prepare(self, first_closed: int, memory_mb: int, cpu_s: int) -> None:  # noqa: ARG002  limits are the jail's
        """Note from which number on descriptors are closed."""
        self._first_closed = first_closed

    def apply(self) -> None:
        """Die with the zygote, keep the session's orphans in its family, close descriptors."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        self.seal()
        os.closerange(self._first_closed, self.last_fd)

    def ended(self, living: Iterable[int]) -> None:
        """Kill and reap all descendants of this process but its living sessions and what is theirs.

        Killing a process hands its children to us: so until none is left.
        """
        kept = set(living)
        while strays := _children(os.getpid()) - kept:
            for pid in strays:
                os.kill(pid, signal.SIGKILL)
            for pid in strays:
                os.waitpid(pid, 0)


def _children(parent: int) -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = entry.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(tail.split()[1]) == parent:
            found.add(int(head.partition(" ")[0]))
    return found
