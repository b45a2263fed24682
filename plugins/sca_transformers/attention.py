"""Attention of a ragged batch over slots: one mask rule for all passes, and no expansion of shared heads.

Registered with transformers under `NAME`. The stock `sdpa` path copies every key and value once per query
head when a mask is given (seven times for Qwen2.5-0.5B); here the query heads that share a key head are
folded into the query length instead, which computes the same thing.
"""

from typing import Any

import torch  # noqa: TID253  this module is imported inside the model's constructor

NAME = "sca_slots"


def causal_mask(positions: torch.Tensor, width: int) -> torch.Tensor:
    """Return which columns each query sees: those up to its own position.

    Args:
        positions: (rows, queries) column that each query token is written to.
        width: columns read, W.

    Returns:
        bool, (rows, 1, queries, W); True is visible.
    """
    columns = torch.arange(width, device=positions.device)
    return (columns <= positions[..., None])[:, None]


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend, in the form transformers calls it.

    Args:
        module: the attention layer; unused.
        query: (rows, query heads, queries, head width)
        key: (rows, key heads, columns, head width)
        value: like `key`
        attention_mask: what `causal_mask` returned.
        scaling: factor on the scores.
        sliding_window: columns a query sees at most, its own included.
        softcap: must be None.
        s_aux: must be None.

    Returns:
        (rows, queries, query heads, head width), and None for the weights.

    Raises:
        NotImplementedError: the architecture caps scores or has attention sinks.
    """
    del module
    if softcap is not None or s_aux is not None:
        raise NotImplementedError("score capping and attention sinks are not supported; use the vllm plugin")
    if sliding_window is not None:
        last = attention_mask.sum(-1, keepdim=True) - 1  # a causal row sees exactly the columns up to its own
        columns = torch.arange(key.shape[2], device=key.device)
        attention_mask = attention_mask & (columns > last - sliding_window)
    rows, heads, queries, width = query.shape
    groups = heads // key.shape[1]
    folded = query.reshape(rows, key.shape[1], groups * queries, width)
    mask = attention_mask if queries == 1 else attention_mask.repeat(1, 1, groups, 1)
    output = torch.nn.functional.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(rows, heads, queries, -1).transpose(1, 2).contiguous(), None


def register() -> None:
    """Make `attend` known to transformers; may be called again."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)  # never runs: a mask of four dimensions is taken as it is
