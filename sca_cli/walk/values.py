"""Values that a parameter can be given: from the documentation, from what the environment said, or made up.

Each value carries its source, so that a record says where every argument came from and the explorer learns which
sources a tool accepts.
"""

import base64
import math
import random
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from sca_cli.analysis import fits
from sca_cli.interfaces import Tool
from sca_cli.records import JSON
from sca_cli.walk.documented import Offer, dates, listed, numbers, offer, quoted

type Source = Literal["documentation", "enum", "default", "first observation", "result", "refusal", "made up"]

_CODE = re.compile(r"[^\s,;:!?\"'`()\[\]{}<>]*[\d@#/_][^\s,;:!?\"'`()\[\]{}<>]*[^\s.,;:!?\"'`()\[\]{}<>]")
"""A word that is no plain word: it has a digit or one of @ # / _ in it, as ids and addresses have."""
_MOST_OF_A_NAME = 40
"""Values kept for one key; the oldest go first."""
_TEXT_CHARS = 120
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
"""Plain words that texts are made up of."""


_USUAL: tuple[tuple[str, float, float], ...] = (
    (r"per ?cent|%", 1, 30),
    (r"rate|ratio|factor|share", 0.05, 3),
    (r"\b(?:num|count|times|quantity|nights|days|hours|items|pieces|places|shift|size|limit|index|page)\b", 1, 12),
    (r"age\b|years\b", 1, 90),
    (r"price|cost|amount|value|fee|salary|budget|money|tariff|total", 5, 5000),
)
"""Word in a parameter's name or description → range of the numbers that people usually give for it."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value for a parameter, and where it comes from."""

    value: JSON
    source: Source


class Values:
    """Values seen in one exploration, by the name under which they were seen.

    Args:
        tools: those of the environment.
        draw: the source of chance.
    """

    def __init__(self, tools: list[Tool], draw: random.Random) -> None:
        self._draw = draw
        self._offers = {
            (tool.name, name): offer(tool, name) for tool in tools for name in tool.parameters["properties"]
        }
        self._names = {tool.name for tool in tools} | {name for _, name in self._offers}
        self._seen: dict[Source, dict[str, list[JSON]]] = defaultdict(lambda: defaultdict(list))
        for (_, name), offered in self._offers.items():
            for value in offered.examples:
                self.see("documentation", name, value)

    def see(self, source: Source, name: str, value: JSON) -> None:
        """Keep a value, and the parts of it, under the name of its parameter or key."""
        if isinstance(value, dict):
            for key, part in value.items():
                self.see(source, key, key) if re.search(r"\W|\d", key) else None
                self.see(source, key, part)
        elif isinstance(value, list):
            for part in value:
                self.see(source, name, part)
        if isinstance(value, bool) or value in (None, "", [], {}) or len(repr(value)) > _TEXT_CHARS:
            return
        kept = self._seen[source][name]
        if value not in kept:
            kept.append(value)
            del kept[:-_MOST_OF_A_NAME]

    def read(self, source: Source, text: str, names: list[str], given: str = "") -> None:
        """Keep what a text offers: what it quotes and lists, its dates and numbers, and its words with a digit.

        Args:
            source: what the text is.
            text: the first observation, or a refusal.
            names: parameters that the values are kept for.
            given: arguments of the call that was refused; the text may echo parts of them, which are not kept.
        """
        found = [*quoted(text), *listed(text), *_entries(text), *dates(text), *numbers(text), *_CODE.findall(text)]
        for value in found:
            if str(value) not in given and value not in self._names:
                for name in names:
                    self.see(source, name, value)

    def candidates(self, tool: Tool, name: str, source: Source) -> list[JSON]:
        """Return the values of one source that this parameter's type takes; the best-named first.

        A value fits best if it was seen under the parameter's own name, next best under one that shares a word.
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
        for key, kept in self._seen[source].items():
            near = same if key == name else similar if words & _words(key) else None
            if near is not None:
                near += self._fitting(kept, schema)
        return same or similar

    def typed(self, tool: Tool, name: str) -> list[JSON]:
        """Return the results seen under any name that this parameter's type takes."""
        schema = fits.element(tool, name)
        return [value for kept in self._seen["result"].values() for value in self._fitting(kept, schema)]

    @staticmethod
    def _fitting(kept: list[JSON], schema: dict[str, JSON]) -> list[JSON]:
        return [value for value in kept if fits.holds(schema, value)]

    def made_up(self, tool: Tool, name: str) -> JSON:
        """Make a value of the parameter's type within what its documentation says."""
        schema = fits.element(tool, name)
        if "anyOf" in schema:
            schema = self._draw.choice(schema["anyOf"])
        offered = self._offers[tool.name, name]
        about = f"{name.replace('_', ' ')} {tool.parameters['properties'][name].get('description', '')}".lower()
        match schema.get("type"):
            case "integer":
                return self._number(offered, about, whole=True)
            case "number":
                return self._number(offered, about, whole=self._draw.random() < 0.4)
            case "boolean":
                return self._draw.random() < 0.5
            case "array":
                return []
            case "object":
                return {}
            case _:
                return self._text(about, offered)

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


def varied(value: JSON, draw: random.Random) -> JSON:
    """Draw a number about as large and with as many decimals, every second time; other values stay."""
    if isinstance(value, bool) or not isinstance(value, int | float) or draw.random() < 0.5:
        return value
    if isinstance(value, int):
        low, high = sorted((value // 2, value * 2))
        return draw.randint(max(low, 1), max(high, 3)) if value > 0 else draw.randint(low, high)
    decimals = len(repr(value).partition(".")[2])
    return round(value * draw.uniform(0.5, 2), min(decimals, 2)) if decimals <= 6 else value


def _entries(text: str) -> list[JSON]:
    """Return the entries of a list that a refusal ends with: "known: gym, sea view, spa"."""
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
