"""Counts of records: explorations, coverage of tools, agreement, held-out attempts, and cost."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from sca_cli.evaluation.estimates import AttemptCounts
from sca_cli.records import Exploration, Rollout, Score, Task, Usage, Verdict


@dataclass(slots=True)
class ExplorationCounts:
    """Counts of the explorations of one environment."""

    count: int = 0
    calls: int = 0
    refusals: int = 0
    """Calls that ended with a tool error."""
    tools: set[str] = field(default_factory=set)
    """Names of the tools that were called, also with an error."""

    def add(self, exploration: Exploration) -> None:
        """Count one exploration."""
        self.count += 1
        self.calls += len(exploration.observations)
        self.refusals += sum(bool(call.error) for call in exploration.observations)
        self.tools |= {call.tool for call in exploration.observations}


@dataclass(slots=True)
class ToolCoverage:
    """The tools that solutions of verified tasks use, and the pairs of tools that they call one after the other."""

    tasks: int = 0
    tools: Counter[str] = field(default_factory=Counter)
    """Tool → number of tasks that use it."""
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(tool, tool called next) → number of occurrences."""
    calls: Counter[int] = field(default_factory=Counter)
    """Number of calls → number of tasks."""

    def add(self, verdict: Verdict) -> None:
        """Count one verified task."""
        names = [call.tool for call in verdict.solution_calls() or []]
        self.tasks += 1
        self.tools.update(set(names))
        self.pairs.update(pairwise(names))
        self.calls[len(names)] += 1


@dataclass(slots=True)
class AgreementCounts:
    """Counts of tasks whose instruction was attempted by a model (`verify --agree`)."""

    tried: int = 0
    """Tasks with such attempts."""
    mislabelled: int = 0
    """Tasks for which most attempts have one outcome, which the check rejects."""
    unsolved: int = 0
    """Tasks for which no attempt passed the check."""
    attempts: int = 0
    passed: int = 0

    def add(self, verdict: Verdict) -> None:
        """Count one task."""
        if verdict.agreement is None:
            return
        findings = [finding for finding in verdict.findings if finding.stage == "agreement"]
        self.tried += 1
        self.mislabelled += any(finding.rejects for finding in findings)
        self.unsolved += any(not finding.rejects for finding in findings)
        self.attempts += verdict.agreement.attempts
        self.passed += verdict.agreement.passed


@dataclass(slots=True)
class HeldOutAttempts:
    """The outcomes of one model's attempts at held-out tasks, by task."""

    outcomes: dict[str, dict[int, str]] = field(default_factory=dict)
    """Id of a task → number of the sample → outcome."""
    calls: dict[str, int] = field(default_factory=dict)
    """Id of a task → number of calls of its solution."""

    def add(self, rollout: Rollout) -> None:
        """Add one attempt. Adding the same attempt again changes nothing."""
        self.outcomes.setdefault(rollout.task.id, {})[rollout.sample] = rollout.outcome
        if rollout.task.calls is not None:
            self.calls[rollout.task.id] = rollout.task.calls

    def tally(self, task: str) -> AttemptCounts:
        """Return how many attempts at a task passed, and how many were judged."""
        counts = Counter(self.outcomes[task].values())
        return AttemptCounts(counts["pass"], counts["pass"] + counts["fail"])


@dataclass(slots=True)
class Cost:
    """The work of one verb by one model, with its cost."""

    done: int = 0
    """Number of explorations, candidates, verified tasks or attempts."""
    outcomes: Counter[str] = field(default_factory=Counter)
    by_judge: int = 0
    """Attempts whose outcome comes from a judge model."""
    usage: Usage = field(default_factory=Usage)
    seconds: float | None = None
    """Wall time; None if no record has times."""

    def creation(self, usage: Usage) -> None:
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
        """Count the attempts of a score. A score does not record how many of them passed."""
        self.done += score.tasks * score.samples
        self.outcomes["invalid"] += score.invalid
        self._use(score.usage)

    def verified(self, task: Task) -> None:
        """Count one task that was verified."""
        self.done += 1
        for check in task.verdict.checks if task.verdict else []:
            self._add_seconds(check.seconds)

    def _use(self, usage: Usage) -> None:
        for name in _token_counts(usage):
            setattr(self.usage, name, getattr(self.usage, name) + getattr(usage, name))
        self._add_seconds(usage.seconds)

    def _add_seconds(self, seconds: float | None) -> None:
        if seconds is not None:
            self.seconds = (self.seconds or 0.0) + seconds


def _token_counts(usage: Usage) -> Iterator[str]:
    return (name for name in usage.__struct_fields__ if name != "seconds")
