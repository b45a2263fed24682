"""Checks → verdict, with the real sandbox: every stage and every reason."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from sca_cli.records import Check, EnvSpec, Task, Verdict
from sca_cli.sandbox import Limits, Sandbox, Session
from sca_cli.verification import paper_filter

pytestmark = pytest.mark.sandbox

IS_SEVEN = "def evaluate(answer):\n    return answer == 7"
RENAMED = "def evaluate():\n    return get_user('user_1')['name'] == 'Eve'"
WRONG = ["final_answer(6)", "final_answer('7')", "pass"]


def task(
    evaluate: str = IS_SEVEN,
    solution: str = "final_answer(add(3, 4))",
    failures: list[str] = WRONG,
    env: str = "shop",
) -> Task:
    """Return a task of the shop."""
    return Task(
        env=EnvSpec(name=env),
        seed=1,
        instruction="i",
        evaluate=evaluate,
        solution=solution,
        failure_cases=failures,
    )


@pytest.fixture
def verify(sandbox: Sandbox) -> Callable[..., Verdict]:
    """Return a function that verifies a task described by what is special about it."""
    return lambda *args, **kwargs: paper_filter.verify(sandbox, task(*args, **kwargs))


def test_a_task_that_proves_itself_is_kept(verify) -> None:
    """Solution True, three failure cases False: kept, with four checks as evidence."""
    verdict = verify()
    assert (verdict.passed, verdict.stage) == (True, "kept")
    assert [(check.name, check.outcome, check.answer) for check in verdict.checks] == [
        ("solution", "pass", 7),
        ("failure_case[0]", "fail", 6),
        ("failure_case[1]", "fail", "7"),
        ("failure_case[2]", "fail", None),
    ]
    assert [(call.tool, call.args, call.result) for call in verdict.checks[0].calls] == [("add", [3, 4], None)]


def test_calls_of_the_check_are_not_the_solutions(verify) -> None:
    """The calls that `evaluate` makes count neither as the solution's nor as a failure case's."""
    verdict = verify("def evaluate(answer):\n    return answer == add(3, 4)")
    assert verdict.stage == "kept"
    assert [len(check.calls) for check in verdict.checks] == [1, 0, 0, 0]


def test_every_check_has_a_world_of_its_own(verify) -> None:
    """A solution that changes the state leaves no trace for the failure cases, and none for another
    task's.
    """
    verdict = verify(
        RENAMED,
        "set_name('user_1', 'Eve')",
        ["get_user('user_1')", "set_name('user_2', 'Eve')", "set_name('user_1', 'eve')"],
    )
    assert verdict.stage == "kept"
    assert verdict.checks[0].calls[0].writes
    assert verify(RENAMED, "pass").stage == "solution"


@pytest.mark.parametrize(
    ("evaluate", "reason"),
    [
        ("def evaluate(:", "syntax"),
        ("def check(answer): return True", "no-evaluate"),
        ("evaluate = 7", "no-evaluate"),
        ("def evaluate(answer): return answer['x']", "exception"),
        ("def evaluate(answer, more): return True", "exception"),
        ("raise SystemExit", "exception"),
        ("def evaluate(answer): return 1", "not-bool"),
        ("def evaluate(answer): return None", "not-bool"),
        ("import time\ndef evaluate(answer): time.sleep(60)", "timeout"),
        ("def evaluate(answer): return bool('x' * 10**10)", "memory"),
        ("import os\ndef evaluate(answer): os._exit(0)", "crash"),
        ("def evaluate(answer): return set_name('user_1', 'Eve') == 'ok'", "exception"),
        ("def evaluate(answer):\n    for _ in range(50): add(1)\n    return True", "calls"),
    ],
)
def test_a_check_without_a_verdict_falls_at_the_first_stage(verify, evaluate: str, reason: str) -> None:
    """A check that does not return True or False rejects the task at `runs` with the reason, and no more programs
    run.
    """
    verdict = verify(evaluate)
    check, *_ = verdict.checks
    assert (verdict.stage, check.outcome, check.reason, check.where) == (
        "runs",
        "invalid",
        reason,
        "evaluate",
    )
    assert check.message


@pytest.mark.parametrize(
    ("solution", "reason"),
    [
        ("1 / 0", "exception"),
        ("x = (", "syntax"),
        ("import time; time.sleep(60)", "timeout"),
        ("x = 'x' * 10**10", "memory"),
        ("print('x' * 100_000)", "output"),
        ("import os; os._exit(0)", "crash"),
        ("for _ in range(50): add(1)", "calls"),
        ("get_user('nobody')", "exception"),
        ("final_answer({1})", "exception"),
    ],
)
def test_a_solution_that_does_not_end_well_falls_at_the_second_stage(verify, solution: str, reason: str) -> None:
    """A solution that does not run to its end rejects the task with the reason, even if the check would accept it."""
    verdict = verify("def evaluate(): return True", solution)
    check, *_ = verdict.checks
    assert (verdict.stage, check.outcome, check.reason, check.where) == (
        "solution",
        "invalid",
        reason,
        "program",
    )
    assert check.message


@pytest.mark.usefixtures("shop")
def test_cpu_time_is_limited_apart_from_wall_time() -> None:
    """The CPU limit stops a program and a check that compute without end, long before the wall time is over."""
    with Sandbox(Limits(wall_s=60, cpu_s=1)) as patient:
        program = paper_filter.verify(patient, task(solution="while True: pass")).checks[0]
        check = paper_filter.verify(patient, task("def evaluate(answer):\n    while True: pass")).checks[0]
    assert (program.reason, program.where) == ("cpu", "program")
    assert (check.reason, check.where) == ("cpu", "evaluate")


def test_a_solution_that_fails_the_check_falls_at_the_second_stage(verify) -> None:
    """False for the solution: a plain fail without a reason."""
    verdict = verify(solution="final_answer(8)")
    assert (verdict.stage, verdict.checks[0].outcome, verdict.checks[0].reason) == ("solution", "fail", "")
    assert len(verdict.checks) == 4


@pytest.mark.parametrize(
    ("failures", "outcomes"),
    [
        ([], []),
        (WRONG[:2], ["fail", "fail"]),
        ([*WRONG, "pass"], []),
        ([WRONG[0], "final_answer(7)", WRONG[1]], ["fail", "pass", "fail"]),
        ([WRONG[0], "1 / 0", WRONG[1]], ["fail", "invalid", "fail"]),
        (["while True: pass", *WRONG[:2]], ["invalid", "fail", "fail"]),
    ],
    ids=["none", "two", "four", "right", "crash", "endless"],
)
def test_failure_cases_must_be_three_and_fail(verify, failures: list[str], outcomes: list[str]) -> None:
    """A failure case that passes, or that crashes and so proves nothing, rejects the task."""
    verdict = verify(failures=failures)
    assert (verdict.passed, verdict.stage) == (False, "failures")
    assert [check.outcome for check in verdict.checks[1:]] == outcomes


def test_a_broken_environment_is_nobodys_fault(verify) -> None:
    """A tool that fails as an environment makes the check invalid with reason `world`."""
    check, *_ = verify(solution="divide(1, 0)").checks
    assert (check.outcome, check.reason) == ("invalid", "world")
    assert "ZeroDivisionError" in check.message


def test_a_check_cannot_be_forged_by_the_program(verify) -> None:
    """A program that redefines evaluate, prints True or rewrites its builtins does not touch the
    judgement.
    """
    for program in (
        "def evaluate(answer): return True\nprint(True)\nfinal_answer(8)",
        "import builtins\nbuiltins.isinstance = lambda *_: True\nint.__eq__ = None",
        "import sys\nsys.modules['__main__'].evaluate = lambda *_: True",
    ):
        assert not verify(solution=program).passed


def test_doing_nothing_is_a_check_too(sandbox: Sandbox) -> None:
    """An empty program is the no-op: the check judges the untouched world with no answer."""
    nothing = paper_filter.run_check(sandbox, task("def evaluate(answer): return answer is None"), "", "no-op")
    assert (nothing.outcome, nothing.calls) == ("pass", [])


def test_a_dead_sandbox_is_tried_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check whose sandbox died under it is run again, three times in all; it is never the task's fault."""
    tries: list[int] = []
    once = paper_filter._run_once

    dead = paper_filter._JudgedRun(Check(name="x", outcome="invalid", reason="sandbox"), [], [])

    def dying(*args: object) -> paper_filter._JudgedRun:
        tries.append(1)
        return once(*args) if len(tries) == 3 else dead  # type: ignore[arg-type]

    monkeypatch.setattr(paper_filter, "_run_once", dying)
    assert paper_filter.run_check(sandbox, task(), "final_answer(7)", "x").outcome == "pass"
    assert len(tries) == 3
    monkeypatch.setattr(paper_filter, "_run_once", lambda *_: tries.append(1) or dead)
    assert paper_filter.run_check(sandbox, task(), "", "x").reason == "sandbox"
    assert len(tries) == 6


