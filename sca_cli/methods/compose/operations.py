"""Operations that combine several results without a tool: plain Python, with fixed sentences for it.

An `Operation` takes the role of the tool in a step. It is no call of the environment: it does not count in a program's
number of calls, and fixed sentences describe it instead of a model.
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
    """Several results joined by `glue`, as in `step1 + step2`."""

    glue: str = ""
    """The Python text between two results."""
    sentences: tuple[str, ...] = ()
    """Sentences that request it. {} is replaced by the references to the results; {0} and {1} by those to the first and
    the second."""
    questions: tuple[str, ...] = ()
    """Complete questions that it answers. {} is replaced by the phrases for the results, as in `sentences`."""

    def text(self, results: Sequence[str]) -> str:
        """Return the operation as Python; `results` are the names of the variables."""
        return self.glue.join(results)

    def sentence(self, results: Sequence[str], seed: int) -> str:
        """Return a sentence that asks for the operation; `seed` selects one of several."""
        return self._filled(self.sentences, results, seed)

    def question(self, phrases: Sequence[str], seed: int) -> str:
        """Return the question for the operation; `seed` selects one of several."""
        return self._filled(self.questions, phrases, seed)

    @staticmethod
    def _filled(templates: Sequence[str], phrases: Sequence[str], seed: int) -> str:
        listed = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
        template = templates[seed % len(templates)]
        # `str.format` is not used: a model wrote the phrases, and they may contain braces
        return _PLACE.sub(lambda place: phrases[int(place[1])] if place[1] else listed, template)


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


def draw_one(value_type: type, count: int, draw: random.Random) -> Operation:
    """Draw an operation on `count` results, at least 2, which are numbers (`float`) or texts (`str`)."""
    if value_type is str:
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


def _joined(count: int, separator: str, separator_name: str) -> Operation:
    how = f"one after the other, with {separator_name} between them"
    sentences = (f"Write {{}} {how}.", f"Answer with {{}}, {how}.")
    questions = (f"Give me {{}}, {how}.", f"What are {{}}? Write them {how}.", f"Write {{}} {how}.")
    glue = f" + {separator!r} + " if separator else " + "
    return _operation("results one after the other", "str", count, glue, sentences, questions)
