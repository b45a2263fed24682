"""Model-written Python as text: parsed, searched, mutated, never run."""

import ast
import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca_cli.analysis import source
from sca_cli.analysis.source import (  # fmt: skip
    MAX_CHARS,
    MAX_DEPTH,
    NotPython,
    depends,
    literals,
    mutants,
    orders_a_set,
    parse,
    takes_argument,
    without_answer,
)

PROGRAM = """\
price = convert_currency(120.5, 2)
tariff = calculate_tariff(price, -3)
final_answer(estimate_final_value(price, tariff))
"""

PIECES = [
    "f",
    "x",
    "1",
    "-1",
    "2.5",
    "0x1F",
    "'a'",
    '"b\'"',
    "f'{x}{1!r:>{w}}'",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "=",
    "+",
    "*",
    "**",
    "not",
    "lambda",
    "if",
    "else",
    "for",
    "in",
    "{}",
    ".y",
    "await",
    "b''",
    "1j",
    "...",
]


def parse_search_and_mutate(text: str) -> None:
    """Do all there is to do with a text; only NotPython is forgiven."""
    try:
        tree = parse(text)
    except NotPython:
        return
    literals(tree)
    list(itertools.islice(mutants(text, 0), 3))


@given(st.text(max_size=300))
def test_any_text_is_a_tree_or_not_python(text: str) -> None:
    """No text makes parsing fail in any other way than NotPython, and what parses can be searched and
    mutated.
    """
    parse_search_and_mutate(text)


@given(
    st.lists(
        st.sampled_from([*PIECES, "\n", "\n  "]),
        max_size=40,
    ).map(" ".join)
)
def test_any_soup_of_python_is_a_tree_or_not_python(text: str) -> None:
    """The same for texts of Python's own pieces, which parse more often."""
    parse_search_and_mutate(text)


@pytest.mark.parametrize(
    "piece",
    ["[{}]", "f({})", "-{}", "not {}", "x[{}]", "lambda: {}", "{{1: {}}}", "(y if x else {})", "{} + 1"],
)
@pytest.mark.parametrize("depth", [10, MAX_DEPTH // 2, 5 * MAX_DEPTH, 30 * MAX_DEPTH])
def test_deep_nesting_is_refused_before_it_can_hurt(piece: str, depth: int) -> None:
    """Programs nested deeper than the limit are NotPython; those below it can be searched and mutated."""
    text = "1"
    for _ in range(depth):
        text = piece.format(text)
        if len(text) > MAX_CHARS:
            break
    if depth > MAX_DEPTH:
        with pytest.raises(NotPython):
            parse(text)
    else:
        literals(parse(text))
        assert all(parse(mutant) for mutant in itertools.islice(mutants(text, 0), 3))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * (MAX_CHARS + 1), "longer than"),
        ("def f(:", "invalid syntax"),
        ("x = '\ud800'", "surrogate"),
        ("a\0b", "null byte"),
        ("9" * 5000, "4300 digits|longer than"),
        ("0x" + "f" * 6000, "an integer longer than"),
        ("return 1 if", "invalid syntax"),
    ],
    ids=["long", "syntax", "surrogate", "null", "decimal", "hexadecimal", "half"],
)
def test_what_python_refuses_is_not_python(text: str, said: str) -> None:
    """Syntax errors, texts that cannot be encoded and numbers that cannot be printed say what is wrong."""
    with pytest.raises(NotPython, match=said):
        parse(text)


def test_warnings_of_the_compiler_are_kept_quiet() -> None:
    """An invalid escape sequence, a warning to Python, is no message on the user's terminal."""
    assert parse("x = '\\d' is 1")


@pytest.mark.parametrize(
    ("program", "found"),
    [
        (PROGRAM, [120.5, 2, -3]),
        ("final_answer(f('a', 'a', 1, True, None))", ["a", 1]),
        ("'''docstring'''\nx = d['key'][0] + 5", [5]),
        ("x = -(-4)", [-4]),
        ("x = [1, 'b', {2: 'c'}]", [1, "b", 2, "c"]),
        ("x = f'{y} km'", [" km"]),
        ("f(b'raw', 2j, ...)", []),
        ("", []),
    ],
)
def test_literals_are_what_a_program_brings_along(program: str, found: list[object]) -> None:
    """Numbers with their sign and strings, each once, in order; no indices, booleans, docstrings, bytes."""
    assert literals(parse(program)) == found


