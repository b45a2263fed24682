"""The `web_browsing` environment: a web site drawn from the seed, and a browser that shows five lines of a page."""

import re
from pathlib import Path
from typing import Any

from sca_cli import Environment, ToolError, tool
from sca_cli.toolkit.arithmetic import calculate
from sca_web_browsing.facts import draw
from sca_web_browsing.pages import START, pages

VIEW_LINES = 5
_SHOWN_CHARS = 60
"""Maximum number of characters of a url that a refusal quotes."""


class WebBrowsing(Environment):
    """Offer the web_browsing family of M3ToolEval, with its tool names and signatures, on a site of our own.

    The seed determines the site. Tools change only the browser: the page, the history and the scroll position.
    """

    policy = (
        "You use a text browser on the web site of a small town. It shows five lines of a page at a time, under a "
        "line that tells the page's url and which lines these are. A link is written [text](url): give the url to "
        "click_url. Tools that move the browser return the new view."
    )

    def __init__(self) -> None:
        """Open the site of seed 0."""
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Open the start page of the site of `seed`."""
        self.restore({"site": draw(seed), "browser": {"url": START, "line": 0, "history": []}})

    def state(self) -> Any:
        """Return the facts of the site, and the browser's url, first line in view and history."""
        history = [list(place) for place in self._history]
        return {"site": self._facts, "browser": {"url": self._url, "line": self._line, "history": history}}

    def restore(self, state: Any) -> None:
        """Set a state that `state()` returned earlier."""
        self._facts = state["site"]
        self._pages = pages(self._facts)
        browser = state["browser"]
        self._url, self._line = browser["url"], browser["line"]
        self._history = [(url, line) for url, line in browser["history"]]

    def first_observation(self) -> str:
        """Return the first view of the start page."""
        return self.view()

    @classmethod
    def eval_path(cls) -> Path:
        """Return the file of the held-out evaluation tasks, one record a line."""
        return Path(__file__).with_name("eval.jsonl")

    @tool(writes=True)
    def click_url(self, url: str) -> str:
        """Open a page of the site and return its first view.

        Args:
            url: as it stands in a link: for [About the town](/about) it is "/about".
        """
        wanted = url.strip()
        if wanted not in self._pages:
            links = ", ".join(re.findall(r"\]\(([^)]+)\)", self.view())) or "none"
            raise ToolError(f"there is no page {wanted[:_SHOWN_CHARS]!r} on this site; links in view: {links}")
        self._history.append((self._url, self._line))
        self._url, self._line = wanted, 0
        return self.view()

    @tool(writes=True)
    def go_to_previous_page(self) -> str:
        """Go back to the page before this one, scrolled as it was left, and return its view."""
        if not self._history:
            raise ToolError("there is no previous page; this is where you began")
        self._url, self._line = self._history.pop()
        return self.view()

    @tool(writes=True)
    def scroll_down(self) -> str:
        """Go five lines down on this page and return the view."""
        if self._line + VIEW_LINES >= len(self._lines()):
            raise ToolError("this is the end of the page; scroll_up() or a link leads elsewhere")
        self._line += VIEW_LINES
        return self.view()

    @tool(writes=True)
    def scroll_up(self) -> str:
        """Go five lines up on this page and return the view."""
        if self._line == 0:
            raise ToolError("this is the top of the page; scroll_down() shows the rest")
        self._line -= VIEW_LINES
        return self.view()

    @tool
    def view(self) -> str:
        """Return the five lines of the page that are in view, under the page's url and their numbers."""
        lines = self._lines()
        shown = lines[self._line : self._line + VIEW_LINES]
        head = f"{self._url} (lines {self._line + 1} to {self._line + len(shown)} of {len(lines)})"
        return "\n".join([head, *shown])

    @tool
    def calculator(self, expression: str) -> float:
        """Return the value of an arithmetic expression.

        Args:
            expression: numbers, + - * / // % ** and parentheses, for example "(3 + 4.5) * 2".
        """
        return calculate(expression)

    def _lines(self) -> list[str]:
        """Render all lines of the current page."""
        return self._pages[self._url]()
