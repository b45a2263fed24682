"""Lay out a batch so that common prefixes are computed once: as a prefix tree in one sequence.

Rollouts of one environment share a long prompt, and samples of one task share even more. The layout is the prefix tree
of the examples of a batch, with its branches one after the other. Each token attends only to its own ancestors, and its
position is its depth in the tree. Every example therefore has the same context as alone. Losses and gradients equal
those of the padded batch up to rounding, with far fewer tokens and no padding.

A model whose layers mix positions in another way than plain attention (state space, sliding window, soft capping)
cannot compute a tree. For such a model the layout is padded rows. `sft` tests with a small batch whether a model can
compute trees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from sca_cli.training.data import Example


ATTENTION = "sca_tree"
"""The name under which `tree_attention` is registered in transformers."""

_SHORT = 1 << 18
"""`_attend_short` is used if (own tokens of a branch) * (tokens of its path) is at most this: 0.5 MB of scores per
head.
"""

type Branch = tuple[torch.Tensor, int]
"""The columns from the root to the end of the branch (k,), and the number of tokens that only this branch adds: they
are the last ones."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One forward pass. b: rows, n: tokens a row, c: columns whose logits are needed, m: predictions."""

    input_ids: "torch.Tensor"  # (b, n)
    position_ids: "torch.Tensor | None"  # (b, n); None: 0, 1, 2, … along each row
    attends: "torch.Tensor | None"  # (b, n) bool, False for padding; None for a tree
    branches: "tuple[Branch, ...]"  # the branches of a tree; () for rows
    columns: "torch.Tensor"  # (c,) ascending
    rows: "torch.Tensor"  # (m,) row of each prediction
    picks: "torch.Tensor"  # (m,) index into columns of each prediction
    targets: "torch.Tensor"  # (m,) token id to be predicted
    weights: "torch.Tensor"  # (m,) float32: number of examples that contain this prediction

    @property
    def tokens(self) -> int:
        """Number of tokens that the model computes, padding included."""
        return self.input_ids.numel()

    def on(self, device: Any) -> "Layout":
        """Return the layout with its tensors on `device`."""
        names = ("input_ids", "position_ids", "attends", "columns", "rows", "picks", "targets", "weights")
        tensors = {name: getattr(self, name) for name in names}
        moved: dict[str, Any] = {
            name: None if tensor is None else tensor.to(device) for name, tensor in tensors.items()
        }
        return Layout(**moved, branches=tuple((path.to(device), own) for path, own in self.branches))


def tree_attention(
    module: Any,  # noqa: ARG001  the interface's
    query: "torch.Tensor",  # (1, heads, n, d)
    key: "torch.Tensor",  # (1, key heads, n, d)
    value: "torch.Tensor",  # (1, key heads, n, d)
    attention_mask: None,  # noqa: ARG001  the interface's
    *,
    sca_branches: "tuple[Branch, ...]",
    scaling: float | None = None,
    **others: Any,  # noqa: ARG001  the interface's
) -> "tuple[torch.Tensor, None]":
    """Compute attention branch by branch, each over its own path: an attention function for transformers.

    Returns:
        the output (1, n, heads, d), and None in place of attention weights.
    """
    import torch

    parts = []
    start = 0
    for path, own in sca_branches:
        branch = query[:, :, start : start + own]
        attend = _attend_short if len(path) > own and own * len(path) <= _SHORT else _attend_long
        parts.append(attend(branch, key[:, :, path], value[:, :, path], scaling))
        start += own
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend_long(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", scaling: float | None
) -> "torch.Tensor":
    """Attend causally by torch's kernel, which keeps no scores: (1, heads, own, d)."""
    import torch

    own, length = query.shape[2], key.shape[2]
    repeats = query.shape[1] // key.shape[1]
    mask = torch.ones(own, length, dtype=torch.bool, device=query.device).tril(length - own)
    return torch.nn.functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(repeats, 1),
        value.repeat_interleave(repeats, 1),
        attn_mask=mask if length > own else None,
        is_causal=length == own,
        scale=scaling,
    )


def _attend_short(
    query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", scaling: float | None
) -> "torch.Tensor":
    """Attend causally by plain products, the query heads of one key head together: (1, heads, own, d).

    On a CPU torch's kernel takes three times as long for a short branch behind a long prefix, most of it in the
    backward pass. The scores are kept for the gradient, so this is for short branches only.
    """
    import torch

    _, heads, own, width = query.shape
    groups, length = key.shape[1], key.shape[2]
    repeats = heads // groups
    folded = query.reshape(1, groups, repeats * own, width)
    hidden = torch.ones(own, length, dtype=torch.bool, device=query.device).triu(length - own + 1).repeat(repeats, 1)
    scores = (folded @ key.transpose(-1, -2)) * (width**-0.5 if scaling is None else scaling)
    weights = scores.masked_fill(hidden, float("-inf")).softmax(-1).to(value.dtype)
    return (weights @ value).reshape(1, heads, own, width)


