"""Verify a Code-as-Task candidate: run its programs, apply the paper's filter and then the proofs.

The paper's filter (section 3) keeps a task only if (1) its evaluation function runs, (2) its solution makes it True and
(3) every failure case makes it False. Departures:
1. Outcomes have three values. A failure case that crashes or exceeds a limit proves nothing about the check. Its
   outcome is `invalid` and stage 3 rejects the task; the paper would count the outcome as False.
2. A solution must run to its end. It is not enough that it leaves a state that passes.
3. The proofs in the folder `proofs` may reject the task too.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial

from sca_cli.analysis import source
from sca_cli.errors import ScaError, WorldError
from sca_cli.records import Check, Finding, Observation, Task, Verdict
from sca_cli.sandbox import Judgement, Run, Sandbox
from sca_cli.verification.proofs import PROOFS
from sca_cli.verification.trial import Trial, in_secret_order

FAILURE_CASES = 3
"""Number of failure cases that a task must have (paper, section 3)."""

PAPER_STAGES = ("runs", "solution", "failures")
"""The stages of the paper's filter, in order."""

STAGES = (*PAPER_STAGES, *PROOFS, "agreement", "duplicate")
"""All stages of the funnel, in order. A task that passes all of them is `kept`."""

_ATTEMPTS = 3
"""Most runs of one program when its sandbox dies. A dead sandbox is never the task's fault, so the run is retried.
Chosen by hand; not measured.
"""


def verify(sandbox: Sandbox, task: Task, stages: Collection[str] = (), *, strict: bool = False) -> Verdict:
    """Run a task's programs and decide whether the task is kept, or which stage rejects it.

    Args:
        sandbox: runs the programs.
        task: the candidate.
        stages: names of proofs (keys of `PROOFS`) to apply after the paper's filter.
        strict: treat findings that are only reported as rejections.

    Returns:
        The verdict, with every check and finding up to the stage that rejected the task.

    Raises:
        SandboxError: the jail does not start. Nothing was run.
        MissingError, PluginError: the environment is absent or cannot be loaded.
    """
    if task.unverified:
        message = "the task is unverified: it was made without a check"
        missing_check = Check(
            name="solution", outcome="invalid", reason="no-evaluate", message=message, where="evaluate"
        )
        return Verdict(passed=False, stage="runs", checks=[missing_check])
    surplus = len(task.failure_cases) > FAILURE_CASES
    runs = [_run_and_judge(sandbox, task, task.solution, "solution")] if surplus else _filter(sandbox, task)
    checks = [run.check for run in runs]
    verdict = Verdict(passed=True, stage="kept", checks=checks)
    solution = checks[0]
    if surplus:
        message = f"{len(task.failure_cases)} failure cases, where {FAILURE_CASES} are expected: none of them was run"
        verdict.findings = [Finding("failures", message)]
    passed = (evaluation_runs(solution), solution.outcome == "pass", failures_fail(checks[1:]))
    if not all(passed):
        return reject(verdict, PAPER_STAGES[passed.index(False)])
    tools, run = sandbox.describe(task.env).tools, partial(run_check, sandbox, task)
    trial = Trial(task, tools, solution, runs[0].calls, runs[0].reads, run, checks)
    for name in [name for name in PROOFS if name in stages]:
        findings = list(_findings(name, trial))
        verdict.findings += findings
        if any(finding.rejects or strict for finding in findings):
            return reject(verdict, name)
    return verdict


def reject(verdict: Verdict, stage: str) -> Verdict:
    """Change a verdict so that it rejects the task at a stage; return it."""
    verdict.passed, verdict.stage = False, stage
    return verdict


@dataclass(frozen=True, slots=True)
class _JudgedRun:
    """One run of a program, with its judgement."""

    check: Check
    calls: list[Observation]
    """Calls of the program, with results."""
    reads: list[Observation]
    """Calls of the check, with results."""


