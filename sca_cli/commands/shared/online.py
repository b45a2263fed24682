"""Online training for `sca train`: the rounds of attempts, their journal, and the engine that gets the new weights.

The journal is SAVE.work/rollouts.jsonl, or the file of `--rollouts`. It holds every attempt as soon as it is judged. A
run that was killed reads it, and attempts only what is missing.
"""

import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca_cli.commands.shared.acting import opened_actor
from sca_cli.commands.shared.attempting import Roller
from sca_cli.commands.shared.attempts import TURNS, Attempts, attempt_name, worth_attempting
from sca_cli.commands.shared.curriculum import fail_if_without_tasks
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import MODEL_WIDTH, Meter, made_by, required_model, say, written_before
from sca_cli.commands.shared.train_stages import updated
from sca_cli.commands.shared.training import Training
from sca_cli.episode.agent import EpisodeLimits
from sca_cli.errors import RecordError, UsageError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import Sampling, TrainableModel
from sca_cli.records import JSON, Checkpoint, Rollout, Task
from sca_cli.streams import Output
from sca_cli.training import ranks
from sca_cli.training.by_trl import train_grpo_by_trl
from sca_cli.training.curriculum import Curriculum, CurriculumOptions, Item, Round
from sca_cli.training.online import Online, OnlineOptions
from sca_cli.training.trainer import NothingToTrain, fail_if_in_the_way, train, work_of
from sca_cli.training.weights import merged_weights
from sca_cli.training.work import base_fingerprint

if TYPE_CHECKING:
    import torch


