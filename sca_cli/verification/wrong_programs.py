"""Build programs and answers that a sound check rejects: random tool calls, changed calls, plausible wrong answers."""

import math
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from sca_cli.analysis import text_values
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Observation

_LETTERS = "bcdfghjklmnpqrstvwxz"
# The sizes below, and the distances in `another` and `_is_plausible`, are chosen by hand; not measured. The distances
# are larger than the usual tolerance of a check, so that a sound check rejects the changed number.
_CALLS = 4
"""Calls of a random program."""
_RETURNED_ANSWERS = 4
"""Values from tool results that are tried as answers."""
_PARTS = 4
"""An answer with at most this number of parts is varied in each part."""
_REPLACEMENTS = 3
"""Texts from tool results that are tried instead of one text."""

_ATTEMPT = """\
def attempt(tool, *args, **kwargs):
    try:
        return tool(*args, **kwargs)
    except Exception:
        return None

"""


def random_program(tools: Sequence[Tool], answer: JSON, seed: int, *, answers: bool = False) -> str:
    """Return a program that makes random tool calls and gives a wrong answer, without using its task.

    Args:
        tools: the tools that it may call.
        answer: the right answer; None for a task without one. The program's answer has the same shape and differs.
        seed: seeds the calls and the answer.
        answers: the program gives an answer even if the right one is None.
    """
    rng = random.Random(seed)
    text = _ATTEMPT
    for tool in rng.choices(tools, k=_CALLS) if tools else []:
        arguments = {name: _value(schema, rng) for name, schema in tool.parameters["properties"].items()}
        variadic = arguments.pop(tool.variadic(), [])
        texts = [
            *(["*" + repr(variadic)] if variadic else []),
            *(f"{name}={value!r}" for name, value in arguments.items()),
        ]
        text += f"attempt({', '.join([tool.name, *texts])})\n"
    if answer is not None or answers:
        text += f"final_answer({another(answer, rng, near=False)!r})\n"
    return text


def replays(calls: Sequence[Observation], tools: Sequence[Tool], answer: JSON) -> Iterator[str]:
    """Yield programs that repeat the solution's changes, with one change left out or made by another tool.

    Args:
        calls: the solution's calls.
        tools: the tools of the environment.
        answer: the answer that each program gives; None for no answer.
    """
    writers = {tool.name: list(tool.parameters["properties"]) for tool in tools if tool.writes}
    changes = [call for call in calls if call.changed()]
    for place, call in enumerate(changes):
        count = len(call.args) + len(call.kwargs)
        others = [name for name, names in writers.items() if name != call.tool and len(names) == count]
        for name in ["", *others]:
            steps = [*changes[:place], *([_with_tool(call, name)] if name else []), *changes[place + 1 :]]
            yield _program_of(steps, answer)


