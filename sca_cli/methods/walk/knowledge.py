"""What one exploration of a world with state found out: look-ups in the first state, and writes that worked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sca_cli.analysis.calls import bound
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Exploration, Observation
from sca_cli.walk.memory import FIRST_OBSERVATION, TEXT, Memory, canonical, leaves, words_of
from sca_cli.walk.parameters import Parameter, parameters_of

_TEXTS = ("refusal", "documentation")
"""Sources of texts that may be the name of something."""
_UNSAYABLE = (*_TEXTS, "made up", "default")
"""Sources of values that a customer has no reason to say."""


RECORD_FIELDS = 3
"""Arguments with the names of a record's fields that are one detail, such as an address, and must come from one record.
Chosen by hand.
"""


@dataclass(frozen=True, slots=True)
class Write:
    """A call of a writing tool that worked, and where the value of each argument was found."""

    tool: str
    arguments: dict[str, JSON]
    places: dict[str, JSON]
    """Parameter → where its value was found, in the form of `Exploration.sources`."""

    @property
    def key(self) -> str:
        """The call as JSON text."""
        return canonical([self.tool, self.arguments])


@dataclass(slots=True)
class Knowledge:
    """The look-ups and writes of an exploration.

    Args:
        exploration: of `sca explore --method walk`, in a world with state.
        tools: the environment's tools.
        customer: the first observation introduces a customer.
    """

    exploration: Exploration
    tools: dict[str, Tool]
    customer: bool
    memory: Memory = field(default_factory=Memory)
    reads: dict[int, Observation] = field(default_factory=dict)
    """Number of the call → look-up in the first state, each call once."""
    arguments: dict[int, dict[str, JSON]] = field(default_factory=dict)
    """Number of the call → its arguments by name."""
    writes: list[Write] = field(default_factory=list)
    """Different writes that worked, and whose values a customer can say or look up."""
    parameters: dict[str, list[Parameter]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Arguments of look-ups, as JSON text."""
    introduction: str = ""
    """The sentence in which the customer says who she is; "" if there is no customer."""

    def __post_init__(self) -> None:
        self.parameters = {name: parameters_of(tool) for name, tool in self.tools.items()}
        first = self.exploration.first_observation
        if self.customer and first:
            self.introduction = re.split(r"(?<=[.!?])\s+", first)[0]
        self.memory.read_text(first, FIRST_OBSERVATION, "first observation")
        self._read(self.exploration)

    def _read(self, exploration: Exploration) -> None:
        resets, unsteady = set(exploration.extra.get("resets", ())), exploration.extra.get("unsteady", ())
        places_of_calls = exploration.extra.get("sources", [])
        written = False
        known: set[str] = set()
        written_keys: set[str] = set()
        for number, call in enumerate(exploration.observations):
            written = written and number not in resets
            if call.error or call.refused or call.tool not in self.tools:
                continue
            arguments = bound(self.tools[call.tool], call)
            if call.writes:
                places = places_of_calls[number] if number < len(places_of_calls) else {}
                write = Write(call.tool, arguments, places)
                if not written and write.key not in written_keys:
                    written_keys.add(write.key)
                    self.writes.append(write)
                written = True
            elif not written and call.tool not in unsteady and canonical(call.asked()) not in known:
                known.add(canonical(call.asked()))
                self.reads[number], self.arguments[number] = call, arguments
        for tool in {call.tool for call in self.reads.values()}:
            self._drop_uninformative(tool)
        for number, call in self.reads.items():
            self.memory.add(number, call.tool, self.arguments[number], call.result)
        self.taken = {canonical(value) for arguments in self.arguments.values() for value in arguments.values()}
        self.writes = [write for write in self.writes if self._can_be_said(write) and self._is_of_one_record(write)]

    def unread(self) -> Iterator[tuple[str, dict[str, JSON]]]:
        """Yield (look-up, its argument) for each record of the customer, or of a list of all, that was not looked up.

        The argument is in the result of a look-up that takes nothing or only what the customer says of herself, or of a
        look-up that follows from these.
        """
        one_argument: dict[str, tuple[str, str]] = {}  # link → look-up of a record, its parameter
        for call, arguments in self.arguments.items():
            if len(arguments) == 1 and isinstance(self.reads[call].result, dict):
                ((name, value),) = arguments.items()
                for seen in self.memory.places(value):
                    one_argument.setdefault(seen.link, (self.reads[call].tool, name))
        done = {(call.tool, canonical(self.arguments[number])) for number, call in self.reads.items()}
        for call in self._own():
            for link, (tool, name) in one_argument.items():
                for seen in self.memory.by_link[link].get(call, ()):
                    if (tool, canonical({name: seen.value})) not in done:
                        done.add((tool, canonical({name: seen.value})))
                        yield tool, {name: seen.value}

    def _own(self) -> list[int]:
        """Return the look-ups that take nothing or only what the customer says of herself, and those that follow."""
        own: list[int] = []
        known: set[str] = set()
        for _ in range(2):
            for call, arguments in self.arguments.items():
                if call not in own and all(
                    self.is_introduced(value) or canonical(value) in known for value in arguments.values()
                ):
                    own.append(call)
            known = {canonical(value) for call in own for value in leaves(self.reads[call].result)}
        return own

    def add_read(self, call: Observation, arguments: dict[str, JSON]) -> None:
        """Add a look-up that was made in the first state."""
        number = len(self.exploration.observations) + len(self.reads)
        self.reads[number], self.arguments[number] = call, arguments
        self.memory.add(number, call.tool, arguments, call.result)
        self.taken |= set(map(canonical, arguments.values()))

    @property
    def has_look_ups(self) -> bool:
        """Whether a look-up with arguments returned an object or a list."""
        return any(
            arguments and isinstance(self.reads[call].result, dict | list) for call, arguments in self.arguments.items()
        )

    @property
    def words(self) -> frozenset[str]:
        """The values of results that are one word, in small letters."""
        found = (value for call in self.reads.values() for value in leaves(call.result) if isinstance(value, str))
        return frozenset(value.lower() for value in found if value.isalpha())

    def _drop_uninformative(self, tool: str) -> None:
        """Drop the look-ups of a tool whose result is empty, or the same for all arguments."""
        numbers = [number for number, call in self.reads.items() if call.tool == tool]
        results = {canonical(self.reads[number].result) for number in numbers}
        if len(results) == 1 and (len(numbers) > 1 or results <= {'""', "null", "[]", "{}"}):
            for number in numbers:
                del self.reads[number], self.arguments[number]

    def _can_be_said(self, write: Write) -> bool:
        """Tell whether a customer can say the values of a write, or look them up.

        A text from the documentation or a refusal counts only if a look-up took it: then it is the name of
        something that exists.
        """
        taken = {
            value for arguments in self.arguments.values() for value in arguments.values() if isinstance(value, str)
        }
        return all(
            _is_sayable(place)
            or (place in _TEXTS and isinstance(write.arguments[name], str) and write.arguments[name] in taken)
            for name, place in write.places.items()
        )

    def _is_of_one_record(self, write: Write) -> bool:
        """Tell whether arguments with the names of a record's fields are the fields of one record.

        An address whose street and city come from different records is none that exists.
        """
        names = {name for name, value in write.arguments.items() if isinstance(value, str)}
        shared = max((names & record.keys() for *_, record in self.memory.records), key=len, default=set())
        if len(shared) < RECORD_FIELDS:
            return True
        places = [write.places.get(name) for name in shared]
        return len({_record_of(place) for place in places}) == 1 and isinstance(places[0], dict)

    def is_introduced(self, value: JSON) -> bool:
        """Tell whether the customer's introduction contains a value."""
        pattern = rf"(?<!\w){re.escape(str(value))}(?!\w)"
        return not isinstance(value, bool) and bool(str(value)) and bool(re.search(pattern, self.introduction))

    def is_known_to_customer(self, value: JSON) -> bool:
        """Tell whether the first observation, which a customer speaks, contains a value."""
        return self.customer and any(seen.call == FIRST_OBSERVATION for seen in self.memory.places(value))


