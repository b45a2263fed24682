"""Find the overlap of evaluated tasks with training data: same instruction, same program, or same sequence of calls.

Only digests of the training tasks are kept in memory, so that a file of any size can be compared. The keys are compared
exactly, so that paraphrases are not found.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from sca_cli.analysis import call_order, source
from sca_cli.records import JSON, Task, content_id
from sca_cli.verification.duplicates import masked


@dataclass(frozen=True, slots=True)
class OverlappingTasks:
    """The overlap: ids of the evaluated tasks that share something with the training data."""

    trained: int
    """Number of different tasks in the training data."""
    held_out: int
    """Number of these that are marked as held out for evaluation."""
    same: set[str]
    """Evaluated tasks that are in the training data themselves."""
    instruction: set[str]
    """Evaluated tasks that share the instruction."""
    program: set[str]
    """Evaluated tasks that share the solution's program."""
    calls: set[str]
    """Evaluated tasks that share the sequence of calls."""

    @property
    def either(self) -> set[str]:
        """The evaluated tasks that share the instruction or the program."""
        return self.instruction | self.program


class TrainedOn:
    """Digests of the tasks in the training data."""

    def __init__(self) -> None:
        self._tasks: set[str] = set()
        self._held_out: set[str] = set()
        self._keys: dict[str, set[bytes]] = defaultdict(set)

    def add(self, task: Task) -> None:
        """Add a task."""
        identity = content_id(task)  # ids that a user chose may name different tasks in different files
        if task.split == "eval":
            self._held_out.add(identity)
        if identity not in self._tasks:  # a file of rollouts holds each task many times
            self._tasks.add(identity)
            for name, digests in keys(task).items():
                self._keys[name] |= digests

    def shared_by(self, tasks: Iterable[Task]) -> OverlappingTasks:
        """Return which of the evaluated tasks overlap with the training data, by kind of overlap."""
        same: set[str] = set()
        shared: dict[str, set[str]] = {"instruction": set(), "program": set(), "calls": set()}
        for task in tasks:
            if content_id(task) in self._tasks:
                same.add(task.id)
            for name, digests in keys(task).items():
                if digests & self._keys[name]:
                    shared[name].add(task.id)
        return OverlappingTasks(trained=len(self._tasks), held_out=len(self._held_out), same=same, **shared)


def keys(task: Task) -> dict[str, set[bytes]]:
    """Return the digests by which a task is compared: kind of overlap → digests. Two tasks overlap if they share one.

    A missing solution, or one that calls no tool, gives no digest and is not compared. The sequence of calls has two
    digests: one of the calls that the solution made when it was verified, and one of the calls in its source. A loop
    makes them differ, and a task may have only one of them.
    """
    program = _shape(task.solution)
    verified_calls = (task.verdict and task.verdict.solution_calls()) or []
    sequences = [[call.tool for call in verified_calls], _tools_called(task.solution)]
    return {
        "instruction": {_digest(normalised(task.instruction))},
        "program": {_digest(program)} if _tools_called(program) else set(),
        "calls": {_digest([task.env.name, *names]) for names in sequences if names},
    }


def _shape(program: str) -> str:
    """Return the shape of a program (see `masked`), with single-use variables inlined first.

    So it does not matter whether the program writes its steps as lines or as one expression. A text that does not parse
    is returned unchanged.
    """
    try:
        return masked(source.inlined(program))
    except source.NotPython:
        return program


def normalised(instruction: str) -> str:
    """Return an instruction in lower case, without punctuation, with single spaces; unchanged if nothing remains."""
    text = unicodedata.normalize("NFKC", instruction).casefold()
    words = "".join(" " if unicodedata.category(character)[0] == "P" else character for character in text).split()
    return " ".join(words) or instruction


def _tools_called(program: str) -> list[str]:
    try:
        return call_order.tools_called(program)
    except source.NotPython:
        return []


def _digest(value: JSON) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()[:16]
