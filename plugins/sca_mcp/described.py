"""A server's tools as `sca` describes tools: JSON Schema of any kind → the kind made of type, items, enum and anyOf."""

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
_DEEPEST = 8


class Described:
    """A server's tool, and how its parameters are called there and here.

    Args:
        tool: as the server lists it.
    """

    def __init__(self, tool: "mcp.Tool") -> None:
        self.remote = tool.name
        schema = tool.input_schema
        required = schema.get("required", [])
        listed = schema.get("properties", {})
        order = sorted(listed, key=lambda name: name not in required)  # Python wants those without a default first
        self._names = {_python_name(name): name for name in order}
        properties = {mine: _simple(listed[theirs], schema) for mine, theirs in self._names.items()}
        needed = [mine for mine, theirs in self._names.items() if theirs in required]
        self.signature = inspect.Signature([_parameter(name, name in needed) for name in properties])
        name = _python_name(tool.name)
        defaults = {mine: f" = {listed[theirs].get('default')!r}" for mine, theirs in self._names.items()}
        shown = [
            f"{key}: {_python_type(value)}{'' if key in needed else defaults[key]}" for key, value in properties.items()
        ]
        returns = _returned(tool.output_schema)
        self.tool = Tool(
            name=name,
            description=_description(tool, properties),
            parameters={"type": "object", "properties": properties, "required": needed, "additionalProperties": False},
            signature=f"{name}({', '.join(shown)}) -> {returns}",
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
    told = {name: schema["description"] for name, schema in properties.items() if "description" in schema}
    if not told or re.search(r"^Args:$", text, re.MULTILINE):
        return text
    return "\n".join([text, "", "Args:", *(f"    {name}: {' '.join(words.split())}" for name, words in told.items())])


def _simple(schema: Any, root: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return a schema that judges less strictly, made of what is used here; the server judges the rest."""
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return {}
    if "$ref" in schema:
        return _simple(_referred(schema["$ref"], root), root, depth + 1) | _described(schema)
    if "const" in schema or "enum" in schema:
        return {"enum": schema.get("enum", [schema.get("const")])} | _described(schema)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return {"anyOf": [_simple(part, root, depth + 1) for part in schema[word]]} | _described(schema)
    if len(schema.get("allOf", ())) == 1:
        return _simple(schema["allOf"][0], root, depth + 1) | _described(schema)
    kind = schema.get("type")
    if isinstance(kind, list):
        return {"anyOf": [_simple(schema | {"type": one}, root, depth + 1) for one in kind]} | _described(schema)
    simple = {"type": kind} if kind in _PYTHON else {}
    if kind == "array" and "items" in schema:
        simple["items"] = _simple(schema["items"], root, depth + 1)
    return simple | _described(schema)


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}


def _referred(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found


def _python_type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_python_type, schema["anyOf"])))
    if schema.get("items"):
        return f"list[{_python_type(schema['items'])}]"
    return _PYTHON.get(schema.get("type", ""), "Any")


def _returned(schema: dict[str, Any] | None) -> str:
    if not schema:
        return "Any"
    properties = schema.get("properties", {})
    inner = properties["result"] if set(properties) == {"result"} else schema
    return _python_type(_simple(inner, schema))
