"""Write a tool call as Python text."""

from collections.abc import Callable, Mapping, Sequence

from sca_cli.records import JSON


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