def _filter(sandbox: Sandbox, task: Task) -> list[_JudgedRun]:
    """Run the solution and the failure cases in random order; return the solution first, then the failure cases."""
    runs = in_secret_order(task, lambda name, text: _run_and_judge(sandbox, task, text, name))
    return list(runs.values())


def _findings(name: str, trial: Trial) -> Iterable[Finding]:
    try:
        yield from PROOFS[name](trial)
    except ScaError:  # the sandbox or the environment failed, not the task
        raise
    except source.NotPython as error:
        yield Finding(name, f"the source cannot be analysed: {error}")
    except Exception as error:  # noqa: BLE001  an unforeseen program costs one task, never the run
        yield Finding(name, f"this proof failed on the task: {type(error).__name__}: {error}"[:500])


def evaluation_runs(solution: Check) -> bool:
    """Return whether the task passes stage 1: `evaluate` returned True or False after the solution."""
    return solution.where != "evaluate"


def failures_fail(failures: list[Check]) -> bool:
    """Return whether the task passes stage 3: it has three failure cases, and `evaluate` returned False after each."""
    return len(failures) == FAILURE_CASES and all(check.outcome == "fail" for check in failures)


def run_check(sandbox: Sandbox, task: Task, program: str, name: str, twin: int = 0, evaluate: str = "") -> Check:
    """Run one program in a fresh world, then judge the world and the answer with `evaluate`.

    Args:
        sandbox: runs the program.
        task: gives the environment, the seed and the check.
        program: Python source; "" runs nothing and judges the initial state (the no-op).
        name: name of the check in the record.
        twin: number of the twin, see `Sandbox.session`.
        evaluate: source of a check to use instead of the task's own; "" uses the task's own.
    """
    return _run_and_judge(sandbox, task, program, name, twin, evaluate).check


def _run_and_judge(
    sandbox: Sandbox, task: Task, program: str, name: str, twin: int = 0, evaluate: str = ""
) -> _JudgedRun:
    """Run and judge a program; retry if the sandbox died, or if something outside killed one of its processes."""
    for _ in range(_ATTEMPTS):
        judged = _run_once(sandbox, task, program, name, twin, evaluate or task.evaluate)
        if judged.check.reason != "sandbox":
            break
    return judged


def _run_once(sandbox: Sandbox, task: Task, program: str, name: str, twin: int, evaluate: str) -> _JudgedRun:
    started = time.monotonic()
    try:
        with sandbox.session(task.env, task.seed, twin=twin) as session:
            run = session.run(program, last=True) if program else None
            judgement = session.evaluate(evaluate)
    except WorldError as error:
        check = Check(name=name, outcome="invalid", reason="world", message=error.message, where="program")
        return _JudgedRun(check, [], [])
    calls = run.calls if run else []
    check = _check_of(name, run, judgement, list(map(bare, calls)), time.monotonic() - started)
    return _JudgedRun(check, calls, judgement.calls)


def _check_of(name: str, run: Run | None, judgement: Judgement, calls: list[Observation], seconds: float) -> Check:
    """Combine a program's run and its judgement into one check; an invalid judgement overrides an invalid run."""
    check = Check(name=name, outcome=judgement.outcome, calls=calls, seconds=seconds)
    if run is not None:
        check.answer = run.answer
    if run is not None and not run.ok:
        check.outcome = "invalid"
        check.reason, check.message, check.where = run.reason, run.message, "program"
    if judgement.outcome == "invalid":  # reported even if the program failed too: a check must work in every end state
        check.reason, check.message, check.where = judgement.reason, judgement.message, "evaluate"
    return check


def bare(call: Observation) -> Observation:
    """Return a call without its result, as records keep it."""
    return Observation(
        tool=call.tool, args=call.args, kwargs=call.kwargs, error=call.error, writes=call.writes, refused=call.refused
    )


def without_times(verdict: Verdict) -> Verdict:
    """Remove the wall times from a verdict, so that the same input gives the same bytes; return the verdict."""
    for check in verdict.checks:
        check.seconds = None
    return verdict
