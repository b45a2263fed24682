"""Programs that must not pass a sound check: random tool calls, and answers that only look like the right one."""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

from sca_cli.analysis import text_values
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Observation

_LETTERS = "bcdfghjklmnpqrstvwxz"
_CALLS = 4
_BESIDE = 4
_PARTS = 4
_INSTEAD = 3

_ATTEMPT = """\
def attempt(tool, *args, **kwargs):
    try:
        return tool(*args, **kwargs)
    except Exception:
        return None

"""


def random_program(tools: Sequence[Tool], answer: JSON, seed: int) -> str:
    """Return a program that knows nothing of its task.

    Args:
        tools: those it may call.
        answer: the right one; None for a task that has none. The program's has its shape, and is another.
        seed: draws the calls and the answer.
    """
    drawn = random.Random(seed)
    text = _ATTEMPT
    for tool in drawn.choices(tools, k=_CALLS) if tools else []:
        arguments = {name: _value(schema, drawn) for name, schema in tool.parameters["properties"].items()}
        spread = arguments.pop(tool.variadic(), [])
        given = [*(["*" + repr(spread)] if spread else []), *(f"{name}={value!r}" for name, value in arguments.items())]
        text += f"attempt({', '.join([tool.name, *given])})\n"
    if answer is not None:
        text += f"final_answer({another(answer, drawn, near=False)!r})\n"
    return text


def replays(calls: Sequence[Observation], tools: Sequence[Tool], answer: JSON) -> Iterator[str]:
    """Yield programs that make the same changes but for one, which is left out or made with another tool.

    Args:
        calls: the solution's.
        tools: those there are.
        answer: given at the end; None for no answer.
    """
    writers = {tool.name: list(tool.parameters["properties"]) for tool in tools if tool.writes}
    made = [call for call in calls if call.changed()]
    for place, call in enumerate(made):
        taken = len(call.args) + len(call.kwargs)
        others = [name for name, names in writers.items() if name != call.tool and len(names) == taken]
        for name in ["", *others]:
            steps = [*made[:place], *([_renamed(call, name)] if name else []), *made[place + 1 :]]
            yield _carrying_out(steps, answer)


