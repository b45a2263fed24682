"""Arguments for tools, made from their schemas and a state: such as fit, such as do not, and odd ones."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sca_cli.interfaces import Tool
from sca_cli.records import JSON

_WORDS = ("", "a", "12", "Ann", "2024-01-31", "no such thing")
_NUMBERS = (0, 1, 2, 3, 10, 250)
_STRANGERS = ("text", 7, 1.5, True, None, ["text"], {"key": 1})
_ODD = {
    "string": ("", " ", "x" * 2000, "\0", "🙂", "'; DROP TABLE x", "../../etc/passwd", "{0.__class__}", "%s"),
    "integer": (0, -1, 2**31, 10**30, -(10**30)),
    "number": (0, -1.5, 1e308, -1e308, 5e-324, 10**30),
    "array": ([],),
    "object": ({}, {"": {}}),
}
_TYPES = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
    "array": (list,), "object": (dict,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Material:
    """What a state holds, to make arguments of."""

    words: list[str]
    numbers: list[Any]
    records: dict[str, list[dict[str, JSON]]]
    """Key → objects that have it: an order with its `order_id`."""


def fitting(tool: Tool, material: Material, draw: random.Random, count: int) -> Iterator[dict[str, JSON]]:
    """Yield arguments that fit: mostly those of one record of the state, else words and numbers of it."""
    properties, required = tool.parameters["properties"], tool.parameters.get("required", [])
    for _ in range(count):
        names = [name for name in properties if name in required or draw.random() < 0.5]
        known = [name for name in names if name in material.records]
        record = draw.choice(material.records[draw.choice(known)]) if known and draw.random() < 0.8 else {}
        yield {
            name: record[name]
            if name in record and _fits(properties[name], record[name])
            else _value(properties[name], draw, material.words, material.numbers)
            for name in names
        }


def material_of(state: JSON) -> Material:
    """Return what a state holds to make arguments of."""
    words, numbers, todo = dict.fromkeys(_WORDS), dict.fromkeys(_NUMBERS), [state]
    records: dict[str, list[dict[str, JSON]]] = {}
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            words |= dict.fromkeys(value)
            for key in value:
                records.setdefault(key, []).append(value)
            todo += value.values()
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, str):
            words[value] = None
        elif isinstance(value, int) and not isinstance(value, bool):
            numbers[value] = None
    return Material(list(words), list(numbers), records)


def _value(schema: dict[str, Any], draw: random.Random, words: list[str], numbers: list[Any]) -> JSON:
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if "anyOf" in schema:
        return _value(draw.choice(schema["anyOf"]), draw, words, numbers)
    match schema.get("type"):
        case "array":
            items = schema.get("items", {})
            return [_value(items, draw, words, numbers) for _ in range(draw.randint(0, 3))]
        case "object":
            return {draw.choice(words): draw.choice(words)}
        case "integer" | "number":
            return draw.choice(numbers)
        case "boolean":
            return draw.random() < 0.5
        case "null":
            return None
    return draw.choice(words)


def misfits(tool: Tool, state: JSON) -> Iterator[dict[str, JSON]]:
    """Yield arguments of which one is missing, superfluous or of another type."""
    (given,) = fitting(tool, material_of(state), random.Random(2), 1)
    properties = tool.parameters["properties"]
    yield given | {"no_such_parameter": 1}
    for name in tool.parameters.get("required", []):
        yield {key: value for key, value in given.items() if key != name}
    for name, schema in properties.items():
        yield from (given | {name: value} for value in _STRANGERS if not _fits(schema, value))


def _fits(schema: dict[str, Any], value: Any) -> bool:
    if "enum" in schema:
        return any(type(value) is type(item) and value == item for item in schema["enum"])
    if "anyOf" in schema:
        return any(_fits(option, value) for option in schema["anyOf"])
    if "type" not in schema:
        return True
    inner = schema.get("items", {}) if isinstance(value, list) else {}
    return type(value) in _TYPES[schema["type"]] and (not inner or all(_fits(inner, item) for item in value))


def oddities(tool: Tool) -> Iterator[dict[str, JSON]]:
    """Yield arguments of the right types of which one has a value that nobody expects."""
    draw = random.Random(3)
    properties = tool.parameters["properties"]
    for name, schema in properties.items():
        for value in _ODD.get(schema.get("type", "string"), ()):
            if "enum" not in schema and "anyOf" not in schema:
                (given,) = fitting(tool, material_of({}), draw, 1)
                yield given | {name: value}


def is_schema(schema: Any) -> bool:
    """Tell whether arguments can be judged by a schema."""
    if not isinstance(schema, dict):
        return False
    inner = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return schema.get("type", "string") in _TYPES and all(map(is_schema, inner))
