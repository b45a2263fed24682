"""`sca verify`: candidate tasks → tasks that proved themselves (paper, section 3: the filter)."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from sca_cli import streams
from sca_cli.commands.rollout import Attempts
from sca_cli.commands.shared import options
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Done,
    Meter,
    exit_code,
    opened_model,
    pump,
    required_inputs,
    required_model,
    sandbox_width,
    say,
    written_before,
)
from sca_cli.doctor import layers
from sca_cli.episode.agent import Actor
from sca_cli.errors import ExitCode, UsageError
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Sampling
from sca_cli.records import Rollout, Task, Verdict
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output
from sca_cli.verification import paper_filter
from sca_cli.verification.agreement import agreement
from sca_cli.verification.duplicates import KeptTasks
from sca_cli.verification.funnel import Funnel


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a task has to prove beyond the paper's filter.

    Args:
        stages: names of the stages to pass.
        strict: what is only reported otherwise rejects too.
        attempts: who tries the instruction, with `--agree`.
    """

    stages: frozenset[str] = frozenset()
    strict: bool = False
    attempts: Attempts | None = None

    async def verdict(self, sandbox: Sandbox, task: Task) -> tuple[Verdict, list[Rollout]]:
        """Prove one task; return the attempts at it too.

        Raises:
            SandboxError, MissingError, PluginError: as `paper_filter.verify`.
        """
        verdict = await asyncio.to_thread(paper_filter.verify, sandbox, task, self.stages, strict=self.strict)
        rollouts: list[Rollout] = []
        if verdict.passed and self.attempts:
            samples = range(self.attempts.samples)
            rollouts = await asyncio.gather(*(self.attempts.attempt(task, sample) for sample in samples))
            verdict.agreement, found = agreement(rollouts)
            verdict.findings += found
            if any(finding.rejects or self.strict for finding in found):
                paper_filter.reject(verdict, "agreement")
        return verdict, rollouts


