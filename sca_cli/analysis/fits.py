"""Decide from types alone which values fit which parameters."""

import re

from sca_cli.interfaces import Tool
from sca_cli.records import JSON
from sca_cli.toolkit import schemas

_JSON_TYPE = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object"}


def accepts(tool: Tool, returned: str) -> bool:
    """Tell whether any parameter of the tool takes a value of a Python type, such as `list[str]`."""
    return any(takes(tool, name, returned) for name in tool.parameters["properties"])


def takes(tool: Tool, parameter: str, returned: str) -> bool:
    """Tell whether one parameter takes a value of a Python type, such as `list[str]`."""
    return _fits(element(tool, parameter), returned)


def element(tool: Tool, parameter: str) -> dict[str, JSON]:
    """Return the JSON Schema of one argument. For `*numbers: float` this is the schema of one number."""
    schema: dict[str, JSON] = tool.parameters["properties"][parameter]
    return schema["items"] if parameter == tool.variadic() else schema


def _fits(schema: dict[str, JSON], returned: str) -> bool:
    if "anyOf" in schema:
        return any(_fits(option, returned) for option in schema["anyOf"])
    if item := re.fullmatch(r"list\[(.*)\]", returned):
        return schema.get("type") == "array" and _fits(schema.get("items", {}), item[1])
    json_type = _JSON_TYPE.get(re.match(r"\w*", returned)[0], "")  # type: ignore[index]  # \w* always matches
    return schema.get("type") == json_type or (json_type == "integer" and schema.get("type") == "number")


def holds(schema: dict[str, JSON], value: JSON) -> bool:
    """Tell whether a schema describes a value's type; False for a schema that accepts everything, or every object."""
    return _is_specific(schema) and schemas.fits(schema, value)


def _is_specific(schema: dict[str, JSON]) -> bool:
    if "anyOf" in schema:
        return any(map(_is_specific, schema["anyOf"]))
    if schema.get("type") == "array":
        return _is_specific(schema.get("items") or {}) or "prefixItems" in schema
    return "enum" in schema or "properties" in schema or schema.get("type", "object") != "object"
