"""Convert a server's tools to our `Tool`: reduce any JSON Schema to type, items, enum and anyOf."""

import inspect
import keyword
import re
from typing import Any

import mcp  # noqa: TID253  imported only for the environment itself

from sca_cli import Tool

_PYTHON = {
    "string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "array": "list",
    "object": "dict",
}  # fmt: skip
_MAX_DEPTH = 8
"""Nesting depth below which a schema is replaced by one that accepts everything; chosen by hand."""


class Described:
    """A server's tool under a Python name, with a mapping from our parameter names to the server's.

    Args:
        tool: the server's description of the tool.
    """

    def __init__(self, tool: "mcp.Tool") -> None:
        self.remote = tool.name
        schema = tool.input_schema
        required = schema.get("required", [])
        listed = schema.get("properties", {})
        order = sorted(listed, key=lambda name: name not in required)  # Python needs parameters with defaults last
        self._names = {_python_name(name): name for name in order}
        properties = {mine: _simple(listed[theirs], schema) for mine, theirs in self._names.items()}
        needed = [mine for mine, theirs in self._names.items() if theirs in required]
        self.signature = inspect.Signature([_parameter(name, name in needed) for name in properties])
        name = _python_name(tool.name)
        defaults = {mine: f" = {listed[theirs].get('default')!r}" for mine, theirs in self._names.items()}
        parameters = [
            f"{key}: {_python_type(value)}{'' if key in needed else defaults[key]}" for key, value in properties.items()
        ]
        returns = _return_type(tool.output_schema)
        self.tool = Tool(
            name=name,
            description=_description(tool, properties),
            parameters={"type": "object", "properties": properties, "required": needed, "additionalProperties": False},
            signature=f"{name}({', '.join(parameters)}) -> {returns}",
            returns=returns,
            writes=not (tool.annotations and tool.annotations.read_only_hint),
        )

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call under the server's names."""
        bound = self.signature.bind(*args, **kwargs).arguments
        return {self._names[name]: value for name, value in bound.items()}


def _parameter(name: str, needed: bool) -> inspect.Parameter:
    default = inspect.Parameter.empty if needed else None
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


def _python_name(name: str) -> str:
    name = re.sub(r"\W", "_", name)
    return f"{name}_" if keyword.iskeyword(name) or not name or name[0].isdigit() else name


def _description(tool: "mcp.Tool", properties: dict[str, Any]) -> str:
    text = (tool.description or tool.title or tool.name).strip()
    descriptions = {name: schema["description"] for name, schema in properties.items() if "description" in schema}
    if not descriptions or re.search(r"^Args:$", text, re.MULTILINE):
        return text
    lines = [f"    {name}: {' '.join(words.split())}" for name, words in descriptions.items()]
    return "\n".join([text, "", "Args:", *lines])


def _simple(schema: Any, root: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return a less strict schema made only of type, items, enum, anyOf and description; the server checks the rest.

    Args:
        schema: the schema, or a part of it.
        root: the whole schema, which `$ref` refers to.
        depth: nesting depth of the part.
    """
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        return {}
    if "$ref" in schema:
        return _simple(_resolve(schema["$ref"], root), root, depth + 1) | _description_of(schema)
    if "const" in schema or "enum" in schema:
        return {"enum": schema.get("enum", [schema.get("const")])} | _description_of(schema)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return {"anyOf": [_simple(part, root, depth + 1) for part in schema[word]]} | _description_of(schema)
    if len(schema.get("allOf", ())) == 1:
        return _simple(schema["allOf"][0], root, depth + 1) | _description_of(schema)
    kind = schema.get("type")
    if isinstance(kind, list):
        return {"anyOf": [_simple(schema | {"type": one}, root, depth + 1) for one in kind]} | _description_of(schema)
    simple = {"type": kind} if kind in _PYTHON else {}
    if kind == "array" and "items" in schema:
        simple["items"] = _simple(schema["items"], root, depth + 1)
    return simple | _description_of(schema)


def _description_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    """Return the part of a schema that a `$ref` points to, or {} if there is none."""
    part: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        part = part.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(part, dict) else {}
    return part


def _python_type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_python_type, schema["anyOf"])))
    if schema.get("items"):
        return f"list[{_python_type(schema['items'])}]"
    return _PYTHON.get(schema.get("type", ""), "Any")


def _return_type(schema: dict[str, Any] | None) -> str:
    if not schema:
        return "Any"
    properties = schema.get("properties", {})
    inner = properties["result"] if set(properties) == {"result"} else schema
    return _python_type(_simple(inner, schema))
