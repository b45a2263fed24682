"""Store keys and values: `SlotCache` for the running batch, `PrefixStore` for finished conversations.

Each row of the batch has a slot, with one column for each token. Several rows may begin with the same P tokens. The
keys and values of these are then stored once, in a `Held`, and the slots hold only the later tokens: column c belongs
to position P + c. Without a shared prefix, P is 0. Rows of different lengths need no padding, because each query sees
only the columns up to its own position.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import torch  # noqa: TID253  this module is imported inside the model's constructor

Ids = np.ndarray[tuple[int], np.dtype[np.int64]]
"""Token ids: (tokens,)."""


@dataclass(slots=True, eq=False)
class Held:
    """Keys and values of a sequence of tokens. A prefix that several sequences share is stored separately, once."""

    ids: Ids
    own: list[torch.Tensor]
    """Keys and values of the tokens after the prefix: keys, then values, of each layer, each (heads, tokens, head
    width).
    """
    prefix: "Held | None" = None
    """The shared prefix with which `ids` begins, or None."""
    nbytes: int = field(init=False)
    """Size of `own` in bytes."""

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
    """The slots and columns that the next forward pass writes and reads."""

    slots: slice
    rows: torch.Tensor  # (rows, 1)
    columns: torch.Tensor  # (rows, tokens)
    width: int


class SlotCache:
    """The cache object that a transformers model uses. It grows on demand and never shrinks.

    Raises:
        RuntimeError: out of memory (raised by torch).
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
        """Set the slots and columns of the next forward pass.

        Args:
            first: slot of the first row; the rows have consecutive slots.
            columns: (rows, tokens) the column to which each token is written.
            width: number of columns that are read.
        """
        rows = torch.arange(first, first + len(columns), device=columns.device)[:, None]
        self._aim = _Aim(slice(first, first + len(columns)), rows, columns, width)

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store one layer's new keys and values; return all keys and values of the rows. The model calls this.

        Args:
            keys: (rows, heads, tokens, head width)
            values: same shape as `keys`
            layer_idx: number of the layer. In the first pass, layers must arrive in order.
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
        """Return the number of columns that this pass reads; some models ask for it."""
        del layer_idx
        return self._aim.width

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first columns of a slot to another slot."""
        for pair in self._layers:
            for held in pair:
                held[target, :, :length] = held[source, :, :length]

    def look(self, slot: int, length: int) -> list[torch.Tensor]:
        """Return views of the first `length` columns of a slot, in the order of `Held.own`."""
        return [held[slot, :, :length] for pair in self._layers for held in pair]

    def put(self, slot: int, taken: list[torch.Tensor]) -> None:
        """Write keys and values to the first columns of a slot; they must not be views of that slot."""
        for held, saved in zip((held for pair in self._layers for held in pair), taken, strict=True):
            held[slot, :, : saved.shape[1]] = saved


def common_prefix(left: Ids, right: Ids) -> int:
    """Return the length of the common prefix of two sequences, in tokens."""
    length = min(len(left), len(right))
    different = np.flatnonzero(left[:length] != right[:length])
    return int(different[0]) if different.size else length


class PrefixStore:
    """Keys and values of finished conversations. If memory is full, the least recently used ones are deleted.

    The next turn of a conversation begins with the tokens of the last one, and all conversations of an environment
    begin with the same system prompt. `find` returns the stored sequence with the longest common prefix.

    Args:
        capacity: maximum size in bytes.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Held] = OrderedDict()

    def find(self, ids: Ids) -> tuple[int, Held | None]:
        """Return the length of the longest common prefix with `ids`, and the sequence that has it; (0, None) if none
        has.
        """
        best, key = max(((common_prefix(ids, held.ids), key) for key, held in self._entries.items()), default=(0, b""))
        if best == 0:
            return 0, None
        self._entries.move_to_end(key)
        return best, self._entries[key]

    def add(self, new: Held) -> None:
        """Store a sequence, and delete stored sequences that are prefixes of it, because it replaces them."""
        if new.nbytes + (new.prefix.nbytes if new.prefix else 0) > self._capacity:
            return
        for key, held in list(self._entries.items()):
            if common_prefix(new.ids, held.ids) == len(held.ids):
                del self._entries[key]
        self._entries[new.ids.tobytes()] = new
        while sum(held.nbytes for held in {*self._entries.values(), *self.prefixes()}) > self._capacity:
            self._entries.popitem(last=False)

    def prefixes(self) -> set[Held]:
        """Return the shared prefixes of the stored sequences. A prefix is freed with its last sequence."""
        return {held.prefix for held in self._entries.values() if held.prefix}
