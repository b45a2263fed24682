"""What the suites share: foreign tools and schemas made into ours, and names for the version of foreign data.

Everything here runs inside the world's jail, where the foreign code is.
"""

import hashlib
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca_calculation.arithmetic import calculate

from sca_cli import PluginError, Tool, ToolError, UsageError

_DATA = (".py", ".json", ".jsonl", ".md")
_WORDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict", "null": "None"}

RECORDS: dict[str, dict[str, Any]] = {
    "retail": {
        "orders": {"tool": "get_order_details", "links": {"user_id": "users"}},
        "users": {"tool": "get_user_details", "links": {"orders": "orders"}},
        "products": {"tool": "get_product_details"},
    },
    "airline": {
        "reservations": {"tool": "get_reservation_details", "links": {"user_id": "users"}},
        "users": {"tool": "get_user_details", "links": {"reservations": "reservations"}},
    },
}
"""Domain → collection of the database → the tool that reads a record of it, and its fields that name other records.

Both editions of TauBench have the same collections and tools.
"""


def first_line(error: BaseException) -> str:
    """Return an exception in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def chosen(what: str, value: str, known: tuple[str, ...]) -> str:
    """Return the value if it is known.

    Raises:
        UsageError: it is not; names those that are.
    """
    if value not in known:
        raise UsageError(f"no {what} '{value}'", f"there are {', '.join(known)}")
    return value


def fingerprint(*folders: Path) -> str:
    """Return 12 hex digits of a hash over the code and data files in some folders: the version of a checkout."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in _DATA and p.is_file()):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def evaluates_code(function: Callable[..., Any]) -> bool:
    """Whether a function calls `eval` or `exec` by name: then its argument is run as code."""
    code = inspect.unwrap(getattr(function, "__func__", function)).__code__ if _has_code(function) else None
    return code is not None and bool({"eval", "exec"} & set(code.co_names))


def _has_code(function: Callable[..., Any]) -> bool:
    return isinstance(inspect.unwrap(getattr(function, "__func__", function)), types.FunctionType)


def rounded_arithmetic(expression: str) -> str:
    """Calculate as both editions of TauBench do, without running the expression: two decimals, as text."""
    return str(round(float(calculate(expression)), 2))


def carrying_out(call: Callable[[dict[str, Any]], Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Return a callable of that signature; whatever foreign code raises is a refusal the model reads, as it is there.

    Args:
        call: is given the arguments by name.
        signature: of what is returned.
    """

    def carry_out(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(signature.bind(*args, **kwargs).arguments)
        except ToolError:
            raise
        except Exception as error:  # noqa: BLE001  these benchmarks show the model every exception of a tool
            raise ToolError(str(error) or type(error).__name__) from None

    carry_out.__signature__ = signature  # type: ignore[attr-defined]  # what inspect.signature looks at first
    return carry_out


def tool_from_schema(function: dict[str, Any], *, writes: bool) -> tuple[Tool, inspect.Signature]:
    """Return a tool and the signature of its calls from an OpenAI function schema.

    Raises:
        PluginError: it is no such schema.
    """
    try:
        name, schema = function["name"], function["parameters"]
        given = {key: _plain(value, schema.get("$defs", {})) for key, value in schema["properties"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise PluginError(f"a tool's schema cannot be read: {first_line(error)}") from None
    required = list(schema.get("required", []))
    properties = {key: given[key] for key in sorted(given, key=lambda key: key not in required)}
    parameters = [
        inspect.Parameter(
            key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=inspect.Parameter.empty if key in required else None
        )
        for key in properties
    ]
    shown = [f"{key}: {_words(value)}{'' if key in required else ' = None'}" for key, value in properties.items()]
    tool = Tool(
        name=name,
        description=function.get("description") or name,
        parameters={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        signature=f"{name}({', '.join(shown)})",
        returns="Any",
        writes=writes,
    )
    return tool, inspect.Signature(parameters)


def _plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema with its references spelt out and lists of types as alternatives."""
    if isinstance(schema, list):
        return [_plain(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if isinstance(schema.get("type"), list):
        rest = {key: value for key, value in schema.items() if key != "type"}
        return {"anyOf": [_plain(rest | {"type": kind}, definitions) for kind in schema["type"]]}
    return {key: _plain(value, definitions) for key, value in schema.items()}


def _words(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_words(option) for option in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list[{_words(schema.get('items', {}))}]"
    return _WORDS.get(schema.get("type", ""), "Any")
