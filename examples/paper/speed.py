"""Estimate from the hardware's limits how long an A100-80G needs for a language model's work.

Every constant names its source. Times are for a GPU that is always busy, without loading models or waiting for tools.
"""

import re
from dataclasses import dataclass

from lengths import Prompt

# One A100-80G SXM, from NVIDIA's data sheet
PEAK_FLOPS = 312e12
"""Dense bfloat16 operations a second."""
MEMORY_BYTES, MEMORY_BYTES_S = 80e9, 2.039e12
"""Size of the memory, and bytes that can be read in a second."""
# Shares of these limits that engines reach; assumed, not measured
PREFILL_SHARE = 0.5
"""Share of PEAK_FLOPS while reading, which is large matrix products."""
DECODE_SHARE = 0.6
"""Share of MEMORY_BYTES_S while writing; each step reads all weights and the keys and values of the whole batch."""
TRAIN_SHARE = 0.35
"""Share of PEAK_FLOPS while training."""
USED_MEMORY = 0.9
"""Share of the memory that vLLM uses by default."""

KV_BYTES = {8: 32 * 2 * 8 * 128 * 2, 70: 80 * 2 * 8 * 128 * 2}
"""Billions of weights → cache bytes of a token: layers * (keys, values) * heads * width * 2 bytes (Llama 3.1)."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a model."""

    requests: float = 0
    read: float = 0
    """Tokens that the model reads in all requests."""
    fresh: float = 0
    """Tokens of these that are not in the prefix cache."""
    written: float = 0
    """Tokens that the model writes."""

    def __mul__(self, times: float) -> "Work":
        return Work(self.requests * times, self.read * times, self.fresh * times, self.written * times)

    def __add__(self, more: "Work") -> "Work":
        return Work(
            self.requests + more.requests, self.read + more.read, self.fresh + more.fresh, self.written + more.written
        )


def conversation(opening: Prompt, turns: float, reply: float, answer: float) -> Work:
    """Return the work of one conversation.

    Each turn reads the whole conversation so far. The prefix cache holds all of it except the last answer.

    Args:
        opening: the first prompt.
        turns: number of the model's replies.
        reply: tokens of a reply of the model.
        answer: tokens that follow a reply: a result or a customer's message.
    """
    history = (reply + answer) * turns * (turns - 1) / 2
    return Work(turns, turns * opening.tokens + history, opening.fresh + answer * (turns - 1), turns * reply)


def billions(model: str) -> float:
    """Return the number of weights in billions that is part of a model's name.

    Raises:
        ValueError: the name does not contain a size.
    """
    match = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z])", model.lower())
    if not match:
        raise ValueError(f"the name '{model}' does not contain a size, as in Llama-3.1-8B-Instruct")
    return float(match[1])


def nearest[T](table: dict[int, T], size: float) -> T:
    """Return the table's entry for the most similar size."""
    return table[min(table, key=lambda known: abs(known - size))]


def gpus_needed(size: float) -> int:
    """Return the number of GPUs, a power of two, for a model's weights plus a quarter of their size for the cache."""
    gpus = 1
    while gpus * USED_MEMORY * MEMORY_BYTES < 1.25 * 2e9 * size:
        gpus *= 2
    return gpus


def gpu_seconds(work: Work, model: str, batch: float) -> float:
    """Return the GPU seconds of a model's work.

    Args:
        work: the work.
        model: the model's name, see `billions`.
        batch: conversations at once on each copy of the model; memory may allow fewer.
    """
    if not work.requests:
        return 0.0
    size = billions(model)
    weights, gpus = 2e9 * size, gpus_needed(size)
    context = (work.read + work.written / 2) / work.requests
    cache_bytes = context * nearest(KV_BYTES, size)
    batch = max(1.0, min(batch, (USED_MEMORY * MEMORY_BYTES * gpus - weights) / cache_bytes))
    flops_a_token = 2e9 * size
    step_s = max(
        (weights + batch * cache_bytes) / (MEMORY_BYTES_S * DECODE_SHARE * gpus),
        batch * flops_a_token / (PEAK_FLOPS * PREFILL_SHARE * gpus),
    )
    return work.fresh * flops_a_token / (PEAK_FLOPS * PREFILL_SHARE) + work.written * step_s * gpus / batch


def train_seconds(model: str, tokens: float) -> float:
    """Return the GPU seconds of training: 6 operations for each weight and token (LoRA needs somewhat fewer)."""
    return 6e9 * billions(model) * tokens / (PEAK_FLOPS * TRAIN_SHARE)
