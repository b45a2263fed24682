"""From logits to tokens, each row with its own temperature, nucleus and random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch  # noqa: TID253  this module is imported inside the model's constructor

_NUCLEUS_GUESS = 512
"""Tokens looked at first for a nucleus: finding them is far cheaper than sorting a vocabulary."""


@dataclass(slots=True)
class Dice:
    """One row's way of choosing. Its random numbers do not depend on the rows beside it."""

    temperature: float
    top_p: float
    generator: torch.Generator


def dice(temperature: float, top_p: float, seed: int) -> Dice:
    """Return a row's dice; the same seed gives the same random numbers."""
    return Dice(temperature, top_p, torch.Generator().manual_seed(seed & (2**63 - 1)))


def choose(logits: torch.Tensor, rows: Sequence[Dice]) -> tuple[list[int], list[float]]:
    """Choose a token for each row.

    Args:
        logits: (rows, vocabulary) as the model gives them, any float type.
        rows: one entry a row.

    Returns:
        Token ids, and the natural-log probability of each at temperature 1 over the whole vocabulary.
    """
    logits = logits.float()
    warm = [index for index, row in enumerate(rows) if row.temperature > 0]
    if len(warm) == len(rows):
        chosen = _throw(logits, rows)
    else:
        chosen = logits.argmax(-1)
        if warm:
            chosen[warm] = _throw(logits[warm], [rows[index] for index in warm])
    logprobs = logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
    return chosen.tolist(), logprobs.tolist()


def _throw(logits: torch.Tensor, rows: Sequence[Dice]) -> torch.Tensor:
    device = logits.device
    temperatures = torch.tensor([row.temperature for row in rows], device=device)
    throws = torch.cat([torch.rand(1, generator=row.generator) for row in rows]).to(device)
    probabilities = torch.softmax(logits / temperatures[:, None], -1)
    if all(row.top_p >= 1 for row in rows):
        return _invert(probabilities, throws)
    return _invert_nucleus(probabilities, torch.tensor([row.top_p for row in rows], device=device), throws)


def _invert(weights: torch.Tensor, throws: torch.Tensor) -> torch.Tensor:
    """Return the index at which each row's cumulative weight passes its throw, a share of the total."""
    cumulative = weights.cumsum(-1)
    total = cumulative[:, -1]
    aims = torch.minimum(throws * total, torch.nextafter(total, torch.zeros_like(total)))  # the product may round up
    return torch.searchsorted(cumulative, aims[:, None], right=True)[:, 0]


def _invert_nucleus(probabilities: torch.Tensor, top_p: torch.Tensor, throws: torch.Tensor) -> torch.Tensor:
    """Invert over the smallest set of tokens whose probability reaches `top_p`."""
    values, tokens = probabilities.topk(min(_NUCLEUS_GUESS, probabilities.shape[-1]))
    if bool((values.sum(-1) < top_p).any()):
        values, tokens = probabilities.sort(descending=True)
    before = values.cumsum(-1) - values
    before[:, 0] = -1.0  # the likeliest token stays, whatever the nucleus
    kept = values.masked_fill(before >= top_p[:, None], 0.0)
    return tokens.gather(-1, _invert(kept, throws)[:, None])[:, 0]
