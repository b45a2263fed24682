"""Wrong variants of a composed program, from which its failure cases are chosen."""

import contextlib
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.steps import Literal, Step, copied, program
from sca_cli.records import Exploration
from sca_cli.verification.paper_filter import FAILURE_CASES

SHORTENED = ("intermediate", "left out")
"""Kinds of wrong program that the check must reject. If one passes, the missing step makes no difference."""


def wrong_branches(
    steps: Sequence[Step], answer: str, material: Material, world: Exploration, draw: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield (kind of error, program) for wrong variants of a program.

    The kinds, in order: "intermediate" answers the result of an earlier step; "left out" lacks a step; "order" swaps
    two writing steps; "swapped" swaps two arguments; "no call" answers an argument of the only call; "another value"
    draws a literal again.

    Args:
        steps: the steps of the program.
        answer: its answer as Python; @ means the last result.
        material: recorded values, for "another value".
        world: the world in which the program ran.
        draw: the random numbers.
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
        for argument in (argument for values in steps[0].arguments.values() for argument in values):
            if isinstance(argument, Literal):
                yield "no call", f"final_answer({argument.value!r})"
    for _ in range(2 * FAILURE_CASES):
        yield "another value", program(_revalued(steps, material, world, draw), answer=answer)


def _without(steps: Sequence[Step], place: int) -> list[Step] | None:
    """Return the program without a step, or None if it has no other step.

    The first argument of the removed step replaces its result.
    """
    if len(steps) == 1:
        return None
    copies = copied(steps)
    removed = copies.pop(place)
    first = next((argument for values in removed.arguments.values() for argument in values), Literal(None))
    for step in copies:
        for name, position, use in list(step.uses()):
            if use.step is removed:
                step.arguments[name][position] = first
    return copies


def _reordered(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield variants in which two neighbouring writing steps are swapped, if the second does not use the first."""
    for place, (one, other) in enumerate(pairwise(steps)):
        if one.tool.writes and other.tool.writes and not any(use.step is one for _, _, use in other.uses()):
            variant = copied(steps)
            variant[place : place + 2] = variant[place + 1], variant[place]
            yield variant


def _swapped(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Yield variants in which two neighbouring arguments of one step are swapped; those of `*args` stay in order."""
    for place, step in enumerate(steps):
        positions = [(name, position) for name, values in step.arguments.items() for position in range(len(values))]
        for (one, i), (other, j) in pairwise(positions):
            if one != other:
                variant = copied(steps)
                arguments = variant[place].arguments
                arguments[one][i], arguments[other][j] = arguments[other][j], arguments[one][i]
                yield variant


def _revalued(steps: Sequence[Step], material: Material, world: Exploration, draw: random.Random) -> list[Step]:
    """Return the program with a new value for one of its literals, or unchanged if no recorded value fits."""
    variant = copied(steps)
    literals = [
        (step, name, place)
        for step in variant
        for name, values in step.arguments.items()
        for place, argument in enumerate(values)
        if isinstance(argument, Literal)
    ]
    if literals:
        step, name, place = draw.choice(literals)
        with contextlib.suppress(LookupError):  # no recorded value is like it
            value = material.arguments(step.tool, world, draw)[name]
            is_sequence = isinstance(value, list) and len(step.arguments[name]) > 1
            step.arguments[name][place] = Literal(draw.choice(value) if is_sequence and value else value)
    return variant
