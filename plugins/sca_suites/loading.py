"""Helpers shared by the suites: convert foreign tools and schemas to ours, and identify the version of foreign data.

Everything here runs inside the world's jail, where the foreign code is.
"""

import hashlib
import inspect
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sca_cli import PluginError, Tool, ToolError, UsageError
from sca_cli.toolkit import schemas
from sca_cli.toolkit.arithmetic import calculate

_DATA = (".py", ".json", ".jsonl", ".md")

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


UNLIMITED_TOKENS = 4096
"""Tokens of a reply where a benchmark sets no limit. Chosen by hand."""


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


def carrying_out(call: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Return a callable with a signature, which converts every exception of foreign code to a refusal (`ToolError`).

    The benchmarks, too, show every exception to the model. The arguments are not compared with the signature: if they
    do not fit, the foreign function says so in its own words.

    Args:
        call: the foreign function.
        signature: signature of the returned callable.
    """

    def carry_out(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except ToolError:
            raise
        except Exception as error:  # noqa: BLE001  these benchmarks show the model every exception of a tool
            raise ToolError(str(error) or type(error).__name__) from None

    carry_out.__signature__ = signature  # type: ignore[attr-defined]  # inspect.signature reads this first
    return carry_out


def by_name(signature: inspect.Signature, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments by name. Names that the signature does not have are kept.

    Raises:
        TypeError: there are more positional arguments than parameters, or an argument is given twice.
    """
    names = list(signature.parameters)
    if len(args) > len(names):
        raise TypeError(f"takes {len(names)} arguments but {len(args)} were given")
    arguments = dict(zip(names, args, strict=False))
    if twice := arguments.keys() & kwargs.keys():
        raise TypeError(f"got multiple values for argument '{min(twice)}'")
    return arguments | kwargs


def tool_from_schema(function: dict[str, Any], *, writes: bool, ends: bool = False) -> tuple[Tool, inspect.Signature]:
    """Convert an OpenAI function schema to a tool and the signature of its calls.

    Raises:
        PluginError: it is not a valid function schema.
    """
    try:
        name, schema = function["name"], function["parameters"]
        schema_by_name = {key: schemas.plain(value, schema) for key, value in schema["properties"].items()}
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
        f"{key}: {schemas.python_type(part)}{'' if key in required else ' = None'}" for key, part in properties.items()
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
        ends=ends,
    )
    return tool, inspect.Signature(parameters)
