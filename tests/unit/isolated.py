"""A world whose tool runs what it is given, as isolated environments may."""

from typing import Any

from sca_cli import Environment, ToolError, tool


class Notebook(Environment):
    """Cells with values; an expression may use them."""

    isolated = True

    def reset(self, seed: int) -> None:
        """Put one cell in place."""
        self.cells: dict[str, Any] = {"seed": seed}

    def state(self) -> Any:
        """Return the cells."""
        return self.cells

    def restore(self, state: Any) -> None:
        """Take the cells over."""
        self.cells = dict(state)

    @tool
    def cell(self, name: str) -> Any:
        """Return the value of a cell."""
        if name not in self.cells:
            raise ToolError(f"no cell '{name}'")
        return self.cells[name]

    @tool(writes=True)
    def run(self, code: str) -> str:
        """Run Python code over the cells."""
        try:
            exec(code, {"cells": self.cells, "world": self})
        except Exception as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error
        return "ok"


class Forgetful(Notebook):
    """An isolated environment that cannot be restored."""

    restore = Environment.restore


class Liar(Environment):
    """An environment that says it is outside; its registration does not."""

    outside = True
