"""Online training: roll out with the current weights, turn rewards into advantages, update, and again.

A round has one optimiser step, or a few with PPO. Rolling out belongs to the caller; `Online` gives it the weights
before each round.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sca_cli.records import JSON, Rollout
from sca_cli.training import ranks
from sca_cli.training.advantages import Advantages, Groups, gae, grpo, reinforce, rloo
from sca_cli.training.best import Best
from sca_cli.training.critic import Critic
from sca_cli.training.curriculum import Round
from sca_cli.training.data import Example
from sca_cli.training.policy import PolicyBatch, PolicyOptions, Sampled
from sca_cli.training.trainer import NO_UPDATE, Batch, Learner, NothingToTrain
from sca_cli.training.weights import merged_weights

if TYPE_CHECKING:
    import torch

OnlineAlgorithm = Literal["reinforce", "rloo", "grpo", "ppo"]

_BASELINES: dict[str, Callable[[Groups], Advantages]] = {"reinforce": reinforce, "rloo": rloo, "grpo": grpo}

_STATE = "online.pt"
"""File of a checkpoint with the state of the rounds."""

_LEAST_ENTROPY = 0.2
"""Share of the first round's entropy below which training stops: the policy has collapsed."""

_MOST_IDLE = 5
"""Rounds in a row without an update after which training stops; chosen by hand."""

_MOST_WITHOUT_VARIANCE = 0.8
"""Share of tasks without variance above which training stops, in two successive windows of rounds."""

_WINDOW = 32
"""Least tasks of a window. In a single round of 8 tasks the share is above 80 % by chance too often: in one round of
five, if there are 8 attempts and each passes with 5 %."""


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """Settings of online training."""

    algorithm: OnlineAlgorithm
    rounds: int = 30
    max_length: int = 4096
    """Longest sequence in tokens; a rollout with a longer one is left out."""
    batch_tokens: int = 4096
    """Most tokens in one forward pass."""
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    lam: float = 0.99
    """PPO: weight of later estimates, see `gae`."""
    warmup_rounds: int = 2
    """PPO: first rounds, which train the critic only."""
    validation_tasks: int = 0
    """Tasks that are kept out of training, to choose the weights by; 0: the last weights are kept."""
    validate_every: int = 5
    """Rounds between two validations."""

    @property
    def passes(self) -> int:
        """Optimiser steps of a round."""
        return 2 if self.algorithm == "ppo" else 1


