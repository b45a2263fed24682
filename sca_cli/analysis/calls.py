"""Tool calls: their text in Python, and their arguments by parameter."""

from collections.abc import Callable, Mapping, Sequence

from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Observation


def call_text(tool: str, args: Sequence[JSON], kwargs: Mapping[str, JSON], show: Callable[[JSON], str] = repr) -> str:
    """Return a call as Python text, such as `lend('Ada', title='Dune')`.

    Args:
        tool: the tool's name.
        args: positional arguments.
        kwargs: arguments by name.
        show: returns the text of one value.
    """
    arguments = [*map(show, args), *(f"{name}={show(value)}" for name, value in kwargs.items())]
    return f"{tool}({', '.join(arguments)})"


def bound(tool: Tool, call: Observation) -> dict[str, JSON]:
    """Return a call's arguments by parameter; a list for `*args`."""
    arguments: dict[str, JSON] = {}
    rest = list(call.args)
    for name in tool.parameters["properties"]:
        if name == tool.variadic():
            arguments[name], rest = rest, []
        elif rest:
            arguments[name] = rest.pop(0)
    return arguments | call.kwargs
