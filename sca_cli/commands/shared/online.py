"""Online training for `sca train`: the rounds of attempts, their journal, and the engine that gets the new weights.

The journal is SAVE.work/rollouts.jsonl, or the file of `--rollouts`. It holds every attempt as soon as it is judged. A
run that was killed reads it, and attempts only what is missing.
"""

import random
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca_cli.commands.shared.acting import opened_actor
from sca_cli.commands.shared.attempting import Roller
from sca_cli.commands.shared.attempts import Attempts, attempt_name, worth_attempting
from sca_cli.commands.shared.curriculum import fail_if_without_tasks
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import MODEL_WIDTH, Meter, made_by, required_model, say, written_before
from sca_cli.commands.shared.train_stages import updated
from sca_cli.commands.shared.training import Running, Training
from sca_cli.errors import RecordError, UsageError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import TrainableModel
from sca_cli.records import JSON, Checkpoint, Rollout, Task
from sca_cli.streams import Output
from sca_cli.training import ranks
from sca_cli.training.by_trl import train_grpo_by_trl
from sca_cli.training.curriculum import Curriculum, CurriculumOptions, Item, Round
from sca_cli.training.online import Online, OnlineOptions
from sca_cli.training.trainer import NothingToTrain, TrainOptions, fail_if_in_the_way, train, work_of
from sca_cli.training.weights import merged_weights
from sca_cli.training.work import base_fingerprint

if TYPE_CHECKING:
    import torch


_MOST_VALIDATION = 16
"""Most validation tasks, unless `--validate` names another number; chosen by hand."""

VALIDATION_ATTEMPTS = 4
"""Attempts at each validation task, always with the same seeds; chosen by hand."""


