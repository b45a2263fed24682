"""`sca report`: records of any kind → one HTML page that shows what a run came to."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sca_cli.commands.shared import options
from sca_cli.commands.shared.shell import required_inputs, say
from sca_cli.errors import ExitCode, MissingError, UsageError
from sca_cli.report.gather import Gathered
from sca_cli.report.page import page


def run(inputs: Sequence[str], seed: int) -> Gathered:
    """Read everything there is to show.

    Args:
        inputs: files, directories, `-`.
        seed: of the draw of tasks to read.

    Raises:
        RecordError: a line is not a record, in a file that was named or begins with records.
        MissingError: a file cannot be read.
    """
    gathered = Gathered(seed)
    gathered.read(inputs)
    return gathered


def command(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="JSONL files, and directories for every *.jsonl below them; '-' or nothing is standard input.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="Where to write the page; '-' is standard output.")
    ] = "-",
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Show the results of a run as one HTML page: funnel, scores, curves, coverage, cost, tasks.

    \b
    Example:
      sca report runs/mine -o report.html

    Takes records of every kind; what they do not tell is left out. A run that still goes on can be looked at.
    """
    paths = required_inputs(inputs, "sca report runs/mine -o report.html")
    gathered = run(paths, seed)
    for where in gathered.halves:
        say(f"sca report: {where}: half a line at the end of the file is left out", quiet=quiet)
    for what in gathered.foreign:
        say(f"sca report: {what}: the file is left out", quiet=quiet)
    if not gathered.kinds:
        say("sca report: no records, nothing to report", quiet=quiet)
        return ExitCode.NOTHING
    write(page(gathered), output, paths)
    say(f"sca report: {gathered.kinds.total()} records of {gathered.files} files", quiet=quiet)
    return ExitCode.OK


def write(text: str, output: str, inputs: Sequence[str] = ()) -> None:
    """Write a text to a file, which is replaced in one step, or to standard output.

    Raises:
        UsageError: the file is one of those that were read.
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
            fresh.write_bytes(data)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise MissingError(f"cannot write {output}: {error.strerror}") from error
