"""The critic learns returns from hidden states, and continues where it was stopped."""

import pytest

from sca_cli.training.critic import Critic, value_loss

pytestmark = pytest.mark.torch


def test_the_value_loss_by_hand() -> None:
    """Errors of 1 and 2: half of (1 + 4) / 2."""
    import torch

    assert value_loss(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])).item() == pytest.approx(1.25)


def test_the_critic_learns_which_states_pay_and_can_be_restored() -> None:
    """Two kinds of states with returns 0 and 1 get different values; a restored critic has the same values."""
    import torch

    torch.manual_seed(0)
    kinds = torch.randn(2, 32)
    hidden = kinds.repeat_interleave(8, 0) + 0.1 * torch.randn(16, 32)
    returns = torch.tensor([0.0, 1.0]).repeat_interleave(8)
    critic = Critic(32)
    first = critic.fit(hidden, returns)
    for _ in range(40):
        last = critic.fit(hidden, returns)
    assert first == pytest.approx(0.25)
    assert last < 0.01
    other = Critic(32)
    other.restore(critic.state())
    assert torch.equal(other.values(hidden), critic.values(hidden))
