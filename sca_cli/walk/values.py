"""Values for parameters: from the documentation, from results and other texts of the environment, or made up.

Each value has a source. So a record names the source of every argument, and the explorer learns from which sources a
tool accepts values.
"""

import base64
import math
import random
import re
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from sca_cli.analysis import fits
from sca_cli.interfaces import Tool
from sca_cli.records import JSON
from sca_cli.walk.documented import Offer, dates, listed, numbers, offer, quoted

type Source = Literal["documentation", "enum", "default", "first observation", "result", "refusal", "made up"]

_CODE = re.compile(r"[^\s,;:!?\"'`()\[\]{}<>]*[\d@#/_][^\s,;:!?\"'`()\[\]{}<>]*[^\s.,;:!?\"'`()\[\]{}<>]")
"""Match a word with a digit or one of @ # / _, such as an id or an address."""
_MOST_OF_A_NAME = 40
"""Most values stored for one name; the oldest are deleted first. Chosen by hand, like the next two."""
_TEXT_CHARS = 120
_OPTIONAL = 0.4
"""Share of the made-up objects that have an optional member. Chosen by hand."""
_KNOWN = 0.5
"""Share of the members of made-up objects that take a stored value of the same name. Chosen by hand."""
_WORDS = (
    "amber", "apple", "autumn", "bakery", "bridge", "bring", "candle", "castle", "chapter", "circle", "clock",
    "cloud", "coffee", "copper", "corner", "cotton", "dinner", "early", "engine", "evening", "family", "fern",
    "fifth", "garden", "gate", "ginger", "glass", "green", "harbor", "honey", "hotel", "island", "jacket",
    "kitchen", "ladder", "lantern", "lemon", "letter", "library", "maple", "market", "meadow", "meet", "midnight",
    "mirror", "monday", "morning", "museum", "music", "noon", "north", "number", "ocean", "office", "olive",
    "orange", "orchard", "paper", "parcel", "pepper", "piano", "pilot", "pocket", "prince", "quiet", "railway",
    "river", "saddle", "salmon", "school", "second", "silver", "south", "station", "stone", "summer", "sunday",
    "table", "tea", "ticket", "timber", "tower", "train", "travel", "tuesday", "tulip", "under", "velvet",
    "village", "violin", "water", "weather", "wednesday", "window", "winter", "yellow",
)  # fmt: skip
"""Words that made-up texts consist of."""


_USUAL: tuple[tuple[str, float, float], ...] = (
    (r"per ?cent|%", 1, 30),
    (r"rate|ratio|factor|share", 0.05, 3),
    (r"\b(?:num|count|times|quantity|nights|days|hours|items|pieces|places|shift|size|limit|index|page)\b", 1, 12),
    (r"age\b|years\b", 1, 90),
    (r"price|cost|amount|value|fee|salary|budget|money|tariff|total", 5, 5000),
)
"""(pattern in a parameter's name or description, low, high) of made-up numbers. Chosen by hand."""
_FORMATS = {
    "date": "{day}", "time": "{clock}", "date-time": "{day}T{clock}", "duration": "P{number}D", "uuid": "{key}",
    "email": "{word}@example.org", "uri": "https://example.org/{word}",
}  # fmt: skip
"""Format of JSON Schema → template of a made-up text."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value for a parameter, and its source."""

    value: JSON
    source: Source


