"""Name one of several records by the fewest facts that tell it from the others.

After R. Dale and E. Reiter, Computational Interpretations of the Gricean Maxims in the Generation of Referring
Expressions, Cognitive Science 19 (1995): facts are compared in the order in which people prefer them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from sca_cli.methods.walk.knowledge import is_opaque
from sca_cli.records import JSON

# All numbers below are chosen by hand.
_MOST_FACTS = 3
_FACTS_COMPARED = 12
_FACT_CHARS = 40
_NUMBER = 5
"""Rank of a number."""
_NAMES = {"name", "title", "subject", "label"}
_NOUNS = {"source", "type", "kind", "brand"}
"""Fields whose value is a noun that names the record: a credit card."""
_SAID_ALONE = _NAMES | _NOUNS | {"status"}
"""Fields whose value is understood without the field's name."""
_PREPOSITIONS = {"origin": "from", "destination": "to", "date": "on", "day": "on"}
"""Fields whose value follows a word that people use → that word."""


class NoName(ValueError):
    """No few facts tell the record from the others."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A field of a record, or of one item of a list in it."""

    path: tuple[str, ...]
    value: JSON
    item: str = ""
    """The field of the list's items; "" for a field of the record itself."""

    def holds(self, record: JSON) -> bool:
        """Tell whether a record has this fact."""
        value = _at(record, self.path)
        if self.item:
            return isinstance(value, list) and any(
                isinstance(x, dict) and x.get(self.item) == self.value for x in value
            )
        return bool(value == self.value)

    def code(self, record: str) -> str:
        """Return a test of the fact as Python, for the record of this name."""
        *outer, last = self.path
        access = record + "".join(f".get({key!r}, {{}})" for key in outer) + f".get({last!r})"
        if self.item:
            list_access = access.removesuffix(f".get({last!r})") + f".get({last!r}, [])"
            return f"any(part[{self.item!r}] == {self.value!r} for part in {list_access})"
        return f"{access} == {self.value!r}"

    def words(self) -> str:
        """Return the fact in words that follow "with"."""
        value = str(self.value).replace("_", " ")
        if self.item:
            return f"the {value}" if self.item in _NAMES else f"{self.item.replace('_', ' ')} {value}"
        last = self.path[-1]
        return value if last in _SAID_ALONE else f"{last.replace('_', ' ')} {value}"

    @property
    def rank(self) -> int:
        """Preference, 0 first: names, names of parts, words, dates and codes, numbers."""
        if not self.item and self.path[-1] in _NAMES:
            return 0
        if self.item:
            return 2 if self.item in _NAMES else _NUMBER + 1
        if not isinstance(self.value, str):
            return _NUMBER
        return 4 if re.search(r"\d", self.value) and len(self.path) == 1 else 1 if len(self.path) == 1 else 3


def in_words(facts: Sequence[Fact]) -> str:
    """Return facts as words that name a record: "Backpack", "the pending one", "the one with the Backpack"."""
    alone = [fact.words() for fact in facts if not fact.item and fact.path[-1] in _SAID_ALONE - _NAMES]
    is_noun = any(not fact.item and fact.path[-1] in _NOUNS for fact in facts)
    names = [fact.words() for fact in facts if not fact.item and fact.path[-1] in _NAMES]
    left = [fact for fact in facts if fact.item or fact.path[-1] not in _SAID_ALONE]
    places = [f"{_PREPOSITIONS[fact.path[-1]]} {fact.value}" for fact in left if _is_place(fact)]
    others = [fact.words() for fact in left if not _is_place(fact)]
    head = " ".join([*alone, *names]) if names else f"the {' '.join([*alone, *([] if is_noun else ['one'])])}"
    return " ".join([head, *places, *(["with", " and ".join(others)] if others else [])])


def _is_place(fact: Fact) -> bool:
    return not fact.item and fact.path[-1] in _PREPOSITIONS


def distinguishing(record: JSON, others: Sequence[JSON]) -> list[Fact]:
    """Return the fewest facts that hold together for a record and for none of the others.

    If there are no others, return one fact.

    Raises:
        NoName: there are no such facts, or too many are needed.
    """
    facts = sorted(_facts(record), key=lambda fact: fact.rank)[:_FACTS_COMPARED]
    if not others:
        return facts[:1]
    in_figures = [fact for fact in facts if fact.rank >= _NUMBER]
    for compared in (facts[: len(facts) - len(in_figures)], facts):  # people rarely name a thing by its price
        for count in range(1, _MOST_FACTS + 1):
            for chosen in combinations(compared, count):
                if not any(all(fact.holds(other) for fact in chosen) for other in others):
                    return list(chosen)
    raise NoName("no few facts tell the records apart")


def _facts(record: JSON, path: tuple[str, ...] = ()) -> Iterator[Fact]:
    if not isinstance(record, dict):
        return
    for key, value in record.items():
        if isinstance(value, dict) and len(path) < 2:
            yield from _facts(value, (*path, key))
        elif isinstance(value, list) and not path:
            for part in value:
                if isinstance(part, dict):
                    yield from (Fact((key,), part[name], name) for name in part if name in _NAMES)
        elif _is_sayable(value):
            yield Fact((*path, key), value)


def _is_sayable(value: JSON) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        return False
    return len(str(value)) <= _FACT_CHARS and not is_opaque(value) and not re.search(r"\dT\d", str(value))


def _at(record: JSON, path: tuple[str, ...]) -> JSON:
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record
