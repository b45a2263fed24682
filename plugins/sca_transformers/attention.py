"""Attention of a batch of rows with different lengths: one mask rule for all passes, and no copies of shared heads.

`register` adds it to transformers as `NAME`. With a mask, the `sdpa` attention of transformers copies every key and
value once per query head (seven times for Qwen2.5-0.5B). Here the query heads that share a key head are folded into
the query length instead; the result is the same.
"""

from typing import Any

import torch  # noqa: TID253  this module is imported inside the model's constructor

NAME = "sca_slots"


def causal_mask(positions: torch.Tensor, width: int) -> torch.Tensor:
    """Return the mask of the columns that each query sees: the columns up to its own position.

    Args:
        positions: (rows, queries) column that each query token is written to.
        width: number of columns that are read, W.

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
    """Compute attention; transformers calls this function.

    Args:
        module: the attention layer; unused.
        query: (rows, query heads, queries, head width)
        key: (rows, key heads, columns, head width)
        value: like `key`
        attention_mask: the result of `causal_mask`.
        scaling: factor on the scores.
        sliding_window: most columns that a query sees, its own included.
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
    """Register `attend` with transformers; may be called again."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)  # never runs: a 4-D mask is used unchanged