class Values:
    """The values of one exploration, by source and by the name of their parameter or key.

    Args:
        tools: the environment's tools.
        draw: random generator.
    """

    def __init__(self, tools: list[Tool], draw: random.Random) -> None:
        self._draw = draw
        self._offers = {
            (tool.name, name): offer(tool, name) for tool in tools for name in tool.parameters["properties"]
        }
        self._names = {tool.name for tool in tools} | {name for _, name in self._offers}
        self._stored: dict[Source, dict[str, list[JSON]]] = defaultdict(lambda: defaultdict(list))
        for (_, name), offered in self._offers.items():
            for value in offered.examples:
                self.see("documentation", name, value)

    def see(self, source: Source, name: str, value: JSON) -> None:
        """Store a value and its parts under the name of its parameter or key."""
        if isinstance(value, dict):
            for key, part in value.items():
                self.see(source, key, key) if re.search(r"\W|\d", key) else None
                self.see(source, key, part)
        elif isinstance(value, list):
            for part in value:
                self.see(source, name, part)
        if isinstance(value, bool) or value in (None, "", [], {}) or len(repr(value)) > _TEXT_CHARS:
            return
        values = self._stored[source][name]
        if value not in values:
            values.append(value)
            del values[:-_MOST_OF_A_NAME]

    def read(self, source: Source, text: str, names: list[str], refused: str = "") -> None:
        """Store the values in a text: quoted texts, list entries, dates, numbers, and words with a digit.

        Args:
            source: the kind of text.
            text: the first observation, or a refusal.
            names: parameters for which the values are stored.
            refused: arguments of the refused call; parts of them that the text repeats are not stored.
        """
        values = [*quoted(text), *listed(text), *_entries(text), *dates(text), *numbers(text), *_CODE.findall(text)]
        for value in values:
            if str(value) not in refused and value not in self._names:
                for name in names:
                    self.see(source, name, value)

    def candidates(self, tool: Tool, name: str, source: Source) -> list[JSON]:
        """Return the values of one source that have this parameter's type.

        If values are stored under the parameter's own name, return them; otherwise those whose name shares a word.
        """
        schema = fits.element(tool, name)
        if source == "enum":
            return list(_options(schema))
        if source == "default":
            return [schema["default"]] if "default" in schema else []
        if source == "documentation" and (own := self._fitting(self._offers[tool.name, name].examples, schema)):
            return own
        words = _words(name)
        same: list[JSON] = []
        similar: list[JSON] = []
        for key, values in self._stored[source].items():
            near = same if key == name else similar if words & _words(key) else None
            if near is not None:
                near += self._fitting(values, schema)
        return same or similar

    def typed(self, tool: Tool, name: str) -> list[JSON]:
        """Return all values from results that have this parameter's type, whatever their names are."""
        schema = fits.element(tool, name)
        return [value for values in self._stored["result"].values() for value in self._fitting(values, schema)]

    @staticmethod
    def _fitting(values: list[JSON], schema: dict[str, JSON]) -> list[JSON]:
        return [value for value in values if fits.holds(schema, value)]

    def made_up(self, tool: Tool, name: str) -> JSON:
        """Make up a value of the parameter's type, within the limits that its documentation and its schema give."""
        about = f"{name.replace('_', ' ')} {tool.parameters['properties'][name].get('description', '')}".lower()
        return self._of_schema(fits.element(tool, name), about, self._offers[tool.name, name])

    def _of_schema(self, schema: dict[str, JSON], about: str, offered: Offer) -> JSON:
        if "enum" in schema:
            return self._draw.choice(schema["enum"])
        if "anyOf" in schema:
            return self._of_schema(self._draw.choice(schema["anyOf"]), about, offered)
        match schema.get("type"):
            case "integer":
                return self._number(_bounded(offered, schema), about, whole=True)
            case "number":
                return self._number(_bounded(offered, schema), about, whole=self._draw.random() < 0.4)
            case "boolean":
                return self._draw.random() < 0.5
            case "null":
                return None
            case "array":
                return self._items(schema, about, offered)
            case "object":
                return self._members(schema)
            case _:
                return (
                    self._formatted(schema["format"])
                    if schema.get("format") in _FORMATS
                    else self._text(about, offered)
                )

    def _items(self, schema: dict[str, JSON], about: str, offered: Offer) -> list[JSON]:
        """Make up the items of a list: one to three, if more than their type is known; else none."""
        if places := schema.get("prefixItems"):
            return [self._of_schema(place, about, offered) for place in places]
        items = schema.get("items") or {}
        if "minItems" not in schema and items.keys() <= {"type"}:
            return []
        count = self._draw.randint(max(1, schema.get("minItems", 1)), max(3, schema.get("minItems", 1)))
        return [self._of_schema(items, about, offered) for _ in range(count)]

    def _members(self, schema: dict[str, JSON]) -> dict[str, JSON]:
        """Make up an object; half of its members are stored values of the same name."""
        members: dict[str, JSON] = {}
        for key, part in schema.get("properties", {}).items():
            if key in schema.get("required", ()) or self._draw.random() < _OPTIONAL:
                stored = [values.get(key, []) for values in self._stored.values()]
                known = self._fitting([value for values in stored for value in values], part)
                about = f"{key.replace('_', ' ')} {part.get('description', '')}".lower()
                is_known = bool(known) and self._draw.random() < _KNOWN
                members[key] = self._draw.choice(known) if is_known else self._of_schema(part, about, Offer())
        if "properties" not in schema and isinstance(others := schema.get("additionalProperties"), dict):
            for key in self._draw.sample(_WORDS, self._draw.randint(1, 3)):
                members[key] = self._of_schema(others, key, Offer())
        return members

    def _formatted(self, form: str) -> str:
        """Make up a text of one of `_FORMATS`."""
        day = date(2024, 1, 1) + timedelta(days=self._draw.randrange(700))
        clock = f"{self._draw.randrange(24):02}:{self._draw.randrange(60):02}:00"
        key = uuid.UUID(int=self._draw.getrandbits(128), version=4)
        return _FORMATS[form].format(day=day, clock=clock, word=self._draw.choice(_WORDS), number=day.day, key=key)

    def _number(self, offered: Offer, about: str = "", *, whole: bool) -> float:
        low, high = next(
            ((low, high) for words, low, high in _USUAL if re.search(words, about)), (1, 10 ** self._draw.randint(1, 4))
        )
        low = low if offered.low is None else max(low, offered.low)
        high = max(low, high if offered.high is None else min(high, offered.high))
        if whole:
            return self._draw.randint(math.ceil(low), max(math.ceil(low), int(high)))
        return round(self._draw.uniform(low, high), self._draw.randint(1, 2) if high > 10 else 2)

    def _text(self, about: str, offered: Offer) -> str:
        phrase = " ".join(self._draw.sample(_WORDS, self._draw.randint(1, 5)))
        phrase = self._draw.choice([phrase, phrase.capitalize(), phrase.title()])
        if "hex" in about:
            return self._draw.choice([phrase.encode().hex(" ").upper(), phrase.encode().hex()])
        if "base64" in about:
            return base64.b64encode(phrase.encode()).decode()
        if re.search(r"expression|formula|arithmetic", about):
            return self._expression()
        if offered.alphabet:
            return "".join(self._draw.choices(offered.alphabet, k=self._draw.randint(6, 30)))
        return phrase

    def _expression(self) -> str:
        count = self._draw.randint(2, 4)
        terms = [f"{self._number(Offer(low=1, high=500), whole=self._draw.random() < 0.6):g}" for _ in range(count)]
        text = terms[0]
        for place, term in enumerate(terms[1:], 1):
            text = f"{text} {self._draw.choice('+-*/')} {term}"
            if place < count - 1 and self._draw.random() < 0.5:
                text = f"({text})"
        return text


