"""The environment: the methods marked `@tool` are its tools, and its attributes are its state."""

import random
from pathlib import Path
from typing import Any

from sca_cli import Environment, ToolError, tool

TITLES = ("Dune", "Emma", "Ivanhoe", "Middlemarch", "Ulysses")
MEMBERS = ("Ada", "Ben", "Cleo")


class LibraryEnvironment(Environment):
    """A lending desk: members borrow and return books."""

    policy = "You are the clerk of a small lending desk. Do exactly what the member asks for, nothing more."

    def __init__(self, limit: str = "2") -> None:
        """Set the state of seed 0.

        Args:
            limit: the number of books that a member may hold.
        """
        self.limit = int(limit)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Set the state of a seed: one to three copies of each title are on the shelf, and Ben holds one book."""
        draw = random.Random(seed)
        self.shelf = {title: draw.randint(1, 3) for title in TITLES}
        self.loans: dict[str, list[str]] = {member: [] for member in MEMBERS}
        self.loans["Ben"].append(draw.choice(TITLES))

    def state(self) -> dict[str, Any]:
        """Return the shelf and the loans."""
        return {"shelf": self.shelf, "loans": self.loans}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the shelf and the loans to an earlier `state()`."""
        self.shelf, self.loans = state["shelf"], state["loans"]

    @classmethod
    def eval_path(cls) -> Path:
        """Return the path of the file with the held-out tasks."""
        return Path(__file__).with_name("eval.jsonl")

    @tool
    def copies_left(self, title: str) -> int:
        """Return how many copies of a book are on the shelf."""
        if title not in self.shelf:
            raise ToolError(f"no book '{title}'; there are {', '.join(TITLES)}")
        return self.shelf[title]

    @tool
    def loans_of(self, member: str) -> list[str]:
        """Return the titles a member holds."""
        if member not in self.loans:
            raise ToolError(f"no member '{member}'; members: {', '.join(MEMBERS)}")
        return list(self.loans[member])

    @tool(writes=True)
    def lend(self, member: str, title: str) -> int:
        """Lend a book to a member; return how many books the member now holds.

        Args:
            member: who borrows.
            title: exactly as it is written on the shelf.
        """
        if self.copies_left(title) == 0 or len(self.loans_of(member)) >= self.limit:
            raise ToolError("no copy is left, or the member holds as many books as allowed")
        self.shelf[title] -= 1
        self.loans[member].append(title)
        return len(self.loans[member])

    @tool(writes=True)
    def take_back(self, member: str, title: str) -> int:
        """Take a book back from a member; return how many books the member still holds."""
        if title not in self.loans_of(member):
            raise ToolError(f"{member} does not hold '{title}'")
        self.loans[member].remove(title)
        self.shelf[title] += 1
        return len(self.loans[member])
