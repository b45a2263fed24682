"""Turn an exception that one record caused into the `error` of this record, so that the run continues."""

import traceback
from pathlib import Path

import sca_cli
from sca_cli import machine
from sca_cli.errors import ScaError
from sca_cli.records import ErrorNote

_ROOT = Path(sca_cli.__file__).parent.parent


def error_note(error: Exception) -> ErrorNote:
    """Return the error of a record whose work raised an exception.

    Raises:
        ScaError: the exception would occur for every record: the jail does not start, or the machine is at a limit.
    """
    if isinstance(error, ScaError):
        if error.ends_run:
            raise error
        boundary = "record" if error.boundary == ScaError.boundary else error.boundary
        return ErrorNote(boundary=boundary, message="; ".join(filter(None, [error.message, error.hint])))
    if not isinstance(error, MemoryError) and (limit := machine.limit_reached(error)):
        raise limit from error
    return ErrorNote(
        boundary="sca", message=f"internal error: {type(error).__name__}: {_printable(error)}{_place(error)}"
    )


def _printable(error: Exception) -> str:
    return str(error)[:200].encode(errors="backslashreplace").decode()


def _place(error: Exception) -> str:
    """Return the innermost place in our own code, because a record holds no traceback."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT):
            return f" ({path.relative_to(_ROOT)}:{frame.lineno})"
    return ""
