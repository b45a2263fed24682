"""Draw the arguments of a call in a world with state: first a link, then one of its values.

The name of a parameter, the shape of its examples and the counts of the table of links decide the link. A value is
preferred if it is close to a value already chosen for the call: in the same record, or in the result of a call with it.
"""

import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from sca_cli.interfaces import Tool
from sca_cli.records import JSON
from sca_cli.walk.links import Links
from sca_cli.walk.memory import (
    FIRST_OBSERVATION,
    Memory,
    Path,
    Seen,
    canonical,
    words_of,
)
from sca_cli.walk.parameters import Parameter, affinity, parameters_of
from sca_cli.walk.values import Source, Values

# All numbers below are chosen by hand.
_KINDS = {"documentation": 0.5, "refusal": 3.0, "default": 1.0, "made up": 0.3}
"""Source that is no place in a result → weight of its draws."""
_UNLIKELY = 0.2
"""Weight of a link that has nothing in common with the parameter."""
_PROMISING = 0.15
"""Squared rate of a link from which links that have nothing in common with the parameter are not tried."""
_WIDELY = 0.5
"""Share of the wide draws of a parameter that take only links that have nothing in common with it."""
_CHOICES = "choices"
_LINKS_COMPARED = 14
_VALUES_COMPARED = 40
_OPTIONAL = 0.4
_WHOLE_RECORD = 0.95
"""Share of the calls that take several parameters from one record, if there is a record with fields of their names."""
_COUNTED = 0.5
"""Share of the numbers to which 1 or 2 is added."""
_WHOLE_LIST = 0.6
_PROJECTED = 0.9
_MORE_OF_A_LIST = (0, 0, 1, 1, 2)
_PREPOSITIONS = {"origin": "from", "source": "from", "destination": "to", "target": "to", "date": "on", "day": "on"}


@dataclass(slots=True)
class Part:
    """One value of an argument, and its link."""

    value: JSON
    link: str
    seen: Seen | None = None
    """Its place in a result or in the first observation."""
    fields: "dict[str, Part] | None" = None
    """The parts of an object that was put together field by field."""

    @property
    def origin(self) -> JSON:
        """The place of the value, for the record: {call, path} of a result, else the kind of the source."""
        if self.fields is not None:
            return {"fields": {name: part.origin for name, part in self.fields.items()}}
        if self.seen is None:
            return self.link
        if self.seen.call == FIRST_OBSERVATION:
            return "first observation"
        place: dict[str, JSON] = {"call": self.seen.call, "path": list(self.seen.path)}
        return place | ({"plus": self.value - self.seen.value} if self.link.endswith("+") else {})


@dataclass(slots=True)
class Argument:
    """The value of one parameter, and the parts that it was made of: one, or the items of a list."""

    value: JSON
    parts: list[Part]

    @property
    def origin(self) -> JSON:
        """The places of the parts, for the record."""
        origins = [part.origin for part in self.parts]
        return origins if isinstance(self.value, list) else origins[0]


@dataclass(slots=True)
class _Fitting:
    """The links whose values have a parameter's type."""

    likely: list[tuple[str, float]] = field(default_factory=list)
    """(link, weight) of links whose name or shape fits."""
    unlikely: list[str] = field(default_factory=list)
    compared: int = 0
    """Number of links that were looked at."""


@dataclass(slots=True)
class _Records:
    """The records that have the most fields with names of a tool's parameters."""

    best: list[tuple[int, Path, str, dict[str, JSON], list[str]]] = field(default_factory=list)
    """Call, path, link, fields, and the shared names."""
    compared: int = 0


@dataclass(slots=True)
class _Lists:
    """The lists of records that have all fields of a parameter's objects."""

    fitting: list[tuple[int, str, int, list[Part]]] = field(default_factory=list)
    """Call, link, number of common words, and the objects."""
    compared: int = 0


