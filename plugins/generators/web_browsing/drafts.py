"""Types and helpers for the templates of the evaluation set: a template returns a `BrowsingDraft`."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from sca_web_browsing.facts import Facts

from generators.calculation.drafts import Answer, check_of


@dataclass(frozen=True, slots=True)
class BrowsingDraft:
    """A task before it is tested."""

    wordings: tuple[str, ...]
    """Instructions with the same meaning; one of them is used."""
    solution: str
    wrong: tuple[str, str, str]
    """Failure cases: programs with plausible mistakes."""
    answer: Any
    """The right answer, computed from the facts without the tools; if the check looks at the page, the page's url."""
    judged: Answer | None = None
    """How the answer is compared; None: the check looks at the browser's last page instead of the answer."""

    @property
    def evaluate(self) -> str:
        """Source of the check."""
        if self.judged:
            return check_of(self.answer, self.judged)
        return f"def evaluate():\n    return view().startswith({f'{self.answer} ('!r})\n"


type Template = Callable[[Random, Facts], BrowsingDraft]

AFTER = """\
def after(text, mark):
    return text.split(mark)[1].split("\\n")[0]

"""
"""Source of a function for programs: return the rest of the line after a mark."""

READ = """\
def read(url):
    text = click_url(url)
    lines = int(text.split(" of ")[1].split(")")[0])
    for _ in range((lines - 1) // 5):
        text += "\\n" + scroll_down()
    return text

"""
"""Source of a function for programs: open a page and return all of its lines."""
