"""`sca rollout`: k attempts at each task, each rewarded by the task's own check (paper, section 2)."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from sca_cli import streams
from sca_cli.analysis import source
from sca_cli.commands.shared import options
from sca_cli.commands.shared.acting import Talk, opened_actor
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Done,
    Meter,
    exit_code,
    made_by,
    most_frequent,
    opened_model,
    pump,
    required_inputs,
    required_model,
    say,
    written_before,
)
from sca_cli.episode.agent import Actor, Episode, EpisodeLimits
from sca_cli.episode.judge import Judge
from sca_cli.errors import ExitCode, WorldError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import Model, Sampling
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import ErrorNote, Rollout, Task
from sca_cli.sandbox import Description, Judgement, Limits, Sandbox, Session
from sca_cli.streams import Output
from sca_cli.verification import paper_filter

UNVERIFIED = "the task is unverified: it has no check, and no --judge was given"
_MOST_ERRORS = 5

_CHECK_SAYS_NO = ("exception", "not-bool")
"""A check that breaks on the agent's answer was not passed; limits and crashes of ours are another matter."""


def by_check(session: Session, task: Task, _: Episode) -> Judgement:
    """Judge by the task's own check."""
    return session.evaluate(task.evaluate)


@dataclass(frozen=True, slots=True)
class Attempts:
    """How tasks are attempted."""

    actor: Actor
    sandbox: Sandbox
    model_name: str
    samples: int
    seed: int
    command: str = "rollout"
    times: bool = False
    judge: Judge | None = None
    """Judges attempts at tasks that have no check; those that have one are judged by it alone."""
    check: Callable[[Session, Task, Episode], Judgement] = by_check
    """Judges what an episode left behind in its session."""

    def of(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, int]]:
        """Yield (task, sample) for each of the k attempts at each task."""
        return ((task, sample) for task in tasks for sample in range(self.samples))

    async def attempt(self, task: Task, sample: int) -> Rollout:
        """Let the model try a task once and judge what it did.

        Raises:
            SandboxError, MissingError, PluginError: the environment cannot be had.
        """
        seed = derived_seed(self.seed, "rollout", task.id, sample)
        made = made_by(self.command, model=self.model_name, seed=seed, prompt=self.actor.prompts.fingerprint(*ATTEMPT))
        rollout = Rollout(task=task, sample=sample, made_by=made, parents=[task.id])
        if task.unverified and self.judge is None:
            rollout.error = ErrorNote(boundary="task", message=UNVERIFIED)
            return rollout
        place = self.sandbox.describe(task.env)
        if place.customer and self.actor.user is not None:
            rollout.user_model = self.actor.user.name
        try:
            with self.sandbox.session(task.env, task.seed) as session:
                episode = await self.act(task, session, place, seed)
                rollout.calls = [paper_filter.bare(call) for call in session.calls]
                if episode.stop not in ("error", "time") and not task.unverified:
                    _judge(rollout, await asyncio.to_thread(self.check, session, task, episode))
        except WorldError as error:
            rollout.error = ErrorNote(boundary="world", message=error.message)
            return rollout
        self._record(rollout, episode)
        if self.judge is not None and task.unverified and episode.stop not in ("error", "time"):
            judgement = await self.judge(task, episode.messages[episode.opening :], episode.answer, seed)
            rollout.judged_by = self.judge.name
            _judge(rollout, judgement)
            if judgement.outcome == "invalid":
                rollout.error = ErrorNote(boundary="model", message=f"judge: {judgement.message}")
        return rollout

    async def act(self, task: Task, session: Session, place: Description, seed: int) -> Episode:
        """Let the model act in a session of the task."""
        return await self.actor.attempt(
            session, place, task.instruction, seed, wants_value=self.check is by_check and _takes_answer(task)
        )

    def _record(self, rollout: Rollout, episode: Episode) -> None:
        rollout.messages, rollout.segments, rollout.answer = episode.messages, episode.segments, episode.answer
        rollout.stop, rollout.usage = episode.stop, episode.usage
        if episode.stop == "error":
            rollout.error = ErrorNote(boundary="model", message=episode.problem)
        if episode.stop == "time":
            rollout.reason = "timeout"
        if not self.times:
            rollout.usage.seconds = None


def _takes_answer(task: Task) -> bool:
    try:
        return source.takes_argument(task.evaluate, "evaluate")
    except source.NotPython:
        return False


def _judge(rollout: Rollout, judgement: Judgement) -> None:
    rollout.outcome, rollout.reason = judgement.outcome, judgement.reason
    if judgement.outcome == "invalid" and judgement.reason in _CHECK_SAYS_NO:
        rollout.outcome = "fail"
    if rollout.outcome != "invalid":
        rollout.reward = 1.0 if rollout.outcome == "pass" else 0.0


