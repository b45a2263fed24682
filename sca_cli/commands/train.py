"""`sca train`: rollouts, or tasks that it rolls out itself, → a better model (paper, section 2.3: self-improvement).

`--algo rft` is the paper's one-step REINFORCE with 0/1 reward: fine-tuning on the model's own successful rollouts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sca_cli import plugins, streams
from sca_cli.agent import EpisodeLimits
from sca_cli.commands import options
from sca_cli.commands.acting import Talk, opened_actor
from sca_cli.commands.rollout import Attempts, attempt_name, summary, worth_attempting
from sca_cli.commands.shell import (
    MODEL_WIDTH,
    Meter,
    exit_code,
    made_by,
    required_inputs,
    required_model,
    say,
    written_before,
)
from sca_cli.errors import ExitCode, RecordError, UsageError
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import Checkpoint, Record, Rollout, Task, decode, encode
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output

if TYPE_CHECKING:
    from sca_cli.training.data import Tally
    from sca_cli.training.sft import SftOptions


class Algorithm(StrEnum):
    """How to train."""

    RFT = "rft"


Save = Annotated[
    Path, typer.Option("--save", metavar="DIR", help="Directory of the trained model; made.", show_default=False)
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="DIR_OR_NAME",
        help="Weights to start from: a Hugging Face directory or hub name.",
        show_default="the name in --model",
    ),
]
Samples = Annotated[int, typer.Option("--samples", "-k", min=1, help="Attempts at each task, where tasks are read.")]
Lora = Annotated[int, typer.Option("--lora-rank", min=0, help="Rank of the LoRA update; 0 trains all weights.")]
LearningRate = Annotated[
    float | None,
    typer.Option("--learning-rate", min=0.0, help="Peak learning rate.", show_default="2e-4 with LoRA, 1e-5 without"),
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the examples.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Examples in one optimiser step.")]
MaxLength = Annotated[
    int, typer.Option("--max-length", min=1, help="Longest example, tokens; longer ones are left out and counted.")
]
PerTask = Annotated[
    int | None, typer.Option("--max-per-task", min=1, help="Most examples of one task.", show_default="no limit")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where to train; auto: on a GPU if there is one."),
]
Dtype = Annotated[
    Literal["auto", "bfloat16", "float32"], typer.Option("--dtype", help="Precision of the matrix products.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.", show_default="as torch chooses")]
AllowEval = Annotated[
    bool, typer.Option("--allow-eval", help="Train on tasks marked as held out all the same.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which of the rollouts are trained on."""

    use_segments: bool
    """Train on the sampled tokens; False where another model's tokenizer made them."""
    keep_failures: bool
    max_length: int
    max_per_task: int | None


def run(
    rollouts: Iterable[Rollout],
    base: str,
    tokenizer: Any,
    save: Path,
    selection: Selection,
    training: "SftOptions",
    meter: Meter,
    *,
    resume: bool,
) -> tuple[Checkpoint, "Tally"]:
    """Fine-tune on rollouts.

    Returns:
        the checkpoint record, and what became of each rollout.

    Raises:
        MissingError: the train extra or the base weights are absent.
        NothingToTrain: no rollout is fit to be trained on.
        UsageError: `save` is in the way.
    """
    from sca_cli.training.data import Tally, examples
    from sca_cli.training.sft import train_sft

    tally = Tally()
    chosen = list(
        examples(
            rollouts,
            tokenizer,
            use_segments=selection.use_segments,
            keep_failures=selection.keep_failures,
            max_tokens=selection.max_length,
            max_per_task=selection.max_per_task,
            tally=tally,
        )
    )

    def show(step: dict[str, float]) -> None:
        meter.status(f"step {step['step']:.0f}/{step['steps']:.0f}, loss {step['loss']:.3f}")

    meter.status("loading")
    metrics = train_sft(chosen, base, save, training, show, resume=resume)
    data = list(dict.fromkeys(example.rollout for example in chosen))
    return Checkpoint(
        path=str(save), base_model=base, algorithm="sft", data=data, parents=data, metrics=dict(metrics)
    ), tally


def refuse_eval(records: Iterable[Task | Rollout], *, allow: bool) -> Iterator[Task | Rollout]:
    """Pass records through, but not those of held-out tasks.

    Raises:
        RecordError: a record's task is marked `eval`, and that is not allowed.
    """
    for record in records:
        task = record.task if isinstance(record, Rollout) else record
        if task.split == "eval":
            if not allow:
                raise RecordError(
                    f"task {task.id} is held out for evaluation",
                    "training on it makes every later score worthless; --allow-eval does it all the same",
                )
            task.split = "train"
        yield record


