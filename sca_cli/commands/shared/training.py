"""What `train` and `distill` share: options, rejection of held-out tasks, fine-tuning, the checkpoint record."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import typer

from sca_cli.commands.shared import options
from sca_cli.commands.shared.card import CARD, describe
from sca_cli.commands.shared.shell import LeftOut, Meter, exit_code, made_by, say
from sca_cli.errors import ExitCode, MissingError, RecordError, UsageError
from sca_cli.records import CHECKPOINT_FILE, JSON, Checkpoint, Rollout, Task, decode, encode
from sca_cli.streams import Output
from sca_cli.training import ranks
from sca_cli.training.by_trl import train_by_trl
from sca_cli.training.data import Tally
from sca_cli.training.preference import PreferenceOptions, train_preference
from sca_cli.training.selection import Rules, Selection, select
from sca_cli.training.sft import train_sft
from sca_cli.training.trainer import TrainOptions

Save = Annotated[
    Path,
    typer.Option(
        "--save",
        metavar="DIR",
        help="Output directory of the trained model (created).",
        show_default=False,
        rich_help_panel=options.FILES,
    ),
]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The options of fine-tuning."""

    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run the Python code in the directory of the weights to train.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = False
    lora_rank: Annotated[
        int,
        typer.Option(
            "--lora-rank",
            min=0,
            help="Rank of the LoRA update; 0 trains all weights.",
            rich_help_panel=options.TRAINING,
        ),
    ] = 16
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            min=0.0,
            help="Peak learning rate.",
            show_default="2e-4 with LoRA, 1e-5 without; a tenth of it for reinforcement learning and preferences",
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs",
            min=1,
            help="Passes over the examples; in online training over the tasks.",
            rich_help_panel=options.TRAINING,
        ),
    ] = 2
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            min=1,
            help="Examples in one optimiser step; in online training tasks in one round.",
            rich_help_panel=options.TRAINING,
        ),
    ] = 8
    max_length: Annotated[
        int,
        typer.Option(
            "--max-length",
            min=1,
            help="Longest example in tokens; longer examples are left out and counted.",
            rich_help_panel=options.TRAINING,
        ),
    ] = 4096
    trainer: Annotated[
        Literal["sca", "trl"],
        typer.Option(
            "--trainer",
            help="sca: compute the common beginnings of examples once. trl: use TRL's own trainers; for sft, rft, dpo, "
            "kto and grpo.",
            rich_help_panel=options.TRAINING,
        ),
    ] = "sca"
    max_per_task: Annotated[
        int | None,
        typer.Option(
            "--max-per-task",
            min=1,
            help="Most examples of one task.",
            show_default="no limit",
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(
            "--device",
            help="Device to train on; auto is the GPU if there is one.",
            rich_help_panel=options.TRAINING,
        ),
    ] = "auto"
    dtype: Annotated[
        Literal["auto", "bfloat16", "float32"],
        typer.Option("--dtype", help="Precision of the matrix products.", rich_help_panel=options.TRAINING),
    ] = "auto"
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            min=1,
            help="CPU threads of the training.",
            show_default="chosen by torch",
            rich_help_panel=options.TRAINING,
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Running:
    """The options of a run."""

    seed: options.Seed = 0
    allow_eval: Annotated[
        bool,
        typer.Option(
            "--allow-eval",
            help="Also train on tasks that are marked as held out.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show two examples, the number of examples and tokens, and the estimated time. Train and write "
            "nothing.",
            show_default=False,
            rich_help_panel=options.RUN,
        ),
    ] = False
    report_to: Annotated[
        Literal["none", "trackio", "wandb", "tensorboard"],
        typer.Option(
            "--report-to",
            help="Send the metrics of each step to this library, too; metrics.jsonl has them anyway.",
            rich_help_panel=options.TRAINING,
        ),
    ] = "none"
    output: options.Output = "-"
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue a stopped run: the training from DIR.work, the attempts from --rollouts FILE.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = False
    times: options.Times = False
    quiet: options.Quiet = False

    def fail_if_dry_run_cannot(self) -> None:
        """Check that a dry run does not resume a run, and has only one process.

        Raises:
            UsageError: it resumes a run, or has several processes.
        """
        if self.resume:
            raise UsageError("--dry-run and --resume exclude each other", "a dry run is always complete")
        if ranks.count() > 1:
            raise UsageError("--dry-run needs one process", "start it without a launcher")


_PACKAGES = {"trackio": ["trackio"], "wandb": ["wandb"], "tensorboard": ["tensorboard", "tensorboardX"]}
"""Library of `--report-to` → the packages of which one must be installed."""


def fail_if_no_library(report_to: str) -> None:
    """Check, before any work, that the library of `--report-to` is installed.

    Raises:
        MissingError: it is not.
    """
    packages = _PACKAGES.get(report_to, [])
    if packages and not any(find_spec(package) for package in packages):
        raise MissingError(f"--report-to {report_to} needs the package '{packages[0]}'", f"pip install {packages[0]}")


def fail_if_trl_cannot(trainer: str, algorithm: str, running: Running, *, other: bool, validate: bool) -> None:
    """Check, before any work, that TRL's trainers can do what the options ask.

    Args:
        trainer: sca or trl.
        algorithm: the algorithm.
        running: the options of the run.
        other: there are options of a curriculum.
        validate: tasks are to be kept for validation.

    Raises:
        UsageError: they cannot.
    """
    if trainer != "trl":
        return
    if algorithm == "ppo":
        raise UsageError("--trainer trl: TRL has no PPO trainer any more", "leave out --trainer")
    if algorithm in ("reinforce", "rloo"):
        raise UsageError(
            f"--trainer trl: TRL's trainers have no hook for our rollouts with --algo {algorithm}", "--algo grpo"
        )
    if algorithm == "grpo" and ranks.count() > 1:
        raise UsageError("--trainer trl: GRPO needs one process, which makes the rollouts", "leave out --trainer")
    if running.resume:
        raise UsageError("--trainer trl excludes --resume: it keeps no checkpoints", "leave out --trainer")
    if running.dry_run:
        raise UsageError("--trainer trl excludes --dry-run, which estimates our own trainer", "leave out --trainer")
    if validate:
        raise UsageError("--trainer trl excludes --validate: TRL keeps the last weights", "leave out --trainer")
    if other:
        raise UsageError("--trainer trl excludes a curriculum: TRL chooses the tasks", "leave out --trainer")


def refuse_eval(records: Iterable[Task | Rollout], *, allow: bool) -> Iterator[Task | Rollout]:
    """Yield the records, and reject records of held-out tasks. The first is read at once, before weights are loaded.

    Raises:
        RecordError: a record's task is marked `eval`, and that is not allowed.
    """
    passed = (_trainable(record, allow=allow) for record in records)
    return chain(list(islice(passed, 1)), passed)


def _trainable(record: Task | Rollout, *, allow: bool) -> Task | Rollout:
    task = record.task if isinstance(record, Rollout) else record
    if task.split == "eval":
        if not allow:
            raise RecordError(
                f"task {task.id} is held out for evaluation",
                "training on it makes every later score worthless; --allow-eval does it all the same",
            )
        task.split = "train"
    return record


UNITS = {"dpo": "pairs", "kto": "rollouts"}
"""Algorithm → what its steps consist of, if not of examples."""


@dataclass(frozen=True, slots=True)
class Training:
    """How examples are selected and trained on."""

    verb: str
    tokenizer: Any
    rules: Rules
    recipe: Recipe
    running: Running
    model: str = ""
    """The model specification, recorded in the checkpoint."""
    prompt: str = ""
    """Hash of the prompt files in the examples, recorded in the checkpoint; empty if rollouts were read."""
    settings: dict[str, JSON] = field(default_factory=dict)
    """Settings of the run; `--resume` accepts a finished model only if it was trained with the same."""
    files: Sequence[str] = ()
    """The input files, named in the model card."""

    def train_options(self, algorithm: str, *, passes: int = 0) -> TrainOptions:
        """Return the settings of the trainer.

        Args:
            algorithm: decides the learning rate, if none was given.
            passes: optimiser steps of a round of online training; 0: training on examples.
        """
        recipe = self.recipe
        settings = TrainOptions(
            lora_rank=recipe.lora_rank,
            learning_rate=recipe.learning_rate,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            seed=self.running.seed,
            device=recipe.device,
            dtype=recipe.dtype,
            threads=recipe.threads,
            trust_remote_code=recipe.trust_remote_code,
            report_to=self.running.report_to,
        )
        if algorithm not in ("solutions", "rft", "distill", "solutions+rft"):
            settings = replace(settings, learning_rate=recipe.learning_rate or settings.rate / 10)
        if passes:
            settings = replace(settings, epochs=1, batch_size=1, scheduler="constant", save_every_steps=passes)
        return settings

    def fine_tune(self, rollouts: Iterable[Rollout], base: str, save: Path, algorithm: str, tally: Tally) -> Checkpoint:
        """Fine-tune on rollouts, and report the examples on standard error.

        Args:
            rollouts: attempts, or solutions in the form of attempts.
            base: weights to start from.
            save: directory to create.
            algorithm: recorded in the checkpoint.
            tally: counts what is left out.

        Raises:
            MissingError: the train extra or the base weights are absent.
            NothingToTrain: no example is left.
            UsageError: `save` exists.
        """
        selection = self.selected(rollouts, algorithm, tally)
        running = self.running
        with Meter(self.verb, None, quiet=running.quiet) as meter:

            def show(step: dict[str, float]) -> None:
                meter.status(f"step {step['step']:.0f}/{step['steps']:.0f}, loss {step['loss']:.3f}")

            settings = self.train_options(algorithm)
            chosen = self.chosen(settings)
            self.say_chosen(algorithm, chosen, f"{settings.batch_size} {UNITS.get(algorithm, 'examples')} a step")
            meter.status("loading")
            preference = PreferenceOptions(algorithm) if algorithm in ("dpo", "kto") else None  # type: ignore[arg-type]
            if preference:
                chosen |= {name: value for name, value in asdict(preference).items() if name != "algorithm"}
            if self.recipe.trainer == "trl":
                name: Any = algorithm if preference else "sft"
                metrics = train_by_trl(name, selection.examples, base, save, settings, show)
            elif preference:
                metrics = train_preference(
                    selection.examples, base, save, settings, preference, show, resume=running.resume
                )
            else:
                metrics = train_sft(selection.examples, base, save, settings, show, resume=running.resume)
        if not running.times:
            del metrics["seconds"]
        data = list(dict.fromkeys(example.record for example in selection.examples))
        return Checkpoint(
            path=str(save),
            base_model=base,
            algorithm=algorithm,
            control=self.rules.control or "",
            data=data,
            parents=data,
            settings=chosen,
            metrics=metrics | _notes(tally, selection),
            made_by=made_by(self.verb, model=self.model, seed=running.seed, prompt=self.prompt),
        )

    def selected(self, rollouts: Iterable[Rollout], algorithm: str, tally: Tally) -> Selection:
        """Select the examples of a training, and report them on standard error."""
        selection = ranks.from_first(lambda: select(rollouts, self.tokenizer, self.rules, tally))
        self._report(tally, selection, "solutions" if algorithm == "solutions" else "rollouts")
        return selection

    def chosen(self, settings: TrainOptions) -> dict[str, JSON]:
        """Return the settings that decide the trained weights, for the record.

        Raises:
            MissingError: the train extra or the device is missing.
        """
        chosen = settings.chosen() | {"trainer": self.recipe.trainer}
        if self.recipe.trainer == "trl":  # whose trainers do not divide a step into passes of ours
            del chosen["batch_tokens"], chosen["share_prefixes"]
        return chosen

    def say_chosen(self, algorithm: str, chosen: dict[str, JSON], step: str) -> None:
        """Print the settings of the training in one line.

        Args:
            algorithm: its name.
            chosen: what `chosen` returns.
            step: what one optimiser step or round learns from.
        """
        weights = f"LoRA of rank {chosen['lora_rank']}" if chosen["lora_rank"] else "all weights"
        where = f"{chosen['dtype']} on {chosen['device']}"
        rate = f"learning rate {chosen['learning_rate']:g} ({chosen['scheduler']})"
        name = f"{algorithm} by TRL" if chosen["trainer"] == "trl" else algorithm
        text = f"{name}: {weights}, {rate}, {step}, {self.recipe.epochs} epochs, {where}, seed {chosen['seed']}"
        say(f"sca {self.verb}: {text}", quiet=self.running.quiet)

    def _report(self, tally: Tally, selection: Selection, noun: str) -> None:
        left_out = {
            "failed": tally.failed,
            "invalid": tally.invalid,
            "not usable": tally.unusable,
            "not proven": tally.unproven,
            "without a solution": tally.wordless,
            "too long": tally.too_long,
            "duplicates": tally.duplicates,
            "over the limit of their task": tally.capped,
            "nothing to learn": tally.blank,
            "of tasks that every attempt solved": tally.solved,
        }
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out.items() if number)
        text = f"sca {self.verb}: {tally.examples} examples of {tally.read} {noun}"
        quiet = self.running.quiet
        say(text + (f" (left out: {reasons})" if reasons else ""), quiet=quiet)
        if selection.balance:
            groups = ", ".join(f"{name}: {before} → {after}" for name, (before, after) in selection.balance.items())
            say(f"sca {self.verb}: balanced by {self.rules.balance}: {groups}", quiet=quiet)
        if selection.drawn_from is not None:
            count = f"{len(selection.examples)} examples drawn from {selection.drawn_from}"
            say(f"sca {self.verb}: control {self.rules.control}: {count}", quiet=quiet)