def run(tasks: Iterable[Task], attempts: Attempts, *, output: Output, fanout: Fanout, meter: Meter) -> Iterator[Done]:
    """Attempt each task k times and write every rollout, whatever came of it."""

    async def work(item: tuple[Task, int]) -> Done:
        return Done(attempt_name(item), [await attempts.attempt(*item)])

    return pump(attempts.of(tasks), work, identify=attempt_name, output=output, fanout=fanout, meter=meter)


def attempt_name(item: tuple[Task, int]) -> str:
    """Return what names one attempt at one task, for `--resume`."""
    task, sample = item
    return f"{task.id}#{sample}"


def worth_attempting(tasks: Iterable[Task]) -> Iterator[Task]:
    """Leave out tasks that `verify` turned down, or that could not be read."""
    return (task for task in tasks if task.kept is not False)


def command(
    inputs: options.Inputs = None,
    model: options.Model = None,
    samples: Annotated[int, typer.Option("--samples", "-k", min=1, help="Attempts at each task.")] = 4,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Model that judges attempts at tasks without a check; marked on the record.",
            show_default=False,
        ),
    ] = None,
    actions: options.Actions = "code",
    turns: options.Turns = 4,
    user_model: options.UserModel = None,
    user_turns: options.UserTurns = 30,
    direct: options.Direct = False,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.8,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 384,
    prompt: options.Prompt = None,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Attempt each task several times; the task's own check gives the reward.

    \b
    Example:
      sca rollout tasks.jsonl -k 4 --model transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct -o rollouts.jsonl --resume

    An attempt that nobody can judge (a crashed engine, a broken environment) is `invalid` and has no reward.
    """
    model_name = required_model(model)
    judge_name = required_model(judge, "--judge") if judge else None
    paths = required_inputs(inputs, "sca rollout tasks.jsonl > rollouts.jsonl")
    prompts = Prompts.from_option(prompt)
    talk = Talk.from_options(user_model, user_turns, direct=direct)
    settings = {
        "command": "rollout",
        "model": model_name,
        "judge": judge_name,
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
    }
    sink = Output(output, rejected=None, resume=resume, settings=settings, inputs=paths)
    lines = streams.line_count(paths)
    errors: Counter[str] = Counter()
    outcomes: Counter[str] = Counter(rollout.outcome for rollout in written_before(sink, [output], Rollout))
    with (
        Fanout(concurrency or MODEL_WIDTH) as fanout,
        Sandbox(Limits()) as sandbox,
        Meter("rollout", lines and lines * samples, quiet=quiet) as meter,
        opened_actor(
            model_name,
            fanout,
            Sampling(temperature, top_p, max_tokens),
            EpisodeLimits(turns=turns),
            actions,
            prompts,
            talk,
        ) as actor,
        _opened_judge(judge_name, model_name, actor.model, prompts, fanout) as referee,
    ):
        attempts = Attempts(actor, sandbox, model_name, samples, seed, times=times, judge=referee)
        tasks = worth_attempting(streams.read(paths, Task))
        for done in run(tasks, attempts, output=sink, fanout=fanout, meter=meter):
            outcomes.update(record.outcome for record in done.kept if isinstance(record, Rollout))
            errors.update(record.error.message for record in done.kept if record.error)
    say(summary("rollout", outcomes), quiet=quiet)
    refused = errors.pop(UNVERIFIED, 0)
    for line in most_frequent(errors, _MOST_ERRORS):
        say(line, quiet=quiet)
    if refused:
        say(f"sca rollout: {refused} attempts were not made: {UNVERIFIED}", quiet=quiet)
        say("hint: --judge MODEL lets a model judge them", quiet=quiet)
    return exit_code(sink.kept)


@contextmanager
def _opened_judge(
    name: str | None, model_name: str, engine: Model, prompts: Prompts, fanout: Fanout
) -> Iterator[Judge | None]:
    """Load the judge for a block, once where it is the model that acts too."""
    if name is None:
        yield None
    elif name == model_name:
        yield Judge(engine, name, prompts)
    else:
        with opened_model(name, fanout) as own:
            yield Judge(own, name, prompts)


def summary(verb: str, outcomes: Counter[str]) -> str:
    """Return one line: attempts, how many passed, failed and cannot be judged."""
    judged = outcomes["pass"] + outcomes["fail"]
    share = f" ({outcomes['pass'] / judged:.1%} of those judged)" if judged else ""
    return (
        f"sca {verb}: {outcomes.total()} attempts: {outcomes['pass']} pass{share}, "
        f"{outcomes['fail']} fail, {outcomes['invalid']} invalid"
    )
