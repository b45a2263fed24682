"""Programs put together from calls that were seen to work: by type alone, no model and no jail.

`composed` draws a program of a given size: it begins with the pair of tools that occurs least so far, of which one can
take what the other returns (or, where both write, come after it), and grows it at either end. A step's arguments are
values that were seen, or results of earlier steps.
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
    """Nothing can be composed: the message says why."""


_PATIENCE = 20
"""Tries of a pair, since it last was in a program that ran, that weigh as much as one occurrence more."""
_PATIENCE_WITH_WORDS = 3
"""The same of programs with it that no task came of."""


class Coverage:
    """How often each tool alone, and each ordered pair of tools, occurs in the programs made so far.

    Args:
        wanted: times that a pair is to occur before all pairs are drawn alike.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.occurred: Counter[tuple[str, ...]] = Counter()
        """Pair, or tool alone → programs."""
        self.tried: Counter[tuple[str, ...]] = Counter()
        self.unworded: Counter[tuple[str, ...]] = Counter()
        self.worked: set[tuple[str, ...]] = set()
        """What occurred in a program that ran, whatever became of it."""

    def add(self, steps: Sequence[Step]) -> None:
        """Count a program that ran."""
        for what in _occurring(steps):
            self.occurred[what] += 1
            self.worked.add(what)
            self.tried[what] = 0

    def take_back(self, steps: Sequence[Step]) -> None:
        """Count a program no longer: no task came of it."""
        for what in _occurring(steps):
            self.occurred[what] -= 1
            self.unworded[what] += 1

    def need(self, what: tuple[str, ...]) -> int:
        """Return how urgently a pair, or a tool alone, is wanted; one that has often come to nothing is less so."""
        enough = self.occurred[what] if len(what) == 1 else min(self.occurred[what], self.wanted)
        return enough + self.tried[what] // _PATIENCE + self.unworded[what] // _PATIENCE_WITH_WORDS

    def draw_tool(self, names: Sequence[str], draw: random.Random) -> str:
        """Draw a tool that is called least in programs of one call."""
        need = {name: self.need((name,)) for name in names}
        name = draw.choice([name for name in names if need[name] == min(need.values())])
        self.tried[(name,)] += 1
        return name

    def draw(self, ways: Sequence[Link], draw: random.Random) -> Link:
        """Draw a link whose pair occurs least; among its links, the likely ones most often."""
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
    """Draw a program of `size` calls, each of which the last one needs, or which writes.

    Args:
        material: what was seen.
        ways: `links` of it.
        world: where it is to run.
        size: number of calls, at least 1.
        coverage: what there is already.
        draw: the source of chance.

    Raises:
        Unfit: no tool takes what another returns, or a value is needed and none like it was seen.
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
    """Draw a call of a tool, its arguments literals.

    Raises:
        Unfit: a value is too long for a question, or is needed and none like it was seen.
    """
    try:
        given = material.arguments(tool, world, draw)
    except LookupError as error:
        raise Unfit("a value is needed and none like it was seen") from error
    if not all(short(value) for value in given.values()):
        raise Unfit("a value too long for a question")
    star = tool.variadic()
    return Step(
        tool,
        {name: [Literal(part) for part in (value if name == star else [value])] for name, value in given.items()},
    )


def linked(material: Material, link: Link, world: Exploration, draw: random.Random) -> list[Step]:
    """Draw the two calls of a link, the second of which takes what the first returns.

    Raises:
        Unfit: as `step_of`.
    """
    first, second = (step_of(material, material.tools[name], world, draw) for name in link.pair)
    feed(second, link, first, draw)
    return [first, second]


def feed(step: Step, link: Link, source: Step, draw: random.Random) -> None:
    """Give a step the result of another in place of a literal.

    Raises:
        Unfit: there is none.
    """
    if not link.parameter:
        return
    use = Use(source, link.access)
    given = step.arguments.get(link.parameter, [])
    if link.parameter != step.tool.variadic() or link.access.startswith("*"):
        if any(isinstance(argument, Use) for argument in given):
            raise Unfit("nothing fits")  # the step whose result stood there would be for nothing
        step.arguments[link.parameter] = [use]
    else:
        free = [place for place, argument in enumerate(given) if isinstance(argument, Literal)]
        others = [given[place] for place in free[1:3]] + [argument for argument in given if isinstance(argument, Use)]
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
    """Add a step: one that takes the last one's result, or one that feeds a step in place of a literal.

    Raises:
        Unfit: nothing can be added.
    """
    last = steps[-1].tool
    after = [link for link in ways if link.first == last.name]
    free = {(step.tool.name, name) for step in steps for name, given in step.arguments.items() if _has_literal(given)}
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


def _has_literal(given: list[Argument]) -> bool:
    return any(isinstance(argument, Literal) for argument in given)


def _combine(new: Step, earlier: Sequence[Step], ways: Sequence[Link], draw: random.Random) -> None:
    """Every second time, let a new step take the result of one more earlier step: two results are combined."""
    free = [name for name, given in new.arguments.items() if all(isinstance(argument, Literal) for argument in given)]
    fitting = [
        (link, step)
        for step in earlier
        for link in ways
        if link.pair == (step.tool.name, new.tool.name) and link.parameter in free
    ]
    if fitting and draw.random() < 0.5:
        link, step = draw.choice(fitting)
        feed(new, link, step, draw)
