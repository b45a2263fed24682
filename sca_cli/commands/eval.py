"""`sca eval`: Pass@k and pass^k of a model on held-out tasks, with intervals, no-op baseline, paired comparison."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import eval_against, eval_suite, options
from sca_cli.commands.shared.acting import Acting, opened_actor
from sca_cli.commands.shared.attempts import Attempts, Results, attempt_all, worth_attempting
from sca_cli.commands.shared.error_note import error_note
from sca_cli.commands.shared.eval_suite import SUITE_LIMITS
from sca_cli.commands.shared.grouped import grouped
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    LeftOut,
    Meter,
    exit_code,
    made_by,
    on_command_line,
    required_model,
    say,
)
from sca_cli.episode.agent import Actor
from sca_cli.errors import ExitCode, ScaError, UsageError
from sca_cli.evaluation.scores import Tallies, counted, overlap_of, paired_difference, score_of, scores_by_model, table
from sca_cli.evaluation.suites import open_suite, parse_suite
from sca_cli.fanout import Fanout
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import Check, Protocol, Rollout, Score, Task
from sca_cli.sandbox import AllowedEnvs
from sca_cli.streams import Output
from sca_cli.verification import paper_filter

_SHOWN_PROBLEMS = 5
"""Most tasks that the warning about failing solutions lists. Chosen by hand; not measured."""
_REASON_CHARS = 120
"""Most characters of an exception that are shown: its end, because the last line says most. Chosen by hand."""


def noop_share(tasks: Sequence[Task], sandboxes: Sandboxes, fanout: Fanout) -> float:
    """Return the share of tasks whose check passes after an empty program."""

    async def work(task: Task) -> bool:
        check = await _checked(task, "", "no-op", sandboxes)
        return check is not None and check.outcome == "pass"

    return sum(fanout.ordered(tasks, work)) / len(tasks)


async def _checked(task: Task, program: str, name: str, sandboxes: Sandboxes) -> Check | None:
    """Return the check after a program; None if the task cannot be run, which the attempts at it report."""
    try:
        async with sandboxes.room_for(task):
            sandbox = sandboxes.sandbox_of(task)
            return await asyncio.to_thread(paper_filter.run_check, sandbox, task, program, name)
    except Exception as error:  # noqa: BLE001  whatever one task raises, it does not end the run
        error_note(error)
        return None


def warn_of_unproven(tasks: Sequence[Task], sandboxes: Sandboxes, fanout: Fanout) -> None:
    """Run the solution of each task, and warn if some fail their own check. `--quiet` does not hide this warning."""

    async def work(task: Task) -> str:
        check = await _checked(task, task.solution, "solution", sandboxes)
        if check is None:
            return ""
        reason = " ".join(f"{check.outcome} {check.reason} {check.message.strip()[-_REASON_CHARS:]}".split())
        return "" if check.outcome == "pass" else f"  task {task.id}: {reason}"

    solvable = [task for task in tasks if task.solution and not task.unverified]
    problems = [line for line in fanout.ordered(solvable, work) if line]
    if problems:
        count = f"the solutions of {len(problems)} of {len(solvable)} tasks do not pass their own checks"
        say(f"sca eval: WARNING: {count}; no attempt at them measures the model", quiet=False)
        for line in problems[:_SHOWN_PROBLEMS]:
            say(line, quiet=False)
        say("hint: correct or remove these tasks, or keep what 'sca verify' passes", quiet=False)


def protocol_of(actor: Actor, acting: Acting, customers: bool, suite: bool) -> Protocol:
    """Return how attempts were made.

    Args:
        actor: made them.
        acting: its options.
        customers: the tasks had simulated customers.
        suite: the tasks are those of a suite, which have no limit of turns of their own.
    """
    limits = actor.user_limits if customers else actor.limits
    return Protocol(
        actions=actor.actions,
        temperature=actor.sampling.temperature,
        top_p=actor.sampling.top_p,
        max_tokens=actor.sampling.max_tokens,
        turns=limits.turns if customers or suite or acting.turns else None,
        tokens=limits.tokens,
        user_temperature=actor.user.sampling.temperature if customers and actor.user else None,
        user_max_tokens=actor.user.sampling.max_tokens if customers and actor.user else None,
        direct=acting.direct,
        observation_chars=limits.observation_chars,
    )


def run(
    tasks: Sequence[Task], attempts: Attempts, *, output: Output, fanout: Fanout, meter: Meter, path: str
) -> tuple[Tallies, Results]:
    """Attempt all tasks and count the outcomes. Attempts of a resumed run are counted from the file."""
    for _ in attempt_all(tasks, attempts, output=output, fanout=fanout, meter=meter):
        pass
    results = Results("eval")

    def counting() -> Iterator[Rollout]:
        for rollout in streams.read([path], Rollout):
            results.add(rollout)
            yield rollout

    return counted(counting()), results


@dataclass(frozen=True, slots=True)
class Evaluating(Acting):
    """The options of the attempts that are scored."""

    temperature: options.Temperature = 0.7


@grouped
def command(
    context: typer.Context,
    *,
    inputs: options.Inputs = None,
    env: options.Env = None,
    allow_env: options.AllowEnv = None,
    model: options.Model = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Measure two models on the same tasks, and the paired difference B minus A.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    acting: Evaluating,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            help="Use only the first N tasks.",
            show_default="all",
            rich_help_panel=options.TASKS,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="NAME[:PATH][,k=v…]",
            help="Measure on an external benchmark: m3tooleval:PATH, taubench:PATH or tau2 ('sca suite list').",
            show_default=False,
            rich_help_panel=options.TASKS,
        ),
    ] = None,
    published: Annotated[
        bool,
        typer.Option(
            "--as-published",
            help="Use the settings of the benchmark's authors: form of actions, attempts, turns, sampling.",
            show_default=False,
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = False,
    against: options.Against = None,
    rollouts: Annotated[
        str | None,
        typer.Option(
            "--rollouts",
            metavar="FILE",
            help="Write the attempts to FILE, and those of a second model to FILE.b.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = None,
    seed: options.Seed = 0,
    output: options.Output = "-",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue a stopped run from the attempts in --rollouts FILE.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Measure a model on held-out tasks: Pass@k, pass^k, 95 % intervals, the no-op baseline.

    \b
    Example:
      sca eval --env calculation -k 4 --compare transformers:BASE transformers:runs/trained

    It attempts the tasks that it reads, or the held-out tasks of --env. Invalid attempts are counted separately and are
    in no estimate. If it reads rollouts instead of tasks, it scores them and runs nothing.
    """
    models = list(compare) if compare else [model] if model else []
    env_typed = on_command_line(context, "env")
    if suite and (inputs or env_typed):
        raise UsageError("--suite brings its own tasks", "leave out files and --env")
    if published and not suite:
        raise UsageError("--as-published needs --suite", "it uses the settings of a benchmark's authors")
    paths = inputs or (["-"] if streams.is_piped() and not env_typed and not suite else [])
    read_from = [*paths, *(against or [])]
    sink = Output(output, rejected=None, resume=False, settings={"command": "eval"}, inputs=read_from)
    trained = eval_against.read(against, stdin_taken="-" in paths) if against else None
    suite_spec = parse_suite(suite) if suite else None
    allowed = AllowedEnvs.of_suite(suite_spec) if suite_spec else AllowedEnvs([*(env or []), *(allow_env or [])])
    left_out = LeftOut("eval")
    records = [] if suite_spec else list(_records(paths, env, left_out))
    attempted = [record for record in records if isinstance(record, Rollout)]
    if len(attempted) not in (0, len(records)):
        raise UsageError("tasks and rollouts are mixed", "evaluate one kind at a time")
    if judged := [rollout for rollout in attempted if rollout.judged_by]:
        raise UsageError(
            f"rollout {judged[0].id} was judged by the model {judged[0].judged_by}: a score counts only checks",
            "leave out rollouts that have judged_by",
        )
    if attempted:
        shared = eval_against.shared_by(trained, {rollout.task.id: rollout.task for rollout in attempted}.values())
        return finish(scores_by_model(attempted, shared), sink, quiet, left_out)
    names = [required_model(name) for name in models] or [required_model(None)]
    if resume and not rollouts:
        raise UsageError("--resume needs --rollouts FILE", "the attempts in it are the progress")
    prompts = Prompts.from_option(acting.prompt)
    talk = acting.talk()
    scores: list[Score] = []
    tallies: list[Tallies] = []
    limits = SUITE_LIMITS if suite_spec else None
    with Fanout(concurrency or MODEL_WIDTH) as fanout, Sandboxes(allowed, limits) as sandboxes:
        opened = open_suite(suite_spec, sandboxes.sandbox_of(), fanout, count) if suite_spec else None
        tasks = list(worth_attempting(record for record in records if isinstance(record, Task)))[:count]
        tasks = opened.tasks if opened else tasks
        if not tasks:
            say("sca eval: no tasks to attempt", quiet=quiet)
        shared = eval_against.shared_by(trained, tasks)
        if opened and published:
            acting = replace(acting, **eval_suite.as_published(context, opened))
            talk = acting.talk()
        if opened:
            say("sca eval: {suite}: {data}; checker {checker}".format(**opened.facts()), quiet=quiet)
        if compare and not (acting.user_model or acting.direct) and _have_customers(tasks, sandboxes):
            raise UsageError("--compare with customers needs --user-model", "both models must meet the same customers")
        noop = (opened.noop_share(fanout) if opened else noop_share(tasks, sandboxes, fanout)) if tasks else None
        if not opened:  # 'sca suite gold' runs the solutions of a suite
            warn_of_unproven(tasks, sandboxes, fanout)
        broke = False
        for place, name in enumerate(names if tasks else []):
            settings = options.settings_of(
                context, "compare", "against", model=name, prompt=prompts.fingerprint(*ATTEMPT)
            )
            limits_of_episode = acting.limits
            if opened:
                limits_of_episode = replace(
                    acting.limits,
                    tokens=acting.limits.turns * acting.max_tokens,
                    observation_chars=acting.observation_chars,
                )
            with (
                _kept_rollouts(rollouts, place) as path,
                Meter("eval", len(tasks) * acting.attempts, quiet=quiet) as meter,
                opened_actor(name, fanout, acting.sampling, limits_of_episode, acting.actions, prompts, talk) as actor,
            ):
                kept = Output(path, rejected=None, resume=resume, settings=settings, inputs=read_from)
                attempter = Attempts(
                    actor, sandboxes, name, acting.attempts, seed, command="eval", times=times, turns=acting.turns
                )
                attempter = eval_suite.judged_by(opened, attempter) if opened else attempter
                tally, results = run(tasks, attempter, output=kept, fanout=fanout, meter=meter, path=path)
            tallies.append(tally)
            broke = broke or results.broke()
            scores.append(score_of(tallies[-1], name, acting.attempts, noop))
            scores[-1].protocol = protocol_of(attempter.actor, acting, bool(scores[-1].user_model), bool(opened))
            scores[-1].made_by = made_by("eval", model=name, seed=seed, prompt=prompts.fingerprint(*ATTEMPT))
            if opened:
                scores[-1].extra = opened.facts()
            if place:
                scores[-1].against, scores[-1].difference = names[0], paired_difference(tallies[1], tallies[0])
            scores[-1].overlap = overlap_of(shared, tallies[-1], tallies[0] if place else None)
            say(table(scores[-1:]), quiet=quiet)
            results.say(quiet=quiet, summary=False)
    code = _write(scores, sink, left_out)
    return ExitCode.NOTHING if broke else code


