"""Choose the tasks that each round of online training attempts, and the rollouts that it trains on.

Without options each round attempts the next tasks of a random order. `CurriculumOptions` adds four parts:

- a band of pass rates. A task outside the band is dropped as soon as a sequential test shows it, and the next task
  takes its place. The attempts of the test are those that are trained on, so every round tests with its own weights.
- promotion: the tasks of one call first, and those of one more call when the pass rate is high enough.
- replay: an earlier success joins the attempts at a task that all fail now.
- a mix: the share of each environment in the attempted tasks.

The decisions depend on the outcomes of whole waves of attempts, and not on the order in which attempts finish. A run
that is resumed repeats them from its journal.
"""

import math
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sca_cli.fanout import derived_seed
from sca_cli.records import Rollout, Task

type Item = tuple[Task, int]
"""A task, and the number of the attempt at it."""

MOST_CANDIDATES = 4
"""Most tasks that a round attempts, as a multiple of the tasks that it trains on; chosen by hand."""

_WAVE = 2
"""Attempts at a task between two decisions of the test; chosen by hand: fewer leave the model's batch empty."""


@dataclass(frozen=True, slots=True)
class Band:
    """The pass rates that tasks should have, and the test that drops tasks outside.

    The test is two sequential probability ratio tests (Wald 1945, "Sequential tests of statistical hypotheses", Annals
    of Mathematical Statistics 16, section 3): one compares the lower end of the band with its middle, the other the
    middle with the upper end (as Sobel and Wald 1949, same journal 20, decide between three hypotheses). A task whose
    pass rate is the middle of the band is dropped by each test with a probability of at most error / (1 - error)
    (Wald's inequality 3.8), however often it is attempted.
    """

    low: float
    high: float
    error: float = 0.1
    """Error rate of each test, for either hypothesis."""

    def side(self, passed: int, judged: int) -> int:
        """Return -1 if the task is too hard, 1 if it is too easy, 0 if that is not shown."""
        middle = (self.low + self.high) / 2
        if self.low > 0 and self._excludes(passed, judged, self.low, middle):
            return -1
        if self.high < 1 and self._excludes(judged - passed, judged, 1 - self.high, 1 - middle):
            return 1
        return 0

    def holds(self, passed: int, judged: int) -> bool:
        """Return whether the observed pass rate is in the band."""
        return judged > 0 and self.low <= passed / judged <= self.high

    def least(self) -> int:
        """Return the smallest number of attempts after which the test can drop a task."""
        return next(judged for judged in range(1, 1000) if self.side(0, judged) or self.side(judged, judged))

    def _excludes(self, passed: int, judged: int, end: float, middle: float) -> bool:
        """Return whether the test accepts the pass rate `end`, and not `middle`, which is larger."""
        ratio = passed * math.log(middle / end) + (judged - passed) * math.log((1 - middle) / (1 - end))
        return ratio <= math.log(self.error / (1 - self.error))


