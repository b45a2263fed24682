"""Estimate pass@k, pass^k and their intervals.

Attempts at one task are not independent, so that the bootstrap resamples tasks, not attempts.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, inf

from sca_cli.records import Interval

RESAMPLES = 2000
"""Bootstrap samples of one interval. Chosen by hand."""
LEVEL = 0.95
"""Confidence level of all intervals."""


@dataclass(frozen=True, slots=True)
class AttemptCounts:
    """Counts of the attempts at one task."""

    passed: int
    judged: int
    """Attempts that pass or fail; invalid ones are left out."""


def pass_at(tally: AttemptCounts, k: int) -> float:
    """Estimate the probability that at least one of k attempts passes, without bias (Chen et al. 2021, section 2.1).

    Raises:
        ValueError: there are fewer than k judged attempts.
    """
    if tally.judged < k:
        raise ValueError(f"pass@{k} of {tally.judged} attempts")
    return 1.0 - comb(tally.judged - tally.passed, k) / comb(tally.judged, k)


def pass_hat(tally: AttemptCounts, k: int) -> float:
    """Estimate the probability that all of k attempts pass, without bias (Yao et al. 2024, tau-bench, section 4).

    Raises:
        ValueError: there are fewer than k judged attempts.
    """
    if tally.judged < k:
        raise ValueError(f"pass^{k} of {tally.judged} attempts")
    return comb(tally.passed, k) / comb(tally.judged, k)


def interval(values: Sequence[float], seed: int = 0, *, least: float = 0.0) -> Interval:
    """Return the mean over tasks with its 95 % interval.

    The interval is a percentile bootstrap that resamples tasks (Efron and Tibshirani 1993, section 13.3). If all values
    are equal, as when no task passed, the bootstrap interval has no width. Then the interval comes from the exact bound
    for 0 of n (Clopper and Pearson 1934). Let q be this bound: if the values of more than a share q of all tasks
    differed, a sample of n tasks would miss all of them with a probability of at most 2.5 %. These tasks can lower the
    mean by at most q times (mean - least), and raise it by at most q times (1 - mean).

    Args:
        values: one value per task, between `least` and 1.
        seed: seeds the resampling.
        least: smallest possible value: 0, or -1 for differences.
    """
    mean = sum(values) / len(values)
    if len(set(values)) == 1:
        q = 1 - ((1 - LEVEL) / 2) ** (1 / len(values))
        return Interval(value=mean, low=mean - q * (mean - least), high=mean + q * (1 - mean))
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    tail = (1 - LEVEL) / 2
    return Interval(value=mean, low=means[int(tail * RESAMPLES)], high=means[int((1 - tail) * RESAMPLES) - 1])


def ratio(pairs: Sequence[tuple[float, float]], seed: int = 0) -> Interval | None:
    """Return the ratio of two means over the same tasks, second divided by first, with its 95 % interval.

    The interval is a percentile bootstrap that resamples tasks as pairs, as in `interval`.

    Args:
        pairs: (first, second) per task, both at least 0.
        seed: seeds the resampling.

    Returns:
        The ratio, or None if there are no pairs, the interval has no upper end (the first mean can be 0), or it has no
        width.
    """
    rng = random.Random(seed)

    def ratio_of(sample: Sequence[tuple[float, float]]) -> float:
        first, second = (sum(each) for each in zip(*sample, strict=True))
        return second / first if first else inf

    ratios = sorted(ratio_of(rng.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES)) if pairs else [inf]
    low, high = ratios[int((1 - LEVEL) / 2 * len(ratios))], ratios[int((1 + LEVEL) / 2 * len(ratios)) - 1]
    return None if high in (inf, low) else Interval(value=ratio_of(pairs), low=low, high=high)


def estimate(
    tallies: Sequence[AttemptCounts], measure: Callable[[AttemptCounts, int], float], k: int
) -> Interval | None:
    """Return the mean of `measure` at k over the tasks with at least k judged attempts; None if there are none."""
    values = [measure(tally, k) for tally in tallies if tally.judged >= k]
    return interval(values) if values else None
