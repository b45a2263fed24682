"""Laying examples out so that no token is computed twice: a prefix tree as one sequence.

Rollouts of one environment share a long prompt, and samples of one task share even more. A batch is laid out as the
prefix tree of its examples; each token attends to its own ancestors only and keeps its own depth as its position, so
every example sees exactly what it would see alone. Losses and gradients are those of the padded batch (up to
rounding) at a fraction of the tokens. A model whose layers mix positions other than by attention (state space,
linear attention, sliding window) cannot be fed like that; `rows` is the padded layout for it.

Not here: packing unrelated examples behind one another for throughput, which is the same tree without sharing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from sca_cli.training.data import Example


@dataclass(frozen=True, slots=True)
class Layout:
    """One forward pass. b: rows, n: tokens a row, c: columns whose logits are needed, m: predictions."""

    input_ids: "torch.Tensor"  # (b, n)
    position_ids: "torch.Tensor | None"  # (b, n); None: counted along the row
    attends: "torch.Tensor"  # (b, n) padding mask, or (1, 1, n, n) who sees whom; bool
    columns: "torch.Tensor"  # (c,) ascending
    rows: "torch.Tensor"  # (m,) row of each prediction
    picks: "torch.Tensor"  # (m,) index into columns of each prediction
    targets: "torch.Tensor"  # (m,) the token to be predicted
    weights: "torch.Tensor"  # (m,) float32: how many examples count this prediction

    @property
    def tokens(self) -> int:
        """Tokens that go through the model, padding included."""
        return self.input_ids.numel()

    def on(self, device: Any) -> "Layout":
        """Return the layout with its tensors on `device`."""
        tensors = {name: getattr(self, name) for name in self.__slots__}
        return Layout(**{name: None if tensor is None else tensor.to(device) for name, tensor in tensors.items()})


def surprise(model: Any, layout: Layout) -> "torch.Tensor":
    """Return -log p of each target: (m,), nats, float32, with its gradient.

    Args:
        model: a transformers model for causal language modelling, bare or under PEFT.
        layout: on the model's device. Logits are computed in its `columns` only; the head is the widest matrix.
    """
    import torch

    attends = layout.attends
    if attends.dim() == 4:  # every attention implementation adds such a mask to its scores
        dtype = torch.get_autocast_dtype(attends.device.type) if torch.is_autocast_enabled(attends.device.type) else model.dtype
        attends = torch.zeros_like(attends, dtype=dtype).masked_fill_(~attends, torch.finfo(dtype).min)
    place = {} if layout.position_ids is None else {"position_ids": layout.position_ids}
    logits = model(
        input_ids=layout.input_ids,
        attention_mask=attends,
        use_cache=False,
        logits_to_keep=layout.columns,
        **place,
    ).logits
    return torch.nn.functional.cross_entropy(logits[layout.rows, layout.picks].float(), layout.targets, reduction="none")


def layouts(batch: Sequence["Example"], max_tokens: int, *, shared: bool) -> Iterator[Layout]:
    """Lay out one batch in as few forward passes as fit.

    Args:
        batch: examples of one optimiser step.
        max_tokens: most tokens in one layout; an example longer than that has a layout of its own.
        shared: compute common prefixes once (a tree), else rows padded to one length.
    """
    make = _tree if shared else _rows
    # neighbours in this order share the most (tree) or pad the least (rows)
    order = sorted(batch, key=lambda example: example.input_ids if shared else (len(example.input_ids), example.input_ids))
    group: list[Example] = []
    for example in order:
        if group and _size([*group, example], shared=shared) > max_tokens:
            yield make(group)
            group = []
        group.append(example)
    if group:
        yield make(group)


def _size(group: Sequence["Example"], *, shared: bool) -> int:
    """Return the tokens of a layout of this sorted group."""
    lengths = [len(example.input_ids) for example in group]
    if not shared:
        return len(group) * max(lengths)
    pairs = zip(group, group[1:], strict=False)
    return sum(lengths) - sum(_common(a.input_ids, b.input_ids) for a, b in pairs)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common at their start."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _tree(group: Sequence["Example"]) -> Layout:
    import torch

    node_of: dict[tuple[int, int], int] = {}  # (parent, token) → node; -1 is above the roots
    tokens: list[int] = []
    depths: list[int] = []
    predictions: dict[tuple[int, int], int] = {}  # (parent, token) → examples that count it
    paths: list[list[int]] = []
    for example in group:
        parent, path = -1, []
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
        paths.append(path)
    attends = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for path in paths:
        nodes = torch.tensor(path)
        attends[nodes[:, None], nodes] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
    return _layout([tokens], [depths], attends[None, None], [(0, *edge, count) for edge, count in predictions.items()])


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
    return _layout(padded, None, torch.arange(width) < lengths[:, None], predictions)


def _layout(
    tokens: list[list[int]],
    depths: list[list[int]] | None,
    attends: "torch.Tensor",
    predictions: list[tuple[int, int, int, int]],
) -> Layout:
    """Build the tensors; a prediction is (row, column it is made from, target, weight)."""
    import torch

    columns = sorted({column for _, column, _, _ in predictions})
    place = {column: i for i, column in enumerate(columns)}
    return Layout(
        input_ids=torch.tensor(tokens),
        position_ids=None if depths is None else torch.tensor(depths),
        attends=attends,
        columns=torch.tensor(columns),
        rows=torch.tensor([row for row, _, _, _ in predictions]),
        picks=torch.tensor([place[column] for _, column, _, _ in predictions]),
        targets=torch.tensor([target for _, _, target, _ in predictions]),
        weights=torch.tensor([float(weight) for _, _, _, weight in predictions]),
    )
