"""Every error `sca` raises on purpose, and the exit code each one ends in.

    ScaError                    ends a command with one line on stderr
    ├── UsageError       2      the command line contradicts itself
    ├── RecordError      3      a line of input, or data that an environment is to read, is not what it should be
    ├── MissingError     4      something needed is absent: plugin, extra, model, nsjail, disk space
    │   └── SandboxError 4      the jail does not start or does not hold
    ├── PluginError      4      a plugin broke its contract
    ├── ModelError       4      a model backend failed; inside one record it is data, not an end
    └── WorldError       4      an environment failed in a way that is not the model's doing
    ToolError                   raised by a tool for the *model* to read; never ends a command

Only `app.py` turns these into exit codes. Errors that belong to one record are kept on the record (`Record.error`)
under the boundary named by `boundary`, and the stream goes on.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a shell sees; the same table stands in every man page."""

    OK = 0
    NOTHING = 1
    USAGE = 2
    RECORD = 3
    MISSING = 4
    BUG = 5
    INTERRUPTED = 130


class ScaError(Exception):
    """Base of all errors with a message made for people.

    Args:
        message: one line, lower case, no full stop.
        hint: what to do about it, or "".
    """

    exit_code = ExitCode.BUG
    boundary = "sca"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ScaError):
    """The command line contradicts itself."""

    exit_code = ExitCode.USAGE


class RecordError(ScaError):
    """A line of input is not the record it should be; the message starts with `source:line:`.

    Or data that an environment is to read is not; the message names the file.
    """

    exit_code = ExitCode.RECORD
    boundary = "record"


class MissingError(ScaError):
    """Something needed is absent; the hint names the exact command that brings it."""

    exit_code = ExitCode.MISSING


class SandboxError(MissingError):
    """The jail does not start or does not hold; nothing hostile was run."""

    boundary = "sandbox"


class PluginError(ScaError):
    """A plugin broke its contract."""

    exit_code = ExitCode.MISSING
    boundary = "plugin"


class ModelError(ScaError):
    """A model backend failed."""

    exit_code = ExitCode.MISSING
    boundary = "model"


class WorldError(ScaError):
    """An environment failed in a way that is not the model's doing; the outcome is `invalid`."""

    exit_code = ExitCode.MISSING
    boundary = "world"


class ToolError(Exception):
    """Raise in a tool to refuse a call with a message the model can act on."""
