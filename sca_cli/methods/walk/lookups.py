"""Write the solution of a task: look-ups first, then the writes, whose values are parts of the look-ups' results."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

from sca_cli.methods.walk.knowledge import Knowledge, Write, is_opaque
from sca_cli.methods.walk.naming import NoName, distinguishing, in_words
from sca_cli.methods.walk.words import joined
from sca_cli.records import JSON
from sca_cli.walk.memory import FIRST_OBSERVATION, KEY, Path, Seen, canonical, has_data_keys, value_at

# The numbers below are chosen by hand.
_DEPTH = 4
"""Most look-ups in a chain in which each takes a value from the result of the one before."""
_PLACES = 8
"""Places of a value that are tried."""
_VERB = re.compile(r"^(get|find|list|search|read|show|fetch|look|view)_(all_)?")


class NoWay(ValueError):
    """No look-up leads to a value; the message names the value."""


@dataclass(frozen=True, slots=True)
class ValueReference:
    """A value in the solution and in the instruction."""

    code: str
    words: str = ""
    """The words that tell it from other values; "" if the look-ups leave no choice."""
    literal: bool = False
    """The instruction says the value itself."""


@dataclass(slots=True)
class Program:
    """A solution that grows by one write at a time.

    Args:
        knowledge: the look-ups that are known to work.
        says_ids: ids that the customer knows are said, not described.
    """

    knowledge: Knowledge
    says_ids: bool = True
    lookups: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    count: int = 0
    """Number of look-ups."""
    variables: dict[int, str] = field(default_factory=dict)
    """Number of a look-up → the variable that holds its result."""
    named: frozenset[int] = frozenset()
    """Look-ups of the records that the present write names."""
    _references: dict[str, ValueReference] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _said: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        """The program."""
        return "\n".join([*self.lookups, *self.writes]) + "\n"

    def introduce(self) -> None:
        """Look the customer up, if one look-up needs only what the customer says about herself."""
        for call, arguments in self.knowledge.arguments.items():
            if arguments and all(self.knowledge.is_introduced(value) for value in arguments.values()):
                self._variable(call, 0)
                return

    def reference(self, value: JSON, place: JSON = None) -> ValueReference:
        """Return a value as code and words: said, or looked up.

        Args:
            value: the value of an argument, or an item of a list.
            place: where the value was found, in the form of `Exploration.sources`.

        Raises:
            NoWay: the value is an id, and no look-up leads to it.
        """
        return self._reference(value, 0, place)

    def name_records(self, values: Collection[JSON]) -> None:
        """Prefer the records that have these ids, the arguments of a write, to others that hold the same values."""
        self.named = frozenset(
            call
            for call, arguments in self.knowledge.arguments.items()
            if arguments and all(value in values for value in arguments.values())
        )

    def read_of(self, value: JSON) -> None:
        """Look up the record that has this id, if there is a look-up with this one argument."""
        for call, arguments in self.knowledge.arguments.items():
            if list(map(canonical, arguments.values())) == [canonical(value)]:
                self._try(partial(self._variable, call, 0))
                return

    def part_of(self, call: int, path: Path) -> str:
        """Return a part of a look-up's result as code.

        Raises:
            NoWay: the look-up cannot be made, or the part is one of several.
        """
        code, said = self._variable(call, 0)
        if said or any(isinstance(key, int) for key in path):
            raise NoWay("a part that no words name")
        return code + "".join(f"[{key!r}]" for key in path)

    # ------------------------------------------------------------ values

    def _reference(self, value: JSON, depth: int, place: JSON = None) -> ValueReference:
        places = self._places(value, place, depth)
        is_named = not depth and bool(places) and places[0].call in self.named
        if is_named:  # a thing that the record holds twice has no name, though a list of all things names its kind
            places = [seen for seen in places if seen.call in self.named]
        # the same value in the records of two writes is looked up in the record of each
        key = canonical([value, places[0].call] if is_named else [value])
        if key in self._references:
            return self._references[key]
        if self.knowledge.is_introduced(value) or (depth and canonical(value) in self._said):
            return ValueReference(repr(value), literal=True)
        if not is_opaque(value):
            if depth:
                raise NoWay(f"a look-up needs {value!r}, which the customer has no reason to say")
            self._said.add(canonical(value))
            return ValueReference(repr(value), str(value), literal=True)
        known = self.knowledge.is_known_to_customer(value)
        if not (known and self.says_ids):
            for seen in places:
                if reference := self._try(partial(self._looked_up, seen, depth)):
                    self._references[key] = reference
                    return reference
        if known:
            reference = ValueReference(repr(value), str(value), literal=True)
            self._references[key] = reference
            return reference
        raise NoWay(f"no look-up leads to {value!r}")

    def _places(self, value: JSON, place: JSON, depth: int) -> list[Seen]:
        """Return the places of a value in results that do not only repeat it: its own place first, then short paths.

        Records like the one that the write names, but others, are last.
        """
        places = [
            seen for seen in self.knowledge.memory.places(value)
            if seen.call != FIRST_OBSERVATION and not seen.in_text
            and canonical(value) not in map(canonical, self.knowledge.arguments[seen.call].values())
        ]  # fmt: skip
        own = (place.get("call"), tuple(place.get("path", ()))) if isinstance(place, dict) else ()
        tools = set() if depth else {self.knowledge.reads[call].tool for call in self.named}

        def rank(seen: Seen) -> tuple[bool, bool, int, int]:
            is_other = self.knowledge.reads[seen.call].tool in tools and seen.call not in self.named
            return is_other, (seen.call, seen.path) != own, self._steps(seen.call), len(seen.path)

        return sorted(places, key=rank)[:_PLACES]

    def _steps(self, call: int) -> int:
        """Return 0 for a look-up that was made or whose arguments were all said, else 1."""
        if call in self.variables:
            return 0
        return int(not all(map(self.knowledge.is_introduced, self.knowledge.arguments[call].values())))

    def _try[T](self, write: Callable[[], T]) -> T | None:
        """Return what a function returns; if there is no way, undo what it added to the program."""
        lookups, variables, names = list(self.lookups), dict(self.variables), set(self._names)
        references, count = dict(self._references), self.count
        try:
            return write()
        except (NoWay, NoName):
            self.lookups, self.variables, self._names = lookups, variables, names
            self._references, self.count = references, count
            return None

    def _looked_up(self, seen: Seen, depth: int) -> ValueReference:
        call = self.knowledge.reads[seen.call]
        code, words = self._variable(seen.call, depth)
        here: JSON = call.result
        is_key = seen.path[-1:] == (KEY,)
        path: Path = seen.path[:-1] if is_key else seen.path
        said = [words] if words else []
        for place, key in enumerate(path):
            last = place == len(path) - 1
            if isinstance(here, list):
                code, words = self._item(code, here, int(key), path[place + 1 :], last=last)
            elif has_data_keys(here):
                code, words = self._entry(code, here, str(key), is_key=is_key and last)
            else:
                code, words = f"{code}[{key!r}]", ""
            said += [words] if words else []
            here = here[key]
        return ValueReference(code, joined(said))

    def _item(self, code: str, items: list[JSON], index: int, rest: Path, *, last: bool) -> tuple[str, str]:
        """Return (code, words) of one item of a list."""
        if len(items) == 1:
            return f"{code}[0]", ""
        if last and isinstance(items[index], str):
            return self._by_reading(code, [str(item) for item in items], index)
        if items.count(items[index]) > 1:
            raise NoWay("a record that its list holds more than once")
        others = [item for place, item in enumerate(items) if place != index and not _same(item, items[index], rest)]
        facts = distinguishing(items[index], others)
        if not facts:
            raise NoWay("a list without facts")
        test = " and ".join(fact.code("each") for fact in facts)
        return f"next(each for each in {code} if {test})", in_words(facts)

    def _entry(self, code: str, entries: dict[str, JSON], key: str, *, is_key: bool) -> tuple[str, str]:
        """Return (code, words) of a key or a value of an object whose keys are data."""
        result = "key" if is_key else "each"
        if not is_opaque(key):
            return (repr(key) if is_key else f"{code}[{key!r}]"), key
        others = [value for other, value in entries.items() if other != key]
        if not others:
            return f"next({result} for key, each in {code}.items())", ""
        facts = distinguishing(entries[key], others)
        test = " and ".join(fact.code("each") for fact in facts)
        return f"next({result} for key, each in {code}.items() if {test})", in_words(facts)

    def _by_reading(self, code: str, ids: list[str], index: int) -> tuple[str, str]:
        """Return (code, words) of one of several ids by reading the record of each."""
        reads = [next(self._reads_of(each), None) for each in ids]
        own = reads[index]
        calls = [None if read is None else self.knowledge.reads[read] for read in reads]
        if own is None or any(call is None or call.tool != self.knowledge.reads[own].tool for call in calls):
            raise NoWay("not all records of a list were read")
        record = self.knowledge.reads[own].result
        facts = distinguishing(record, [call.result for place, call in enumerate(calls) if call and place != index])
        (parameter,) = self.knowledge.arguments[own]
        variable = self._new_name(self.knowledge.reads[own].tool)
        item = self._new_name(f"get_{parameter}")
        test = " and ".join(fact.code(variable) for fact in facts)
        self.lookups += [
            f"for {item} in {code}:",
            f"    {variable} = {self.knowledge.reads[own].tool}({parameter}={item})",
            f"    if {test}:",
            "        break",
        ]
        self.count += 1
        self.variables[own] = variable
        return item, in_words(facts)

    def _reads_of(self, value: str) -> Iterator[int]:
        """Yield the look-ups whose only argument is this value."""
        for call, arguments in self.knowledge.arguments.items():
            if list(arguments.values()) == [value] and isinstance(self.knowledge.reads[call].result, dict):
                yield call

    def _variable(self, call: int, depth: int) -> tuple[str, str]:
        """Return (the variable that holds a look-up's result, the words that its arguments need)."""
        if call in self.variables:
            return self.variables[call], ""
        if depth >= _DEPTH:
            raise NoWay("too many look-ups in a row")
        references = {name: self._reference(value, depth + 1) for name, value in self.knowledge.arguments[call].items()}
        if call in self.variables:  # a list was read to find an argument, and this record with it
            return self.variables[call], ""
        tool = self.knowledge.reads[call].tool
        name = self.variables[call] = self._new_name(tool)
        arguments = ", ".join(f"{name}={reference.code}" for name, reference in references.items())
        self.lookups.append(f"{name} = {tool}({arguments})")
        self.count += 1
        return name, ", ".join(filter(None, (reference.words for reference in references.values())))

    def _new_name(self, tool: str) -> str:
        stem = re.sub(r"\W", "_", _VERB.sub("", tool).partition("_by_")[0]) or "found"
        name = next(name for n in range(1, 100) if (name := stem if n == 1 else f"{stem}_{n}") not in self._names)
        self._names.add(name)
        return name


def call_of(write: Write, codes: dict[str, str] | None = None) -> str:
    """Return a write as Python; `codes` replaces values by expressions."""
    arguments = [f"{name}={(codes or {}).get(name, repr(value))}" for name, value in write.arguments.items()]
    return f"{write.tool}({', '.join(arguments)})"


def _same(one: JSON, other: JSON, rest: Path) -> bool:
    """Tell whether two items hold the same value at a path, so that either may be taken."""
    try:
        return bool(value_at(one, rest) == value_at(other, rest))
    except (KeyError, IndexError, TypeError):
        return False
