"""Types and helpers for the templates of the evaluation set.

A template gets a `CalculationSampler` and returns a `CalculationDraft`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Answer = Literal["number", "cents", "text", "word", "exact"]
"""How an answer is compared.

- number: within 1e-6, relative or absolute
- cents: a number within half a cent
- text: equal after removing outer spaces
- word: like text, and ignoring case
- exact: same type and equal
"""


@dataclass(frozen=True, slots=True)
class CalculationDraft:
    """A task before its facts are inserted into its texts; every text is a `str.format` string over `facts`."""

    facts: dict[str, Any]
    wordings: tuple[str, ...]
    """Instructions with the same meaning; one of them is used."""
    solution: str
    """Program that ends with `final_answer(…)`."""
    wrong: tuple[str, str, str]
    """Failure cases: programs with plausible mistakes."""
    answer: Any
    """The right answer, computed without the tools."""
    judged: Answer


@dataclass(frozen=True, slots=True)
class CalculationSampler:
    """The random generator and the state from which a template draws its facts."""

    random: Random
    state: dict[str, Any] = field(default_factory=dict)
    """State of the task's world."""

    def cents(self, low: int, high: int) -> float:
        """Return a random amount of whole cents, at least `low` and below `high` euros or dollars."""
        return self.random.randrange(low * 100, high * 100) / 100


Template = Callable[[CalculationSampler], CalculationDraft]


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of a family by the number of tool calls of their solutions."""

    one: tuple[Template, ...]
    two: tuple[Template, ...]
    more: tuple[Template, ...]


def check_of(answer: Any, judged: Answer) -> str:
    """Return the source of `evaluate(answer)`, which returns a boolean for every JSON value."""
    if judged in ("number", "cents"):
        # Compare with bounds: an int that exceeds the range of floats can be compared but not subtracted.
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
