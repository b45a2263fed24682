"""The tools of ordinary Python files: the types of their parameters and results, their docstrings and exceptions."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sca_python.environment import PythonEnvironment

from sca_cli import describe_tool
from sca_cli.errors import MissingError, PluginError, ToolError, WorldError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox

DESK = '''"""A desk."""
from __future__ import annotations
import asyncio, itertools, threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Literal, NamedTuple, NotRequired, TypedDict
import numpy as np
from pydantic import BaseModel, Field

class Kind(Enum):
    RED = "red"
    BLUE = "blue"
class Level(IntEnum):
    LOW = 1
@dataclass
class Line:
    sku: str
    pieces: int = 1
class Person(BaseModel):
    name: str = Field(description="full name", min_length=2)
class Size(TypedDict):
    width: int
    depth: NotRequired[int]
class Point(NamedTuple):
    x: int
    y: int
class OutOfStock(Exception):
    pass

orders = {1: [Line("a")]}
seen = {"x"}
counts = defaultdict(int)
CONST = (1, 2)
lock = threading.Lock()
ids = itertools.count(1)

def kinds(kind: Kind, level: Level = Level.LOW) -> str:
    """Name a kind."""
    return f"{kind.name} {level.name}"
def lines(lines: list[Line], to: Person | None = None) -> list[str]:
    """Read lines."""
    return [f"{line.sku}*{line.pieces}" for line in lines] + ([to.name] if to else [])
def size(size: Size, at: Point) -> int:
    """Measure."""
    return size["width"] * size.get("depth", 1) + at.x
def day(day: date, after: timedelta = timedelta(days=1)) -> date:
    """Return a later day."""
    return day + after
def pay(amount: Decimal) -> Decimal:
    """Return twice the amount."""
    return 2 * amount
def keys(names: dict[int, str]) -> list:
    """Return the keys."""
    return sorted(names)
def bounded(n: Annotated[int, Field(ge=1, le=5, description="how many")], m: int = Field(default=2, ge=1)) -> int:
    """Add."""
    return n + m
def words(x: Annotated[int, "a number"], mode: Literal["a", "b"] = "a") -> str:
    """Join."""
    return f"{x}{mode}"
def only(a: int, b: int = 3, /, *rest: int, sign: int = 1) -> int:
    """Subtract."""
    return sign * (a - b - sum(rest))
async def later(x: int) -> int:
    """Wait."""
    await asyncio.gather(asyncio.sleep(0.001), asyncio.sleep(0))
    return x + 1
async def ticks(n: int):
    """Count."""
    for each in range(n):
        yield each
def steps(n: int):
    """Count."""
    yield from range(n)
def endless():
    """Count."""
    yield from itertools.count()
def numbers():
    """Return numbers of numpy."""
    return {"mean": np.float32(0.5), "all": np.arange(3), "one": np.int64(1)}
def objects():
    """Return objects."""
    return {"line": Line("a"), "person": Person(name="Ann"), "set": {1}, "kind": Kind.RED}
def nested():
    """Return an object of no known type."""
    return [threading.Lock()]
def raises(how: str) -> int:
    """Raise."""
    if how == "own":
        raise OutOfStock("none left")
    if how == "plain":
        raise Exception("not today")
    assert how != "assert", "never"
    if how == "fault":
        return None.name
    if how == "import":
        import no_such_module
    return 1 // 0
def takes(order: int) -> int:
    """Take an order, which changes the state."""
    counts["taken"] += 1
    orders[order].pop()
    return counts["taken"]
'''


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> PythonEnvironment:
    """Load the file in this process."""
    path = tmp_path_factory.mktemp("tools") / "desk.py"
    path.write_text(DESK)
    environment = PythonEnvironment(str(path))
    assert isinstance(environment, PythonEnvironment)
    return environment


def call(desk: PythonEnvironment, tool: str, *args: Any, **kwargs: Any) -> Any:
    """Call a tool as a world does."""
    return desk.tools()[tool][1](*args, **kwargs)


@pytest.mark.parametrize(
    ("tool", "signature"),
    [
        ("kinds", "kinds(kind: Literal['red', 'blue'], level: Literal[1] = 1) -> str"),
        (
            "lines",
            "lines(lines: list[{'sku': str, 'pieces': NotRequired[int]}], to: {'name': str} | None = None)"
            " -> list[str]",
        ),
        ("size", "size(size: {'width': int, 'depth': NotRequired[int]}, at: tuple[int, int]) -> int"),
        ("day", "day(day: str, after: str = 'P1D') -> str"),
        ("bounded", "bounded(n: int, m: int = 2) -> int"),
        ("words", "words(x: int, mode: Literal['a', 'b'] = 'a') -> str"),
        ("only", "only(a: int, b: int = 3, *rest: int, sign: int = 1) -> int"),
    ],
)
def test_types_are_shown_as_json(desk: PythonEnvironment, tool: str, signature: str) -> None:
    """A model reads what it can send: values of an Enum, keys of a class, text for a date."""
    assert desk.tools()[tool][0].signature == signature


@pytest.mark.parametrize(
    ("tool", "kwargs", "result"),
    [
        ("kinds", {"kind": "red"}, "RED LOW"),
        ("lines", {"lines": [{"sku": "a"}, {"sku": "b", "pieces": 2}], "to": {"name": "Ann"}}, ["a*1", "b*2", "Ann"]),
        ("size", {"size": {"width": 2}, "at": [5, 6]}, 7),
        ("day", {"day": "2024-02-28"}, "2024-02-29"),
        ("pay", {"amount": 1.5}, "3.0"),
        ("keys", {"names": {"2": "b", "1": "a"}}, [1, 2]),
        ("bounded", {"n": 3}, 5),
        ("later", {"x": 1}, 2),
        ("ticks", {"n": 3}, [0, 1, 2]),
        ("steps", {"n": 2}, [0, 1]),
        ("numbers", {}, {"mean": 0.5, "all": [0, 1, 2], "one": 1}),
        (
            "objects",
            {},
            {"line": {"sku": "a", "pieces": 1}, "person": {"name": "Ann"}, "set": [1], "kind": "red"},
        ),
    ],
)
def test_arguments_and_results_are_converted(desk: PythonEnvironment, tool: str, kwargs: Any, result: Any) -> None:
    """The function gets values of its own types; a coroutine and a generator are run to their ends."""
    assert call(desk, tool, **kwargs) == result


@pytest.mark.parametrize(
    ("tool", "args", "message"),
    [
        ("bounded", (9,), "n: Input should be less than or equal to 5"),
        ("lines", ([], {"name": "A"}), "to.name: String should have at least 2 characters"),
        ("day", ("tomorrow",), "day: "),
        ("endless", (), "more than 10000 values"),
        ("raises", ("own",), "OutOfStock: none left"),
        ("raises", ("plain",), "Exception: not today"),
        ("raises", ("assert",), "AssertionError: never"),
        ("raises", ("zero",), "ZeroDivisionError: "),
    ],
)
def test_what_the_file_rejects_is_a_refusal(
    desk: PythonEnvironment, tool: str, args: tuple[Any, ...], message: str
) -> None:
    """A value out of bounds, and an exception that the file raises itself, are errors that the agent reads."""
    with pytest.raises(ToolError, match=message):
        call(desk, tool, *args)


def test_what_breaks_is_a_fault(desk: PythonEnvironment) -> None:
    """An operation that fails, a result that is not JSON and a missing module are no refusals; each names its cause."""
    with pytest.raises(AttributeError, match="name"):
        call(desk, "raises", "fault")
    with pytest.raises(TypeError, match="lock is not JSON"):
        call(desk, "nested")
    with pytest.raises(MissingError, match=r"desk\.py:\d+ needs the module 'no_such_module'"):
        call(desk, "raises", "import")


def test_objects_are_part_of_the_state_and_the_rest_is_listed(desk: PythonEnvironment) -> None:
    """Dataclasses, sets and tuples are in the state, a reset restores them; locks and iterators are listed."""
    desk.reset(0)
    before = desk.state()
    assert before == {"orders": {"1": [{"sku": "a", "pieces": 1}]}, "seen": ["x"], "counts": {}, "CONST": [1, 2]}
    assert desk.not_in_state() == ["lock (lock)", "ids (count)"]
    call(desk, "takes", 1)
    assert (desk.state()["orders"], desk.state()["counts"]) == ({"1": []}, {"taken": 1})
    desk.reset(0)
    assert desk.state() == before
    with pytest.raises(NotImplementedError, match="orders, seen"):
        desk.restore(before)


@pytest.mark.sandbox
def test_a_world_calls_by_name_and_runs_coroutines(tmp_path: Path) -> None:
    """In the jail, parameters before a `/` and before `*rest` may be named, defaults fill gaps, and timers work; the
    tool that ends its process makes the session invalid, with the reason.
    """
    tmp_path.chmod(0o755)
    path = tmp_path / "desk.py"
    path.write_text(DESK.replace("endless()", "leave()").replace("yield from itertools.count()", "raise SystemExit(3)"))
    env = EnvSpec(name="python", options={"target": str(path)})
    with Sandbox() as sandbox, sandbox.session(env, 0) as session:
        assert session.call("only", (), {"a": 5, "rest": [1], "sign": -1}).result == -1
        assert session.run("final_answer([only(a=5, b=1), later(1), kinds(kind='blue')])").answer == [4, 2, "BLUE LOW"]
        assert "must be one of 'red', 'blue'" in session.call("kinds", ("green",)).error
        assert session.not_in_state() == ["lock (lock)", "ids (count)"]
        with pytest.raises(WorldError, match=r"leave\(\): SystemExit: 3"):
            session.call("leave")


DOCSTRINGS = {
    "google": """Args:
    name (str): the name of it.
    count (int, optional): how many
        of them. Defaults to 3.
