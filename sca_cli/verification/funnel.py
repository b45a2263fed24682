"""The funnel: how many candidates passed each stage of `sca verify`, by method."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sca_cli.records import Task
from sca_cli.verification import duplicates


class Passed(NamedTuple):
    """What came of one method's candidates at one stage."""

    stage: str
    left: int
    """Candidates that passed it and all before it."""
    share: float
    """Of all candidates."""
    reported: int
    """Kept tasks against which it reported something."""


class Funnel:
    """How many candidates passed each stage, by method."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = stages
        self._fell: dict[str, Counter[str]] = {}
        self._kept: dict[str, set[str]] = {}
        self._reports: dict[str, Counter[str]] = {}

    def count(self, task: Task) -> None:
        """Count one task where it fell."""
        stage = task.verdict.stage if task.verdict else "parsed"
        method = method_of(task)
        self._fell.setdefault(method, Counter())[stage] += 1
        if task.verdict and task.verdict.passed:
            self._kept.setdefault(method, set()).add(duplicates.masked(task.solution))
            named = {finding.stage for finding in task.verdict.findings}
            self._reports.setdefault(method, Counter()).update(named)

    def methods(self) -> list[str]:
        """Return the methods whose candidates were counted."""
        return sorted(self._fell)

    def total(self, method: str) -> int:
        """Return how many candidates of a method were counted."""
        return self._fell[method].total()

    def shapes(self, method: str) -> int:
        """Return how many programs the kept tasks come to; those that differ in literals and names only are one."""
        return len(self._kept.get(method, ()))

    def passed(self, method: str) -> Iterator[Passed]:
        """Yield what came of a method's candidates, stage by stage."""
        left = total = self.total(method)
        for stage in self._stages:
            left -= self._fell[method][stage]
            yield Passed(stage, left, left / total, self._reports.get(method, Counter())[stage])

    def lines(self) -> list[str]:
        """Return the funnel as text: how many passed each stage, their share, and how many programs they come to."""
        lines: list[str] = []
        for method in self.methods():
            lines.append(f"sca verify: {self.total(method)} candidates, method {method}")
            for stage, left, share, reported in self.passed(method):
                lines.append(f"  {stage:<13} {left:6d}  {share:6.1%}" + (f"  {reported} reported" * bool(reported)))
            lines.append(f"  {'shapes':<13} {self.shapes(method):6d}")
        return lines


def method_of(task: Task) -> str:
    """Return how a task was made."""
    return task.method or "hand-written"
