"""Programs and answers that must not pass a sound check: always another, of the same shape, and valid Python."""

import ast
import inspect
import json
import random
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import Shop

from sca_cli.interfaces import Tool
from sca_cli.records import Observation
from sca_cli.verification import wrong_programs

TOOLS = [described for described, _ in Shop().tools().values()]
NUMBERS = st.integers(-(10**12), 10**12) | st.floats(-1e9, 1e9).map(lambda number: round(number, 3))
PLAIN = st.booleans() | NUMBERS | st.text(max_size=12)
ANSWERS = st.recursive(PLAIN, lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=4), part))


def shape(value: Any) -> Any:
    """Return the types of a value and of its parts; the parts of what was empty do not count."""
    if isinstance(value, list):
        return [shape(part) for part in value]
    return {key: shape(part) for key, part in value.items()} if isinstance(value, dict) else type(value)


@given(ANSWERS, st.booleans(), st.integers(0, 99))
def test_another_answer_differs_and_keeps_its_type(answer: Any, near: bool, seed: int) -> None:
    """It is never the same answer, and of its shape down to the parts."""
    other = wrong_programs.another(answer, random.Random(seed), near=near)
    assert other != answer
    assert type(other) is type(answer)
    if "[]" not in repr(answer) and "{}" not in repr(answer):
        assert shape(other) == shape(answer)
    json.dumps(other, allow_nan=False)


@given(NUMBERS, st.integers(0, 99))
def test_near_is_nearer_than_far(number: float, seed: int) -> None:
    """A near number is off by a few per cent, more than rounding explains; a far one by more than half."""
    near, far = (abs(wrong_programs.another(number, random.Random(seed), near=near) - number) for near in (True, False))
    assert 1 <= near <= 2.6 + 0.05 * abs(number)
    assert far >= max(4, 0.69 * abs(number))


@given(st.text(min_size=1).filter(lambda text: any(c.isalnum() for c in text)), st.integers(0, 99))
def test_a_near_text_is_off_by_one_letter(text: str, seed: int) -> None:
    """One place is another, and digits stay digits where they were."""
    other = wrong_programs.another(text, random.Random(seed), near=True)
    assert isinstance(other, str)
    changed = [(old, new) for old, new in zip(text, other, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0][0].isdigit() == changed[0][1].isdigit()


@given(ANSWERS, st.integers(0, 99))
def test_other_answers_are_all_wrong(answer: Any, seed: int) -> None:
    """Among the answers close to the right one the right one never is; there is at least one."""
    calls = [Observation(tool="t", result=[answer, 5, "beside"])]
    others = wrong_programs.other_answers(answer, calls, random.Random(seed))
    assert others
    assert answer not in others


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, []),
        (True, [False]),
        ("red", ["blue"]),
        ("one two three", ["three two one", "blue"]),
        (7, [40]),
        (["a", "b"], [[], ["a"], ["b"]]),
        ({"a": 1}, [{}]),
    ],
)
def test_other_answers_hold_what_could_be_taken_for_it(answer: Any, expected: list[Any]) -> None:
    """Wrong answers are the opposite, values near it in the tools' results, its words reversed, and a shorter list."""
    calls = [Observation(tool="t", result={"of": ["blue", "Red", "", 40, 7.2, True]})]
    others = wrong_programs.other_answers(answer, calls, random.Random(1))
    assert all(other in others for other in expected)
    assert answer != "red" or "Red" not in others
    assert "" not in others
    if answer in (None, True):
        assert others == expected


@given(st.integers(0, 2**32), ANSWERS)
def test_a_random_program_is_valid_and_calls_tools_as_they_are_described(seed: int, answer: Any) -> None:
    """It parses, its calls fit the signatures, it draws the same from the same seed, and answers something else."""
    program = wrong_programs.random_program(TOOLS, answer, seed)
    assert program == wrong_programs.random_program(TOOLS, answer, seed)
    calls = [node.value for node in ast.parse(program).body if isinstance(node, ast.Expr)]
    *attempts, final = calls
    assert ast.unparse(final).startswith("final_answer(")
    assert ast.literal_eval(final.args[0]) != answer  # type: ignore[attr-defined]
    for call in attempts:
        assert isinstance(call, ast.Call)
        name, *given_args = [ast.unparse(arg) for arg in call.args]
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
        spread = [value for arg in given_args for value in ast.literal_eval(arg.removeprefix("*"))]
        inspect.signature(getattr(Shop, name)).bind(None, *spread, **keywords)


def test_a_task_without_answer_gets_none() -> None:
    """The random program gives no answer if the solution gives none, and calls no tool if there is none."""
    assert "final_answer" not in wrong_programs.random_program(TOOLS, None, 1)
    assert not ast.parse(wrong_programs.random_program([], None, 1)).body[1:]


def run(program: str, **tools: Any) -> list[Any]:
    """Run a program of probes and return what it answered."""
    answers: list[Any] = []
    exec(program, {"final_answer": answers.append, **tools})
    return answers


def test_with_answer_does_the_same_and_answers_something_else() -> None:
    """The calls are the solution's; the answer is the given one, whatever the solution computed."""
    made: list[int] = []
    program = wrong_programs.with_answer("made(1)\nmade(2)\nfinal_answer(made)", ["it's"])
    assert run(program, made=made.append) == [["it's"]]
    assert made == [1, 2]


