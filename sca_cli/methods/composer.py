"""Programs put together from calls that were seen to work: by type alone, no model and no jail.

A program is a list of steps, one call each. A step's arguments are values that were seen, or results of earlier steps.
`composed` draws one of a given size: it begins with the pair of tools that occurs least so far, of which one can take
what the other returns (or, where both write, come after it), and grows it at either end.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sca_cli.interfaces import Tool
from sca_cli.methods import fits
from sca_cli.methods.material import Material, short
from sca_cli.records import JSON, Exploration

_DEPTH = 3
_SCALAR = re.compile(r"(str|int|float|bool)\b.*|list\[(str|int|float|bool)\]")


@dataclass(frozen=True, slots=True)
class Literal:
    """An argument that the program brings along."""

    value: JSON


@dataclass(frozen=True, slots=True)
class Use:
    """An argument taken from an earlier step; in `access`, @ stands for its result."""

    step: "Step"
    access: str = "@"


type Argument = Literal | Use


@dataclass(eq=False, slots=True)
class Step:
    """One call. A `*args` parameter has a list of arguments."""

    tool: Tool
    arguments: dict[str, list[Argument]] = field(default_factory=dict)

    def alone(self) -> "Step":
        """Return the step without what it takes from others."""
        alone = Step(self.tool)
        for name, given in self.arguments.items():
            alone.arguments[name] = [argument for argument in given if isinstance(argument, Literal)]
        return alone

    def uses(self) -> Iterator[tuple[str, int, Use]]:
        """Yield (parameter, place, use) of every argument taken from another step."""
        for name, given in self.arguments.items():
            for place, argument in enumerate(given):
                if isinstance(argument, Use):
                    yield name, place, argument


@dataclass(frozen=True, slots=True)
class Link:
    """A way for one tool's result to be an argument of another; `parameter` is "" where it only comes before it."""

    first: str
    second: str
    parameter: str = ""
    access: str = "@"
    weight: int = 1

    @property
    def pair(self) -> tuple[str, str]:
        """The ordered pair of tools."""
        return self.first, self.second


class Unfit(ValueError):
    """Nothing can be composed: the message says why."""


# ---------------------------------------------------------------- links


def links(material: Material) -> list[Link]:
    """Return all ways in which a tool's result fits a parameter of a tool, and all pairs of writing tools.

    What a result holds is told by the signature; where that only says `dict` or `list`, by results that were seen.
    """
    found = []
    for first in material.tools.values():
        found += [Link(first.name, other.name) for other in material.tools.values() if first.writes and other.writes]
        for second in material.tools.values():
            for parameter in second.parameters["properties"]:
                found += _links(material, first, second, parameter)
    return found


def _links(material: Material, first: Tool, second: Tool, parameter: str) -> Iterator[Link]:
    if fits.takes(second, parameter, first.returns):
        yield Link(first.name, second.name, parameter)
    if _SCALAR.fullmatch(first.returns) and not first.returns.startswith("list"):
        return
    seen = {str(value) for value in _given(material, second, parameter)}
    accesses: dict[str, JSON] = {}
    for result in material.results(first.name):
        accesses |= {access: value for access, value in parts(result)}
    schema = fits.element(second, parameter)
    for access, value in accesses.items():
        if fits.holds(schema, value) and short(value):
            yield Link(first.name, second.name, parameter, access, weight=8 if str(value) in seen else 1)
    if parameter == fits.variadic(second):
        for result in material.results(first.name)[:1]:
            for access, values in _spreads(result):
                if len(values) > 1 and all(fits.holds(schema, value) for value in values):
                    yield Link(first.name, second.name, parameter, access, weight=8)


def _given(material: Material, tool: Tool, parameter: str) -> Iterator[JSON]:
    for call in material.calls(tool.name):
        yield from [*call.args, *call.kwargs.values()] if parameter in tool.parameters["properties"] else []


def parts(value: JSON, access: str = "@", depth: int = 0) -> Iterator[tuple[str, JSON]]:
    """Yield (access, value) of what lies inside a result: every key of an object, the first item of a list."""
    if depth:
        yield access, value
    if depth == _DEPTH:
        return
    if isinstance(value, dict):
        for key, part in value.items():
            if "@" not in key:
                yield from parts(part, f"{access}[{key!r}]", depth + 1)
    elif isinstance(value, list) and value:
        yield from parts(value[0], f"{access}[0]", depth + 1)


def _spreads(value: JSON) -> Iterator[tuple[str, list[JSON]]]:
    """Yield (access, values) of the ways to give all of a result to a parameter that takes any number of values."""
    if isinstance(value, dict):
        yield "*@.values()", list(value.values())
        yield "*[part for item in @.items() for part in item]", [part for item in value.items() for part in item]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for key in value[0]:
            if "@" not in key and all(key in item for item in value):
                yield f"*[item[{key!r}] for item in @]", [item[key] for item in value]
    elif isinstance(value, list):
        yield "*@", value


# ---------------------------------------------------------------- drawing


