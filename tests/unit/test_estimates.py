"""Estimates: pass@k, pass^k and their intervals."""

import random
from itertools import combinations
from statistics import mean

import pytest

from sca_cli.evaluation.estimates import AttemptCounts, estimate, interval, pass_at, pass_hat, ratio


@pytest.mark.parametrize("judged", range(1, 8))
def test_both_estimators_equal_the_mean_over_all_subsets(judged: int) -> None:
    """pass@k and pass^k are the shares of k-subsets of the attempts with any, or only, passes: counted by
    brute force.
    """
    for passed in range(judged + 1):
        attempts = [True] * passed + [False] * (judged - passed)
        for k in range(1, judged + 1):
            subsets = list(combinations(attempts, k))
            assert pass_at(AttemptCounts(passed, judged), k) == pytest.approx(mean(map(any, subsets)))
            assert pass_hat(AttemptCounts(passed, judged), k) == pytest.approx(mean(map(all, subsets)))


def test_fewer_attempts_than_k_are_refused() -> None:
    """There is no estimate of pass@3 from two attempts."""
    for measure in (pass_at, pass_hat):
        with pytest.raises(ValueError, match="of 2 attempts"):
            measure(AttemptCounts(1, 2), 3)


def test_tasks_with_too_few_judged_attempts_are_left_out() -> None:
    """Invalid attempts are in no estimate: a task with too few judged ones does not count, and without any
    there is none.
    """
    found = estimate([AttemptCounts(2, 2), AttemptCounts(0, 1)], pass_at, 2)
    assert found is not None
    assert found.value == 1.0
    assert estimate([AttemptCounts(0, 1)], pass_at, 2) is None
    assert estimate([], pass_at, 1) is None


def test_interval_holds_its_value_and_is_repeatable() -> None:
    """The same values give the same interval, which holds the mean."""
    values = [0.0, 0.25, 1.0, 1.0, 0.5]
    found = interval(values)
    assert found == interval(values)
    assert found.low <= found.value == mean(values) <= found.high


@pytest.mark.parametrize(("tasks", "room"), [(1, 0.975), (10, 0.3085), (100, 0.0362)])
def test_equal_values_are_no_certainty(tasks: int, room: float) -> None:
    """None or all of n tasks passed gives the exact interval of Clopper and Pearson; so does no difference."""
    none, every, same = interval([0.0] * tasks), interval([1.0] * tasks), interval([0.0] * tasks, least=-1.0)
    assert (none.low, none.value, none.high) == (0.0, 0.0, pytest.approx(room, abs=1e-4))
    assert (every.low, every.value, every.high) == (pytest.approx(1 - room, abs=1e-4), 1.0, 1.0)
    assert (same.low, same.high) == (-none.high, none.high)
    half = interval([0.5] * tasks)
    assert (half.low, half.high) == (pytest.approx(0.5 - room / 2, abs=1e-4), pytest.approx(0.5 + room / 2, abs=1e-4))


def test_interval_covers_as_often_as_it_says() -> None:
    """Over 150 samples of 40 tasks with a known mean the 95 % interval holds it in 88 % to 100 % of the
    cases.
    """
    draw = random.Random(7)
    held = 0
    for seed in range(150):
        found = interval([float(draw.random() < 0.3) for _ in range(40)], seed)
        held += found.low <= 0.3 <= found.high
    assert 0.88 <= held / 150 <= 1.0


def test_interval_narrows_with_more_tasks() -> None:
    """Sixteen times the tasks give an interval about a quarter as wide."""
    few, many = interval([0.0, 1.0] * 10), interval([0.0, 1.0] * 160)
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.25, abs=0.06)


def test_ratio_covers_as_often_as_it_says() -> None:
    """Over 150 samples of 80 tasks whose second mean is twice the first the 95 % interval holds 2 in 88 % to 100 %."""
    draw = random.Random(7)
    held = 0
    for seed in range(150):
        found = ratio([(float(draw.random() < 0.3), float(draw.random() < 0.6)) for _ in range(80)], seed)
        held += found is not None and found.low <= 2 <= found.high
    assert 0.88 <= held / 150 <= 1.0


@pytest.mark.parametrize("pairs", [[], [(0.0, 1.0)] * 9, [(0.5, 1.0)] * 9, [(1.0, 1.0), (0.0, 1.0)]])
def test_a_ratio_without_an_interval_is_none(pairs: list[tuple[float, float]]) -> None:
    """A ratio is None for no pairs, a zero denominator, a constant ratio, and a denominator that is often zero in
    samples.
    """
    assert ratio(pairs) is None