def test_times_can_be_taken_out(verify) -> None:
    """A verdict without its times is the same every time."""
    verdicts = [verify(), verify()]
    assert all(check.seconds is not None and check.seconds > 0 for verdict in verdicts for check in verdict.checks)
    assert paper_filter.without_times(verdicts[0]) == paper_filter.without_times(verdicts[1])


def test_more_than_three_failure_cases_are_not_run(verify) -> None:
    """Five hundred failure cases cost the solution's run only, and are rejected with their number."""
    verdict = verify(failures=WRONG[:1] * 500)
    assert (verdict.stage, len(verdict.checks)) == ("failures", 1)
    assert verdict.findings[0].message == "500 failure cases, where 3 are expected: none of them was run"


def test_a_world_that_is_killed_is_started_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A world that something outside kills once costs another attempt, not the verdict."""
    victims = 2
    session_of = Sandbox.session

    def opened(*args: Any, **kwargs: Any) -> Session:
        nonlocal victims
        session = session_of(*args, **kwargs)
        if victims:
            victims -= 1
            os.kill(session._world.pid(), signal.SIGKILL)
        return session

    monkeypatch.setattr(Sandbox, "session", opened)
    check = paper_filter.run_check(sandbox, task(), "final_answer(add(3, 4))", "solution")
    assert (check.outcome, victims) == ("pass", 0)
