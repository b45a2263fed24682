"""Lay out a batch so that common prefixes are computed once: as a prefix tree in one sequence.

Rollouts of one environment share a long prompt, and samples of one task share even more. The layout is the prefix tree
of the examples of a batch, with its branches one after the other. Each token attends only to its own ancestors, and its
position is its depth in the tree. Every example therefore has the same context as alone. Losses and gradients equal
those of the padded batch up to rounding, with far fewer tokens and no padding.

A model whose layers mix positions in another way than plain attention (state space, sliding window, soft capping)
cannot compute a tree. For such a model the layout is padded rows. `shares` tests with a small batch whether a model can
compute trees.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sca_cli.training import ranks

if TYPE_CHECKING:
    import torch

    from sca_cli.training.data import Example


type Member = tuple[int, Example]
"""An example and its place in the batch."""

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
    """One forward pass. b: rows, n: tokens a row, c: columns whose logits are needed, m: predictions.

    A prediction that several examples share is computed once. `owners` and `uses` list each own token of each example.
    """

    input_ids: "torch.Tensor"  # (b, n)
    position_ids: "torch.Tensor | None"  # (b, n); None: 0, 1, 2, … along each row
    attends: "torch.Tensor | None"  # (b, n) bool, False for padding; None for a tree
    branches: "tuple[Branch, ...]"  # the branches of a tree; () for rows
    columns: "torch.Tensor"  # (c,) ascending
    rows: "torch.Tensor"  # (m,) row of each prediction
    picks: "torch.Tensor"  # (m,) index into columns of each prediction
    targets: "torch.Tensor"  # (m,) token id to be predicted
    weights: "torch.Tensor"  # (m,) float32: number of examples that contain this prediction
    owners: "torch.Tensor"  # (u,) place in the batch of each example that contains a prediction; u: sum of the weights
    uses: "torch.Tensor"  # (u,) index into the predictions; the own tokens of an example are in their order

    @property
    def tokens(self) -> int:
        """Number of tokens that the model computes, padding included."""
        return self.input_ids.numel()

    def on(self, device: Any) -> "Layout":
        """Return the layout with its tensors on `device`."""
        tensors = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "branches"}
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


def shares(model: Any, longest: int) -> bool:
    """Try tree attention: keep it if the model computes a small tree like its branches alone.

    Args:
        model: the model; its attention is changed if the trial succeeds.
        longest: number of tokens in the longest example. A sliding window must not be shorter.

    Returns:
        True if the model uses tree attention now.
    """
    import torch
    from transformers import AttentionInterface

    from sca_cli.training.data import Example

    config = model.config.get_text_config()
    window = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    if window and window < longest:
        return False
    prefix = list(range(1, 9))
    branches = [Example([*prefix, *range(i, i + 8)], [0] * 8 + [1] * 8, "", "", "pass") for i in (20, 40)]
    tree, rows = (make(list(enumerate(branches))) for make in (_tree, _rows))
    layers = []

    def counted(module: Any, *args: Any, **kwargs: Any) -> Any:
        layers.append(module)
        return tree_attention(module, *args, **kwargs)

    AttentionInterface.register(ATTENTION, counted)
    before = model.config._attn_implementation
    model.eval()
    with torch.no_grad():
        alone = surprise(model, rows.on(model.device))
        try:
            model.set_attn_implementation(ATTENTION)
            # nats; bfloat16 rounding causes about 0.01, attention to another branch causes 1 or more
            apart = float((surprise(model, tree.on(model.device)) - alone).abs().mean())
            if apart < 0.05 and len(layers) == config.num_hidden_layers:
                AttentionInterface.register(ATTENTION, tree_attention)
                return True
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ):  # the model does not accept another attention, positions or columns of logits
            pass
    model.set_attn_implementation(before)
    return False


@dataclass(frozen=True, slots=True)
class Scores:
    """The model's predictions of one layout."""

    logprobs: "torch.Tensor"  # (m,) log p of each target, nats, float32, differentiable
    entropy: "torch.Tensor"  # (m,) entropy of the distribution that each target was predicted from, nats; no gradient
    hidden: "torch.Tensor"  # (m, width) last hidden state before each target: the input of the output head; no gradient


def surprise(model: Any, layout: Layout) -> "torch.Tensor":
    """Return the negative log-probability of each target token: (m,), in nats, float32, differentiable.

    Args:
        model: a transformers model for causal language modelling, with or without a PEFT adapter.
        layout: the batch, on the model's device. If it is a tree, the model's attention must be `ATTENTION`. Logits are
            computed only for `columns`, because the output head is the largest matrix.
    """
    import torch

    return torch.nn.functional.cross_entropy(_logits(model, layout), layout.targets, reduction="none")


def scores(model: Any, layout: Layout) -> Scores:
    """Return log-probability, entropy and hidden state of each prediction; arguments as for `surprise`."""
    import torch
    from accelerate.utils import extract_model_from_parallel

    heads: list[torch.Tensor] = []
    bare = extract_model_from_parallel(model)
    hook = bare.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: heads.append(inputs[0].detach()))
    try:
        logits = _logits(model, layout)
    finally:
        hook.remove()
    logprobs = -torch.nn.functional.cross_entropy(logits, layout.targets, reduction="none")
    with torch.no_grad():
        # in parts, because a copy of all logits takes much memory
        entropy = torch.cat([_entropy(part) for part in torch.split(logits, 256)])
    return Scores(logprobs, entropy, heads[0][layout.rows, layout.picks].float())


