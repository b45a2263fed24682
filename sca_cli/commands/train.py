"""`sca train`: improve a model on rollouts or tasks (paper, section 2.3: self-improvement).

On rollouts it is the paper's one-step REINFORCE with 0/1 reward: fine-tuning on the model's own successful rollouts. On
solutions it is self-made supervision, an addition to the paper: fine-tuning on the tasks' own proven solutions. The
other algorithms compare passed with failed rollouts, or learn by reinforcement on rollouts of the current weights.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Literal

import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.attempting import Attempting, Roller
from sca_cli.commands.shared.curriculum import Choice
from sca_cli.commands.shared.dry_run import DryRun
from sca_cli.commands.shared.grouped import grouped
from sca_cli.commands.shared.online import train_online
from sca_cli.commands.shared.shell import LeftOut, exit_code, is_default, required_inputs
from sca_cli.commands.shared.train_stages import fail_if_not_free, on_both, on_solutions, updated
from sca_cli.commands.shared.training import (
    Recipe,
    Running,
    Save,
    Training,
    fail_if_no_library,
    fail_if_trl_cannot,
    keep_checkpoint,
    refuse_eval,
    trained_before,
    write_checkpoint,
)
from sca_cli.commands.shared.weights import base_of
from sca_cli.errors import ExitCode, RecordError, UsageError
from sca_cli.prompts import ATTEMPT
from sca_cli.records import Checkpoint, Rollout, Task
from sca_cli.streams import Output
from sca_cli.training import ranks
from sca_cli.training.data import Tally
from sca_cli.training.online import OnlineOptions
from sca_cli.training.policy import PolicyOptions
from sca_cli.training.selection import Rules
from sca_cli.training.solutions import proven_tasks
from sca_cli.training.trainer import fail_if_in_the_way
from sca_cli.training.weights import load_tokenizer


class Algorithm(StrEnum):
    """How to train."""

    SFT = "sft"
    RFT = "rft"
    DPO = "dpo"
    KTO = "kto"
    REINFORCE = "reinforce"
    RLOO = "rloo"
    GRPO = "grpo"
    PPO = "ppo"


PREFERENCES = (Algorithm.DPO, Algorithm.KTO)
"""The algorithms that compare passed with failed rollouts."""

ONLINE = (Algorithm.REINFORCE, Algorithm.RLOO, Algorithm.GRPO, Algorithm.PPO)
"""The algorithms that roll out with the weights that they train."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """The options that choose the algorithm and the examples."""

    algo: Annotated[
        Algorithm | None,
        typer.Option(
            "--algo",
            help="sft: fine-tune on solutions. rft: fine-tune on passed rollouts. dpo, kto: prefer passed to failed "
            "rollouts. reinforce, rloo, grpo, ppo: "
            "reinforcement learning on tasks, with rollouts of the current weights.",
            show_default="rft; sft with --on solutions",
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    on: Annotated[
        Literal["rollouts", "solutions", "both"] | None,
        typer.Option(
            "--on",
            help="rollouts: learn from the model's own successful rollouts, as in the paper. solutions: learn from the "
            "tasks' proven solutions (self-made supervision, not in the paper). both: first solutions, then rollouts.",
            show_default="rollouts; solutions with --algo sft",
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    kl: Annotated[
        float,
        typer.Option(
            "--kl",
            min=0.0,
            help="Reinforcement learning: weight of the divergence from the model before training. It needs LoRA.",
            rich_help_panel=options.TRAINING,
        ),
    ] = 0.0
    validate: Annotated[
        int | None,
        typer.Option(
            "--validate",
            min=0,
            help="Reinforcement learning: keep N tasks out of training, attempt them every 5 rounds, and save the "
            "weights with the best reward on them; 0: save the last weights.",
            show_default="a tenth of the tasks, at most 16; 0 of fewer than 40",
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    balance: Annotated[
        Literal["none", "calls", "tool"],
        typer.Option(
            "--balance",
            help="Give each number of calls, or each tool, the same share: drop frequent examples, repeat rare ones.",
            rich_help_panel=options.TRAINING,
        ),
    ] = "none"
    keep_solved: Annotated[
        bool,
        typer.Option(
            "--keep-solved",
            help="Keep all examples of tasks that every attempt solved, instead of one.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = False
    control: Annotated[
        Literal["shuffled-solutions", "random-rollouts", "one-call-only"] | None,
        typer.Option(
            "--control",
            help="Train on a control arm of the same size: solutions of other tasks, attempts of any reward, or tasks "
            "of one call.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="FILE",
            help="With --control: use the number of examples of the checkpoint in FILE.",
            show_default="the number without the control",
            rich_help_panel=options.TRAINING,
        ),
    ] = None

    def resolved(self) -> "Choosing":
        """Return the options with both `algo` and `on` filled in; if one is absent, the other decides it.

        Raises:
            UsageError: `algo` does not learn from the data that `on` names.
        """
        on = self.on or ("solutions" if self.algo is Algorithm.SFT else "rollouts")
        algo = self.algo or (Algorithm.SFT if on == "solutions" else Algorithm.RFT)
        if (algo is Algorithm.SFT) != (on == "solutions"):
            raise UsageError(
                f"--algo {algo} and --on {on} exclude each other", "sft learns from solutions, the others from rollouts"
            )
        return replace(self, algo=algo, on=on)

    def fail_if_at_odds(self, attempting: Attempting, lora_rank: int) -> None:
        """Check, before any work, that the options do not contradict each other.

        Raises:
            UsageError: two options contradict each other.
        """
        if self.algo in (*PREFERENCES, *ONLINE):
            if self.on == "both":
                raise UsageError(
                    f"--algo {self.algo} and --on both exclude each other",
                    "first train with --algo sft, then with --base of the result",
                )
            if self.control or self.balance != "none":
                raise UsageError(f"--algo {self.algo} excludes --control and --balance", "--algo rft")
        if self.algo in ONLINE:
            if attempting.temperature != 1.0 or attempting.top_p != 1.0:
                raise UsageError(
                    f"--algo {self.algo} needs samples of the policy itself", "leave out --temperature and --top-p"
                )
        elif self.kl:
            raise UsageError("--kl needs an algorithm of reinforcement learning", "--algo grpo")
        elif self.validate is not None:
            raise UsageError("--validate needs an algorithm of reinforcement learning", "--algo grpo")
        if self.kl and not lora_rank:
            raise UsageError("--kl needs LoRA: the model without its adapter is the reference", "--lora-rank 16")
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
            raise UsageError("--like sets the size of a control arm", "give --control too")

    def wanted(self) -> int | None:
        """Return the number of examples on which the checkpoint of `--like` was trained; None without `--like`.

        Raises:
            RecordError: the file holds no checkpoint with this number.
        """
        if self.like is None:
            return None
        for checkpoint in streams.read([self.like], Checkpoint):
            if isinstance(number := checkpoint.metrics.get("examples"), int):
                return number
        raise RecordError(f"{self.like} holds no checkpoint with its number of examples")


@dataclass(frozen=True, slots=True)
class OwnAttempts(Attempting):
    """The options of the model's own attempts."""

    attempts: Annotated[
        int,
        typer.Option(
            "--attempts",
            "-k",
            min=1,
            help="Attempts at each task.",
            show_default="4; 8 with reinforcement learning",
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = 4
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0.0,
            help="Sampling temperature; 0 is greedy.",
            show_default="0.8; 1 with reinforcement learning",
            rich_help_panel=options.MODEL,
        ),
    ] = 0.8

    def for_algorithm(self, context: typer.Context, algo: Algorithm) -> "OwnAttempts":
        """Return the options with the defaults of an algorithm."""
        own = {"attempts": 8, "temperature": 1.0} if algo in ONLINE else {}
        return replace(self, **{name: value for name, value in own.items() if is_default(context, name)})  # type: ignore[arg-type]


