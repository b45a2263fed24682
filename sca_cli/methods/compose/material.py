"""What was seen to work in one environment: calls, their arguments and results, gathered from records."""

import json
import random
from collections import defaultdict

from sca_cli.analysis import fits
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, EnvSpec, Exploration, Observation, Task
from sca_cli.walk.values import varied

CALLS_KEPT = 300
"""Calls of a tool that are remembered; memory does not grow with the stream."""
WORLDS_KEPT = 200
_LITERAL_CHARS = 120
_DECIMALS = 4
"""Numbers with more of them are results of arithmetic, which nobody would write into a question."""
_RESULTS_LOOKED_AT = 5
_MANY = 8
"""Calls that must have worked before their values say what a parameter takes."""
_REPEATED = 0.6
"""Share of distinct values among them up to which a parameter takes a few fixed ones. Chosen by hand."""
_NAMED, _JOINED, _RESPELT = 0.8, 0.25, 0.3


class Material:
    """The calls that exploration, and the solutions of verified tasks, made in one environment.

    Args:
        env: the environment.
        tools: those it has.
    """

    def __init__(self, env: EnvSpec, tools: list[Tool]) -> None:
        self.env = env
        self.tools = {tool.name: tool for tool in tools}
        self.worlds: list[Exploration] = []
        """Where programs can be set; with the calls seen there, without messages."""
        self._calls: dict[str, dict[str, Observation]] = defaultdict(dict)
        self._told: dict[str, dict[str, str]] = defaultdict(dict)  # tool → call → result
        self._known: list[tuple[str, JSON]] | None = None
        self._accepted_by: dict[tuple[str, str], list[JSON]] = {}

    def add(self, record: Exploration | Task) -> None:
        """Take in the calls of a record that were not refused."""
        self._known = None
        self._accepted_by.clear()
        made = record.observations if isinstance(record, Exploration) else _calls_of(record)
        worked = [call for call in made if not call.error and not call.refused and call.tool in self.tools]
        first = record.first_observation if isinstance(record, Exploration) else ""
        world = Exploration(id=record.id, env=record.env, seed=record.seed, first_observation=first)
        world.observations = _distinct(worked)
        if len(self.worlds) < WORLDS_KEPT:
            self.worlds.append(world)
        for call in world.observations:
            known = self._calls[call.tool]
            if len(known) < CALLS_KEPT:
                known.setdefault(_key(call), call)

    def tells_nothing(self, made: list[Observation]) -> str:
        """Return the reading tool among these calls, or "", that returns the same whatever it is given.

        Args:
            made: calls with their results; they are remembered.
        """
        for call in made:
            told = self._told[call.tool]
            if not call.writes and (call.args or call.kwargs) and len(told) < CALLS_KEPT:
                told.setdefault(_key(call), json.dumps(call.result, sort_keys=True))
        results = {call.tool: self._told[call.tool].values() for call in made}
        return next((tool for tool, told in results.items() if len(told) > 1 and len(set(told)) == 1), "")

    def calls(self, tool: str) -> list[Observation]:
        """Return the ways a tool was called that worked, in the order they were seen."""
        return list(self._calls[tool].values())

    def results(self, tool: str) -> list[JSON]:
        """Return a few results of a tool: what its results look like."""
        found = [call.result for call in self._calls[tool].values() if call.result is not None]
        return found[:_RESULTS_LOOKED_AT]

    def arguments(self, tool: Tool, world: Exploration, draw: random.Random) -> dict[str, JSON]:
        """Draw arguments for a tool from what was seen: a call that was made, some of its values drawn again.

        Numbers are drawn anew about as large as those seen, other values from those that this parameter, or one of
        its type, was given; for tools that only read, also texts of the words or letters of those. A `*args` parameter
        has a list.

        Raises:
            LookupError: a value is needed of which none like it was seen.
        """
        here = [call for call in world.observations if call.tool == tool.name]
        seen = here if here and draw.random() < 0.5 else self.calls(tool.name)
        known = bound(tool, draw.choice(seen)) if seen else {}
        given: dict[str, JSON] = {}
        for name in tool.parameters["properties"]:
            if name in known or name in tool.parameters["required"] or name == tool.variadic():
                given[name] = self._value(tool, name, known, draw)
        return given

    def _value(self, tool: Tool, name: str, known: dict[str, JSON], draw: random.Random) -> JSON:
        if name == tool.variadic():
            many = known.get(name) or [self._like(tool, name, draw) for _ in range(draw.randint(2, 4))]
            return [varied(part, draw) for part in many]
        value = self._like(tool, name, draw) if name not in known or draw.random() < 0.5 else known[name]
        if isinstance(value, str):
            fixed = tool.writes or self._closed(tool, name) or draw.random() >= _RESPELT
            return value if fixed else _respelt(value, draw)
        return value if self._closed(tool, name) else varied(value, draw)

    def _closed(self, tool: Tool, name: str) -> bool:
        """Tell whether a parameter takes a few fixed values: the same ones occur in many calls."""
        if "enum" in fits.element(tool, name):
            return True
        accepted = self._accepted(tool, name)
        return len(accepted) >= _MANY and len(set(map(repr, accepted))) <= _REPEATED * len(accepted)

    def _accepted(self, tool: Tool, name: str) -> list[JSON]:
        """Return the values that a parameter had in calls that worked, one a call; each value of `*args`."""
        key = (tool.name, name)
        if key not in self._accepted_by:
            values = [bound(tool, call)[name] for call in self.calls(tool.name) if name in bound(tool, call)]
            star = name == tool.variadic()
            self._accepted_by[key] = [part for value in values for part in (value if star else [value])]
        return self._accepted_by[key]

    def spells(self, tool: Tool, name: str, value: JSON) -> bool:
        """Tell whether a text is written in the characters of those that a parameter was seen to take.

        A parameter that takes DNA, digits or dates refuses other texts. Values of other types always pass, and so do
        all texts where too few were seen.
        """
        accepted = [text for text in self._accepted(tool, name) if isinstance(text, str)]
        return not isinstance(value, str) or len(accepted) < _MANY or set(value) <= set("".join(accepted))

    def _like(self, tool: Tool, name: str, draw: random.Random) -> JSON:
        """Draw a value seen for the parameter, wherever a tool has one of this name; else, and at times, of its type.

        A text may be two that were seen, one after the other.
        """
        schema = fits.element(tool, name)
        if "enum" in schema:
            return draw.choice(schema["enum"])
        named = [value for parameter, value in self._values() if parameter == name and fits.holds(schema, value)]
        typed = [
            value
            for parameter, value in ([] if self._closed(tool, name) else self._values())
            if parameter != name and fits.holds(schema, value) and self.spells(tool, name, value)
        ]
        value = draw.choice(named if named and (not typed or draw.random() < _NAMED) else typed)
        if isinstance(value, str) and named and not self._closed(tool, name) and draw.random() < _JOINED:
            return value + (" " if " " in value else "") + draw.choice(named)
        return value

    def _values(self) -> list[tuple[str, JSON]]:
        """Return all (parameter, value) seen, results as those of a parameter without a name."""
        if self._known is None:
            self._known = [
                (parameter, part)
                for tool in self.tools.values()
                for call in self.calls(tool.name)
                for parameter, value in [*bound(tool, call).items(), ("", call.result)]
                for part in (value if parameter == tool.variadic() and isinstance(value, list) else [value])
                if short(part) and not (isinstance(part, float) and round(part, _DECIMALS) != part)
            ]
        return self._known


def _calls_of(task: Task) -> list[Observation]:
    return (task.kept and task.verdict and task.verdict.solution_calls()) or []


def _key(call: Observation) -> str:
    return json.dumps(call.asked(), sort_keys=True)


def _distinct(calls: list[Observation]) -> list[Observation]:
    return list({_key(call): call for call in calls}.values())


def bound(tool: Tool, call: Observation) -> dict[str, JSON]:
    """Return a call's arguments by parameter; those of `*args` as a list."""
    given: dict[str, JSON] = {}
    rest = list(call.args)
    for name in tool.parameters["properties"]:
        if name == tool.variadic():
            given[name], rest = rest, []
        elif rest:
            given[name] = rest.pop(0)
    return given | call.kwargs


def _respelt(text: str, draw: random.Random) -> str:
    """Draw a text of the words of another, or of its letters if it is one word of letters alone."""
    between = " " if " " in text else ""
    parts = text.split(" ") if between else list(text) if text.isalpha() else []
    return between.join(draw.choices(parts, k=draw.randint(3, 2 * len(parts)))) if len(parts) > 2 else text


def short(value: JSON) -> bool:
    """Whether a value can be written into a question."""
    return len(repr(value)) <= _LITERAL_CHARS
