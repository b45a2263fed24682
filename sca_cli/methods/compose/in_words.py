"""Calls of a composed program as they are shown to the model that puts them into words."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import cast

from sca_cli.methods.compose.operations import Operation
from sca_cli.methods.compose.steps import Argument, Literal, Step, Use, call_text

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_ASKED = ("What is {}?", "Find {}.", "I need {}.", "Work out {}.", "Tell me {}.")
_KEYS = re.compile(r"""\[('[^']*'|"[^"]*")\]|\[(\d+)\]""")


def call(steps: Sequence[Step], place: int) -> str:
    """Return a step as a call whose arguments are named, results of other steps as `that result`."""

    def text(argument: Argument) -> str:
        if isinstance(argument, Literal):
            return repr(argument.value)
        return _accessed(argument.access, _reference(steps, argument.step, place))

    return call_text(steps[place], text, named=True)


def references(steps: Sequence[Step], place: int, *, all_of_them: bool = False) -> list[str]:
    """Return the words by which a step names the results that it takes: each must stand in its sentence.

    The result of the step before goes without saying (but not where `all_of_them` are asked for) if it is all that a
    step takes, and its first argument, of a fixed number: after "decode it", "reverse the text" is clear, and "find the
    smallest of 3 and 4" is not.
    """
    step = steps[place]
    uses = list(step.uses())
    keys = [key.strip("'\"") for _, _, use in uses for key, _ in _KEYS.findall(use.access) if key]
    first = next(iter(step.tool.parameters["properties"]), "")
    alone = [parameter for parameter, _, _ in uses] == [first] and first != step.tool.variadic()
    names = mentioned(steps, place)
    goes_without_saying = alone and names == ["that result"] and not all_of_them
    return keys if goes_without_saying else [*names, *keys]


def mentioned(steps: Sequence[Step], place: int) -> list[str]:
    """Return how a step names the results that it takes, those that go without saying included."""
    return [_reference(steps, use.step, place) for _, _, use in steps[place].uses()]


def reference(steps: Sequence[Step], place: int, use: Use) -> str:
    """Return how a step names one result that it takes, such as "the 'rain' of that result"."""
    return _accessed(use.access, _reference(steps, use.step, place))


def can_be_nested(steps: Sequence[Step]) -> bool:
    """Tell whether phrases that name the results can be put into each other: each goes into one later call only."""
    used = Counter(id(use.step) for step in steps for _, _, use in step.uses())
    return not any(step.tool.writes for step in steps) and all(used[id(step)] == 1 for step in steps[:-1])


def depth(steps: Sequence[Step]) -> int:
    """Return of how many calls at most one goes into the next."""
    deep: dict[int, int] = {}
    for step in steps:
        before = max((deep[id(use.step)] for _, _, use in step.uses()), default=0)
        deep[id(step)] = before + (not isinstance(step.tool, Operation))
    return max(deep.values())


def operation(steps: Sequence[Step], place: int, seed: int) -> str:
    """Return the sentence for a step that is an operation; `seed` draws one of several."""
    step = steps[place]
    results = [_accessed(use.access, _reference(steps, use.step, place)) for _, _, use in step.uses()]
    return cast("Operation", step.tool).sentence(results, seed)


def nested(steps: Sequence[Step], phrases: Sequence[str], answer: str, seed: int) -> str:
    """Return the question for the last result, each result named by the phrase for it in place of `that result`.

    Args:
        steps: of a program that `can_be_nested`.
        phrases: what the result of each call is called; those of earlier steps stand in it by `_reference`. The one
            for an operation does not matter.
        answer: what is asked for; @ stands for the last result.
        seed: draws how it is asked for.
    """
    whole: list[str] = []
    for place, (step, phrase) in enumerate(zip(steps, phrases, strict=True)):
        if isinstance(step.tool, Operation):
            results = [_accessed(use.access, whole[steps.index(use.step)]) for _, _, use in step.uses()]
            return step.tool.question(results, seed)
        text = phrase
        for _, _, use in step.uses():
            text = text.replace(_reference(steps, use.step, place), f"\0{steps.index(use.step)}\0")
        whole.append(re.sub("\0(\\d+)\0", lambda found: whole[int(found[1])], text))
    return _ASKED[seed % len(_ASKED)].format(_accessed(answer, whole[-1]))


def part(answer: str) -> list[str]:
    """Return a sentence that asks for a part of the last result, if not all of it is the answer."""
    return [f"Answer with {_accessed(answer, 'that result')}."] if answer != "@" else []


def _reference(steps: Sequence[Step], used: Step, place: int) -> str:
    number = steps.index(used)
    return "that result" if number == place - 1 else f"the {_ORDINALS[number]} result"


def _accessed(access: str, reference: str) -> str:
    """Return `@['rain'][0]` as: the first 'rain' of that result."""
    if access.startswith("*[item["):
        return f"every {_keys(access)} of {reference}"
    if access.startswith("*"):
        return f"all of {reference}"
    return f"the {_keys(access)} of {reference}" if access != "@" else reference


def _keys(access: str) -> str:
    words = [key or _ORDINALS[int(index)] for key, index in _KEYS.findall(access)]
    return " of the ".join(reversed(words))
