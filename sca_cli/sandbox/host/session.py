"""`Session`: run one program against one world, then judge the result. Use it from one thread at a time.

The program, the check and the world are three processes in two jails. All data from the program or the check is
hostile. Frames are bounded and decoded strictly, so a frame can do no more than the child's own code could do anyway.
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
from sca_cli.sandbox.host.guest import CheckReply, Ended, Guest, TurnReply, cause, decode_hostile
from sca_cli.sandbox.host.outcomes import Judgement, Limits, Run


class _Report(msgspec.Struct):
    """A world's report. `number` is that of the request it answers; 0 is an alarm or a part of a long record."""

    number: int
    alarm: str
    message: str
    where: str
    """The caller that the alarm concerns: program, check or host."""
    checked: int
    """Number of calls made by the check; these are the last ones."""
    calls: list[Observation]
    state: JSON
    """The state, or the first observation, depending on the request."""


_report_decoder = msgspec.json.Decoder(_Report)

# A program may not report a reason that blames another part, such as `world`.
_PROGRAM_REASONS = {"", "exception", "memory", "syntax"}
_CHECK_REASONS = {"exception", "memory", "syntax", "not-bool", "no-evaluate"}
_REPORT_BYTES = 1 << 28
_RECORD_REPLIES = 3 * 16  # limit for the call records of program, check and host, in units of `reply_bytes`
_STATE_BYTES = 1 << 26  # bytes for a state that arrives together with calls
_ALARMS = {"", "world", "calls", "reply"}
_MESSAGE_CHARS = 20000


