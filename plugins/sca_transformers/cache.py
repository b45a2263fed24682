"""Keys and values: `SlotCache` holds the running batch, `PrefixStore` what finished rows left behind.

A row of the batch owns a slot; column c of a slot belongs to the token at position c, or at position P + c if the
first P tokens of the row are held once for several rows, in a `Held`. Rows of different lengths stand side by side
without padding, because each query sees only the columns up to its own position.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch  # noqa: TID253  this module is imported inside the model's constructor

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Token ids, one dimension."""


@dataclass(slots=True, eq=False)
class Held:
    """Keys and values of a sequence of tokens; those of its beginning may belong to several sequences."""

    ids: Ids
    own: list[torch.Tensor]
    """Of the tokens behind the prefix: keys and values of each layer in turn, each (heads, tokens, head width)."""
    prefix: "Held | None" = None
    """What the ids begin with."""
    nbytes: int = field(init=False)
    """Size of `own`."""

    def __post_init__(self) -> None:
        self.nbytes = sum(tensor.nbytes for tensor in self.own)

    def columns(self, start: int, end: int) -> list[torch.Tensor]:
        """Return keys and values of the tokens from `start` to `end`, like `own`."""
        base = len(self.prefix.ids) if self.prefix else 0
        own = [tensor[:, max(start - base, 0) : max(end - base, 0)] for tensor in self.own]
        if self.prefix is None or start >= base:
            return own
        return [torch.cat(pair, 1) for pair in zip(self.prefix.columns(start, min(end, base)), own, strict=True)]


@dataclass(slots=True)
class _Aim:
    """Where the next forward pass writes and what it reads."""

    slots: slice
    rows: torch.Tensor  # (rows, 1)
    columns: torch.Tensor  # (rows, tokens)
    width: int


class SlotCache:
    """The cache object handed to a transformers model; grows as needed, never shrinks.

    Raises:
        RuntimeError: memory is out (from torch).
    """

    def __init__(self) -> None:
        self._layers: list[list[torch.Tensor]] = []  # [keys, values], each (slots, heads, columns + 1, head width)
        self._slots = 0
        self._columns = 0
        self._aim = _Aim(slice(0, 0), torch.empty(0), torch.empty(0), 0)

    @property
    def scratch(self) -> int:
        """The column that receives padding; it is never read."""
        return self._columns

    def reserve(self, slots: int, columns: int) -> None:
        """Make room for at least this number of slots and columns, and keep their contents."""
        if slots <= self._slots and columns <= self._columns:
            return
        self._slots = max(slots, self._slots)
        if columns > self._columns:
            self._columns = -(-columns // 256) * 256  # in steps: growing copies everything
        for pair in self._layers:
            for index, old in enumerate(pair):
                # Zeros, not garbage: a masked column's weight is 0, and 0 * NaN would be NaN.
                pair[index] = old.new_zeros(self._slots, old.shape[1], self._columns + 1, old.shape[3])
                pair[index][: old.shape[0], :, : old.shape[2] - 1] = old[:, :, :-1]

    def aim(self, first: int, columns: torch.Tensor, width: int) -> None:
        """Say what the next forward pass works on.

        Args:
            first: slot of the first row; the rows have consecutive slots.
            columns: (rows, tokens) column that each token is written to.
            width: columns read.
        """
        rows = torch.arange(first, first + len(columns), device=columns.device)[:, None]
        self._aim = _Aim(slice(first, first + len(columns)), rows, columns, width)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one layer's new keys and values and return all that the rows hold; called by the model.

        Args:
            keys: (rows, heads, tokens, head width)
            values: like `keys`
            layer_idx: layers come in order on the first pass.
        """
        if layer_idx == len(self._layers):
            shapes = [(self._slots, new.shape[1], self._columns + 1, new.shape[3]) for new in (keys, values)]
            self._layers.append([new.new_zeros(shape) for new, shape in zip((keys, values), shapes, strict=True)])
        aim = self._aim
        for held, new in zip(self._layers[layer_idx], (keys, values), strict=True):
            held[aim.rows, :, aim.columns] = new.transpose(1, 2)
        keys, values = (held[aim.slots, :, : aim.width] for held in self._layers[layer_idx])
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the columns read in this pass; some models ask."""
        del layer_idx
        return self._aim.width

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first columns of a slot to another slot."""
        for pair in self._layers:
            for held in pair:
                held[target, :, :length] = held[source, :, :length]

    def look(self, slot: int, length: int) -> list[torch.Tensor]:
        """Return views of a slot's first columns, keys and values of each layer in turn, like `Held.own`."""
        return [held[slot, :, :length] for pair in self._layers for held in pair]

    def put(self, slot: int, taken: list[torch.Tensor]) -> None:
        """Write columns, which are no view of the slot itself, to the beginning of a slot."""
        for held, saved in zip((held for pair in self._layers for held in pair), taken, strict=True):
            held[slot, :, : saved.shape[1]] = saved


def common_prefix(left: Ids, right: Ids) -> int:
    """Return how many leading tokens two sequences share."""
    length = min(len(left), len(right))
    different = np.flatnonzero(left[:length] != right[:length])
    return int(different[0]) if different.size else length


class PrefixStore:
    """Keys and values of finished conversations, the least recently used dropped first.

    The next turn of a conversation begins with the last one's tokens, and every conversation of an
    environment begins with the same system prompt: both are found here by their longest common token
    prefix.

    Args:
        capacity: bytes held at most.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Held] = OrderedDict()

    def find(self, ids: Ids) -> tuple[int, Held | None]:
        """Return the sequence that shares the most leading tokens with `ids`, and how many (0 and none)."""
        best, key = max(((common_prefix(ids, held.ids), key) for key, held in self._entries.items()), default=(0, b""))
        if best == 0:
            return 0, None
        self._entries.move_to_end(key)
        return best, self._entries[key]

    def add(self, new: Held) -> None:
        """Keep a sequence; entries that it begins with are dropped, as it serves for them too."""
        if new.nbytes + (new.prefix.nbytes if new.prefix else 0) > self._capacity:
            return
        for key, held in list(self._entries.items()):
            if common_prefix(new.ids, held.ids) == len(held.ids):
                del self._entries[key]
        self._entries[new.ids.tobytes()] = new
        while sum(held.nbytes for held in {*self._entries.values(), *self.prefixes()}) > self._capacity:
            self._entries.popitem(last=False)

    def prefixes(self) -> set[Held]:
        """Return what sequences here begin with; it is dropped with the last of them."""
        return {held.prefix for held in self._entries.values() if held.prefix}
