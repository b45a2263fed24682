"""Programs that do alike with several values, and make one answer of the results.

Much of what people ask of tools has this shape: the shortest of three texts, two duties together. `composer` hardly
ever draws it, as it takes each pair of tools as often as any other. Of branches of two calls, too, the pairs that occur
least come first.
"""

import random
from collections.abc import Sequence

from sca_cli.methods.compose import operations
from sca_cli.methods.compose.composer import Coverage, Unfit, grow, linked, step_of
from sca_cli.methods.compose.links import Link, parts
from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.steps import Step, Use, program
from sca_cli.records import Exploration

_MOST_BRANCHES, _DEEPEST = 4, 2
_OPERATION = 0.4
"""Share of the programs drawn whose results an operation puts together; in the others a call does."""
_OTHER = 0.25
"""Share of the branches, from the second, that may be of other tools than the first."""

type _Kind = Link | str
"""The two tools of a branch, or its one tool."""


def composed(
    material: Material, ways: Sequence[Link], world: Exploration, size: int, coverage: Coverage, draw: random.Random
) -> list[Step]:
    """Draw a program of `size` calls: branches of one or two calls, and one that puts their results together.

    The arguments are those of `composer.composed`; `size` is at least 2.

    Raises:
        Unfit: nothing makes one of the results, or a value is needed and none like it was seen.
    """
    operation = size == 2 or draw.random() < _OPERATION  # two calls leave none to do it
    shapes = [
        (many, deep)
        for many in range(2, _MOST_BRANCHES + 1)
        for deep in range(1, _DEEPEST + 1)
        if (many * deep == size if operation else many * deep < size)
    ]
    try:
        many, deep = draw.choice(shapes)
        kinds, taken = _kinds(material, ways, many, deep, coverage, draw)
        branches = [_branch(material, kind, world, draw) for kind, _ in kinds]
        if len({program(branch) for branch in branches}) < many:
            raise Unfit("the same twice")
        results = [Use(branch[-1], access) for branch, (_, access) in zip(branches, kinds, strict=True)]
        steps = [step for branch in branches for step in branch]
        if operation:
            return [*steps, _combined(results, taken, draw)]
        steps.append(_call(material, ways, world, results, draw))
    except IndexError as error:
        raise Unfit("nothing to put together") from error
    while len(steps) < size:
        grow(steps, material, ways, world, coverage, draw)
    return steps


def _kinds(
    material: Material, ways: Sequence[Link], many: int, deep: int, coverage: Coverage, draw: random.Random
) -> tuple[list[tuple[_Kind, str]], type]:
    """Draw (kind, what of its result is taken) for each branch, and the type of all that is taken."""
    kind = _kind(material, ways, deep, coverage, draw)
    access, taken = _taken(material, kind, draw)
    kinds = [(kind, access)]
    while len(kinds) < many:
        if draw.random() < _OTHER:
            other = _kind(material, ways, deep, coverage, draw)
            of_it, type_of_it = _taken(material, other, draw)
            if type_of_it is taken:
                kind, access = other, of_it
        kinds.append((kind, access))
    return kinds, taken


def _kind(material: Material, ways: Sequence[Link], deep: int, coverage: Coverage, draw: random.Random) -> _Kind:
    reading = [name for name, tool in material.tools.items() if not tool.writes]
    if deep == 1:
        return draw.choice(reading)
    fitting = [link for link in ways if link.parameter and link.first in reading and link.second in reading]
    if not fitting:
        raise Unfit("nothing to put together")
    return coverage.draw(fitting, draw)


def _taken(material: Material, kind: _Kind, draw: random.Random) -> tuple[str, type]:
    """Draw what of a branch's result is taken; return it and its type, `float` or `str`."""
    tool = material.tools[kind if isinstance(kind, str) else kind.second]
    whole = {"int": float, "float": float, "str": str}.get(tool.returns)
    if whole:
        return "@", whole
    inside = [(access, value) for result in material.results(tool.name) for access, value in parts(result)]
    access, value = draw.choice([(access, value) for access, value in inside if _plain(value)])
    return access, str if isinstance(value, str) else float


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _branch(material: Material, kind: _Kind, world: Exploration, draw: random.Random) -> list[Step]:
    if isinstance(kind, str):
        return [step_of(material, material.tools[kind], world, draw)]
    return linked(material, kind, world, draw)


def _combined(results: Sequence[Use], taken: type, draw: random.Random) -> Step:
    operation = operations.drawn(taken, len(results), draw)
    return Step(operation, {name: [use] for name, use in zip(operation.parameters["properties"], results, strict=True)})


def _call(
    material: Material, ways: Sequence[Link], world: Exploration, results: Sequence[Use], draw: random.Random
) -> Step:
    """Draw a call of a tool that takes any number of values: these results."""
    first = results[0]
    fitting = [
        link
        for link in ways
        if (link.first, link.access) == (first.step.tool.name, first.access)
        and link.parameter
        and link.parameter == material.tools[link.second].variadic()
    ]
    link = draw.choice(fitting)
    step = step_of(material, material.tools[link.second], world, draw)
    step.arguments[link.parameter] = list(results)
    return step
