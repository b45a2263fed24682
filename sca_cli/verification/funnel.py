"""The funnel: count how many candidates of each method passed each stage of `sca verify`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sca_cli.records import Task
from sca_cli.verification import duplicates


class Passed(NamedTuple):
    """The candidates of one method at one stage."""

    stage: str
    left: int
    """Candidates that passed this stage and all earlier ones."""
    share: float
    """`left` as a share of the method's candidates, 0 to 1."""
    reported: int
    """Kept tasks for which this stage reported a finding."""


class Funnel:
    """Counts candidates by method and by the stage that rejected them.

    Args:
        stages: names of the stages, in the order in which tasks pass them.
    """

    def __init__(self, stages: Sequence[str]) -> None:
        self._stages = stages
        self._last_stages: dict[str, Counter[str]] = {}
        self._kept_shapes: dict[str, set[str]] = {}
        self._reports: dict[str, Counter[str]] = {}

    def count(self, task: Task) -> None:
        """Count one candidate under its method and the stage of its verdict."""
        stage = task.verdict.stage if task.verdict else "parsed"
        method = method_of(task)
        self._last_stages.setdefault(method, Counter())[stage] += 1
        if task.verdict and task.verdict.passed:
            self._kept_shapes.setdefault(method, set()).add(duplicates.masked(task.solution))
            reporting_stages = {finding.stage for finding in task.verdict.findings}
            self._reports.setdefault(method, Counter()).update(reporting_stages)

    def methods(self) -> list[str]:
        """Return the methods whose candidates were counted."""
        return sorted(self._last_stages)

    def total(self, method: str) -> int:
        """Return how many candidates of a method were counted."""
        return self._last_stages[method].total()

    def shapes(self, method: str) -> int:
        """Return the number of different solutions of the kept tasks; those that differ only in literals and names
        count once.
        """
        return len(self._kept_shapes.get(method, ()))

    def passed(self, method: str) -> Iterator[Passed]:
        """Yield for each stage, in order, how many candidates of a method passed it."""
        left = total = self.total(method)
        for stage in self._stages:
            left -= self._last_stages[method][stage]
            yield Passed(stage, left, left / total, self._reports.get(method, Counter())[stage])

    def lines(self) -> list[str]:
        """Return the funnel as lines of text: count and share that passed each stage, and the number of programs."""
        lines: list[str] = []
        for method in self.methods():
            lines.append(f"sca verify: {self.total(method)} candidates, method {method}")
            for stage, left, share, reported in self.passed(method):
                lines.append(f"  {stage:<13} {left:6d}  {share:6.1%}" + (f"  {reported} reported" * bool(reported)))
            lines.append(f"  {'shapes':<13} {self.shapes(method):6d}")
        return lines


def method_of(task: Task) -> str:
    """Return the name of the method that made a task."""
    return task.method or "hand-written"