def surprise(model: Any, layout: Layout) -> "torch.Tensor":
    """Return the negative log-probability of each target token: (m,), in nats, float32, differentiable.

    Args:
        model: a transformers model for causal language modelling, with or without a PEFT adapter.
        layout: the batch, on the model's device. If it is a tree, the model's attention must be `ATTENTION`. Logits are
            computed only for `columns`, because the output head is the largest matrix.
    """
    import torch

    if layout.branches:
        inputs: dict[str, Any] = {"position_ids": layout.position_ids, "sca_branches": layout.branches}
    else:
        inputs = {"attention_mask": layout.attends}
    logits = model(input_ids=layout.input_ids, use_cache=False, logits_to_keep=layout.columns, **inputs).logits
    return torch.nn.functional.cross_entropy(
        logits[layout.rows, layout.picks].float(), layout.targets, reduction="none"
    )


def layouts(batch: Sequence["Example"], max_tokens: int, *, shared: bool) -> Iterator[Layout]:
    """Lay out one batch as one or more forward passes.

    Examples are sorted, and each is added to the current pass while the pass has at most `max_tokens` tokens.

    Args:
        batch: examples of one optimiser step.
        max_tokens: most tokens in one layout; a longer example gets its own layout.
        shared: lay out a tree, which computes common prefixes once; else rows padded to one length.
    """
    make = _tree if shared else _rows
    # neighbours in this order have the longest common prefixes (tree) or need the least padding (rows)
    order = sorted(
        batch,
        key=lambda example: (0 if shared else len(example.input_ids), list(example.input_ids)),
    )
    group: list[Example] = []
    for example in order:
        if group and _size([*group, example], shared=shared) > max_tokens:
            yield make(group)
            group = []
        group.append(example)
    if group:
        yield make(group)


def _size(group: Sequence["Example"], *, shared: bool) -> int:
    """Return the number of tokens in the layout of a sorted group."""
    lengths = [len(example.input_ids) for example in group]
    if not shared:
        return len(group) * max(lengths)
    pairs = pairwise(group)
    return sum(lengths) - sum(common(a.input_ids, b.input_ids) for a, b in pairs)


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the common prefix of two sequences, in tokens."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _tree(group: Sequence["Example"]) -> Layout:
    import torch

    node_of: dict[tuple[int, int], int] = {}  # (parent, token) → node; -1 is the parent of the roots
    tokens: list[int] = []
    depths: list[int] = []
    predictions: dict[tuple[int, int], int] = {}  # (parent, token) → number of examples that contain it
    branches: list[Branch] = []
    for example in group:
        parent, path, begun = -1, [], len(tokens)
        for depth, (token, counts) in enumerate(zip(example.input_ids, example.loss_mask, strict=True)):
            edge = (parent, token)
            if edge not in node_of:
                node_of[edge] = len(tokens)
                tokens.append(token)
                depths.append(depth)
            if counts and depth:
                predictions[edge] = predictions.get(edge, 0) + 1
            parent = node_of[edge]
            path.append(parent)
        if len(tokens) > begun:  # else the example is a prefix of another one
            branches.append((torch.tensor(path), len(tokens) - begun))
    layout = _layout([tokens], [(0, *edge, count) for edge, count in predictions.items()])
    return replace(layout, position_ids=torch.tensor([depths]), branches=tuple(branches))


def _rows(group: Sequence["Example"]) -> Layout:
    import torch

    width = max(len(example.input_ids) for example in group)
    padded = [list(example.input_ids) + [0] * (width - len(example.input_ids)) for example in group]
    lengths = torch.tensor([len(example.input_ids) for example in group])
    predictions = [
        (row, column, example.input_ids[column + 1], 1)
        for row, example in enumerate(group)
        for column, counts in enumerate(example.loss_mask[1:])
        if counts
    ]
    return replace(_layout(padded, predictions), attends=torch.arange(width) < lengths[:, None])


def _layout(tokens: list[list[int]], predictions: list[tuple[int, int, int, int]]) -> Layout:
    """Build a layout with the fields that trees and rows have in common.

    Args:
        tokens: token ids, one list a row.
        predictions: (row, column whose logits predict the target, target token id, weight) of each.
    """
    import torch

    columns = sorted({column for _, column, _, _ in predictions})
    place = {column: i for i, column in enumerate(columns)}
    return Layout(
        input_ids=torch.tensor(tokens),
        position_ids=None,
        attends=None,
        branches=(),
        columns=torch.tensor(columns),
        rows=torch.tensor([row for row, _, _, _ in predictions]),
        picks=torch.tensor([place[column] for _, column, _, _ in predictions]),
        targets=torch.tensor([target for _, _, target, _ in predictions]),
        weights=torch.tensor([float(weight) for _, _, _, weight in predictions]),
    )
