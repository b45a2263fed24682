"""Overlap with training data under `--against`: reading the data, and warning about held-out tasks in it."""

from collections.abc import Collection, Sequence

from sca_cli import streams
from sca_cli.commands.shared.shell import say
from sca_cli.errors import RecordError, UsageError
from sca_cli.evaluation.contamination import OverlappingTasks, TrainedOn
from sca_cli.records import Rollout, Task


def read(paths: Sequence[str], *, stdin_taken: bool) -> TrainedOn:
    """Read training tasks, or the tasks of rollouts, and keep only their digests.

    Args:
        paths: files; `-` is standard input.
        stdin_taken: the evaluated tasks are read from standard input.

    Raises:
        RecordError: a line is no task and no rollout, or a file is empty, which would hide every overlap.
        MissingError: a file cannot be read.
        UsageError: standard input cannot be read twice.
    """
    if "-" in paths and stdin_taken:
        raise UsageError("standard input already holds the tasks", "give --against the name of a file")
    trained = TrainedOn()
    for path in paths:
        empty = True
        for record in streams.read([path], Task, Rollout):
            trained.add(record.task if isinstance(record, Rollout) else record)
            empty = False
        if empty:
            name = "stdin" if path == "-" else path
            raise RecordError(f"{name}: no tasks and no rollouts", "--against takes the training data")
    return trained


def shared_by(trained: TrainedOn | None, tasks: Collection[Task], verb: str = "eval") -> OverlappingTasks | None:
    """Compare the evaluated tasks with the training data; warn about held-out tasks in it, even with `--quiet`."""
    if trained is None:
        return None
    shared = trained.shared_by(tasks)
    if shared.same:
        _warn(verb, f"{len(shared.same)} of these {len(tasks)} tasks are in the training data unchanged")
    if shared.held_out:
        _warn(verb, f"{shared.held_out} of {shared.trained} training tasks are marked as held out for evaluation")
    return shared


def _warn(verb: str, text: str) -> None:
    say(f"sca {verb}: WARNING: {text}", quiet=False)
