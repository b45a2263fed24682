"""`sca report`: draw records of any kind as one HTML page."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sca_cli.commands.shared import options
from sca_cli.commands.shared.shell import LeftOut, exit_code, required_inputs, say
from sca_cli.errors import ExitCode, MissingError, UsageError
from sca_cli.report.gather import Gathered
from sca_cli.report.page import page


def run(inputs: Sequence[str], seed: int, left_out: LeftOut | None = None) -> Gathered:
    """Read everything that the page shows.

    Args:
        inputs: files, directories, `-`.
        seed: seed of the choice of example tasks.
        left_out: as for `streams.read`.

    Raises:
        RecordError: as `Gathered.read`.
        MissingError: a file cannot be read.
    """
    gathered = Gathered(seed)
    gathered.read(inputs, left_out)
    return gathered


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="JSONL files, or directories with *.jsonl files; standard input if there is none, or for '-'.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write the page to; '-' is standard output.",
            rich_help_panel=options.FILES,
        ),
    ] = "-",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Show the results of a run as one HTML page: funnel, scores, curves, coverage, cost, tasks.

    \b
    Example:
      sca report runs/mine -o report.html

    It reads records of every kind. Sections without data are left out. A run that is still writing can be drawn too.
    """
    paths = required_inputs(inputs, "sca report runs/mine -o report.html")
    left_out = LeftOut("report")
    gathered = run(paths, seed, left_out)
    for place in gathered.halves:
        say(f"sca report: {place}: half a line at the end of the file is left out", quiet=quiet)
    for name in gathered.foreign:
        say(f"sca report: {name}: the file is left out", quiet=quiet)
    count = gathered.kinds.total() + len(gathered.trainings)
    if not count:
        say("sca report: no records, nothing to report", quiet=quiet)
        return exit_code(0, left_out)
    write(page(gathered), output, paths)
    say(f"sca report: {gathered.kinds.total()} records of {gathered.files} files", quiet=quiet)
    return exit_code(count, left_out)


def write(text: str, output: str, inputs: Sequence[str] = ()) -> None:
    """Write a text to standard output, or to a file, which is replaced in one step.

    Raises:
        UsageError: the file is one of the inputs.
        MissingError: it cannot be written.
    """
    data = text.encode()
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    path = Path(os.path.realpath(output))
    if any(os.path.realpath(name) == str(path) for name in inputs):
        raise UsageError(f"{output} is also an input: writing would overwrite it", "write to another file")
    try:
        if path.exists() and not path.is_file():  # a pipe, a device: nothing to replace
            path.write_bytes(data)
            return
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            fresh.unlink(missing_ok=True)
            with fresh.open("xb") as file:  # a link of this name is not followed
                file.write(data)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise MissingError(f"cannot write {output}: {error.strerror}") from error