def is_opaque(value: JSON) -> bool:
    """Tell whether a value looks like an id, which a customer would not say: it has many digits, or is a code."""
    if not isinstance(value, str) or " " in value or "@" in value or re.fullmatch(r"[\d\-:T.]+", value) is not None:
        return isinstance(value, str) and value.isdigit() and len(value) > 5
    return len(re.findall(r"\d", value)) >= 3 or bool(re.fullmatch(r"(?=.*\d)[A-Z0-9]{5,}|[A-Z]{6,}", value))


def _record_of(place: JSON) -> str:
    """Return the call and the path of the record that holds a value, as JSON text."""
    return canonical([place.get("call"), place.get("path", [])[:-1]]) if isinstance(place, dict) else ""


def _is_called(name: str, place: dict[str, JSON]) -> bool:
    """Tell whether the field at a place has a word in common with a name, so that no date is a last name."""
    keys = [key for key in place.get("path", []) if isinstance(key, str)]
    return bool(keys) and bool(words_of(keys[-1]) & words_of(name))


def _is_sayable(place: JSON) -> bool:
    """Tell whether a customer can say a value from this place, or look it up."""
    if isinstance(place, list):
        return all(map(_is_sayable, place))
    if isinstance(place, dict):
        if fields := place.get("fields"):
            # fields of several records make, for example, a person who does not exist
            records = {
                canonical([part["call"], part["path"][:-1]]) for part in fields.values() if isinstance(part, dict)
            }
            fits = all(_is_called(name, part) for name, part in fields.items() if isinstance(part, dict))
            return fits and len(records) < 2 and all(map(_is_sayable, fields.values()))
        return TEXT not in place["path"]
    return place not in _UNSAYABLE
