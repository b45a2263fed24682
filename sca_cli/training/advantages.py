"""Turn the rewards of rollouts into advantages: how much better each was than could be expected.

Pure arithmetic, without torch. A reward is None if the rollout is invalid: it counts in no mean and gets no advantage.
The rollouts of one task are a group. With a baseline from its own group, a group whose rewards are all equal has no
advantages; it is left out of the update and counted.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

type Reward = float | None
"""The reward of one rollout; None: the rollout is invalid."""

type Groups = Sequence[Sequence[Reward]]
"""The rewards of the rollouts, grouped by task."""


@dataclass(frozen=True, slots=True)
class Advantages:
    """The advantages of a batch of rollouts."""

    values: list[list[float | None]]
    """The advantage of each rollout, in groups as the rewards; None: the rollout is left out of the update."""
    dropped: int
    """Number of groups left out because their rewards are all equal, or fewer than two are valid."""

    @property
    def kept(self) -> int:
        """Number of rollouts with an advantage."""
        return sum(value is not None for group in self.values for value in group)


def reinforce(rewards: Groups) -> Advantages:
    """Subtract the mean reward of the batch.

    Source: Williams 1992, "Simple statistical gradient-following algorithms", section 4 (reinforcement baseline).
    The baseline is that of all tasks together, so a group with equal rewards still has advantages. If all rewards of
    the batch are equal, every group is dropped.

    Args:
        rewards: the rewards of each group.
    """
    valid = [reward for group in rewards for reward in group if reward is not None]
    if not _vary(valid):
        return Advantages([[None] * len(group) for group in rewards], len(rewards))
    mean = math.fsum(valid) / len(valid)
    values = [[None if reward is None else reward - mean for reward in group] for group in rewards]
    return Advantages(values, sum(all(reward is None for reward in group) for group in rewards))


def rloo(rewards: Groups) -> Advantages:
    """Subtract the mean reward of the other rollouts of the group.

    Source: Ahmadian et al. 2024 (arXiv 2402.14740), equation 8: A_i = r_i - 1/(k-1) sum over j≠i of r_j.

    Args:
        rewards: the rewards of each group.
    """

    def leave_one_out(reward: float, valid: Sequence[float]) -> float:
        return reward - (math.fsum(valid) - reward) / (len(valid) - 1)

    return _by_group(rewards, leave_one_out)


def grpo(rewards: Groups, *, scaled: bool = False) -> Advantages:
    """Subtract the mean reward of the group.

    Source: Shao et al. 2024 (arXiv 2402.03300), section 4.1.2: A_i = (r_i - mean) / std. By default the deviation does
    not divide: Liu et al. 2025 (arXiv 2503.20783) show that it overweights tasks that are nearly always, or nearly
    never, solved. 1e-4 is added to the deviation, as in TRL.

    Args:
        rewards: the rewards of each group.
        scaled: divide by the group's standard deviation (unbiased).
    """

    def relative(reward: float, valid: Sequence[float]) -> float:
        mean = math.fsum(valid) / len(valid)
        if not scaled:
            return reward - mean
        deviation = math.sqrt(math.fsum((other - mean) ** 2 for other in valid) / (len(valid) - 1))
        return (reward - mean) / (deviation + 1e-4)

    return _by_group(rewards, relative)


def gae(
    rewards: Sequence[float], values: Sequence[float], own: Sequence[int], *, gamma: float = 1.0, lam: float = 1.0
) -> list[float]:
    """Return generalised advantage estimates over the model's own tokens.

    Source: Schulman et al. 2016 (arXiv 1506.02438), equation 16. Only own tokens are actions: the state after one is
    the state before the next one, whatever the tools wrote between. Tool output is therefore no transition, and does
    not interrupt the credit for what was written before it.

    Args:
        rewards: reward after each token; n values.
        values: value of the state before each token; n values. Those of other tokens are not read.
        own: 1 for a token that the model sampled, else 0; n values.
        gamma: discount for one own token.
        lam: weight of later estimates: 0 is one step, 1 is the complete return.

    Returns:
        the advantage of each token; 0.0 for tokens that are not the model's own. Advantage plus value is the return.
    """
    advantages = [0.0] * len(own)
    advantage = next_value = 0.0
    for place in reversed(range(len(own))):
        if own[place]:
            delta = rewards[place] + gamma * next_value - values[place]
            advantage = delta + gamma * lam * advantage
            advantages[place] = advantage
            next_value = values[place]
    return advantages


def _by_group(rewards: Groups, advantage: Callable[[float, Sequence[float]], float]) -> Advantages:
    """Compute advantages in each group; drop the groups whose rewards do not vary.

    Args:
        rewards: the rewards of each group.
        advantage: returns the advantage of a reward among the valid rewards of its group.
    """
    values: list[list[float | None]] = []
    dropped = 0
    for group in rewards:
        valid = [reward for reward in group if reward is not None]
        if _vary(valid):
            values.append([None if reward is None else advantage(reward, valid) for reward in group])
        else:
            values.append([None] * len(group))
            dropped += 1
    return Advantages(values, dropped)


def _vary(rewards: Sequence[float]) -> bool:
    return len(set(rewards)) > 1