def _notes(tally: Tally, selection: Selection) -> dict[str, Any]:
    """Return the metrics of the selection that are not empty."""
    notes = {"solved": tally.solved, "balance": selection.balance, "drawn_from": selection.drawn_from}
    return {name: value for name, value in notes.items() if value}


# ---------------------------------------------------------------- the record

RECORD = CHECKPOINT_FILE
"""The checkpoint record, also kept in the model's directory, so that `--resume` can print it again."""

SETTINGS = "sca-settings.json"
"""The settings of the training, in the same directory."""


def keep_checkpoint(checkpoint: Checkpoint, directory: Path, training: Training) -> None:
    """Write the settings, the record, the picture of the curves and the model card into the directory of the weights.

    One process of several does. If the picture and the card are missing because the process was killed,
    `trained_before` writes them.
    """
    if ranks.follows():
        return
    (directory / SETTINGS).write_bytes(msgspec.json.encode(training.settings))
    (directory / RECORD).write_bytes(encode(checkpoint))
    describe(checkpoint, directory, training.files, quiet=training.running.quiet)


def trained_before(
    save: Path, settings: dict[str, JSON], files: Sequence[str] = (), *, quiet: bool = False
) -> Checkpoint | None:
    """Return the record of a training that finished in this directory, or None.

    Args:
        save: the directory.
        settings: settings of this run.
        files: the input files, for the model card.
        quiet: print no message.

    Raises:
        UsageError: it was trained with other settings, or its record is damaged.
    """
    if not (save / RECORD).exists():
        return None
    try:
        record = decode((save / RECORD).read_bytes())
        before = msgspec.json.decode((save / SETTINGS).read_bytes()) if (save / SETTINGS).exists() else None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--resume: the record of {save} is damaged: {error}", "give another --save") from error
    if not isinstance(record, Checkpoint):
        return None
    if before is not None:
        now = msgspec.to_builtins(settings)
        if changed := sorted(name for name in {**before, **now} if before.get(name) != now.get(name)):
            message = f"--resume: {save} holds a model that was trained with other settings: {', '.join(changed)}"
            raise UsageError(message, "give another --save, or remove it")
    if not (save / CARD).exists() and not ranks.follows():
        describe(record, save, files, quiet=quiet)
    return record


def write_checkpoint(
    verb: str, checkpoint: Checkpoint, sink: Output, *, quiet: bool, left_out: LeftOut | None = None
) -> ExitCode:
    """Write the record, and print the loss and the directory on standard error."""
    if ranks.follows():
        return ExitCode.OK
    sink.write(checkpoint.path, [checkpoint])
    sink.close(complete=True)
    metrics = checkpoint.metrics
    if rounds := metrics.get("rounds"):
        result = f"{rounds['reward'][0]:.1%} → {rounds['reward'][-1]:.1%} pass in {len(rounds['reward'])} rounds"
    else:
        result = f"loss {metrics['first_loss']:.3f} → {metrics['last_loss']:.3f} in {metrics['steps']:.0f} steps"
    say(f"sca {verb}: {result}; the model is in {checkpoint.path}", quiet=quiet)
    return exit_code(sink.kept, left_out)
