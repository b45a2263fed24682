"""A seeded draw of verified tasks to read, the same for every order in which the records come.

Each task has a rank, the hash of seed and id; of every number of calls the tasks of lowest rank are kept. A task that
is among them at the end was among them whenever it came by, so that attempts at it are never missed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from sca_cli.records import JSON, Message, Rollout, Task

MOST_CALLS = 5
"""Tasks with so many calls or more are drawn from together."""

MAX_CHARS = 8000
"""Characters kept of any text."""


@dataclass(slots=True)
class Reading:
    """What is shown of one task."""

    identity: str
    env: str
    method: str
    calls: int
    instruction: str
    evaluate: str
    solution: str
    failure_cases: list[str]
    written_by: dict[str, str]
    """Part of the task → who wrote it."""
    findings: list[str]
    attempts: dict[str, str] = field(default_factory=dict)
    """`pass` and `fail` → the replies of one such attempt."""


class Draw:
    """Keeps the tasks to read.

    Args:
        count: tasks to draw.
        seed: another seed, other tasks.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._strata: dict[int, dict[bytes, Reading]] = {}

    def offer(self, task: Task) -> Reading | None:
        """Take in a task, if it is verified and among those of lowest rank; return what is kept of it."""
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
        """Take in the task of an attempt, and the attempt, if it is the first with this outcome."""
        reading = self.offer(rollout.task)
        if reading is not None and rollout.outcome != "invalid" and rollout.outcome not in reading.attempts:
            reading.attempts[rollout.outcome] = cut("\n\n".join(_replies(rollout)))

    def drawn(self) -> list[Reading]:
        """Return the tasks to read: as many of each number of calls as there are, fewest calls first."""
        ranked = [[kept[rank] for rank in sorted(kept)] for _, kept in sorted(self._strata.items())]
        turns = [(turn, place) for place, kept in enumerate(ranked) for turn in range(len(kept))]
        chosen = sorted(turns)[: self._count]
        return [ranked[place][turn] for turn, place in sorted(chosen, key=lambda pair: (pair[1], pair[0]))]


def cut(text: str) -> str:
    """Return a text of bounded length that says how much is missing."""
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}\n… {len(text) - MAX_CHARS} more characters"


def _calls(task: Task) -> int:
    made = task.verdict.solution_calls() if task.verdict else None
    return (task.calls or 0) if made is None else len(made)


def _reading(task: Task) -> Reading:
    written = task.extra.get("written_by")
    findings = task.verdict.findings if task.verdict else []
    return Reading(
        identity=task.id,
        env=str(task.env),
        method=task.method,
        calls=_calls(task),
        instruction=cut(task.instruction),
        evaluate=cut(task.evaluate),
        solution=cut(task.solution),
        failure_cases=[cut(program) for program in task.failure_cases[:3]],
        written_by={name: _words(who) for name, who in written.items()} if isinstance(written, dict) else {},
        findings=[cut(f"{finding.stage}: {finding.message}") for finding in findings],
    )


def _words(value: JSON) -> str:
    if isinstance(value, list):
        return ", ".join(_words(part) for part in value)
    return cut(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _replies(rollout: Rollout) -> Iterator[str]:
    """Yield what the model itself said: the messages begin with an example that it did not write."""
    said = [message for message in rollout.messages if message.role == "assistant"]
    for message in said[-rollout.usage.turns :]:
        yield _reply(message)
    if rollout.answer is not None:
        yield f"answer: {_words(rollout.answer)}"


def _reply(message: Message) -> str:
    calls = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))
