"""Sample tokens from logits; each row has its own temperature, nucleus (top-p) and random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch  # noqa: TID253  this module is imported inside the model's constructor

_NUCLEUS_GUESS = 512
"""Number of most likely tokens searched first for the nucleus, because that is cheaper than sorting the vocabulary.

Chosen by hand. If their probability is less than `top_p`, the whole vocabulary is sorted.
"""


@dataclass(slots=True)
class Dice:
    """Sampling parameters and random generator of one row; the other rows do not affect its random numbers."""

    temperature: float
    top_p: float
    generator: torch.Generator


def dice(temperature: float, top_p: float, seed: int) -> Dice:
    """Return the sampling state of a row; the same seed gives the same random numbers."""
    return Dice(temperature, top_p, torch.Generator().manual_seed(seed & (2**63 - 1)))


def choose(logits: torch.Tensor, rows: Sequence[Dice]) -> tuple[list[int], list[float]]:
    """Choose a token for each row: the most likely one at temperature 0, else a random one.

    Args:
        logits: (rows, vocabulary), the model's output, any float type.
        rows: sampling state of each row.

    Returns:
        Token ids, and the log-probability of each in nats, at temperature 1 over the whole vocabulary.
    """
    logits = logits.float()
    sampled = [index for index, row in enumerate(rows) if row.temperature > 0]
    if len(sampled) == len(rows):
        chosen = _sample(logits, rows)
    else:
        chosen = logits.argmax(-1)
        if sampled:
            chosen[sampled] = _sample(logits[sampled], [rows[index] for index in sampled])
    logprobs = logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
    return chosen.tolist(), logprobs.tolist()


def _sample(logits: torch.Tensor, rows: Sequence[Dice]) -> torch.Tensor:
    device = logits.device
    temperatures = torch.tensor([row.temperature for row in rows], device=device)
    uniforms = torch.cat([torch.rand(1, generator=row.generator) for row in rows]).to(device)
    probabilities = torch.softmax(logits / temperatures[:, None], -1)
    if all(row.top_p >= 1 for row in rows):
        return _invert(probabilities, uniforms)
    return _invert_nucleus(probabilities, torch.tensor([row.top_p for row in rows], device=device), uniforms)


def _invert(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Sample an index for each row by inverting its cumulative weights.

    Args:
        weights: (rows, n), not negative, any sum above 0.
        uniforms: (rows,) random numbers in [0, 1).

    Returns:
        (rows,) the first index whose cumulative weight exceeds the random number times the row's sum.
    """
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    # The product may round up to the total, which no cumulative weight exceeds.
    targets = torch.minimum(uniforms * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, targets[:, None], right=True)[:, 0]


def _invert_nucleus(probabilities: torch.Tensor, top_p: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """Sample from the smallest set of tokens whose probabilities add up to at least `top_p`."""
    values, tokens = probabilities.topk(min(_NUCLEUS_GUESS, probabilities.shape[-1]))
    if bool((values.sum(-1) < top_p).any()):
        values, tokens = probabilities.sort(descending=True)
    before = values.cumsum(-1) - values
    before[:, 0] = -1.0  # the most likely token always stays in the nucleus
    nucleus = values.masked_fill(before >= top_p[:, None], 0.0)
    return tokens.gather(-1, _invert(nucleus, uniforms)[:, None])[:, 0]
