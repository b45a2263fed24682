"""Attempts at tasks, each judged by the task's own check: the same for every verb that attempts."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sca_cli.analysis import source
from sca_cli.commands.shared.error_note import error_note
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import Done, Meter, made_by, most_frequent, pump, say
from sca_cli.episode.agent import Actor, Episode
from sca_cli.episode.judge import Judge
from sca_cli.errors import RecordError, WorldError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.prompts import ATTEMPT
from sca_cli.records import ErrorNote, Observation, Rollout, Task
from sca_cli.sandbox import Description, Judgement, Session
from sca_cli.streams import Output
from sca_cli.verification import paper_filter

_MOST_ERRORS = 5
"""Most different errors of attempts that are printed."""

TURNS = 4
"""Limit of turns in one attempt, if neither the command line nor the task sets another."""

UNVERIFIED = "the task is unverified: it has no check, and no --judge was given"

_FAILED_CHECK = ("exception", "not-bool", "timeout", "cpu", "memory", "reply", "calls", "crash", "blocked-syscall")
"""Reasons why a check has no result although the environment works. `verify` has shown that the check ends, so the
answer is the cause, and the attempt fails. If it were invalid, an agent could keep its failures out of the score."""

_JUDGED_AGAIN = ("timeout", "crash")
"""Those of `_FAILED_CHECK` that a busy machine can cause too: the attempt is judged once more."""


def by_check(session: Session, task: Task, _: Episode) -> Judgement:
    """Judge by the task's own check."""
    return session.evaluate(task.evaluate)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Make `per_task` attempts at each task, and judge them."""

    actor: Actor
    sandboxes: Sandboxes
    model_name: str
    per_task: int
    seed: int
    command: str = "rollout"
    times: bool = False
    judge: Judge | None = None
    """Judges attempts at tasks that have no check. The check alone judges the others."""
    check: Callable[[Session, Task, Episode], Judgement] = by_check
    """Judges the session that an episode leaves."""
    turns: int | None = None
    """Limit of turns from the command line; None: the task's limit, if it records one, else the actor's."""

    def of(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, int]]:
        """Yield (task, sample) for each attempt at each task."""
        return ((task, sample) for task in tasks for sample in range(self.per_task))

    async def attempt(self, task: Task, sample: int) -> Rollout:
        """Let the model attempt a task once, and judge the attempt. An exception becomes the error of the rollout.

        Raises:
            SandboxError: the jail does not start.
            MachineError: the machine is at a limit.
        """
        try:
            return await self._attempt(task, sample)
        except Exception as error:  # noqa: BLE001  whatever one task raises, it does not end the run
            return self.failed(task, sample, error_note(error))

    def failed(self, task: Task, sample: int, note: ErrorNote) -> Rollout:
        """Return the rollout of an attempt that could not be made."""
        rollout = self._blank(task, sample)
        rollout.error = note
        return rollout

    def write(self, name: str, rollout: Rollout, output: Output) -> Rollout:
        """Write the rollout of one attempt, and return it. One that JSON cannot hold becomes an attempt that failed.

        Args:
            name: identifies the attempt for `--resume`.
            rollout: its record.
            output: the file.
        """
        try:
            output.write(name, [rollout])
        except RecordError as error:
            rollout = self.failed(rollout.task, rollout.sample, error_note(error))
            output.write(name, [rollout])
        return rollout

    def _blank(self, task: Task, sample: int) -> Rollout:
        seed = derived_seed(self.seed, "rollout", task.id, sample)
        prompt = self.actor.prompts.fingerprint(*ATTEMPT)
        origin = made_by(self.command, model=self.model_name, seed=seed, prompt=prompt)
        return Rollout(task=task, sample=sample, made_by=origin, parents=[task.id])

    async def _attempt(self, task: Task, sample: int) -> Rollout:
        if task.unverified and self.judge is None:
            return self.failed(task, sample, ErrorNote(boundary="task", message=UNVERIFIED))
        rollout = self._blank(task, sample)
        assert rollout.made_by and rollout.made_by.seed is not None
        seed = rollout.made_by.seed
        sandbox = self.sandboxes.sandbox_of(task)
        place = sandbox.describe(task.env)
        if place.customer and self.actor.user is not None:
            rollout.user_model = self.actor.user.name
        try:
            async with self.sandboxes.room_for(task):
                with sandbox.session(task.env, task.seed) as session:
                    episode = await self.act(task, session, place, seed)
                    rollout.calls = [paper_filter.bare(call) for call in session.calls]
                    if episode.stop not in ("error", "time") and not task.unverified:
                        calls = list(session.calls)
                        judgement = await asyncio.to_thread(self.check, session, task, episode)
                        if judgement.outcome == "invalid" and judgement.reason in _JUDGED_AGAIN:
                            judgement = await asyncio.to_thread(self._judge_again, task, episode, calls)
                        _judge(rollout, judgement)
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

    def _judge_again(self, task: Task, episode: Episode, calls: Sequence[Observation]) -> Judgement:
        """Judge an attempt in a fresh world, after making its calls and giving its answer there.

        Raises:
            WorldError: the environment broke.
        """
        with self.sandboxes.sandbox_of(task).session(task.env, task.seed) as session:
            for call in calls:
                session.call(call.tool, call.args, call.kwargs)
            if episode.answer is not None:
                session.answer(episode.answer)
            return self.check(session, task, episode)

    async def act(self, task: Task, session: Session, place: Description, seed: int) -> Episode:
        """Let the model act in a session of the task."""
        wants_value = self.check is by_check and _takes_answer(task)
        return await self._actor_for(task).attempt(session, place, task.instruction, seed, wants_value=wants_value)

    def _actor_for(self, task: Task) -> Actor:
        turns = self.sandboxes.limits_of(task).turns
        if self.turns or not turns or turns == self.actor.limits.turns:
            return self.actor
        return replace(self.actor, limits=replace(self.actor.limits, turns=turns))

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
    if judgement.outcome == "invalid" and judgement.reason in _FAILED_CHECK:
        rollout.outcome = "fail"
    if rollout.outcome != "invalid":
        rollout.reward = 1.0 if rollout.outcome == "pass" else 0.0


def attempt_all(
    tasks: Iterable[Task], attempts: Attempts, *, output: Output, fanout: Fanout, meter: Meter
) -> Iterator[Done]:
    """Attempt each task several times, and write every rollout, whatever its outcome."""

    async def work(item: tuple[Task, int]) -> Done:
        return Done(attempt_name(item), [await attempts.attempt(*item)])

    def failed(item: tuple[Task, int], note: ErrorNote) -> Done:
        return Done(attempt_name(item), [attempts.failed(*item, note)])

    return pump(
        attempts.of(tasks), work, failed=failed, identify=attempt_name, output=output, fanout=fanout, meter=meter
    )


def attempt_name(item: tuple[Task, int]) -> str:
    """Return the name of one attempt at one task, by which `--resume` identifies it."""
    task, sample = item
    return f"{task.id}#{sample}"


def worth_attempting(tasks: Iterable[Task]) -> Iterator[Task]:
    """Leave out tasks that `verify` rejected, or that have an error."""
    return (task for task in tasks if task.kept is not False)


class Results:
    """Counts of a run's attempts, for its last lines on stderr and its exit code."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self.outcomes: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._unverified = self._cut = self._turns = 0

    def add(self, rollout: Rollout) -> None:
        """Count one attempt."""
        self.outcomes[rollout.outcome] += 1
        self._cut += rollout.usage.cut_before_text
        self._turns += rollout.usage.turns
        if rollout.error and rollout.error.message == UNVERIFIED:
            self._unverified += 1
        elif rollout.outcome == "invalid":
            self._errors[rollout.error.message if rollout.error else f"invalid: {rollout.reason}"] += 1

    def broke(self) -> bool:
        """Return whether there were attempts, and each of them broke."""
        return self._errors.total() == self.outcomes.total() > 0

    def say(self, *, quiet: bool, summary: bool = True) -> None:
        """Print the outcomes, the most frequent errors, and how many replies have no text because they were cut.

        If every attempt broke, the reason is printed in spite of `quiet`.

        Args:
            quiet: print nothing else.
            summary: print the line of outcomes.
        """
        if summary:
            say(self._summary(), quiet=quiet)
        for line in most_frequent(self._errors, _MOST_ERRORS):
            say(line, quiet=quiet and not self.broke())
        if self._cut:
            say(
                f"sca {self._verb}: {self._cut} of {self._turns} replies reached --max-tokens before any text",
                quiet=quiet,
            )
            say("hint: a larger --max-tokens leaves room after the reasoning", quiet=quiet)
        if self.broke():
            say(f"sca {self._verb}: every attempt broke; the reasons are above", quiet=False)

    def say_unverified(self, *, quiet: bool) -> None:
        """Report the attempts that were not made."""
        if self._unverified:
            say(f"sca {self._verb}: {self._unverified} attempts were not made: {UNVERIFIED}", quiet=quiet)
            say("hint: --judge MODEL lets a model judge them", quiet=quiet)

    def _summary(self) -> str:
        outcomes = self.outcomes
        judged = outcomes["pass"] + outcomes["fail"]
        share = f" ({outcomes['pass'] / judged:.1%} of those judged)" if judged else ""
        return (
            f"sca {self._verb}: {outcomes.total()} attempts: {outcomes['pass']} pass{share}, "
            f"{outcomes['fail']} fail, {outcomes['invalid']} invalid"
        )