def test_mutants_differ_from_the_program_and_each_other_and_parse() -> None:
    """Every mutant is another program, and Python."""
    made = list(mutants(PROGRAM, 1))
    canonical = ast.unparse(parse(PROGRAM))
    assert len(made) >= 10
    assert len({canonical, *made}) == len(made) + 1
    assert all(ast.unparse(parse(mutant)) == mutant for mutant in made)


def test_mutants_are_of_three_kinds() -> None:
    """Another constant, two arguments swapped, a step left out: each kind is among them."""
    made = set(mutants("final_answer(f(g(7), 'ab'))", 0))
    assert {"final_answer(f(g(8), 'ab'))", "final_answer(f(g(7), 'ba'))"} <= made
    assert "final_answer(f('ab', g(7)))" in made
    assert {"final_answer(g(7))", "final_answer(f(7, 'ab'))"} <= made
    assert all(mutant.startswith("final_answer(") for mutant in made)


def test_mutants_come_in_an_order_drawn_by_the_seed() -> None:
    """The same seed gives the same order, another seed another, and all seeds the same set."""
    one, same, other = (list(mutants(PROGRAM, seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert sorted(one) == sorted(other)


def test_first_mutants_of_a_large_program_are_made_at_once() -> None:
    """Twelve mutants of a program of 2000 constants do not need all 4000 to be made: a hundredth of the
    work.
    """
    program = f"f({', '.join(map(str, range(2000)))})"
    started = time.process_time()
    assert len(list(itertools.islice(mutants(program, 0), 12))) == 12
    assert time.process_time() - started < 5


def test_mutants_of_what_is_not_python_are_refused() -> None:
    """There are no mutants of prose."""
    with pytest.raises(NotPython):
        next(mutants("not a program at all", 0))


def test_a_program_without_constants_or_calls_has_no_mutants() -> None:
    """Nothing to change, nothing made up."""
    assert list(mutants("x = y", 0)) == []


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("final_answer(look(1))", True),
        ("a = look(1)\nb = a + 1\nfinal_answer(b)", True),
        ("a: int = look(1)\nfinal_answer(answer := a)", True),
        ("a = []\na.append(look(1))\nfinal_answer(a)", True),
        ("a = {}\na['x'] = look(1)\nfinal_answer(a['x'])", True),
        ("n = 0\nn += look(1)\nfinal_answer(n)", True),
        ("a, *b = look(1)\nfinal_answer(b)", True),
        ("final_answer([x for x in look(1)])", True),
        ("n = 0\nfor x in look(1):\n    n += 1\nfinal_answer(n)", True),
        ("n = 0\nif look(1):\n    n = 5\nfinal_answer(n)", True),
        ("if look(1):\n    final_answer(5)\nelse:\n    final_answer(6)", True),
        ("while look(1):\n    n = 2\nfinal_answer(n)", True),
        ("try:\n    look(1)\n    n = 1\nexcept ToolError:\n    n = 2\nfinal_answer(n)", True),
        ("def f():\n    return look(1)\nfinal_answer(f())", True),
        ("f = lambda x: x + 1\nfinal_answer(f(look(1)))", True),
        ("def f(x):\n    final_answer(x)\nf(look(1))", True),
        ("b = a\na = look(1)\nfinal_answer(b)", True),
        ("for x in 'abc':\n    if look(x):\n        break\nfinal_answer(x)", True),
        ("n = 0\nwhile True:\n    n += 1\n    if look(n):\n        break\nfinal_answer(n)", True),
        ("n = 0\nfor x in 'abc':\n    if look(x):\n        continue\n    n += 1\nfinal_answer(n)", True),
        ("match look(1):\n    case 1:\n        n = 'one'\n    case _:\n        n = 'more'\nfinal_answer(n)", True),
        ("for x in 'abc':\n    if x > 'a':\n        break\n    look(x)\nfinal_answer(x)", False),
        ("def f(x):\n    return 7\nlook(1)\nfinal_answer(f(2))", False),
        ("final_answer(7)", False),
        ("look(1)\nfinal_answer(7)", False),
        ("a = look(1)\nb = 7\nfinal_answer(b)", False),
        ("for x in look(1):\n    print(x)\nfinal_answer(7)", False),
        ("if look(1):\n    n = 5\nfinal_answer(7)", False),
        ("try:\n    look(1)\nexcept ToolError:\n    pass\nfinal_answer(7)", False),
        ("a = peek(1)\nfinal_answer(a)", False),
        ("final_answer('look(1)')", False),
        ("a = look(1)", False),
    ],
)
def test_an_answer_depends_on_what_it_can_come_from(program: str, found: bool) -> None:
    """A tool's result reaches the answer through names, containers, loops, branches and functions, or not at all."""
    assert depends(program, {"look", "see"}) is found


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("def evaluate(answer): return True", True),
        ("def evaluate(*answers): return True", True),
        ("def evaluate(answer=None): return True", True),
        ("def evaluate(): return True", False),
        ("def evaluate(**more): return True", False),
        ("def check(answer): return True\ndef evaluate(): return True", False),
        ("evaluate = 7", False),
        ("", False),
    ],
)
def test_a_check_takes_an_argument_if_its_function_does(program: str, found: bool) -> None:
    """Only the named function's own positional arguments count."""
    assert takes_argument(program, "evaluate") is found