class Arguments:
    """Draws arguments.

    Args:
        tools: the environment's tools.
        values: values of documentation and refusals, and made-up ones.
        memory: values of results.
        links: the table of links.
        draw: random generator.
    """

    def __init__(self, tools: list[Tool], values: Values, memory: Memory, links: Links, draw: random.Random) -> None:
        self._values, self._memory, self._links, self._draw = values, memory, links, draw
        self._tools = {tool.name: tool for tool in tools}
        self.parameters = {tool.name: parameters_of(tool) for tool in tools}
        self._words = {tool.name: words_of(f"{tool.name} {tool.description.split('.')[0].lower()}") for tool in tools}
        self._fitting_links: dict[tuple[str, str, str], _Fitting] = {}
        self._records: dict[str, _Records] = defaultdict(_Records)
        self._lists: dict[tuple[str, str], _Lists] = defaultdict(_Lists)
        self._widely = False

    def of(self, tool: Tool, *, widely: bool = False) -> dict[str, Argument] | None:
        """Draw the arguments of one call; None if a parameter has no value.

        Args:
            tool: the called tool.
            widely: links that have nothing in common with a parameter may be drawn, even if others are promising.
        """
        self._widely = widely
        arguments = self._of_one_record(tool)
        lists: list[tuple[Parameter, list[Part]]] = []
        for parameter in self.parameters[tool.name]:
            chosen = [part.seen for argument in arguments.values() for part in argument.parts if part.seen]
            if parameter.name in arguments:
                continue
            if not parameter.required and parameter.name != tool.variadic() and self._draw.random() >= _OPTIONAL:
                continue
            if not parameter.many:
                part = self._object(parameter, chosen) if parameter.is_object else self._part(parameter, chosen)
                if part is None:
                    return None
                arguments[parameter.name] = Argument(part.value, [part])
                continue
            twin = next((parts for other, parts in lists if other.words & parameter.words - {"id", "new"}), None)
            parts = self._list(parameter, chosen, twin)
            if not parts and parameter.required:
                return None
            lists.append((parameter, parts))
            arguments[parameter.name] = Argument([part.value for part in parts], parts)
        return {parameter.name: arguments[parameter.name] for parameter in self.parameters[tool.name]
                if parameter.name in arguments}  # fmt: skip

    # ------------------------------------------------------------ one value

    def _part(self, parameter: Parameter, chosen: list[Seen], name: str = "", avoid: Iterable[str] = ()) -> Part | None:
        """Draw a link, then a value.

        Args:
            parameter: the parameter.
            chosen: values that the call has already.
            name: the name of a field, if the parameter takes objects; "" for the parameter itself.
            avoid: values, as JSON text, that must not be drawn.
        """
        if parameter.choices and not name:
            return Part(self._draw.choice(parameter.choices), _CHOICES)
        near = self._memory.near_calls(chosen)
        ranked = sorted(self._ranked(parameter, name, near), key=lambda pair: -pair[0])[:_LINKS_COMPARED]
        stored = {} if name else self._stored(parameter)
        options: list[tuple[float, str]] = [(weight, link) for weight, link in ranked]
        options += [(_KINDS[kind] * self._squared(parameter, name, kind), kind) for kind in stored]
        avoided = {*avoid, *(seen.key for seen in chosen if isinstance(seen.value, str))}
        while options:
            place = self._draw.choices(range(len(options)), [weight for weight, _ in options])[0]
            _, link = options.pop(place)
            if link == "made up":
                return Part(self._values.made_up(self._tools[parameter.tool], parameter.name), link)
            if link in stored:
                return Part(self._draw.choice(stored[link]), link)
            if seen := self._seen_of(parameter, name, link, near, avoided):
                if parameter.schema.get("type") in ("integer", "number") and self._draw.random() < _COUNTED:
                    return Part(seen.value + self._draw.randint(1, 2), f"{link}+", seen)
                return Part(seen.value, link, seen)
        return None

    def _ranked(self, parameter: Parameter, name: str, near: dict[int, float]) -> list[tuple[float, str]]:
        """Return (weight, link) of the links whose values fit; of all others too if those are mostly refused."""
        fitting = self._fitting(parameter, name)
        likely: list[tuple[float, str]] = []
        promising = False
        for link, weight in fitting.likely:
            squared = self._squared(parameter, name, link)
            promising = promising or squared >= _PROMISING
            closest = max((near.get(call, 0.0) for call in self._memory.by_link[link]), default=0.0) if near else 0.0
            likely.append((weight * math.exp(1.5 * closest) * squared, link))
        if self._widely and fitting.unlikely and self._draw.random() < _WIDELY:
            likely = []
        if not promising or not likely:
            likely += [(_UNLIKELY * self._squared(parameter, name, link), link) for link in fitting.unlikely]
        return likely

    def _fitting(self, parameter: Parameter, name: str) -> "_Fitting":
        """Return the links whose values have the parameter's type; looks only at links that are new since last time."""
        fitting = self._fitting_links.setdefault((parameter.tool, parameter.name, name), _Fitting())
        for link in islice(self._memory.by_link, fitting.compared, None):
            first = next(iter(self._memory.by_link[link].values()))[0]
            if isinstance(first.value, str | int | float) if name else parameter.holds(first.value):
                fit = self._affinity(parameter, name, first)
                if fit > 0:
                    fitting.likely.append((link, math.exp(2.5 * fit)))
                else:
                    fitting.unlikely.append(link)
        fitting.compared = len(self._memory.by_link)
        return fitting

    @staticmethod
    def _affinity(parameter: Parameter, name: str, first: Seen) -> float:
        words = first.words
        if first.in_text and (preposition := _PREPOSITIONS.get(name or parameter.name)) in words:
            words = words | {name or parameter.name} - {preposition}
        fit = affinity(parameter, name or parameter.name, words, first.value)
        return 0.8 * fit if first.in_text else fit

    def _squared(self, parameter: Parameter, name: str, link: str) -> float:
        return self._links.rate(parameter.tool, _field(parameter, name), link) ** 2

    def _stored(self, parameter: Parameter) -> dict[str, list[JSON]]:
        """Return source → values that are at no place of a result."""
        tool = self._tools[parameter.tool]
        kinds: tuple[Source, ...] = ("documentation", "refusal", "default")
        stored = {str(kind): self._values.candidates(tool, parameter.name, kind) for kind in kinds}
        stored = {kind: [value for value in values if parameter.holds(value)] for kind, values in stored.items()}
        return {kind: values for kind, values in stored.items() if values} | {"made up": []}

    def _seen_of(
        self, parameter: Parameter, name: str, link: str, near: dict[int, float], avoided: set[str]
    ) -> Seen | None:
        """Draw a value of a link: of a near call, with facts that the tool's name or earlier calls ask for."""
        by_call = self._memory.by_link[link]
        best = max(near.get(call, 0.0) for call in by_call)
        calls = [call for call in by_call if near.get(call, 0.0) >= best - 0.3]
        values = [seen for call in calls for seen in by_call[call] if seen.key not in avoided]
        values = [seen for seen in values if name or parameter.holds(seen.value)]
        if len(values) > _VALUES_COMPARED:
            values = self._draw.sample(values, _VALUES_COMPARED)
        if not values:
            return None
        weights = [math.exp(3 * near.get(seen.call, 0.0) + self._suits(parameter, name, seen)) for seen in values]
        return self._draw.choices(values, weights)[0]

    def _suits(self, parameter: Parameter, name: str, seen: Seen) -> float:
        """Return how well the facts of a value's record suit a tool, from about -4 to 4."""
        if not isinstance(seen.value, str):
            return 0.0
        total = 0.0
        for fact in self._memory.facts(seen):
            key, _, value = fact.partition("=")
            if words_of(key if value == "True" else value) <= self._words[parameter.tool]:
                total += 1.5
            total += 4 * (self._links.rate(parameter.tool, _field(parameter, name), fact) - 0.5)
        return max(-4.0, min(4.0, total))

    # ------------------------------------------------------------ several values

    def _of_one_record(self, tool: Tool) -> dict[str, Argument]:
        """Draw values for parameters that are the text fields of one record, such as those of an address."""
        names = {
            parameter.name for parameter in self.parameters[tool.name]
            if not parameter.many and not parameter.choices and parameter.schema.get("type") == "string"
        }  # fmt: skip
        records = self._records[tool.name]
        for call, path, link, record in islice(self._memory.records, records.compared, None):
            shared = [name for name in names if isinstance(record.get(name), str)]
            most = len(records.best[0][-1]) if records.best else 2
            if len(shared) > most:
                records.best = []
            if len(shared) >= most:
                records.best.append((call, path, link, record, sorted(shared)))
        records.compared = len(self._memory.records)
        if not records.best or self._draw.random() >= _WHOLE_RECORD:
            return {}
        call, path, link, record, shared = self._draw.choice(records.best)
        arguments = {}
        for name in shared:
            seen = Seen(record[name], call, (*path, name), f"{link}.{name}", words_of(name), record)
            arguments[name] = Argument(seen.value, [Part(seen.value, seen.link, seen)])
        return arguments

    def _list(self, parameter: Parameter, chosen: list[Seen], twin: list[Part] | None) -> list[Part]:
        """Draw the items of a list: for each item of the list `twin`, or a first item and others from the same list."""
        if parameter.is_object:
            return self._objects(parameter, chosen)
        if twin:
            used = {canonical(part.value) for part in twin}
            parts = []
            for other in twin:
                if part := self._part(parameter, [other.seen] if other.seen else chosen, avoid=used):
                    used.add(canonical(part.value))
                    parts.append(part)
            return parts
        first = self._part(parameter, chosen)
        if first is None:
            return []
        if first.seen is None:
            return [first]
        others = {
            seen.key: seen for seen in self._memory.by_link[first.seen.link][first.seen.call]
            if seen.value != first.value and parameter.holds(seen.value)
        }  # fmt: skip
        more = self._draw.sample(list(others.values()), min(len(others), self._draw.choice(_MORE_OF_A_LIST)))
        return [first, *(Part(seen.value, first.link, seen) for seen in more)]

    def _objects(self, parameter: Parameter, chosen: list[Seen]) -> list[Part]:
        """Draw a list of objects: records that have all fields, or one object that is put together."""
        known = self._lists[parameter.tool, parameter.name]
        for call, path, link, objects in islice(self._memory.lists, known.compared, None):
            projected = [
                self._projected(parameter, call, (*path, place), link, each) for place, each in enumerate(objects)
            ]
            whole = [part for part in projected if part]
            if len(whole) == len(projected):
                fit = len(parameter.words & words_of(str(path[-1]) if path else ""))
                known.fitting.append((call, f"{link}[]{{}}", fit, whole))
        known.compared = len(self._memory.lists)
        if known.fitting and self._draw.random() < _PROJECTED:
            near = self._memory.near_calls(chosen)
            squared = {link: self._squared(parameter, "", link) for _, link, _, _ in known.fitting}
            weights = [math.exp(3 * near.get(call, 0.0) + fit) * squared[link] for call, link, fit, _ in known.fitting]
            parts = self._draw.choices(known.fitting, weights)[0][-1]
            if self._draw.random() < _WHOLE_LIST:
                return parts
            return self._draw.sample(parts, self._draw.randint(1, min(3, len(parts))))
        part = self._object(parameter, chosen)
        return [part] if part else []

    def _projected(
        self, parameter: Parameter, call: int, path: Path, link: str, record: dict[str, JSON]
    ) -> Part | None:
        """Return the fields of a record that a parameter's objects have; the call's arguments add missing fields."""
        context = self._memory.arguments_of(call)
        values = {name: record.get(name, context.get(name)) for name in parameter.fields}
        if not values or any(value is None or isinstance(value, dict | list) for value in values.values()):
            return None
        return Part(values, f"{link}[]{{}}", Seen(values, call, path, f"{link}[]{{}}", parameter.words, record))

    def _object(self, parameter: Parameter, chosen: list[Seen]) -> Part | None:
        """Put an object together field by field."""
        fields: dict[str, Part] = {}
        for name in parameter.fields:
            own = [*chosen, *(part.seen for part in fields.values() if part.seen)]
            part = self._part(parameter, own, name=name)
            if part is None:
                return None
            fields[name] = part
        if not fields:
            return None
        return Part({name: part.value for name, part in fields.items()}, "fields", fields=fields)

    # ------------------------------------------------------------ learning

    def learn(self, tool: str, arguments: dict[str, Argument], refusal: str, *, accepted: bool) -> None:
        """Count the links of a call's arguments. After a refusal, the arguments that it names count most.

        Args:
            tool: the called tool.
            arguments: its arguments.
            refusal: the text of the refusal, or "".
            accepted: the call worked, and returned something.
        """
        blamed = {name for name, argument in arguments.items() if names_argument(refusal, name, argument.value)}
        for name, argument in arguments.items():
            weight = 1.0 if accepted or name in blamed else 0.1 if blamed else 0.25
            for part in argument.parts:
                share = weight / math.sqrt(len(argument.parts))
                for inner_name, inner in (part.fields or {"": part}).items():
                    whole_name = f"{name}.{inner_name}" if inner_name else name
                    self._count(tool, whole_name, inner, share, accepted=accepted)

    def _count(self, tool: str, name: str, part: Part, weight: float, *, accepted: bool) -> None:
        links = {part.link}
        if accepted and part.seen is None:  # results may hold a value of another source too
            links |= {seen.link for seen in self._memory.places(part.value)[:8]}
        facts = self._memory.facts(part.seen) if part.seen and isinstance(part.seen.value, str) else []
        for link in (*sorted(links), *facts):
            self._links.count(tool, name, link, accepted=accepted, weight=weight)


def _field(parameter: Parameter, name: str) -> str:
    return f"{parameter.name}.{name}" if name else parameter.name


def names_argument(refusal: str, name: str, value: JSON) -> bool:
    """Tell whether a refusal names a parameter or quotes one of its values."""
    text = refusal.lower()
    strong = words_of(name) - {"id", "ids"}
    values = value if isinstance(value, list) else [value]
    return (
        bool(re.search(rf"\b{re.escape(name.lower())}\b", text))
        or any(len(str(each)) > 2 and str(each).lower() in text for each in values)
        or bool(strong and strong <= words_of(refusal))
    )