@dataclass(frozen=True, slots=True)
class CurriculumOptions:
    """The parts of the curriculum."""

    band: Band | None = None
    promote: float | None = None
    """Pass rate above which tasks of one more call are added; None: all tasks from the beginning."""
    replay: bool = False
    mix: Mapping[str, float] = field(default_factory=dict)
    """Name of an environment → its weight; the others have weight 1. Empty: tasks are drawn whatever their environment.
    """


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one task to train on."""

    rollouts: list[Rollout]
    """Made in this round."""
    earlier: list[Rollout] = field(default_factory=list)
    """Successes of earlier weights, at most one."""


@dataclass(frozen=True, slots=True)
class Round:
    """The rollouts of one round."""

    groups: list[Group]
    attempts: list[Rollout]
    """All rollouts that were made, also of the tasks that were dropped."""
    figures: dict[str, float] = field(default_factory=dict)
    """Counts of the round, if there are curriculum options: attempts, saved, below, above, level, replayed."""


@dataclass(slots=True)
class _Candidate:
    """A task of a round, with its attempts so far."""

    task: Task
    pool: "_Pool"
    rollouts: list[Rollout] = field(default_factory=list)
    side: int = 0

    @property
    def passed(self) -> int:
        return sum(rollout.outcome == "pass" for rollout in self.rollouts)

    @property
    def judged(self) -> int:
        return sum(rollout.outcome != "invalid" for rollout in self.rollouts)


class _Pool:
    """Tasks that are drawn in a random order, which is drawn again for each pass over them."""

    def __init__(self, name: str, tasks: Sequence[Task], options: CurriculumOptions, per_round: int, seed: int) -> None:
        self._name, self._tasks, self._seed = name, tasks, seed
        self._promote, self._per_round = options.promote, per_round
        self._levels = sorted({task.calls or 0 for task in tasks}) if options.promote is not None else []
        self.level = self._levels[0] if self._levels else 0
        """Most calls of the tasks that are drawn; without promotion 0, and all are drawn."""
        self._rates: list[float] = []
        self._queue: deque[Task] = deque()
        self._passes = 0

    def __len__(self) -> int:
        return len(self._open())

    def draw(self) -> Task:
        """Return the next task."""
        if not self._queue:
            names = (self._name,) if self._name else ()
            order = random.Random(derived_seed(self._seed, "order", self._passes, *names))
            tasks = self._open()
            self._queue.extend(order.sample(tasks, len(tasks)))
            self._passes += 1
        return self._queue.popleft()

    def note(self, candidate: _Candidate) -> None:
        """Count the pass rate of a task. Each level begins to count anew, with the tasks of that level."""
        if self._promote is None or not candidate.judged or (candidate.task.calls or 0) != self.level:
            return
        self._rates = [*self._rates, candidate.passed / candidate.judged][-2 * self._per_round :]
        full = len(self._rates) >= self._per_round
        if full and sum(self._rates) / len(self._rates) > self._promote and self.level < self._levels[-1]:
            self.level = self._levels[self._levels.index(self.level) + 1]
            self._rates.clear()
            self._queue.clear()

    def _open(self) -> Sequence[Task]:
        if not self._levels:
            return self._tasks
        return [task for task in self._tasks if (task.calls or 0) <= self.level]


class Curriculum:
    """Chooses the tasks of each round.

    Args:
        tasks: the tasks.
        per_round: tasks that a round trains on.
        per_task: attempts at each of them.
        seed: decides the order.
        options: the parts of the curriculum.
    """

    def __init__(
        self, tasks: Sequence[Task], per_round: int, per_task: int, seed: int, options: CurriculumOptions
    ) -> None:
        self._options, self.per_task = options, per_task
        self._tasks = len(tasks)
        self.per_round = min(per_round, len(tasks))
        by_name: dict[str, list[Task]] = {}
        for task in tasks:
            by_name.setdefault(task.env.name if options.mix else "", []).append(task)
        self._pools = [_Pool(name, group, options, self.per_round, seed) for name, group in by_name.items()]
        self._weights = [options.mix.get(name, 1.0) for name in by_name]
        self._credits = [0.0] * len(self._pools)
        self._made: Counter[str] = Counter()
        self._successes: dict[str, Rollout] = {}

    def rounds(self, epochs: int) -> int:
        """Return the number of rounds in a number of passes over the tasks."""
        return -(-epochs * self._tasks // self.per_round)

    def round(self, attempt: Callable[[list[Item]], list[Rollout]]) -> Round:
        """Make the attempts of the next round.

        Args:
            attempt: makes attempts; returns their rollouts in the same order. Called once for each wave.
        """
        band = self._options.band
        candidates: list[_Candidate] = []
        made: list[Rollout] = []
        size = min(band.least(), self.per_task) if band else self.per_task
        limit = min((MOST_CANDIDATES if band else 1) * self.per_round, sum(map(len, self._pools)))
        draws = 0
        while True:
            kept = sum(not candidate.side for candidate in candidates)
            while kept < self.per_round and draws < limit:
                draws += 1
                pool = self._next_pool()
                task = pool.draw()
                if not band or all(task.id != candidate.task.id for candidate in candidates):
                    candidates.append(_Candidate(task, pool))
                    kept += 1
            wave = [one for one in candidates if not one.side and len(one.rollouts) < self.per_task]
            if not wave:
                break
            made += self._wave(wave, size, attempt)
            for candidate in wave:
                self._decide(candidate)
        return self._result(candidates, made)

    def _next_pool(self) -> _Pool:
        """Return the pool of the next task: over many tasks each has its weight's share (smooth weighted round robin).

        Source of the algorithm: nginx, ngx_http_upstream_round_robin.c.
        """
        self._credits = [credit + weight for credit, weight in zip(self._credits, self._weights, strict=True)]
        chosen = max(range(len(self._pools)), key=self._credits.__getitem__)
        self._credits[chosen] -= sum(self._weights)
        return self._pools[chosen]

    def _wave(
        self, wave: list[_Candidate], least: int, attempt: Callable[[list[Item]], list[Rollout]]
    ) -> list[Rollout]:
        """Attempt each candidate `least` times at first, and `_WAVE` times later, up to the limit."""
        items: list[Item] = []
        owners: list[_Candidate] = []
        for candidate in wave:
            made = len(candidate.rollouts)
            for _ in range(min(_WAVE if made else least, self.per_task - made)):
                items.append((candidate.task, self._made[candidate.task.id]))
                owners.append(candidate)
                self._made[candidate.task.id] += 1
        rollouts = attempt(items)
        for candidate, rollout in zip(owners, rollouts, strict=True):
            candidate.rollouts.append(rollout)
        return rollouts

    def _decide(self, candidate: _Candidate) -> None:
        """Drop the candidate if it is outside the band; note its pass rate if it needs no more attempts."""
        band, complete = self._options.band, len(candidate.rollouts) >= self.per_task
        if band:
            passed, judged = candidate.passed, candidate.judged
            candidate.side = band.side(passed, judged)
            if complete and not candidate.side and not band.holds(passed, judged):
                candidate.side = 1 if judged and passed / judged > band.high else -1
        if complete or candidate.side:
            candidate.pool.note(candidate)

    def _result(self, candidates: list[_Candidate], made: list[Rollout]) -> Round:
        groups: list[Group] = []
        for candidate in candidates:
            task = candidate.task.id
            unsolved = candidate.judged > 0 and candidate.passed == 0
            earlier = [self._successes[task]] if unsolved and task in self._successes else []
            if not candidate.side or earlier:
                groups.append(Group(candidate.rollouts, earlier))
            if self._options.replay:
                for rollout in candidate.rollouts:
                    if rollout.outcome == "pass" and rollout.segments:
                        self._successes[task] = rollout
        return Round(groups, made, self._figures(candidates, groups) if self._options != CurriculumOptions() else {})

    def _figures(self, candidates: list[_Candidate], groups: list[Group]) -> dict[str, float]:
        attempts = sum(len(candidate.rollouts) for candidate in candidates)
        figures = {"attempts": attempts}
        if self._options.band:
            figures["saved"] = len(candidates) * self.per_task - attempts
            figures |= {name: sum(one.side == side for one in candidates) for name, side in _SIDES.items()}
        if self._options.promote is not None:
            figures["level"] = max(pool.level for pool in self._pools)
        if self._options.replay:
            figures["replayed"] = sum(len(group.earlier) for group in groups)
        return {name: float(value) for name, value in figures.items()}


_SIDES = {"below": -1, "above": 1}
