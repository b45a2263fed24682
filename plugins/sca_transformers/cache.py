"""Keys and values: `SlotCache` holds those of the running batch, `PrefixStore` those of finished rows.

Each row of the batch has a slot; column c of a slot belongs to the token at position c. Rows of different lengths need
no padding, because each query sees only the columns up to its own position.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch  # noqa: TID253  this module is imported inside the model's constructor

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Token ids, one dimension."""


@dataclass(slots=True)
class _Aim:
    """The columns that the next forward pass writes and reads."""

    slots: slice
    rows: torch.Tensor  # (rows, 1)
    columns: torch.Tensor  # (rows, tokens)
    width: int


class SlotCache:
    """The cache object that a transformers model receives; it grows as needed and never shrinks.

    Raises:
        RuntimeError: out of memory (from torch).
    """

    def __init__(self) -> None:
        self._layers: list[list[torch.Tensor]] = []  # [keys, values], each (slots, heads, columns + 1, head width)
        self._slots = 0
        self._columns = 0
        self._aim = _Aim(slice(0, 0), torch.empty(0), torch.empty(0), 0)

    @property
    def scratch(self) -> int:
        """Column that padding is written to; it is never read."""
        return self._columns

    def reserve(self, slots: int, columns: int) -> None:
        """Grow to at least this number of slots and columns; the contents stay."""
        if slots <= self._slots and columns <= self._columns:
            return
        self._slots = max(slots, self._slots)
        if columns > self._columns:
            self._columns = -(-columns // 256) * 256  # in steps of 256, because growing copies everything
        for pair in self._layers:
            for index, old in enumerate(pair):
                # Zeros, not garbage: a masked column's weight is 0, and 0 * NaN would be NaN.
                pair[index] = old.new_zeros(self._slots, old.shape[1], self._columns + 1, old.shape[3])
                pair[index][: old.shape[0], :, : old.shape[2] - 1] = old[:, :, :-1]

    def aim(self, first: int, columns: torch.Tensor, width: int) -> None:
        """Set the columns that the next forward pass writes and reads.

        Args:
            first: slot of the first row; the rows have consecutive slots.
            columns: (rows, tokens) column that each token is written to.
            width: number of columns that are read.
        """
        rows = torch.arange(first, first + len(columns), device=columns.device)[:, None]
        self._aim = _Aim(slice(first, first + len(columns)), rows, columns, width)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one layer's new keys and values and return all of these rows; the model calls this.

        Args:
            keys: (rows, heads, tokens, head width)
            values: like `keys`
            layer_idx: index of the layer; on the first pass the layers come in order.
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
        """Return the number of columns read in this pass; some models need it."""
        del layer_idx
        return self._aim.width

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first columns of a slot to another slot."""
        for pair in self._layers:
            for held in pair:
                held[target, :, :length] = held[source, :, :length]

    def take(self, slot: int, length: int) -> list[torch.Tensor]:
        """Return copies of a slot's first columns, keys and values of each layer in turn."""
        return [held[slot, :, :length].clone() for pair in self._layers for held in pair]

    def put(self, slot: int, tensors: list[torch.Tensor], length: int) -> None:
        """Write the first columns of the tensors from `take` into a slot."""
        for held, saved in zip((held for pair in self._layers for held in pair), tensors, strict=True):
            held[slot, :, :length] = saved[:, :length]


def common_prefix(left: Ids, right: Ids) -> int:
    """Return how many leading tokens two sequences share."""
    length = min(len(left), len(right))
    different = np.flatnonzero(left[:length] != right[:length])
    return int(different[0]) if different.size else length


class PrefixStore:
    """Keys and values of finished conversations; the least recently used are deleted first.

    The next turn of a conversation begins with the tokens of the last turn, and every conversation of an environment
    begins with the same system prompt. Both are found by their longest common token prefix.

    Args:
        capacity: most bytes that are stored.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bytes = 0
        self._entries: OrderedDict[bytes, tuple[Ids, list[torch.Tensor], int]] = OrderedDict()

    def find(self, ids: Ids) -> tuple[int, list[torch.Tensor]]:
        """Return the longest stored prefix of `ids`: its length and its tensors, or 0 and an empty list."""
        best, key = max(
            ((common_prefix(ids, held), key) for key, (held, *_) in self._entries.items()), default=(0, b"")
        )
        if best == 0:
            return 0, []
        self._entries.move_to_end(key)
        return best, self._entries[key][1]

    def add(self, ids: Ids, tensors: list[torch.Tensor]) -> None:
        """Store a sequence and delete the stored prefixes of it, which it replaces."""
        size = sum(tensor.nbytes for tensor in tensors)
        if size > self._capacity:
            return
        for key, (held, *_) in list(self._entries.items()):
            if common_prefix(ids, held) == len(held):
                self._drop(key)
        while self._bytes + size > self._capacity:
            self._drop(next(iter(self._entries)))
        self._entries[ids.tobytes()] = (ids, tensors, size)
        self._bytes += size

    def _drop(self, key: bytes) -> None:
        self._bytes -= self._entries.pop(key)[2]
