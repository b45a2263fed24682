"""What a hand-written template of the evaluation set makes: a draft, and the check of its answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Answer = Literal["number", "cents", "text", "word", "exact"]
"""How an answer is judged: a number within 1e-6 (absolute or relative) or within half a cent, a text apart
from outer spaces, a word apart from case too, a list exactly."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A task before its facts are put into its texts; every text is a `str.format` string over `facts`."""

    facts: dict[str, Any]
    wordings: tuple[str, ...]
    """Instructions that say the same; one of them is used."""
    solution: str
    """Program that ends with `final_answer(…)`."""
    wrong: tuple[str, str, str]
    """Programs of plausible mistakes."""
    answer: Any
    """What is right, worked out without the tools."""
    judged: Answer


@dataclass(frozen=True, slots=True)
class Draw:
    """Where a template takes its facts from."""

    random: Random
    state: dict[str, Any] = field(default_factory=dict)
    """State of the task's world."""

    def cents(self, low: int, high: int) -> float:
        """Return an amount of whole cents in `low..high`."""
        return self.random.randrange(low * 100, high * 100) / 100


Template = Callable[[Draw], Draft]


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of a family by the number of tool calls a solution makes."""

    one: tuple[Template, ...]
    two: tuple[Template, ...]
    more: tuple[Template, ...]


def check_of(answer: Any, judged: Answer) -> str:
    """Return the source of `evaluate(answer)`, which gives a boolean for every JSON value."""
    if judged in ("number", "cents"):
        # Bounds and not a difference: an int beyond the floats can be compared, not subtracted.
        slack = 0.005 + 1e-9 if judged == "cents" else 1e-6 * max(1, abs(answer))
        return _NUMBER.format(answer=answer, low=answer - slack, high=answer + slack)
    condition = {
        "text": f"isinstance(answer, str) and answer.strip() == {answer!r}",
        "word": f"isinstance(answer, str) and answer.strip().casefold() == {str(answer).casefold()!r}",
        "exact": f"isinstance(answer, {type(answer).__name__}) and answer == {answer!r}",
    }[judged]
    return f"def evaluate(answer):\n    return {condition}\n"


_NUMBER = """\
def evaluate(answer):
    if isinstance(answer, str):
        try:
            answer = float(answer)
        except ValueError:
            return False
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return False
    return {low!r} <= answer <= {high!r}  # {answer!r}
"""
