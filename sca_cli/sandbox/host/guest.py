"""The host's view of a hostile child: its channels, the replies it may send, and why it ended.

The child itself runs `inside/program.py` in the jail.
"""

import os
import signal
import socket
from collections.abc import Callable, Sequence

import msgspec

from sca_cli.records import JSON
from sca_cli.sandbox import wire
from sca_cli.sandbox.host.children import Child
from sca_cli.sandbox.host.outcomes import Limits

_DYING_S = 0.5
"""Seconds that a child may take to end after its channel is closed. Chosen by hand."""


class TurnReply(msgspec.Struct):
    """A program's reply after one turn."""

    reason: str
    message: str
    answered: bool = False
    answer: JSON = None


class CheckReply(msgspec.Struct):
    """A check's reply."""

    verdict: bool | None = None
    reason: str = ""
    message: str = ""


class Ended(Exception):
    """A child has ended, or the host must end it.

    Args:
        reason: one of `Run.reason`, or "" if it must be derived from the child's exit status.
        message: an explanation.
    """

    def __init__(self, reason: str = "", message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


class Guest:
    """A hostile child (a program or a check) and, for a program, its output pipe.

    Args:
        kind: "program" or "check".
        order: the child's first frame.
        spawn: starts the child, given the kind, the descriptors and the first frame.
        link: the child's end of its tool-call channel; it is closed here.
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
        """Kill the child and close the host's descriptors. May be called twice."""
        self.ended = True
        self.child.close()
        if self.out >= 0:
            os.close(self.out)
            self.out = -1

    def drain(self, limit: int) -> bool:
        """Read the output printed so far. Return False if no more can follow.

        Raises:
            Ended: the output is longer than the limit; only `limit + 1` bytes are kept.
        """
        if self.out < 0:
            return False
        while True:
            try:
                printed = os.read(self.out, wire.CHUNK)
            except BlockingIOError:
                return True
            if not printed:
                return False
            self.output += printed[: limit + 1 - len(self.output)]
            if len(self.output) > limit:
                raise Ended("output", f"more than {limit} bytes printed")


def decode_hostile[T: (TurnReply, CheckReply)](kind: type[T], frame: bytes) -> T:
    """Decode a hostile child's reply strictly: exactly a `TurnReply` or a `CheckReply`, without type conversion.

    Raises:
        Ended: the reply is not one that our own code would send.
    """
    try:
        value = msgspec.json.decode(frame, type=kind)
        if isinstance(value, TurnReply):
            wire.check_depth(value.answer, frame.count(b"[") + frame.count(b"{"))
    except (ValueError, RecursionError) as error:  # msgspec's errors are subclasses of ValueError
        raise Ended("reply", f"not a reply: {error}") from None
    return value


def cause(child: Child, limits: Limits) -> Ended:
    """Kill and reap a child that closed its channel, and return why.

    If SIGKILL ended the child before the host sent one, something outside the jail killed it, because a child cannot
    send signals.

    Args:
        child: the child. A dying child closes its channel shortly before it ends, so this waits for its end.
        limits: the limits of the child.

    Raises:
        ZygoteDied: how it ended is unknown.
    """
    ended_itself = child.has_ended(_DYING_S)
    child.kill()
    child.wait()
    end = child.end()
    number = end.signal()
    if number == signal.SIGXCPU or (number == signal.SIGKILL and end.cpu_s >= limits.cpu_s):
        return Ended("cpu", f"more than {limits.cpu_s} s of CPU time")
    if number == signal.SIGSYS:
        return Ended("blocked-syscall", "a system call of a foreign kind")
    if number == signal.SIGKILL and ended_itself:
        return Ended("sandbox", "it was killed from outside, or the machine is out of memory")
    if number == signal.SIGKILL:
        return Ended("crash", "it closed its channel")
    if number:
        return Ended("crash", f"it died of signal {number} ({signal.strsignal(number)})")
    return Ended("crash", f"it ended its own process with status {os.waitstatus_to_exitcode(end.wait)}")