def test_what_is_not_python_depends_on_nothing_that_could_be_told() -> None:
    """Neither guesses at a text that does not parse."""
    with pytest.raises(NotPython):
        depends("final_answer(", {"look"})
    with pytest.raises(NotPython):
        takes_argument("def evaluate(:", "evaluate")


@pytest.mark.parametrize(
    ("program", "ordered"),
    [
        ("list({1, 2})[0]", True),
        ("names = {n for n in rows}\n', '.join(names)", True),
        ("next(iter(set(rows)))", True),
        ("sorted(list(set(rows)))", False),
        ("len(list(set(rows)))", False),
        ("list(rows)", False),
    ],
)
def test_a_sequence_made_of_a_set_is_seen(program: str, ordered: bool) -> None:
    """The order of a set is chance, unless it is sorted or only counted."""
    assert orders_a_set(parse(program)) is ordered


def test_a_program_without_its_answer_calls_the_same_tools() -> None:
    """Only what is said is gone."""
    assert without_answer("cancel('order_1')\nfinal_answer('It is done.')") == "cancel('order_1')\nfinal_answer(None)"


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_each_node_is_examined_once_however_long_the_chain(monkeypatch: pytest.MonkeyPatch, order: int) -> None:
    """A chain of 1,100 assignments costs as many steps as it has nodes, in either order."""
    steps: list[ast.AST] = []
    flows = source._flows
    monkeypatch.setattr(source, "_flows", lambda node: steps.append(node) or flows(node))
    lines = ["a0 = look()", *(f"a{n + 1} = a{n}" for n in range(1100)), "final_answer(a1100)"][::order]
    program = "\n".join(lines)
    assert depends(program, {"look"})
    assert len(steps) == len(list(ast.walk(ast.parse(program))))


def test_a_long_chain_of_unused_steps_is_removed() -> None:
    """One removed step makes the next one unused, 1,100 times, without recursion; what is read stays."""
    lines = ["a0 = look()", *(f"a{n + 1} = a{n}" for n in range(1100)), "final_answer(a3)"]
    assert ast.unparse(source.without_unused_steps(parse("\n".join(lines)))).splitlines() == [*lines[:4], lines[-1]]


@pytest.mark.parametrize(
    ("program", "names", "hidden"),
    [
        ("__import__('ti' + 'me').time()", ["time"], []),
        ("getattr(m, f'{\"now\"}')()", ["now"], []),
        ("getattr(m, ''.join(['ti', 'me']))()", ["time"], []),
        ("getattr(m, 'emit'[::-1])()", ["time"], []),
        ("getattr(m, name)()", [], ["a computed name"]),
        ("eval(text)", [], ["eval"]),
        ("look('time')", [], []),
    ],
)
def test_names_that_are_computed_are_found_or_reported(program: str, names: list[str], hidden: list[str]) -> None:
    """A name that is passed as text counts as a name; one that cannot be computed from literals is reported."""
    tree = parse(program)
    assert (list(source.names_as_texts(tree)), list(source.computed_access(tree))) == (names, hidden)