def run(
    tasks: Iterable[Task],
    sandbox: Sandbox,
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
        sandbox: where their programs run.
        proofs: what they have to prove.
        known: what tasks kept earlier do; grows.
        keep_all: write those that fall as well.
        times: leave wall times in.
        output: where they are written.
        fanout: does the work.
        meter: is told.
    """

    async def work(task: Task) -> Done:
        passed = False
        rollouts: list[Rollout] = []
        if task.error is None:
            task.verdict, rollouts = await proofs.verdict(sandbox, task)
            passed = task.verdict.passed
            task.calls = len(task.verdict.checks[0].calls)
            if not times:
                paper_filter.without_times(task.verdict)
        return Done(task.id, [task] if passed or keep_all else [], [] if passed else [task], [*rollouts])

    def settle(done: Done) -> None:
        for task in done.kept:
            assert isinstance(task, Task)
            if "duplicate" not in proofs.stages or not task.verdict or not task.verdict.passed:
                continue
            found = known.compare(task)
            task.verdict.findings += found
            if any(finding.rejects or proofs.strict for finding in found):
                paper_filter.reject(task.verdict, "duplicate")
                done.rejected.append(task)
            else:
                known.add(task)
        if done.rejected:
            done.rollouts.clear()
        if done.rejected and not keep_all:
            done.kept.clear()

    return pump(tasks, work, identify=lambda task: task.id, output=output, fanout=fanout, meter=meter, settle=settle)


def _in_sound_jail(tasks: Iterable[Task], sandbox: Sandbox, *, quiet: bool) -> Iterator[Task]:
    """Yield the tasks; before the first the jail must prove that it holds, which is told.

    Raises:
        SandboxError: it does not; nothing was run.
    """
    for number, task in enumerate(tasks):
        if not number:
            say(f"sca verify: {layers.sound_jail(sandbox)}", quiet=quiet)
        yield task


def command(
    inputs: options.Inputs = None,
    keep_all: Annotated[
        bool,
        typer.Option("--all", help="Write all tasks with their verdict, not only those that pass.", show_default=False),
    ] = False,
    rejected: options.Rejected = None,
    paper: Annotated[
        bool, typer.Option("--paper", help="Only the paper's filter: none of the proofs below.", show_default=False)
    ] = False,
    no_op: Annotated[bool, typer.Option(help="Doing nothing must not pass.")] = True,
    random: Annotated[bool, typer.Option(help="Random tool calls and answers must not pass.")] = True,
    wrong: Annotated[bool, typer.Option(help="Other answers and changed solutions must not pass.")] = True,
    deterministic: Annotated[
        bool, typer.Option(help="The same again under another hash seed, other random numbers, another date.")
    ] = True,
    tools: Annotated[bool, typer.Option(help="The solution must have needed the tools.")] = True,
    conditions: Annotated[bool, typer.Option(help="Report conditions of the check that no failure case tries.")] = True,
    leak: Annotated[bool, typer.Option(help="The instruction must not give the answer away.")] = True,
    literals: Annotated[
        bool, typer.Option(help="Report values that the check or the solution needs and nobody told.")
    ] = True,
    duplicate: Annotated[bool, typer.Option(help="A task solved by the same calls as an earlier one falls.")] = True,
    strict: Annotated[
        bool, typer.Option("--strict", help="What would be reported rejects instead.", show_default=False)
    ] = False,
    seen: Annotated[
        list[str] | None,
        typer.Option("--seen", metavar="FILE", help="Verified tasks that count as earlier ones.", show_default=False),
    ] = None,
    agree: Annotated[
        str | None,
        typer.Option(
            "--agree",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Have this model attempt each instruction; a majority that the check refuses rejects the task.",
            show_default=False,
        ),
    ] = None,
    attempts: Annotated[int, typer.Option("--attempts", min=2, help="With --agree: attempts at each task.")] = 5,
    rollouts: Annotated[
        str | None,
        typer.Option(
            "--rollouts",
            metavar="FILE",
            help="With --agree: keep the attempts at tasks that pass in FILE, to train on.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="With --agree: tokens that a reply may have.")
    ] = 384,
    seed: options.Seed = 0,
    check_seconds: options.CheckSeconds = 10.0,
    cpu_seconds: options.CpuSeconds = 5,
    memory_mb: options.MemoryMb = 512,
    output_bytes: options.OutputBytes = 65536,
    reply_bytes: options.ReplyBytes = 1 << 20,
    tool_calls: options.ToolCalls = 200,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Run each task's programs in a jail and keep the tasks that pass every stage.

    \b
    Example:
      sca challenge --env calculation -n 200 --all | sca verify --rejected fallen.jsonl > tasks.jsonl

    The paper's filter: the check runs, the solution makes it True, each failure case makes it False. Beyond it a task
    has to prove what the switches name. The funnel goes to stderr, the verdict with all evidence into each task.
    """
    paths = required_inputs(inputs, "sca verify candidates.jsonl > tasks.jsonl")
    switches = {
        "no-op": no_op, "random": random, "wrong": wrong, "deterministic": deterministic, "tools": tools,
        "conditions": conditions, "leak": leak, "literals": literals, "duplicate": duplicate,
    }  # fmt: skip
    if rollouts and not agree:
        raise UsageError("--rollouts needs --agree MODEL", "only then are there attempts to keep")
    stages = frozenset(name for name, on in switches.items() if on and not paper)
    limits = Limits(check_seconds, cpu_seconds, memory_mb, output_bytes, reply_bytes, tool_calls)
    settings = {
        "command": "verify",
        "all": keep_all,
        "stages": sorted(stages),
        "strict": strict,
        "seen": seen or [],
        "agree": required_model(agree, "--agree") if agree else "",
        "attempts": attempts,
        "max_tokens": max_tokens,
        "seed": seed,
        "limits": msgspec.to_builtins(limits),
        "times": times,
    }
    read_from = [*paths, *(seen or [])]
    sink = Output(output, rejected=rejected, rollouts=rollouts, resume=resume, settings=settings, inputs=read_from)
    shown = [
        name
        for name in paper_filter.STAGES
        if name in stages or name in paper_filter.PAPER_STAGES or (agree and name == "agreement")
    ]
    funnel = Funnel(["parsed", *shown])
    known = KeptTasks()
    for before in streams.read(seen or [], Task):
        known.add(before)
    counted = not sink.begun_at or keep_all or bool(rejected)
    if not counted:
        text = f"sca verify: the funnel leaves out {sink.begun_at} candidates done before; --rejected FILE keeps count"
        say(text, quiet=quiet)
    for earlier in written_before(sink, [output] if keep_all else [output, rejected], Task):
        known.add(earlier)
        if counted:
            funnel.count(earlier)
    with ExitStack() as stack:
        fanout = stack.enter_context(Fanout(concurrency or (MODEL_WIDTH if agree else sandbox_width())))
        sandbox = stack.enter_context(Sandbox(limits))
        meter = stack.enter_context(Meter("verify", streams.line_count(paths), quiet=quiet))
        trying = None
        if agree:
            engine = stack.enter_context(opened_model(agree, fanout))
            trying = Attempts(
                Actor(engine, Sampling(temperature=0.7, max_tokens=max_tokens)),
                sandbox,
                agree,
                attempts,
                seed,
                "verify",
                times,
            )
        proofs = Proofs(stages, strict, trying)
        tasks = _in_sound_jail(streams.read(paths, Task), sandbox, quiet=quiet)
        for done in run(
            tasks, sandbox, proofs, known=known, keep_all=keep_all, times=times, output=sink, fanout=fanout, meter=meter
        ):
            for task in done.rejected or done.kept:
                assert isinstance(task, Task)
                funnel.count(task)
    say("\n".join(funnel.lines()) or "sca verify: no candidates", quiet=quiet)
    return exit_code(sink.kept)
