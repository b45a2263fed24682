"""Online training for `sca train`: the rounds of attempts, their journal, and the engine that gets the new weights.

The journal is SAVE.work/rollouts.jsonl, or the file of `--rollouts`. It holds every attempt as soon as it is judged. A
run that was killed reads it, and attempts only what is missing.
"""

import random
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca_cli.commands.shared.acting import opened_actor
from sca_cli.commands.shared.attempting import Roller
from sca_cli.commands.shared.attempts import Attempts, attempt_name, worth_attempting
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import MODEL_WIDTH, Meter, made_by, required_model, say, written_before
from sca_cli.commands.shared.train_stages import updated
from sca_cli.commands.shared.training import Training
from sca_cli.errors import RecordError, UsageError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import TrainableModel
from sca_cli.records import Checkpoint, Rollout, Task
from sca_cli.streams import Output
from sca_cli.training.online import Online, OnlineOptions
from sca_cli.training.trainer import NothingToTrain, fail_if_in_the_way, train, work_of
from sca_cli.training.work import base_fingerprint

if TYPE_CHECKING:
    import torch


class Rounds:
    """The attempts of all rounds.

    Each round takes the next tasks of an order that is drawn again for each pass over the tasks.

    Args:
        tasks: the tasks.
        per_round: tasks of one round.
        per_task: attempts at each task.
        seed: decides the order.
    """

    def __init__(self, tasks: list[Task], per_round: int, per_task: int, seed: int) -> None:
        self._tasks, self._per_task, self._seed = tasks, per_task, seed
        self._per_round = min(per_round, len(tasks))

    def __len__(self) -> int:
        """Return the attempts of one round."""
        return self._per_round * self._per_task

    def count(self, epochs: int) -> int:
        """Return the number of rounds in a number of passes over the tasks."""
        return -(-epochs * len(self._tasks) // self._per_round)

    def items(self) -> Iterator[tuple[Task, int]]:
        """Yield (task, sample) of all attempts of all rounds, without end."""
        epoch = 0
        while True:
            order = random.Random(derived_seed(self._seed, "order", epoch)).sample(self._tasks, len(self._tasks))
            for task in order:
                for sample in range(self._per_task):
                    yield task, epoch * self._per_task + sample
            epoch += 1

    def round(self, number: int) -> list[tuple[Task, int]]:
        """Return the attempts of one round."""
        return list(islice(self.items(), number * len(self), (number + 1) * len(self)))

    def grouped(self, rollouts: list[Rollout]) -> list[list[Rollout]]:
        """Return the rollouts of a round, one list for each task."""
        size = self._per_task
        return [rollouts[place : place + size] for place in range(0, len(rollouts), size)]


def train_online(
    training: Training, records: Iterable[Task | Rollout], base: str, save: Path, roller: Roller, options: OnlineOptions
) -> Checkpoint:
    """Train on rounds of attempts at tasks, and return the record of the trained model.

    Raises:
        RecordError: rollouts are read instead of tasks.
        NothingToTrain: there is no task, or no round had anything to learn from.
        UsageError: the model's weights cannot be replaced while it is loaded; `save` exists.
        MissingError: the train extra or the base weights are absent.
    """
    recipe, running = training.recipe, training.running
    fail_if_in_the_way(save, resume=running.resume)
    tasks = list(worth_attempting(_only_tasks(records, options.algorithm)))
    if not tasks:
        raise NothingToTrain("no tasks to train on", "sca verify writes them")
    rounds = Rounds(tasks, recipe.batch_size, roller.options.attempts, running.seed)
    options = replace(options, rounds=rounds.count(recipe.epochs))
    model = updated(required_model(roller.model) if roller.model else None, Path(base))
    settings = training.settings | {"model": model, "tasks": derived_seed(*(task.id for task in tasks))}
    work = work_of(save)
    with ExitStack() as opened:
        fanout = opened.enter_context(Fanout(roller.options.concurrency or MODEL_WIDTH))
        sandboxes = opened.enter_context(Sandboxes(roller.allowed))
        acting = roller.options
        actor = opened.enter_context(
            opened_actor(model, fanout, acting.sampling, acting.limits, acting.actions, roller.prompts, roller.talk)
        )
        engine = actor.model
        if not isinstance(engine, TrainableModel):
            raise UsageError(
                f"--algo {options.algorithm} changes the weights of a loaded model, which '{model}' does not allow",
                "--model transformers:DIR",
            )
        work.mkdir(parents=True, exist_ok=True)
        journal = roller.options.rollouts or str(work / "rollouts.jsonl")
        sink = Output(journal, rejected=None, resume=running.resume, settings=settings)
        known = list(written_before(sink, [journal], Rollout))
        attempts = Attempts(actor, sandboxes, model, 1, running.seed, command="train", turns=roller.options.turns)
        meter = opened.enter_context(Meter("train", None, quiet=running.quiet))
        remaining = sink.remaining(rounds.items(), attempt_name)

        async def work_on(item: tuple[Task, int]) -> tuple[tuple[Task, int], Rollout]:
            return item, await attempts.attempt(*item)

        def roll(number: int, weights: "Iterator[tuple[str, torch.Tensor]]") -> list[list[Rollout]]:
            rollouts = known[number * len(rounds) : (number + 1) * len(rounds)]
            known_before = len(rollouts)
            if known_before < len(rounds):
                meter.status(f"round {number + 1}/{options.rounds}: attempts")
                fanout.call(engine.update_weights(weights))
                for item, rollout in fanout.ordered(islice(remaining, len(rounds) - known_before), work_on):
                    rollouts.append(attempts.write(item, rollout, sink))
            meter.status(f"round {number + 1}/{options.rounds}: update")
            return rounds.grouped(rollouts)

        def report(figures: dict[str, float]) -> None:
            say(_line(figures, options.rounds), quiet=running.quiet)

        learner = Online(options, roll, report)
        settings_of_trainer = training.train_options(options.algorithm, passes=options.passes)
        fingerprint = {"tasks": settings["tasks"], "base model": base_fingerprint(base)}
        fingerprint["options"] = asdict(settings_of_trainer) | asdict(options)
        try:
            metrics = train(learner, base, save, settings_of_trainer, fingerprint)
        except NothingToTrain:
            shutil.rmtree(work)
            raise
    sink.close(complete=bool(roller.options.rollouts))  # the journal in SAVE.work is gone, with the checkpoints
    if not running.times:
        del metrics["seconds"]
    if reason := metrics.get("stopped"):
        say(f"sca train: stopped early: {reason}", quiet=running.quiet)
    data = list(dict.fromkeys(learner.data))
    return Checkpoint(
        path=str(save),
        base_model=base,
        algorithm=options.algorithm,
        data=data,
        parents=[task.id for task in tasks],
        metrics=metrics | {"rounds": learner.summary()},
        made_by=made_by("train", model=model, seed=running.seed, prompt=training.prompt),
    )


def _only_tasks(records: Iterable[Task | Rollout], algorithm: str) -> Iterator[Task]:
    for record in records:
        if isinstance(record, Rollout):
            raise RecordError(
                f"record {record.id} is a rollout: --algo {algorithm} reads tasks and makes its own rollouts",
                "sca train tasks.jsonl; or --algo rft, dpo or kto, which learn from these rollouts",
            )
        yield record


def _line(figures: dict[str, Any], rounds: int) -> str:
    text = f"sca train: round {figures['round'] + 1:.0f}/{rounds}: {figures['reward']:.1%} pass"
    if figures["invalid"]:
        text += f", {figures['invalid']:.0%} invalid"
    return f"{text}, {figures['dropped']:.0f} of {figures['groups']:.0f} tasks without variance"
