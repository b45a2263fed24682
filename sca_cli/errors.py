"""The errors that `sca` raises on purpose, and the exit code of each.

    ScaError                    ends a command with one line on stderr
    ├── UsageError       2      the options contradict each other
    │   └── NotAllowedError 2   a record names an environment that the user has not allowed
    ├── RecordError      3      a line of input is not a valid record, or a data file of an environment is not valid
    ├── MissingError     4      something needed is absent: plugin, extra, model, nsjail, disk space
    │   ├── MachineError 4      a limit of the machine or of this process is reached
    │   └── SandboxError 4      the jail does not start, or one of its layers does not work
    ├── PluginError      4      a plugin broke its contract
    ├── ModelError       4      a model backend failed; during one record it is stored on that record instead
    └── WorldError       4      an environment failed, and the model did not cause it
    ToolError                   a tool raises it for the *model* to read (a refusal); it never ends a command

Only `app.py` turns these errors into exit codes. An error that concerns one record is stored on that record
(`Record.error`) with the name in `boundary`, and the command continues with the next record. An error with `ends_run`
would concern every record.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `sca`. Every man page has the same table."""

    OK = 0
    NOTHING = 1
    USAGE = 2
    RECORD = 3
    MISSING = 4
    BUG = 5
    INTERRUPTED = 130


class ScaError(Exception):
    """Base class of all errors with a message for the user.

    Args:
        message: one line, lower case, no full stop.
        hint: how to solve the problem, or "".
    """

    exit_code = ExitCode.BUG
    boundary = "sca"
    ends_run = False
    """The error ends the run, also where it occurs during the work on one record."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ScaError):
    """The options contradict each other, or an option has a value that cannot be used."""

    exit_code = ExitCode.USAGE


class PromptError(UsageError):
    """A prompt of `--prompt` cannot be filled. No record could be processed with it."""

    ends_run = True


class NotAllowedError(UsageError):
    """A record names an environment that the user has not allowed. No part of it was started."""

    ends_run = True


class RecordError(ScaError):
    """A line of input is not a valid record, or a data file of an environment is not valid.

    For a line, the message starts with `source:line:`. For a data file, the message names the file.
    """

    exit_code = ExitCode.RECORD
    boundary = "record"


class MissingError(ScaError):
    """Something needed is absent. The hint names the exact command that installs it."""

    exit_code = ExitCode.MISSING


class MachineError(MissingError):
    """A limit of the machine or of this process is reached: memory, open files, processes, disk space, CPU time."""

    ends_run = True


class SandboxError(MissingError):
    """The jail does not start, or one of its layers does not work. No hostile code was run."""

    boundary = "sandbox"
    ends_run = True


class PluginError(ScaError):
    """A plugin broke its contract."""

    exit_code = ExitCode.MISSING
    boundary = "plugin"


class ModelError(ScaError):
    """A model backend failed."""

    exit_code = ExitCode.MISSING
    boundary = "model"


class WorldError(ScaError):
    """An environment failed, and the model did not cause it. The outcome is `invalid`."""

    exit_code = ExitCode.MISSING
    boundary = "world"


class ToolError(Exception):
    """Raise this in a tool to refuse a call. The message is for the model: it should say how to correct the call."""
