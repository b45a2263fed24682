"""The policy gradient of one batch of rollouts, on the prefix tree, for REINFORCE, RLOO, GRPO and PPO.

The algorithms differ in the advantages only. The loss of an own token is the clipped surrogate of PPO (Schulman et al.
2017, arXiv 1707.06347, equation 7), with a wider upper clip (DAPO, arXiv 2503.14476, equation 10), times the truncated
importance weight between trainer and sampler, plus an optional penalty on the distance to the reference. It is summed
over the own tokens of all rollouts that are kept, and divided by their number.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sca_cli.training.data import Example
from sca_cli.training.packing import Layout, Scores, layouts, scores
from sca_cli.training.trainer import Batch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class PolicyOptions:
    """Settings of the loss."""

    clip_low: float = 0.2
    clip_high: float = 0.28
    """A ratio outside [1 - clip_low, 1 + clip_high] has no gradient where it would grow further."""
    kl: float = 0.0
    """Weight of the distance to the model before training; 0: none."""
    max_weight: float = 2.0
    """Largest importance weight of a token."""


def clipped_loss(
    logprobs: "torch.Tensor", old: "torch.Tensor", advantages: "torch.Tensor", options: PolicyOptions
) -> "torch.Tensor":
    """Return the clipped surrogate of each token, as a loss.

    Args:
        logprobs: (t,) log-probability of each token under the policy, nats.
        old: (t,) the same before the first update on this batch.
        advantages: (t,)
        options: the range of the ratio.
    """
    import torch

    ratio = (logprobs - old).exp()
    limited = ratio.clamp(1 - options.clip_low, 1 + options.clip_high)
    return -torch.minimum(ratio * advantages, limited * advantages)


def k3(logprobs: "torch.Tensor", reference: "torch.Tensor") -> "torch.Tensor":
    """Return the estimate k3 of KL(policy, reference) for each token: (t,), nats, never negative.

    Source: Schulman 2020, "Approximating KL divergence"; DeepSeekMath (arXiv 2402.03300), equation 4.
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1


def importance(trainer: "torch.Tensor", sampler: "torch.Tensor", largest: float) -> "torch.Tensor":
    """Return importance weights, truncated from above: (t,). They correct for a sampler that differs from the policy.

    Source: Espeholt et al. 2018 (arXiv 1802.01561), section 4.1; Yao et al. 2025, "Your efficient RL framework secretly
    brings you off-policy RL training".

    Args:
        trainer: (t,) log-probability of each token as the trainer computes it, before the first update, nats.
        sampler: (t,) the same as the engine reported it.
        largest: the largest weight.
    """
    return (trainer - sampler).exp().clamp(max=largest)


@dataclass(frozen=True, slots=True)
class Sampled:
    """One token sequence of a rollout."""

    example: Example
    logprobs: Sequence[float]
    """Log-probability of each own token as the sampler reported it, nats; own tokens are those after the first token
    whose loss mask is 1."""


class PolicyBatch:
    """A batch of rollouts on which the policy is updated, once or several times.

    Args:
        sequences: the token sequences of the kept rollouts.
        max_tokens: most tokens in one forward pass.
        shared: the model computes trees.
        options: settings of the loss.
    """

    def __init__(self, sequences: Sequence[Sampled], max_tokens: int, *, shared: bool, options: PolicyOptions) -> None:
        import torch

        self._options = options
        self._layouts = list(layouts([one.example for one in sequences], max_tokens, shared=shared))
        self.sampler = torch.tensor([logprob for one in sequences for logprob in one.logprobs])
        """(t,) of all own tokens, in the order of the sequences."""
        self._starts = [0]
        for one in sequences:
            self._starts.append(self._starts[-1] + len(one.logprobs))
        self._records = [one.example.record for one in sequences]
        self._fresh = torch.ones(self.tokens)
        self.advantages = torch.zeros(self.tokens)
        """(t,) to be set before the first update."""
        self.old: torch.Tensor | None = None
        """(t,) log-probabilities before the first update; None: there is one update, which computes them itself."""
        self.reference: torch.Tensor | None = None
        """(t,) log-probabilities of the model before training; None: there is no penalty."""
        self.sums: dict[str, float] = {}
        """Sums over the own tokens of the latest update: entropy, kl, drift, clipped."""

    @property
    def tokens(self) -> int:
        """Number of own tokens."""
        return self._starts[-1]

    def own(self, index: int) -> slice:
        """Return where the own tokens of a sequence are in a (t,) tensor."""
        return slice(self._starts[index], self._starts[index + 1])

    def forget_drift(self, records: Container[str]) -> None:
        """Leave rollouts of earlier weights out of the drift: their sampler was another policy.

        Args:
            records: ids of these rollouts.
        """
        for index, record in enumerate(self._records):
            if record in records:
                self._fresh[self.own(index)] = 0.0

    def scored(self, model: Any, field: Callable[[Scores], "torch.Tensor"]) -> "torch.Tensor":
        """Compute a field of the model's `Scores` for all own tokens, without gradients; return (t, …), on the CPU."""
        import torch

        model.eval()
        parts: list[tuple[torch.Tensor, torch.Tensor]] = []
        with torch.no_grad():
            for layout in self._layouts:
                values = field(scores(model, layout.on(model.device))).cpu()
                parts.append((self._places(layout), values[layout.uses]))
        result = parts[0][1].new_zeros(self.tokens, *parts[0][1].shape[1:])
        for places, values in parts:
            result[places] = values
        return result

    def update(self) -> Batch:
        """Return the batch for one optimiser step."""
        self.sums = dict.fromkeys(("entropy", "kl", "drift", "clipped"), 0.0)
        return Batch(self._layouts, self._loss)

    def _loss(self, model: Any, layout: Layout) -> "torch.Tensor":
        places = self._places(layout)
        device = layout.targets.device
        predicted = scores(model, layout)
        logprobs = predicted.logprobs[layout.uses]
        frozen = logprobs.detach()
        old = frozen if self.old is None else self.old[places].to(device)
        advantages, sampler = self.advantages[places].to(device), self.sampler[places].to(device)
        weights = importance(old, sampler, self._options.max_weight)
        loss = clipped_loss(logprobs, old, advantages, self._options) * weights
        if self.reference is not None:
            # times the ratio, so that its gradient is that of the divergence (DeepSeek-V3.2, arXiv 2512.02556)
            distance = k3(logprobs, self.reference[places].to(device)) * (logprobs - old).exp()
            loss = loss + self._options.kl * distance
            self.sums["kl"] += float(distance.detach().sum())
        ratio = (frozen - old).exp()
        outside = (ratio < 1 - self._options.clip_low) | (ratio > 1 + self._options.clip_high)
        self.sums["entropy"] += float(predicted.entropy[layout.uses].sum())
        fresh = self._fresh[places].to(device)
        self.sums["drift"] += (
            float(((old - sampler).abs() * fresh).sum()) * self.tokens / max(self._fresh.sum().item(), 1)
        )
        self.sums["clipped"] += float(outside.sum())
        return loss.sum() / self.tokens

    def _places(self, layout: Layout) -> "torch.Tensor":
        """Return the index of each use of a layout in a (t,) tensor, on the CPU."""
        import torch

        owners = torch.unique_consecutive(layout.owners.cpu()).tolist()
        return torch.cat([torch.arange(self._starts[owner], self._starts[owner + 1]) for owner in owners])
