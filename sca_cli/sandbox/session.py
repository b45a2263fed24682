"""`Session`: one program's conversation with one world, and its judgement. Used by one thread at a time.

The program, the check and the world are three processes in two jails. Everything that comes from the program
or the check is hostile: frames are bounded, decoded strictly, and can say no more than what its own code
could have done.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from sca_cli.errors import WorldError
from sca_cli.records import JSON, Observation
from sca_cli.sandbox import wire
from sca_cli.sandbox.guest import Ended, Guest, Turn, Verdict, cause, decode_hostile
from sca_cli.sandbox.jail import Child, ZygoteDied
from sca_cli.sandbox.outcomes import Judgement, Limits, Run


class _Report(msgspec.Struct):
    """What a world says: number of the request it replies to, or 0 with an alarm that nobody asked for."""

    number: int
    alarm: str
    message: str
    where: str
    """Whose calls the alarm is about: program, check or host."""
    calls: list[Observation]
    state: JSON


_report_decoder = msgspec.json.Decoder(_Report)

# A program may not claim a reason that would make its failure somebody else's.
_PROGRAM_REASONS = {"", "exception", "memory", "syntax"}
_CHECK_REASONS = {"exception", "memory", "syntax", "not-bool", "no-evaluate"}
_REPORT_BYTES = 1 << 28
_MESSAGE_CHARS = 20000


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
        self._guest: Guest | None = None
        self._over: Ended | None = None  # why the program takes no more turns
        self._spoilt: Ended | None = None  # why nobody can judge this session
        self._judged = False
        self._answered, self._answer = False, None
        self._requests = 0
        self._alarm: Ended | None = None  # a limit that the current program or check has passed
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
        mark = len(self.calls)
        turn, guest = None, self._guest
        try:
            if ended := self._spoilt or self._over:
                raise ended
            if not guest:
                guest = self._guest = Guest("program", self._spawn, self._link)
            guest.output.clear()
            turn = self._take_turn(guest, code)
            self._ask({})
            if ended := self._alarm or self._over:
                raise ended
        except Ended as ended:
            if guest:
                ended = self._end_guest(guest, ended)
            self._over = ended
            with contextlib.suppress(Ended):
                self._ask({})
            turn = (
                Turn(self._spoilt.reason, self._spoilt.message) if self._spoilt else Turn(ended.reason, ended.message)
            )
        if turn.answered:
            self._answered, self._answer = True, turn.answer
        return Run(
            ok=not turn.reason,
            reason=turn.reason,
            message=turn.message[:_MESSAGE_CHARS],
            output=guest.output.decode(errors="replace") if guest else "",
            answered=self._answered,
            answer=self._answer,
            alive=not self._over,
            calls=self.calls[mark:],
        )

    def _take_turn(self, guest: Guest, code: str) -> Turn:
        deadline = time.monotonic() + self._limits.wall_s
        try:
            order = msgspec.json.encode({"code": code})
        except UnicodeEncodeError as error:
            return Turn("syntax", f"SyntaxError: {error}")
        self._send(guest.job, order, deadline)
        turn = decode_hostile(Turn, self._await_guest(guest, deadline))
        guest.drain(self._limits.output_bytes)
        if turn.reason not in _PROGRAM_REASONS:
            raise Ended("reply", "the program wrote on its own channel")
        return turn

    def _await_guest(self, guest: Guest, deadline: float) -> bytes:
        """Wait for a frame of a hostile child, draining its output and listening for the world's alarm.

        Raises:
            Ended: a limit was passed, the child is gone, or the world is.
        """
        poller = select.poll()
        for fd in (guest.channel.fd, self._channel.fd, guest.out):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Ended("timeout", f"no end after {self._limits.wall_s:g} s")
            for fd, _ in poller.poll(left * 1000 + 1):
                if fd == guest.out:
                    if not guest.drain(self._limits.output_bytes):
                        poller.unregister(fd)
                elif fd == self._channel.fd:
                    self._hear_world()
                    if self._alarm:
                        raise self._alarm
                elif not guest.channel.feed():
                    raise Ended
                else:
                    try:
                        frame = guest.channel.next(self._limits.reply_bytes)
                    except wire.FrameError as error:
                        raise Ended("reply", str(error)) from None
                    if frame is not None:
                        return frame

    def _end_guest(self, guest: Guest, ended: Ended) -> Ended:
        """Kill and reap a hostile child, and return why it ended; its own end tells if we do not know."""
        child, guest.child = guest.child, None
        if not child:
            return ended
        child.kill()
        try:
            end = child.wait()
        except ZygoteDied:
            return self._spoil("sandbox", "the jail died")
        with contextlib.suppress(Ended):
            guest.drain(self._limits.output_bytes)
        guest.close()
        return ended if ended.reason else cause(end, self._limits)

    # ------------------------------------------------------------ the world

    def call(self, tool: str, args: Sequence[JSON] = (), kwargs: Mapping[str, JSON] | None = None) -> Observation:
        """Make one tool call on behalf of a model.

        Args:
            tool: its name.
            args: positional arguments.
            kwargs: named arguments; a `*args` parameter may be named and given an array.

        Returns:
            The call and its result. Unknown tools, unfit arguments and refusals are its `error`.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        arguments: tuple[list[JSON], dict[str, JSON]] = (list(args), dict(kwargs or {}))
        try:
            wire.dumps(arguments)
        except (TypeError, ValueError) as error:
            return Observation(tool=tool, error=f"TypeError: {tool}() {error}")
        mark = len(self.calls)
        self._request({"tool": [tool, *arguments]})
        if len(self.calls) == mark:
            alarm, self._alarm = self._alarm or Ended("calls", "it was not carried out"), None
            return Observation(tool=tool, args=arguments[0], kwargs=arguments[1], error=alarm.message)
        return self.calls[-1]

    def state(self) -> JSON:
        """Return the state of this session's world.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        return self._request({"state": True}).state

    def answer(self, value: JSON) -> None:
        """Set the final answer from outside, for agents whose actions are tool calls.

        Raises:
            TypeError: it is not made of JSON types.
            ValueError: it is not finite, or nested too deeply.
        """
        wire.dumps(value)
        self._answered, self._answer = True, value

    def withdraw_answer(self) -> None:
        """Forget the answer that was given, so that the program may go on and give another."""
        self._answered, self._answer = False, None

    def _request(self, order: dict[str, Any]) -> _Report:
        try:
            return self._ask(order)
        except Ended as ended:
            raise WorldError(ended.message) from None

    def _ask(self, order: dict[str, Any]) -> _Report:
        """Send the world a request and wait for the report that replies to it.

        Raises:
            Ended: the session is spoilt; a limit that was passed is in `_alarm` instead.
        """
        if self._spoilt or not self._world:
            raise self._spoilt or Ended("world", "the session has ended")
        self._alarm = None
        self._requests += 1
        deadline = time.monotonic() + self._limits.wall_s
        try:
            self._send(self._job, wire.dumps(order | {"number": self._requests}), deadline)
        except Ended:
            raise self._world_gone() from None
        poller = select.poll()
        poller.register(self._job, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and self._guest and self._guest.child:
                # A program that does not read the world's replies holds it up, and must not spoil the session
                # by it.
                self._over = self._end_guest(self._guest, Ended("timeout", "it does not read its replies"))
                deadline = time.monotonic() + self._limits.wall_s
            elif left <= 0:
                raise self._spoil("world", f"the environment gave no reply within {self._limits.wall_s:g} s")
            elif poller.poll(left * 1000 + 1) and (report := self._hear_world()):
                return report

    def _hear_world(self) -> _Report | None:
        """Read what the world says. Return the reply to the last request, if that is among it.

        Raises:
            Ended: the world failed or is gone.
        """
        if not self._channel.feed():
            raise self._world_gone()
        reply = None
        while (frame := self._channel.next(_REPORT_BYTES)) is not None:
            report = _report_decoder.decode(frame)
            self.calls += report.calls
            if report.alarm == "world":
                raise self._spoil("world", report.message)
            if report.alarm and report.where in ("host", self._guest.kind if self._guest else ""):
                self._alarm = Ended(report.alarm, report.message)
            if report.number == self._requests:
                reply = report
        return reply

    def _world_gone(self) -> Ended:
        world, self._world = self._world, None
        try:
            end = world.wait() if world else None
        except ZygoteDied:
            return self._spoil("sandbox", "the jail died")
        why = cause(end, self._limits).message if end else "the session has ended"
        return self._spoil("world", f"the environment's process ended: {why}")

    def _spoil(self, reason: str, message: str) -> Ended:
        self._spoilt = self._spoilt or Ended(reason, message)
        return self._spoilt

    def _send(self, sock: socket.socket, payload: bytes, deadline: float) -> None:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            sock.sendall(wire.frame(payload))
        except TimeoutError:
            raise Ended("timeout", "it does not read its orders") from None
        except OSError:
            raise Ended from None

    # ------------------------------------------------------------ the judgement

    def evaluate(self, source: str) -> Judgement:
        """End the program, then judge what it left behind, and end the session.

        The check runs in a fresh child after the program has been reaped; writing tools refuse it.

        Args:
            source: Python that defines `evaluate()` or `evaluate(answer)`.

        Raises:
            SandboxError: the jail does not start.
            RuntimeError: this session has been judged before.
        """
        if self._judged:
            raise RuntimeError("a session is judged once")
        self._judged = True
        mark = len(self.calls)
        try:
            if self._guest:
                self._end_guest(self._guest, Ended("timeout"))
            if self._spoilt:
                raise self._spoilt
            self._guest = Guest("check", self._spawn, self._check_link)
            verdict = self._check(self._guest, source)
        except Ended as ended:
            return Judgement("invalid", ended.reason, ended.message[:_MESSAGE_CHARS], self.calls[mark:])
        finally:
            self.close()
        if verdict.verdict is None:
            return Judgement("invalid", verdict.reason, verdict.message[:_MESSAGE_CHARS], self.calls[mark:])
        return Judgement("pass" if verdict.verdict else "fail", calls=self.calls[mark:])

    def _check(self, guest: Guest, source: str) -> Verdict:
        deadline = time.monotonic() + self._limits.wall_s
        try:
            order = msgspec.json.encode({"source": source, "answer": self._answer})
        except UnicodeEncodeError as error:
            return Verdict(None, "syntax", f"SyntaxError: {error}")
        try:
            self._send(guest.job, order, deadline)
            verdict = decode_hostile(Verdict, self._await_guest(guest, deadline))
            if verdict.verdict is None and verdict.reason not in _CHECK_REASONS:
                raise Ended("reply", "the check wrote on its own channel")
            self._ask({})
            if self._alarm:
                raise self._alarm
        except Ended as ended:
            cause = self._end_guest(guest, ended)
            with contextlib.suppress(Ended):
                self._ask({})
            raise self._spoilt or cause from None
        return verdict

    def close(self) -> None:
        """Kill and reap the program, the check and the world. May be called twice."""
        guest, world, self._world = self._guest, self._world, None
        children = [child for child in (guest.child if guest else None, world) if child]
        for child in children:
            child.kill()
        for child in children:
            with contextlib.suppress(ZygoteDied):
                child.wait()
        if guest:
            guest.child = None
            guest.close()
        for sock in (self._job, self._link, self._check_link):
            sock.close()