def split(tasks: list[Task], wanted: int | None, running: Running) -> tuple[list[Task], list[Task]]:
    """Draw the tasks for validation; return the tasks to train on, and those for validation.

    Args:
        tasks: self-made tasks. With `--allow-eval` some can be held-out tasks, so none is drawn for validation.
        wanted: number of tasks for validation; None: a tenth of the tasks, at most 16, or 0 if there are fewer than 40.
        running: the seed.

    Raises:
        UsageError: no task would be left to train on; a number is given with `--allow-eval`.
    """
    if wanted and running.allow_eval:
        raise UsageError("--validate and --allow-eval exclude each other", "validation is by self-made tasks only")
    if wanted is None:
        wanted = 0 if running.allow_eval or len(tasks) < 40 else min(len(tasks) // 10, _MOST_VALIDATION)
    if wanted and wanted >= len(tasks):
        raise UsageError(f"--validate {wanted} leaves none of the {len(tasks)} tasks to train on", "a smaller number")
    places = set(random.Random(derived_seed(running.seed, "validation")).sample(range(len(tasks)), wanted))
    return (
        [task for place, task in enumerate(tasks) if place not in places],
        [task for place, task in enumerate(tasks) if place in places],
    )


def train_online(
    training: Training,
    records: Iterable[Task | Rollout],
    base: str,
    save: Path,
    roller: Roller,
    options: OnlineOptions,
    parts: CurriculumOptions,
    validation: int | None = None,
) -> Checkpoint:
    """Train on rounds of attempts at tasks, and return the record of the trained model.

    Args:
        training: how is trained.
        records: the tasks.
        base: weights to start from.
        save: directory to create.
        roller: attempts tasks.
        options: settings of the algorithm.
        parts: the parts of the curriculum.
        validation: number of tasks to choose the weights by; see `split`.

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
    tasks = tasks_to_attempt(records, options.algorithm)
    # TRL keeps the last weights
    tasks, held = split(tasks, 0 if recipe.trainer == "trl" else validation, running)
    if held:
        about = (
            f"validation on {len(held)} of the tasks, which are not trained on, every {options.validate_every} rounds"
        )
        say(f"sca train: {about}", quiet=running.quiet)
    fail_if_without_tasks(parts, tasks)
    curriculum = Curriculum(tasks, recipe.batch_size, roller.options.attempts, running.seed, parts)
    options = replace(options, rounds=curriculum.rounds(recipe.epochs), validation_tasks=len(held))
    ranks.from_first(lambda: options)
    settings_of_trainer = _settings_of_trainer(training, options)
    chosen = training.chosen(settings_of_trainer)
    step = f"{curriculum.per_round} tasks a round, {curriculum.per_task} attempts each"
    training.say_chosen(options.algorithm, chosen, step)
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

        def validate(weights: "Iterator[tuple[str, torch.Tensor]]") -> float:
            meter.status("validation")
            fanout.call(engine.update_weights(weights))
            items = [(task, sample) for task in held for sample in range(VALIDATION_ATTEMPTS)]
            return _mean_reward(rollout for _, rollout in fanout.ordered(items, work_on))

        def report(figures: dict[str, float]) -> None:
            say(_line(figures, options.rounds), quiet=running.quiet)

        learner = Online(options, roll, report, validate if held else None)
        fingerprint = {"tasks": settings["tasks"], "base model": base_fingerprint(base)}
        fingerprint["options"] = asdict(settings_of_trainer) | asdict(options)
        del fingerprint["options"]["report_to"]
        if parts != CurriculumOptions():
            fingerprint["curriculum"] = asdict(parts)
        try:
            if recipe.trainer == "trl":
                metrics = _by_trl(tasks, attempt, newer, base, save, settings_of_trainer, roller, options)
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
    if validations := learner.validations:
        say(_validated(validations), quiet=running.quiet)
        metrics["validation"] = validations | {"tasks": [task.id for task in held]}
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
        settings=chosen | _settings_of_rounds(options, parts, training, roller),
        metrics=metrics | ({"rounds": learner.summary()} if learner.rounds else {}),
        made_by=made_by("train", model=model, seed=running.seed, prompt=training.prompt),
    )


def _settings_of_trainer(training: Training, options: OnlineOptions) -> TrainOptions:
    """Return the settings of the trainer. A step of TRL's has `--batch-size` tasks; each is a row of its data."""
    if training.recipe.trainer == "sca":
        return training.train_options(options.algorithm, passes=options.passes)
    settings = training.train_options(options.algorithm)
    return replace(settings, batch_size=training.recipe.batch_size, scheduler="constant")


def _followed(training: Training, base: str, save: Path, options: OnlineOptions) -> Checkpoint:
    """Train on the rounds of the first process; no caller reads the record that is returned."""
    options = ranks.from_first(lambda: options)

    def roll(*_: Any) -> Round:
        raise AssertionError  # the first process rolls out

    train(Online(options, roll), base, save, _settings_of_trainer(training, options), {})
    return Checkpoint(path=str(save), base_model=base, algorithm=options.algorithm)


def _by_trl(
    tasks: list[Task],
    attempt: Callable[[list[Item]], list[Rollout]],
    newer: "list[Iterator[tuple[str, torch.Tensor]]]",
    base: str,
    save: Path,
    settings: TrainOptions,
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
        say(f"sca train: {len(rollouts)} attempts: {_mean_reward(rollouts):.1%} pass", quiet=roller.quiet)
        return rollouts

    per_task = roller.options.attempts
    return train_grpo_by_trl(list(by_id), attempt_ids, base, save, settings, options.policy, per_task)


def _settings_of_rounds(
    options: OnlineOptions, parts: CurriculumOptions, training: Training, roller: Roller
) -> dict[str, JSON]:
    """Return the settings of the rounds, for the record: of TRL's trainer those that it has."""
    values = asdict(options)
    policy = values.pop("policy")
    attempts = roller.options
    if training.recipe.trainer == "trl":
        values.clear()
        del policy["max_weight"]
    without_effect = ("algorithm", "batch_tokens")
    curriculum = {name: value for name, value in asdict(parts).items() if value != getattr(CurriculumOptions(), name)}
    return {
        **{name: value for name, value in values.items() if name not in without_effect},
        **policy,
        **curriculum,
        "epochs": training.recipe.epochs,
        "batch_size": training.recipe.batch_size,
        "attempts": attempts.attempts,
        "temperature": attempts.temperature,
        "top_p": attempts.top_p,
        "max_tokens": attempts.max_tokens,
        "turns": attempts.turns,
    }


def tasks_to_attempt(records: Iterable[Task | Rollout], algorithm: str) -> list[Task]:
    """Return the tasks to make rollouts of.

    Raises:
        RecordError: rollouts are read instead.
        NothingToTrain: there is no task.
    """
    tasks = list(worth_attempting(_only_tasks(records, algorithm)))
    if not tasks:
        raise NothingToTrain("no tasks to train on", "sca verify writes them")
    return tasks


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


def _mean_reward(rollouts: Iterable[Rollout]) -> float:
    """Return the mean reward of the rollouts that were judged; 0 if none was."""
    rewards = [rollout.reward for rollout in rollouts if rollout.reward is not None]
    return sum(rewards) / len(rewards) if rewards else 0.0


def _validated(validations: dict[str, Any]) -> str:
    """Return the line on the validation: the rewards before training, of the weights that are kept, and at the end."""
    by_round = dict(zip(validations["rounds"], validations["reward"], strict=True))
    kept, last = validations["kept"], validations["rounds"][-1]
    text = f"sca train: validation: {by_round.get(0, 0.0):.1%} → {by_round[last]:.1%} pass"
    return text if kept == last else f"{text}; the weights after round {kept} are kept: {by_round[kept]:.1%}"


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