class Session:
    """A world, and a program that can run several turns in it. `Sandbox.session` creates it.

    Args:
        limits: limits for the program, the check and the world.
        spawn_world: starts a world, given its descriptors.
        spawn_program: starts a "program" or a "check", given its descriptors and its first frame.
        isolated: the tools run the program's arguments as code, so the check gets a new world with the old world's
            state.
        start_s: seconds that a world may take to set its state, if that is longer than a request may take.
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
        self._program_end: Ended | None = None  # why the program can run no more turns
        self._invalid: Ended | None = None  # why this session has no valid verdict
        self._judged = False
        self._answered, self._answer = False, None
        self._requests = 0
        self._checked = 0  # number of calls made by the check
        self._counted_bytes = 0  # bytes of reports that contained calls or that were not requested
        self._incomplete_run: Run | None = None  # the run to complete after the check: its calls are not known yet
        self._alarms: dict[str, Ended] = {}  # caller → the limit it exceeded
        self._spawn_world, self._isolated, self._start_s = spawn_world, isolated, start_s
        self._open_world()

    def _open_world(self) -> None:
        self._link, link = socket.socketpair()  # the host's end is closed or passed to the program
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
            with contextlib.suppress(Ended):  # the next request reports the failure
                self._ask({}, self._start_s)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ turns

    def run(self, code: str, *, last: bool = False) -> Run:
        """Run one turn of the program. Names that it defines exist in the next turns too.

        Args:
            code: Python source. Its globals contain the tools, `final_answer` and `ToolError`.
            last: the program is judged next. This saves one request to the world. The run's calls, and a limit exceeded
                by them, are filled in when `evaluate` returns.

        Raises:
            SandboxError: the jail does not start.
        """
        calls_before = len(self.calls)
        turn = None
        try:
            if end_reason := self._invalid or self._program_end:
                raise end_reason
            turn = self._take_turn(code)
            if not last:
                self._ask({})
            if end_reason := self._alarms.get("program") or self._program_end:
                raise end_reason
        except Ended as end_reason:
            if self._guest:
                end_reason = self._end_guest(self._guest, end_reason)
            self._program_end = end_reason
            with contextlib.suppress(Ended):
                self._ask({})
            final_reason = self._invalid or end_reason
            turn = TurnReply(final_reason.reason, final_reason.message)
        if turn.answered:
            self._answered, self._answer = True, turn.answer
        run = Run(
            ok=not turn.reason,
            reason=turn.reason,
            message=turn.message[:_MESSAGE_CHARS],
            output=self._guest.output.decode(errors="replace") if self._guest else "",
            answered=self._answered,
            answer=self._answer,
            alive=not self._program_end,
            calls=self.calls[calls_before:],
        )
        if last:
            self._incomplete_run = run
        return run

    def _take_turn(self, code: str) -> TurnReply:
        try:
            order = wire.frame(msgspec.json.encode({"code": code}))
        except UnicodeEncodeError as error:
            return TurnReply("syntax", f"SyntaxError: {error}")
        guest = self._guest
        if not guest:
            guest = self._guest = Guest("program", order, self._spawn, self._link)
            deadline = time.monotonic() + self._limits.wall_s
        else:
            deadline = time.monotonic() + self._limits.wall_s
            guest.output.clear()
            self._send(guest.child.job, order, deadline)
        turn = decode_hostile(TurnReply, self._await_guest(guest, deadline))
        guest.drain(self._limits.output_bytes)
        if turn.reason not in _PROGRAM_REASONS:
            raise Ended("reply", "the program wrote on its own channel")
        return turn

    def _await_guest(self, guest: Guest, deadline: float) -> bytes:
        """Wait for a frame of a hostile child. Meanwhile read its output and the world's alarms.

        Raises:
            Ended: a limit was exceeded, or the child or the world has ended.
        """
        poller = select.poll()
        for fd in (guest.channel.fd, self._channel.fd, guest.out):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise Ended("timeout", f"no end after {self._limits.wall_s:g} s")
            for fd, _ in poller.poll(left_s * 1000 + 1):
                if fd == guest.out:
                    if not guest.drain(self._limits.output_bytes):
                        poller.unregister(fd)
                elif fd == self._channel.fd:
                    self._read_world()
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

    def _end_guest(self, guest: Guest, end_reason: Ended) -> Ended:
        """Kill and reap a hostile child. Return why it ended: `end_reason`, or its exit status if that is empty."""
        if guest.ended:
            return end_reason
        final_reason = end_reason
        try:
            if end_reason.reason:
                guest.child.kill()
                guest.child.wait()
            else:
                final_reason = cause(guest.child, self._limits)
        except ZygoteDied:
            final_reason = self._make_invalid("sandbox", "the jail died")
        with contextlib.suppress(Ended):
            guest.drain(self._limits.output_bytes)
        guest.close()
        return final_reason

    # ------------------------------------------------------------ the world

    def call(self, tool: str, args: Sequence[JSON] = (), kwargs: Mapping[str, JSON] | None = None) -> Observation:
        """Make one tool call for a model.

        Args:
            tool: the tool's name.
            args: positional arguments.
            kwargs: named arguments; a `*args` parameter may be passed by name, as an array.

        Returns:
            The call and its result. Its `error` reports an unknown tool, arguments that do not match, or a refusal.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        arguments: tuple[list[JSON], dict[str, JSON]] = (list(args), dict(kwargs or {}))
        try:
            wire.dumps(arguments)
        except (TypeError, ValueError) as error:
            return Observation(tool=tool, error=f"TypeError: {tool}() {error}")
        calls_before = len(self.calls)
        self._request({"tool": [tool, *arguments]})
        if len(self.calls) == calls_before:
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
        """Return the environment's text for explorers and challengers about this world's state, or "".

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        return str(self._request({"ask": "first_observation"}).state)

    def not_in_state(self) -> list[str]:
        """Return the names of variables that the state of this world leaves out.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        return [str(name) for name in self._request({"ask": "not_in_state"}).state]

    def inspect(self, name: str) -> Any:
        """Return what an inspection of the environment in this session's world found, see `INSPECTIONS`.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        return self._request({"inspect": name}).state

    def allows(self, calls: Sequence[tuple[str, JSON]]) -> list[str | None]:
        """Return the rule that forbids each call in this world's state, or None, see `Environment.allows`.

        Args:
            calls: tool and arguments by name.

        Raises:
            WorldError: the environment failed, or the session has ended.
        """
        rules = self._request({"allows": [list(call) for call in calls]}).state
        if not isinstance(rules, list):
            self.state()  # a failure of the environment arrives with the next report at the latest
        return [None if rule is None else str(rule) for rule in rules]

    def restore(self, state: JSON) -> None:
        """Set the state of this session's world.

        Raises:
            WorldError: the environment failed or cannot do it, or the session has ended.
        """
        self._request({"restore": state})
        self.state()  # a failure of the environment arrives with the next report at the latest

    def answer(self, value: JSON) -> None:
        """Set the final answer from the host, for agents that act by tool calls instead of a program.

        Raises:
            TypeError: the value is not made of JSON types.
            ValueError: the value is not finite, or nested too deeply.
        """
        wire.dumps(value)
        self._answered, self._answer = True, value

    def withdraw_answer(self) -> None:
        """Delete the answer, so that the program can continue and give another one."""
        self._answered, self._answer = False, None

    def _request(self, order: dict[str, Any]) -> _Report:
        try:
            return self._ask(order)
        except Ended as end_reason:
            raise WorldError(end_reason.message) from None

    def _ask(self, order: dict[str, Any], wait_s: float = 0) -> _Report:
        """Send a request to the world and wait for the report that answers it.

        Raises:
            Ended: the session is invalid. Exceeded limits are not raised; they are added to `_alarms`.
        """
        if self._invalid or not self._open:
            raise self._invalid or Ended("world", "the session has ended")
        self._requests += 1
        deadline = time.monotonic() + max(wait_s, self._limits.wall_s)
        try:
            self._send(self._world.job, wire.frame(wire.dumps(order | {"number": self._requests})), deadline)
        except Ended:
            raise self._reap_world() from None
        poller = select.poll()
        poller.register(self._channel.fd, select.POLLIN)
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0 and self._guest and not self._guest.ended:
                # If a program does not read the world's replies, the world blocks. This must not make the session
                # invalid.
                self._program_end = self._end_guest(self._guest, Ended("timeout", "it does not read its replies"))
                deadline = time.monotonic() + self._limits.wall_s
            elif left_s <= 0:
                raise self._make_invalid("world", f"the environment gave no reply within {self._limits.wall_s:g} s")
            elif poller.poll(left_s * 1000 + 1) and (report := self._read_world()):
                return report

    def _read_world(self) -> _Report | None:
        """Read the world's reports. Return the report that answers the last request, if it has arrived.

        Raises:
            Ended: the world failed or has ended.
        """
        if not self._channel.feed():
            raise self._reap_world()
        reply = None
        while (report := self._next_report()) is not None:
            self.calls += report.calls
            self._checked += report.checked
            if report.alarm == "world":
                raise self._make_invalid("world", report.message)
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
            raise self._make_invalid("world", f"not a report: {error}") from None
        # A hostile program may control an isolated world. The world must not fill our memory or report for others.
        self._counted_bytes += len(frame) if report.calls or report.number != self._requests else 0
        too_much = self._counted_bytes > _RECORD_REPLIES * self._limits.reply_bytes + _STATE_BYTES
        if too_much or report.alarm not in _ALARMS or not 0 <= report.checked <= len(report.calls):
            raise self._make_invalid(
                "world", "not a report of this session" if not too_much else "it reports without end"
            )
        return report

    def _reap_world(self) -> Ended:
        try:
            final_reason = cause(self._world, self._limits)
        except ZygoteDied:
            return self._make_invalid("sandbox", "the jail died")
        reason = "sandbox" if final_reason.reason == "sandbox" else "world"
        return self._make_invalid(reason, f"the environment's process ended: {final_reason.message}")

    def _make_invalid(self, reason: str, message: str) -> Ended:
        self._invalid = self._invalid or Ended(reason, message)
        return self._invalid

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
        """End the program, judge the state and the answer that it left, and end the session.

        The check runs in a fresh child after the program has been reaped. Its calls of writing tools are blocked.

        Args:
            source: Python source that defines `evaluate()` or `evaluate(answer)`.

        Raises:
            SandboxError: the jail does not start.
            RuntimeError: this session was judged before.
        """
        if self._judged:
            raise RuntimeError("a session can be judged only once")
        self._judged = True
        try:
            if self._guest:
                self._end_guest(self._guest, Ended("timeout"))
            if self._invalid:
                raise self._invalid
            if self._isolated:
                self._rebuild_world()
            verdict = self._check(source)
        except Ended as end_reason:
            verdict = CheckReply(None, end_reason.reason, end_reason.message)
        finally:
            self.close()
        calls = self.calls[len(self.calls) - self._checked :]
        self._complete_last()
        if verdict.verdict is None:
            return Judgement("invalid", verdict.reason, verdict.message[:_MESSAGE_CHARS], calls)
        return Judgement("pass" if verdict.verdict else "fail", calls=calls)

    def _rebuild_world(self) -> None:
        """Move the state into a new world. A hostile program may control the old one, so nothing else is kept of it.

        Raises:
            Ended: the old world cannot return its state, or the new one cannot set it.
        """
        self._link.close()  # needed if no program was started
        state = self._ask({"ask": "state", "dead": ["program"]}).state
        self._world.close()
        self._check_link.close()
        self._open_world()
        try:
            self._ask({"restore": state})
        except ValueError as error:
            raise self._make_invalid("world", f"the state is no plain data: {error}") from None

    def _complete_last(self) -> None:
        """Add the calls to the last run, and the limit that they exceeded, if any."""
        run = self._incomplete_run
        if not run:
            return
        run.calls = self.calls[: len(self.calls) - self._checked]
        if run.ok and (end_reason := self._alarms.get("program")):
            run.ok, run.reason, run.message = False, end_reason.reason, end_reason.message

    def _check(self, source: str) -> CheckReply:
        try:
            order = wire.frame(msgspec.json.encode({"source": source, "answer": self._answer}))
        except UnicodeEncodeError as error:
            return CheckReply(None, "syntax", f"SyntaxError: {error}")
        self._link.close()  # needed if no program was started
        guest = self._guest = Guest("check", order, self._spawn, self._check_link)
        deadline = time.monotonic() + self._limits.wall_s
        try:
            verdict = decode_hostile(CheckReply, self._await_guest(guest, deadline))
            if verdict.verdict is None and verdict.reason not in _CHECK_REASONS:
                raise Ended("reply", "the check wrote on its own channel")
            self._end_guest(guest, Ended("timeout"))
            self._ask({"dead": ["program", "check"]})
            if "check" in self._alarms:
                raise self._alarms["check"]
        except Ended as end_reason:
            cause = self._end_guest(guest, end_reason)
            with contextlib.suppress(Ended):
                self._ask({"dead": ["program", "check"]})
            raise self._invalid or cause from None
        return verdict

    def close(self) -> None:
        """Kill the program, the check and the world. May be called twice."""
        self._open = False
        if self._guest:
            self._guest.close()
        self._world.close()
        self._link.close()
        self._check_link.close()
