"""`sca suite`: external benchmarks, such as M3ToolEval and TauBench: list them, run their references, export tasks.

`sca eval --suite NAME` measures a model on one.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
import typer

from sca_cli import messages, plugins
from sca_cli.commands.eval import finish
from sca_cli.commands.shared import eval_against, options
from sca_cli.commands.shared.eval_suite import SUITE_LIMITS, by_reference, missed
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import exit_code, made_by, sandbox_width, say
from sca_cli.commands.shared.verb import Verb
from sca_cli.errors import ExitCode
from sca_cli.evaluation.scores import counted, overlap_of, score_of
from sca_cli.evaluation.suites import Suite, failure_cases, open_suite, parse_suite
from sca_cli.fanout import Fanout
from sca_cli.records import Task, content_id
from sca_cli.sandbox import AllowedEnvs
from sca_cli.streams import Output

app = typer.Typer(
    help="List external benchmarks, run their reference solutions, export their tasks.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SuiteArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME[:PATH][,k=v…]",
        help="The benchmark: m3tooleval:PATH, taubench:PATH or tau2.",
        show_default=False,
        rich_help_panel=options.TASKS,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count",
        "-n",
        min=1,
        help="Use only the first N tasks.",
        show_default="all",
        rich_help_panel=options.TASKS,
    ),
]


@contextmanager
def _opened(name: str, count: int | None, concurrency: int | None, *, quiet: bool) -> Iterator[tuple[Suite, Fanout]]:
    """Context manager: open a suite, and print the versions of its data and of its checker."""
    spec = parse_suite(name)
    with (
        Fanout(concurrency or sandbox_width()) as fanout,
        Sandboxes(AllowedEnvs.of_suite(spec), SUITE_LIMITS) as sandboxes,
    ):
        suite = open_suite(spec, sandboxes.sandbox_of(), fanout, count)
        say("sca suite: {suite}: {data}; checker {checker}".format(**suite.facts()), quiet=quiet)
        yield suite, fanout


@app.command("list")
def list_suites() -> None:
    """List the benchmarks.

    \b
    Example:
      sca suite list
    """
    for entry in plugins.registry().environments.values():
        if plugins.is_suite(entry):
            messages.show(f"{entry.name:<16}{entry.help}")


@app.command("gold", cls=Verb)
def gold(
    name: SuiteArgument,
    count: Count = None,
    against: options.Against = None,
    output: options.Output = "-",
    concurrency: options.Concurrency = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Run the reference solutions instead of a model; all must pass.

    \b
    Example:
      sca suite gold taubench:tau-bench,domain=airline

    It writes one score record; the exit code is 1 if a reference does not pass. M3ToolEval has no reference actions:
    its expected answers are submitted instead.
    """
    sink = Output(output, rejected=None, resume=False, settings={"command": "suite gold"}, inputs=against or [])
    trained = eval_against.read(against, stdin_taken=False) if against else None
    with _opened(name, count, concurrency, quiet=quiet) as (suite, fanout):
        shared = eval_against.shared_by(trained, suite.tasks, "suite")
        noop = suite.noop_share(fanout) if suite.tasks else None
        rollouts = list(by_reference(suite, fanout))
        lines = missed(rollouts)
        if lines:
            say(lines, quiet=quiet)
        tallies = counted(rollouts)
        score = score_of(tallies, "gold", 1, noop)
        score.made_by, score.extra = made_by("suite gold", model="gold"), suite.facts()
        score.overlap = overlap_of(shared, tallies)
        code = finish([score], sink, quiet)
        return ExitCode.NOTHING if lines else code


@app.command("export", cls=Verb)
def export(
    name: SuiteArgument,
    count: Count = None,
    output: options.Output = "-",
    concurrency: options.Concurrency = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Write the tasks of a benchmark as held-out task records.

    \b
    Example:
      sca suite export taubench:tau-bench,split=dev -o dev.jsonl

    Failure cases are derived from the reference. A task with fewer than three of them does not pass 'sca verify'.
    """
    sink = Output(output, rejected=None, resume=False, settings={"command": "suite export", "suite": name})
    with _opened(name, count, concurrency, quiet=quiet) as (suite, fanout):

        async def work(task: Task) -> Task:
            cases = await asyncio.to_thread(failure_cases, suite, task)
            return msgspec.structs.replace(task, id="", failure_cases=cases)

        short = 0
        for task in fanout.ordered(suite.tasks, work):
            short += len(task.failure_cases) < 3
            sink.write(content_id(task), [task])
    sink.close(complete=True)
    lacking = f"; {short} with fewer than three failure cases, which `sca verify` rejects" if short else ""
    say(f"sca suite: {sink.kept} tasks written{lacking}", quiet=quiet)
    return exit_code(sink.kept)