def _bounded(offered: Offer, schema: dict[str, JSON]) -> Offer:
    """Return an offer with the bounds of a schema, if it has any."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", offered.low))
    high = schema.get("maximum", schema.get("exclusiveMaximum", offered.high))
    return Offer(low=low, high=high)


def varied(value: JSON, draw: random.Random) -> JSON:
    """Replace a number, with probability 0.5, by one of similar size and decimals; return other values unchanged."""
    if isinstance(value, bool) or not isinstance(value, int | float) or draw.random() < 0.5:
        return value
    if isinstance(value, int):
        low, high = sorted((value // 2, value * 2))
        return draw.randint(max(low, 1), max(high, 3)) if value > 0 else draw.randint(low, high)
    decimals = len(repr(value).partition(".")[2])
    return round(value * draw.uniform(0.5, 2), min(decimals, 2)) if decimals <= 6 else value


def _entries(text: str) -> list[JSON]:
    """Return the entries of a list at the end of a refusal, such as "known: gym, sea view, spa"."""
    after = text.rpartition(": ")[2]
    entries = [entry.strip(" .'\"") for entry in after.split(", ")]
    return list(entries) if len(entries) > 2 and all(0 < len(entry) < 40 for entry in entries) else []


def _options(schema: dict[str, JSON]) -> list[JSON]:
    if "anyOf" in schema:
        return [value for option in schema["anyOf"] for value in _options(option)]
    return list(schema.get("enum", []))


def _words(name: str) -> set[str]:
    """Return the words of a parameter's name, `hotel_prices` as {hotel, price}."""
    return {
        word.rstrip("s") or word for word in re.findall(r"[a-z]+|\d+", name.lower()) if word not in ("id", "the", "of")
    }
