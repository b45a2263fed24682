"""Generate arguments for tools from their schemas and a state: fitting ones, mismatched ones and unusual ones."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sca_cli.interfaces import Tool
from sca_cli.records import JSON
from sca_cli.toolkit import schemas

# All values below are chosen by hand.
_WORDS = ("", "a", "12", "Ann", "2024-01-31", "no such thing")
_NUMBERS = (0, 1, 2, 3, 10, 250)
_FORMATS = {
    "date": "2024-01-31", "date-time": "2024-01-31T12:30:00", "time": "12:30:00", "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000001", "email": "ann@example.org", "uri": "https://example.org/a",
}  # fmt: skip
_VALUES_OF_ALL_TYPES = ("text", 7, 1.5, True, None, ["text"], {"key": 1})
_UNUSUAL_VALUES = {
    "string": ("", " ", "x" * 2000, "\0", "🙂", "'; DROP TABLE x", "../../etc/passwd", "{0.__class__}", "%s"),
    "integer": (0, -1, 2**31, 10**30, -(10**30)),
    "number": (0, -1.5, 1e308, -1e308, 5e-324, 10**30),
    "array": ([],),
    "object": ({}, {"": {}}),
}


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
            if name in record and schemas.fits(properties[name], record[name])
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
            if places := schema.get("prefixItems"):
                return [_value(place, rng, words, numbers) for place in places]
            items = schema.get("items", {})
            return [_value(items, rng, words, numbers) for _ in range(rng.randint(schema.get("minItems", 0), 3))]
        case "object" if "properties" in schema:
            names = [key for key in schema["properties"] if key in schema.get("required", ()) or rng.random() < 0.5]
            return {name: _value(schema["properties"][name], rng, words, numbers) for name in names}
        case "object":
            others = schema.get("additionalProperties", {})
            return {rng.choice(words): _value(others, rng, words, numbers) if others is not True else rng.choice(words)}
        case "integer" | "number":
            low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
            return rng.choice([number for number in numbers if low <= number <= high] or [low])
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return _FORMATS.get(schema.get("format", "")) or rng.choice(words)


def misfits(tool: Tool, state: JSON) -> Iterator[dict[str, JSON]]:
    """Yield arguments with one fault: an unknown parameter, a missing required one, or a value of a wrong type."""
    (arguments,) = fitting(tool, values_of(state), random.Random(2), 1)
    properties = tool.parameters["properties"]
    yield arguments | {"no_such_parameter": 1}
    for name in tool.parameters.get("required", []):
        yield {key: value for key, value in arguments.items() if key != name}
    for name, schema in properties.items():
        yield from (arguments | {name: value} for value in _VALUES_OF_ALL_TYPES if not schemas.fits(schema, value))


def oddities(tool: Tool) -> Iterator[dict[str, JSON]]:
    """Yield arguments of the right types with one unusual value, such as an empty or very long string."""
    rng = random.Random(3)
    properties = tool.parameters["properties"]
    for name, schema in properties.items():
        for value in _UNUSUAL_VALUES.get(schema.get("type", "string"), ()):
            if "enum" not in schema and "anyOf" not in schema and schemas.fits(schema, value):
                (arguments,) = fitting(tool, values_of({}), rng, 1)
                yield arguments | {name: value}


def is_schema(schema: Any) -> bool:
    """Tell whether a schema has the form that `sca_cli.toolkit.schemas` describes."""
    return isinstance(schema, dict) and schemas.plain(schema) == schema