def train_online(
    training: Training,
    records: Iterable[Task | Rollout],
    base: str,
    save: Path,
    roller: Roller,
    options: OnlineOptions,
    parts: CurriculumOptions,
) -> Checkpoint:
    """Train on rounds of attempts at tasks, and return the record of the trained model.

    Raises:
        RecordError: rollouts are read instead of tasks.
        NothingToTrain: there is no task, or no round had anything to learn from.
        UsageError: the model's weights cannot be replaced while it is loaded; `save` exists.
        MissingError: the train extra or the base weights are absent.
    """
    recipe, running = training.recipe, training.running
    if ranks.follows():
        return _followed(training, base, save, options)
    fail_if_in_the_way(save, resume=running.resume)
    tasks = list(worth_attempting(_only_tasks(records, options.algorithm)))
    if not tasks:
        raise NothingToTrain("no tasks to train on", "sca verify writes them")
    fail_if_without_tasks(parts, tasks)
    curriculum = Curriculum(tasks, recipe.batch_size, roller.options.attempts, running.seed, parts)
    options = replace(options, rounds=curriculum.rounds(recipe.epochs))
    ranks.from_first(lambda: options)
    model = updated(required_model(roller.model) if roller.model else None, Path(base))
    settings = training.settings | {"model": model, "tasks": derived_seed(*(task.id for task in tasks))}
    work = work_of(save)
    with ExitStack() as opened:
        fanout = opened.enter_context(Fanout(roller.options.concurrency or MODEL_WIDTH))
        sandboxes = opened.enter_context(Sandboxes(roller.allowed))
        limits = EpisodeLimits(turns=roller.options.turns or TURNS)
        sampling = Sampling(roller.options.temperature, roller.options.top_p, roller.options.max_tokens)
        actor = opened.enter_context(
            opened_actor(model, fanout, sampling, limits, roller.options.actions, roller.prompts, roller.talk)
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
        known = deque(written_before(sink, [journal], Rollout))
        attempts = Attempts(actor, sandboxes, model, 1, running.seed, command="train", turns=roller.options.turns)
        meter = opened.enter_context(Meter("train", None, quiet=running.quiet))
        rounds_made = 0
        attempted_ids: list[str] = []
        newer: list[Iterator[tuple[str, torch.Tensor]]] = []  # weights that the engine does not have yet

        async def work_on(item: Item) -> tuple[Item, Rollout]:
            return item, await attempts.attempt(*item)

        def attempt(items: list[Item]) -> list[Rollout]:
            rollouts = [_known(item, known) for item in items[: len(known)]]
            if len(rollouts) < len(items) and newer:
                fanout.call(engine.update_weights(newer.pop()))
            for item, rollout in fanout.ordered(items[len(rollouts) :], work_on):
                rollouts.append(attempts.write(attempt_name(item), rollout, sink))
            attempted_ids.extend(rollout.id for rollout in rollouts)
            return rollouts

        def roll(number: int, weights: "Iterator[tuple[str, torch.Tensor]]") -> Round:
            nonlocal rounds_made
            meter.status(f"round {number + 1}/{options.rounds}: attempts")
            newer[:] = [weights]
            # a run that is resumed repeats the decisions of the rounds before its checkpoint
            for _ in range(rounds_made, number):
                curriculum.round(attempt)
            rolled, rounds_made = curriculum.round(attempt), number + 1
            meter.status(f"round {number + 1}/{options.rounds}: update")
            return rolled

        def report(figures: dict[str, float]) -> None:
            say(_line(figures, options.rounds), quiet=running.quiet)

        learner = Online(options, roll, report)
        settings_of_trainer = training.train_options(options.algorithm, passes=options.passes)
        fingerprint = {"tasks": settings["tasks"], "base model": base_fingerprint(base)}
        fingerprint["options"] = asdict(settings_of_trainer) | asdict(options)
        if parts != CurriculumOptions():
            fingerprint["curriculum"] = asdict(parts)
        try:
            if recipe.trainer == "trl":
                metrics = _by_trl(tasks, attempt, newer, base, save, training, roller, options)
            else:
                metrics = train(learner, base, save, settings_of_trainer, fingerprint)
        except NothingToTrain:
            shutil.rmtree(work)
            raise
    sink.close(complete=bool(roller.options.rollouts))  # the journal in SAVE.work is gone, with the checkpoints
    if not running.times:
        del metrics["seconds"]
    if reason := metrics.get("stopped"):
        say(f"sca train: stopped early: {reason}", quiet=running.quiet)
    if parts.band:
        attempted, saved = (sum(figures[name] for figures in learner.rounds) for name in ("attempts", "saved"))
        say(f"sca train: the band: {attempted:.0f} attempts made, {saved:.0f} saved", quiet=running.quiet)
    data = list(dict.fromkeys(learner.data or attempted_ids))
    return Checkpoint(
        path=str(save),
        base_model=base,
        algorithm=options.algorithm,
        data=data,
        parents=[task.id for task in tasks],
        metrics=metrics | ({"rounds": learner.summary()} if learner.rounds else {}),
        made_by=made_by("train", model=model, seed=running.seed, prompt=training.prompt),
    )


def _followed(training: Training, base: str, save: Path, options: OnlineOptions) -> Checkpoint:
    """Train on the rounds of the first process; nobody reads the record that is returned."""
    options = ranks.from_first(lambda: options)

    def roll(*_: Any) -> Round:
        raise AssertionError  # the first process rolls out

    settings = training.train_options(options.algorithm, passes=options.passes)
    train(Online(options, roll), base, save, settings, {})
    return Checkpoint(path=str(save), base_model=base, algorithm=options.algorithm)


def _by_trl(
    tasks: list[Task],
    attempt: Callable[[list[Item]], list[Rollout]],
    newer: "list[Iterator[tuple[str, torch.Tensor]]]",
    base: str,
    save: Path,
    training: Training,
    roller: Roller,
    options: OnlineOptions,
) -> dict[str, JSON]:
    """Train with TRL's GRPOTrainer, which chooses the tasks of each step."""
    by_id = {task.id: task for task in tasks}
    made: Counter[str] = Counter()

    def attempt_ids(names: list[str], model: Any) -> list[Rollout]:
        newer[:] = [merged_weights(model)]
        items: list[Item] = []
        for name in names:
            items.append((by_id[name], made[name]))
            made[name] += 1
        rollouts = attempt(items)
        rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
        rate = sum(rewards) / len(rewards) if rewards else 0.0
        say(f"sca train: {len(rollouts)} attempts: {rate:.1%} pass", quiet=training.running.quiet)
        return rollouts

    # a step of TRL's has `batch_size` tasks, each of which is a row of its data
    settings = replace(
        training.train_options(options.algorithm), batch_size=training.recipe.batch_size, scheduler="constant"
    )
    per_task = roller.options.attempts
    return train_grpo_by_trl(list(by_id), attempt_ids, base, save, settings, options.policy, per_task)


def _only_tasks(records: Iterable[Task | Rollout], algorithm: str) -> Iterator[Task]:
    for record in records:
        if isinstance(record, Rollout):
            raise RecordError(
                f"record {record.id} is a rollout: --algo {algorithm} reads tasks and makes its own rollouts",
                "sca train tasks.jsonl; or --algo rft, dpo or kto, which learn from these rollouts",
            )
        yield record


def _known(item: Item, known: deque[Rollout]) -> Rollout:
    """Return the next rollout of the journal, which must be that of the item.

    Raises:
        UsageError: it is not.
    """
    rollout = known.popleft()
    if attempt_name((rollout.task, rollout.sample)) != attempt_name(item):
        raise UsageError("--resume: the attempts are not those of this run", "give another --save, or remove it")
    return rollout


def _line(figures: dict[str, Any], rounds: int) -> str:
    text = f"sca train: round {figures['round'] + 1:.0f}/{rounds}: {figures['reward']:.1%} pass"
    if figures["invalid"]:
        text += f", {figures['invalid']:.0%} invalid"
    text += f", {figures['dropped']:.0f} of {figures['groups']:.0f} tasks without variance"
    if "saved" in figures:
        outside = f"{figures['below']:.0f} tasks below the band, {figures['above']:.0f} above"
        text += f"; {outside}: {figures['attempts']:.0f} attempts made, {figures['saved']:.0f} saved"
    if "level" in figures:
        text += f"; at most {figures['level']:.0f} calls"
    if "replayed" in figures:
        text += f"; {figures['replayed']:.0f} successes replayed"
    return text
