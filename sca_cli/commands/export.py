"""`sca export`: write tasks or rollouts in the format of another system."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import LeftOut, exit_code, most_frequent, required_inputs, say
from sca_cli.errors import ExitCode, MissingError, RecordError, UsageError
from sca_cli.exports.source import Exporter, ExportSource
from sca_cli.records import Rollout, Task
from sca_cli.sandbox import AllowedEnvs


def run(exporter: Exporter, source: ExportSource, folder: Path) -> int:
    """Write a directory in one step, and return the number of examples.

    Args:
        exporter: writes the format.
        source: the records.
        folder: directory to create. If the export fails, or there is nothing to export, it is not created.

    Raises:
        UsageError: the directory exists.
        MissingError: it cannot be written.
    """
    if os.path.lexists(folder):
        raise UsageError(f"{folder} exists already", "name another directory, or move it away")
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}.new")
    try:
        fresh.mkdir(parents=True)
        count = exporter(source, fresh)
        if count:
            fresh.rename(folder)
    except OSError as error:
        raise MissingError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return count


def not_held_out(records: Iterable[Task | Rollout], *, allow: bool) -> Iterator[Task | Rollout]:
    """Yield the records.

    Raises:
        RecordError: a task is held out, and that is not allowed.
    """
    for record in records:
        task = record.task if isinstance(record, Rollout) else record
        if task.split == "eval" and not allow:
            raise RecordError(
                f"task {task.id} is held out for evaluation",
                "who trains on it can no longer measure with it; --allow-eval exports it all the same",
            )
        yield record


def command(
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="The format; 'sca plugins' lists the formats.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ],
    inputs: options.Inputs = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Directory to create; an existing one is not changed.",
            show_default="FORMAT",
            rich_help_panel=options.FILES,
        ),
    ] = "",
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Name of the data set or package: lower-case letters, digits and '_'.",
            rich_help_panel=options.FILES,
        ),
    ] = "sca_tasks",
    allow_eval: Annotated[
        bool,
        typer.Option(
            "--allow-eval",
            help="Also export tasks that are marked as held out.",
            show_default=False,
            rich_help_panel=options.TASKS,
        ),
    ] = False,
    allow_env: options.AllowEnv = None,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Write tasks or rollouts in the format of another system.

    \b
    Example:
      sca export chat tasks.jsonl -o chat

    Tasks must have a verdict of 'sca verify'. The result is a directory that appears in one step; its README.md says
    how the other system reads it.
    """
    exporter = plugins.load_exporter(form)
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UsageError(f"--name {name}: not a valid name", "lower-case letters and digits, joined by _")
    paths = required_inputs(inputs, f"sca export {form} tasks.jsonl")
    allowed = AllowedEnvs(allow_env or [])
    folder = Path(output or form)
    left_out = LeftOut("export")
    with Sandboxes(allowed) as sandboxes, plugins.naming_package(form):
        records = not_held_out(streams.read(paths, Task, Rollout, left_out=left_out), allow=allow_eval)
        source = ExportSource(name, records, sandboxes.sandbox_of)
        count = run(exporter, source, folder)
    where = f"written to {folder}" if count else "to export, nothing written"
    examples = "1 example" if count == 1 else f"{count} examples"
    say("\n".join([f"sca export {form}: {examples} {where}", *most_frequent(+source.left_out)]), quiet=quiet)
    for note in source.notes if count else ():
        say(f"sca export {form}: {note}", quiet=quiet)
    return exit_code(count, left_out)
