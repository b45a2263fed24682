"""Explore a world with state: first call the tools that read, then the tools that write.

After each write that worked, the world is reset to the state of the seed. So the values that were read before stay
valid. If no reading tool takes arguments, as in a browser, the world is not reset but continues from its last state.
"""

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from sca_cli.errors import WorldError
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Observation
from sca_cli.sandbox import Session
from sca_cli.walk.arguments import Argument, Arguments, Part
from sca_cli.walk.documented import numbers
from sca_cli.walk.links import Links
from sca_cli.walk.memory import FIRST_OBSERVATION, Memory, leaves
from sca_cli.walk.values import Values

CALLS = 250
"""Calls of one exploration of a world with state. Chosen by hand."""
CALLS_OUTSIDE = 60
"""The same if the world is a server outside of the sandbox, because each new start of one takes about a second."""

# All numbers below are chosen by hand.
_LOOK_UPS = 0.4
"""Largest share of the calls that are look-ups before the first write."""
_LOOK_UPS_IN_PLACE = 0.12
"""The same in a world without look-ups by arguments, whose writes show what is new."""
_DRY = 15
"""Look-ups without a new value after which writing begins."""
_LATER_LOOK_UPS = 0.1
"""Share of look-ups after that."""
_STEPS_ON = 0.9
"""Share of the writes after which a world without look-ups continues from its last state."""
_CURIOSITY = 0.05
"""Weight of a writing tool whose results showed nothing new, in a world without look-ups by arguments."""
_TRIES = 8
_TRIES_NARROW = 5
"""Draws after which links are drawn too that have nothing in common with the parameter."""
_TRIES_IN_PLACE = 24
"""The same in a world without look-ups by arguments: the first draw that the present text contains is taken."""
_EXHAUSTED = 5
"""Calls that a writing tool loses when all arguments drawn for it were tried before."""
_RETRIES = 2
"""Calls that put a number of a refusal in place of a number of the refused call."""
_MOST_FAILURES = 3
"""Tools that may make the world fail in one exploration."""
_CALLS_OF_A_SESSION = 150
"""Calls after which the world is started again, because a session has a limit."""


@dataclass(slots=True)
class StatefulWalk:
    """The recorded calls of one exploration of a world with state, and what they showed about its tools."""

    first_observation: str = ""
    observations: list[Observation] = field(default_factory=list)
    """Every call, refused calls included."""
    sources: list[dict[str, JSON]] = field(default_factory=list)
    """Parameter → place of its value, for each call."""
    resets: list[int] = field(default_factory=list)
    """Numbers of the calls before which the world was set to its first state again."""
    unsteady: list[str] = field(default_factory=list)
    """Reading tools that returned something else when the same call was made again."""
    failed_tools: dict[str, str] = field(default_factory=dict)
    """Tool → the error of the world that its call caused."""


def walk_state(open_session: Callable[[], Session], tools: list[Tool], seed: int, calls: int = CALLS) -> StatefulWalk:
    """Call the tools of a world with state.

    Args:
        open_session: starts the world in the state that belongs to the seed.
        tools: the environment's tools.
        seed: determines all draws.
        calls: number of calls, refused calls included.

    Raises:
        WorldError: the world does not start.
    """
    explorer = _StatefulExplorer(open_session, tools, random.Random(f"walk {seed}"))
    try:
        return explorer.walk(calls)
    finally:
        explorer.close()


