"""How long an A100-80G is busy with a language model's work, derived from what the hardware can do.

Every constant says where it is from. Seconds are of a GPU that is kept busy: no loading, no waiting for tools.
"""

import re
from dataclasses import dataclass

from lengths import Prompt

# One A100-80G SXM, from NVIDIA's data sheet
PEAK_FLOPS = 312e12
"""bfloat16, dense."""
MEMORY_BYTES, MEMORY_BYTES_S = 80e9, 2.039e12
# Shares of it that engines reach: assumed, not measured here
PREFILL_SHARE = 0.5
"""Of PEAK_FLOPS while reading: large matrix products."""
DECODE_SHARE = 0.6
"""Of MEMORY_BYTES_S while writing: every step reads all weights and the keys and values of the whole batch."""
TRAIN_SHARE = 0.35
"""Of PEAK_FLOPS while training."""
USED_MEMORY = 0.9
"""vLLM's default share."""

KV_BYTES = {8: 32 * 2 * 8 * 128 * 2, 70: 80 * 2 * 8 * 128 * 2}
"""Billions of weights → bytes a token: layers, keys and values, heads, elements, bytes each (Llama 3.1)."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a model does: requests, tokens it reads over all of them, those no cache holds, tokens it writes."""

    requests: float = 0
    read: float = 0
    fresh: float = 0
    written: float = 0

    def __mul__(self, times: float) -> "Work":
        return Work(self.requests * times, self.read * times, self.fresh * times, self.written * times)

    def __add__(self, more: "Work") -> "Work":
        return Work(
            self.requests + more.requests, self.read + more.read, self.fresh + more.fresh, self.written + more.written
        )


def conversation(opening: Prompt, turns: float, reply: float, heard: float) -> Work:
    """Return the work of one conversation: a turn reads all before it, of which only what was heard is not cached."""
    grown = (reply + heard) * turns * (turns - 1) / 2
    return Work(turns, turns * opening.tokens + grown, opening.fresh + heard * (turns - 1), turns * reply)


def billions(model: str) -> float:
    """Return the size that a model's name tells.

    Raises:
        ValueError: it tells none.
    """
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z])", model.lower())
    if not found:
        raise ValueError(f"'{model}' does not tell its size: name a model as in Llama-3.1-8B-Instruct")
    return float(found[1])


def nearest[T](table: dict[int, T], size: float) -> T:
    """Return the entry for the size nearest to the one given."""
    return table[min(table, key=lambda known: abs(known - size))]


def gpus_needed(size: float) -> int:
    """Return how many GPUs hold a model and as much again as a quarter of it for keys and values: a power of two."""
    gpus = 1
    while gpus * USED_MEMORY * MEMORY_BYTES < 1.25 * 2e9 * size:
        gpus *= 2
    return gpus


def gpu_seconds(work: Work, model: str, batch: float) -> float:
    """Return the GPU seconds of a model's work.

    Args:
        batch: conversations at once on each copy of the model; memory may allow fewer.
    """
    if not work.requests:
        return 0.0
    size = billions(model)
    weights, gpus = 2e9 * size, gpus_needed(size)
    context = (work.read + work.written / 2) / work.requests
    held = context * nearest(KV_BYTES, size)
    batch = max(1.0, min(batch, (USED_MEMORY * MEMORY_BYTES * gpus - weights) / held))
    flops_a_token = 2e9 * size
    step_s = max(
        (weights + batch * held) / (MEMORY_BYTES_S * DECODE_SHARE * gpus),
        batch * flops_a_token / (PEAK_FLOPS * PREFILL_SHARE * gpus),
    )
    return work.fresh * flops_a_token / (PEAK_FLOPS * PREFILL_SHARE) + work.written * step_s * gpus / batch


def train_seconds(model: str, tokens: float) -> float:
    """Return the GPU seconds of training on tokens: 6 operations a weight and token, with LoRA somewhat fewer."""
    return 6e9 * billions(model) * tokens / (PEAK_FLOPS * TRAIN_SHARE)