def note(made: list[Any], tool: str, /, *args: Any, **kwargs: Any) -> None:
    """Note a call."""
    made.append((tool, *args, *kwargs.values()))


def test_replays_leave_out_or_change_one_writing_call() -> None:
    """Each changes one of the changes made; reads and refused calls are not made again, no replay is the original."""
    calls = [
        Observation(tool="get_user", args=["user_1"]),
        Observation(tool="set_name", args=["user_1"], kwargs={"name": "Eve"}, writes=True),
        Observation(tool="cancel_order", args=["order_2"], error="no", writes=True),
        Observation(tool="cancel_order", args=["order_1"], writes=True),
    ]
    tools = [*TOOLS, Tool("drop_user", "", {"properties": {"uid": {}}}, "drop_user(uid)", "None", writes=True)]
    done = []
    for program in wrong_programs.replays(calls, tools, 7):
        made: list[Any] = []
        names = ("get_user", "set_name", "cancel_order", "drop_user")
        noted = {each: partial(note, made, each) for each in names}
        assert run(program, **noted) == [7]
        done.append(made)
    renamed, cancelled = ("set_name", "user_1", "Eve"), ("cancel_order", "order_1")
    assert done == [[cancelled], [renamed], [renamed, ("drop_user", "order_1")]]
    assert list(wrong_programs.replays(calls[:1], tools, None)) == []


@pytest.mark.parametrize(
    ("value", "found"), [(1, [1]), ([], []), ({"a": [1, {"b": "x"}], "c": None}, [1, "x", None]), ([[]], [])]
)
def test_leaves_are_the_values_inside(value: Any, found: list[Any]) -> None:
    """The leaves of lists and objects are returned; any other value is itself a leaf."""
    assert list(wrong_programs.leaves(value)) == found


def test_an_answer_beyond_the_floats_has_others_too() -> None:
    """Another answer is made of it, near or far, which is finite and not the same."""
    for answer in (10**400, -(10**400), 1.7e308, 10**308):
        for near in (False, True):
            other = wrong_programs.another(answer, random.Random(0), near=near)
            assert other != answer and type(other) is type(answer)


def test_other_answers_are_near_and_loose_ones_turn_the_right_one_round() -> None:
    """The numbers next to it stand among the others; a list backwards or longer and the other sign are loose."""
    drawn = random.Random(1)
    longer, backwards = wrong_programs.loose_answers(["a", "b", "c"], drawn)
    assert (longer[:3], len(longer), backwards) == (["a", "b", "c"], 4, ["c", "b", "a"])
    assert wrong_programs.loose_answers(13, drawn) == [-13]
    assert (
        wrong_programs.loose_answers("a", drawn)
        == wrong_programs.loose_answers(True, drawn)
        == wrong_programs.loose_answers(0, drawn)
        == []
    )
    assert {12, 14} <= set(wrong_programs.other_answers(13, [], drawn))
    assert 1001 not in wrong_programs.other_answers(1000, [], drawn)


def test_a_part_left_out_and_another_key_are_answers_too() -> None:
    """An object without one of its keys, and another key of an object that has the answer as a key."""
    assert {"a": 1} in wrong_programs.other_answers({"a": 1, "b": 2}, [], random.Random(1))
    calls = [Observation(tool="stock", result={"x-1": {"price": 3}, "y-2": {"price": 4}})]
    assert "y-2" in wrong_programs.other_answers("x-1", calls, random.Random(1))


def test_changes_are_made_with_other_values_and_as_well() -> None:
    """Values of the same list, object or key take a value's place, and the call with another first one is added."""
    seen = [
        Observation(tool="look", result={"ids": ["a1", "b2"], "ways": {"card": 1, "cash": 2}}),
        Observation(tool="people", result=[{"id": "p", "name": "Ann"}, {"id": "q", "name": "Ben"}]),
    ]
    pay = Observation(tool="pay", args=["a1", ["p"], 3], kwargs={"way": "card", "now": True}, writes=True)
    programs = list(wrong_programs.altered([*seen, pay], [], None, random.Random(1)))
    told = [call for _, call in programs]
    assert told == [
        "pay('b2', ['p'], 3, way='card', now=True)", "pay('b2', ['p'], 3, way='card', now=True)",
        "pay('a1', ['q'], 3, way='card', now=True)",
        "pay('a1', ['p'], 4, way='card', now=True)", "pay('a1', ['p'], 2, way='card', now=True)",
        "pay('a1', ['p'], 3, way='cash', now=True)", "pay('a1', ['p'], 3, way='card', now=False)",
    ]  # fmt: skip
    assert [program.count("attempt(pay") for program, _ in programs] == [1, 2, 1, 1, 1, 1, 1]
    assert list(wrong_programs.altered(seen, [], None, random.Random(1))) == []


def test_what_stands_under_the_same_key_is_tried_first() -> None:
    """The other hotels of a list are tried before its cities and features."""
    hotels = [
        {"name": name, "city": f"City of {name}", "has": [f"{name} gym", f"{name} pool"]}
        for name in ("Anchor", "Beacon", "Cliff", "Dune", "Elm")
    ]
    others = wrong_programs.other_answers("Cliff", [Observation(tool="hotels", result=hotels)], random.Random(1))
    assert {"Anchor", "Beacon", "Dune", "Elm"} <= set(others)
