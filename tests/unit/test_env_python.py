"""The `python` environment: a file's functions, or a class's methods, as tools, with no plugin written."""

import copy
from pathlib import Path

import pytest

from sca_cli import plugins
from sca_cli.errors import MissingError, PluginError, UsageError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox

pytestmark = pytest.mark.sandbox

SHOP = '''"""Sell only what is there."""
import random
from beside import PRICES
from sca_cli import tool, ToolError
stock = {"pear": 5}
log: list[str] = []
_view = stock
def reset(seed: int) -> None:
    stock["pear"] = seed
def count(item: str) -> int:
    """How many there are.

    Args:
        item: its name.
    """
    return _view[item]
@tool(writes=True)
def sell(item: str, pieces: int = 1) -> int:
    """Sell some."""
    if pieces > stock[item]:
        raise ValueError("not so many")
    stock[item] -= pieces
    log.append(item)
    return stock[item] * PRICES[item]
def _helper(x): ...
def fail() -> None:
    """Fail as no refusal does."""
    raise RuntimeError("broken")
class Till:
    """Mind the till."""
    def __init__(self):
        self.cents = 100
    def amount(self) -> int:
        """Cents."""
        return self.cents
    @tool(writes=True)
    def pay(self, cents: int) -> int:
        """Pay out."""
        self.cents -= cents
        return self.cents
'''


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Write a file of tools and a module next to it into a directory that the jail's user may read."""
    tmp_path.chmod(0o755)
    (tmp_path / "beside.py").write_text("PRICES = {'pear': 10}\n")
    path = tmp_path / "my,shop.py"
    path.write_text(SHOP)
    return path


def spec(target: object) -> EnvSpec:
    """Return the one variant of a specification."""
    (found,) = plugins.expand_env(plugins.parse_env(f"python:{target}"))
    return found


def test_functions_are_tools_and_variables_the_state(shop: Path) -> None:
    """Public functions of the file itself are tools; what is marked writes; reset takes the seed; nothing is shared."""
    with Sandbox() as sandbox:
        tools, policy, _ = sandbox.describe(spec(shop))
        assert [(tool.name, tool.writes) for tool in tools] == [("count", False), ("sell", True), ("fail", False)]
        assert tools[0].parameters["properties"] == {"item": {"type": "string", "description": "its name."}}
        assert policy == "Sell only what is there."
        with sandbox.session(spec(shop), 7) as one, sandbox.session(spec(shop), 8) as other:
            assert one.call("sell", ("pear", 2)).result == 50
            assert one.state() == {"stock": {"pear": 5}, "log": ["pear"], "_view": {"pear": 5}, "PRICES": {"pear": 10}}
            assert one.call("count", ("pear",)).result == 5
            assert other.call("count", ("pear",)).result == 8


def test_ordinary_errors_are_refusals(shop: Path) -> None:
    """ValueError and LookupError are read by the model; a misfit is refused before the function; others are faults."""
    with Sandbox() as sandbox, sandbox.session(spec(shop), 7) as session:
        assert session.call("sell", ("pear", 70)).error == "ValueError: not so many"
        assert session.call("count", ("plum",)).error == "KeyError: 'plum'"
        assert "must be str, not int 1" in session.call("count", (1,)).error
        assert session.run("try:\n    sell('pear', 99)\nexcept ToolError as e:\n    print(e)").output.startswith(
            "ValueE"
        )
        check = session.evaluate("def evaluate():\n    return sell('pear') > 0")
        assert (check.outcome, "which a check may not" in check.message) == ("invalid", True)


def test_a_class_is_an_environment_too(shop: Path) -> None:
    """FILE:CLASS makes one object, whose methods are tools and whose attributes are the state."""
    with Sandbox() as sandbox:
        tools, policy, _ = sandbox.describe(spec(f"{shop}:Till"))
        assert ([tool.name for tool in tools], policy) == (["amount", "pay"], "Mind the till.")
        with sandbox.session(spec(f"{shop}:Till"), 0) as session:
            session.call("pay", (30,))
            assert session.state() == {"cents": 70}


def test_a_module_is_an_environment_too() -> None:
    """A module's name does as well as a file's path; its own undocumented functions are named in one error."""
    with (
        Sandbox() as sandbox,
        pytest.raises(PluginError, match=r"json: no type hints or no docstring: dump\(obj, fp, skipkeys, …\), dumps"),
    ):
        sandbox.describe(spec("json"))


def test_functions_without_hints_or_docstring_are_named(tmp_path: Path) -> None:
    """All of them, in one error, with the way out."""
    tmp_path.chmod(0o755)
    path = tmp_path / "bare.py"
    path.write_text("def a(x): 'Does.'\ndef b(x: int): ...\ndef c(x: int) -> int:\n    'Is well.'\ndef _d(x): ...\n")
    with (
        Sandbox() as sandbox,
        pytest.raises(PluginError, match=r"bare.py: no type hints or no docstring: a\(x\), b$") as raised,
    ):
        sandbox.describe(spec(path))
    assert "if a function is no tool, start its name with _, or leave it out of __all__" in raised.value.hint


