"""Batches of examples with the same prompt, so that one step computes the prompt once.

Examples of one environment begin with the same prompt: several hundred tokens of tools and rules, before an instruction
of a few dozen tokens. A batch from one environment therefore computes far fewer tokens than a mixed batch. The order of
the batches, and the examples of each batch, are drawn again in every epoch.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sca_cli.training.packing import common


def alike(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group sequences that have the same prompt.

    In sorted order, a sequence joins the group of the one before it if their common prefix is longer than half of the
    shorter one.

    Args:
        sequences: token ids of each example.

    Returns:
        the groups, as indices into `sequences`.
    """
    order = sorted(range(len(sequences)), key=lambda index: list(sequences[index]))
    groups = [order[:1]] if order else []
    for one, other in pairwise(order):
        shortest = min(len(sequences[one]), len(sequences[other]))
        if 2 * common(sequences[one], sequences[other]) > shortest:
            groups[-1].append(other)
        else:
            groups.append([other])
    return groups


class AlikeFirst:
    """A sampler that yields full batches within one group; the leftovers of all groups are mixed.

    Args:
        groups: indices of examples, as `alike` returns them.
        size: examples in a batch.
        seed: the order of an epoch depends on the seed and on the epoch's number.
    """

    def __init__(self, groups: Sequence[Sequence[int]], size: int, seed: int) -> None:
        self._groups, self._size, self._seed = groups, size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch; the trainer calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed} {self._epoch}")
        full_batches: list[list[int]] = []
        rest: list[int] = []
        for group in self._groups:
            order = draw.sample(group, len(group))
            full = len(order) - len(order) % self._size
            full_batches += [order[place : place + self._size] for place in range(0, full, self._size)]
            rest += order[full:]
        mixed = [rest[place : place + self._size] for place in range(0, len(rest), self._size)]
        last = [mixed.pop()] if mixed and len(mixed[-1]) < self._size else []
        batches = [*full_batches, *mixed]
        draw.shuffle(batches)
        return iter([index for batch in [*batches, *last] for index in batch])
