"""pass@k, pass^k and their intervals. Attempts at one task are not independent, so tasks are what is resampled."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, inf

from sca_cli.records import Interval

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Tally:
    """Attempts at one task that could be judged."""

    passed: int
    judged: int


def pass_at(tally: Tally, k: int) -> float:
    """Estimate the probability that at least one of k attempts passes, without bias (Chen et al. 2021, section 2.1).

    Raises:
        ValueError: fewer than k attempts.
    """
    if tally.judged < k:
        raise ValueError(f"pass@{k} of {tally.judged} attempts")
    return 1.0 - comb(tally.judged - tally.passed, k) / comb(tally.judged, k)


def pass_hat(tally: Tally, k: int) -> float:
    """Estimate the probability that all of k attempts pass, without bias (Yao et al. 2024, tau-bench, section 4).

    Raises:
        ValueError: fewer than k attempts.
    """
    if tally.judged < k:
        raise ValueError(f"pass^{k} of {tally.judged} attempts")
    return comb(tally.passed, k) / comb(tally.judged, k)


def interval(values: Sequence[float], seed: int = 0, *, least: float = 0.0) -> Interval:
    """Return the mean over tasks with its 95 % interval: percentile bootstrap, tasks resampled (clustered by task).

    Efron and Tibshirani 1993, section 13.3. Where all values are the same, as when no task passed, resampling gives no
    width. Then it is exact (Clopper and Pearson 1934, none of n): were more than a share q of all tasks different, at
    most 2.5 % of samples would hold none, and a share q moves the mean by no more than q times the room on that side.

    Args:
        values: one a task, from `least` to 1.
        seed: of the resampling.
        least: -1 for differences.
    """
    mean = sum(values) / len(values)
    if len(set(values)) == 1:
        q = 1 - ((1 - LEVEL) / 2) ** (1 / len(values))
        return Interval(value=mean, low=mean - q * (mean - least), high=mean + q * (1 - mean))
    draw = random.Random(seed)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(RESAMPLES))
    tail = (1 - LEVEL) / 2
    return Interval(value=mean, low=means[int(tail * RESAMPLES)], high=means[int((1 - tail) * RESAMPLES) - 1])


def ratio(pairs: Sequence[tuple[float, float]], seed: int = 0) -> Interval | None:
    """Return how many times as much the second is as the first, with its 95 % interval.

    Of means over tasks; percentile bootstrap, tasks resampled in pairs, as in `interval`.

    Args:
        pairs: one a task, none below 0.
        seed: of the resampling.

    Returns:
        The ratio, or None where its interval has no end, as the first can be 0, or no width.
    """
    draw = random.Random(seed)

    def times(drawn: Sequence[tuple[float, float]]) -> float:
        first, second = (sum(each) for each in zip(*drawn, strict=True))
        return second / first if first else inf

    found = sorted(times(draw.choices(pairs, k=len(pairs))) for _ in range(RESAMPLES)) if pairs else [inf]
    low, high = found[int((1 - LEVEL) / 2 * len(found))], found[int((1 + LEVEL) / 2 * len(found)) - 1]
    return None if high in (inf, low) else Interval(value=times(pairs), low=low, high=high)


def estimate(tallies: Sequence[Tally], measure: Callable[[Tally, int], float], k: int) -> Interval | None:
    """Return `measure` at k over tasks with at least k judged attempts, or None where there is none."""
    values = [measure(tally, k) for tally in tallies if tally.judged >= k]
    return interval(values) if values else None
