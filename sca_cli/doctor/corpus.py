"""Run a corpus of hostile programs, and check what each achieved and that honest sessions stay correct.

Honest sessions run before, during and after each hostile program. A corpus is a JSON Lines file with one `Hostile` per
line. Programs name the parts of the `Trap` that they attack, such as `@TCP@`. Corpora with `name` instead of `id`, and
with `code` instead of `program` (or instead of `evaluate`, if the role or group starts with "evaluate"), are accepted
too.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sca_cli import lines
from sca_cli.doctor import host
from sca_cli.doctor.probes import IS_BOB, MAKE_BOB
from sca_cli.errors import RecordError, ScaError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Judgement, Limits, Run, Sandbox

LIMITS = Limits(wall_s=1.5, cpu_s=1, memory_mb=64)
"""Limits of a corpus. They are small, so that endless programs end soon."""
_SLACK_S = 4.0  # seconds of delay allowed on a busy machine; chosen by hand
_FLAT_MB = 64.0


class Hostile(msgspec.Struct):
    """One hostile program, or two that run at the same time."""

    id: str
    group: str
    tries: str = ""
    """The aim of the program."""
    program: str = ""
    """Program to run as a task's solution; an honest check must return False after it."""
    second: str = ""
    """Program to run at the same time, in a session of its own."""
    evaluate: str = ""
    """Source to run as a task's check; it must not pass."""
    repeat: bool = False
    """The program runs twice, and both results must be equal."""
    breach: str = ""
    """The sign of a breach: marker, secret, verdict, listener, file, differs, overrun, processes."""
    safe: bool = False
    """The program may run with only rlimits and a time limit, to prove that it would succeed without the jail."""


@dataclass(slots=True)
class GroupReport:
    """The results of one group."""

    run: int = 0
    through: dict[str, list[str]] = field(default_factory=dict)
    """Id → signs of a breach, for programs that got through."""


def read(paths: Iterable[str]) -> list[Hostile]:
    """Read corpora.

    Args:
        paths: JSON Lines files.

    Raises:
        MissingError: a file cannot be read.
        RecordError: a line is not a hostile program, or a file is not text.
    """
    programs = []
    for path in paths:
        for line in lines.lines_of(path):
            if isinstance(line.content, RecordError):
                raise line.content
            try:
                programs.append(_hostile(json.loads(line.content)))
            except (ValueError, TypeError, RecursionError, msgspec.ValidationError) as error:
                raise RecordError(f"{path}:{line.number}: not a hostile program: {error}") from None
    return programs


def _hostile(record: dict[str, Any]) -> Hostile:
    if "code" in record:
        checks = record.get("role", record.get("group", "")).startswith("evaluate")
        record |= {"id": record.get("name", ""), "evaluate" if checks else "program": record["code"]}
    hostile = msgspec.convert(record, Hostile)
    if not hostile.id or not hostile.group or not (hostile.program or hostile.evaluate):
        raise ValueError("it needs an id, a group, and a program or evaluate")
    return hostile


class Arena:
    """Context manager: set a trap and start a sandbox, in which hostile programs can then run.

    Args:
        env: the environment `world.Ledger`, registered.
        limits: the limits of every session.

    Raises:
        SandboxError: on entering, if the jail does not start; no hostile program was run.
    """

    def __init__(self, env: EnvSpec, limits: Limits = LIMITS) -> None:
        self._env = env
        self._trap, self._sandbox = host.Trap(), Sandbox(limits)

    def __enter__(self) -> "Arena":
        with contextlib.ExitStack() as opening:
            opening.enter_context(self._trap)
            opening.enter_context(self._sandbox)
            with self._sandbox.session(self._env, 1) as session:
                session.run("1")
            self._open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def signs(self, hostile: Hostile) -> list[str]:
        """Run one hostile program and return the signs of a breach; empty if there are none."""
        return _HostileRun(self._sandbox, self._env, self._trap, hostile).signs()


