"""`sca verify`: keep the candidate tasks that pass the paper's filter and further proofs (paper, section 3)."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

import typer

from sca_cli import streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.attempts import TURNS, Attempts
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Done,
    LeftOut,
    Meter,
    exit_code,
    most_frequent,
    on_command_line,
    opened_model,
    pump,
    required_inputs,
    required_model,
    sandbox_width,
    say,
    written_before,
)
from sca_cli.doctor import layers
from sca_cli.episode.agent import Actor, EpisodeLimits
from sca_cli.errors import ExitCode, UsageError
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Model, Sampling
from sca_cli.prompts import ATTEMPT, SENSE, Prompts
from sca_cli.records import ErrorNote, Rollout, Task, TaskLimits, Verdict
from sca_cli.sandbox import AllowedEnvs, Sandbox
from sca_cli.streams import Output
from sca_cli.verification import paper_filter
from sca_cli.verification.agreement import agreement
from sca_cli.verification.duplicates import KeptTasks
from sca_cli.verification.funnel import Funnel
from sca_cli.verification.proofs import PROOFS
from sca_cli.verification.sense import review


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proofs that a task must pass in addition to the paper's filter.

    Args:
        stages: names of the stages to pass.
        strict: treat warnings as rejections.
        attempts: attempts the instruction, with `--agree`.
        reviewer: the model that reviews kept tasks, its name and the prompts, with `--sense`.
    """

    stages: frozenset[str] = frozenset()
    strict: bool = False
    attempts: Attempts | None = None
    reviewer: tuple[Model, str, Prompts] | None = None

    async def verdict(self, sandboxes: Sandboxes, task: Task) -> tuple[Verdict, list[Rollout]]:
        """Verify one task; return its verdict and the attempts at it.

        Raises:
            SandboxError, MissingError, PluginError: as `paper_filter.verify`.
            RecordError: the tasks of this run have too many different limits.
        """
        sandbox, limits = sandboxes.sandbox_of(task), sandboxes.limits_of(task)
        async with sandboxes.room_for(task):
            verdict = await asyncio.to_thread(paper_filter.verify, sandbox, task, self.stages, strict=self.strict)
        rollouts: list[Rollout] = []
        if verdict.passed and self.attempts:
            samples = range(self.attempts.per_task)
            rollouts = await asyncio.gather(*(self.attempts.attempt(task, sample) for sample in samples))
            verdict.agreement, findings = agreement(rollouts)
            verdict.findings += findings
            if any(finding.rejects or self.strict for finding in findings):
                paper_filter.reject(verdict, "agreement")
        if verdict.passed and self.reviewer:
            policy = await asyncio.to_thread(lambda: sandbox.describe(task.env).policy)
            verdict.sense, findings = await review(*self.reviewer, task, policy)
            verdict.findings += findings
        verdict.limits = limits if limits != TaskLimits() else None
        return verdict, rollouts


def run(
    tasks: Iterable[Task],
    sandboxes: Sandboxes,
    proofs: Proofs,
    *,
    known: KeptTasks,
    keep_all: bool = False,
    times: bool = False,
    output: Output,
    fanout: Fanout,
    meter: Meter,
) -> Iterator[Done]:
    """Verify each task and write those that pass.

    Args:
        tasks: the candidates.
        sandboxes: run the programs of each task under the limits of the task.
        proofs: the proofs to pass.
        known: programs and calls of the tasks kept so far; each kept task is added.
        keep_all: write rejected tasks too.
        times: keep wall times in the records.
        output: where the records are written.
        fanout: runs the work concurrently.
        meter: shows progress.
    """

    async def work(task: Task) -> Done:
        passed = False
        rollouts: list[Rollout] = []
        if task.error is None:
            task.verdict, rollouts = await proofs.verdict(sandboxes, task)
            passed = task.verdict.passed
            task.calls = len(task.verdict.checks[0].calls)
            if not times:
                paper_filter.without_times(task.verdict)
        return Done(task.id, [task] if passed or keep_all else [], [] if passed else [task], [*rollouts])

    def failed(task: Task, note: ErrorNote) -> Done:
        task.error, task.verdict = note, None
        return Done(task.id, [task] if keep_all else [], [task])

    def settle(done: Done) -> None:
        for task in done.kept:
            assert isinstance(task, Task)
            if "duplicate" not in proofs.stages or not task.verdict or not task.verdict.passed:
                continue
            findings = known.compare(task)
            task.verdict.findings += findings
            if any(finding.rejects or proofs.strict for finding in findings):
                paper_filter.reject(task.verdict, "duplicate")
                done.rejected.append(task)
            else:
                known.add(task)
        if done.rejected:
            done.rollouts.clear()
        if done.rejected and not keep_all:
            done.kept.clear()

    return pump(
        tasks,
        work,
        failed=failed,
        identify=lambda task: task.id,
        output=output,
        fanout=fanout,
        meter=meter,
        settle=settle,
    )


