"""Explore an environment by calling its tools, without a model.

The idea is that of stateful API fuzzers (RESTler, ICSE 2019; EvoMaster): documentation and earlier results supply the
arguments, and refusals teach which values a parameter takes. The explorer uses only texts that agents see too:
the tools with their schemas and documentation, the first observation, results and refusals.
"""

import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from sca_cli.errors import WorldError
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Observation
from sca_cli.sandbox import Session
from sca_cli.walk.documented import example_calls
from sca_cli.walk.values import Source, Value, Values, varied

CALLS = 40
"""Calls of one exploration. Chosen by hand, like the numbers below."""

_PRIOR: dict[Source, float] = {
    "enum": 8.0,
    "documentation": 4.0,
    "result": 1.5,
    "first observation": 1.5,
    "refusal": 3.0,
    "default": 1.0,
    "made up": 1.0,
}
"""Source → weight of its draws before any call was made. Chosen by hand."""
_TYPED = 0.3
"""If no result has a similar name: probability of using results of the right type. Chosen by hand."""
_EXAMPLE_CALL = 0.5
"""If the documentation has example calls: share of the calls that vary one of them. Chosen by hand."""
_OPTIONAL = 0.4
"""Share of the calls that set an optional parameter. Chosen by hand."""
_MOST_OF_STAR = 5
"""Most values for `*args`."""
_TRIES = 12
"""Draws to get arguments that were not tried before; if all fail, the tool is not called again."""


@dataclass(slots=True)
class Walk:
    """The result of an exploration."""

    observations: list[Observation]
    """Every call, refused calls included."""
    sources: list[dict[str, str]]
    """Sources of the arguments: parameter → source, for each call."""
    problem: str = ""
    """The error of the world that ended the exploration early, or ""."""
    failed_tool: str = ""
    """The tool whose call made the world fail."""


def walk(session: Session, tools: list[Tool], observation: str, seed: int, calls: int = CALLS) -> Walk:
    """Call tools in a world; tools with the fewest successful calls come first.

    Args:
        session: the world; writing tools change it.
        tools: the environment's tools.
        observation: the first observation.
        seed: determines all draws.
        calls: number of calls, refused calls included.
    """
    return _Explorer(session, tools, observation, random.Random(f"walk {seed}")).walk(calls)


