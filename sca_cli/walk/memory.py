"""Store the values that results and texts held, each with its call, its path and its record.

The path of a value without its indices and ids is its *link*: `get_order_details.items[].item_id`. Values of one link
mean the same, so the explorer learns from counts of a link which parameters take its values.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from sca_cli.records import JSON

type Path = tuple[str | int, ...]
"""Keys and indices that lead from a result to a part of it."""

KEY = "~key"
"""Last entry of the path of a value that is the key of an object, such as an id."""
TEXT = "~text"
"""Last but one entry of the path of a value that is a word of a text; the last entry is its position."""
FIRST_OBSERVATION = -1
"""In place of the number of a call: the value is in the first observation."""

_TEXT_CHARS = 80
"""A longer text, or one of several lines, is stored word by word. Chosen by hand."""
_VALUE_CHARS = 120
_MOST_OF_A_LINK = 400
_SMALL_WORDS = {
    *("a", "an", "and", "are", "as", "at", "be", "by", "for", "i", "in", "is", "it", "my", "of", "or", "that", "the"),
    *("this", "with", "your"),
}
_HEAD_WORDS = 2
_CODE = re.compile(r"[^\s,;:!?\"'`()\[\]{}<>]+")
_PHRASE = re.compile(r"[A-Z][\w&'-]*(?: (?:of|the|and|de|in) [A-Z][\w'-]*| [A-Z][\w'-]*)+")


@dataclass(slots=True, eq=False)
class Seen:
    """A value at one place of one result, or of the first observation."""

    value: JSON
    call: int
    """Number of the call, or `FIRST_OBSERVATION`."""
    path: Path
    link: str
    words: frozenset[str]
    """Words of the key under which the value is, or of the text before it."""
    record: dict[str, JSON] = field(default_factory=dict)
    """The nearest object that holds the value."""
    key: str = ""
    """The value as JSON text."""

    def __post_init__(self) -> None:
        self.key = self.key or canonical(self.value)

    @property
    def in_text(self) -> bool:
        """Whether the value is a word of a text."""
        return TEXT in self.path


@dataclass(slots=True)
class _Read:
    """A call whose result was stored."""

    given: dict[str, JSON]
    """The arguments by name."""
    arguments: frozenset[str]
    leaves: frozenset[str]
    facts: list[str]
    """Facts of the whole result, such as `status=pending`, if the call has one argument."""


class Memory:
    """The values of one exploration. Results of calls that were made after a write are not stored."""

    def __init__(self) -> None:
        self.by_link: dict[str, dict[int, list[Seen]]] = defaultdict(lambda: defaultdict(list))
        """Link → call → its values."""
        self.records: list[tuple[int, Path, str, dict[str, JSON]]] = []
        """Call, path, link and fields of every object."""
        self.lists: list[tuple[int, Path, str, list[dict[str, JSON]]]] = []
        """Call, path, link and objects of every list of objects."""
        self.words: dict[str, frozenset[str]] = {}
        """Link → words of its values' keys."""
        self._by_value: dict[str, list[Seen]] = defaultdict(list)
        self._reads: dict[int, _Read] = {}
        self._taken: dict[str, list[int]] = defaultdict(list)  # argument → calls
        self._within: dict[str, list[int]] = defaultdict(list)  # leaf of a result → calls
        self._sizes: dict[str, int] = defaultdict(int)
        self._record_facts: dict[int, list[str]] = {}  # by the identity of records, which all stay in memory

    # ------------------------------------------------------------ storing

    def read_text(self, text: str, call: int, link: str, path: Path = ()) -> None:
        """Store the words of a text that look like a name, a number, a date or an id, each with the words before it."""
        before: list[str] = []
        for match in _CODE.finditer(text):
            word = match[0].rstrip(".")
            if re.search(r"\d|[A-Z@/#_]", word):
                head = before[-_HEAD_WORDS:]
                number = _number(word)
                for value in [word] if number is None else [number, word]:
                    place = (*path, TEXT, match.start())
                    self._add(Seen(value, call, place, f"{link}~{' '.join(head)}", words_of(" ".join(head))))
            if re.fullmatch(r"[A-Za-z][a-z]+", word) and word.lower() not in _SMALL_WORDS:
                before.append(word.lower())
        for match in _PHRASE.finditer(text):
            self._add(Seen(match[0], call, (*path, TEXT, match.start()), f"{link}~phrase", frozenset({"phrase"})))

    def add(self, call: int, tool: str, arguments: dict[str, JSON], result: JSON) -> int:
        """Store the result of a call that worked; return the number of values that were new."""
        known = len(self._by_value)
        self._store(call, result, (), tool, tool, {})
        own_arguments = frozenset(canonical(value) for value in leaves(arguments))
        own_leaves = frozenset(canonical(value) for value in leaves(result))
        facts = facts_of(result) if isinstance(result, dict) and len(arguments) == 1 else []
        self._reads[call] = _Read(arguments, own_arguments, own_leaves, facts)
        for key in own_arguments:
            self._taken[key].append(call)
        for key in own_leaves:
            self._within[key].append(call)
        return len(self._by_value) - known

    def _store(self, call: int, value: JSON, path: Path, link: str, name: str, record: dict[str, JSON]) -> None:
        if isinstance(value, dict):
            self.records.append((call, path, link, value))
            by_id = has_data_keys(value)
            for key, part in value.items():
                if by_id:
                    inner = part if isinstance(part, dict) else {}
                    words = words_of(name) | ({"id"} if re.search(r"\d", key) else {"name"})
                    self._add(Seen(key, call, (*path, key, KEY), f"{link}.*{KEY}", words, inner))
                inner_name = name if by_id and not isinstance(part, dict | list) else key
                self._store(call, part, (*path, key), f"{link}.{'*' if by_id else key}", inner_name, value)
        elif isinstance(value, list):
            objects = [part for part in value if isinstance(part, dict)]
            if objects and len(objects) == len(value):
                self.lists.append((call, path, link, objects))
            for index, part in enumerate(value):
                self._store(call, part, (*path, index), f"{link}[]", name, record)
        elif isinstance(value, str) and (len(value) > _TEXT_CHARS or "\n" in value):
            self.read_text(value, call, link, path)
        elif value is not None and not isinstance(value, bool):
            self._add(Seen(value, call, path, link, words_of(name), record))

    def _add(self, seen: Seen) -> None:
        if seen.value == "" or len(seen.key) > _VALUE_CHARS or self._sizes[seen.link] >= _MOST_OF_A_LINK:
            return
        self._sizes[seen.link] += 1
        self.words.setdefault(seen.link, seen.words)
        self.by_link[seen.link][seen.call].append(seen)
        self._by_value[seen.key].append(seen)

    # ------------------------------------------------------------ asking

    def places(self, value: JSON) -> list[Seen]:
        """Return all places where a value was seen, in the order of the calls."""
        return self._by_value.get(canonical(value), [])

    def arguments_of(self, call: int) -> dict[str, JSON]:
        """Return the arguments of a stored call."""
        return self._reads[call].given if call in self._reads else {}

    def facts(self, seen: Seen) -> list[str]:
        """Return facts, such as `status=pending`, of a value's record and of what a call with it returns."""
        facts = self._record_facts.get(id(seen.record))
        if facts is None:
            facts = self._record_facts[id(seen.record)] = facts_of(seen.record)
        for call in self._taken.get(seen.key, ())[:3]:
            facts = facts + self._reads[call].facts
        return facts

    def near_calls(self, chosen: Iterable[Seen]) -> dict[int, float]:
        """Return call → closeness, from 0 to 1, of its result to the values chosen for the same call.

        The closeness of a call is the highest of these numbers:

        - 1 if an argument of the call is a chosen value;
        - 0.9 times the share of its arguments that occur in the record of a chosen value;
        - 0.6 if an argument comes from the result of a call with a chosen value;
        - 0.5 if its result contains a chosen value.
        """
        near: dict[int, float] = {}

        def is_near(call: int, closeness: float) -> None:
            near[call] = max(closeness, near.get(call, 0.0))

        for seen in chosen:
            for call in self._taken.get(seen.key, ()):
                is_near(call, 1.0)
                for key in self._reads[call].leaves:
                    for other in self._taken.get(key, ()):
                        is_near(other, 0.6)
            record = {canonical(value) for value in seen.record.values() if not isinstance(value, dict | list)}
            for key in record:
                for call in self._taken.get(key, ()):
                    arguments = self._reads[call].arguments
                    is_near(call, 0.9 * len(arguments & record) / len(arguments))
            for call in self._within.get(seen.key, ()):
                is_near(call, 0.5)
        return near