class _StatefulExplorer:
    def __init__(self, open_session: Callable[[], Session], tools: list[Tool], draw: random.Random) -> None:
        self._open_session, self._tools, self._draw = open_session, tools, draw
        self._values = Values(tools, draw)
        self._memory, self._links = Memory(), Links()
        self._arguments = Arguments(tools, self._values, self._memory, self._links, draw)
        self._has_look_ups = False  # a look-up with arguments returned an object or a list
        self._worked: Counter[str] = Counter()
        self._tried: Counter[str] = Counter()
        self._gained: dict[str, float] = defaultdict(lambda: 1.0)
        self._asked: set[str] = set()
        self._written = False  # a write worked since the last reset
        self._here = ""  # the text that a world without look-ups shows, after the last write
        self.result = StatefulWalk()
        self._session = open_session()
        self.result.first_observation = self._session.first_observation()
        self._here = self.result.first_observation
        self._memory.read_text(self.result.first_observation, FIRST_OBSERVATION, "first observation")

    def close(self) -> None:
        self._session.close()

    def walk(self, calls: int) -> StatefulWalk:
        result = self.result
        dry = 0  # look-ups in a row without a new value
        for _ in range(4 * calls):
            reading = [tool for tool in self._tools if not tool.writes]
            writing = [tool for tool in self._tools if tool.writes]
            if len(result.observations) >= calls or not (reading or writing):
                break
            share = _LOOK_UPS if self._has_look_ups else _LOOK_UPS_IN_PLACE
            looks_first = dry < _DRY and len(result.observations) < share * calls
            if reading and (looks_first or not writing or self._draw.random() < _LATER_LOOK_UPS):
                gained = self._look_up(reading)
                dry = dry + 1 if not gained or dry >= _DRY else 0
            else:
                self._write(writing, calls)
        return result

    # ------------------------------------------------------------ look-ups

    def _look_up(self, tools: list[Tool]) -> bool:
        """Make one look-up; return whether it held a new value."""
        new = [tool for tool in tools if not self._tried[tool.name]]
        with_arguments = [tool for tool in tools if tool.parameters["properties"]] or tools
        weights = [self._gained[tool.name] / (1 + self._tried[tool.name]) ** 1.3 for tool in with_arguments]
        tool = new[0] if new else self._draw.choices(with_arguments, weights)[0]
        self._tried[tool.name] += 1
        if (arguments := self._new_arguments(tool)) is None:
            return False
        observation = self._call(tool, arguments)
        if observation is None or observation.error:
            return False
        self._has_look_ups = self._has_look_ups or bool(arguments and isinstance(observation.result, dict | list))
        gained = 0
        if not self._written or not self._has_look_ups:
            gained = self._remember(tool, arguments, observation)
        if self._worked[tool.name] == 1 and not self._written:
            again = self._call(tool, arguments)
            if again is not None and again.result != observation.result:
                self.result.unsteady.append(tool.name)
        self._gained[tool.name] += min(1.0, gained / 3)
        return gained > 0

    def _remember(self, tool: Tool, arguments: dict[str, Argument], observation: Observation) -> int:
        named = {name: argument.value for name, argument in arguments.items()}
        return self._memory.add(len(self.result.observations) - 1, tool.name, named, observation.result)

    # ------------------------------------------------------------ writes

    def _write(self, tools: list[Tool], calls: int) -> None:
        """Make one write. Retry with the numbers that a refusal names."""
        if self._has_look_ups:
            tool = min(
                tools, key=lambda tool: self._worked[tool.name] + 0.3 * self._tried[tool.name] + self._draw.random()
            )
        else:
            rates = [self._gained[tool.name] / (1 + self._tried[tool.name]) for tool in tools]
            tool = self._draw.choices(tools, [rate + _CURIOSITY for rate in rates])[0]
        self._tried[tool.name] += 1
        arguments = self._new_arguments(tool)
        if arguments is None:
            self._tried[tool.name] += _EXHAUSTED
        for _ in range(_RETRIES + 1):
            if arguments is None or len(self.result.observations) >= calls:
                return
            observation = self._call(tool, arguments)
            if observation is None:
                return
            if not observation.error:
                self._written = True
                self._here = observation.result if isinstance(observation.result, str) else ""
                if not self._has_look_ups:
                    self._gained[tool.name] += min(1.0, self._remember(tool, arguments, observation) / 3)
                if self._has_look_ups or self._draw.random() >= _STEPS_ON:
                    self._reset()
                return
            arguments = self._with_number_of(observation.error, tool, arguments)

    def _with_number_of(self, refusal: str, tool: Tool, arguments: dict[str, Argument]) -> dict[str, Argument] | None:
        """Return the arguments with one number replaced by one that the refusal names; None if there is none."""
        named = numbers(refusal)
        for name, argument in arguments.items():
            for place, part in enumerate(argument.parts):
                for number in named:
                    if (changed := _with_number(part, number)) is None:
                        continue
                    parts = [*argument.parts[:place], changed, *argument.parts[place + 1 :]]
                    value = [each.value for each in parts] if isinstance(argument.value, list) else changed.value
                    candidate = arguments | {name: Argument(value, parts)}
                    if self._is_new(tool, candidate):
                        return candidate
        return None

    def _reset(self) -> None:
        self._session.close()
        self._session = self._open_session()
        self._written, self._here = False, self.result.first_observation
        self.result.resets.append(len(self.result.observations))

    # ------------------------------------------------------------ calls

    def _new_arguments(self, tool: Tool) -> dict[str, Argument] | None:
        elsewhere: dict[str, Argument] | None = None
        for number in range(_TRIES if self._has_look_ups or not tool.writes else _TRIES_IN_PLACE):
            arguments = self._arguments.of(tool, widely=number >= _TRIES_NARROW and self._has_look_ups)
            if arguments is None or not (self._is_new(tool, arguments) or not arguments):
                continue
            if self._has_look_ups or not tool.writes or self._is_in_view(arguments):
                return arguments
            elsewhere = elsewhere or arguments
        return elsewhere

    def _is_in_view(self, arguments: dict[str, Argument]) -> bool:
        """Tell whether the last text, if a world shows one, contains all texts of the arguments."""
        return not self._here or all(str(argument.value) in self._here for argument in arguments.values())

    def _is_new(self, tool: Tool, arguments: dict[str, Argument]) -> bool:
        values = {name: argument.value for name, argument in arguments.items()}
        here = "" if self._has_look_ups or not tool.writes else self._here  # the same step from another place is new
        key = json.dumps([tool.name, values, here], sort_keys=True)
        is_new = key not in self._asked
        self._asked.add(key)
        return is_new

    def _call(self, tool: Tool, arguments: dict[str, Argument]) -> Observation | None:
        """Make a call and learn from it; None if the world failed, which drops the tool."""
        star = tool.variadic()
        named = {name: argument.value for name, argument in arguments.items() if name != star}
        args = [*named.values(), *arguments[star].value] if star in arguments else []
        if len(self._session.calls) >= _CALLS_OF_A_SESSION:
            self._reset()
        try:
            observation = self._session.call(tool.name, args, {} if star in arguments else named)
        except WorldError as error:
            self.result.failed_tools[tool.name] = error.message
            if len(self.result.failed_tools) > _MOST_FAILURES:
                raise
            self._tools = [other for other in self._tools if other is not tool]
            self._reset()
            return None
        self.result.observations.append(observation)
        self.result.sources.append({name: argument.origin for name, argument in arguments.items()})
        if observation.error:
            texts = " ".join(str(value) for argument in arguments.values() for value in leaves(argument.value))
            self._values.read("refusal", observation.error, self._named(arguments, observation.error), texts)
        else:
            self._worked[tool.name] += 1
        is_empty = observation.result in (None, "", [], {}) and not tool.writes
        self._arguments.learn(tool.name, arguments, observation.error, accepted=not observation.error and not is_empty)
        return observation

    @staticmethod
    def _named(arguments: dict[str, Argument], refusal: str) -> list[str]:
        named = [name for name in arguments if re.search(rf"\b{re.escape(name)}\b", refusal)]
        return named or list(arguments)


def _with_number(part: Part, number: JSON) -> Part | None:
    """Return a part with another number in it, or None if it holds no number or this one."""
    if isinstance(part.value, dict):
        places = [name for name, value in part.value.items() if _is_number(value)]
        if len(places) != 1 or part.value[places[0]] == number:
            return None
        return Part(part.value | {places[0]: number}, "refusal")
    if not _is_number(part.value) or part.value == number:
        return None
    return Part(number, "refusal")


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
