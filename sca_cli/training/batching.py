"""Which examples make a step together: those with the same prompt, so that a step computes it once.

Examples of one environment begin with the same prompt, several hundred tokens of tools and rules before an instruction
of a few dozen. Batches drawn from one environment at a time cost a fraction of mixed ones; which environment's turn it
is, and which of its examples, is drawn anew in each pass.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sca_cli.training.packing import common


def alike(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return indices in groups whose members share most of their tokens with another: the prompt.

    Args:
        sequences: token ids.
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
    """A sampler: an order of which every `size` indices in a row are of one group as far as they go; the rest is mixed.

    Args:
        groups: of indices.
        size: examples in a batch.
        seed: the order of a pass depends on it and on the pass.
    """

    def __init__(self, groups: Sequence[Sequence[int]], size: int, seed: int) -> None:
        self._groups, self._size, self._seed = groups, size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which pass comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(map(len, self._groups))

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed} {self._epoch}")
        whole: list[list[int]] = []
        rest: list[int] = []
        for group in self._groups:
            order = draw.sample(group, len(group))
            full = len(order) - len(order) % self._size
            whole += [order[place : place + self._size] for place in range(0, full, self._size)]
            rest += order[full:]
        mixed = [rest[place : place + self._size] for place in range(0, len(rest), self._size)]
        last = [mixed.pop()] if mixed and len(mixed[-1]) < self._size else []
        batches = [*whole, *mixed]
        draw.shuffle(batches)
        return iter([index for batch in [*batches, *last] for index in batch])
