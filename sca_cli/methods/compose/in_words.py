"""The steps of a composed program as text: for the prompt that asks for an instruction, or joined into a question."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import cast

from sca_cli.methods.compose.operations import Operation
from sca_cli.methods.compose.steps import Argument, Literal, Step, Use, call_text

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_QUESTIONS = ("What is {}?", "Find {}.", "I need {}.", "Work out {}.", "Tell me {}.")
_KEYS = re.compile(r"""\[('[^']*'|"[^"]*")\]|\[(\d+)\]""")


def call(steps: Sequence[Step], place: int) -> str:
    """Return a step as a call with named arguments; results of other steps appear as in `reference`."""

    def text(argument: Argument) -> str:
        if isinstance(argument, Literal):
            return repr(argument.value)
        return _accessed(argument.access, _reference(steps, argument.step, place))

    return call_text(steps[place], text, named=True)


def references(steps: Sequence[Step], place: int, *, all_of_them: bool = False) -> list[str]:
    """Return the words by which a step names the results that it uses: its sentence must contain each.

    The result of the step before need not be named if it is the only result that the step uses, and the argument of its
    first parameter. After "decode it", "reverse the text" is clear. This does not hold for `*args`: "find the smallest
    of 3 and 4" is not clear. With `all_of_them` the words for that result are returned too.
    """
    step = steps[place]
    uses = list(step.uses())
    keys = [key.strip("'\"") for _, _, use in uses for key, _ in _KEYS.findall(use.access) if key]
    first = next(iter(step.tool.parameters["properties"]), "")
    alone = [parameter for parameter, _, _ in uses] == [first] and first != step.tool.variadic()
    names = mentioned(steps, place)
    is_implied = alone and names == ["that result"] and not all_of_them
    return keys if is_implied else [*names, *keys]


def mentioned(steps: Sequence[Step], place: int) -> list[str]:
    """Return how a step names every result that it uses, also one that its sentence need not name."""
    return [_reference(steps, use.step, place) for _, _, use in steps[place].uses()]


def reference(steps: Sequence[Step], place: int, use: Use) -> str:
    """Return how a step names one result that it uses, such as "the 'rain' of that result"."""
    return _accessed(use.access, _reference(steps, use.step, place))


def can_be_nested(steps: Sequence[Step]) -> bool:
    """Tell whether the phrases for the results can be nested: the program only reads, and each result is used once."""
    used = Counter(id(use.step) for step in steps for _, _, use in step.uses())
    return not any(step.tool.writes for step in steps) and all(used[id(step)] == 1 for step in steps[:-1])


def depth(steps: Sequence[Step]) -> int:
    """Return the length in calls of the longest chain in which each call uses the result of the one before."""
    deep: dict[int, int] = {}
    for step in steps:
        before = max((deep[id(use.step)] for _, _, use in step.uses()), default=0)
        deep[id(step)] = before + (not isinstance(step.tool, Operation))
    return max(deep.values())


def operation(steps: Sequence[Step], place: int, seed: int) -> str:
    """Return the sentence for a step that is an operation; `seed` selects one of several wordings."""
    step = steps[place]
    results = [_accessed(use.access, _reference(steps, use.step, place)) for _, _, use in step.uses()]
    return cast("Operation", step.tool).sentence(results, seed)


def nested(steps: Sequence[Step], phrases: Sequence[str], answer: str, seed: int) -> str:
    """Return the question for the last result, in which nested phrases replace references such as `that result`.

    Args:
        steps: the steps of a program that `can_be_nested`.
        phrases: a noun phrase for the result of each step, with references to earlier results as `_reference` writes
            them. The phrase for an operation is not used.
        answer: the part of the last result to ask for; @ means the last result.
        seed: selects one of several wordings of the question.
    """
    nested_phrases: list[str] = []
    for place, (step, phrase) in enumerate(zip(steps, phrases, strict=True)):
        if isinstance(step.tool, Operation):
            results = [_accessed(use.access, nested_phrases[steps.index(use.step)]) for _, _, use in step.uses()]
            return step.tool.question(results, seed)
        text = phrase
        for _, _, use in step.uses():
            text = text.replace(_reference(steps, use.step, place), f"\0{steps.index(use.step)}\0")
        nested_phrases.append(re.sub("\0(\\d+)\0", lambda match: nested_phrases[int(match[1])], text))
    return _QUESTIONS[seed % len(_QUESTIONS)].format(_accessed(answer, nested_phrases[-1]))


def part(answer: str) -> list[str]:
    """Return a sentence that asks for a part of the last result; an empty list if all of it is the answer."""
    return [f"Answer with {_accessed(answer, 'that result')}."] if answer != "@" else []


def _reference(steps: Sequence[Step], used: Step, place: int) -> str:
    number = steps.index(used)
    return "that result" if number == place - 1 else f"the {_ORDINALS[number]} result"


def _accessed(access: str, reference: str) -> str:
    """Return an access to a result in words, such as "the first of the 'rain' of that result" for `@['rain'][0]`."""
    if access.startswith("*[item["):
        return f"every {_keys(access)} of {reference}"
    if access.startswith("*"):
        return f"all of {reference}"
    return f"the {_keys(access)} of {reference}" if access != "@" else reference


def _keys(access: str) -> str:
    words = [key or _ORDINALS[int(index)] for key, index in _KEYS.findall(access)]
    return " of the ".join(reversed(words))
