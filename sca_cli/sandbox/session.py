"""`Session`: one program's conversation with one world, and its judgement. Used by one thread at a time.

The program, the check and the world are three processes in two jails. Everything that comes from the program or the
check is hostile: frames are bounded, decoded strictly, and can say no more than what its own code could have done.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sca_cli.errors import WorldError
from sca_cli.records import JSON, Observation, Outcome
from sca_cli.sandbox import wire
from sca_cli.sandbox.jail import Child, End, ZygoteDied


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program, one check or one world may use; each limit has its own reason when it is passed."""

    wall_s: float = 10.0
    """`timeout`: seconds of one turn, one check, or one request to the world."""
    cpu_s: int = 5
    """`cpu`: CPU seconds of a program, all turns together, or of a check."""
    memory_mb: int = 512
    """`memory`: MiB of address space on top of the bare interpreter."""
    output_bytes: int = 65536
    """`output`: bytes that one turn may print."""
    reply_bytes: int = 1 << 20
    """`reply`: bytes of an answer or of one tool call; a session's calls together may have 16 times as many."""
    calls: int = 200
    """`calls`: tool calls of a program, all turns together, of a check, or of the host."""



@dataclass(slots=True)
class Run:
    """One turn of a program."""

    ok: bool
    """The code ran to its end, or ended in `final_answer`."""
    reason: str = ""
    """Empty, or exception, syntax, timeout, cpu, memory, output, reply, calls, crash, blocked-syscall, world, sandbox."""
    message: str = ""
    """The exception with a traceback within the code, or the limit in words."""
    output: str = ""
    """What it printed, standard error included, and the echo of a last expression."""
    answered: bool = False
    """It has called `final_answer`, in this turn or before."""
    answer: JSON = None
    alive: bool = True
    """It can take another turn."""
    calls: list[Observation] = field(default_factory=list)
    """Tool calls made in this turn, with their results."""


@dataclass(slots=True)
class Judgement:
    """What a check found."""

    outcome: Outcome
    reason: str = ""
    """Why it is invalid: as `Run.reason`, or not-bool, no-evaluate."""
    message: str = ""
    calls: list[Observation] = field(default_factory=list)
    """Tool calls the check made, refused ones included."""


class _Turn(msgspec.Struct):
    """What a program says after a turn."""

    reason: str
    message: str
    answered: bool
    answer: JSON


class _Verdict(msgspec.Struct):
    """What a check says."""

    verdict: bool | None = None
    reason: str = ""
    message: str = ""


class _Report(msgspec.Struct):
    """What a world says: number of the request it replies to, or 0 with an alarm that nobody asked for."""

    number: int
    alarm: str
    message: str
    calls: list[Observation]
    state: JSON


_turn_decoder = msgspec.json.Decoder(_Turn)
_verdict_decoder = msgspec.json.Decoder(_Verdict)
_report_decoder = msgspec.json.Decoder(_Report)

# A program may not claim a reason that would make its failure somebody else's.
_PROGRAM_REASONS = {"", "exception", "memory", "syntax"}
_CHECK_REASONS = {"exception", "memory", "syntax", "not-bool", "no-evaluate"}
_REPORT_BYTES = 1 << 28
_MESSAGE_CHARS = 20000


