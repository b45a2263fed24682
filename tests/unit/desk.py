"""An environment for the tests of state checks: papers on a desk, seen by reading tools only."""

from typing import Any

from sca_cli import Environment, tool


class Desk(Environment):
    """Papers with titles, in an order."""

    policy = "Keep the desk tidy."

    def reset(self, seed: int) -> None:
        """Put the papers of `seed` in place."""
        self._papers = {
            "a": {"title": f"Plan {seed}", "tags": ["new", "blue"]},
            "b": {"title": "Letter", "tags": []},
        }

    def state(self) -> Any:
        """Return the papers."""
        return self._papers

    @tool
    def papers(self) -> dict[str, Any]:
        """Return all papers."""
        return self._papers

    @tool(writes=True)
    def throw_away(self, paper: str) -> str:
        """Throw a paper away."""
        del self._papers[paper]
        return "gone"

    @tool(writes=True)
    def tag(self, paper: str, tag: str) -> None:
        """Put a tag on a paper."""
        self._papers[paper]["tags"].append(tag)

    @tool(writes=True)
    def swap_tags(self, paper: str) -> None:
        """Reverse the tags of a paper."""
        self._papers[paper]["tags"].reverse()