""",
    "numpy": """Parameters
----------
name : str
    the name of it.
count : int, optional
    how many of them. Defaults to 3.
""",
    "sphinx": ":param name: the name of it.\n:param int count: how many of them. Defaults to 3.\n:returns: text\n",
}


@pytest.mark.parametrize("style", DOCSTRINGS)
def test_docstrings_of_every_style_describe_parameters(style: str) -> None:
    """Google's with types, NumPy's and Sphinx's."""

    def repeat(name: str, count: int = 3) -> str:
        return name * count

    repeat.__doc__ = f"Repeat it.\n\n{DOCSTRINGS[style]}"
    schemas = describe_tool(repeat).parameters["properties"]
    assert schemas["name"] == {"type": "string", "description": "the name of it."}
    assert schemas["count"] == {"type": "integer", "description": "how many of them. Defaults to 3.", "default": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("from typing import Callable\ndef f(g: Callable) -> int:\n    'F.'", "tool 'f', parameter 'g': the type"),
        ("class C: pass\ndef f(x: int, c: C) -> int:\n    'F.'", "tool 'f', parameter 'c': the type"),
        ("def f(a, b: int):\n    'F.'", r"f\(a\)"),
        ("def f(**more: int):\n    'F.'", "tool 'f' takes \\*\\*more"),
        ("def f(x: 'Nothing'):\n    'F.'", "tool 'f', parameter 'x': the type hint cannot be read: name 'Nothing'"),
        ("class Shop:\n    def f(self) -> int:\n        'F.'", "no public functions"),
    ],
)
def test_what_is_not_supported_is_named_at_load(text: str, message: str, tmp_path: Path) -> None:
    """The error names the tool and the parameter."""
    path = tmp_path / "odd.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=message):
        PythonEnvironment(str(path))


