"""Generate arguments for tools from their schemas and a state: fitting ones, mismatched ones and unusual ones."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sca_cli.interfaces import Tool
from sca_cli.records import JSON

# All values below are chosen by hand.
_WORDS = ("", "a", "12", "Ann", "2024-01-31", "no such thing")
_NUMBERS = (0, 1, 2, 3, 10, 250)
_VALUES_OF_ALL_TYPES = ("text", 7, 1.5, True, None, ["text"], {"key": 1})
_UNUSUAL_VALUES = {
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
class StateValues:
    """Values of a state that can serve as arguments."""

    words: list[str]
    """Strings and keys of the state, and a few fixed words."""
    numbers: list[Any]
    """Integers of the state, and a few fixed numbers."""
    records: dict[str, list[dict[str, JSON]]]
    """Key → objects of the state that have this key, such as `order_id` → orders."""


def fitting(tool: Tool, values: StateValues, rng: random.Random, count: int) -> Iterator[dict[str, JSON]]:
    """Yield arguments that fit a tool's schemas.

    Each required parameter gets a value, each optional one with probability 0.5. With probability 0.8 the values come
    from one record of the state that has such fields, so that they belong together. Other values are drawn one by one.

    Args:
        tool: the tool to call.
        values: the values to draw from.
        rng: draws.
        count: number of argument sets.
    """
    properties, required = tool.parameters["properties"], tool.parameters.get("required", [])
    for _ in range(count):
        names = [name for name in properties if name in required or rng.random() < 0.5]
        known = [name for name in names if name in values.records]
        record = rng.choice(values.records[rng.choice(known)]) if known and rng.random() < 0.8 else {}
        yield {
            name: record[name]
            if name in record and _fits(properties[name], record[name])
            else _value(properties[name], rng, values.words, values.numbers)
            for name in names
        }


def values_of(state: JSON) -> StateValues:
    """Return the values of a state that can serve as arguments."""
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
    return StateValues(list(words), list(numbers), records)


def _value(schema: dict[str, Any], rng: random.Random, words: list[str], numbers: list[Any]) -> JSON:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return _value(rng.choice(schema["anyOf"]), rng, words, numbers)
    match schema.get("type"):
        case "array":
            items = schema.get("items", {})
            return [_value(items, rng, words, numbers) for _ in range(rng.randint(0, 3))]
        case "object":
            return {rng.choice(words): rng.choice(words)}
        case "integer" | "number":
            return rng.choice(numbers)
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return rng.choice(words)


def misfits(tool: Tool, state: JSON) -> Iterator[dict[str, JSON]]:
    """Yield arguments with one fault: an unknown parameter, a missing required one, or a value of a wrong type."""
    (arguments,) = fitting(tool, values_of(state), random.Random(2), 1)
    properties = tool.parameters["properties"]
    yield arguments | {"no_such_parameter": 1}
    for name in tool.parameters.get("required", []):
        yield {key: value for key, value in arguments.items() if key != name}
    for name, schema in properties.items():
        yield from (arguments | {name: value} for value in _VALUES_OF_ALL_TYPES if not _fits(schema, value))


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
    """Yield arguments of the right types with one unusual value, such as an empty or very long string."""
    rng = random.Random(3)
    properties = tool.parameters["properties"]
    for name, schema in properties.items():
        for value in _UNUSUAL_VALUES.get(schema.get("type", "string"), ()):
            if "enum" not in schema and "anyOf" not in schema:
                (arguments,) = fitting(tool, values_of({}), rng, 1)
                yield arguments | {name: value}


def is_schema(schema: Any) -> bool:
    """Tell whether a schema uses only the keywords and types that this module can check."""
    if not isinstance(schema, dict):
        return False
    inner = [*schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return schema.get("type", "string") in _TYPES and all(map(is_schema, inner))
