"""Which examples make a step together."""

from collections import Counter
from itertools import batched

from sca_cli.training.batching import AlikeFirst, alike

PROMPTS = [[1, 2, 3, 4, 5, 6], [1, 2, 9, 8, 7, 5]]
"""Prompts of two environments: they share a beginning, which is less than half of an example."""


def sequences(counts: tuple[int, int]) -> list[list[int]]:
    """Return examples of both environments, mixed."""
    made = [[*prompt, 100 + number] for prompt, count in zip(PROMPTS, counts, strict=True) for number in range(count)]
    return made[::2] + made[1::2]


def test_what_shares_a_prompt_is_one_group() -> None:
    """The longest common beginnings make the groups, not the order in which examples come."""
    examples = sequences((5, 4))
    groups = alike(examples)
    assert sorted(len(group) for group in groups) == [4, 5]
    assert all(len({tuple(examples[index][:6]) for index in group}) == 1 for group in groups)
    assert alike([]) == []
    assert alike([[1, 2], [3, 4]]) == [[0], [1]]


def test_batches_are_of_one_group_as_far_as_they_go() -> None:
    """Every index comes once; only what is left over is mixed, and a batch that is not full comes last."""
    examples = sequences((13, 9))
    sampler = AlikeFirst(alike(examples), 4, seed=0)
    order = list(sampler)
    assert sorted(order) == list(range(22))
    assert len(sampler) == 22
    kinds = Counter(len({examples[index][2] for index in batch}) for batch in batched(order, 4))
    assert kinds[1] >= 5
    assert len(list(batched(order, 4))[-1]) == 2


def test_each_pass_has_its_own_order_and_a_seed_gives_the_same() -> None:
    """A run that is resumed in its second pass continues with the second pass's order."""
    groups = alike(sequences((20, 20)))
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 1)):
        sampler = AlikeFirst(groups, 4, seed)
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
    assert orders[1] == orders[3]
    assert len(set(orders)) == 3