def altered(
    calls: Sequence[Observation], reads: Sequence[Observation], answer: JSON, drawn: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield programs that make the same changes but one of them with another value, or make that one as well.

    Args:
        calls: the solution's.
        reads: of which, as of the calls, the results are looked through for other values beside the solution's own.
        answer: given at the end; None for no answer.
        drawn: the source of chance.

    Yields:
        The program, and the call it makes that the solution does not.
    """
    made = [call for call in calls if call.changed()]
    for place, call in enumerate(made):
        given: list[tuple[int | str, JSON]] = [*enumerate(call.args), *call.kwargs.items()]
        for name, value in given:
            for other in _instead_of(value, [*calls, *reads], drawn):
                step = _with_argument(call, name, other)
                instead = [*made[:place], step, *made[place + 1 :]]
                told = "{}({})".format(*_arguments(step).split(", ", 1))
                for steps in [instead, [*made, step]] if name == 0 else [instead]:
                    yield _carrying_out(steps, answer), told


def _carrying_out(steps: Sequence[Observation], answer: JSON) -> str:
    """Return a program that makes calls, whatever comes of each, and gives an answer unless it is None."""
    text = _ATTEMPT + "".join(f"attempt({_arguments(step)})\n" for step in steps)
    return text + (f"final_answer({answer!r})\n" if answer is not None else "")


def _with_argument(call: Observation, name: int | str, value: JSON) -> Observation:
    args = [value if place == name else given for place, given in enumerate(call.args)]
    kwargs = {key: value if key == name else given for key, given in call.kwargs.items()}
    return Observation(tool=call.tool, args=args, kwargs=kwargs)


def _instead_of(value: JSON, calls: Sequence[Observation], drawn: random.Random) -> list[JSON]:
    """Return a few values that could be given in a value's place; of a list, one part is another."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1]
    if isinstance(value, list) and value:
        return [[other, *value[1:]] for other in _instead_of(value[0], calls, drawn) if other not in value]
    if not isinstance(value, str):
        return []
    beside = sorted({other for call in calls for other in _siblings(value, call.result)} - {value})
    return drawn.sample(beside, min(_INSTEAD, len(beside)))


def _siblings(text: str, value: JSON) -> Iterator[str]:
    """Yield the texts that stand beside one: in the same list, under the same key of a list's objects, or as keys."""
    yield from _keys_beside(text, value)
    for parts in _containers(value):
        if isinstance(parts, list):
            if text in parts:
                yield from (part for part in parts if isinstance(part, str))
            held = [item for part in parts if isinstance(part, dict) for item in part.items()]
            keys = {key for key, other in held if other == text}
            yield from (other for key, other in held if key in keys and isinstance(other, str))


def _keys_beside(text: str, value: JSON) -> Iterator[str]:
    """Yield the keys of the objects that have a text as a key."""
    for parts in _containers(value):
        if isinstance(parts, dict) and text in parts:
            yield from parts


def _containers(value: JSON) -> Iterator[list[JSON] | dict[str, JSON]]:
    """Yield the lists and objects inside a value, itself among them."""
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _containers(part)


def _renamed(call: Observation, tool: str) -> Observation:
    return Observation(tool=tool, args=[*call.args, *call.kwargs.values()])


def _arguments(call: Observation) -> str:
    return ", ".join([call.tool, *map(repr, call.args), *(f"{name}={value!r}" for name, value in call.kwargs.items())])


def with_answer(program: str, answer: JSON) -> str:
    """Return a program that does the same and answers something else."""
    return f"def final_answer(_, give=final_answer):\n    give({answer!r})\n\n{program}"


def other_answers(answer: JSON, calls: Sequence[Observation], drawn: random.Random) -> list[JSON]:
    """Return answers that are not the right one and could be taken for it.

    Args:
        answer: the right one; there is no other than none.
        calls: with results, of whose values some stand beside the right one.
        drawn: the source of chance.
    """
    if answer is None or isinstance(answer, bool):
        return [] if answer is None else [not answer]
    others = [another(answer, drawn, near=True)]
    if isinstance(answer, list):
        others += [[]]
        others += [answer[:-1], answer[1:]] if len(answer) > 1 else []
        for place in range(len(answer)) if len(answer) <= _PARTS else ():
            others.append([*answer[:place], another(answer[place], drawn, near=False), *answer[place + 1 :]])
    elif isinstance(answer, dict):
        others += [{}]
        for key in answer if len(answer) <= _PARTS else ():
            others.append(answer | {key: another(answer[key], drawn, near=False)})
            others.append({other: value for other, value in answer.items() if other != key})
    else:
        beside = [value for call in calls for value in leaves(call.result) if _alike(value, answer)]
        drawn.shuffle(beside)
        # What stands under the same key is the likeliest to be taken for it.
        keys = {key for call in calls for key, value in _keyed(call.result) if value == answer}
        same = {value for call in calls for key, value in _keyed(call.result) if key in keys}
        others += sorted(beside, key=lambda value: value not in same)[:_BESIDE]
        if isinstance(answer, str):
            keys = {key for call in calls for key in _keys_beside(answer, call.result) if _alike(key, answer)}
            others += drawn.sample(sorted(keys), min(_INSTEAD, len(keys)))
        if isinstance(answer, int | float):
            others += [other for other in (answer + 1, answer - 1) if not text_values.alike(other, answer)]
        if isinstance(answer, str) and len(answer.split()) > 2:
            others.append(" ".join(reversed(answer.split())))
    return [other for other in others if other != answer]


def loose_answers(answer: JSON, drawn: random.Random) -> list[JSON]:
    """Return answers that a sound check may accept, where a task leaves order, sign or surplus open."""
    others: list[JSON] = []
    if isinstance(answer, list):
        others = [[*answer, another(answer[-1] if answer else "x", drawn, near=True)], answer[::-1]]
    elif isinstance(answer, int | float) and not isinstance(answer, bool):
        others = [-answer] if not text_values.alike(-answer, answer) else []
    return [other for other in others if other != answer]


def _keyed(value: JSON, key: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Yield the texts and numbers inside lists and objects, each with the key it stands under."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _keyed(part, name)
    elif isinstance(value, list):
        for part in value:
            yield from _keyed(part, key)
    elif value is not None:
        yield key, value


def leaves(value: JSON) -> Iterator[JSON]:
    """Yield the values inside lists and objects."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


def _alike(value: JSON, answer: JSON) -> bool:
    """Tell whether a value could be taken for the answer: of its type, and as text neither within the other."""
    if isinstance(value, str) and isinstance(answer, str):
        return value.strip().lower() not in answer.lower() and answer.strip().lower() not in value.lower()
    is_number = isinstance(answer, int | float) and isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(text_values.as_float(value) - text_values.as_float(answer)) > 1.5 + 0.04 * abs(
        text_values.as_float(answer)
    )


def _value(schema: Any, drawn: random.Random) -> JSON:
    """Return a value that fits a schema made by `describe_tool`."""
    if "enum" in schema:
        return drawn.choice(schema["enum"])
    if "anyOf" in schema:
        return _value(drawn.choice(schema["anyOf"]), drawn)
    match schema.get("type", "string"):
        case "integer":
            return drawn.randint(-20, 500)
        case "number":
            return round(drawn.uniform(-20, 500), 2)
        case "boolean":
            return drawn.random() < 0.5
        case "array":
            return [_value(schema.get("items", {}), drawn) for _ in range(drawn.randint(1, 3))]
        case "object":
            return {}
        case "null":
            return None
    return _word(drawn.randint(3, 8), drawn)


def _word(length: int, drawn: random.Random) -> str:
    return "".join(drawn.choices(_LETTERS, k=length))


def another(answer: JSON, drawn: random.Random, *, near: bool) -> JSON:
    """Return an answer of the same shape of which every part is different.

    Args:
        answer: of JSON types.
        drawn: the source of chance.
        near: numbers are a few per cent off, one letter of a text is another.
    """
    match answer:
        case bool():
            return not answer
        case int() | float():
            away = abs(text_values.as_float(answer)) * (0.04 if near else drawn.uniform(0.7, 3.0)) + (
                1.5 if near else drawn.uniform(5, 50)
            )
            other = text_values.as_float(answer) + (away if drawn.random() < 0.5 else -away)
            if not math.isfinite(other):
                return answer // 2
            return round(other) if isinstance(answer, int) else round(other, 4)
        case str():
            return _other_text(answer, drawn, near=near)
        case list():
            return [another(part, drawn, near=near) for part in answer] or [_word(4, drawn)]
        case dict():
            return {key: another(part, drawn, near=near) for key, part in answer.items()} or {"none": _word(4, drawn)}
    return _word(5, drawn)


def _other_text(text: str, drawn: random.Random, *, near: bool) -> str:
    """Return a text with one letter, or all of them, replaced; a number in words of digits stays one."""
    places = [at for at, letter in enumerate(text) if letter.isalnum()]
    if not places:
        return _word(5, drawn)
    letters = list(text)
    for at in [drawn.choice(places)] if near else places:
        old = letters[at]
        letters[at] = drawn.choice([c for c in ("123456789" if old.isdigit() else _LETTERS) if c != old.lower()])
    return "".join(letters)
