"""What is counted of records: explorations, coverage of tools, agreement, attempts and what they cost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from sca_cli.evaluation.estimates import Tally
from sca_cli.records import Exploration, Rollout, Score, Task, Usage, Verdict


@dataclass(slots=True)
class Walks:
    """Explorations of one environment."""

    count: int = 0
    calls: int = 0
    refused: int = 0
    """Calls that came to an error."""
    tools: set[str] = field(default_factory=set)

    def add(self, exploration: Exploration) -> None:
        """Count one exploration."""
        self.count += 1
        self.calls += len(exploration.observations)
        self.refused += sum(bool(call.error) for call in exploration.observations)
        self.tools |= {call.tool for call in exploration.observations}


@dataclass(slots=True)
class Coverage:
    """Which tools the solutions of verified tasks use, and which of them one after the other."""

    tasks: int = 0
    tools: Counter[str] = field(default_factory=Counter)
    """Tool → tasks that use it."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(tool, tool called next) → how often."""
    calls: Counter[int] = field(default_factory=Counter)
    """Number of calls → tasks."""

    def add(self, verdict: Verdict) -> None:
        """Count one verified task."""
        names = [call.tool for call in verdict.solution_calls() or []]
        self.tasks += 1
        self.tools.update(set(names))
        self.pairs.update(pairwise(names))
        self.calls[len(names)] += 1


@dataclass(slots=True)
class Agreed:
    """Tasks whose instruction was attempted afresh (`verify --agree`)."""

    tried: int = 0
    mislabelled: int = 0
    """A majority came to something that the check refuses."""
    unsolved: int = 0
    """No attempt passed the check."""
    attempts: int = 0
    passed: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count one task."""
        if verdict.agreement is None:
            return
        found = [finding for finding in verdict.findings if finding.stage == "agreement"]
        self.tried += 1
        self.mislabelled += any(finding.rejects for finding in found)
        self.unsolved += any(not finding.rejects for finding in found)
        self.attempts += verdict.agreement.attempts
        self.passed += verdict.agreement.passed


@dataclass(slots=True)
class Evaluated:
    """What became of one model's attempts at held-out tasks, task by task."""

    outcomes: dict[str, dict[int, str]] = field(default_factory=dict)
    """Task → sample → outcome."""
    calls: dict[str, int] = field(default_factory=dict)
    """Task → calls that its solution makes."""

    def add(self, rollout: Rollout) -> None:
        """Take in one attempt; the same one again changes nothing."""
        self.outcomes.setdefault(rollout.task.id, {})[rollout.sample] = rollout.outcome
        if rollout.task.calls is not None:
            self.calls[rollout.task.id] = rollout.task.calls

    def tally(self, task: str) -> Tally:
        """Return how many attempts at a task passed, of those that could be judged."""
        found = Counter(self.outcomes[task].values())
        return Tally(found["pass"], found["pass"] + found["fail"])


@dataclass(slots=True)
class Spent:
    """Work of one kind by one model, and what it cost."""

    done: int = 0
    """Explorations; candidates; tasks verified; attempts."""
    outcomes: Counter[str] = field(default_factory=Counter)
    by_judge: int = 0
    """Attempts whose outcome is the word of a model."""
    usage: Usage = field(default_factory=Usage)
    seconds: float | None = None

    def made(self, usage: Usage) -> None:
        """Count one exploration or candidate."""
        self.done += 1
        self._use(usage)

    def attempt(self, rollout: Rollout) -> None:
        """Count one attempt."""
        self.done += 1
        self.outcomes[rollout.outcome] += 1
        self.by_judge += bool(rollout.judged_by)
        self._use(rollout.usage)

    def score(self, score: Score) -> None:
        """Count the attempts behind a score; which of them passed it does not say."""
        self.done += score.tasks * score.samples
        self.outcomes["invalid"] += score.invalid
        self._use(score.usage)

    def verified(self, task: Task) -> None:
        """Count one task that was verified."""
        self.done += 1
        for check in task.verdict.checks if task.verdict else []:
            self._wait(check.seconds)

    def _use(self, usage: Usage) -> None:
        for name in _token_counts(usage):
            setattr(self.usage, name, getattr(self.usage, name) + getattr(usage, name))
        self._wait(usage.seconds)

    def _wait(self, seconds: float | None) -> None:
        if seconds is not None:
            self.seconds = (self.seconds or 0.0) + seconds


def _token_counts(usage: Usage) -> Iterator[str]:
    return (name for name in usage.__struct_fields__ if name != "seconds")
