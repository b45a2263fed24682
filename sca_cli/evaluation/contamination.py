"""What evaluated tasks have in common with tasks that were trained on: wording, program, sequence of calls.

Only digests of the trained tasks are kept, so that a file of any size can be looked through. Paraphrases are not
found: the three keys are exact, each blind to what it leaves out.
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
class Shared:
    """Ids of the evaluated tasks that have something in common with those that were trained on."""

    trained: int
    """Tasks trained on, each counted once."""
    held_out: int
    """How many of these are marked as held out for evaluation."""
    same: set[str]
    """Trained on as they are."""
    instruction: set[str]
    program: set[str]
    calls: set[str]

    @property
    def either(self) -> set[str]:
        """Those that share the instruction or the program."""
        return self.instruction | self.program


class TrainedOn:
    """The tasks that were trained on, as digests."""

    def __init__(self) -> None:
        self._tasks: set[str] = set()
        self._held_out: set[str] = set()
        self._keys: dict[str, set[bytes]] = defaultdict(set)

    def add(self, task: Task) -> None:
        """Take in a task."""
        identity = content_id(task)  # an id of the user's own may stand for another task elsewhere
        if task.split == "eval":
            self._held_out.add(identity)
        if identity not in self._tasks:  # a file of rollouts holds each task many times
            self._tasks.add(identity)
            for name, found in keys(task).items():
                self._keys[name] |= found

    def shared_by(self, tasks: Iterable[Task]) -> Shared:
        """Compare tasks with those taken in."""
        same: set[str] = set()
        shared: dict[str, set[str]] = {"instruction": set(), "program": set(), "calls": set()}
        for task in tasks:
            if content_id(task) in self._tasks:
                same.add(task.id)
            for name, found in keys(task).items():
                if found & self._keys[name]:
                    shared[name].add(task.id)
        return Shared(trained=len(self._tasks), held_out=len(self._held_out), same=same, **shared)


def keys(task: Task) -> dict[str, set[bytes]]:
    """Return what a task is compared by: class → digests, one of which has to agree.

    A solution that is not there or calls no tool says nothing, and is not compared. What the solution called when it
    was verified and what it calls by its text are both keys: a loop makes them differ, and not every task has both.
    """
    program = _shape(task.solution)
    made = (task.verdict and task.verdict.solution_calls()) or []
    sequences = [[call.tool for call in made], _tools_called(task.solution)]
    return {
        "instruction": {_digest(normalised(task.instruction))},
        "program": {_digest(program)} if _tools_called(program) else set(),
        "calls": {_digest([task.env.name, *names]) for names in sequences if names},
    }


def _shape(program: str) -> str:
    """Return a program masked, with what is named once and used once in its place: steps in lines or one expression."""
    try:
        return masked(source.inlined(program))
    except source.NotPython:
        return program


def normalised(instruction: str) -> str:
    """Return an instruction without case, punctuation and layout; one that is nothing else is returned as it is."""
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
