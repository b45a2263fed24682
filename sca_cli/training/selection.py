"""Which examples are trained on: thinning what is always solved, balancing, and the control arms of an experiment.

Rejection sampling re-creates the imbalance of its tasks: easy ones give most of the successes. Balancing gives every
group the same share. A control arm has exactly as many examples, and so as many steps, as the selection it controls.
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
"""What has the same share in the examples."""

Control = Literal["shuffled-solutions", "random-rollouts", "one-call-only"]
"""What is trained on in place of the selection."""

MOST_REPEATS = 3
"""Times that balancing takes an example at most."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How examples are selected."""

    use_segments: bool = True
    """Train on the sampled tokens; False where another model's tokenizer made them."""
    keep_failures: bool = False
    keep_solved: bool = True
    """Keep all examples of a task that every attempt solved."""
    max_tokens: int = 8192
    max_per_task: int | None = None
    balance: Balance = "none"
    control: Control | None = None
    wanted: int | None = None
    """Examples of a control arm; None: as many as the selection that it controls has."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """What is trained on."""

    examples: list[Example]
    balance: dict[str, list[int]] = field(default_factory=dict)
    """Group → examples before and after balancing."""
    drawn_from: int | None = None
    """Examples that those of a control arm were drawn from; None: no control."""


def select(rollouts: Iterable[Rollout], tokenizer: Any, rules: Rules, tally: Tally) -> Selection:
    """Select examples.

    Args:
        rollouts: read once; a control holds them in memory.
        tokenizer: the student's.
        rules: how.
        tally: what became of the rollouts; of the controlled selection where there is a control.

    Raises:
        UsageError, RecordError: as `examples`.
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
    return Selection(drawn(arm.examples, wanted, rules.seed), arm.balance, len(arm.examples))


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
    """Keep one attempt of each task of which two or more attempts were judged and all passed; count the rest."""
    solved = {task for task, outcomes in tally.judged.items() if outcomes["pass"] == outcomes.total() >= 2}
    first: dict[str, str] = {}
    kept = [
        example
        for example in chosen
        if example.task not in solved or first.setdefault(example.task, example.record) == example.record
    ]
    tally.solved = len(chosen) - len(kept)
    tally.examples = len(kept)
    tally.tokens = sum(len(example.input_ids) for example in kept)
    tally.loss_tokens = sum(sum(example.loss_mask[1:]) for example in kept)
    return kept


# ---------------------------------------------------------------- balance


def by_calls(example: Example) -> str:
    """Return the number of calls of the task's solution."""
    return str(example.calls)


def by_rarest_tool(chosen: Iterable[Example]) -> Callable[[Example], str]:
    """Return what names an example's tool that the fewest examples use: many use some of them together."""
    used = Counter(tool for example in chosen for tool in example.tools)
    return lambda example: min(example.tools, key=lambda tool: (used[tool], tool), default="no tool")


def balanced(chosen: Iterable[Example], group_of: Callable[[Example], str], seed: int) -> Selection:
    """Give every group the mean size of the groups: thin larger ones, repeat the examples of smaller ones.

    A group with less than a third of the mean stays below it.
    """
    groups: dict[str, list[Example]] = {}
    for example in chosen:
        groups.setdefault(group_of(example), []).append(example)
    mean = round(sum(map(len, groups.values())) / len(groups)) if groups else 0
    taken: list[Example] = []
    sizes: dict[str, list[int]] = {}
    for name, group in sorted(groups.items()):
        wanted = min(mean, MOST_REPEATS * len(group))
        times, more = divmod(wanted, len(group))
        draw = random.Random(derived_seed(seed, "balance", name))
        taken += group * times + draw.sample(group, more)
        sizes[name] = [len(group), wanted]
    return Selection(taken, sizes)


# ---------------------------------------------------------------- controls


def shuffled_solutions(rollouts: Sequence[Rollout], seed: int) -> list[Rollout]:
    """Give each task the solution of another one of its environment with as many calls, where there is one."""
    alike: dict[tuple[str, int | None], list[int]] = {}
    for place, rollout in enumerate(rollouts):
        alike.setdefault((str(rollout.task.env), rollout.task.calls), []).append(place)
    shuffled = list(rollouts)
    for places in alike.values():
        random.Random(derived_seed(seed, "shuffle", rollouts[places[0]].id)).shuffle(places)
        # one cycle through all of them: nobody keeps its own
        for place, other in zip(places, [*places[1:], places[0]], strict=True):
            messages = [*rollouts[place].messages[:-1], rollouts[other].messages[-1]]
            shuffled[place] = msgspec.structs.replace(rollouts[place], messages=messages)
    return shuffled


def drawn(chosen: Sequence[Example], wanted: int, seed: int) -> list[Example]:
    """Draw examples without replacement; where there are fewer, all of them in turn until there are enough."""
    order = random.Random(derived_seed(seed, "control")).sample(chosen, len(chosen))
    return [order[n % len(order)] for n in range(wanted)] if order else []
