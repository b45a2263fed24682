"""Advantages: the hand cases of each formula, and TRL's own numbers."""

import math
from pathlib import Path
from typing import Any

import pytest
from trl_oracle import grpo_batch, rloo_batch

from sca_cli.training.advantages import gae, grpo, reinforce, rloo


def test_reinforce_subtracts_the_mean_of_the_whole_batch() -> None:
    """A group with equal rewards keeps its advantages, since the baseline is that of all tasks."""
    result = reinforce([[1.0, 1.0], [0.0, 0.0]])
    assert result.values == [[0.5, 0.5], [-0.5, -0.5]]
    assert (result.kept, result.dropped) == (4, 0)


def test_reinforce_on_equal_rewards_drops_everything() -> None:
    """If all rewards of a batch are equal, nothing is left to learn, whatever is invalid."""
    result = reinforce([[1.0, None], [1.0, 1.0]])
    assert (result.kept, result.dropped) == (0, 2)


@pytest.mark.parametrize("advantages", [rloo, grpo])
def test_groups_without_variance_are_dropped_and_counted(advantages: Any) -> None:
    """All pass, all fail, all invalid, or one valid rollout: the group has no advantages."""
    groups = [[1.0, 1.0], [0.0, 0.0], [None, None], [1.0, None], [1.0, 0.0]]
    result = advantages(groups)
    assert result.values[:4] == [[None, None]] * 4
    assert (result.kept, result.dropped) == (2, 4)


def test_an_invalid_rollout_counts_in_no_mean() -> None:
    """An invalid rollout gets no advantage, and those of the others are as without it."""
    for formula in (reinforce, rloo, grpo):
        ((*others, invalid),) = formula([[1.0, 0.0, 0.0, None]]).values
        assert invalid is None
        assert [others] == formula([[1.0, 0.0, 0.0]]).values


def test_rloo_compares_with_the_other_rollouts() -> None:
    """One success among four: 1 against a mean of 0, and 0 against a mean of 1/3."""
    assert rloo([[1.0, 0.0, 0.0, 0.0]]).values == [[1.0, *[pytest.approx(-1 / 3)] * 3]]


def test_grpo_divides_by_the_deviation_only_if_told() -> None:
    """Without `scaled` the mean alone is subtracted; with it, the unbiased deviation plus 1e-4 divides."""
    assert grpo([[1.0, 0.0]]).values == [[0.5, -0.5]]
    deviation = math.sqrt(0.5) + 1e-4
    assert grpo([[1.0, 0.0]], scaled=True).values == [[pytest.approx(0.5 / deviation), pytest.approx(-0.5 / deviation)]]


def test_credit_passes_tool_output() -> None:
    """Own own tool tool own own, reward at the end, no discount: every own token has advantage 1."""
    own = [1, 1, 0, 0, 1, 1]
    assert gae([0, 0, 0, 0, 0, 1.0], [0.0] * 6, own) == [1, 1, 0, 0, 1, 1]


def test_gae_equals_the_sum_of_discounted_differences() -> None:
    """With values and discounts, each estimate is equation 16 written out over the own tokens."""
    own, values = [1, 0, 1, 1], [0.5, 9.0, 0.25, 0.75]
    gamma, lam = 0.9, 0.8
    deltas = [gamma * 0.25 - 0.5, gamma * 0.75 - 0.25, 1.0 - 0.75]
    expected = [sum((gamma * lam) ** (j - i) * deltas[j] for j in range(i, 3)) for i in range(3)]
    result = gae([0, 0, 0, 1.0], values, own, gamma=gamma, lam=lam)
    assert [result[0], result[2], result[3]] == pytest.approx(expected)
    assert result[1] == 0.0


@pytest.mark.torch
@pytest.mark.parametrize("rewards", [[1.0, 0.0], [0.0, 1.0, None, 0.0]])
def test_trl_computes_the_same_advantages(tmp_path: Path, rewards: list[float | None]) -> None:
    """RLOO and GRPO, with and without the deviation, agree with TRL's own trainers; an invalid rollout has 0 there."""
    for formula, batch in (
        (rloo, rloo_batch(tmp_path / "rloo", rewards)),
        (grpo, grpo_batch(tmp_path / "grpo", rewards)),
        (lambda groups: grpo(groups, scaled=True), grpo_batch(tmp_path / "scaled", rewards, scaled=True)),
    ):
        ours = [value or 0.0 for value in formula([rewards]).values[0]]
        assert batch["advantages"].tolist() == pytest.approx(ours, abs=1e-5)
