"""Compose programs from recorded calls that succeeded. Only types are compared: no model, no jail.

`composed` draws a program of a given size. It begins with the ordered pair of tools that occurs least so far: the
second tool can take the result of the first, or both write. Then it adds steps at either end. A step's arguments are
recorded values or results of earlier steps.
"""

import random
from collections import Counter
from collections.abc import Sequence

from sca_cli.interfaces import Tool
from sca_cli.methods.compose.links import Link
from sca_cli.methods.compose.material import Material, short
from sca_cli.methods.compose.steps import Argument, Literal, Step, Use, pairs
from sca_cli.records import Exploration


class Unfit(ValueError):
    """No program can be composed; the message says why."""


_PATIENCE = 20
"""A pair's `need` rises by 1 after this number of draws without a program that ran. Chosen by hand; not measured."""
_PATIENCE_WITH_WORDS = 3
"""A pair's `need` rises by 1 after this number of programs without an instruction. Chosen by hand; not measured."""


class Coverage:
    """Count how often each tool alone, and each ordered pair of tools, occurs in the programs so far.

    Args:
        wanted: a pair counts as covered after this number of programs; more programs do not change its `need`.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.occurred: Counter[tuple[str, ...]] = Counter()
        """Pair, or tool alone → number of programs."""
        self.tried: Counter[tuple[str, ...]] = Counter()
        self.unworded: Counter[tuple[str, ...]] = Counter()
        self.worked: set[tuple[str, ...]] = set()
        """Pairs and tools that occurred in a program that ran, with or without an instruction."""

    def add(self, steps: Sequence[Step]) -> None:
        """Count a program that ran."""
        for key in _occurring(steps):
            self.occurred[key] += 1
            self.worked.add(key)
            self.tried[key] = 0

    def take_back(self, steps: Sequence[Step]) -> None:
        """Subtract a program that got no instruction."""
        for key in _occurring(steps):
            self.occurred[key] -= 1
            self.unworded[key] += 1

    def need(self, key: tuple[str, ...]) -> int:
        """Return a number by which pairs, or tools alone, are ranked: those with the lowest number are drawn first."""
        enough = self.occurred[key] if len(key) == 1 else min(self.occurred[key], self.wanted)
        return enough + self.tried[key] // _PATIENCE + self.unworded[key] // _PATIENCE_WITH_WORDS

    def draw_tool(self, names: Sequence[str], draw: random.Random) -> str:
        """Draw a tool for a program of one call, among the tools whose `need` is lowest."""
        need = {name: self.need((name,)) for name in names}
        name = draw.choice([name for name in names if need[name] == min(need.values())])
        self.tried[(name,)] += 1
        return name

    def draw(self, ways: Sequence[Link], draw: random.Random) -> Link:
        """Draw a pair with the lowest `need`, then one of its links by weight."""
        by_pair: dict[tuple[str, str], list[Link]] = {}
        for link in ways:
            by_pair.setdefault(link.pair, []).append(link)
        least = min(map(self.need, by_pair))
        pair = draw.choice([pair for pair in by_pair if self.need(pair) == least])
        self.tried[pair] += 1
        chosen = by_pair[pair]
        return draw.choices(chosen, [link.weight for link in chosen])[0]


def _occurring(steps: Sequence[Step]) -> set[tuple[str, ...]]:
    """Return the pairs of tools in a program, or its one tool."""
    return {(steps[0].tool.name,)} if len(steps) == 1 else {*pairs(steps)}


def composed(
    material: Material,
    ways: Sequence[Link],
    world: Exploration,
    size: int,
    coverage: Coverage,
    draw: random.Random,
) -> list[Step]:
    """Draw a program of `size` calls.

    If a call does not write, the last call needs its result, directly or through other calls.

    Args:
        material: recorded calls and values.
        ways: `links` of the material.
        world: exploration in whose world the program will run.
        size: number of calls, at least 1.
        coverage: counts of the programs so far.
        draw: random generator.

    Raises:
        Unfit: no tool takes the result of another, or no recorded value fits a required parameter.
    """
    if size == 1:
        return [step_of(material, material.tools[coverage.draw_tool(list(material.tools), draw)], world, draw)]
    if not ways:
        raise Unfit("no tool takes what another returns")
    steps = linked(material, coverage.draw(ways, draw), world, draw)
    while len(steps) < size:
        grow(steps, material, ways, world, coverage, draw)
    return steps


def step_of(material: Material, tool: Tool, world: Exploration, draw: random.Random) -> Step:
    """Draw a call of a tool whose arguments are all literals.

    Raises:
        Unfit: a value is too long for a question, or no recorded value fits a required parameter.
    """
    try:
        values = material.arguments(tool, world, draw)
    except LookupError as error:
        raise Unfit("a value is needed and no similar one is recorded") from error
    if not all(short(value) for value in values.values()):
        raise Unfit("a value too long for a question")
    star = tool.variadic()
    return Step(
        tool,
        {name: [Literal(part) for part in (value if name == star else [value])] for name, value in values.items()},
    )


def linked(material: Material, link: Link, world: Exploration, draw: random.Random) -> list[Step]:
    """Draw the two calls of a link; the second takes the result of the first.

    Raises:
        Unfit: as `step_of`.
    """
    first, second = (step_of(material, material.tools[name], world, draw) for name in link.pair)
    feed(second, link, first, draw)
    return [first, second]


def feed(step: Step, link: Link, source: Step, draw: random.Random) -> None:
    """Replace a literal argument of a step by the result of another step.

    Raises:
        Unfit: the argument already is the result of a step.
    """
    if not link.parameter:
        return
    use = Use(source, link.access)
    arguments = step.arguments.get(link.parameter, [])
    if link.parameter != step.tool.variadic() or link.access.startswith("*"):
        if any(isinstance(argument, Use) for argument in arguments):
            raise Unfit("nothing fits")  # otherwise the step that computed this result would be useless
        step.arguments[link.parameter] = [use]
    else:
        free = [place for place, argument in enumerate(arguments) if isinstance(argument, Literal)]
        others = [arguments[place] for place in free[1:3]]
        others += [argument for argument in arguments if isinstance(argument, Use)]
        others.insert(draw.randint(0, len(others)), use)
        step.arguments[link.parameter] = others


def grow(
    steps: list[Step],
    material: Material,
    ways: Sequence[Link],
    world: Exploration,
    coverage: Coverage,
    draw: random.Random,
) -> None:
    """Add a step that takes the last result, or a step whose result replaces a literal of another step.

    Raises:
        Unfit: no step can be added.
    """
    last = steps[-1].tool
    after = [link for link in ways if link.first == last.name]
    free = {(step.tool.name, name) for step in steps for name, values in step.arguments.items() if _has_literal(values)}
    before = [link for link in ways if (link.second, link.parameter) in free]
    if not after and not before:
        raise Unfit("nothing fits")
    link = coverage.draw(after if after and (not before or draw.random() < 0.6) else before, draw)
    if link in after:
        new = step_of(material, material.tools[link.second], world, draw)
        feed(new, link, steps[-1], draw)
        _combine(new, steps[:-1], ways, draw)
        steps.append(new)
        return
    place = next(
        place for place, step in enumerate(steps)
        if step.tool.name == link.second and _has_literal(step.arguments.get(link.parameter, []))
    )  # fmt: skip
    new = step_of(material, material.tools[link.first], world, draw)
    feed(steps[place], link, new, draw)
    steps.insert(place, new)


def _has_literal(arguments: list[Argument]) -> bool:
    return any(isinstance(argument, Literal) for argument in arguments)


def _combine(new: Step, earlier: Sequence[Step], ways: Sequence[Link], draw: random.Random) -> None:
    """Let a new step take one more earlier result, with probability 0.5, so that it combines two results."""
    free = [name for name, values in new.arguments.items() if all(isinstance(value, Literal) for value in values)]
    fitting = [
        (link, step)
        for step in earlier
        for link in ways
        if link.pair == (step.tool.name, new.tool.name) and link.parameter in free
    ]
    if fitting and draw.random() < 0.5:
        link, step = draw.choice(fitting)
        feed(new, link, step, draw)
