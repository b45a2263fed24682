"""Attention of a batch of rows with different lengths: one mask rule for all passes, and no copies of shared heads.

`register` adds it to transformers as `NAME`. With a mask, the `sdpa` attention of transformers copies every key and
value once per query head (seven times for Qwen2.5-0.5B). Here the query heads that share a key head are folded into
the query length instead; the result is the same.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253  this module is imported inside the model's constructor

NAME = "sca_slots"


@dataclass(slots=True)
class SharedPrefixes:
    """The prefixes that several rows of a forward pass share. Their keys and values are stored once, outside the
    slots.
    """

    order: torch.Tensor
    """(rows,) the rows of the pass, sorted so that rows with the same prefix are adjacent."""
    back: torch.Tensor
    """(rows,) the position of each row in `order`."""
    parts: list[tuple[int, list[torch.Tensor]]]
    """(number of rows, keys and values) of each prefix, see `Held.own`; [] for rows without a prefix."""


SHARED: ContextVar[SharedPrefixes | None] = ContextVar("sca_shared", default=None)
"""The shared prefixes of this thread's forward pass. It is no argument, because some architectures do not pass
arguments on.
"""


def causal_mask(positions: torch.Tensor, width: int) -> torch.Tensor:
    """Return the mask of the columns that each query sees: the columns up to its own position.

    Args:
        positions: (rows, queries) the column to which each query token is written.
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
        module: the attention layer; its `layer_idx` selects the keys and values of shared prefixes.
        query: (rows, query heads, queries, head width)
        key: (rows, key heads, columns, head width)
        value: same shape as `key`
        attention_mask: the result of `causal_mask`.
        scaling: factor of the scores; None: 1 / sqrt(head width).
        sliding_window: maximum number of columns that a query sees, including its own; None: no limit.
        softcap: must be None.
        s_aux: must be None.

    Returns:
        (rows, queries, query heads, head width), and None instead of attention weights.

    Raises:
        NotImplementedError: the architecture caps scores or has attention sinks.
    """
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
    if shared := SHARED.get():
        output = _attend_with_shared(folded, key, value, mask, scaling, shared, int(module.layer_idx))  # type: ignore[arg-type]
    else:
        output = torch.nn.functional.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    return output.reshape(rows, heads, queries, -1).transpose(1, 2).contiguous(), None


def _attend_with_shared(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    shared: SharedPrefixes,
    layer: int,
) -> torch.Tensor:
    """Attend to shared prefixes and to the rows' own columns, each with its own softmax; merge the outputs exactly.

    The softmax over both is the mean of the two outputs, each weighted by its sum of exponentials.

    Args:
        query: (rows, key heads, queries, head width)
        key: (rows, key heads, columns, head width)
        value: same shape as `key`
        mask: (rows, 1, queries or 1, columns); True is visible. Each query sees at least one column.
        scaling: factor of the scores; None: 1 / sqrt(head width).
        shared: the shared prefixes, which are before the columns.
        layer: number of the layer.

    Returns:
        same shape as `query`
    """
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    rows, heads, queries, width = query.shape
    bias = torch.zeros_like(mask, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
    own, own_sum = flash(query, key, value, attn_mask=bias, scale=scaling)
    outputs, sums = [], []
    ordered = query.transpose(0, 1).index_select(1, shared.order).flatten(1, 2)  # (heads, rows * queries, width)
    sizes = [count * queries for count, _ in shared.parts]
    for part, (_, held) in zip(ordered.split_with_sizes(sizes, 1), shared.parts, strict=True):
        if held:
            output, log_sum = flash(part[None], held[2 * layer][None], held[2 * layer + 1][None], scale=scaling)
        else:
            output, log_sum = part[None], part.new_full((1, *part.shape[:2]), float("-inf"), dtype=own_sum.dtype)
        outputs.append(output[0])
        sums.append(log_sum[0])
    before = torch.cat(outputs, 1).view(heads, rows, queries, width).index_select(1, shared.back).transpose(0, 1)
    before_sum = torch.cat(sums, 1).view(heads, rows, queries).index_select(1, shared.back).transpose(0, 1)
    weight = torch.sigmoid(before_sum - own_sum)[..., None]
    return torch.lerp(own, before, weight.to(own.dtype))


def register() -> None:
    """Register `attend` with transformers; may be called again."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)  # never runs: a 4-D mask is used unchanged
