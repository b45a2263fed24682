"""Code-as-Task checks → Verdict: one stage a function, in the order of the funnel.

The paper's filter (section 3) keeps a task only if (1) its evaluation function runs, (2) its solution makes it True and
(3) every failure case makes it False. Departures:
1. Outcomes are tri-state. A failure case that crashes, or that our limits end, proves nothing about the check: it is
   `invalid`, and the task falls at stage 3, where the paper would count it as False.
2. A solution must run to its end, not only leave a state that passes.
3. What `stages` asks for beyond.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

from sca_cli.analysis import source
from sca_cli.errors import WorldError
from sca_cli.records import Check, Finding, Observation, Task, Verdict
from sca_cli.sandbox import Judgement, Run, Sandbox
from sca_cli.verification import stages as further

FAILURE_CASES = 3
"""How many a task has (paper, section 3)."""

PAPER_STAGES = ("runs", "solution", "failures")
"""The paper's filter, in the order of its funnel."""

STAGES = (*PAPER_STAGES, *further.STAGES, "agreement", "duplicate")
"""The funnel: a task that passes all of them is `kept`."""

_ATTEMPTS = 3
"""A check whose sandbox died under it is run again this often; it is never the task's fault."""


def verify(sandbox: Sandbox, task: Task, stages: Collection[str] = (), *, strict: bool = False) -> Verdict:
    """Prove a task, or find the stage where it falls.

    Args:
        sandbox: where its programs run.
        task: the candidate.
        stages: names of `stages.STAGES` that it has to pass beyond the paper's filter.
        strict: what is only reported otherwise rejects it too.

    Raises:
        SandboxError: the jail does not start; nothing was run.
        MissingError, PluginError: the environment cannot be had.
    """
    if task.unverified:
        message = "the task is unverified: it was made without a check"
        absent = Check(name="solution", outcome="invalid", reason="no-evaluate", message=message, where="evaluate")
        return Verdict(passed=False, stage="runs", checks=[absent])
    runs = _filter(sandbox, task)
    checks = [run.check for run in runs]
    verdict = Verdict(passed=True, stage="kept", checks=checks)
    solution = checks[0]
    passed = (evaluation_runs(solution), solution.outcome == "pass", failures_fail(checks[1:]))
    if not all(passed):
        return reject(verdict, PAPER_STAGES[passed.index(False)])
    tools, run = sandbox.describe(task.env).tools, partial(run_check, sandbox, task)
    trial = further.Trial(task, tools, solution, runs[0].calls, runs[0].reads, run, checks)
    for name in [name for name in further.STAGES if name in stages]:
        found = list(_findings(name, trial))
        verdict.findings += found
        if any(finding.rejects or strict for finding in found):
            return reject(verdict, name)
    return verdict


def reject(verdict: Verdict, stage: str) -> Verdict:
    """Have a verdict say that the task fell at a stage."""
    verdict.passed, verdict.stage = False, stage
    return verdict


@dataclass(frozen=True, slots=True)
class _Judged:
    """A program that was run and judged."""

    check: Check
    calls: list[Observation]
    """What it called, with results."""
    reads: list[Observation]
    """What the check called, with results."""


def _filter(sandbox: Sandbox, task: Task) -> list[_Judged]:
    """Run what the paper's filter asks for, shuffled; return it in its own order."""
    done = further.in_secret_order(task, lambda name, text: _judged(sandbox, task, text, name))
    return list(done.values())


def _findings(name: str, trial: further.Trial) -> Iterable[Finding]:
    try:
        yield from further.STAGES[name](trial)
    except source.NotPython as error:
        yield Finding(name, f"it cannot be examined: {error}")


def evaluation_runs(solution: Check) -> bool:
    """Stage 1: `evaluate` came to a verdict of its own, True or False."""
    return solution.where != "evaluate"


def failures_fail(failures: list[Check]) -> bool:
    """Stage 3: there are three failure cases and `evaluate` said False to each."""
    return len(failures) == FAILURE_CASES and all(check.outcome == "fail" for check in failures)


def run_check(sandbox: Sandbox, task: Task, program: str, name: str, twin: int = 0, evaluate: str = "") -> Check:
    """Run one program in a fresh world, then judge it by the task's `evaluate`.

    Args:
        sandbox: where it runs.
        task: whose world and check it is.
        program: Python source; empty for the no-op.
        name: of the check, for the record.
        twin: see `Sandbox.session`.
        evaluate: a check in place of the task's own.
    """
    return _judged(sandbox, task, program, name, twin, evaluate).check


def _judged(sandbox: Sandbox, task: Task, program: str, name: str, twin: int = 0, evaluate: str = "") -> _Judged:
    for _ in range(_ATTEMPTS):
        judged = _once(sandbox, task, program, name, twin, evaluate or task.evaluate)
        if judged.check.reason != "sandbox":
            break
    return judged


def _once(sandbox: Sandbox, task: Task, program: str, name: str, twin: int, evaluate: str) -> _Judged:
    started = time.monotonic()
    try:
        with sandbox.session(task.env, task.seed, twin=twin) as session:
            run = session.run(program, last=True) if program else None
            judgement = session.evaluate(evaluate)
    except WorldError as error:
        check = Check(name=name, outcome="invalid", reason="world", message=error.message, where="program")
        return _Judged(check, [], [])
    calls = run.calls if run else []
    check = _joined(name, run, judgement, list(map(bare, calls)), time.monotonic() - started)
    return _Judged(check, calls, judgement.calls)


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