class Online(Learner):
    """Learn from rollouts of the current weights.

    Args:
        options: the algorithm and its settings.
        roll: (number of the round, weights by name) → rollouts of the round.
        report: called after the rollouts of each round with its figures.
        validate: weights by name → reward on the validation tasks; None: there are none.
    """

    def __init__(
        self,
        options: OnlineOptions,
        roll: "Callable[[int, Iterator[tuple[str, torch.Tensor]]], Round]",
        report: Callable[[dict[str, float]], None] = lambda _: None,
        validate: "Callable[[Iterator[tuple[str, torch.Tensor]]], float] | None" = None,
    ) -> None:
        self._options, self._roll, self._report = options, roll, report
        self._best = Best(validate, options.validate_every)
        self.items = range(options.rounds * options.passes)
        self.longest, self.highest = options.max_length, 0
        self.metrics = {}
        self.rounds: list[dict[str, float]] = []
        """Figures of each round."""
        self.data: list[str] = []
        """Ids of the rollouts that were trained on."""
        self._shared = False
        self._batch: PolicyBatch | None = None
        self._critic: Critic | None = None

    def begin(self, model: Any, *, shared: bool) -> None:
        self._shared = shared
        if self._options.algorithm == "ppo":
            self._critic = Critic(model.config.get_text_config().hidden_size)

    def batch(self, model: Any, items: Sequence[int]) -> Batch:
        number, update = divmod(items[0], self._options.passes)
        if update == 0:
            validation = ranks.from_first(lambda: self._best.before_round(model, number))
            self._batch = self._round(model, number)
            self._note(validation)
        return self._batch.update() if self._batch else NO_UPDATE

    def gather(self) -> None:
        if self._batch is not None:
            self._batch.sums = ranks.summed(self._batch.sums)

    def end_of_step(self) -> str:
        if self._batch is not None:
            self._note_update()
            entropies = [one["entropy"] for one in self.rounds if "entropy" in one]
            if entropies[-1] < _LEAST_ENTROPY * entropies[0]:
                return f"the entropy fell from {entropies[0]:.3f} to {entropies[-1]:.3f}: the policy has collapsed"
        if share := self._without_variance():
            return f"{share:.0%} of the latest tasks had no variance: their attempts all passed or all failed"
        idle = 0
        for one in reversed(self.rounds):
            if one["kept"]:
                break
            idle += 1
        if idle < _MOST_IDLE:
            return ""
        reason = f"{idle} rounds in a row had no task with both passes and fails"
        if idle == len(self.rounds):
            rate = sum(one["reward"] for one in self.rounds) / idle
            hint = "easier tasks, more --attempts, or first --on solutions" if rate < 0.5 else "harder tasks"
            raise NothingToTrain(f"nothing to learn from: {reason} (pass rate {rate:.0%})", hint)
        return reason

    def end(self, model: Any) -> None:
        ranks.from_first(lambda: self._best.after_training(model, len(self.rounds)))

    @property
    def validations(self) -> dict[str, JSON]:
        """The rewards on the validation tasks, and the round after which the weights were kept."""
        return self._best.summary()

    def save(self, directory: Path) -> None:
        import torch

        critic = self._critic.state() if self._critic else None
        best = self._best.save(directory.parent)
        torch.save({"rounds": self.rounds, "data": self.data, "critic": critic, "best": best}, directory / _STATE)

    def load(self, directory: Path) -> None:
        import torch

        state = torch.load(directory / _STATE, weights_only=True)
        self.rounds, self.data = state["rounds"], state["data"]
        self._best.load(directory.parent, state.get("best"))
        if self._critic:
            self._critic.restore(state["critic"])

    def summary(self) -> dict[str, JSON]:
        """Return the figures of all rounds: name → one value a round."""
        names = dict.fromkeys(name for one in self.rounds for name in one)
        return {name: [round(one[name], 4) if name in one else None for one in self.rounds] for name in names}

    def _without_variance(self) -> float:
        """Return the share of tasks without variance if it is too high in both latest windows, else 0.

        Only where such tasks are left out of the update.
        """
        if self._options.algorithm not in ("rloo", "grpo"):
            return 0.0
        shares: list[float] = []
        groups = dropped = 0.0
        for one in reversed(self.rounds):
            groups, dropped = groups + one["groups"], dropped + one["dropped"]
            if groups >= _WINDOW:
                shares.append(dropped / groups)
                groups = dropped = 0.0
            if len(shares) == 2:
                return shares[0] if min(shares) > _MOST_WITHOUT_VARIANCE else 0.0
        return 0.0

    # ------------------------------------------------------------ one round

    def _round(self, model: Any, number: int) -> PolicyBatch | None:
        """Roll out, and prepare the updates of the round; None: there is nothing to learn."""
        rolled = ranks.from_first(lambda: self._roll(number, merged_weights(model)))
        groups = [[*group.rollouts, *group.earlier] for group in rolled.groups]
        rewards = [[self._reward(rollout) for rollout in group] for group in groups]
        flat = [self._reward(rollout) for rollout in rolled.attempts]
        valid = [reward for reward in flat if reward is not None]
        figures = {
            "round": float(number),
            "reward": math.fsum(valid) / len(valid) if valid else 0.0,
            "invalid": (len(flat) - len(valid)) / max(len(flat), 1),
            "length": _mean_length(rolled.attempts),
        }
        if self._critic:
            batch, dropped, kept = self._with_critic(model, groups, rewards, number, figures)
        else:
            advantages = _BASELINES[self._options.algorithm](rewards)
            batch, dropped, kept = self._with_baseline(groups, advantages), advantages.dropped, advantages.kept
        figures |= {"groups": float(len(groups)), "dropped": float(dropped), "kept": float(kept)} | rolled.figures
        if batch is not None:
            batch.forget_drift({rollout.id for group in rolled.groups for rollout in group.earlier})
            self._look_back(model, batch)
        self.rounds.append(figures)
        self.metrics = dict(figures)
        self._report(figures)
        return batch

    def _note(self, validation: float | None) -> None:
        if validation is not None:
            self.rounds[-1]["validation"] = self.metrics["validation"] = validation

    def _reward(self, rollout: Rollout) -> float | None:
        """Return the reward; None: the rollout is invalid, has no tokens, or is too long."""
        if rollout.error is not None or not rollout.segments:
            return None
        if max(len(segment.token_ids) for segment in rollout.segments) > self._options.max_length:
            return None
        return rollout.reward

    def _with_baseline(self, groups: list[list[Rollout]], advantages: Advantages) -> PolicyBatch | None:
        kept = [
            (rollout, advantage)
            for group, values in zip(groups, advantages.values, strict=True)
            for rollout, advantage in zip(group, values, strict=True)
            if advantage is not None
        ]
        if not kept:
            return None
        batch, sequences = self._policy_batch([rollout for rollout, _ in kept])
        for (_, advantage), places in zip(kept, sequences, strict=True):
            for place in places:
                batch.advantages[batch.own(place)] = advantage
        return batch

    def _with_critic(
        self,
        model: Any,
        groups: list[list[Rollout]],
        rewards: list[list[float | None]],
        number: int,
        figures: dict[str, float],
    ) -> tuple[PolicyBatch | None, int, int]:
        """Estimate advantages by the critic, and train the critic on the returns.

        Returns:
            the batch; the groups without variance, which are kept; the rollouts that are kept.
        """
        import torch

        assert self._critic is not None
        kept = [
            (rollout, reward)
            for group, values in zip(groups, rewards, strict=True)
            for rollout, reward in zip(group, values, strict=True)
            if reward is not None
        ]
        if not kept:
            return None, len(groups), 0
        batch, sequences = self._policy_batch([rollout for rollout, _ in kept])
        hidden = batch.scored(model, lambda predicted: predicted.hidden)
        with torch.no_grad():
            values = self._critic.values(hidden)
        returns = torch.zeros(batch.tokens)
        for (_, reward), places in zip(kept, sequences, strict=True):
            # the own tokens of all sequences of a rollout are one trajectory
            own = slice(batch.own(places[0]).start, batch.own(places[-1]).stop)
            count = own.stop - own.start
            steps = [0.0] * (count - 1) + [reward]
            estimates = gae(steps, values[own].tolist(), [1] * count, lam=self._options.lam)
            batch.advantages[own] = torch.tensor(estimates)
            returns[own] = batch.advantages[own] + values[own]
        with torch.enable_grad():
            figures["value_loss"] = self._critic.fit(hidden, returns)
        # whitened over the batch, as in "The 37 implementation details of PPO" (Huang et al. 2022), detail 7
        batch.advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
        dropped = rloo(rewards).dropped
        if len({reward for _, reward in kept}) == 1:  # the differences are the critic's errors only
            return None, dropped, 0
        return (None if number < self._options.warmup_rounds else batch), dropped, len(kept)

    def _policy_batch(self, rollouts: list[Rollout]) -> tuple[PolicyBatch, list[list[int]]]:
        """Return the batch, and for each rollout the places of its sequences in it."""
        sequences: list[Sampled] = []
        places: list[list[int]] = []
        for rollout in rollouts:
            own = [_sampled(rollout, index) for index in range(len(rollout.segments))]
            places.append(list(range(len(sequences), len(sequences) + len(own))))
            sequences += own
        self.data += [rollout.id for rollout in rollouts]
        options = self._options
        return PolicyBatch(sequences, options.batch_tokens, shared=self._shared, options=options.policy), places

    def _look_back(self, model: Any, batch: PolicyBatch) -> None:
        """Compute the log-probabilities that the updates compare with."""
        if self._options.passes > 1:
            batch.old = batch.scored(model, lambda predicted: predicted.logprobs)
        if self._options.policy.kl:
            with model.disable_adapter():
                batch.reference = batch.scored(model, lambda predicted: predicted.logprobs)

    def _note_update(self) -> None:
        """Add the figures of the latest update to those of its round."""
        assert self._batch is not None
        means = {name: total / self._batch.tokens for name, total in self._batch.sums.items()}
        self.rounds[-1] |= means
        self.metrics |= means


def _mean_length(rollouts: Sequence[Rollout]) -> float:
    """Return the mean number of own tokens of the rollouts that have tokens."""
    lengths = [sum(sum(segment.loss_mask) for segment in rollout.segments) for rollout in rollouts if rollout.segments]
    return sum(lengths) / len(lengths) if lengths else 0.0


def _sampled(rollout: Rollout, index: int) -> Sampled:
    segment = rollout.segments[index]
    example = Example(segment.token_ids, segment.loss_mask, rollout.task.id, rollout.id, rollout.outcome)
    own = [logprob for counts, logprob in zip(segment.loss_mask[1:], segment.logprobs[1:], strict=True) if counts]
    return Sampled(example, own)
