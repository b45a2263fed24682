"""`sca eval`: Pass@k and pass^k of a model on held-out tasks, with intervals, no-op baseline and paired comparison."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sca_cli import plugins, streams
from sca_cli.commands.rollout import Attempts, worth_attempting
from sca_cli.commands.rollout import run as attempt_all
from sca_cli.commands.shared import eval_against, eval_suite, options
from sca_cli.commands.shared.acting import Talk, opened_actor
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Meter,
    exit_code,
    made_by,
    on_command_line,
    required_model,
    sandbox_width,
    say,
)
from sca_cli.episode.agent import EpisodeLimits
from sca_cli.errors import ExitCode, UsageError
from sca_cli.evaluation.contamination import Shared
from sca_cli.evaluation.scores import Tallies, counted, overlap_of, paired_difference, score_of, scores_by_model, table
from sca_cli.evaluation.suites import Suite, open_suite, parse_suite
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Sampling
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import Rollout, Score, Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output
from sca_cli.verification import paper_filter

SUITE_LIMITS = Limits(wall_s=30.0)
"""Benchmarks hold megabytes of state, and give a turn of code 30 seconds (M3ToolEval)."""


def noop_share(tasks: Sequence[Task], sandbox: Sandbox, fanout: Fanout) -> float:
    """Return the share of tasks whose check is passed by doing nothing."""

    async def work(task: Task) -> bool:
        return (await asyncio.to_thread(paper_filter.run_check, sandbox, task, "", "no-op")).outcome == "pass"

    return sum(fanout.ordered(tasks, work)) / len(tasks)


def run(
    tasks: Sequence[Task], attempts: Attempts, *, output: Output, fanout: Fanout, meter: Meter, path: str
) -> Tallies:
    """Attempt all tasks and count. With `--resume` the attempts of the earlier run are counted from the file."""
    for _ in attempt_all(tasks, attempts, output=output, fanout=fanout, meter=meter):
        pass
    return counted(streams.read([path], Rollout))


def command(
    context: typer.Context,
    inputs: options.Inputs = None,
    env: options.Env = None,
    model: options.Model = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Two models, on the same tasks: scores of both, B minus A in pairs.",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", "-k", min=1, help="Attempts at each task.")] = 4,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Only the first N tasks.", show_default="all")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="NAME[:PATH][,k=v…]",
            help="A benchmark that you have: m3tooleval:PATH, taubench:PATH or tau2.",
            show_default=False,
        ),
    ] = None,
    gold: Annotated[
        bool, typer.Option("--gold", help="Run the suite's reference solutions instead of a model.", show_default=False)
    ] = False,
    export: Annotated[
        str | None,
        typer.Option("--export", metavar="FILE", help="Write the suite as tasks to FILE and stop.", show_default=False),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help="Tasks or rollouts that were trained on: score without what they share with the evaluated tasks too; "
            "give it several times to name several files.",
            show_default=False,
        ),
    ] = None,
    rollouts: Annotated[
        str | None,
        typer.Option(
            "--rollouts",
            metavar="FILE",
            help="Keep the attempts in FILE; a second model's in FILE.b.",
            show_default=False,
        ),
    ] = None,
    actions: options.Actions = "code",
    turns: options.Turns = 4,
    user_model: options.UserModel = None,
    user_turns: options.UserTurns = 30,
    direct: options.Direct = False,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.7,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 384,
    prompt: options.Prompt = None,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Measure a model on held-out tasks: Pass@k, pass^k, 95 % intervals, the no-op baseline.

    \b
    Example:
      sca eval --env calculation -k 4 --compare transformers:BASE transformers:runs/trained

    Takes tasks, or the set that --env ships with. Attempts nobody can judge are counted apart and are in no estimate.
    Given rollouts instead of tasks, it scores those and runs nothing.
    """
    models = list(compare) if compare else [model] if model else []
    typed = on_command_line(context, "env")
    eval_suite.refuse_contradictions(
        suite=suite,
        tasks_named=bool(inputs) or typed,
        gold=gold,
        export=export,
        kept=bool(rollouts or compare),
        against=bool(against),
    )
    paths = inputs or (["-"] if streams.is_piped() and not typed and not suite else [])
    read_from = [*paths, *(against or [])]
    sink = Output(output, rejected=None, resume=False, settings={"command": "eval"}, inputs=read_from)
    trained = eval_against.read(against, stdin_taken="-" in paths) if against else None
    asked = parse_suite(suite) if suite else None
    records = [] if asked else list(_records(paths, env))
    attempted = [record for record in records if isinstance(record, Rollout)]
    if len(attempted) not in (0, len(records)):
        raise UsageError("tasks and rollouts are mixed", "evaluate one kind at a time")
    if judged := [rollout for rollout in attempted if rollout.judged_by]:
        raise UsageError(
            f"rollout {judged[0].id} was judged by the model {judged[0].judged_by}: a score counts what checks say",
            "leave out rollouts that have judged_by",
        )
    if attempted:
        shared = eval_against.shared_by(trained, {rollout.task.id: rollout.task for rollout in attempted}.values())
        return _finish(scores_by_model(attempted, shared), sink, quiet)
    names = [required_model(name) for name in models] or ([] if gold or export else [required_model(None)])
    if resume and not rollouts:
        raise UsageError("--resume needs --rollouts FILE", "the attempts kept there are the progress")
    prompts = Prompts.from_option(prompt)
    talk = Talk.from_options(user_model, user_turns, direct=direct)
    scores: list[Score] = []
    tallies: list[Tallies] = []
    width = sandbox_width() if gold or export else MODEL_WIDTH
    with Fanout(concurrency or width) as fanout, Sandbox(SUITE_LIMITS if asked else Limits()) as sandbox:
        opened = open_suite(asked, sandbox, fanout, count) if asked else None
        tasks = list(worth_attempting(record for record in records if isinstance(record, Task)))[:count]
        tasks = opened.tasks if opened else tasks
        if not tasks:
            say("sca eval: no tasks to attempt", quiet=quiet)
        shared = eval_against.shared_by(trained, tasks)
        if opened:
            say("sca eval: {suite}: {data}; checker {checker}".format(**opened.facts()), quiet=quiet)
        if opened and export:
            say(eval_suite.export(opened, fanout, export), quiet=quiet)
            sink.close(complete=True)
            return exit_code(len(tasks))
        if compare and not (user_model or direct) and any(sandbox.describe(task.env).customer for task in tasks):
            raise UsageError("--compare with customers needs --user-model", "both models must meet the same customers")
        noop = (opened.noop_share(fanout) if opened else noop_share(tasks, sandbox, fanout)) if tasks else None
        if opened and gold:
            return _finish([_gold_score(opened, fanout, noop, shared, quiet)], sink, quiet)
        for place, name in enumerate(names if tasks else []):
            settings = {
                "command": "eval",
                "model": name,
                "samples": samples,
                "actions": actions,
                "turns": turns,
                "seed": seed,
                "temperature": temperature,
                "top_p": top_p,
                "max_tokens": max_tokens,
                "prompt": prompts.fingerprint(*ATTEMPT),
                "times": times,
                **talk.settings(),
            } | ({"suite": suite} if suite else {})
            limits = EpisodeLimits(turns=turns, tokens=turns * max_tokens) if opened else EpisodeLimits(turns=turns)
            with (
                _kept_rollouts(rollouts, place) as path,
                Meter("eval", len(tasks) * samples, quiet=quiet) as meter,
                opened_actor(
                    name, fanout, Sampling(temperature, top_p, max_tokens), limits, actions, prompts, talk
                ) as actor,
            ):
                kept = Output(path, rejected=None, resume=resume, settings=settings, inputs=read_from)
                attempts = Attempts(actor, sandbox, name, samples, seed, command="eval", times=times)
                attempts = eval_suite.judged_by(opened, attempts) if opened else attempts
                tallies.append(run(tasks, attempts, output=kept, fanout=fanout, meter=meter, path=path))
            scores.append(score_of(tallies[-1], name, samples, noop))
            scores[-1].made_by = made_by("eval", model=name, seed=seed, prompt=prompts.fingerprint(*ATTEMPT))
            if opened:
                scores[-1].extra = opened.facts()
            if place:
                scores[-1].against, scores[-1].difference = names[0], paired_difference(tallies[1], tallies[0])
            scores[-1].overlap = overlap_of(shared, tallies[-1], tallies[0] if place else None)
            say(table(scores[-1:]), quiet=quiet)
    return _written(scores, sink)