def _in_sound_jail(tasks: Iterable[Task], sandbox: Sandbox, *, quiet: bool) -> Iterator[Task]:
    """Yield the tasks. Before the first task, check that the jail holds, and report it.

    Raises:
        SandboxError: the jail does not hold; nothing was run.
    """
    for number, task in enumerate(tasks):
        if not number:
            say(f"sca verify: {layers.sound_jail(sandbox)}", quiet=quiet)
        yield task


SKIPPABLE = (*PROOFS, "duplicate")
"""The proofs that `--skip` can leave out."""


def _skippable(name: str) -> str:
    if name not in SKIPPABLE:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, SKIPPABLE))}.")
    return name


_OF_AGREE = ("rollouts", "turns", "temperature")
"""Options that have a meaning only with `--agree`."""


def command(
    context: typer.Context,
    inputs: options.Inputs = None,
    keep_all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Write all tasks with their verdicts, instead of only the kept tasks.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = False,
    rejected: options.Rejected = None,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Run only the paper's filter, and none of the further proofs.",
            show_default=False,
            rich_help_panel=options.PROOFS,
        ),
    ] = False,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip",
            metavar="STAGE",
            parser=_skippable,
            help=f"Leave out a proof: {', '.join(SKIPPABLE[:-1])} or {SKIPPABLE[-1]}; repeat it to leave out several.",
            show_default=False,
            rich_help_panel=options.PROOFS,
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Treat warnings as rejections.", show_default=False, rich_help_panel=options.PROOFS
        ),
    ] = False,
    seen: Annotated[
        list[str] | None,
        typer.Option(
            "--seen",
            metavar="FILE",
            help="Reject duplicates of the verified tasks in FILE too; repeat it for several files.",
            show_default=False,
            rich_help_panel=options.PROOFS,
        ),
    ] = None,
    agree: Annotated[
        str | None,
        typer.Option(
            "--agree",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Let this model attempt each instruction; reject a task if most attempts agree on an outcome that "
            "fails the check.",
            show_default=False,
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = None,
    sense: Annotated[
        str | None,
        typer.Option(
            "--sense",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Let this model review each kept task and record what it says: would a user ask for this, is the "
            "instruction complete, does the policy allow the solution. Nothing is rejected.",
            show_default=False,
            rich_help_panel=options.PROOFS,
        ),
    ] = None,
    attempts: Annotated[
        int,
        typer.Option(
            "--attempts",
            "-k",
            min=2,
            help="With --agree: attempts at each task.",
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = 5,
    rollouts: Annotated[
        str | None,
        typer.Option(
            "--rollouts",
            metavar="FILE",
            help="With --agree: write the attempts at kept tasks to FILE, to train on.",
            show_default=False,
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = None,
    turns: Annotated[
        int | None,
        typer.Option(
            "--turns",
            min=1,
            help="With --agree: limit of turns in one attempt. The kept task records it for later verbs.",
            show_default="the task's, else 4",
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = None,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature", min=0.0, help="With --agree: sampling temperature.", rich_help_panel=options.ATTEMPTS
        ),
    ] = 0.7,
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max-tokens", min=1, help="With --agree: limit of tokens in one reply.", rich_help_panel=options.ATTEMPTS
        ),
    ] = 384,
    prompt: options.Prompt = None,
    seed: Annotated[
        int, typer.Option("--seed", help="With --agree: seed of the attempts.", rich_help_panel=options.ATTEMPTS)
    ] = 0,
    allow_env: options.AllowEnv = None,
    check_seconds: options.CheckSeconds = None,
    cpu_seconds: options.CpuSeconds = None,
    memory_mb: options.MemoryMb = None,
    output_bytes: options.OutputBytes = None,
    reply_bytes: options.ReplyBytes = None,
    tool_calls: options.ToolCalls = None,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Run each task's programs in a jail and keep the tasks that pass every stage.

    \b
    Example:
      sca challenge --env calculation --method compose -n 200 | sca verify --rejected rejected.jsonl > tasks.jsonl

    The paper's filter: the check runs, the solution makes it True, each failure case makes it False. The further
    proofs follow; --skip leaves one out. The funnel goes to standard error, the verdict with its evidence into each
    task. The verdict also records the limits, and later verbs judge the task under the same limits.
    """
    paths = required_inputs(inputs, "sca verify candidates.jsonl > tasks.jsonl")
    if not agree and (typed := [name for name in _OF_AGREE if on_command_line(context, name)]):
        raise UsageError(f"--{typed[0].replace('_', '-')} needs --agree MODEL", "without it no task is attempted")
    if not agree and not sense and prompt:
        raise UsageError("--prompt needs --agree MODEL or --sense MODEL", "without them no prompt is used")
    stages = frozenset() if paper else frozenset(SKIPPABLE) - frozenset(skip or [])
    limits = {
        "check_seconds": check_seconds,
        "cpu_seconds": cpu_seconds,
        "memory_mb": memory_mb,
        "output_bytes": output_bytes,
        "reply_bytes": reply_bytes,
        "tool_calls": tool_calls,
        "turns": turns,
    }
    typed_limits = {name: value for name, value in limits.items() if value is not None}
    prompts = Prompts.from_option(prompt)
    settings = options.settings_of(
        context,
        skip=sorted(skip or []),
        agree=required_model(agree, "--agree") if agree else None,
        sense=required_model(sense, "--sense") if sense else None,
        prompt=prompts.fingerprint(*(ATTEMPT if agree else ()), *(SENSE if sense else ())) if agree or sense else None,
    )
    allowed = AllowedEnvs(allow_env or [])
    read_from = [*paths, *(seen or [])]
    sink = Output(output, rejected=rejected, rollouts=rollouts, resume=resume, settings=settings, inputs=read_from)
    shown = [
        name
        for name in paper_filter.STAGES
        if name in stages or name in paper_filter.PAPER_STAGES or (agree and name == "agreement")
    ]
    funnel = Funnel(["parsed", *shown])
    known = KeptTasks()
    for task in streams.read(seen or [], Task):
        known.add(task)
    counted = not sink.begun_at or keep_all or bool(rejected)
    if not counted:
        text = f"sca verify: the funnel leaves out the {sink.begun_at} candidates of the run before"
        say(f"{text}; with --rejected FILE it would count them", quiet=quiet)
    for earlier in written_before(sink, [output] if keep_all else [output, rejected], Task):
        known.add(earlier)
        if counted:
            funnel.count(earlier)
    left_out = LeftOut("verify")
    errors: Counter[str] = Counter()
    with ExitStack() as stack:
        fanout = stack.enter_context(Fanout(concurrency or (MODEL_WIDTH if agree or sense else sandbox_width())))
        sandboxes = stack.enter_context(Sandboxes(allowed, typed=typed_limits))
        meter = stack.enter_context(Meter("verify", streams.line_count(paths), quiet=quiet))
        attempter = None
        if agree:
            engine = stack.enter_context(opened_model(agree, fanout))
            actor = Actor(
                engine,
                Sampling(temperature, max_tokens=max_tokens),
                EpisodeLimits(turns=turns or TURNS),
                prompts=prompts,
            )
            attempter = Attempts(actor, sandboxes, agree, attempts, seed, "verify", times, turns=turns)
        reviewer = (stack.enter_context(opened_model(sense, fanout)), sense, prompts) if sense else None
        proofs = Proofs(stages, strict, attempter, reviewer)
        tasks = _in_sound_jail(streams.read(paths, Task, left_out=left_out), sandboxes.sandbox_of(), quiet=quiet)
        for done in run(
            tasks,
            sandboxes,
            proofs,
            known=known,
            keep_all=keep_all,
            times=times,
            output=sink,
            fanout=fanout,
            meter=meter,
        ):
            for task in done.rejected or done.kept:
                assert isinstance(task, Task)
                funnel.count(task)
                if task.error:
                    errors[task.error.message] += 1
    say("\n".join([*funnel.lines(), *most_frequent(errors)]) or "sca verify: no candidates", quiet=quiet)
    return exit_code(sink.kept, left_out)