def base_of(model: str | None, base: str | None) -> str:
    """Return the weights to start from.

    Raises:
        UsageError: neither `--base` nor a `--model` that names weights.
    """
    if base:
        return base
    plugin, name, _ = plugins.parse_model(required_model(model))
    if plugin in ("transformers", "vllm") and name:
        return name
    if plugin == "embedded":
        module = plugins.import_target(plugins.registry().models[plugin]).__module__
        return str(__import__(module, fromlist=["embedded_path"]).embedded_path())
    raise UsageError(f"--base is missing: '{plugin}' does not say where its weights are", "--base DIR_OR_NAME")


def attempted(records: Iterator[Task | Rollout], model: str | None, make: "Roller") -> Iterator[Rollout]:
    """Return the rollouts that come in, or roll out the tasks that come in.

    Raises:
        UsageError: tasks, but no model to attempt them with.
        RecordError: tasks and rollouts are mixed.
    """
    first = next(records, None)
    if first is None:
        return iter(())
    everything = chain([first], records)
    if isinstance(first, Rollout):
        return _only(Rollout, everything)
    required_model(model, "--teacher" if make.command == "distill" else "--model")
    return make.rollouts(_only(Task, everything))


def _only[R: Record](kind: type[R], records: Iterable[Record]) -> Iterator[R]:
    for record in records:
        if not isinstance(record, kind):
            raise RecordError(f"record {record.id}: tasks and rollouts are mixed", "give one kind")
        yield record


@dataclass(frozen=True, slots=True)
class Roller:
    """Attempts tasks for `train` and `distill`, with the same loop as `sca rollout`."""

    command: str
    model: str
    samples: int
    actions: Literal["code", "json", "text"]
    turns: int
    talk: Talk
    seed: int
    sampling: Sampling
    prompts: Prompts
    concurrency: int | None
    quiet: bool
    keep: str | None
    """File to keep the rollouts in."""
    resume: bool

    def rollouts(self, tasks: Iterable[Task]) -> Iterator[Rollout]:
        """Attempt each task, yield every rollout, and say how many passed."""
        outcomes: Counter[str] = Counter()
        settings = {
            "command": self.command,
            "model": self.model,
            "samples": self.samples,
            "actions": self.actions,
            "turns": self.turns,
            "seed": self.seed,
            "temperature": self.sampling.temperature,
            "top_p": self.sampling.top_p,
            "max_tokens": self.sampling.max_tokens,
            "prompt": self.prompts.fingerprint(),
            **self.talk.settings(),
        }
        sink = Output(self.keep, rejected=None, resume=self.resume, settings=settings) if self.keep else None
        if sink is not None:
            for rollout in written_before(sink, [self.keep], Rollout):
                outcomes[rollout.outcome] += 1
                yield rollout
        with (
            Fanout(self.concurrency or MODEL_WIDTH) as fanout,
            Sandbox(Limits()) as sandbox,
            opened_actor(
                self.model,
                fanout,
                self.sampling,
                EpisodeLimits(turns=self.turns),
                self.actions,
                self.prompts,
                self.talk,
            ) as actor,
            Meter(self.command, None, quiet=self.quiet) as meter,
        ):
            attempts = Attempts(actor, sandbox, self.model, self.samples, self.seed, command=self.command)
            items = attempts.of(worth_attempting(tasks))

            async def work(item: tuple[Task, int]) -> tuple[str, Rollout]:
                return attempt_name(item), await attempts.attempt(*item)

            todo = sink.remaining(items, attempt_name) if sink else items
            for identity, rollout in fanout.ordered(todo, work):
                if sink is not None:
                    sink.write(identity, [rollout])
                outcomes[rollout.outcome] += 1
                meter.advance(rollout.outcome == "pass")
                yield rollout
        if sink is not None:
            sink.close(complete=True)
        say(summary(self.command, outcomes), quiet=self.quiet)


def report(verb: str, tally: "Tally", *, quiet: bool) -> None:
    """Tell people what was trained on."""
    left_out = {
        "failed": tally.failed,
        "invalid": tally.invalid,
        "too long": tally.too_long,
        "duplicates": tally.duplicates,
        "over the limit of their task": tally.capped,
        "nothing to learn": tally.blank,
    }
    told = ", ".join(f"{number} {what}" for what, number in left_out.items() if number)
    text = f"sca {verb}: {tally.examples} examples of {tally.rollouts} rollouts"
    say(text + (f" (left out: {told})" if told else ""), quiet=quiet)