class Coverage:
    """How often each tool alone, and each ordered pair of tools, occurs in the programs made so far.

    Args:
        wanted: times that a pair is to occur before all pairs are drawn alike.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.alone: Counter[str] = Counter()
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.tried: Counter[tuple[str, ...]] = Counter()

    def add(self, steps: Sequence[Step]) -> None:
        """Count a program that came to something."""
        if len(steps) == 1:
            self.alone[steps[0].tool.name] += 1
        self.pairs.update(pairs(steps))

    def draw_tool(self, names: Sequence[str], draw: random.Random) -> str:
        """Draw a tool that is called least in programs of one call."""
        need = {name: self.alone[name] + self.tried[(name,)] // 5 for name in names}
        name = draw.choice([name for name in names if need[name] == min(need.values())])
        self.tried[(name,)] += 1
        return name

    def need(self, pair: tuple[str, str]) -> int:
        """Return how urgently a pair is wanted; one that has often come to nothing is less so."""
        return min(self.pairs[pair], self.wanted) + self.tried[pair] // 5

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


def pairs(steps: Sequence[Step]) -> set[tuple[str, str]]:
    """Return the ordered pairs of tools of which one's result goes into the other, or that write in turn."""
    fed = {(use.step.tool.name, step.tool.name) for step in steps for _, _, use in step.uses()}
    writing = [step.tool.name for step in steps if step.tool.writes]
    return fed | set(pairwise(writing))


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
    try:
        if size == 1:
            return [_step(material, material.tools[coverage.draw_tool(list(material.tools), draw)], world, draw)]
        if not ways:
            raise Unfit("no tool takes what another returns")
        link = coverage.draw(ways, draw)
        first, second = (_step(material, material.tools[name], world, draw) for name in link.pair)
        _feed(second, link, first, draw)
        steps = [first, second]
        while len(steps) < size:
            _grow(steps, material, ways, world, coverage, draw)
    except IndexError as error:
        raise Unfit("a value is needed and none like it was seen") from error
    return steps


def _step(material: Material, tool: Tool, world: Exploration, draw: random.Random) -> Step:
    given = material.arguments(tool, world, draw)
    if not all(short(value) for value in given.values()):
        raise Unfit("a value too long for a question")
    star = fits.variadic(tool)
    return Step(
        tool,
        {name: [Literal(part) for part in (value if name == star else [value])] for name, value in given.items()},
    )


def _feed(step: Step, link: Link, source: Step, draw: random.Random) -> None:
    """Give a step the result of another in place of a literal."""
    if not link.parameter:
        return
    use = Use(source, link.access)
    given = step.arguments.get(link.parameter, [])
    if link.parameter != fits.variadic(step.tool) or link.access.startswith("*"):
        step.arguments[link.parameter] = [use]
    else:
        free = [place for place, argument in enumerate(given) if isinstance(argument, Literal)]
        others = [given[place] for place in free[1:3]] + [argument for argument in given if isinstance(argument, Use)]
        others.insert(draw.randint(0, len(others)), use)
        step.arguments[link.parameter] = others


def _grow(
    steps: list[Step],
    material: Material,
    ways: Sequence[Link],
    world: Exploration,
    coverage: Coverage,
    draw: random.Random,
) -> None:
    """Add a step: one that takes the last one's result, or one that feeds a step in place of a literal."""
    last = steps[-1].tool
    after = [link for link in ways if link.first == last.name]
    free = {(step.tool.name, name) for step in steps for name, given in step.arguments.items() if _has_literal(given)}
    before = [link for link in ways if (link.second, link.parameter) in free]
    if not after and not before:
        raise Unfit("nothing fits")
    link = coverage.draw(after if after and (not before or draw.random() < 0.6) else before, draw)
    if link in after:
        new = _step(material, material.tools[link.second], world, draw)
        _feed(new, link, steps[-1], draw)
        _combine(new, steps[:-1], ways, draw)
        steps.append(new)
        return
    place = next(
        place for place, step in enumerate(steps)
        if step.tool.name == link.second and _has_literal(step.arguments.get(link.parameter, []))
    )  # fmt: skip
    new = _step(material, material.tools[link.first], world, draw)
    _feed(steps[place], link, new, draw)
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
        _feed(new, link, step, draw)


# ---------------------------------------------------------------- text


def program(steps: Sequence[Step], *, answer: str = "@") -> str:
    """Return steps as a Python program that ends in `final_answer`.

    Args:
        steps: in order.
        answer: what is answered; @ stands for the last step's result.
    """
    names = {id(step): f"step{number}" for number, step in enumerate(steps, 1)}

    def text(argument: Argument) -> str:
        if isinstance(argument, Literal):
            return repr(argument.value)
        return argument.access.replace("@", names[id(argument.step)])

    lines = [f"{names[id(step)]} = {call(step, text)}" for step in steps]
    return "\n".join([*lines, f"final_answer({answer.replace('@', names[id(steps[-1])])})"])


def call(step: Step, text: Callable[[Argument], str], *, named: bool = False) -> str:
    """Return the call of a step.

    Args:
        step: the step.
        text: writes an argument.
        named: write all arguments with their names, even where their places will do.
    """
    arguments = []
    for name in step.tool.parameters["properties"]:
        if name not in step.arguments:
            named = True  # an optional one is left out: those after it need their names
            continue
        star = name == fits.variadic(step.tool)
        arguments += [f"{name}={text(a)}" if named and not star else text(a) for a in step.arguments[name]]
    return f"{step.tool.name}({', '.join(arguments)})"


def first_sentence(text: str) -> str:
    """Return the first sentence of a documentation, on one line, without its end."""
    return re.split(r"[.:](?:\s|$)|\n\n", text.strip())[0].replace("\n", " ")