def canonical(value: JSON) -> str:
    """Return a value as JSON text; equal for equal values."""
    return json.dumps(value, sort_keys=True)


def leaves(value: JSON) -> Iterator[JSON]:
    """Yield the values inside objects and lists, and the keys of objects whose keys are data."""
    if isinstance(value, dict):
        if has_data_keys(value):
            yield from value
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def has_data_keys(value: dict[str, JSON]) -> bool:
    """Tell whether the keys of an object are data, such as ids or names, and not the names of fields."""
    if value and all(isinstance(part, dict) for part in value.values()) and any(re.search(r"\d", key) for key in value):
        return True
    return sum(bool(re.search(r"\d$|\d\d|[A-Z ]", key)) for key in value) > len(value) / 2


def facts_of(record: dict[str, JSON]) -> list[str]:
    """Return the fields of a record that hold a word or a boolean, as `name=value`."""
    return [
        f"{name}={value}"
        for name, value in record.items()
        if isinstance(value, bool) or (isinstance(value, str) and len(value) < 24 and not re.search(r"\d|^$", value))
    ]


@lru_cache(maxsize=4096)
def words_of(name: str) -> frozenset[str]:
    """Return the words of a name without their plural s: `newItemIds` and `new_item_ids` as {new, item, id}."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return frozenset(
        (part[:-1] if len(part) > 2 and part[-1] == "s" and part[-2] != "s" else part).lower() for part in parts
    )


def value_at(value: JSON, path: Path) -> JSON:
    """Return the part of a value at a path."""
    for key in path:
        value = value[key]
    return value


def _number(word: str) -> float | int | None:
    text = word.strip("$")
    if not re.fullmatch(r"-?\d+(\.\d+)?", text):
        return None
    return float(text) if "." in text else int(text)