class _Ended(Exception):
    """A child has to be ended, or has ended.

    Args:
        reason: one of `Run.reason`, or "" if the child's own end must tell.
        message: in words.
    """

    def __init__(self, reason: str = "", message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.message = reason, message


class _Guest:
    """A hostile child with its job socket and, for a program, its output pipe."""

    def __init__(self, kind: str, spawn: Callable[[str, Sequence[int]], Child], link: socket.socket) -> None:
        self.job, theirs = socket.socketpair()
        self.channel = wire.Channel(self.job.fileno())
        self.output = bytearray()
        self.out, out = os.pipe() if kind == "program" else (-1, -1)
        with theirs, link:
            try:
                self.child = spawn(kind, [theirs.fileno(), link.fileno(), *([out] if out >= 0 else [])])
            except BaseException:
                self.close()
                raise
            finally:
                if out >= 0:
                    os.close(out)
        if self.out >= 0:
            os.set_blocking(self.out, False)

    def close(self) -> None:
        self.job.close()
        if self.out >= 0:
            os.close(self.out)
            self.out = -1

    def drain(self, limit: int) -> bool:
        """Read what has been printed. False when no more can come.

        Raises:
            _Ended: more than the limit was printed; what is kept is bounded.
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
                raise _Ended("output", f"more than {limit} bytes printed")


class Session:
    """A world, and a program that may live several turns in it. Made by `Sandbox.session`.

    Args:
        limits: for the program, the check and the world.
        spawn_world: forks a world, given its descriptors.
        spawn_program: forks a "program" or a "check", given its descriptors.
    """

    def __init__(
        self,
        limits: Limits,
        spawn_world: Callable[[Sequence[int]], Child],
        spawn_program: Callable[[str, Sequence[int]], Child],
    ) -> None:
        self.calls: list[Observation] = []
        """All tool calls so far."""
        self._limits = limits
        self._spawn = spawn_program
        self._guest: _Guest | None = None
        self._over: _Ended | None = None  # why the program takes no more turns
        self._spoilt: _Ended | None = None  # why nobody can judge this session
        self._judged = False
        self._answered, self._answer = False, None
        self._requests = 0
        self._job, job = socket.socketpair()
        self._link, link = socket.socketpair()
        self._check_link, check_link = socket.socketpair()
        self._channel = wire.Channel(self._job.fileno())
        self._world: Child | None = None
        with job, link, check_link:
            try:
                self._world = spawn_world([job.fileno(), link.fileno(), check_link.fileno()])
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ turns

    def run(self, code: str) -> Run:
        """Run one turn of the program; names it defined stay for the next.

        Args:
            code: Python source. It finds the tools, `final_answer` and `ToolError` among its globals.

        Raises:
            SandboxError: the jail does not start.
        """
        if over := self._spoilt or self._over:
            return self._ended_run(over, [])
        if not self._guest:
            self._guest = _Guest("program", self._spawn, self._link)
        guest = self._guest
        guest.output.clear()
        turn, ended = None, None
        try:
            turn = self._take_turn(guest, code)
        except _Ended as end:
            ended = end
        calls: list[Observation] = []
        try:
            if ended:
                ended = self._end_program(ended)
            calls = self._take_calls()
        except _Ended as end:
            ended = self._end_program(end)
        if ended or not turn:
            return self._ended_run(ended or _Ended("reply"), calls)
        if turn.answered:
            self._answered, self._answer = True, turn.answer
        return Run(
            ok=not turn.reason,
            reason=turn.reason,
            message=turn.message[:_MESSAGE_CHARS],
            output=guest.output.decode(errors="replace"),
            answered=self._answered,
            answer=self._answer,
            calls=calls,
        )

    def _ended_run(self, ended: _Ended, calls: list[Observation]) -> Run:
        output = self._guest.output.decode(errors="replace") if self._guest else ""
        if self._guest:
            self._guest.output.clear()
        return Run(False, ended.reason, ended.message, output, self._answered, self._answer, False, calls)

    def _take_turn(self, guest: _Guest, code: str) -> _Turn:
        deadline = time.monotonic() + self._limits.wall_s
        try:
            self._send(guest.job, msgspec.json.encode({"code": code}), deadline)
        except UnicodeEncodeError as error:
            return _Turn("syntax", f"SyntaxError: {error}", False, None)
        frame = self._await_guest(guest, deadline)
        guest.drain(self._limits.output_bytes)
        turn = _decode_hostile(_turn_decoder, frame)
        if turn.reason not in _PROGRAM_REASONS:
            raise _Ended("reply", "the program wrote to its own channel")
        return turn

    def _await_guest(self, guest: _Guest, deadline: float) -> bytes:
        """Wait for a frame of a hostile child, draining its output and listening for the world's alarm.

        Raises:
            _Ended: a limit was passed, the child is gone, or the world is.
        """
        poller = select.poll()
        for fd in (guest.channel.fd, self._channel.fd, guest.out):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _Ended("timeout", f"no end after {self._limits.wall_s:g} s")
            for fd, _ in poller.poll(left * 1000 + 1):
                if fd == guest.out:
                    if not guest.drain(self._limits.output_bytes):
                        poller.unregister(fd)
                elif fd == self._channel.fd:
                    self._hear_world()
                elif not guest.channel.feed():
                    raise _Ended
                else:
                    try:
                        frame = guest.channel.next(self._limits.reply_bytes)
                    except wire.FrameError as error:
                        raise _Ended("reply", str(error)) from None
                    if frame is not None:
                        return frame

    def _end_program(self, ended: _Ended) -> _Ended:
        """Kill and reap the program; return why it ended, found out from its end if need be."""
        guest, self._over = self._guest, ended
        assert guest
        try:
            end = self._reap(guest)
        except _Ended as lost:
            return lost
        with contextlib.suppress(_Ended):
            guest.drain(self._limits.output_bytes)
        guest.close()
        if end and not ended.reason:
            self._over = _why(end, self._limits)
        return self._over

    def _reap(self, guest: _Guest) -> End | None:
        child, guest.child = guest.child, None
        if not child:
            return None
        child.kill()
        try:
            return child.wait()
        except ZygoteDied:
            raise self._spoil("sandbox", "the jail died") from None