def test_plain_files_import_no_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with JSON types needs no pydantic, which would make its worlds slower."""
    import builtins

    original: Callable[..., Any] = builtins.__import__

    def guarded(name: str, *args: Any, **kwargs: Any) -> Any:
        assert not name.startswith("pydantic"), name
        return original(name, *args, **kwargs)

    path = tmp_path / "plain.py"
    path.write_text(
        "RATES = {'a': 1.5}\ndef rate(name: str, most: float = 2) -> dict:\n    'Rate.'\n    return RATES\n"
    )
    monkeypatch.setattr(builtins, "__import__", guarded)
    environment = PythonEnvironment(str(path))
    assert isinstance(environment, PythonEnvironment)
    assert call(environment, "rate", "a") == {"a": 1.5}
    assert environment.state() == {"RATES": {"a": 1.5}}
    assert isinstance(environment._home, types.ModuleType)


SLOTTED = '''"""A counter."""
from sca_cli import tool
class Counter:
    __slots__ = ("count", "names")
    def __init__(self) -> None:
        self.count, self.names = 0, ["a"]
    @tool(writes=True)
    def increase(self, by: int = 1) -> int:
        """Increase the counter."""
        self.count += by
        return self.count
    def first(self, letter: str) -> str:
        """Return the first name that begins with a letter."""
        return next(name for name in self.names if name.startswith(letter))
'''


def test_slots_are_state_and_next_without_a_match_is_a_refusal(tmp_path: Path) -> None:
    """The attributes of a class with `__slots__` are its state, and a reset restores them."""
    (tmp_path / "counter.py").write_text(SLOTTED)
    environment = PythonEnvironment(target=f"{tmp_path / 'counter.py'}:Counter")
    environment.reset(0)
    tools = {name: method for name, (_, method) in environment.tools().items()}
    assert tools["increase"](by=2) == 2
    assert environment.state() == {"count": 2, "names": ["a"]}
    environment.reset(0)
    assert environment.state() == {"count": 0, "names": ["a"]}
    with pytest.raises(ToolError):
        tools["first"](letter="z")


TYPED = '''"""Tools."""
from __future__ import annotations
import functools
from typing import TYPE_CHECKING
from collections.abc import Callable

if TYPE_CHECKING:
    from datetime import date
    from nowhere_at_all import Frame


def logged(function: Callable[..., object]) -> Callable[..., object]:
    """Log the calls of a function."""
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapped


def retried(times):
    return lambda function: function


@logged
def next_day(day: date) -> date:
    """Return the day after."""
    return day.replace(day=day.day + 1)


@retried(3)
def one() -> int:
    """Return 1."""
    return 1
'''


def test_names_for_type_checkers_and_decorators_are_understood(tmp_path: Path) -> None:
    """Types that a file imports for type checkers only are read, and a function used as a decorator is no tool."""
    path = tmp_path / "typed.py"
    path.write_text(TYPED)
    desk = PythonEnvironment(str(path))
    assert [*desk.tools()] == ["next_day", "one"]
    assert call(desk, "next_day", "2026-01-01") == "2026-01-02"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "def f(x: int, frame: Frame) -> int:\n    'Do it.'",
            "tool 'f', parameter 'frame': the type hint cannot be read",
        ),
        (
            "def f(x: list['Frame | None']) -> int:\n    'Do it.'",
            "tool 'f', parameter 'x': the type hint cannot be read",
        ),
        ("def f(x: int) -> Frame:\n    'Do it.'", "tool 'f', result: the type hint cannot be read"),
        ("def f(x: 'int +') -> int:\n    'Do it.'", "tool 'f', parameter 'x': the type hint cannot be read"),
        ("def helper(x):\n    return x", "no type hints or no docstring: helper"),
        (
            "def _bare(g):\n    def h(*a): return g(*a)\n    return h\n\nf = _bare(next_day)",
            "f (its decorator hides both",
        ),
    ],
)
def test_a_hint_that_cannot_be_read_is_named(text: str, message: str, tmp_path: Path) -> None:
    """The error names the tool and the parameter; for a function without hints, it says what to do."""
    path = tmp_path / "typed.py"
    path.write_text(f"{TYPED}\n\n{text}\n")
    with pytest.raises(PluginError) as raised:
        PythonEnvironment(str(path))
    assert message in raised.value.message


def test_a_file_can_say_what_its_tools_are(tmp_path: Path) -> None:
    """If a file has `__all__`, the functions that it leaves out are no tools and may lack type hints."""
    path = tmp_path / "typed.py"
    path.write_text(TYPED + '\n\ndef helper(x):\n    return x\n\n\n__all__ = ["one"]\n')
    assert [*PythonEnvironment(str(path)).tools()] == ["one"]
