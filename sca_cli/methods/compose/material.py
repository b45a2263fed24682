"""The calls that worked in one environment, with their arguments and results, gathered from records."""

import json
import random
from collections import defaultdict

from sca_cli.analysis import fits
from sca_cli.analysis.calls import bound
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, EnvSpec, Exploration, Observation, Task
from sca_cli.walk.values import varied

# All numbers below are chosen by hand; not measured.
CALLS_KEPT = 300
"""Most calls of one tool that are stored, so that memory does not grow with the input."""
WORLDS_KEPT = 200
"""Most worlds that are stored."""
_LITERAL_CHARS = 120
"""Longest `repr` of a value that can be written into a question, in characters."""
_DECIMALS = 4
"""Numbers with more decimals are results of arithmetic: a user would not write them into a question."""
_RESULTS_LOOKED_AT = 5
_MANY = 8
"""Fewest successful calls after which a parameter can count as one with a few fixed values."""
_REPEATED = 0.6
"""A parameter takes a few fixed values if at most this share of the values in these calls is distinct."""
_NAMED, _JOINED, _RESPELT = 0.8, 0.25, 0.3


class Material:
    """The calls that explorations and the solutions of verified tasks made in one environment.

    Args:
        env: the environment.
        tools: its tools.
    """

    def __init__(self, env: EnvSpec, tools: list[Tool]) -> None:
        self.env = env
        self.tools = {tool.name: tool for tool in tools}
        self.worlds: list[Exploration] = []
        """The worlds in which programs can run, each with the calls recorded there and without messages."""
        self._calls: dict[str, dict[str, Observation]] = defaultdict(dict)
        self._results_by_call: dict[str, dict[str, str]] = defaultdict(dict)  # tool → call → result
        self._known: list[tuple[str, JSON]] | None = None
        self._accepted_by: dict[tuple[str, str], list[JSON]] = {}

    def add(self, record: Exploration | Task) -> None:
        """Add the calls of a record that had no tool error and were no blocked writes."""
        self._known = None
        self._accepted_by.clear()
        calls = record.observations if isinstance(record, Exploration) else _calls_of(record)
        worked = [call for call in calls if not call.error and not call.refused and call.tool in self.tools]
        first = record.first_observation if isinstance(record, Exploration) else ""
        world = Exploration(id=record.id, env=record.env, seed=record.seed, first_observation=first)
        world.observations = _distinct(worked)
        if len(self.worlds) < WORLDS_KEPT:
            self.worlds.append(world)
        for call in world.observations:
            known = self._calls[call.tool]
            if len(known) < CALLS_KEPT:
                known.setdefault(_key(call), call)

    def tells_nothing(self, calls: list[Observation]) -> str:
        """Return a reading tool among these calls whose result is the same for all arguments so far, or "".

        Args:
            calls: calls with their results; the method stores them for later comparisons.
        """
        for call in calls:
            stored = self._results_by_call[call.tool]
            if not call.writes and (call.args or call.kwargs) and len(stored) < CALLS_KEPT:
                stored.setdefault(_key(call), json.dumps(call.result, sort_keys=True))
        by_tool = {call.tool: self._results_by_call[call.tool].values() for call in calls}
        return next((tool for tool, results in by_tool.items() if len(results) > 1 and len(set(results)) == 1), "")

    def calls(self, tool: str) -> list[Observation]:
        """Return the different calls of a tool that worked, in the order in which they were read."""
        return list(self._calls[tool].values())

    def results(self, tool: str) -> list[JSON]:
        """Return the first few results of a tool, which show the structure of its results."""
        results = [call.result for call in self._calls[tool].values() if call.result is not None]
        return results[:_RESULTS_LOOKED_AT]

    def arguments(self, tool: Tool, world: Exploration, draw: random.Random) -> dict[str, JSON]:
        """Draw arguments for a tool: take a recorded call and draw some of its values again.

        A number is replaced by one of similar size. Another value is drawn from the recorded values of parameters with
        this name or type. For a tool that only reads, a text may also be built from the words or letters of such a
        value. Half of the calls come from `world`, if it has any of this tool.

        Returns:
            Parameter → value; a list for a `*args` parameter.

        Raises:
            LookupError: a parameter needs a value, and no recorded value is like it.
        """
        here = [call for call in world.observations if call.tool == tool.name]
        calls = here if here and draw.random() < 0.5 else self.calls(tool.name)
        known = bound(tool, draw.choice(calls)) if calls else {}
        arguments: dict[str, JSON] = {}
        for name in tool.parameters["properties"]:
            if name in known or name in tool.parameters["required"] or name == tool.variadic():
                arguments[name] = self._value(tool, name, known, draw)
        return arguments

    def _value(self, tool: Tool, name: str, known: dict[str, JSON], draw: random.Random) -> JSON:
        if name == tool.variadic():
            values = known.get(name) or [self._like(tool, name, draw) for _ in range(draw.randint(2, 4))]
            return [varied(part, draw) for part in values]
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
        """Return whether all characters of a text occur in the recorded values of a parameter.

        A parameter that takes DNA, digits or dates refuses other texts. Values of other types always pass. All texts
        pass if too few values are recorded.
        """
        accepted = [text for text in self._accepted(tool, name) if isinstance(text, str)]
        return not isinstance(value, str) or len(accepted) < _MANY or set(value) <= set("".join(accepted))

    def _like(self, tool: Tool, name: str, draw: random.Random) -> JSON:
        """Draw a recorded value: usually of a parameter with this name, of any tool; else any value of its type.

        A text may be joined from two recorded texts. A parameter with an enum gets one of its values.

        Raises:
            LookupError: no recorded value fits the parameter.
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
        """Return (parameter, value) of all recorded arguments and results; the name "" marks a result."""
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


def _respelt(text: str, draw: random.Random) -> str:
    """Draw a text of the words of another, or of its letters if it is one word of letters alone."""
    between = " " if " " in text else ""
    parts = text.split(" ") if between else list(text) if text.isalpha() else []
    return between.join(draw.choices(parts, k=draw.randint(3, 2 * len(parts)))) if len(parts) > 2 else text


def short(value: JSON) -> bool:
    """Tell whether a value is short enough for a question."""
    return len(repr(value)) <= _LITERAL_CHARS
