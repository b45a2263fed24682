"""Read JSON Schemas of arguments: bring them into one form, match values, and name types. Standard library only.

The form (`plain`) has no `$ref`, `const`, `oneOf` or list of types, so that readers need few cases: `enum`, `anyOf`,
and `type` with `items`, `prefixItems`, `properties`, `required` and `additionalProperties`. All other keywords are
kept; the tool itself checks them.
"""

from collections.abc import Iterator
from typing import Any

type Schema = dict[str, Any]

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip
"""JSON type → the Python types of its decoded values."""
_PYTHON = {
    "string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "array": "list",
    "object": "dict",
}  # fmt: skip
_FLOAT_MAX = 1 << 1023
_DETAILS = (
    "format", "pattern", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems",
)  # fmt: skip
"""Keywords that restrict a value beyond its type."""
_FORMS = {
    "properties": dict,
    "required": list,
    "enum": list,
    "anyOf": list,
    "oneOf": list,
    "allOf": list,
    "prefixItems": list,
}
"""Keyword → the form of its value. A value of another form is ignored."""
_MAX_DEPTH = 8
"""Most references within each other; chosen by hand. Deeper parts accept any value."""
_DROPPED = {
    "$ref",
    "$defs",
    "definitions",
    "$schema",
    "$id",
    "title",
    "const",
    "oneOf",
    "allOf",
    "nullable",
    "discriminator",
}


def plain(schema: Any, root: Any = None, within: tuple[str, ...] = ()) -> Schema:
    """Return a schema in the one form that this module reads.

    Args:
        schema: any JSON Schema, or a part of one. None and True accept everything, as {} does.
        root: the whole schema, which `$ref` refers to; the schema itself by default.
        within: the references that were followed to reach this part. They are not followed again, because a type can
            contain itself: the schema then says at most the JSON type of the value.
    """
    if schema is False:
        return {"enum": []}
    if not isinstance(schema, dict):
        return {}
    root = schema if root is None else root
    schema = {key: value for key, value in schema.items() if isinstance(value, _FORMS.get(key, object))}
    result = {
        key: value for key, value in schema.items() if key == "default" or (value is not None and key not in _DROPPED)
    }
    if (reference := schema.get("$ref")) is not None:
        target = _target(str(reference), root)
        if reference in within or len(within) >= _MAX_DEPTH:
            return {"type": target["type"]} if isinstance(target.get("type"), str) else {}
        return plain(target, root, (*within, reference)) | plain(result, root, within)
    for part in schema.get("allOf") or ():
        result = _both(plain(part, root, within), result)
    if "const" in schema:
        result["enum"] = [schema["const"]]
    if options := schema.get("anyOf") or schema.get("oneOf"):
        result["anyOf"] = [plain(option, root, within) for option in options]
    kinds = result.pop("type", "object" if "properties" in result else None)
    if isinstance(kinds, list):
        result["anyOf"] = [plain(schema | {"type": kind}, root, within) for kind in kinds]
        return {key: result[key] for key in ("anyOf", "description", "default") if key in result}
    if kinds in TYPES:
        result = {"type": kinds} | result
    if isinstance(items := result.get("items"), list):  # tuples, in older drafts
        result["prefixItems"] = items
        del result["items"]
    for key in ("items", "additionalProperties"):
        if key in result:
            result[key] = result[key] if isinstance(result[key], bool) else plain(result[key], root, within)
    if "prefixItems" in result:
        result["prefixItems"] = [plain(item, root, within) for item in result["prefixItems"]]
    if "properties" in result:
        result["properties"] = {key: plain(value, root, within) for key, value in result["properties"].items()}
    if schema.get("nullable") is True:
        described = {key: result.pop(key) for key in ("description", "default") if key in result}
        return {"anyOf": [result, {"type": "null"}]} | described
    return result


def _both(one: Schema, other: Schema) -> Schema:
    """Join the parts of an `allOf`."""
    joined = one | other
    if "properties" in one and "properties" in other:
        joined["properties"] = one["properties"] | other["properties"]
    if required := [*one.get("required", ()), *other.get("required", ())]:
        joined["required"] = list(dict.fromkeys(required))
    return joined


def _target(reference: str, root: Any) -> Schema:
    """Return the part of a schema that a `$ref` points to, or {} if there is none."""
    part = root
    for step in filter(None, reference.removeprefix("#").split("/")):
        part = part.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(part, dict) else None
    return part if isinstance(part, dict) else {}


