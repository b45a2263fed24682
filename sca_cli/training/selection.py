"""Select the examples to train on: leave out tasks that are always solved, balance groups, build control arms.

Rejection sampling repeats the imbalance of its tasks: easy tasks give most of the successes. Balancing moves the share
of each group towards the mean. A control arm of an experiment has the same number of examples, and therefore of
steps, as the selection that it is compared with.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from sca_cli.fanout import derived_seed
from sca_cli.records import Rollout
from sca_cli.training.data import Example, Tally, examples

Balance = Literal["none", "calls", "tool"]
"""What is balanced: groups by number of calls or by rarest tool, or nothing."""

Control = Literal["shuffled-solutions", "random-rollouts", "one-call-only"]
"""The control arm that replaces the selection."""

MOST_REPEATS = 3
"""Balancing uses one example at most this many times; chosen by hand."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How examples are selected."""

    use_segments: bool = True
    """Train on the sampled tokens; False if another model's tokenizer made them."""
    keep_failures: bool = False
    """Train on rollouts with outcome `fail` too."""
    keep_solved: bool = True
    """Keep all examples of a task that every attempt solved."""
    max_tokens: int = 8192
    """Length of the longest example, in tokens."""
    max_per_task: int | None = None
    """Most examples of one task; None: no limit."""
    balance: Balance = "none"
    control: Control | None = None
    wanted: int | None = None
    """Number of examples of a control arm; None: the number in the selection that it replaces."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """The examples to train on."""

    examples: list[Example]
    balance: dict[str, list[int]] = field(default_factory=dict)
    """Group → number of examples before and after balancing."""
    drawn_from: int | None = None
    """Number of examples from which a control arm was drawn; None: no control."""


def select(rollouts: Iterable[Rollout], tokenizer: Any, rules: Rules, tally: Tally) -> Selection:
    """Select examples.

    Args:
        rollouts: the rollouts; iterated once. With a control, all of them are stored in memory.
        tokenizer: the student's.
        rules: rules of the selection.
        tally: updated with the counts of the selection; with a control, of the selection that it replaces.

    Raises:
        UsageError, RecordError: as in `examples`.
    """
    if rules.control is None:
        return _selected(rollouts, tokenizer, rules, tally)
    everything = list(rollouts)
    controlled = _selected(everything, tokenizer, rules, tally)
    wanted = len(controlled.examples) if rules.wanted is None else rules.wanted
    if rules.control == "random-rollouts":
        rules = replace(rules, keep_failures=True, keep_solved=True)
    elif rules.control == "one-call-only":
        everything = [rollout for rollout in everything if rollout.task.calls == 1]
    else:
        everything = shuffled_solutions(everything, rules.seed)
    arm = _selected(everything, tokenizer, rules, Tally())
    return Selection(draw_examples(arm.examples, wanted, rules.seed), arm.balance, len(arm.examples))


def _selected(rollouts: Iterable[Rollout], tokenizer: Any, rules: Rules, tally: Tally) -> Selection:
    chosen = list(
        examples(
            rollouts,
            tokenizer,
            use_segments=rules.use_segments,
            keep_failures=rules.keep_failures,
            max_tokens=rules.max_tokens,
            max_per_task=rules.max_per_task,
            tally=tally,
        )
    )
    if not rules.keep_solved:
        chosen = without_solved(chosen, tally)
    if rules.balance == "none":
        return Selection(chosen)
    return balanced(chosen, by_calls if rules.balance == "calls" else by_rarest_tool(chosen), rules.seed)


def without_solved(chosen: Sequence[Example], tally: Tally) -> list[Example]:
    """Keep one attempt of each solved task, and all attempts of the others; update the counts.

    A task is solved if two or more of its attempts were judged and all of them passed.
    """
    solved = {task for task, outcomes in tally.judged.items() if outcomes["pass"] == outcomes.total() >= 2}
    first: dict[str, str] = {}
    remaining = [
        example
        for example in chosen
        if example.task not in solved or first.setdefault(example.task, example.record) == example.record
    ]
    tally.solved = len(chosen) - len(remaining)
    tally.examples = len(remaining)
    tally.tokens = sum(len(example.input_ids) for example in remaining)
    tally.loss_tokens = sum(sum(example.loss_mask[1:]) for example in remaining)
    return remaining


# ---------------------------------------------------------------- balance


def by_calls(example: Example) -> str:
    """Return the group of an example when balancing by calls: its number of calls."""
    return str(example.calls)


def by_rarest_tool(chosen: Iterable[Example]) -> Callable[[Example], str]:
    """Return a function that gives the group of an example when balancing by tool: its rarest tool.

    An example can use several tools. The rarest one is the tool that the fewest examples use.
    """
    used = Counter(tool for example in chosen for tool in example.tools)
    return lambda example: min(example.tools, key=lambda tool: (used[tool], tool), default="no tool")


def balanced(chosen: Iterable[Example], group_of: Callable[[Example], str], seed: int) -> Selection:
    """Bring every group to the mean size of the groups: sample larger groups, repeat the examples of smaller ones.

    A group with less than a third of the mean stays below it, because of `MOST_REPEATS`.
    """
    groups: dict[str, list[Example]] = {}
    for example in chosen:
        groups.setdefault(group_of(example), []).append(example)
    mean = round(sum(map(len, groups.values())) / len(groups)) if groups else 0
    result: list[Example] = []
    sizes: dict[str, list[int]] = {}
    for name, group in sorted(groups.items()):
        wanted = min(mean, MOST_REPEATS * len(group))
        times, more = divmod(wanted, len(group))
        draw = random.Random(derived_seed(seed, "balance", name))
        result += group * times + draw.sample(group, more)
        sizes[name] = [len(group), wanted]
    return Selection(result, sizes)


# ---------------------------------------------------------------- controls


def shuffled_solutions(rollouts: Sequence[Rollout], seed: int) -> list[Rollout]:
    """Give each task the last reply of another task, of the same environment and number of calls, if there is one."""
    places_by_kind: dict[tuple[str, int | None], list[int]] = {}
    for place, rollout in enumerate(rollouts):
        places_by_kind.setdefault((str(rollout.task.env), rollout.task.calls), []).append(place)
    shuffled = list(rollouts)
    for places in places_by_kind.values():
        random.Random(derived_seed(seed, "shuffle", rollouts[places[0]].id)).shuffle(places)
        # one cycle through all tasks, so that no task keeps its own solution
        for place, other in zip(places, [*places[1:], places[0]], strict=True):
            messages = [*rollouts[place].messages[:-1], rollouts[other].messages[-1]]
            shuffled[place] = msgspec.structs.replace(rollouts[place], messages=messages)
    return shuffled


def draw_examples(chosen: Sequence[Example], wanted: int, seed: int) -> list[Example]:
    """Draw `wanted` examples without replacement; if there are fewer, repeat all of them in turn."""
    order = random.Random(derived_seed(seed, "control")).sample(chosen, len(chosen))
    return [order[n % len(order)] for n in range(wanted)] if order else []