def _entropy(logits: "torch.Tensor") -> "torch.Tensor":
    logprobs = logits.log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def _logits(model: Any, layout: Layout) -> "torch.Tensor":
    """Return the logits of each prediction: (m, vocabulary), float32."""
    if layout.branches:
        inputs: dict[str, Any] = {"position_ids": layout.position_ids, "sca_branches": layout.branches}
    else:
        inputs = {"attention_mask": layout.attends}
    logits = model(input_ids=layout.input_ids, use_cache=False, logits_to_keep=layout.columns, **inputs).logits
    selected: torch.Tensor = logits[layout.rows, layout.picks].float()
    return selected


def layouts(
    batch: Sequence["Example"], max_tokens: int, *, shared: bool, together: Sequence[int] | None = None
) -> Iterator[Layout]:
    """Lay out one batch as one or more forward passes.

    Examples are sorted, and each is added to the current pass while the pass has at most `max_tokens` tokens. With
    several processes there is at least one pass for each, if there are enough examples.

    Args:
        batch: examples of one optimiser step.
        max_tokens: most tokens in one layout; a longer example gets its own layout.
        shared: lay out a tree, which computes common prefixes once; else rows padded to one length.
        together: a number for each example; examples with the same number are in the same layout. None: each is alone.
    """
    make = _tree if shared else _rows

    # neighbours in this order have the longest common prefixes (tree) or need the least padding (rows)
    def order(member: Member) -> tuple[int, list[int]]:
        return 0 if shared else len(member[1].input_ids), list(member[1].input_ids)

    units: dict[int, list[Member]] = {}
    for place, example in enumerate(batch):
        units.setdefault(place if together is None else together[place], []).append((place, example))
    for unit in units.values():
        unit.sort(key=order)
    ordered = sorted(units.values(), key=lambda unit: order(unit[0]))
    size = -(-len(ordered) // ranks.count())
    for start in range(0, len(ordered), size or 1):
        group: list[Member] = []
        for unit in ordered[start : start + size]:
            longer = sorted([*group, *unit], key=order) if len(unit) > 1 else [*group, *unit]
            if group and _size(longer, shared=shared) > max_tokens:
                yield make(group)
                longer = unit
            group = longer
        yield make(group)


def _size(group: Sequence[Member], *, shared: bool) -> int:
    """Return the number of tokens in the layout of a sorted group."""
    lengths = [len(example.input_ids) for _, example in group]
    if not shared:
        return len(group) * max(lengths)
    pairs = pairwise(group)
    return sum(lengths) - sum(common(a.input_ids, b.input_ids) for (_, a), (_, b) in pairs)


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the length of the common prefix of two sequences, in tokens."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _tree(group: Sequence[Member]) -> Layout:
    import torch

    node_of: dict[tuple[int, int], int] = {}  # (parent, token) → node; -1 is the parent of the roots
    tokens: list[int] = []
    depths: list[int] = []
    uses: list[tuple[int, tuple[int, int]]] = []  # (place of the example, (parent, token) that it contains)
    branches: list[Branch] = []
    for place, example in group:
        parent, path, begun = -1, [], len(tokens)
        for depth, (token, counts) in enumerate(zip(example.input_ids, example.loss_mask, strict=True)):
            edge = (parent, token)
            if edge not in node_of:
                node_of[edge] = len(tokens)
                tokens.append(token)
                depths.append(depth)
            if counts and depth:
                uses.append((place, edge))
            parent = node_of[edge]
            path.append(parent)
        if len(tokens) > begun:  # else the example is a prefix of another one
            branches.append((torch.tensor(path), len(tokens) - begun))
    return replace(
        _layout([tokens], [(place, 0, parent, token) for place, (parent, token) in uses]),
        position_ids=torch.tensor([depths]),
        branches=tuple(branches),
    )


def _rows(group: Sequence[Member]) -> Layout:
    import torch

    width = max(len(example.input_ids) for _, example in group)
    padded = [list(example.input_ids) + [0] * (width - len(example.input_ids)) for _, example in group]
    lengths = torch.tensor([len(example.input_ids) for _, example in group])
    uses = [
        (place, row, column, example.input_ids[column + 1])
        for row, (place, example) in enumerate(group)
        for column, counts in enumerate(example.loss_mask[1:])
        if counts
    ]
    return replace(_layout(padded, uses), attends=torch.arange(width) < lengths[:, None])


def _layout(tokens: list[list[int]], uses: list[tuple[int, int, int, int]]) -> Layout:
    """Build a layout with the fields that trees and rows have in common.

    Args:
        tokens: token ids, one list a row.
        uses: place of an example, and the prediction that it contains: row, column whose logits predict the target,
            target token id.
    """
    import torch

    counts = Counter((row, column, target) for _, row, column, target in uses)
    index_of = {prediction: index for index, prediction in enumerate(counts)}
    columns = sorted({column for _, column, _ in counts})
    index_of_column = {column: index for index, column in enumerate(columns)}
    return Layout(
        input_ids=torch.tensor(tokens),
        position_ids=None,
        attends=None,
        branches=(),
        columns=torch.tensor(columns),
        rows=torch.tensor([row for row, _, _ in counts]),
        picks=torch.tensor([index_of_column[column] for _, column, _ in counts]),
        targets=torch.tensor([target for _, _, target in counts]),
        weights=torch.tensor([float(count) for count in counts.values()]),
        owners=torch.tensor([place for place, *_ in uses]),
        uses=torch.tensor([index_of[row, column, target] for _, row, column, target in uses]),
    )
