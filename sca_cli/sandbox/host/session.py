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
from sca_cli.sandbox.host.children import Child, ZygoteDied
from sca_cli.sandbox.host.guest import Ended, Guest, Turn, Verdict, cause, decode_hostile
from sca_cli.sandbox.host.outcomes import Judgement, Limits, Run


class _Report(msgspec.Struct):
    """What a world says: number of the request it replies to, or 0 for an alarm or a part of a long record."""

    number: int
    alarm: str
    message: str
    where: str
    """Whose calls the alarm is about: program, check or host."""
    checked: int
    """How many of the calls, the last ones, are the check's."""
    calls: list[Observation]
    state: JSON
    """Or the first observation, whichever was asked for."""


_report_decoder = msgspec.json.Decoder(_Report)

# A program may not claim a reason that would make its failure somebody else's.
_PROGRAM_REASONS = {"", "exception", "memory", "syntax"}
_CHECK_REASONS = {"exception", "memory", "syntax", "not-bool", "no-evaluate"}
_REPORT_BYTES = 1 << 28
_RECORD_REPLIES = 3 * 16  # largest records that a world keeps, of a program, a check and the host, in replies
_STATE_BYTES = 1 << 26  # of a state that may come with calls
_ALARMS = {"", "world", "calls", "reply"}
_MESSAGE_CHARS = 20000


