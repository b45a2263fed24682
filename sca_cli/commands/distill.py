"""`sca distill`: fine-tune a student on a teacher's rollouts (paper, section 2.3: distillation)."""

from dataclasses import dataclass
from typing import Annotated

import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.attempting import Attempting, Roller
from sca_cli.commands.shared.dry_run import DryRun
from sca_cli.commands.shared.grouped import grouped
from sca_cli.commands.shared.shell import LeftOut, exit_code, required_inputs
from sca_cli.commands.shared.training import (
    Recipe,
    Running,
    Save,
    Training,
    fail_if_no_library,
    keep_checkpoint,
    refuse_eval,
    trained_before,
    write_checkpoint,
)
from sca_cli.commands.shared.weights import weights_of
from sca_cli.errors import ExitCode
from sca_cli.prompts import ATTEMPT
from sca_cli.records import Rollout, Task
from sca_cli.streams import Output
from sca_cli.training.data import Tally
from sca_cli.training.selection import Rules
from sca_cli.training.trainer import fail_if_in_the_way
from sca_cli.training.weights import load_tokenizer


@dataclass(frozen=True, slots=True)
class Teaching(Attempting):
    """The options of a teacher's attempts."""

    temperature: options.Temperature = 0.7
    max_tokens: options.MaxTokens = 512


@grouped
def command(
    context: typer.Context,
    *,
    save: Save,
    student: Annotated[
        str,
        typer.Option(
            "--student",
            metavar="WEIGHTS",
            help="Weights to train: a directory, a hub name, or PLUGIN:NAME of a local model.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ],
    inputs: options.Inputs = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Model that attempts the tasks; not needed if rollouts are read.",
            show_default=False,
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    keep_failures: Annotated[
        bool,
        typer.Option(
            "--keep-failures",
            help="Learn from failed rollouts too; this was more effective in the paper.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = False,
    recipe: Recipe,
    attempting: Teaching,
    running: Running,
) -> ExitCode:
    """Fine-tune a student on a teacher's rollouts.

    \b
    Example:
      sca distill tasks.jsonl --teacher openai:BIG,base_url=http://localhost:8000/v1 --student SMALL --save runs/student

    It reads tasks, which the teacher attempts, or the rollouts of a teacher. The messages are rendered with the
    student's own chat template. The loss is on the teacher's messages only.
    """
    paths = required_inputs(inputs, "sca distill tasks.jsonl --teacher … --student … --save runs/student")
    if teacher:
        plugins.fail_if_unknown([], [teacher])
    fail_if_no_library(running.report_to)
    roller = Roller.from_options(
        "distill", teacher, attempting, running.seed, quiet=running.quiet, resume=running.resume
    )
    if running.dry_run:
        running.fail_if_resumed()
    else:
        sink = Output(running.output, rejected=None, resume=False, settings={"command": "distill"}, inputs=paths)
    student = weights_of(student, "--student")
    settings = options.settings_of(context, student=student, prompt=roller.prompts.fingerprint(*ATTEMPT))
    if running.resume and (trained := trained_before(save, settings, paths, quiet=running.quiet)):
        return write_checkpoint("distill", trained, sink, quiet=running.quiet)
    fail_if_in_the_way(save, resume=running.resume)
    rules = Rules(
        use_segments=False,
        keep_failures=keep_failures,
        max_tokens=recipe.max_length,
        max_per_task=recipe.max_per_task,
        seed=running.seed,
    )
    left_out = LeftOut("distill")
    records = refuse_eval(streams.read(paths, Task, Rollout, left_out=left_out), allow=running.allow_eval)
    training = Training(
        "distill",
        load_tokenizer(student, trust_remote_code=recipe.trust_remote_code),
        rules,
        recipe,
        running,
        teacher or "",
        settings=settings,
        files=paths,
    )
    if running.dry_run:
        DryRun(training, student, roller).of_records(records, "distill")
        return exit_code(1, left_out)
    checkpoint = training.fine_tune(roller.of(records), student, save, "distill", Tally())
    keep_checkpoint(checkpoint, save, training)
    return write_checkpoint("distill", checkpoint, sink, quiet=running.quiet, left_out=left_out)
