"""A hostile child as the host sees it: its channels, what it may say, and why it ended."""

import os
import signal
import socket
from collections.abc import Callable, Sequence

import msgspec

from sca_cli.records import JSON
from sca_cli.sandbox import wire
from sca_cli.sandbox.host.children import Child, End
from sca_cli.sandbox.host.outcomes import Limits


class Turn(msgspec.Struct):
    """What a program says after a turn."""

    reason: str
    message: str
    answered: bool = False
    answer: JSON = None


class Verdict(msgspec.Struct):
    """What a check says."""

    verdict: bool | None = None
    reason: str = ""
    message: str = ""


class Ended(Exception):
    """A child has to be ended, or has ended.

    Args:
        reason: one of `Run.reason`, or "" if the child's own end must tell.
        message: in words.
    """

    def __init__(self, reason: str = "", message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


class Guest:
    """A hostile child and, for a program, its output pipe.

    Args:
        kind: "program" or "check".
        order: its first.
        spawn: starts it, given its kind, descriptors and first order.
        link: the child's end of its tool calls; closed here.
    """

    def __init__(
        self, kind: str, order: bytes, spawn: Callable[[str, Sequence[int], bytes], Child], link: socket.socket
    ) -> None:
        self.kind = kind
        self.output = bytearray()
        self.out, out = os.pipe() if kind == "program" else (-1, -1)
        with link:
            try:
                self.child = spawn(kind, [link.fileno(), *([out] if out >= 0 else [])], order)
            except BaseException:
                if self.out >= 0:
                    os.close(self.out)
                raise
            finally:
                if out >= 0:
                    os.close(out)
        self.ended = False
        self.channel = wire.Channel(self.child.job.fileno())
        if self.out >= 0:
            os.set_blocking(self.out, False)

    def close(self) -> None:
        """Kill it and close our ends. May be called twice."""
        self.ended = True
        self.child.close()
        if self.out >= 0:
            os.close(self.out)
            self.out = -1

    def drain(self, limit: int) -> bool:
        """Read what has been printed. False when no more can come.

        Raises:
            Ended: more than the limit was printed; what is kept is bounded.
        """
        if self.out < 0:
            return False
        while True:
            try:
                data = os.read(self.out, wire.CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.output += data[: limit + 1 - len(self.output)]
            if len(self.output) > limit:
                raise Ended("output", f"more than {limit} bytes printed")


def decode_hostile[T: (Turn, Verdict)](kind: type[T], frame: bytes) -> T:
    """Decode what a hostile child wrote: exactly a `Turn` or a `Verdict`, with nothing coerced.

    Raises:
        Ended: it is not what its own code would have written.
    """
    try:
        value = msgspec.json.decode(frame, type=kind)
        if isinstance(value, Turn):
            wire.check_depth(value.answer, frame.count(b"[") + frame.count(b"{"))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise Ended("reply", f"not a reply: {error}") from None
    return value


def cause(end: End, limits: Limits) -> Ended:
    """Return why a child ended that nobody meant to end."""
    number = end.signal()
    if number == signal.SIGXCPU or (number == signal.SIGKILL and end.cpu_s >= limits.cpu_s):
        return Ended("cpu", f"more than {limits.cpu_s} s of CPU time")
    if number == signal.SIGSYS:
        return Ended("blocked-syscall", "a system call of a foreign kind")
    if number == signal.SIGKILL:
        return Ended("crash", "it closed its channel, or the machine is out of memory")
    if number:
        return Ended("crash", f"it died of signal {number} ({signal.strsignal(number)})")
    return Ended("crash", f"it ended its own process with status {os.waitstatus_to_exitcode(end.wait)}")
