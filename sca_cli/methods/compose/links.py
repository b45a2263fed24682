"""Which results can be arguments of which tools: found from the signatures and from recorded results."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sca_cli.analysis import fits
from sca_cli.interfaces import Tool
from sca_cli.methods.compose.material import Material, short
from sca_cli.records import JSON

_DEPTH = 3
"""Most keys and indices in one access to a part of a result; chosen by hand."""
_SCALAR = re.compile(r"(str|int|float|bool)\b")


@dataclass(frozen=True, slots=True)
class Link:
    """A way for one tool's result to be an argument of another tool.

    `parameter` is "" for a pair of writing tools that are only called one after the other.
    """

    first: str
    second: str
    parameter: str = ""
    access: str = "@"
    """The part of the result, as Python; @ means the result."""
    weight: int = 1
    """Weight in a random draw: 8 if the value was already an argument of the second tool; chosen by hand."""

    @property
    def pair(self) -> tuple[str, str]:
        """The ordered pair of tools."""
        return self.first, self.second


def links(material: Material) -> list[Link]:
    """Return all ways in which a tool's result fits a parameter of a tool, and all pairs of writing tools.

    The signature gives the type of a result. For a container, such as `dict` or `list`, the recorded results show its
    parts, and each part that fits gives a link too.
    """
    links_of_tools = []
    for first in material.tools.values():
        links_of_tools += [
            Link(first.name, other.name) for other in material.tools.values() if first.writes and other.writes
        ]
        for second in material.tools.values():
            for parameter in second.parameters["properties"]:
                links_of_tools += _links(material, first, second, parameter)
    return links_of_tools


def _links(material: Material, first: Tool, second: Tool, parameter: str) -> Iterator[Link]:
    results = material.results(first.name)
    spelt = not results or any(material.spells(second, parameter, result) for result in results)
    if fits.takes(second, parameter, first.returns) and spelt:
        yield Link(first.name, second.name, parameter)
    if _SCALAR.match(first.returns):
        return
    arguments = {str(value) for call in material.calls(second.name) for value in [*call.args, *call.kwargs.values()]}
    accesses: dict[str, JSON] = {}
    for result in material.results(first.name):
        accesses |= {access: value for access, value in parts(result)}
    schema = fits.element(second, parameter)
    for access, value in accesses.items():
        if fits.holds(schema, value) and short(value) and material.spells(second, parameter, value):
            yield Link(first.name, second.name, parameter, access, weight=8 if str(value) in arguments else 1)
    if parameter == second.variadic():
        for result in material.results(first.name)[:1]:
            for access, values in _spreads(result):
                if len(values) > 1 and all(fits.holds(schema, value) for value in values):
                    yield Link(first.name, second.name, parameter, access, weight=8)


def parts(value: JSON, access: str = "@", depth: int = 0) -> Iterator[tuple[str, JSON]]:
    """Yield (expression, value) of the parts of a result, nested ones too: each key of an object, a list's first item.

    Args:
        value: the result.
        access: expression of `value` itself; @ means the whole result.
        depth: number of keys and indices in `access`; `_DEPTH` is the limit.
    """
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
    """Yield (access, values) of the ways to pass all values of a result to a `*args` parameter."""
    if isinstance(value, dict):
        yield "*@.values()", list(value.values())
        yield "*[part for item in @.items() for part in item]", [part for item in value.items() for part in item]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for key in value[0]:
            if "@" not in key and all(key in item for item in value):
                yield f"*[item[{key!r}] for item in @]", [item[key] for item in value]
    elif isinstance(value, list):
        yield "*@", value