def _gold_score(suite: Suite, fanout: Fanout, noop: float | None, shared: Shared | None, quiet: bool) -> Score:
    rollouts = list(eval_suite.by_reference(suite, fanout))
    if lines := eval_suite.missed(rollouts):
        say(lines, quiet=quiet)
    tallies = counted(rollouts)
    score = score_of(tallies, "gold", 1, noop)
    score.made_by, score.extra, score.overlap = (
        made_by("eval", model="gold"),
        suite.facts(),
        overlap_of(shared, tallies),
    )
    return score


def _records(paths: list[str], env: list[str] | None) -> Iterator[Task | Rollout]:
    """Read what to score: named files or piped input, else the sets that the environments ship with."""
    if paths:
        return streams.read(paths, Task, Rollout)
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
        plugins.load_environment(variant)  # options it does not take are told, not found to match nothing
    found = [task for task in streams.read([str(path)], Task) if task.env in wanted]
    if not found:
        cure = f"name a file of tasks; 'sca challenge --env {text} | sca verify' makes some"
        raise UsageError(f"none of the evaluation tasks of '{spec.name}' is for {', '.join(map(str, wanted))}", cure)
    return iter(found)


class _kept_rollouts:
    """The file that attempts are kept in: the user's, or one that goes away."""

    def __init__(self, asked: str | None, place: int) -> None:
        self._asked = asked and (asked if place == 0 else f"{asked}.b")
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> str:
        if self._asked:
            return self._asked
        self._folder = tempfile.TemporaryDirectory(prefix="sca-eval-")
        return str(Path(self._folder.name) / "rollouts.jsonl")

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def _finish(scores: list[Score], sink: Output, quiet: bool) -> ExitCode:
    if scores:
        say(table(scores), quiet=quiet)
    return _written(scores, sink)


def _written(scores: list[Score], sink: Output) -> ExitCode:
    """Write all scores at the end: one alone would be an unfinished run in the way of `--resume`."""
    for score in scores:
        sink.write(score.model, [score])
    sink.close(complete=True)
    return exit_code(sink.kept)