def command(
    save: Save,
    inputs: options.Inputs = None,
    model: options.Model = None,
    base: Base = None,
    algo: Annotated[Algorithm, typer.Option(help="rft: fine-tune on successful rollouts.")] = Algorithm.RFT,
    samples: Samples = 4,
    rollouts: Annotated[
        str | None,
        typer.Option("--rollouts", metavar="FILE", help="Keep the rollouts made of tasks in FILE.", show_default=False),
    ] = None,
    lora_rank: Lora = 16,
    learning_rate: LearningRate = None,
    epochs: Epochs = 2,
    batch_size: BatchSize = 8,
    max_length: MaxLength = 4096,
    max_per_task: PerTask = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    threads: Threads = None,
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
    allow_eval: AllowEval = False,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Fine-tune a model on its own successful rollouts.

    \b
    Example:
      sca rollout tasks.jsonl -k 4 | sca train --save runs/trained --base Qwen/Qwen2.5-Coder-0.5B-Instruct

    Reads rollouts, or tasks, which it rolls out itself with --model. Loss is on the model's own tokens only, exactly
    those it sampled. Writes a model directory that every model plugin loads, and prints one checkpoint record.
    """
    from sca_cli.training.sft import SftOptions, fail_if_in_the_way, load_tokenizer

    paths = required_inputs(inputs, "sca train rollouts.jsonl --save runs/trained")
    weights = base_of(model, base)
    if model:
        plugins.fail_if_unknown([], [model])
    talk = Talk.from_options(user_model, user_turns, direct=direct)
    sink = Output(output, rejected=None, resume=False, settings={"command": "train"}, inputs=paths)
    if resume and (trained := trained_before(save)):
        return write_checkpoint("train", trained, sink, quiet=quiet)
    fail_if_in_the_way(save, resume=resume)
    tokenizer = load_tokenizer(weights)
    training = SftOptions(
        lora_rank=lora_rank,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    selection = Selection(use_segments=True, keep_failures=False, max_length=max_length, max_per_task=max_per_task)
    sampling = Sampling(temperature, top_p, max_tokens)
    roller = Roller(
        "train",
        model or "",
        samples,
        actions,
        turns,
        talk,
        seed,
        sampling,
        Prompts.from_option(prompt),
        concurrency,
        quiet,
        rollouts,
        resume,
    )
    records = refuse_eval(streams.read(paths, Task, Rollout), allow=allow_eval)
    with Meter("train", None, quiet=quiet) as meter:
        checkpoint, tally = run(
            attempted(records, model, roller), weights, tokenizer, save, selection, training, meter, resume=resume
        )
    checkpoint.algorithm, checkpoint.made_by = str(algo), made_by("train", model=model or "", seed=seed)
    keep_checkpoint(checkpoint, times=times)
    report("train", tally, quiet=quiet)
    return write_checkpoint("train", checkpoint, sink, quiet=quiet)


_RECORD = "sca-checkpoint.json"
"""The checkpoint record, kept in the model's directory too, so that `--resume` can give it again."""


def keep_checkpoint(checkpoint: Checkpoint, *, times: bool) -> None:
    """Keep the record beside the weights, its wall time taken out unless asked for."""
    if not times:
        checkpoint.metrics.pop("seconds", None)
    (Path(checkpoint.path) / _RECORD).write_bytes(encode(checkpoint))


def trained_before(save: Path) -> Checkpoint | None:
    """Return the record of a training that was finished in this directory, or None."""
    if not (save / _RECORD).exists():
        return None
    record = decode((save / _RECORD).read_bytes())
    return record if isinstance(record, Checkpoint) else None


def write_checkpoint(verb: str, checkpoint: Checkpoint, sink: Output, *, quiet: bool) -> ExitCode:
    """Write the record and tell people where the model is."""
    sink.write(checkpoint.path, [checkpoint])
    sink.close(complete=True)
    metrics = checkpoint.metrics
    say(
        f"sca {verb}: loss {metrics['first_loss']:.3f} → {metrics['last_loss']:.3f} in {metrics['steps']:.0f} steps; "
        f"the model is in {checkpoint.path}",
        quiet=quiet,
    )
    return exit_code(sink.kept)
