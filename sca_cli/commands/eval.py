"""`sca eval`: Pass@k and pass^k of a model on held-out tasks, with intervals, no-op baseline and paired comparison."""

import asyncio
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sca_cli import checks, plugins, streams
from sca_cli.agent import EpisodeLimits
from sca_cli.commands import eval_suite, options
from sca_cli.commands.acting import Talk, opened_actor
from sca_cli.commands.rollout import Attempts, worth_attempting
from sca_cli.commands.rollout import run as attempt_all
from sca_cli.commands.shell import (
    MODEL_WIDTH,
    Meter,
    exit_code,
    made_by,
    on_command_line,
    required_model,
    sandbox_width,
    say,
)
from sca_cli.errors import ExitCode, UsageError
from sca_cli.estimates import Tally, estimate, interval, pass_at, pass_hat
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import Interval, Rollout, Score, Task, Usage
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output
from sca_cli.suites import Suite, open_suite, parse_suite

SUITE_LIMITS = Limits(wall_s=30.0)
"""Benchmarks hold megabytes of state, and give a turn of code 30 seconds (M3ToolEval)."""

MANY_CALLS = 3
"""Tasks with so many calls or more are counted together."""


class Tallies:
    """What is counted of rollouts, in memory that grows with the tasks only."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.calls: dict[str, str] = {}
        self.envs: dict[str, str] = {}
        self.usage = Usage()
        self.users: set[str] = set()

    def count(self, rollout: Rollout) -> None:
        """Count one attempt."""
        task = rollout.task
        self.outcomes[task.id][rollout.outcome] += 1
        if task.calls is not None:
            self.calls[task.id] = f"{MANY_CALLS}+" if task.calls >= MANY_CALLS else str(task.calls)
        self.envs[task.id] = str(task.env)
        self.usage.prompt_tokens += rollout.usage.prompt_tokens
        self.usage.completion_tokens += rollout.usage.completion_tokens
        self.usage.turns += rollout.usage.turns
        self.usage.user_prompt_tokens += rollout.usage.user_prompt_tokens
        self.usage.user_completion_tokens += rollout.usage.user_completion_tokens
        self.usage.user_turns += rollout.usage.user_turns
        self.users |= {rollout.user_model} - {""}

    def of(self, ids: Iterable[str]) -> list[Tally]:
        """Return the tallies of some tasks."""
        return [Tally(self.outcomes[i]["pass"], self.outcomes[i]["pass"] + self.outcomes[i]["fail"]) for i in ids]

    def by(self, groups: dict[str, str]) -> dict[str, Interval]:
        """Return Pass@1 of each group of tasks."""
        members: dict[str, list[str]] = defaultdict(list)
        for task, group in groups.items():
            members[group].append(task)
        found = {group: estimate(self.of(ids), pass_at, 1) for group, ids in sorted(members.items())}
        return {group: value for group, value in found.items() if value is not None}


def score_of(tallies: Tallies, model: str, samples: int, noop: float | None) -> Score:
    """Return the score of one model."""
    every = tallies.of(tallies.outcomes)
    score = Score(model=model, tasks=len(every), samples=samples, noop=noop, usage=tallies.usage)
    for k in sorted({1, 2, 4, 8, samples}):
        if k <= samples and (found := estimate(every, pass_at, k)) is not None:
            score.pass_at[str(k)] = found
        if 1 < k <= samples and (found := estimate(every, pass_hat, k)) is not None:
            score.pass_hat[str(k)] = found
    score.user_model = ", ".join(sorted(tallies.users))
    score.by_calls, score.by_env = tallies.by(tallies.calls), tallies.by(tallies.envs)
    score.invalid = sum(counts["invalid"] for counts in tallies.outcomes.values())
    return score


def paired_difference(ours: Tallies, theirs: Tallies) -> Interval | None:
    """Return the difference of Pass@1, task by task, over tasks that both have."""
    shared = [i for i in ours.outcomes if i in theirs.outcomes]
    pairs = zip(ours.of(shared), theirs.of(shared), strict=True)
    values = [pass_at(a, 1) - pass_at(b, 1) for a, b in pairs if a.judged and b.judged]
    return interval(values) if values else None


def noop_share(tasks: Sequence[Task], sandbox: Sandbox, fanout: Fanout) -> float:
    """Return the share of tasks whose check is passed by doing nothing."""

    async def work(task: Task) -> bool:
        return (await asyncio.to_thread(checks.run_check, sandbox, task, "", "no-op")).outcome == "pass"

    return sum(fanout.ordered(tasks, work)) / len(tasks)


def run(
    tasks: Sequence[Task], attempts: Attempts, *, output: Output, fanout: Fanout, meter: Meter, path: str
) -> Tallies:
    """Attempt all tasks and count. With `--resume` the attempts of the earlier run are counted from the file."""
    for _ in attempt_all(tasks, attempts, output=output, fanout=fanout, meter=meter):
        pass
    return counted(streams.read([path], Rollout))


def counted(rollouts: Iterator[Rollout]) -> Tallies:
    """Count rollouts."""
    tallies = Tallies()
    for rollout in rollouts:
        tallies.count(rollout)
    return tallies


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
    sink = Output(output, rejected=None, resume=False, settings={"command": "eval"}, inputs=inputs or ["-"])
    typed = on_command_line(context, "env")
    eval_suite.refuse_contradictions(
        suite=suite, tasks_named=bool(inputs) or typed, gold=gold, export=export, kept=bool(rollouts or compare)
    )
    asked = parse_suite(suite) if suite else None
    records = [] if asked else list(_records(inputs, env, piped=streams.is_piped() and not typed))
    attempted = [record for record in records if isinstance(record, Rollout)]
    if len(attempted) not in (0, len(records)):
        raise UsageError("tasks and rollouts are mixed", "evaluate one kind at a time")
    if judged := [rollout for rollout in attempted if rollout.judged_by]:
        raise UsageError(
            f"rollout {judged[0].id} was judged by the model {judged[0].judged_by}: a score counts what checks say",
            "leave out rollouts that have judged_by",
        )
    if attempted:
        return _finish(_scores_of(attempted), sink, quiet)
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
            return _finish([_gold_score(opened, fanout, noop, quiet)], sink, quiet)
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
                "prompt": prompts.fingerprint(),
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
                kept = Output(path, rejected=None, resume=resume, settings=settings)
                attempts = Attempts(actor, sandbox, name, samples, seed, command="eval")
                attempts = eval_suite.judged_by(opened, attempts) if opened else attempts
                tallies.append(run(tasks, attempts, output=kept, fanout=fanout, meter=meter, path=path))
            scores.append(score_of(tallies[-1], name, samples, noop))
            scores[-1].made_by = made_by("eval", model=name, seed=seed, prompt=prompts.fingerprint())
            if opened:
                scores[-1].extra = opened.facts()
            if place:
                scores[-1].against, scores[-1].difference = names[0], paired_difference(tallies[1], tallies[0])
            sink.write(name, [scores[-1]])
            say(table(scores[-1:]), quiet=quiet)
    return _finish([], sink, quiet)


def _gold_score(suite: Suite, fanout: Fanout, noop: float | None, quiet: bool) -> Score:
    rollouts = list(eval_suite.by_reference(suite, fanout))
    if lines := eval_suite.missed(rollouts):
        say(lines, quiet=quiet)
    score = score_of(counted(iter(rollouts)), "gold", 1, noop)
    score.made_by, score.extra = made_by("eval", model="gold"), suite.facts()
    return score


def _records(inputs: list[str] | None, env: list[str] | None, *, piped: bool) -> Iterator[Task | Rollout]:
    """Read what to score: named files, else piped input, else the sets that the environments ship with."""
    if inputs or piped:
        return streams.read(inputs or ["-"], Task, Rollout)
    if not env:
        raise UsageError(
            "nothing to evaluate: pipe tasks in, name a file, or give --env", "for example sca eval --env calculation"
        )
    return (task for text in env for task in _shipped(text))


def _shipped(text: str) -> Iterator[Task]:
    spec = plugins.parse_env(text)
    path = plugins.import_target(plugins.environment_entry(spec)).eval_path()
    if path is None:
        raise UsageError(f"environment '{spec.name}' ships no evaluation tasks", "name a file of tasks, or a --suite")
    plugins.load_environment(spec)  # options it does not take are told, not found to match nothing
    wanted = plugins.expand_env(spec)
    return (task for task in streams.read([str(path)], Task) if task.env in wanted)


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


def _scores_of(rollouts: list[Rollout]) -> list[Score]:
    by_model: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        by_model[rollout.made_by.model if rollout.made_by else ""].append(rollout)
    scores = []
    for model, attempts in sorted(by_model.items()):
        per_task = Counter(rollout.task.id for rollout in attempts)
        scores.append(score_of(counted(iter(attempts)), model, min(per_task.values()), None))
        scores[-1].made_by = made_by("eval", model=model)
    return scores


def _finish(scores: list[Score], sink: Output, quiet: bool) -> ExitCode:
    for score in scores:
        sink.write(score.model, [score])
    sink.close(complete=True)
    if scores:
        say(table(scores), quiet=quiet)
    return exit_code(sink.kept)


def table(scores: Sequence[Score]) -> str:
    """Return scores as text for people."""
    lines = []
    for score in scores:
        lines.append(f"sca eval: {score.model}: {score.tasks} tasks, {score.samples} attempts each")
        rows = [(f"Pass@{k}", value) for k, value in score.pass_at.items()]
        rows += [(f"pass^{k}", value) for k, value in score.pass_hat.items()]
        rows += [
            (f"Pass@1, {calls} call{'' if calls == '1' else 's'}", value) for calls, value in score.by_calls.items()
        ]
        rows += [(f"Pass@1, {name}", value) for name, value in score.by_env.items()] if len(score.by_env) > 1 else []
        if score.difference:
            rows.append((f"minus {score.against}", score.difference))
        lines += [f"  {name:<44} {value.value:6.1%}   [{value.low:.1%}, {value.high:.1%}]" for name, value in rows]
        if score.noop is not None:
            lines.append(f"  {'doing nothing':<44} {score.noop:6.1%}")
        if score.invalid:
            lines.append(f"  {'invalid attempts, in no estimate':<44} {score.invalid:6d}")
    return "\n".join(lines)
