"""Code-as-Task checks → Verdict: one stage a function, in the order of the funnel.

The paper's filter (section 3) keeps a task only if (1) its evaluation function runs, (2) its solution makes it True and
(3) every failure case makes it False. Departures:
1. Outcomes are tri-state. A failure case that crashes, or that our limits end, proves nothing about the check: it is
   `invalid`, and the task falls at stage 3, where the paper would count it as False.
2. A solution must run to its end, not only leave a state that passes.
"""

import time
from collections.abc import Iterator

from sca_cli.errors import WorldError
from sca_cli.records import Check, Observation, Task, Verdict
from sca_cli.sandbox import Judgement, Run, Sandbox

FAILURE_CASES = 3
"""How many a task has (paper, section 3)."""

STAGES = ("runs", "solution", "failures")
"""The funnel: a task that passes all of them is `kept`."""

_ATTEMPTS = 3
"""A check whose sandbox died under it is run again this often; it is never the task's fault."""


def verify(sandbox: Sandbox, task: Task) -> Verdict:
    """Prove a task, or find the stage where it falls.

    Raises:
        SandboxError: the jail does not start; nothing was run.
        MissingError, PluginError: the environment cannot be had.
    """
    if task.unverified:
        message = "the task is unverified: it was made without a check"
        absent = Check(name="solution", outcome="invalid", reason="no-evaluate", message=message, where="evaluate")
        return Verdict(passed=False, stage="runs", checks=[absent])
    checks: list[Check] = []
    for stage, passed in _stages(sandbox, task, checks):
        if not passed:
            return Verdict(passed=False, stage=stage, checks=checks)
    return Verdict(passed=True, stage="kept", checks=checks)


def _stages(sandbox: Sandbox, task: Task, checks: list[Check]) -> Iterator[tuple[str, bool]]:
    solution = run_check(sandbox, task, task.solution, "solution")
    checks.append(solution)
    yield "runs", evaluation_runs(solution)
    yield "solution", solution.outcome == "pass"
    for index, program in enumerate(task.failure_cases):
        checks.append(run_check(sandbox, task, program, f"failure_case[{index}]"))
        if checks[-1].outcome != "fail":
            break
    yield "failures", failures_fail(checks[1:])


def evaluation_runs(solution: Check) -> bool:
    """Stage 1: `evaluate` came to a verdict of its own, True or False."""
    return solution.where != "evaluate"


def failures_fail(failures: list[Check]) -> bool:
    """Stage 3: there are three failure cases and `evaluate` said False to each."""
    return len(failures) == FAILURE_CASES and all(check.outcome == "fail" for check in failures)


def run_check(sandbox: Sandbox, task: Task, program: str, name: str) -> Check:
    """Run one program in a fresh world, then judge it by the task's `evaluate`.

    Args:
        program: Python source; empty for the no-op.
        name: of the check, for the record.
    """
    check = _once(sandbox, task, program, name)
    for _ in range(_ATTEMPTS - 1):
        if check.reason != "sandbox":
            break
        check = _once(sandbox, task, program, name)
    return check


def _once(sandbox: Sandbox, task: Task, program: str, name: str) -> Check:
    started = time.monotonic()
    try:
        with sandbox.session(task.env, task.seed) as session:
            run = session.run(program) if program else None
            judgement = session.evaluate(task.evaluate)
            calls = [bare(call) for call in run.calls] if run else []
    except WorldError as error:
        return Check(name=name, outcome="invalid", reason="world", message=error.message, where="program")
    return _joined(name, run, judgement, calls, time.monotonic() - started)


def _joined(name: str, run: Run | None, judgement: Judgement, calls: list[Observation], seconds: float) -> Check:
    check = Check(name=name, outcome=judgement.outcome, calls=calls, seconds=seconds)
    if run is not None:
        check.answer = run.answer
    if run is not None and not run.ok:
        check.outcome = "invalid"
        check.reason, check.message, check.where = run.reason, run.message, "program"
    if judgement.outcome == "invalid":  # told even where the program broke too: a check must stand any end state
        check.reason, check.message, check.where = judgement.reason, judgement.message, "evaluate"
    return check


def bare(call: Observation) -> Observation:
    """Return a call without its result: what records keep of calls."""
    return Observation(
        tool=call.tool, args=call.args, kwargs=call.kwargs, error=call.error, writes=call.writes, refused=call.refused
    )


def without_times(verdict: Verdict) -> Verdict:
    """Return the verdict with its wall times taken out, so that the same input gives the same bytes."""
    for check in verdict.checks:
        check.seconds = None
    return verdict
