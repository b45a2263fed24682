"""Programs that take a wrong branch of a composed one: what its failure cases are made of."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.steps import Literal, Step, copied, program
from sca_cli.records import Exploration
from sca_cli.verification.paper_filter import FAILURE_CASES

SHORTENED = ("intermediate", "left out")
"""Kinds of program that a check must refuse: where one passes, the step that is missing made no difference."""


def wrong_branches(
    steps: Sequence[Step], answer: str, material: Material, world: Exploration, draw: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, program): an intermediate result, a step left out, steps or arguments swapped, another
    value.
    """
    for place in range(1, len(steps)):
        yield "intermediate", program(steps[:place])
    for place in range(len(steps)):
        if shorter := _without(steps, place):
            yield "left out", program(shorter, answer=answer if place < len(steps) - 1 else "@")
    for variant in _reordered(steps):
        yield "order", program(variant, answer=answer)
    for variant in _swapped(steps):
        yield "swapped", program(variant, answer=answer)
    if len(steps) == 1:
        for argument in (argument for given in steps[0].arguments.values() for argument in given):
            if isinstance(argument, Literal):
                yield "no call", f"final_answer({argument.value!r})"
    for _ in range(2 * FAILURE_CASES):
        yield "another value", program(_revalued(steps, material, world, draw), answer=answer)


def _without(steps: Sequence[Step], place: int) -> list[Step] | None:
    """Leave a step out; what used its result gets its first argument. None: nothing would be left."""
    if len(steps) == 1:
        return None
    copies = copied(steps)
    gone = copies.pop(place)
    first = next((argument for given in gone.arguments.values() for argument in given), Literal(None))
    for step in copies:
        for name, position, use in list(step.uses()):
            if use.step is gone:
                step.arguments[name][position] = first
    return copies


def _reordered(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield variants in which two neighbouring steps that change something are exchanged."""
    for place, (one, other) in enumerate(pairwise(steps)):
        if one.tool.writes and other.tool.writes and not any(use.step is one for _, _, use in other.uses()):
            variant = copied(steps)
            variant[place : place + 2] = variant[place + 1], variant[place]
            yield variant


def _swapped(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield variants in which two neighbouring arguments of a step are swapped."""
    for place, step in enumerate(steps):
        spots = [(name, position) for name, given in step.arguments.items() for position in range(len(given))]
        for (one, i), (other, j) in pairwise(spots):
            if one != other:
                variant = copied(steps)
                given = variant[place].arguments
                given[one][i], given[other][j] = given[other][j], given[one][i]
                yield variant


def _revalued(steps: Sequence[Step], material: Material, world: Exploration, draw: random.Random) -> list[Step]:
    """Draw another value for one of the literals."""
    variant = copied(steps)
    spots = [
        (step, name, place)
        for step in variant
        for name, given in step.arguments.items()
        for place, argument in enumerate(given)
        if isinstance(argument, Literal)
    ]
    if spots:
        step, name, place = draw.choice(spots)
        with contextlib.suppress(LookupError):  # none like it was seen
            value = material.arguments(step.tool, world, draw)[name]
            many = isinstance(value, list) and len(step.arguments[name]) > 1
            step.arguments[name][place] = Literal(draw.choice(value) if many and value else value)
    return variant
