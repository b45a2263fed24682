"""`sca distill`: fine-tune a student on a teacher's rollouts (paper, section 2.3: distillation)."""

from dataclasses import dataclass, replace
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
    fail_if_trl_cannot,
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
from sca_cli.training import ranks
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
@ranks.silent_followers()
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
    correct: Annotated[
        bool,
        typer.Option(
            "--correct",
            help="Read the student's rollouts, let the teacher continue each failed one from its own states, and learn "
            "from the teacher's replies.",
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
    student's own chat template. The loss is on the teacher's messages only. With --correct the teacher continues the
    student's failed attempts.
    """
    usage = "sca distill tasks.jsonl --teacher … --student … --save runs/student"
    paths = [] if ranks.follows() else required_inputs(inputs, usage)
    if ranks.follows():  # the first process reads and writes
        running = replace(running, output="-", quiet=True)
        attempting = replace(attempting, rollouts=None)
    fail_if_trl_cannot(recipe.trainer, "distill", running, other=False, validate=False)
    if teacher:
        plugins.fail_if_unknown([], [teacher])
    fail_if_no_library(running.report_to)
    roller = Roller.from_options(
        "distill", teacher, attempting, running.seed, quiet=running.quiet, resume=running.resume
    )
    if running.dry_run:
        running.fail_if_dry_run_cannot()
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
    everything = streams.read(paths, Task, Rollout, left_out=left_out) if paths else ()
    records = refuse_eval(everything, allow=running.allow_eval)
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
        show = DryRun(training, student, roller)
        if correct:
            show.of_corrections(records, "distill")
        else:
            show.of_records(records, "distill")
        return exit_code(1, left_out)
    rollouts = roller.corrections(records) if correct and paths else roller.of(records)
    checkpoint = training.fine_tune(rollouts, student, save, "distill", Tally())
    keep_checkpoint(checkpoint, save, training)
    return write_checkpoint("distill", checkpoint, sink, quiet=running.quiet, left_out=left_out)