def fits(schema: Schema, value: Any) -> bool:
    """Decide whether a decoded JSON value has the type that a schema describes. A boolean is never a number.

    Args:
        schema: in the form of `plain`.
        value: the value.
    """
    if "enum" in schema:
        return any(type(value) is type(item) and value == item for item in schema["enum"])
    if "anyOf" in schema:
        return any(fits(option, value) for option in schema["anyOf"])
    kind = schema.get("type")
    if kind is None:
        return True
    if type(value) not in TYPES[kind]:
        return False
    if kind == "number":  # an integer outside the range of a float would overflow in the tool's arithmetic
        return bool(-_FLOAT_MAX < value < _FLOAT_MAX)
    if kind == "array":
        return _items_fit(schema, value)
    return kind != "object" or _members_fit(schema, value)


def _items_fit(schema: Schema, value: list[Any]) -> bool:
    places = schema.get("prefixItems", [])
    if places and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return False
    if not all(map(fits, places, value)):
        return False
    rest, items = value[len(places) :], schema.get("items", {})
    return not rest if items is False else items is True or all(fits(items, item) for item in rest)


def _members_fit(schema: Schema, value: dict[str, Any]) -> bool:
    if not all(key in value for key in schema.get("required", ())):
        return False
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key, member in value.items():
        inner = properties.get(key, others)
        if inner is False or (inner is not True and not fits(inner, member)):
            return False
    return True


def python_type(schema: Schema) -> str:
    """Return a schema's type as Python text, such as `list[{'street': str, 'number': NotRequired[int]}]`."""
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(python_type, schema["anyOf"])))
    if places := schema.get("prefixItems"):
        return f"tuple[{', '.join(map(python_type, places))}]"
    if schema.get("type") == "array" and isinstance(items := schema.get("items"), dict) and items:
        return f"list[{python_type(items)}]"
    if properties := schema.get("properties"):
        required = schema.get("required", ())
        members = {key: python_type(value) for key, value in properties.items()}
        texts = [f"{key!r}: {text if key in required else f'NotRequired[{text}]'}" for key, text in members.items()]
        return f"{{{', '.join(texts)}}}"
    if isinstance(others := schema.get("additionalProperties"), dict) and others:
        return f"dict[str, {python_type(others)}]"
    return _PYTHON.get(schema.get("type", ""), "Any")


def with_details(text: str, properties: Schema) -> str:
    """Append the bounds of each parameter, and its description if the text does not contain it already.

    Args:
        text: a tool's documentation.
        properties: parameter → its schema.
    """
    flat = " ".join(text.split())
    lines = []
    for path, part in _parts(properties):
        bounds = [f"{key} {part[key]}" for key in _DETAILS if key in part and "prefixItems" not in part]
        lines += _line(path, [*_new_description(part, flat), *bounds])
    return _with_lines(text, lines)


def with_descriptions(text: str, signature: str, properties: Schema) -> str:
    """Append the descriptions and allowed values of parameters that neither the text nor the signature contains.

    Args:
        text: a tool's documentation.
        signature: its signature as Python text.
        properties: parameter → its schema.
    """
    flat = " ".join(f"{signature} {text}".split())
    lines = []
    for path, part in _parts(properties):
        values = [repr(value) for value in part.get("enum", ())]
        hidden = [f"one of {', '.join(values)}"] if any(value not in flat for value in values) else []
        lines += _line(path, [*_new_description(part, flat), *hidden])
    return _with_lines(text, lines)


def _new_description(part: Schema, flat: str) -> list[str]:
    description = " ".join(str(part.get("description", "")).split())
    return [description] if description and description not in flat else []


def _line(path: str, words: list[str]) -> list[str]:
    return [f"    {path}: {'; '.join(words)}"] if words else []


def _with_lines(text: str, lines: list[str]) -> str:
    has_section = any(line.strip() == "Args:" for line in text.splitlines())
    return "\n".join([text, "", "Details:" if has_section else "Args:", *lines]) if lines else text


def _parts(properties: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield (path, schema) of each parameter and of its parts."""
    for name, schema in properties.items():
        yield from _parts_of(f"{prefix}{name}", schema)


def _parts_of(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for option in schema.get("anyOf", ()):
        yield from _parts_of(path, option)
    yield from _parts(schema.get("properties", {}), f"{path}.")
    for key in ("items", "additionalProperties"):
        if isinstance(part := schema.get(key), dict):
            yield from _parts_of(f"{path}[]", part)
    for place, part in enumerate(schema.get("prefixItems", ())):
        yield from _parts_of(f"{path}[{place}]", part)
