"""The world of the verify benchmark: a counter, and rows that only make the state large."""

import json
from typing import Any

from sca_cli import Environment, tool


class Ledger(Environment):
    """A counter and some megabytes of rows."""

    def __init__(self, rows: str = "0") -> None:
        """Make the ballast.

        Args:
            rows: how many; 50,000 are about 5 MB of JSON.
        """
        self._rows: list[Any] = [
            {"id": f"row-{n}", "amount": n * 1.5, "tags": ["a", str(n)], "owner": {"name": f"owner {n % 97}"}}
            for n in range(int(rows))
        ]
        self._count = 0

    def reset(self, seed: int) -> None:
        """Put the counter at the seed."""
        self._count = seed

    def state(self) -> Any:
        """Return all."""
        return {"count": self._count, "rows": self._rows}

    def restore(self, state: Any) -> None:
        """Put all back."""
        self._count, self._rows = state["count"], state["rows"]

    @tool
    def look(self) -> int:
        """Return the counter."""
        return self._count

    @tool
    def row(self, number: int) -> dict[str, Any]:
        """Return a row."""
        found: dict[str, Any] = self._rows[number] if number < len(self._rows) else {}
        return found

    @tool(writes=True)
    def put(self, value: int) -> int:
        """Set the counter."""
        self._count = value
        return value


def main() -> None:
    """Print the state of a world with the given number of rows: the file that the other designs load."""
    import sys

    print(json.dumps(Ledger(sys.argv[1]).state()))


if __name__ == "__main__":
    main()
