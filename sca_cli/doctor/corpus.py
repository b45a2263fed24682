"""Running a corpus of hostile programs: what each got, and that honest work beside and after it is right.

A corpus is JSON Lines, one `Hostile` each; programs name the parts of the `Trap` they reach for, as `@TCP@`. Corpora
with `name` for `id`, and with `code` for `program` (or for `evaluate`: role or group `evaluate…`), are read too.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from sca_cli.doctor import host
from sca_cli.doctor.probes import IS_BOB, MAKE_BOB
from sca_cli.errors import MissingError, RecordError, ScaError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Judgement, Limits, Run, Sandbox

LIMITS = Limits(wall_s=1.5, cpu_s=1, memory_mb=64)
"""Limits under which a corpus runs; endless programs end soon."""
_SLACK_S = 4.0  # a busy machine may be this late
_FLAT_MB = 64.0


class Hostile(msgspec.Struct):
    """One hostile program, or two that are run at once."""

    id: str
    group: str
    tries: str = ""
    """What it is after."""
    program: str = ""
    """Run as the solution of a task; after it an honest check must say False."""
    second: str = ""
    """Run at the same time in a session of its own."""
    evaluate: str = ""
    """Run as the check of a task; it must not pass."""
    repeat: bool = False
    """It is run twice, and must come to the same both times."""
    breach: str = ""
    """How it would show that it got through: marker, secret, verdict, listener, file, differs, overrun, processes."""
    safe: bool = False
    """It may be run where nothing holds it but rlimits and a time limit, to see that it bites."""


@dataclass(slots=True)
class GroupReport:
    """What came of one group."""

    run: int = 0
    through: dict[str, list[str]] = field(default_factory=dict)
    """Id → signs, of the programs that got through."""


def read(paths: Iterable[str]) -> list[Hostile]:
    """Read corpora.

    Raises:
        MissingError: a file cannot be read.
        RecordError: a line is no hostile program.
    """
    found = []
    for path in paths:
        try:
            lines = Path(path).read_text().splitlines()
        except OSError as error:
            raise MissingError(f"cannot read {path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            try:
                found.append(_hostile(json.loads(line)))
            except (ValueError, TypeError, msgspec.ValidationError) as error:
                raise RecordError(f"{path}:{number}: not a hostile program: {error}") from None
    return found


def _hostile(record: dict[str, Any]) -> Hostile:
    if "code" in record:
        checks = record.get("role", record.get("group", "")).startswith("evaluate")
        record |= {"id": record.get("name", ""), "evaluate" if checks else "program": record["code"]}
    found = msgspec.convert(record, Hostile)
    if not found.id or not found.group or not (found.program or found.evaluate):
        raise ValueError("it needs an id, a group, and a program or evaluate")
    return found


class Arena:
    """Where a corpus is run: a trap for whoever gets out, and a sandbox with its zygotes up.

    Args:
        env: the environment `world.Ledger`, registered.
        limits: for every session.

    Raises:
        SandboxError: on entering, when the jail does not start; nothing was run.
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
        """Run one and return the signs of a breach: none where all is well."""
        return _Trial(self._sandbox, self._env, self._trap, hostile).signs()


def by_group(results: Iterable[tuple[Hostile, list[str]]]) -> dict[str, GroupReport]:
    """Return group → report, in the order of the corpus."""
    groups: dict[str, GroupReport] = {}
    for hostile, signs in results:
        report = groups.setdefault(hostile.group, GroupReport())
        report.run += 1
        if signs:
            report.through[hostile.id] = signs
    return groups


class _Trial:
    """One hostile program with honest sessions before, beside and after it."""

    def __init__(self, sandbox: Sandbox, env: EnvSpec, trap: host.Trap, hostile: Hostile) -> None:
        self._sandbox, self._env, self._trap, self._hostile = sandbox, env, trap, hostile
        self._signs: list[str] = []

    def signs(self) -> list[str]:
        """Run it and return the signs of a breach."""
        standing = host.at_work(self._sandbox)
        host.forget_peak()
        memory = host.memory_mb()
        try:
            with self._sandbox.session(self._env, 1) as beside:
                beside.run(MAKE_BOB)
                self._attack()
                self._expect_outcome("an honest check beside it", beside.evaluate(IS_BOB), "pass")
            self._honest()
        except ScaError as error:
            self._signs.append(f"broken: {error.message}")
        self._signs += self._trap.sprung()
        if host.memory_mb("VmHWM") - memory > _FLAT_MB:
            self._signs.append("host memory")
        if not host.settled(self._sandbox, standing):
            self._signs.append("processes")
        return list(dict.fromkeys(self._signs))

    def _attack(self) -> None:
        first = self._round(self._hostile.program, self._hostile.second)
        if self._hostile.repeat and self._round(self._hostile.program, self._hostile.second) != first:
            self._signs.append("differs")

    def _round(self, *programs: str) -> list[Any]:
        """Run the programs at once, each in a session, and judge each. Return what must not differ in a repeat."""
        chosen = [program for program in programs if program] or [""]
        gate = threading.Barrier(len(chosen))
        found: list[Any] = []
        threads = [threading.Thread(target=self._live, args=(program, gate, found)) for program in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found

    def _live(self, program: str, gate: threading.Barrier, found: list[Any]) -> None:
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
            self._look(turn)
        if self._hostile.evaluate:
            if judgement.outcome == "pass":
                self._signs.append("verdict")
        else:
            self._expect_outcome("the verdict on it", judgement, "fail")
        self._signs += self._trap.told("", judgement.message, repr(judgement.calls))
        found.append((turn and (turn.output, turn.answer), judgement.outcome))

    def _in_time[T](self, act: Callable[[], T]) -> T:
        started = time.monotonic()
        done = act()
        if time.monotonic() - started > self._sandbox.limits.wall_s + _SLACK_S:
            self._signs.append("overrun")
        return done

    def _look(self, run: Run) -> None:
        if run.reason in ("world", "sandbox"):
            self._signs.append(f"broken: {run.reason}: {run.message}")
        self._signs += self._trap.told(run.output + repr(run.answer), run.message, repr(run.calls))

    def _honest(self) -> None:
        for code, right in ((MAKE_BOB, "pass"), ("get_user('user_1')", "fail")):
            with self._sandbox.session(self._env, 1) as session:
                session.run(code)
                self._expect_outcome("an honest check after it", session.evaluate(IS_BOB), right)

    def _expect_outcome(self, whose: str, judgement: Judgement, right: str) -> None:
        if judgement.outcome != right:
            self._signs.append(f"{whose} is '{judgement.outcome}' {judgement.message}".strip())
