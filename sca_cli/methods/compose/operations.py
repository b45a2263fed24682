"""Ways to make one result of several that need no tool: plain Python, and fixed words for it.

An `Operation` stands in a step where a tool stands otherwise. It is no call of the environment: a program's number of
calls does not count it, and no model is asked to put it into words.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sca_cli.interfaces import Tool
from sca_cli.records import JSON

_PLACE = re.compile(r"\{(\d?)\}")


@dataclass(frozen=True)
class Operation(Tool):
    """Results put together by `glue`, as in `step1 + step2`."""

    glue: str = ""
    sentences: tuple[str, ...] = ()
    """Requests for it; {} stands for the words for the results, {0} and {1} for those of two."""
    questions: tuple[str, ...] = ()
    """Whole questions that it answers; {} stands for phrases that name the results."""

    def text(self, results: Sequence[str]) -> str:
        """Return it as Python."""
        return self.glue.join(results)

    def sentence(self, results: Sequence[str], seed: int) -> str:
        """Return a sentence that asks for it."""
        return self._said(self.sentences, results, seed)

    def question(self, phrases: Sequence[str], seed: int) -> str:
        """Return the question for it."""
        return self._said(self.questions, phrases, seed)

    @staticmethod
    def _said(ways: Sequence[str], words: Sequence[str], seed: int) -> str:
        listed = f"{', '.join(words[:-1])} and {words[-1]}"
        way = ways[seed % len(ways)]
        # not `format`: a model wrote the words, and may have put braces into them
        return _PLACE.sub(lambda place: words[int(place[1])] if place[1] else listed, way)


def _operation(
    name: str, returns: str, count: int, glue: str, sentences: tuple[str, ...], questions: tuple[str, ...]
) -> Operation:
    properties: dict[str, JSON] = {f"part{number}": {} for number in range(1, count + 1)}
    parameters: dict[str, JSON] = {"type": "object", "properties": properties, "required": list(properties)}
    return Operation(
        name=name,
        description=sentences[0],
        parameters=parameters,
        signature=name,
        returns=returns,
        glue=glue,
        sentences=sentences,
        questions=questions,
    )


def drawn(taken: type, count: int, draw: random.Random) -> Operation:
    """Draw an operation on `count` results, at least 2, of numbers (`float`) or texts (`str`)."""
    if taken is str:
        return _joined(count, *draw.choice(_SEPARATORS))
    return draw.choice([_sum, _difference])(count) if count == 2 else _sum(count)


def _sum(count: int) -> Operation:
    sentences = ("Add {}.", "Add up {}.", "How much are {} together?")
    questions = ("What is the sum of {}?", "Add up {}.", "What do {} come to together?", "How much are {} in all?")
    return _operation("sum of results", "float", count, " + ", sentences, questions)


def _difference(count: int) -> Operation:
    sentences = ("Take {1} away from {0}.", "By how much is {0} larger than {1}?", "Subtract {1} from {0}.")
    questions = (
        "By how much is {0} larger than {1}?",
        "What is left when {1} is taken away from {0}?",
        "What is the difference between {0} and {1}?",
        "How much more is {0} than {1}?",
    )
    return _operation("difference of results", "float", count, " - ", sentences, questions)


_SEPARATORS = (
    (" ", "a blank"),
    (", ", "a comma and a blank"),
    ("-", "a hyphen '-'"),
    ("/", "a slash '/'"),
    (":", "a colon ':'"),
    ("", "nothing"),
)


def _joined(count: int, separator: str, words: str) -> Operation:
    how = f"one after the other, with {words} between them"
    sentences = (f"Write {{}} {how}.", f"Answer with {{}}, {how}.")
    questions = (f"Give me {{}}, {how}.", f"What are {{}}? Write them {how}.", f"Write {{}} {how}.")
    glue = f" + {separator!r} + " if separator else " + "
    return _operation("results one after the other", "str", count, glue, sentences, questions)
