"""A seeded sample of verified tasks to read. The order of the records does not change it.

The rank of a task is the hash of the seed and its id. For each number of calls, the tasks with the lowest ranks are
stored. A stored task can only be replaced by a lower rank. So a task of the final sample was never removed, and all its
attempts were seen.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from sca_cli.records import JSON, Message, Rollout, Task

MOST_CALLS = 5
"""Tasks with this number of calls or more form one group; chosen by hand."""

MAX_CHARS = 8000
"""Longest text that is stored, in characters; a longer one is cut. Chosen by hand."""


@dataclass(slots=True)
class SelectedTask:
    """The parts of one task that the page shows."""

    identity: str
    env: str
    method: str
    calls: int
    instruction: str
    evaluate: str
    solution: str
    failure_cases: list[str]
    written_by: dict[str, str]
    """Part of the task → its author."""
    findings: list[str]
    attempts: dict[str, str] = field(default_factory=dict)
    """Outcome (`pass` or `fail`) → the replies of one attempt with this outcome."""


class TaskSelection:
    """Selects the tasks to read.

    Args:
        count: number of tasks to draw.
        seed: seed of the draw.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._strata: dict[int, dict[bytes, SelectedTask]] = {}

    def offer(self, task: Task) -> SelectedTask | None:
        """Store a task if it is verified and has one of the lowest ranks; return its stored parts, else None."""
        if not task.kept:
            return None
        stratum = self._strata.setdefault(min(_calls(task), MOST_CALLS), {})
        rank = hashlib.sha256(f"{self._seed}:{task.id}".encode()).digest()
        if rank not in stratum:
            if len(stratum) >= self._count and rank > (last := max(stratum)):
                return None
            if len(stratum) >= self._count:
                del stratum[last]
            stratum[rank] = _reading(task)
        return stratum[rank]

    def attempt(self, rollout: Rollout) -> None:
        """Offer the task of an attempt; if the task is stored, store the first attempt of each outcome too."""
        reading = self.offer(rollout.task)
        if reading is not None and rollout.outcome != "invalid" and rollout.outcome not in reading.attempts:
            reading.attempts[rollout.outcome] = cut("\n\n".join(_replies(rollout)))

    def readings(self) -> list[SelectedTask]:
        """Return the tasks to read: about equally many for each number of calls, fewest calls first."""
        ranked = [[stratum[rank] for rank in sorted(stratum)] for _, stratum in sorted(self._strata.items())]
        turns = [(turn, place) for place, stratum in enumerate(ranked) for turn in range(len(stratum))]
        chosen = sorted(turns)[: self._count]
        return [ranked[place][turn] for turn, place in sorted(chosen, key=lambda pair: (pair[1], pair[0]))]


def cut(text: str) -> str:
    """Return the text, cut to `MAX_CHARS` characters and a note of how many are missing."""
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}\n… {len(text) - MAX_CHARS} more characters"


def _calls(task: Task) -> int:
    calls = task.verdict.solution_calls() if task.verdict else None
    return (task.calls or 0) if calls is None else len(calls)


def _reading(task: Task) -> SelectedTask:
    authors = task.extra.get("written_by")
    findings = task.verdict.findings if task.verdict else []
    return SelectedTask(
        identity=task.id,
        env=str(task.env),
        method=task.method,
        calls=_calls(task),
        instruction=cut(task.instruction),
        evaluate=cut(task.evaluate),
        solution=cut(task.solution),
        failure_cases=[cut(program) for program in task.failure_cases[:3]],
        written_by={name: _words(who) for name, who in authors.items()} if isinstance(authors, dict) else {},
        findings=[cut(f"{finding.stage}: {finding.message}") for finding in findings],
    )


def _words(value: JSON) -> str:
    if isinstance(value, list):
        return ", ".join(_words(part) for part in value)
    return cut(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _replies(rollout: Rollout) -> Iterator[str]:
    """Yield the model's own replies, without the example turns before them, and the answer."""
    replies = [message for message in rollout.messages if message.role == "assistant"]
    for message in replies[-rollout.usage.turns :]:
        yield _reply(message)
    if rollout.answer is not None:
        yield f"answer: {_words(rollout.answer)}"


def _reply(message: Message) -> str:
    calls = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))
