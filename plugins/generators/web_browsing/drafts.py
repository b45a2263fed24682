"""What a template of the evaluation set makes: a draft, and the program texts that templates share."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sca_web_browsing.facts import Facts

from generators.calculation.drafts import Answer, check_of


@dataclass(frozen=True, slots=True)
class Draft:
    """A task before it is tried out."""

    wordings: tuple[str, ...]
    """Instructions that say the same; one of them is used."""
    solution: str
    wrong: tuple[str, str, str]
    """Programs of plausible mistakes."""
    answer: Any
    """What is right, taken from the facts without the tools; where a page is judged, its url."""
    judged: Answer | None = None
    """How the answer is compared; None: the page that the browser is left on counts, not the answer."""

    @property
    def evaluate(self) -> str:
        """Source of the check."""
        if self.judged:
            return check_of(self.answer, self.judged)
        return f"def evaluate():\n    return view().startswith({f'{self.answer} ('!r})\n"


type Template = Callable[[Random, Facts], Draft]

AFTER = """\
def after(text, mark):
    return text.split(mark)[1].split("\\n")[0]

"""
"""For programs: what stands behind a mark on its line."""

READ = """\
def read(url):
    text = click_url(url)
    lines = int(text.split(" of ")[1].split(")")[0])
    for _ in range((lines - 1) // 5):
        text += "\\n" + scroll_down()
    return text

"""
"""For programs: a whole page."""
