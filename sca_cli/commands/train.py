"""`sca train`: rollouts or tasks → a better model (paper, section 2.3: self-improvement).

On rollouts it is the paper's one-step REINFORCE with 0/1 reward: fine-tuning on the model's own successful rollouts. On
solutions it is self-made supervision, an addition to the paper: fine-tuning on the tasks' own proven solutions.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.attempting import Attempting, Roller
from sca_cli.commands.shared.grouped import grouped
from sca_cli.commands.shared.shell import required_inputs, required_model
from sca_cli.commands.shared.train_stages import fail_if_not_free, on_both, on_solutions, updated
from sca_cli.commands.shared.training import (
    Recipe,
    Running,
    Save,
    Training,
    keep_checkpoint,
    refuse_eval,
    trained_before,
    write_checkpoint,
)
from sca_cli.errors import ExitCode, RecordError, UsageError
from sca_cli.prompts import ATTEMPT
from sca_cli.records import JSON, Checkpoint, Rollout, Task
from sca_cli.streams import Output
from sca_cli.training.data import Tally
from sca_cli.training.selection import Rules
from sca_cli.training.sft import fail_if_in_the_way
from sca_cli.training.solutions import proven_tasks
from sca_cli.training.weights import load_tokenizer


class Algorithm(StrEnum):
    """How to train on rollouts."""

    RFT = "rft"


@dataclass(frozen=True, slots=True)
class Choosing:
    """The options of what is trained on."""

    on: Annotated[
        Literal["rollouts", "solutions", "both"],
        typer.Option(
            "--on",
            help="Learn from own successful rollouts, as in the paper; from the tasks' own proven solutions, given "
            "directly to the agent, customer or not (self-made supervision, not in the paper); or from both in turn.",
        ),
    ] = "rollouts"
    algo: Annotated[
        Algorithm, typer.Option("--algo", help="How to learn from rollouts. rft: fine-tune on successful ones.")
    ] = Algorithm.RFT
    balance: Annotated[
        Literal["none", "calls", "tool"],
        typer.Option(
            "--balance",
            help="Give each number of calls, or each tool, the same share: thin the frequent, repeat the rare.",
        ),
    ] = "none"
    keep_solved: Annotated[
        bool,
        typer.Option(
            "--keep-solved", help="Keep all examples of tasks that every attempt solved, not one.", show_default=False
        ),
    ] = False
    control: Annotated[
        Literal["shuffled-solutions", "random-rollouts", "one-call-only"] | None,
        typer.Option(
            "--control",
            help="Train on as many examples of a control arm: solutions of other tasks, attempts whatever their "
            "reward, or tasks of one call.",
            show_default=False,
        ),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="FILE",
            help="With --control: as many examples as the checkpoint in FILE was trained on.",
            show_default="as many as without the control",
        ),
    ] = None

    def fail_if_at_odds(self, attempting: Attempting) -> None:
        """Check, before any work, that the options go together.

        Raises:
            UsageError: they do not.
        """
        if self.on != "rollouts" and attempting.actions != "code":
            raise UsageError(
                f"--on {self.on} and --actions {attempting.actions} exclude each other", "a solution is code"
            )
        if self.on == "solutions" and attempting.rollouts:
            raise UsageError("--on solutions makes no rollouts to keep in --rollouts FILE", "--on both makes them")
        if self.control and self.on == "both":
            raise UsageError("--control and --on both exclude each other", "--on rollouts or --on solutions")
        wanted = {"shuffled-solutions": "solutions", "random-rollouts": "rollouts"}.get(self.control or "", self.on)
        if wanted != self.on:
            raise UsageError(f"--control {self.control} needs --on {wanted}")
        if self.like and not self.control:
            raise UsageError("--like says how large a control arm is", "give --control too")

    def wanted(self) -> int | None:
        """Return the examples of the checkpoint that `--like` names.

        Raises:
            RecordError: it holds no checkpoint, or one that does not say.
        """
        if self.like is None:
            return None
        for checkpoint in streams.read([self.like], Checkpoint):
            if isinstance(number := checkpoint.metrics.get("examples"), int):
                return number
        raise RecordError(f"{self.like} holds no checkpoint that says how many examples it was trained on")


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


@grouped
def command(
    *,
    save: Save,
    inputs: options.Inputs = None,
    model: options.Model = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="DIR_OR_NAME",
            help="Weights to start from: a Hugging Face directory or hub name.",
            show_default="the name in --model",
        ),
    ] = None,
    choosing: Choosing,
    recipe: Recipe,
    attempting: Attempting,
    running: Running,
) -> ExitCode:
    """Fine-tune a model on its own successful rollouts.

    \b
    Example:
      sca rollout tasks.jsonl -k 4 | sca train --save runs/trained --base Qwen/Qwen2.5-Coder-0.5B-Instruct

    Reads rollouts, or tasks, which it rolls out itself with --model. Loss is on the model's own tokens only, exactly
    those it sampled. With --on solutions it learns from the tasks' own proven solutions. Writes a model directory that
    every model plugin loads, and prints one checkpoint record.
    """
    paths = required_inputs(inputs, "sca train rollouts.jsonl --save runs/trained")
    choosing.fail_if_at_odds(attempting)
    weights = base_of(model, base)
    if model:
        plugins.fail_if_unknown([], [model])
    roller = Roller.from_options("train", model, attempting, running.seed, quiet=running.quiet, resume=running.resume)
    sink = Output(running.output, rejected=None, resume=False, settings={"command": "train"}, inputs=paths)
    asked: dict[str, JSON] = {"seed": running.seed, "control": choosing.control or ""}
    if choosing.on != "both":  # its second stage starts from the first one's weights
        asked |= {"base_model": weights, "algorithm": str(choosing.algo) if choosing.on == "rollouts" else "solutions"}
    if running.resume and (trained := trained_before(save, **asked)):
        return write_checkpoint("train", trained, sink, quiet=running.quiet)
    if choosing.on == "both":
        updated(model, save / "solutions")
        fail_if_not_free(save, resume=running.resume)
    else:
        fail_if_in_the_way(save, resume=running.resume)
    rules = Rules(
        keep_solved=choosing.keep_solved,
        max_tokens=recipe.max_length,
        max_per_task=recipe.max_per_task,
        balance=choosing.balance,
        control=choosing.control,
        wanted=choosing.wanted(),
        seed=running.seed,
    )
    prompt = "" if choosing.on == "rollouts" else roller.prompts.fingerprint(*ATTEMPT)
    records = refuse_eval(streams.read(paths, Task, Rollout), allow=running.allow_eval)
    training = Training("train", load_tokenizer(weights), rules, recipe, running, model or "", prompt)
    tally = Tally()
    if choosing.on == "rollouts":
        checkpoint = training.fine_tune(roller.of(records), weights, save, str(choosing.algo), tally)
        keep_checkpoint(checkpoint, save)
    else:
        tasks = list(proven_tasks(records, tally))
        stages = on_solutions if choosing.on == "solutions" else on_both
        checkpoint = stages(training, tasks, weights, save, roller, tally)
    return write_checkpoint("train", checkpoint, sink, quiet=running.quiet)
