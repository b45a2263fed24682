"""The order in which a program calls tools, read from its text."""

import pytest

from sca_cli.analysis.call_order import tools_called
from sca_cli.analysis.source import NotPython


@pytest.mark.parametrize(
    ("program", "called"),
    [
        ("final_answer(f(g(1), h(k=i())))", "g i h f"),
        ("a[f()] = g()", "g f"),
        ("x = [f(y) for y in g() if h(y)]", "g h f"),
        ("x = {f(y): g(y) for y in h()}", "h f g"),
        ("x = {a(): b(), **c(), d(): e()}", "a b c d e"),
        ("x = f() if g() else h()", "g f h"),
        ("for x in f():\n    g(x)\nelse:\n    h()", "f g h"),
        ("x: int = f()\nwhile g(x) < 3:\n    x += h()", "f g h"),
        ("f(x := g()).get(h())", "g f h"),
        ("print(len(f'{f():{g()}}'), sorted(h(), key=lambda each: i(each)))", "f g h i"),
    ],
)
def test_calls_are_told_in_the_order_of_evaluation(program: str, called: str) -> None:
    """Arguments come before calls, values before targets, what is gone through before what is made of it."""
    assert tools_called(program) == called.split()


@pytest.mark.parametrize(
    ("program", "called"),
    [
        ("def own(x):\n    return f(x)\ng()\nown(h())", "g h f"),
        ("def own(x):\n    return own(f(x))\nown(1)", "f"),
        ("def never():\n    f()\ng()", "g"),
        ("def one():\n    return f()\ndef two():\n    return one() + g()\ntwo()\none()", "f g f"),
        ("def own(fetch):\n    return fetch(1)\nown(f)\ng()", "g"),
        ("from math import sqrt\nimport re as r\nsqrt(f())\nr.sub(g())", "f g"),
        ("twice = lambda x: f(x)\ntwice(1)", "f"),
        ("final_answer(max(1, 2))", ""),
    ],
)
def test_functions_of_the_programs_own_are_no_tools(program: str, called: str) -> None:
    """They are entered where they are called, each once in itself; builtins, imports and arguments are no tools."""
    assert tools_called(program) == called.split()


def test_what_does_not_parse_is_told() -> None:
    """A program without a syntax tree has no order."""
    with pytest.raises(NotPython):
        tools_called("final_answer(")


def test_functions_that_call_each_other_twice_are_read_to_a_limit() -> None:
    """Fifty functions would have 2^50 calls; the first 10,000 are read."""
    lines = [f"def f{n}():\n    f{n + 1}()\n    f{n + 1}()\n    tool()" for n in range(50)]
    assert 0 < len(tools_called("\n".join([*lines, "f0()"]))) <= 10_000
