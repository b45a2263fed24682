"""Make tasks in a world that shows one text at a time, such as a browser: a line to bring into view, a fact to find.

Such a world has no look-up that takes arguments. The places are the texts that writing tools returned; the calls lead
from one place to another. Only calls are used whose arguments the place before contains, so that no step is guessed.
"""

import random
import re
from collections import deque
from dataclasses import dataclass, field
from itertools import chain

from sca_cli.analysis.calls import bound, call_text
from sca_cli.interfaces import Tool
from sca_cli.records import Exploration, Observation
from sca_cli.verification.paper_filter import FAILURE_CASES

_STEPS = (2, 6)
"""Fewest and most calls of a task. Chosen by hand."""
_FOUND_PER_REACHED = 2
"""Tasks that ask for a number for each one that asks for a place. Chosen by hand."""
_LINE_CHARS = (20, 140)
_LINE_WORDS = 4
_NUMBER = re.compile(r"(?<![\w.,:/-])\d+(?:\.\d+)?(?![\w:/-]|[.,]\d)")
_LINK = re.compile(r"\]\(|https?:")
_GAP = "____"
_REACH = (
    'Please go to the place that says "{line}", and stop there, so that this line is in view.',
    'Find where it says "{line}" and stay there with this line in view.',
)
_FIND = (
    'Somewhere it says "{line}". Which number stands in the gap? Answer with the number alone.',
    'Please find the line "{line}" and tell me the number that is missing there, as a number.',
)
_REACHED = """\
def evaluate():
    return {line!r} in {look}
"""
_FOUND = """\
def evaluate(answer):
    return isinstance(answer, (int, float)) and not isinstance(answer, bool) and abs(answer - {number!r}) <= 1e-6
"""


@dataclass(slots=True)
class Places:
    """The texts that a world showed, and the calls between them.

    Args:
        exploration: of a world that shows one text at a time.
        tools: the environment's tools.
    """

    exploration: Exploration
    tools: dict[str, Tool]
    look: str = ""
    """The look-up that shows the present text, as Python; "" if there is none."""
    _steps: dict[str, dict[str, str]] = field(default_factory=dict)
    """Text → call → next text."""

    def __post_init__(self) -> None:
        first = self.exploration.first_observation
        resets = set(self.exploration.extra.get("resets", ()))
        here = first
        for number, call in enumerate(self.exploration.observations):
            here = first if number in resets else here
            if call.error or call.refused or call.tool not in self.tools:
                continue
            if not call.writes:
                if call.result == here and not bound(self.tools[call.tool], call):
                    self.look = f"{call.tool}()"
                continue
            there = call.result if isinstance(call.result, str) else ""
            if there and here and self._is_shown(call, here):
                self._steps.setdefault(here, {})[call_text(call.tool, call.args, call.kwargs)] = there
            here = there

    def _is_shown(self, call: Observation, here: str) -> bool:
        values = bound(self.tools[call.tool], call).values()
        return all(isinstance(value, str) and value in here for value in values)

    def ways(self) -> dict[str, list[str]]:
        """Return text → the fewest calls that lead to it from the first text."""
        first = self.exploration.first_observation
        ways: dict[str, list[str]] = {first: []}
        waiting = deque([first])
        while waiting:
            here = waiting.popleft()
            for call, there in self._steps.get(here, {}).items():
                if there not in ways:
                    ways[there] = [*ways[here], call]
                    waiting.append(there)
        return ways


@dataclass(frozen=True, slots=True)
class PlaceTask:
    """A task in such a world."""

    instruction: str
    solution: str
    evaluate: str
    wrong: list[tuple[str, str]]
    """(kind, program), three at least. If one of them passes, the task is no good."""
    steps: int


def tasks(places: Places, draw: random.Random) -> list[PlaceTask]:
    """Return a task for each line that only one text contains, and for each number in such a line, in random order."""
    ways = places.ways()
    reached: list[PlaceTask] = []
    found: list[PlaceTask] = []
    for text, calls in ways.items():
        if not _STEPS[0] <= len(calls) <= _STEPS[1]:
            continue
        elsewhere = "\n".join(other for other in ways if other != text)
        for line in text.splitlines()[1:]:
            if not _is_clear(line) or line in elsewhere:
                continue
            others = [other for other in ways.values() if other and other[: len(calls)] != calls]
            if places.look and len(calls) + len(others) > FAILURE_CASES:
                reached.append(_reach(places, line, calls, others, draw))
            numbers = _NUMBER.findall(line)
            found += [_find(line, number, calls, text, draw) for number in numbers if line.count(number) == 1]
    draw.shuffle(reached)
    draw.shuffle(found)
    mixed = [found[place : place + _FOUND_PER_REACHED] + reached[number : number + 1]
             for number, place in enumerate(range(0, len(found), _FOUND_PER_REACHED))]  # fmt: skip
    return [*chain.from_iterable(mixed), *reached[len(mixed) :]]


def _is_clear(line: str) -> bool:
    low, high = _LINE_CHARS
    is_sized = low <= len(line) <= high and len(line.split()) >= _LINE_WORDS
    return is_sized and not _LINK.search(line) and '"' not in line


def _program(calls: list[str]) -> str:
    return "".join(f"{call}\n" for call in calls)


def _reach(places: Places, line: str, calls: list[str], others: list[list[str]], draw: random.Random) -> PlaceTask:
    shorter = [("a step left out", _program(calls[:place] + calls[place + 1 :])) for place in range(len(calls))]
    wrong = [*shorter, *(("another place", _program(other)) for other in draw.sample(others, min(len(others), 2)))]
    evaluate = _REACHED.format(line=line, look=places.look)
    return PlaceTask(draw.choice(_REACH).format(line=line), _program(calls), evaluate, wrong, len(calls))


def _find(line: str, number: str, calls: list[str], text: str, draw: random.Random) -> PlaceTask:
    value = float(number) if "." in number else int(number)
    before, after = line.split(number)
    pattern = f"{re.escape(before)}([0-9.]*[0-9]){re.escape(after)}"
    kind = "float" if isinstance(value, float) else "int"
    solution = (
        f"import re\n{_program(calls[:-1])}text = {calls[-1]}\nfinal_answer({kind}(re.search({pattern!r}, text)[1]))\n"
    )
    near = [other for other in _NUMBER.findall(text) if other != number]
    wrong = [
        ("another number", f"{_program(calls)}final_answer({near[0] if near else value + 2})\n"),
        ("a near number", f"{_program(calls)}final_answer({value + 1!r})\n"),
        ("no answer", _program(calls)),
    ]
    said = draw.choice(_FIND).format(line=f"{before}{_GAP}{after}")
    return PlaceTask(said, solution, _FOUND.format(number=value), wrong, len(calls))