@grouped
@ranks.silent_followers()
def command(
    context: typer.Context,
    *,
    save: Save,
    inputs: options.Inputs = None,
    model: options.Model = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="WEIGHTS",
            help="Weights to train: a directory, a hub name, or PLUGIN:NAME of a local model.",
            show_default="the weights of --model",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    choosing: Choosing,
    choice: Choice,
    recipe: Recipe,
    attempting: OwnAttempts,
    running: Running,
) -> ExitCode:
    """Train a model on its own rollouts, on solutions, or by reinforcement learning on tasks.

    \b
    Example:
      sca rollout tasks.jsonl -k 4 | sca train --save runs/trained --base Qwen/Qwen2.5-Coder-0.5B-Instruct

    It reads rollouts, or tasks, which --model attempts first. The loss is on the tokens that the model sampled, and on
    no others. With --on solutions it learns from the tasks' proven solutions; with --algo grpo and the like from rounds
    of attempts at tasks. It writes a model directory, which every local model plugin loads, and prints one checkpoint
    record.
    """
    paths = [] if ranks.follows() else required_inputs(inputs, "sca train rollouts.jsonl --save runs/trained")
    if ranks.follows():  # the first process reads and writes
        running = replace(running, output="-", quiet=True)
        attempting = replace(attempting, rollouts=None)
    choosing = choosing.resolved()
    assert choosing.algo is not None
    attempting = attempting.for_algorithm(context, choosing.algo)
    choosing.fail_if_at_odds(attempting, recipe.lora_rank)
    if choice != Choice() and choosing.algo not in ONLINE:
        raise UsageError(
            "--band, --promote, --replay and --mix need an algorithm of reinforcement learning",
            "--algo grpo; recorded rollouts are chosen by --keep-solved and --balance",
        )
    parts = choice.parts()
    fail_if_trl_cannot(
        recipe.trainer, str(choosing.algo), running, other=choice != Choice(), validate=bool(choosing.validate)
    )
    weights = base_of(model, base)
    if model:
        plugins.fail_if_unknown([], [model])
    fail_if_no_library(running.report_to)
    roller = Roller.from_options("train", model, attempting, running.seed, quiet=running.quiet, resume=running.resume)
    if running.dry_run:
        running.fail_if_dry_run_cannot()
    else:
        sink = Output(running.output, rejected=None, resume=False, settings={"command": "train"}, inputs=paths)
    settings = options.settings_of(context, base=weights, prompt=roller.prompts.fingerprint(*ATTEMPT))
    if running.resume and (trained := trained_before(save, settings, paths, quiet=running.quiet)):
        return write_checkpoint("train", trained, sink, quiet=running.quiet)
    if choosing.on == "both" and ranks.count() > 1:
        raise UsageError("--on both needs one process", "first train with --algo sft, then with --base of the result")
    if choosing.on == "both":
        updated(model, save / "solutions")
        fail_if_not_free(save, resume=running.resume)
    else:
        fail_if_in_the_way(save, resume=running.resume)
    compares = choosing.algo in PREFERENCES
    rules = Rules(
        keep_failures=compares,
        keep_solved=choosing.keep_solved or compares,
        max_tokens=recipe.max_length,
        max_per_task=recipe.max_per_task,
        balance=choosing.balance,
        control=choosing.control,
        wanted=choosing.wanted(),
        seed=running.seed,
    )
    rolls_out = choosing.algo in ONLINE or choosing.on != "rollouts"
    prompt = "" if not rolls_out else roller.prompts.fingerprint(*ATTEMPT)
    left_out = LeftOut("train")
    records = refuse_eval(
        streams.read(paths, Task, Rollout, left_out=left_out) if paths else (), allow=running.allow_eval
    )
    training = Training(
        "train",
        load_tokenizer(weights, trust_remote_code=recipe.trust_remote_code),
        rules,
        recipe,
        running,
        model or "",
        prompt,
        settings,
        paths,
    )
    tally = Tally()
    online = OnlineOptions(
        str(choosing.algo),  # type: ignore[arg-type]
        max_length=recipe.max_length,
        policy=PolicyOptions(kl=choosing.kl),
    )
    if running.dry_run:
        show = DryRun(training, weights, roller)
        if choosing.algo in ONLINE:
            show.of_rounds(records, online, parts, choosing.validate)
        elif choosing.on == "rollouts":
            show.of_records(records, str(choosing.algo))
        else:
            show.of_solutions(proven_tasks(records, tally))
        return exit_code(1, left_out)
    if choosing.algo in ONLINE:
        checkpoint = train_online(training, records, weights, save, roller, online, parts, choosing.validate)
        keep_checkpoint(checkpoint, save, training)
    elif choosing.on == "rollouts":
        checkpoint = training.fine_tune(roller.of(records), weights, save, str(choosing.algo), tally)
        keep_checkpoint(checkpoint, save, training)
    else:
        tasks = list(proven_tasks(records, tally))
        stages = on_solutions if choosing.on == "solutions" else on_both
        checkpoint = stages(training, tasks, weights, save, roller, tally)
    return write_checkpoint("train", checkpoint, sink, quiet=running.quiet, left_out=left_out)