def by_group(results: Iterable[tuple[Hostile, list[str]]]) -> dict[str, GroupReport]:
    """Return group → report, in the order of the corpus."""
    groups: dict[str, GroupReport] = {}
    for hostile, signs in results:
        report = groups.setdefault(hostile.group, GroupReport())
        report.run += 1
        if signs:
            report.through[hostile.id] = signs
    return groups


class _HostileRun:
    """Run one hostile program with honest sessions before, during and after it."""

    def __init__(self, sandbox: Sandbox, env: EnvSpec, trap: host.Trap, hostile: Hostile) -> None:
        self._sandbox, self._env, self._trap, self._hostile = sandbox, env, trap, hostile
        self._signs: list[str] = []

    def signs(self) -> list[str]:
        """Run the program and return the signs of a breach."""
        pids_before = host.at_work(self._sandbox)
        host.forget_peak()
        memory = host.memory_mb()
        try:
            with self._sandbox.session(self._env, 1) as honest:
                honest.run(MAKE_BOB)
                self._attack()
                self._expect_outcome("an honest check beside it", honest.evaluate(IS_BOB), "pass")
            self._check_honest_sessions()
        except ScaError as error:
            self._signs.append(f"broken: {error.message}")
        self._signs += self._trap.sprung()
        if host.memory_mb("VmHWM") - memory > _FLAT_MB:
            self._signs.append("host memory")
        if not host.settled(self._sandbox, pids_before):
            self._signs.append("processes")
        return list(dict.fromkeys(self._signs))

    def _attack(self) -> None:
        first = self._round(self._hostile.program, self._hostile.second)
        if self._hostile.repeat and self._round(self._hostile.program, self._hostile.second) != first:
            self._signs.append("differs")

    def _round(self, *programs: str) -> list[Any]:
        """Run and judge the programs at the same time, each in a session. Return results that a repeat must equal."""
        present = [program for program in programs if program] or [""]
        gate = threading.Barrier(len(present))
        results: list[Any] = []
        threads = [threading.Thread(target=self._run_session, args=(program, gate, results)) for program in present]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def _run_session(self, program: str, gate: threading.Barrier, results: list[Any]) -> None:
        try:
            with self._sandbox.session(self._env, 1) as session:
                gate.wait()
                turn = self._in_time(lambda: session.run(self._trap.bait(program))) if program else None
                check = self._trap.bait(self._hostile.evaluate) or IS_BOB
                judgement = self._in_time(lambda: session.evaluate(check))
        except ScaError as error:
            self._signs.append(f"broken: {error.message}")
            return
        if turn:
            self._inspect_run(turn)
        if self._hostile.evaluate:
            if judgement.outcome == "pass":
                self._signs.append("verdict")
        else:
            self._expect_outcome("the verdict on it", judgement, "fail")
        self._signs += self._trap.signs_in("", judgement.message, repr(judgement.calls))
        results.append((turn and (turn.output, turn.answer), judgement.outcome))

    def _in_time[T](self, act: Callable[[], T]) -> T:
        started = time.monotonic()
        result = act()
        if time.monotonic() - started > self._sandbox.limits.wall_s + _SLACK_S:
            self._signs.append("overrun")
        return result

    def _inspect_run(self, run: Run) -> None:
        if run.reason in ("world", "sandbox"):
            self._signs.append(f"broken: {run.reason}: {run.message}")
        self._signs += self._trap.signs_in(run.output + repr(run.answer), run.message, repr(run.calls))

    def _check_honest_sessions(self) -> None:
        for code, expected in ((MAKE_BOB, "pass"), ("get_user('user_1')", "fail")):
            with self._sandbox.session(self._env, 1) as session:
                session.run(code)
                self._expect_outcome("an honest check after it", session.evaluate(IS_BOB), expected)

    def _expect_outcome(self, subject: str, judgement: Judgement, expected: str) -> None:
        if judgement.outcome != expected:
            self._signs.append(f"{subject} is '{judgement.outcome}' {judgement.message}".strip())
