"""Method `walk` in each kind of world: a desk with rules, a browser, a `python:` file, a class, an MCP server."""

import asyncio
import sys
from pathlib import Path

import pytest

from sca_cli import plugins
from sca_cli.commands.explore import Walker
from sca_cli.interfaces import Sampling
from sca_cli.methods import Workshop
from sca_cli.methods.walk import make
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, Task
from sca_cli.sandbox import AllowedEnvs, Limits, Sandbox
from sca_cli.verification.paper_filter import run_check

pytestmark = pytest.mark.sandbox
ROOT = Path(__file__).parents[2]
LIBRARY = f"python:{ROOT / 'examples/plugin/sca_library/environment.py'}:LibraryEnvironment"

SHELF = '''
from sca_cli import Environment, ToolError, tool

class Shelf(Environment):
    """A shelf of parts."""
    def __init__(self):
        self.reset(0)
    def reset(self, seed):
        names = ("nails", "screws", "bolts", "nuts", "hooks")
        self.parts = {n: {"name": n, "stock": 7 + i, "price": 3 + i, "colour": "grey"} for i, n in enumerate(names)}
    def state(self):
        return self.parts
    def restore(self, state):
        self.parts = state
    def allows(self, tool, arguments):
        return "Bolts are not for sale." if arguments["name"] == "bolts" else None
    @tool
    def list_parts(self) -> list[str]:
        """List the names of all parts."""
        return sorted(self.parts)
    @tool
    def get_part(self, name: str) -> dict:
        """Get a part."""
        if name not in self.parts:
            raise ToolError("no such part")
        return dict(self.parts[name])
    @tool(writes=True)
    def set_price(self, name: str, price: int) -> dict:
        """Set the price of a part."""
        self.parts[name] = self.get_part(name) | {"price": price}
        return dict(self.parts[name])
'''


def made(spec: EnvSpec, turns: int, calls: int) -> tuple[list[Task], list[str]]:
    """Explore a world; return the tasks made of it, each proven by its programs, and why others were dropped."""
    with Sandbox(Limits(), AllowedEnvs([str(spec)])) as sandbox:
        exploration = asyncio.run(Walker([spec], sandbox, 3, calls).explore(0))
        assert exploration.error is None
        tasks = []
        for turn in range(turns):
            workshop = Workshop(None, Sampling(), Prompts(), sandbox, *sandbox.describe(spec), turn=turn)
            tasks.append(asyncio.run(make.make(workshop, exploration, turn)))
        good = [task for task in tasks if task.error is None]
        for task in good:
            assert run_check(sandbox, task, task.solution, "").outcome == "pass"
            assert [run_check(sandbox, task, text, "").outcome for text in task.failure_cases] == ["fail"] * 3
        return good, [task.error.message for task in tasks if task.error]


def test_a_file_with_rules(tmp_path: Path) -> None:
    """A class of a file gives writes, answers and refusals; what its rules forbid is only the wish of a refusal."""
    (tmp_path / "shelf.py").write_text(SHELF)
    good, dropped = made(plugins.parse_env(f"python:{tmp_path / 'shelf.py'}:Shelf"), turns=15, calls=90)
    assert not dropped
    assert len({task.solution for task in good}) >= len(good) - 2
    refused = [task for task in good if task.extra.get("refused")]
    assert refused
    for task in refused:
        assert "bolts" in task.instruction
        assert "set_price" not in task.solution
        assert "final_answer" in task.solution
        assert "set_price(name='bolts'" in task.failure_cases[0]
    assert any(task.extra.get("answers") and not task.extra.get("refused") for task in good)
    assert all("bolts" not in task.solution for task in good if not task.extra.get("refused"))


def test_the_example_plugin() -> None:
    """The library of the manual gives tasks that lend and take back."""
    good, _ = made(plugins.parse_env(LIBRARY), turns=12, calls=120)
    assert len(good) >= 3
    assert {tool for task in good for tool in task.extra["writes"]} == {"lend", "take_back"}


def test_a_browser() -> None:
    """Web tasks reach a line or find a number; each step is a link of the page before, and none is a calculation."""
    good, _ = made(plugins.parse_env("web_browsing"), turns=3, calls=250)
    assert good
    for task in good:
        assert task.extra["lookups"] >= 2
        assert "calculator" not in task.solution
        assert "click_url" in task.solution
        assert "/" not in task.instruction


@pytest.mark.slow
def test_a_server() -> None:
    """An MCP server with state gives tasks; it is started anew for each world."""
    pytest.importorskip("mcp", reason="needs the extra mcp")
    spec = plugins.parse_env(f"mcp:{sys.executable} {ROOT / 'tests/mcp_shelf.py'}")
    good, dropped = made(spec, turns=1, calls=14)
    assert [task.extra["writes"] for task in good] == [["set_price"]], dropped
    assert "set the price of" in good[0].instruction
