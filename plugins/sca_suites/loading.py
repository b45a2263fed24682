"""Helpers shared by the suites: convert foreign tools and schemas to ours, and identify the version of foreign data.

Everything here runs inside the world's jail, where the foreign code is.
"""

import hashlib
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca_cli import PluginError, Tool, ToolError, UsageError
from sca_cli.toolkit.arithmetic import calculate

_DATA = (".py", ".json", ".jsonl", ".md")
_PYTHON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict", "null": "None"}

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
"""Domain → collection of the database → the tool that reads a record, and the fields that name other records.

Both editions of TauBench have the same collections and tools.
"""


def first_line(error: BaseException) -> str:
    """Return the type of an exception and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def chosen(what: str, value: str, known: tuple[str, ...]) -> str:
    """Return an option's value if it is among the known ones.

    Args:
        what: the option's name, for the error message.
        value: the user's value.
        known: all valid values.

    Raises:
        UsageError: the value is unknown; the hint lists the valid ones.
    """
    if value not in known:
        raise UsageError(f"no {what} '{value}'", f"there are {', '.join(known)}")
    return value


def fingerprint(*folders: Path) -> str:
    """Identify the version of a checkout: return 12 hex digits of a hash over its code and data files."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.suffix in _DATA and p.is_file()):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def evaluates_code(function: Callable[..., Any]) -> bool:
    """Return whether a function uses the name `eval` or `exec`, and so may run its argument as code."""
    code = inspect.unwrap(getattr(function, "__func__", function)).__code__ if _has_code(function) else None
    return code is not None and bool({"eval", "exec"} & set(code.co_names))


def _has_code(function: Callable[..., Any]) -> bool:
    return isinstance(inspect.unwrap(getattr(function, "__func__", function)), types.FunctionType)


def rounded_arithmetic(expression: str) -> str:
    """Return the value of an expression with two decimals, as text, like both editions of TauBench.

    Unlike theirs, it does not run the expression as code.
    """
    return str(round(float(calculate(expression)), 2))


def carrying_out(call: Callable[[dict[str, Any]], Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Return a callable with a signature, which converts every exception of foreign code to a refusal (`ToolError`).

    The benchmarks, too, show every exception to the model.

    Args:
        call: the foreign function; its argument is a dictionary of arguments by name.
        signature: signature of the returned callable.
    """

    def carry_out(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(signature.bind(*args, **kwargs).arguments)
        except ToolError:
            raise
        except Exception as error:  # noqa: BLE001  these benchmarks show the model every exception of a tool
            raise ToolError(str(error) or type(error).__name__) from None

    carry_out.__signature__ = signature  # type: ignore[attr-defined]  # inspect.signature reads this first
    return carry_out


def tool_from_schema(function: dict[str, Any], *, writes: bool) -> tuple[Tool, inspect.Signature]:
    """Convert an OpenAI function schema to a tool and the signature of its calls.

    Raises:
        PluginError: it is not a valid function schema.
    """
    try:
        name, schema = function["name"], function["parameters"]
        schema_by_name = {key: _plain(value, schema.get("$defs", {})) for key, value in schema["properties"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise PluginError(f"a tool's schema cannot be read: {first_line(error)}") from None
    required = list(schema.get("required", []))
    properties = {key: schema_by_name[key] for key in sorted(schema_by_name, key=lambda key: key not in required)}
    parameters = [
        inspect.Parameter(
            key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=inspect.Parameter.empty if key in required else None
        )
        for key in properties
    ]
    arguments = [
        f"{key}: {_python_type(value)}{'' if key in required else ' = None'}" for key, value in properties.items()
    ]
    tool = Tool(
        name=name,
        description=function.get("description") or name,
        parameters={
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
        signature=f"{name}({', '.join(arguments)})",
        returns="Any",
        writes=writes,
    )
    return tool, inspect.Signature(parameters)


def _plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return a schema with references resolved, and with lists of types written as anyOf."""
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


def _python_type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_python_type(option) for option in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list[{_python_type(schema.get('items', {}))}]"
    return _PYTHON.get(schema.get("type", ""), "Any")