def _have_customers(tasks: Sequence[Task], sandboxes: Sandboxes) -> bool:
    return any(_has_customer(task, sandboxes) for task in tasks)


def _has_customer(task: Task, sandboxes: Sandboxes) -> bool:
    try:
        return sandboxes.sandbox_of(task).describe(task.env).customer
    except ScaError as error:
        if error.ends_run:
            raise
        return False  # the attempts at the task report it


def _records(paths: list[str], env: list[str] | None, left_out: LeftOut) -> Iterator[Task | Rollout]:
    """Read the records to score: named files or piped input, else the held-out tasks of the environments."""
    if paths:
        return streams.read(paths, Task, Rollout, left_out=left_out)
    if not env:
        raise UsageError(
            "nothing to evaluate: pipe tasks in, name a file, or give --env", "for example sca eval --env calculation"
        )
    return (task for text in env for task in _shipped(text))


def _shipped(text: str) -> Iterator[Task]:
    spec = plugins.parse_env(text)
    path = plugins.eval_path(spec)
    if path is None:
        raise UsageError(f"environment '{spec.name}' ships no evaluation tasks", "name a file of tasks, or a --suite")
    wanted = plugins.expand_env(spec)
    for variant in wanted:
        plugins.load_environment(variant)  # report an unknown option, instead of no matching task
    tasks = [task for task in streams.read([str(path)], Task) if task.env in wanted]
    if not tasks:
        cure = f"name a file of tasks; 'sca challenge --env {text} | sca verify' makes some"
        raise UsageError(f"none of the evaluation tasks of '{spec.name}' is for {', '.join(map(str, wanted))}", cure)
    return iter(tasks)


class _kept_rollouts:
    """The file of the attempts: the user's, or a temporary one."""

    def __init__(self, path: str | None, place: int) -> None:
        self._path = path and (path if place == 0 else f"{path}.b")
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> str:
        if self._path:
            return self._path
        self._folder = tempfile.TemporaryDirectory(prefix="sca-eval-")
        return str(Path(self._folder.name) / "rollouts.jsonl")

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def finish(scores: list[Score], sink: Output, quiet: bool, left_out: LeftOut | None = None) -> ExitCode:
    if scores:
        say(table(scores), quiet=quiet)
    return _write(scores, sink, left_out)


def _write(scores: list[Score], sink: Output, left_out: LeftOut | None = None) -> ExitCode:
    """Write all scores at the end; a file with one score would look like an unfinished run to `--resume`."""
    for score in scores:
        sink.write(score.model, [score])
    sink.close(complete=True)
    return exit_code(sink.kept, left_out)
