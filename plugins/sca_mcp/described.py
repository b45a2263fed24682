"""Convert a server's tools to our `Tool`, with names that Python accepts."""

import inspect
import keyword
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

import mcp  # noqa: TID253  imported only for the environment itself

from sca_cli import Tool
from sca_cli.toolkit import schemas

_RESERVED = {"final_answer", "evaluate", "print", "ToolError"}
"""Names that programs and checks use for other functions."""


class Described:
    """A server's tool under a Python name, with a mapping from our parameter names to the server's.

    Args:
        tool: the server's description of the tool.
        name: our name of the tool.
        reads: whether the tool only reads the state.
    """

    def __init__(self, tool: "mcp.Tool", name: str, *, reads: bool) -> None:
        self.remote = tool.name
        schema = schemas.plain(tool.input_schema)
        required, listed = schema.get("required", []), schema.get("properties", {})
        order = sorted(listed, key=lambda each: each not in required)  # Python needs parameters with defaults last
        self._names = dict(zip(python_names(order), order, strict=True))
        properties = {mine: listed[theirs] for mine, theirs in self._names.items()}
        needed = [mine for mine, theirs in self._names.items() if theirs in required]
        self.signature = inspect.Signature([_parameter(each, each in needed) for each in properties])
        parameters = [
            f"{key}: {schemas.python_type(value)}{'' if key in needed else f' = {value.get("default")!r}'}"
            for key, value in properties.items()
        ]
        result = _result(schemas.plain(tool.output_schema))
        returns = schemas.python_type(result)
        self.tool = Tool(
            name=name,
            description=_description(tool, name, properties, self._names),
            parameters={"type": "object", "properties": properties, "required": needed, "additionalProperties": False},
            signature=f"{name}({', '.join(parameters)}) -> {returns}",
            returns=returns,
            writes=not reads,
            result=result,
        )

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call under the server's names."""
        bound = self.signature.bind(*args, **kwargs).arguments
        return {self._names[name]: value for name, value in bound.items()}


def python_names(names: Iterable[str]) -> list[str]:
    """Return a different Python name for each name; a number follows a name that is taken."""
    taken: list[str] = []
    for name in names:
        wanted = python_name(name)
        free = (each for each in (wanted, *(f"{wanted}_{number}" for number in range(2, 10_000))) if each not in taken)
        taken.append(next(free))
    return taken


def python_name(name: str) -> str:
    """Return a name as a Python identifier that no program uses for something else."""
    name = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name))
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _RESERVED else name


def _parameter(name: str, needed: bool) -> inspect.Parameter:
    default = inspect.Parameter.empty if needed else None
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


def _description(tool: "mcp.Tool", name: str, properties: dict[str, Any], names: dict[str, str]) -> str:
    """Return the server's text, with what its schemas say, and with the server's names where ours differ."""
    text = schemas.with_details((tool.description or tool.title or tool.name).strip(), properties)
    renamed = {mine: theirs for mine, theirs in {name: tool.name, **names}.items() if mine != theirs}
    if not renamed:
        return text
    return f"{text}\n\nNames at the server: {', '.join(f'{mine} is {theirs!r}' for mine, theirs in renamed.items())}."


def _result(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a result; servers wrap values that are not objects in an object with the key `result`."""
    properties = schema.get("properties", {})
    return properties["result"] if set(properties) == {"result"} else schema
