"""`--dry-run`: what a training would learn from, and how long it would take. No weight changes, nothing is written."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path

from sca_cli.commands.shared.attempting import Roller, only_rollouts
from sca_cli.commands.shared.correcting import worth_correcting
from sca_cli.commands.shared.curriculum import fail_if_without_tasks
from sca_cli.commands.shared.online import VALIDATION_ATTEMPTS, split, tasks_to_attempt
from sca_cli.commands.shared.train_stages import updated
from sca_cli.commands.shared.training import UNITS, Training
from sca_cli.messages import show
from sca_cli.records import Rollout, Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.training.curriculum import MOST_CANDIDATES, Curriculum, CurriculumOptions
from sca_cli.training.data import Example, Tally
from sca_cli.training.online import OnlineOptions
from sca_cli.training.preference import Preference, PreferenceOptions, preference_learner
from sca_cli.training.selection import Rules
from sca_cli.training.sft import sft_learner
from sca_cli.training.solutions import demonstrations
from sca_cli.training.trainer import Learner, NothingToTrain, TrainOptions, timed_step

_SHOWN = 2
"""Examples that are printed."""

_SAMPLE = 2
"""Tasks that are attempted if the training would attempt tasks."""

_CONTEXT = 600
"""Longest text of a context, in characters, that is printed without a gap; chosen by hand."""


_MARKS = ("\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}", "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}")
"""Printed around own tokens."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """Prints what a training would do.

    Args:
        training: how examples are selected and trained on.
        base: weights to start from.
        roller: attempts tasks.
    """

    training: Training
    base: str
    roller: Roller

    def of_solutions(self, tasks: Iterable[Task]) -> None:
        """Show a training on the solutions of tasks.

        Raises:
            NothingToTrain: as the training.
        """
        tally = Tally()
        with Sandbox(Limits(), self.roller.allowed) as sandbox:
            attempts = list(demonstrations(tasks, sandbox.describe, self.roller.prompts, tally))
        self._examples(attempts, "solutions", tally)

    def of_records(self, records: Iterator[Task | Rollout], algorithm: str) -> None:
        """Show a training on rollouts. If tasks are read, a few of them are attempted to get rollouts.

        Raises:
            NothingToTrain: as the training, if rollouts are read.
        """
        first = next(records, None)
        everything = [] if first is None else chain([first], records)
        if not isinstance(first, Task):
            self._examples(list(self.roller.of(iter(everything))), algorithm, Tally())
            return
        tasks = tasks_to_attempt(everything, algorithm)
        self._attempted(tasks, "tasks", self._roller().rollouts, algorithm)

    def of_corrections(self, records: Iterable[Task | Rollout], algorithm: str) -> None:
        """Show a training on the corrections of failed attempts; only a few corrections are made.

        Raises:
            NothingToTrain: no attempt failed.
        """
        failed = list(worth_correcting(only_rollouts(records)))
        if not failed:
            raise NothingToTrain("no failed attempts to correct", "sca rollout writes them")
        self._attempted(failed, "failed attempts", self._roller().corrections, algorithm)

    def _attempted[R: (Task, Rollout)](
        self, records: Sequence[R], noun: str, make: Callable[[Iterator[R]], Iterator[Rollout]], algorithm: str
    ) -> None:
        """Show a training on attempts or corrections; only a few of them are made."""
        rollouts, seconds = _sample(records, make)
        scale = len(records) / min(_SAMPLE, len(records))
        each = self.roller.options.attempts
        show(f"attempts: about {_minutes(scale * seconds)} for {len(records)} {noun}, {each} each")
        try:
            self._examples(rollouts, algorithm, Tally(), scale)
        except NothingToTrain as error:
            show(f"training: not estimated, because of the attempted tasks: {error.message}")

    def of_rounds(
        self,
        records: Iterable[Task | Rollout],
        options: OnlineOptions,
        parts: CurriculumOptions,
        validation: int | None,
    ) -> None:
        """Show online training: a few tasks are attempted, and their rollouts are what an update learns from.

        Args:
            records: the tasks.
            options: settings of the algorithm.
            parts: the parts of the curriculum.
            validation: number of tasks to choose the weights by; see `split`.

        Raises:
            NothingToTrain: there are no tasks.
            UsageError: as the training.
        """
        training = self.training
        tasks = tasks_to_attempt(records, options.algorithm)
        tasks, held = split(tasks, validation, training.running)
        fail_if_without_tasks(parts, tasks)
        attempts = self.roller.options.attempts
        rounds = Curriculum(tasks, training.recipe.batch_size, attempts, training.running.seed, parts)
        settings = training.train_options(options.algorithm, passes=options.passes)
        step = f"{rounds.per_round} tasks a round, {rounds.per_task} attempts each"
        training.say_chosen(options.algorithm, training.chosen(settings), step)
        rollouts, seconds = _sample(tasks, self._roller(updated(self.roller.model, Path(self.base))).rollouts)
        rules = Rules(keep_failures=True, keep_solved=True, max_tokens=options.max_length)
        selected = replace(training, rules=rules).selected(rollouts, options.algorithm, Tally()).examples
        self._show(selected)
        scale = rounds.per_round / min(_SAMPLE, len(tasks))
        update = 0.0
        if selected:
            size = len(selected)
            update = timed_step(sft_learner(selected, settings), self.base, replace(settings, batch_size=size))
            # the log-probabilities before the update, of the policy and of the reference, are passes without gradients
            update *= options.passes + ((options.passes > 1) + (options.policy.kl > 0)) / 3
        count = rounds.rounds(training.recipe.epochs)
        show(f"rounds: {count}, with {rounds.per_round * rounds.per_task} attempts each, at {len(tasks)} tasks")
        show(f"a round: about {_seconds(scale * seconds)} for the attempts, {_seconds(scale * update)} for the update")
        total = count * scale * (seconds + update)
        if parts.band:
            show(f"--band: a round attempts up to {MOST_CANDIDATES} times as many tasks; this is not in the estimate")
        if held:
            number = -(-count // options.validate_every) + 1
            total += number * len(held) * VALIDATION_ATTEMPTS * seconds / max(len(rollouts), 1)
            show(f"validations: {number}, with {len(held) * VALIDATION_ATTEMPTS} attempts each, at {len(held)} tasks")
        show(f"estimated time: {_minutes(total)}, from {len(rollouts)} attempts; more attempts at once are faster")

    # ------------------------------------------------------------ parts

    def _roller(self, model: str | None = None) -> Roller:
        """Return what attempts tasks and writes no file; `model` replaces the model."""
        options = replace(self.roller.options, rollouts=None)
        return replace(self.roller, model=model or self.roller.model, options=options)

    def _examples(self, rollouts: Sequence[Rollout], algorithm: str, tally: Tally, scale: float = 1.0) -> None:
        """Show the examples of some rollouts, and the estimated time of the training on them.

        Args:
            rollouts: attempts, or solutions in the form of attempts.
            algorithm: the algorithm.
            tally: counts what is left out.
            scale: how many times as many rollouts the training would have.
        """
        training = self.training
        selected = training.selected(rollouts, algorithm, tally).examples
        settings = training.train_options(algorithm)
        unit = UNITS.get(algorithm, "examples")
        training.say_chosen(algorithm, training.chosen(settings), f"{settings.batch_size} {unit} a step")
        learner: Learner
        if algorithm in UNITS:
            kind = PreferenceOptions(algorithm)  # type: ignore[arg-type]
            learner, counts = preference_learner(selected, settings, kind)
        else:
            learner, counts = sft_learner(selected, settings), {}
        self._show(selected)
        show(f"truncated: 0; examples are left out instead: {tally.too_long} too long")
        if counts:
            show(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items()))
        seconds, share = self._timed(learner, selected, settings)
        # DPO and KTO first compute the log-probabilities of the reference, a pass without gradients
        passes = settings.epochs + (1 / 3 if algorithm in UNITS else 0)
        steps = round(scale * settings.epochs * -(-len(learner.items) // settings.batch_size))
        about = "about " if scale != 1 else ""
        show(f"steps: {about}{steps} in {settings.epochs} epochs; one took {_seconds(seconds)}")
        show(f"estimated time of the training: {_minutes(scale * passes * seconds / share)}")

    def _timed(self, learner: Learner, selected: Sequence[Example], settings: TrainOptions) -> tuple[float, float]:
        """Return the seconds of the first step of an epoch, and its share of the epoch."""
        if isinstance(learner, Preference):
            part = learner.first(settings.batch_size)
            return timed_step(part, self.base, settings), len(part.items) / len(learner.items)
        first = islice(learner.sampler() or learner.items, settings.batch_size)
        share = _tokens([selected[item] for item in first]) / _tokens(selected)
        return timed_step(learner, self.base, settings), share

    def _show(self, selected: Sequence[Example]) -> None:
        """Print the first examples, with their own tokens between marks, and the counts."""
        for number, example in enumerate(selected[:_SHOWN], 1):
            own = sum(example.loss_mask[1:])
            show(f"--- example {number}: task {example.task}, {len(example.input_ids)} tokens, {own} own")
            show("".join(self._marked(example)))
        if selected:
            show(f"--- own tokens, which have loss, are between {_MARKS[0]} and {_MARKS[1]}")
        tokens = _tokens(selected)
        own = sum(sum(example.loss_mask[1:]) for example in selected)
        masked = f"; {1 - own / tokens:.1%} masked" if tokens else ""
        show(f"examples: {len(selected)}, with {tokens} tokens, {own} of them own{masked}")
        show(f"longest example: {max((len(example.input_ids) for example in selected), default=0)} tokens")

    def _marked(self, example: Example) -> Iterator[str]:
        pairs = zip(example.input_ids, example.loss_mask, strict=True)
        for own, part in groupby(pairs, lambda pair: pair[1]):
            text: str = self.training.tokenizer.decode([token for token, _ in part])
            if own:
                yield f"{_MARKS[0]}{text}{_MARKS[1]}"
            elif len(text) > _CONTEXT:
                half = _CONTEXT // 2
                yield f"{text[:half]}\n… {len(text) - 2 * half} more characters …\n{text[-half:]}"
            else:
                yield text


def _sample[R](records: Sequence[R], make: Callable[[Iterator[R]], Iterator[Rollout]]) -> tuple[list[Rollout], float]:
    """Make the attempts of a few records; return the rollouts and the seconds, without those for loading the model."""
    began = time.monotonic()

    def after_loading() -> Iterator[R]:
        nonlocal began
        began = time.monotonic()
        yield from records[:_SAMPLE]

    rollouts = list(make(after_loading()))
    return rollouts, time.monotonic() - began


def _tokens(examples: Iterable[Example]) -> int:
    return sum(len(example.input_ids) for example in examples)


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds >= 6 else _seconds(seconds)
