"""`sca verify`: candidate tasks → tasks that proved themselves (paper, section 3: the filter)."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from sca_cli import checks, streams
from sca_cli.commands import options
from sca_cli.commands.shell import Done, Meter, exit_code, pump, required_inputs, sandbox_width, say, written_before
from sca_cli.doctor import layers
from sca_cli.errors import ExitCode
from sca_cli.fanout import Fanout
from sca_cli.records import Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output

STAGES = ("parsed", *checks.STAGES)
"""The funnel as it is printed; `parsed` is where candidates fall that `challenge --all` could not read."""


def run(
    tasks: Iterable[Task],
    sandbox: Sandbox,
    *,
    keep_all: bool = False,
    times: bool = False,
    output: Output,
    fanout: Fanout,
    meter: Meter,
) -> Iterator[Done]:
    """Verify each task and write those that pass."""

    async def work(task: Task) -> Done:
        passed = False
        if task.error is None:
            task.verdict = await asyncio.to_thread(checks.verify, sandbox, task)
            passed = task.verdict.passed
            task.calls = len(task.verdict.checks[0].calls)
            if not times:
                checks.without_times(task.verdict)
        return Done(task.id, [task] if passed or keep_all else [], [] if passed else [task])

    return pump(tasks, work, identify=lambda task: task.id, output=output, fanout=fanout, meter=meter)


class Funnel:
    """How many candidates passed each stage, by method, and in what jail."""

    def __init__(self) -> None:
        self.jail = ""
        """What was found of the jail before the first task."""
        self._fell: dict[str, Counter[str]] = {}
        self._kept: dict[str, set[str]] = {}

    def count(self, task: Task) -> None:
        """Count one task where it fell."""
        stage = task.verdict.stage if task.verdict else "parsed"
        method = task.method or "hand-written"
        self._fell.setdefault(method, Counter())[stage] += 1
        if task.verdict and task.verdict.passed:
            self._kept.setdefault(method, set()).add(task.id)

    def lines(self) -> list[str]:
        """Return the funnel as text: how many passed each stage, their share, and how many distinct ones are kept."""
        lines = [f"sca verify: {self.jail}"] if self.jail else []
        for method, fell in sorted(self._fell.items()):
            left = total = fell.total()
            lines.append(f"sca verify: {total} candidates, method {method}")
            for stage in STAGES:
                left -= fell[stage]
                lines.append(f"  {stage:<9} {left:6d}  {left / total:6.1%}")
            lines.append(f"  {'distinct':<9} {len(self._kept.get(method, ())):6d}")
        return lines


def _in_sound_jail(tasks: Iterable[Task], sandbox: Sandbox, funnel: Funnel) -> Iterator[Task]:
    """Yield the tasks; before the first the jail must prove that it holds.

    Raises:
        SandboxError: it does not; nothing was run.
    """
    for task in tasks:
        funnel.jail = funnel.jail or layers.sound_jail(sandbox)
        yield task


def command(
    inputs: options.Inputs = None,
    keep_all: Annotated[
        bool,
        typer.Option("--all", help="Write all tasks with their verdict, not only those that pass.", show_default=False),
    ] = False,
    rejected: options.Rejected = None,
    check_seconds: options.CheckSeconds = 10.0,
    memory_mb: options.MemoryMb = 512,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Keep the tasks that prove themselves, each program in a jail of its own.

    \b
    Example:
      sca challenge --env calculation -n 200 --all | sca verify --rejected fallen.jsonl > tasks.jsonl

    The paper's filter: the check runs, the solution makes it True, each failure case makes it False. The funnel goes to
    stderr, the verdict with all evidence into each task.
    """
    paths = required_inputs(inputs, "sca verify candidates.jsonl > tasks.jsonl")
    limits = Limits(wall_s=check_seconds, memory_mb=memory_mb)
    settings = {
        "command": "verify",
        "all": keep_all,
        "check_seconds": check_seconds,
        "memory_mb": memory_mb,
        "times": times,
    }
    sink = Output(output, rejected=rejected, resume=resume, settings=settings, inputs=paths)
    funnel = Funnel()
    if sink.begun_at and not (keep_all or rejected):
        say(
            f"sca verify: the funnel leaves out {sink.begun_at} candidates done before; --rejected FILE keeps count",
            quiet=quiet,
        )
    else:
        for earlier in written_before(sink, [output] if keep_all else [output, rejected], Task):
            funnel.count(earlier)
    with (
        Fanout(concurrency or sandbox_width()) as fanout,
        Sandbox(limits) as sandbox,
        Meter("verify", streams.line_count(paths), quiet=quiet) as meter,
    ):
        tasks = _in_sound_jail(streams.read(paths, Task), sandbox, funnel)
        for done in run(tasks, sandbox, keep_all=keep_all, times=times, output=sink, fanout=fanout, meter=meter):
            for task in done.rejected or done.kept:
                assert isinstance(task, Task)
                funnel.count(task)
    say("\n".join(funnel.lines()) or "sca verify: no candidates", quiet=quiet)
    return exit_code(sink.kept)