def test_a_function_that_evaluates_is_refused(tmp_path: Path) -> None:
    """The audit reads the file and the modules next to it."""
    tmp_path.chmod(0o755)
    (tmp_path / "lower.py").write_text("def run(text):\n    return eval(text)\n")
    path = tmp_path / "upper.py"
    path.write_text("from lower import run\ndef calc(text: str) -> float:\n    'Calculate.'\n    return run(text)\n")
    with (
        Sandbox() as sandbox,
        pytest.raises(PluginError, match=r"'calc' may run its arguments as code: lower\.py:2: eval"),
    ):
        sandbox.describe(spec(path))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nowhere.py", "cannot read .*nowhere.py: No such file or directory"),
        ("no_such_module", "no module 'no_such_module'"),
        ("{shop}:Shop", "my,shop.py has no class 'Shop'"),
    ],
)
def test_what_is_not_there_is_named(shop: Path, target: str, said: str) -> None:
    """A missing file, module or class is the user's mistake."""
    with Sandbox() as sandbox, pytest.raises(UsageError, match=said):
        sandbox.describe(spec(target.format(shop=shop)))


def test_a_package_that_the_file_needs_is_named(tmp_path: Path) -> None:
    """A package that the file imports and that is not installed is named, with the command that installs it."""
    tmp_path.chmod(0o755)
    path = tmp_path / "needy.py"
    path.write_text("import no_such_package\n")
    with Sandbox() as sandbox, pytest.raises(MissingError, match=r"needy\.py:1 needs the module 'no_such") as raised:
        sandbox.describe(spec(path))
    assert "pip install no_such_package" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        ("x = 0\ny = 1 / x\n", "", r"{file}:2: ZeroDivisionError: division by zero"),
        ("def f(: pass\n", "", r"{file}:1: SyntaxError: invalid syntax"),
        ("import json\nimport beside\n", "", r"{folder}/beside.py:2: JSONDecodeError: Expecting property name"),
        ("def f():\n    raise ValueError('one\\ntwo')\nf()\n", "", r"{file}:2: ValueError: one"),
        ("import sys\nsys.exit(3)\n", "", r"{file}:2: SystemExit: 3"),
        ("class A:\n    def __init__(self):\n        open('/nope')\n", ":A", r"{file}:3: FileNotFoundError: .*'/nope'"),
        ("class A:\n    def __init__(self, size): ...\n", ":A", r"TypeError: .*missing 1 required .*'size'"),
    ],
)
def test_code_that_fails_is_named_with_its_line(tmp_path: Path, text: str, target: str, said: str) -> None:
    """The message is one line and names the user's own line, in this file or a module next to it, not a library's."""
    tmp_path.chmod(0o755)
    path = tmp_path / "tools.py"
    path.write_text(text)
    (tmp_path / "beside.py").write_text("import json\njson.loads('{')\n")
    with (
        Sandbox() as sandbox,
        pytest.raises(PluginError, match=f"^environment 'python': {said.format(file=path, folder=tmp_path)}") as raised,
    ):
        sandbox.describe(spec(f"{path}{target}"))
    assert "\n" not in raised.value.message


ENVIRONMENT = '''
from sca_cli import Environment, MissingError, tool
class Till(Environment):
    """A till."""
    policy = "Mind the till."
    customer = True
    def __init__(self) -> None:
        self.cents = 0
    def reset(self, seed: int) -> None:
        self.cents = 100 + seed
    def state(self) -> dict[str, int]:
        return {"cents": self.cents}
    @tool(writes=True)
    def pay(self, cents: int) -> int:
        """Pay out."""
        self.cents -= cents
        return self.cents
    def helper(self) -> None: ...
class Outside(Till):
    outside = True
class Poor(Till):
    def __init__(self) -> None:
        raise MissingError("no prices", "buy some")
'''


def test_a_class_that_is_an_environment_is_taken_as_it_is(tmp_path: Path) -> None:
    """Its own tools, policy, seeds, state and errors; one that must reach outside is refused."""
    tmp_path.chmod(0o755)
    path = tmp_path / "till.py"
    path.write_text(ENVIRONMENT)
    with Sandbox() as sandbox:
        tools, policy, customer = sandbox.describe(spec(f"{path}:Till"))
        assert ([tool.name for tool in tools], policy, customer) == (["pay"], "Mind the till.", True)
        with sandbox.session(spec(f"{path}:Till"), 7) as session:
            assert session.call("pay", (30,)).result == 77
            assert session.state() == {"cents": 77}
        with pytest.raises(MissingError, match="'python': no prices") as raised:
            sandbox.describe(spec(f"{path}:Poor"))
        assert raised.value.hint == "buy some"
        with pytest.raises(UsageError, match="'Outside' must reach outside, and this world is jailed"):
            sandbox.describe(spec(f"{path}:Outside"))


def test_a_relative_path_is_recorded_as_absolute(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are good in any directory."""
    monkeypatch.chdir(shop.parent)
    assert spec("my,shop.py:Till") == EnvSpec(name="python", options={"target": f"{shop}:Till"})


def test_state_is_restored_in_place(shop: Path) -> None:
    """Names that refer to one object still do after restore(state)."""
    environment = plugins.load_environment(spec(shop))
    environment.reset(3)
    state = copy.deepcopy(environment.state())
    environment.reset(4)
    environment.restore({**state, "extra": 1})
    assert environment.tools()["count"][1]("pear") == 3
    assert environment.state() == {**state, "extra": 1}
    environment.reset(5)
    assert environment.state() == {**state, "stock": {"pear": 5}, "_view": {"pear": 5}}