class _Explorer:
    def __init__(self, session: Session, tools: list[Tool], observation: str, draw: random.Random) -> None:
        self._session, self._tools, self._draw = session, tools, draw
        self._values = Values(tools, draw)
        self._worked: Counter[str] = Counter()
        self._tried: Counter[str] = Counter()
        self._accepted: dict[tuple[str, str, Source], list[float]] = defaultdict(lambda: [1.0, 2.0])  # accepted, tried
        self._tried_arguments: set[str] = set()
        names = sorted({name for tool in tools for name in tool.parameters["properties"]})
        self._values.read("first observation", observation, names)
        self._examples = {tool.name: list(example_calls(tool, tool.description)) for tool in tools}

    def walk(self, calls: int) -> Walk:
        result = Walk([], [])
        while len(result.observations) < calls and self._tools:
            tool = min(self._tools, key=lambda tool: self._turn(tool) + self._draw.random())
            self._tried[tool.name] += 1
            if (arguments := self._new_arguments(tool)) is None:
                self._tools = [other for other in self._tools if other is not tool]
                continue
            try:
                observation = self._call(tool, arguments)
            except WorldError as error:
                result.problem, result.failed_tool = error.message, tool.name
                break
            result.observations.append(observation)
            result.sources.append({name: value.source for name, value in arguments.items()})
        return result

    def _turn(self, tool: Tool) -> float:
        """Return a tool's rank, lowest first: successful calls raise it by 1.3, refused calls by 0.3."""
        return self._worked[tool.name] + 0.3 * self._tried[tool.name]

    # ------------------------------------------------------------ arguments

    def _new_arguments(self, tool: Tool) -> dict[str, Value] | None:
        """Draw arguments that were not tried yet; return None if every draw was tried before."""
        for _ in range(_TRIES):
            arguments = self._arguments(tool)
            key = json.dumps([tool.name, {name: value.value for name, value in arguments.items()}], sort_keys=True)
            if key not in self._tried_arguments:
                self._tried_arguments.add(key)
                return arguments
        return None

    def _arguments(self, tool: Tool) -> dict[str, Value]:
        examples = self._examples[tool.name]
        if examples and self._draw.random() < _EXAMPLE_CALL:
            example = self._draw.choice(examples)
            return {name: Value(self._varied(value), "documentation") for name, value in example.items()}
        arguments: dict[str, Value] = {}
        for name in tool.parameters["properties"]:
            if name == tool.variadic():
                count = self._draw.randint(0 if tool.parameters["required"] else 1, _MOST_OF_STAR)
                drawn = [self._value(tool, name, []) for _ in range(count)]
                distinct = list({json.dumps(value.value): value for value in drawn}.values())
                source = distinct[0].source if distinct else "made up"
                arguments[name] = Value([value.value for value in distinct], source)
            elif name in tool.parameters["required"] or self._draw.random() < _OPTIONAL:
                arguments[name] = self._value(tool, name, [value.value for value in arguments.values()])
        return arguments

    def _varied(self, value: JSON) -> JSON:
        return [self._varied(part) for part in value] if isinstance(value, list) else varied(value, self._draw)

    def _value(self, tool: Tool, name: str, used: list[JSON]) -> Value:
        """Draw a source that has values for this parameter, by its rate of accepted values, then draw a value.

        Args:
            tool: the tool of the parameter.
            name: the parameter's name.
            used: values in the same call; they are drawn only if the source has no others.
        """
        offered: dict[Source, list[JSON]] = {
            source: self._values.candidates(tool, name, source) for source in _PRIOR if source != "made up"
        }
        if not offered["result"] and self._draw.random() < _TYPED:
            offered["result"] = self._values.typed(tool, name)
        closed = bool(offered["enum"])
        sources = [source for source, values in offered.items() if values] + ([] if closed else ["made up"])
        weights = [_PRIOR[source] * self._rate(tool, name, source) for source in sources]
        source = self._draw.choices(sources, weights)[0]
        if source == "made up":
            return Value(self._values.made_up(tool, name), source)
        fresh = [value for value in offered[source] if value not in used] or offered[source]
        value = self._draw.choice(fresh)
        return Value(value if source in ("enum", "refusal") else varied(value, self._draw), source)

    def _rate(self, tool: Tool, name: str, source: Source) -> float:
        """Return the squared share of accepted values of a source; squaring gives refusals more weight."""
        accepted, tried = self._accepted[tool.name, name, source]
        return (accepted / tried) ** 2

    # ------------------------------------------------------------ calls

    def _call(self, tool: Tool, arguments: dict[str, Value]) -> Observation:
        named = {name: value.value for name, value in arguments.items()}
        observation = self._session.call(tool.name, [], named)
        if observation.error:
            self._learn_from_refusal(tool, arguments, observation.error)
        else:
            self._worked[tool.name] += 1
            self._values.see("result", tool.name, observation.result)
            for name, value in arguments.items():
                self._count(tool, name, value.source, accepted=True)
                if value.source != "result":
                    self._values.see("result", name, value.value)
        return observation

    def _learn_from_refusal(self, tool: Tool, arguments: dict[str, Value], refusal: str) -> None:
        """Count a failure for the arguments that a refusal names, or for all, and store the values that it lists."""
        named = [
            name
            for name, value in arguments.items()
            if re.search(rf"\b{re.escape(name)}\b", refusal)
            or (len(str(value.value)) > 2 and str(value.value) in refusal)
        ]
        for name in named or list(arguments):
            self._count(tool, name, arguments[name].source, accepted=False)
        argument_text = " ".join(str(value.value) for value in arguments.values())
        self._values.read("refusal", refusal, named or list(arguments), argument_text)
        self._examples[tool.name] += [
            call for call in example_calls(tool, refusal) if call not in self._examples[tool.name]
        ]

    def _count(self, tool: Tool, name: str, source: Source, *, accepted: bool) -> None:
        counts = self._accepted[tool.name, name, source]
        counts[0] += accepted
        counts[1] += 1