class Session:
    """A world, and a program that may live several turns in it. Made by `Sandbox.session`.

    Args:
        limits: for the program, the check and the world.
        spawn_world: starts a world, given its descriptors.
        spawn_program: starts a "program" or a "check", given its descriptors and its first order.
        isolated: the tools run what the program gives them, so the check gets a new world with the old one's state.
        start_s: seconds a world may take to put its state in place, where that is more than a request may.
    """

    def __init__(
        self,
        limits: Limits,
        spawn_world: Callable[[Sequence[int]], Child],
        spawn_program: Callable[[str, Sequence[int], bytes], Child],
        *,
        isolated: bool = False,
        start_s: float = 0,
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
        self._checked = 0  # how many of the calls are the check's
        self._heard = 0  # bytes of the reports that brought calls, or that nobody asked for
        self._last: Run | None = None  # a run that lacks its calls
        self._alarms: dict[str, Ended] = {}  # who → the limit that was passed
        self._spawn_world, self._isolated, self._start_s = spawn_world, isolated, start_s
        self._open_world()

    def _open_world(self) -> None:
        self._link, link = socket.socketpair()  # ours is what a program or check is given
        self._check_link, check_link = socket.socketpair()
        with link, check_link:
            try:
                self._world = self._spawn_world([link.fileno(), check_link.fileno()])
            except BaseException:
                self._link.close()
                self._check_link.close()
                raise
        self._channel = wire.Channel(self._world.job.fileno())
        self._open = True
        if self._start_s:
            with contextlib.suppress(Ended):  # whoever asks next is told
                self._ask({}, self._start_s)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ turns

    def run(self, code: str, *, last: bool = False) -> Run:
        """Run one turn of the program; names it defined stay for the next.

        Args:
            code: Python source. It finds the tools, `final_answer` and `ToolError` among its globals.
            last: the program is judged next; saves asking the world twice. The calls, and a limit that is found
                to be passed only by then, are told when `evaluate` has returned.

        Raises:
            SandboxError: the jail does not start.
        """
        mark = len(self.calls)
        turn = None
        try:
            if ended := self._spoilt or self._over:
                raise ended
            turn = self._take_turn(code)
            if not last:
                self._ask({})
            if ended := self._alarms.get("program") or self._over:
                raise ended
        except Ended as ended:
            if self._guest:
                ended = self._end_guest(self._guest, ended)
            self._over = ended
            with contextlib.suppress(Ended):
                self._ask({})
            why = self._spoilt or ended
            turn = Turn(why.reason, why.message)
        if turn.answered:
            self._answered, self._answer = True, turn.answer
        run = Run(
            ok=not turn.reason,
            reason=turn.reason,
            message=turn.message[:_MESSAGE_CHARS],
            output=self._guest.output.decode(errors="replace") if self._guest else "",
            answered=self._answered,
            answer=self._answer,
            alive=not self._over,
            calls=self.calls[mark:],
        )
        if last:
            self._last = run
        return run

    def _take_turn(self, code: str) -> Turn:
        try:
            order = wire.frame(msgspec.json.encode({"code": code}))
        except UnicodeEncodeError as error:
            return Turn("syntax", f"SyntaxError: {error}")
        guest = self._guest
        if not guest:
            guest = self._guest = Guest("program", order, self._spawn, self._link)
            deadline = time.monotonic() + self._limits.wall_s
        else:
            deadline = time.monotonic() + self._limits.wall_s
            guest.output.clear()
            self._send(guest.child.job, order, deadline)
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
                    if guest.kind in self._alarms:
                        raise self._alarms[guest.kind]
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
        if guest.ended:
            return ended
        guest.child.kill()
        try:
            guest.child.wait()
            why = ended if ended.reason else cause(guest.child.end(), self._limits)
        except ZygoteDied:
            why = self._spoil("sandbox", "the jail died")
        with contextlib.suppress(Ended):
            guest.drain(self._limits.output_bytes)
        guest.close()
        return why

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
            alarm = self._alarms.get("host") or Ended("calls", "it was not carried out")
            return Observation(tool=tool, args=arguments[0], kwargs=arguments[1], error=alarm.message)
        return self.calls[-1]

    def state(self) -> JSON:
        """Return the state of this session's world.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        return self._request({"ask": "state"}).state

    def first_observation(self) -> str:
        """Return what an explorer or challenger is told of this world before any call, or "".

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        return str(self._request({"ask": "first_observation"}).state)

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

    def _ask(self, order: dict[str, Any], wait_s: float = 0) -> _Report:
        """Send the world a request and wait for the report that replies to it.

        Raises:
            Ended: the session is spoilt; limits that were passed are in `_alarms` instead.
        """
        if self._spoilt or not self._open:
            raise self._spoilt or Ended("world", "the session has ended")
        self._requests += 1
        deadline = time.monotonic() + max(wait_s, self._limits.wall_s)
        try:
            self._send(self._world.job, wire.frame(wire.dumps(order | {"number": self._requests})), deadline)
        except Ended:
            raise self._world_gone() from None
        poller = select.poll()
        poller.register(self._channel.fd, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 and self._guest and not self._guest.ended:
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
        while (report := self._next_report()) is not None:
            self.calls += report.calls
            self._checked += report.checked
            if report.alarm == "world":
                raise self._spoil("world", report.message)
            if report.alarm:
                self._alarms.setdefault(report.where, Ended(report.alarm, report.message))
            if report.number == self._requests:
                reply = report
        return reply

    def _next_report(self) -> _Report | None:
        try:
            frame = self._channel.next(_REPORT_BYTES)
            if frame is None:
                return None
            report = _report_decoder.decode(frame)
        except (ValueError, RecursionError, wire.FrameError) as error:
            raise self._spoil("world", f"not a report: {error}") from None
        # An isolated world may have been taken over: it shall neither fill our memory nor speak for others.
        self._heard += len(frame) if report.calls or report.number != self._requests else 0
        too_much = self._heard > _RECORD_REPLIES * self._limits.reply_bytes + _STATE_BYTES
        if too_much or report.alarm not in _ALARMS or not 0 <= report.checked <= len(report.calls):
            raise self._spoil("world", "not a report of this session" if not too_much else "it reports without end")
        return report

    def _world_gone(self) -> Ended:
        self._world.kill()
        try:
            self._world.wait()
            why = cause(self._world.end(), self._limits)
        except ZygoteDied:
            return self._spoil("sandbox", "the jail died")
        return self._spoil("world", f"the environment's process ended: {why.message}")

    def _spoil(self, reason: str, message: str) -> Ended:
        self._spoilt = self._spoilt or Ended(reason, message)
        return self._spoilt

    def _send(self, sock: socket.socket, frame: bytes, deadline: float) -> None:
        sock.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            sock.sendall(frame)
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
        try:
            if self._guest:
                self._end_guest(self._guest, Ended("timeout"))
            if self._spoilt:
                raise self._spoilt
            if self._isolated:
                self._rebuild_world()
            verdict = self._check(source)
        except Ended as ended:
            verdict = Verdict(None, ended.reason, ended.message)
        finally:
            self.close()
        calls = self.calls[len(self.calls) - self._checked :]
        self._complete_last()
        if verdict.verdict is None:
            return Judgement("invalid", verdict.reason, verdict.message[:_MESSAGE_CHARS], calls)
        return Judgement("pass" if verdict.verdict else "fail", calls=calls)

    def _rebuild_world(self) -> None:
        """Put the state into a new world; of the old one, which the program may have taken over, nothing else stays.

        Raises:
            Ended: the old world has no state to give, or the new one cannot take it.
        """
        self._link.close()  # there may have been no program
        state = self._ask({"ask": "state", "dead": ["program"]}).state
        self._world.close()
        self._check_link.close()
        self._open_world()
        try:
            self._ask({"restore": state})
        except ValueError as error:
            raise self._spoil("world", f"the state is no plain data: {error}") from None

    def _complete_last(self) -> None:
        """Tell the last run what was found out about it since."""
        run = self._last
        if not run:
            return
        run.calls = self.calls[: len(self.calls) - self._checked]
        if run.ok and (ended := self._alarms.get("program")):
            run.ok, run.reason, run.message = False, ended.reason, ended.message

    def _check(self, source: str) -> Verdict:
        try:
            order = wire.frame(msgspec.json.encode({"source": source, "answer": self._answer}))
        except UnicodeEncodeError as error:
            return Verdict(None, "syntax", f"SyntaxError: {error}")
        self._link.close()  # there may have been no program
        guest = self._guest = Guest("check", order, self._spawn, self._check_link)
        deadline = time.monotonic() + self._limits.wall_s
        try:
            verdict = decode_hostile(Verdict, self._await_guest(guest, deadline))
            if verdict.verdict is None and verdict.reason not in _CHECK_REASONS:
                raise Ended("reply", "the check wrote on its own channel")
            self._end_guest(guest, Ended("timeout"))
            self._ask({"dead": ["program", "check"]})
            if "check" in self._alarms:
                raise self._alarms["check"]
        except Ended as ended:
            cause = self._end_guest(guest, ended)
            with contextlib.suppress(Ended):
                self._ask({"dead": ["program", "check"]})
            raise self._spoilt or cause from None
        return verdict

    def close(self) -> None:
        """Kill the program, the check and the world. May be called twice."""
        self._open = False
        if self._guest:
            self._guest.close()
        self._world.close()
        self._link.close()
        self._check_link.close()