def altered(
    calls: Sequence[Observation], reads: Sequence[Observation], answer: JSON, rng: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield wrong programs: they make the solution's changes, but one argument of one change has a wrong value.

    There are three kinds. (1) One change gets a wrong value for one argument. (2) All changes stay, and one of them is
    made a second time, with a wrong first argument. (3) Two changes by the same tool exchange their last arguments.

    Args:
        calls: the solution's calls, with results.
        reads: the check's calls, with results. Wrong values are taken from the results of `calls` and `reads`.
        answer: the answer that each program gives; None for no answer.
        rng: draws the wrong values.

    Yields:
        The program, and the text of the call with the wrong value.
    """
    changes = [call for call in calls if call.changed()]
    for place, call in enumerate(changes):
        arguments: list[tuple[int | str, JSON]] = [*enumerate(call.args), *call.kwargs.items()]
        for name, value in arguments:
            for other in _replacements(value, [*calls, *reads], rng, _read_instead(value, reads)):
                step = _with_argument(call, name, other)
                replaced = [*changes[:place], step, *changes[place + 1 :]]
                call_text = "{}({})".format(*_arguments(step).split(", ", 1))
                for steps in [replaced, [*changes, step]] if name == 0 else [replaced]:
                    yield _program_of(steps, answer), call_text
    yield from _exchanged(changes, answer)


def _exchanged(changes: Sequence[Observation], answer: JSON) -> Iterator[tuple[str, str]]:
    """Yield programs in which two changes by the same tool exchange their last positional arguments."""
    for place, other_place in combinations(range(len(changes)), 2):
        one, other = changes[place], changes[other_place]
        if one.tool == other.tool and len(one.args) == len(other.args) > 1 and one.args[:-1] != other.args[:-1]:
            steps = list(changes)
            steps[place] = _with_argument(one, len(one.args) - 1, other.args[-1])
            steps[other_place] = _with_argument(other, len(one.args) - 1, one.args[-1])
            yield _program_of(steps, answer), "{}({})".format(*_arguments(steps[place]).split(", ", 1))


def _program_of(steps: Sequence[Observation], answer: JSON) -> str:
    """Return a program that makes calls, ignores their errors, and gives the answer unless it is None."""
    text = _ATTEMPT + "".join(f"attempt({_arguments(step)})\n" for step in steps)
    return text + (f"final_answer({answer!r})\n" if answer is not None else "")


def _with_argument(call: Observation, name: int | str, value: JSON) -> Observation:
    args = [value if place == name else old for place, old in enumerate(call.args)]
    kwargs = {key: value if key == name else old for key, old in call.kwargs.items()}
    return Observation(tool=call.tool, args=args, kwargs=kwargs)


def _read_instead(value: JSON, reads: Sequence[Observation]) -> set[str]:
    """Return the texts that the check passes to the same parameter of the same tool as a value."""
    arguments = [(call.tool, place, text) for call in reads for place, text in enumerate(call.args)]
    places = {(tool, place) for tool, place, text in arguments if text == value}
    return {text for tool, place, text in arguments if (tool, place) in places and isinstance(text, str)}


def _replacements(
    value: JSON, calls: Sequence[Observation], rng: random.Random, others: Iterable[str] = ()
) -> list[JSON]:
    """Return a few values that could replace an argument. In a list, only the first part is replaced.

    Args:
        value: the argument.
        calls: calls with results, in which other texts of the same role are searched.
        rng: draws texts.
        others: further texts of the same role.
    """
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1]
    if isinstance(value, list) and value:
        return [[other, *value[1:]] for other in _replacements(value[0], calls, rng) if other not in value]
    if not isinstance(value, str):
        return []
    siblings = sorted({*others, *(other for call in calls for other in _siblings(value, call.result))} - {value})
    return rng.sample(siblings, min(_REPLACEMENTS, len(siblings)))


def _siblings(text: str, value: JSON) -> Iterator[str]:
    """Yield the texts that have the same role as a text in a tool result.

    These are the other keys of an object that has the text as a key, the other strings of a list that holds it, and the
    values under the same key in the other objects of a list.
    """
    yield from _sibling_keys(text, value)
    for parts in _containers(value):
        if isinstance(parts, list):
            if text in parts:
                yield from (part for part in parts if isinstance(part, str))
            items = [item for part in parts if isinstance(part, dict) for item in part.items()]
            keys = {key for key, other in items if other == text}
            yield from (other for key, other in items if key in keys and isinstance(other, str))


def _sibling_keys(text: str, value: JSON) -> Iterator[str]:
    """Yield all keys of the objects that have a text as a key."""
    for parts in _containers(value):
        if isinstance(parts, dict) and text in parts:
            yield from parts


def _containers(value: JSON) -> Iterator[list[JSON] | dict[str, JSON]]:
    """Yield the lists and objects inside a value, and the value itself if it is one."""
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _containers(part)


def _with_tool(call: Observation, tool: str) -> Observation:
    """Return a call of another tool with the same arguments, all positional."""
    return Observation(tool=tool, args=[*call.args, *call.kwargs.values()])


def _arguments(call: Observation) -> str:
    """Return the arguments of `attempt` as source: the tool, then the arguments of the call."""
    return ", ".join([call.tool, *map(repr, call.args), *(f"{name}={value!r}" for name, value in call.kwargs.items())])


def with_answer(program: str, answer: JSON) -> str:
    """Return a program that does the same but gives another answer."""
    return f"def final_answer(_, give=final_answer):\n    give({answer!r})\n\n{program}"


def other_answers(answer: JSON, calls: Sequence[Observation], rng: random.Random) -> list[JSON]:
    """Return wrong answers that a weak check could mistake for the right one.

    Args:
        answer: the right answer. For None, the list is empty.
        calls: the solution's calls, with results. Some wrong answers are values from these results.
        rng: draws the answers.
    """
    if answer is None or isinstance(answer, bool):
        return [] if answer is None else [not answer]
    others = [another(answer, rng, near=True)]
    if isinstance(answer, list):
        others += [[]]
        others += [answer[:-1], answer[1:]] if len(answer) > 1 else []
        for place in range(len(answer)) if len(answer) <= _PARTS else ():
            others.append([*answer[:place], another(answer[place], rng, near=False), *answer[place + 1 :]])
    elif isinstance(answer, dict):
        others += [{}]
        for key in answer if len(answer) <= _PARTS else ():
            others.append(answer | {key: another(answer[key], rng, near=False)})
            others.append({other: value for other, value in answer.items() if other != key})
    else:
        returned = [value for call in calls for value in leaves(call.result) if _is_plausible(value, answer)]
        rng.shuffle(returned)
        # Values under the same key as the right answer are the easiest to mistake for it, so they are tried first.
        keys = {key for call in calls for key, value in _leaves_with_keys(call.result) if value == answer}
        under_same_key = {value for call in calls for key, value in _leaves_with_keys(call.result) if key in keys}
        others += sorted(returned, key=lambda value: value not in under_same_key)[:_RETURNED_ANSWERS]
        if isinstance(answer, str):
            keys = {key for call in calls for key in _sibling_keys(answer, call.result) if _is_plausible(key, answer)}
            others += rng.sample(sorted(keys), min(_REPLACEMENTS, len(keys)))
        if isinstance(answer, int | float):
            others += [other for other in (answer + 1, answer - 1) if not text_values.alike(other, answer)]
        if isinstance(answer, str) and len(answer.split()) > 2:
            others.append(" ".join(reversed(answer.split())))
    return [other for other in others if other != answer]


_CHEAP: tuple[JSON, ...] = ("", "x", "nan", 0, [], ["x"], {}, {"x": 0}, None)
"""Answers that need no work. One of them is right for hardly any task. Chosen by hand; not measured."""

_NEAR = (1.025, 0.975)
"""Factors by which a number is changed. A check with a tolerance of 3 per cent accepts the results. Chosen by hand; not
measured.
"""


def cheap_answers(answer: JSON) -> list[JSON]:
    """Return answers that need no work and are wrong: empty, of another type, not a number.

    Values that Python or a lenient check can mistake for the right answer are left out: `True` for 1, `""` for `[]`.
    """
    others = [*_CHEAP, True] if isinstance(answer, int | float | list | dict) else _CHEAP
    return [other for other in others if other != answer and (other or answer) and not text_values.alike(other, answer)]


def careless_answers(answer: JSON, calls: Sequence[Observation], *, rounded: bool) -> list[JSON]:
    """Return answers that a careless agent gives, and that a check for an exact answer rejects.

    They are a part of the right text, everything that the tools returned, a number that is nearly right, and another
    empty value.

    Args:
        answer: the right answer.
        calls: the solution's calls, with results.
        rounded: the task lets numbers be rounded, so rounded ones are right.
    """
    returned = list(dict.fromkeys(value for call in calls for value in leaves(call.result) if value is not None))
    others: list[JSON] = []
    match answer:
        case None | "" | [] | {} | False:
            others = ["", [], {}]
        case bool():
            pass
        case int() | float() if math.isfinite(text_values.as_float(answer)):
            number = text_values.as_float(answer)
            nearly = [round(number * factor, 4) for factor in _NEAR]
            others = [other for other in nearly if not text_values.alike(other, answer)]
            others += [answer + 1, answer - 1] if 1 < abs(number) < _LARGE else []
            if not rounded and not number.is_integer() and abs(number) < _LARGE:
                others += [other for other in (math.trunc(number), round(number)) if abs(other - number) > _ROUNDING]
        case str():
            others = [answer.split()[0]] if len(answer.split()) > 1 else []
            others += [answer[: len(answer) // 2]] if len(answer) >= _SHORTEST_CUT else []
            others += [" ".join(map(str, [*returned, answer]))] if returned else []
        case list():
            others = [[*answer, *(value for value in returned if value not in answer)]]
    return [other for other in others if other != answer]


_SHORTEST_CUT = 5
"""Shortest text of which a half is tried: a check may accept `y` for `yes`. Chosen by hand; not measured."""
_LARGE = 10_000
"""Number from which a difference of 1 is within the usual tolerance of a check. Chosen by hand; not measured."""
_ROUNDING = 0.05
"""Difference up to which a rounded number counts as the same. Chosen by hand; not measured."""


def accepts_any(evaluate: str, answers: Sequence[JSON]) -> str:
    """Return a check that is True if the task's check accepts any of the answers.

    Each answer is judged by a fresh copy of the check. Thus one program judges all answers.

    Args:
        evaluate: source of the task's check.
        answers: the answers.
    """
    return _ACCEPTS_ANY.format(source=evaluate, answers=list(answers))


_ACCEPTS_ANY = """\
def evaluate(_):
    for answer in {answers!r}:
        names = dict(globals())
        try:
            exec({source!r}, names)
            if names["evaluate"](answer) is True:
                return True
        except Exception:
            pass
    return False
"""


def loose_answers(answer: JSON, rng: random.Random) -> list[JSON]:
    """Return other answers that a sound check may accept: not every task fixes order, sign or number of parts.

    They are the list reversed, the list with one more part, and the number with the other sign.
    """
    others: list[JSON] = []
    if isinstance(answer, list):
        others = [[*answer, another(answer[-1] if answer else "x", rng, near=True)], reordered(answer)]
    elif isinstance(answer, int | float) and not isinstance(answer, bool):
        others = [-answer] if not text_values.alike(-answer, answer) else []
    return [other for other in others if other != answer]


def reordered(answer: JSON) -> JSON:
    """Return a list, or a text of parts between commas or semicolons, in reverse order; other values are unchanged."""
    if isinstance(answer, str):
        parts = re.split(r"(\s*[,;]\s*)", answer)
        return "".join(reversed(parts))
    return answer[::-1] if isinstance(answer, list) else answer


def _leaves_with_keys(value: JSON, key: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Yield (key, value) for the texts and numbers inside lists and objects; the key is that of the nearest object."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves_with_keys(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves_with_keys(part, key)
    elif value is not None:
        yield key, value


def leaves(value: JSON) -> Iterator[JSON]:
    """Yield the values inside lists and objects; a value that is neither yields itself."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


def _is_plausible(value: JSON, answer: JSON) -> bool:
    """Tell whether a value is a plausible wrong answer.

    Text must not contain the right answer, nor be contained in it. A number must differ by more than 4 % plus 1.5, so
    that a check with a tolerance rejects it too.
    """
    if isinstance(value, str) and isinstance(answer, str):
        return value.strip().lower() not in answer.lower() and answer.strip().lower() not in value.lower()
    is_number = isinstance(answer, int | float) and isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(text_values.as_float(value) - text_values.as_float(answer)) > 1.5 + 0.04 * abs(
        text_values.as_float(answer)
    )


def _value(schema: Any, rng: random.Random) -> JSON:
    """Return a random value that fits a schema made by `describe_tool`."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return _value(rng.choice(schema["anyOf"]), rng)
    match schema.get("type", "string"):
        case "integer":
            return rng.randint(-20, 500)
        case "number":
            return round(rng.uniform(-20, 500), 2)
        case "boolean":
            return rng.random() < 0.5
        case "array":
            if places := schema.get("prefixItems"):
                return [_value(place, rng) for place in places]
            return [_value(schema.get("items", {}), rng) for _ in range(rng.randint(1, 3))]
        case "object":
            return {key: _value(part, rng) for key, part in schema.get("properties", {}).items()}
        case "null":
            return None
    return _word(rng.randint(3, 8), rng)


def _word(length: int, rng: random.Random) -> str:
    return "".join(rng.choices(_LETTERS, k=length))


def another(answer: JSON, rng: random.Random, *, near: bool) -> JSON:
    """Return an answer of the same shape in which every part differs.

    Args:
        answer: a value of JSON types.
        rng: draws the new values.
        near: if True, a number changes by 4 % plus 1.5, and a text in one letter. If False, a number changes by
            at least 70 % plus 5, and a text in every letter.
    """
    match answer:
        case bool():
            return not answer
        case int() | float():
            distance = abs(text_values.as_float(answer)) * (0.04 if near else rng.uniform(0.7, 3.0)) + (
                1.5 if near else rng.uniform(5, 50)
            )
            other = text_values.as_float(answer) + (distance if rng.random() < 0.5 else -distance)
            if not math.isfinite(other):
                return answer // 2
            return round(other) if isinstance(answer, int) else round(other, 4)
        case str():
            return _other_text(answer, rng, near=near)
        case list():
            return [another(part, rng, near=near) for part in answer] or [_word(4, rng)]
        case dict():
            return {key: another(part, rng, near=near) for key, part in answer.items()} or {"none": _word(4, rng)}
    return _word(5, rng)


def _other_text(text: str, rng: random.Random, *, near: bool) -> str:
    """Return a text with one letter replaced if `near`, else with all replaced. A digit becomes another digit."""
    places = [at for at, letter in enumerate(text) if letter.isalnum()]
    if not places:
        return _word(5, rng)
    letters = list(text)
    for at in [rng.choice(places)] if near else places:
        old = letters[at]
        letters[at] = rng.choice([c for c in ("123456789" if old.isdigit() else _LETTERS) if c != old.lower()])
    return "".join(letters)
