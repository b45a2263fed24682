"""`sca distill`: a teacher rolls out, a student learns from it (paper, section 2.3: distillation)."""

from dataclasses import dataclass
from typing import Annotated

import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.attempting import Attempting, Roller
from sca_cli.commands.shared.grouped import grouped
from sca_cli.commands.shared.shell import required_inputs
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
from sca_cli.errors import ExitCode
from sca_cli.records import Rollout, Task
from sca_cli.streams import Output
from sca_cli.training.data import Tally
from sca_cli.training.selection import Rules
from sca_cli.training.sft import fail_if_in_the_way
from sca_cli.training.weights import load_tokenizer


@dataclass(frozen=True, slots=True)
class Teaching(Attempting):
    """The options of a teacher's attempts."""

    temperature: options.Temperature = 0.7
    max_tokens: options.MaxTokens = 512


@grouped
def command(
    *,
    save: Save,
    student: Annotated[
        str,
        typer.Option(
            "--student",
            metavar="DIR_OR_NAME",
            help="Weights that learn: a Hugging Face directory or hub name.",
            show_default=False,
        ),
    ],
    inputs: options.Inputs = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Model that rolls out, where tasks are read.",
            show_default=False,
        ),
    ] = None,
    keep_failures: Annotated[
        bool,
        typer.Option(
            "--keep-failures", help="Learn from failed rollouts too; more effective in the paper.", show_default=False
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

    Reads tasks, which the teacher rolls out, or rollouts that a teacher made. The messages are rendered with the
    student's own chat template; loss is on what the teacher said only.
    """
    paths = required_inputs(inputs, "sca distill tasks.jsonl --teacher … --student … --save runs/student")
    if teacher:
        plugins.fail_if_unknown([], [teacher])
    roller = Roller.from_options(
        "distill", teacher, attempting, running.seed, quiet=running.quiet, resume=running.resume
    )
    sink = Output(running.output, rejected=None, resume=False, settings={"command": "distill"}, inputs=paths)
    if running.resume and (trained := trained_before(save, seed=running.seed, base_model=student, algorithm="distill")):
        return write_checkpoint("distill", trained, sink, quiet=running.quiet)
    fail_if_in_the_way(save, resume=running.resume)
    rules = Rules(
        use_segments=False,
        keep_failures=keep_failures,
        max_tokens=recipe.max_length,
        max_per_task=recipe.max_per_task,
        seed=running.seed,
    )
    records = refuse_eval(streams.read(paths, Task, Rollout), allow=running.allow_eval)
    training = Training("distill", load_tokenizer(student), rules, recipe, running, teacher or "")
    checkpoint = training.fine_tune(roller.of(records), student, save, "distill", Tally())
    keep_checkpoint(checkpoint, save)
    return write_checkpoint("distill", checkpoint, sink, quiet=running.quiet)
