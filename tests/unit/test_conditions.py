"""A check's conditions, weakened one at a time, and the literals it demands."""

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca_cli.analysis import conditions, source

ANSWER = "def evaluate(answer):\n    return "


@pytest.mark.parametrize(
    ("check", "found"),
    [
        ("answer == 7", ["answer == 7"]),
        ("answer == 7 and get_user('a')['name'] == 'Eve'", ["answer == 7", "get_user('a')['name'] == 'Eve'"]),
        ("isinstance(answer, int) and answer > 3", ["answer > 3"]),
        ("answer is not None and answer > 3", ["answer > 3"]),
        ("len(answer) == 2 and answer[0] == 'x'", ["answer[0] == 'x'"]),
        ("not isinstance(answer, int) or answer.startswith('x')", ["answer.startswith('x')"]),
        ("3 < answer < 9", ["3 < answer < 9"]),
        ("all(part > 1 for part in answer)", ["all", "part > 1"]),
        ("answer and paid", []),
        ("isinstance(answer, int)", []),
        ("True", []),
    ],
)
def test_conditions_are_comparisons_and_operands_but_not_guards(check: str, found: list[str]) -> None:
    """What looks only at the answer's shape needs no failure case; everything else is weakened."""
    named = {condition for condition, _ in conditions.weakened(ANSWER + check)}
    assert named == set(found)


def accepts(check: str, answer: Any) -> bool:
    """Run a check of these tests on an answer."""
    names: dict[str, Any] = {}
    exec(check, names)
    return bool(names["evaluate"](answer))


@pytest.mark.parametrize(
    ("body", "right", "wrong"),
    [
        ("return answer > 3 and answer % 2 == 0", 4, [5, 2]),
        ("if answer < 3:\n        return False\n    return answer != 5", 4, [2, 5]),
        ("return all(part > 1 for part in answer)", [2, 3], [[2, 0]]),
        ("return not (answer == 3)", 4, [3]),
    ],
)
def test_without_a_condition_a_wrong_answer_passes(body: str, right: Any, wrong: list[Any]) -> None:
    """Each condition has a variant of the check that still accepts the right answer, and a wrong one that the condition
    excluded.
    """
    check = f"def evaluate(answer):\n    {body}"
    assert accepts(check, right)
    assert not any(accepts(check, answer) for answer in wrong)
    let_in: dict[str, set[str]] = {}
    for condition, variant in conditions.weakened(check):
        passed = {repr(answer) for answer in wrong if accepts(variant, answer)}
        let_in[condition] = let_in.get(condition, set()) | (passed if accepts(variant, right) else set())
    assert all(let_in.values()), let_in
    assert set.union(*let_in.values()) == set(map(repr, wrong))


CLAUSES = st.sampled_from(
    [
        "answer == 1",
        "x in answer",
        "not y",
        "f(answer)",
        "len(answer) > 2",
        "answer is None",
        "all(z)",
        "1 < answer < 3",
    ]
)
CHECKS = st.recursive(
    CLAUSES, lambda part: st.tuples(part, st.sampled_from(["and", "or"]), part).map(lambda p: f"({' '.join(p)})")
)


@given(CHECKS)
def test_variants_parse_and_differ(check: str) -> None:
    """Each is another program of one condition less, and the check itself is not among them."""
    text = ANSWER + check
    variants = [variant for _, variant in conditions.weakened(text)]
    assert len(set(variants)) == len(variants)
    assert ast.unparse(ast.parse(text)) not in variants
    for variant in variants:
        assert [node.name for node in ast.parse(variant).body if isinstance(node, ast.FunctionDef)] == ["evaluate"]


@pytest.mark.parametrize(
    ("program", "values"),
    [
        ("answer == 43", [43]),
        ("answer == 'Eve' and x['status'] == 'open'", ["Eve", "open"]),
        ("answer[17] == x.get('key')", []),
        ("abs(answer - 12.5) < 0.01", [12.5]),
        ("round(answer, 4) == 3.1415", [3.1415]),
        ("round(17.25, 1) == answer", [17.25]),
        ("answer == 100 + 40", [140]),
        ("answer == 100 - 40", [60]),
        ("answer == -7", [-7]),
        ("len(answer) == 14 and answer", []),
        ("answer.strip('?!') == 'yes'", ["yes"]),
        ("answer in (0, 1, 2, -1, '', 'x', True, None)", []),
        ("isinstance(answer, int) and lookup('user_9')", ["user_9"]),
        ("sum(1 for c in 'abcdefgh' if c in answer) > 0", []),
        ("math.isclose(answer, 3.5, rel_tol=0.2)", []),
        (r"re.match(r'^(?:Total )?[a-z]+: (\d{2,5}) euros', answer)", ["Total", "euros"]),
        ("answer == '2025-09-%02d' % day", []),
    ],
)
def test_demanded_is_what_a_check_cannot_know_of_itself(program: str, values: list[Any]) -> None:
    """Keys, tolerances, lengths, digits and alphabets are free; what a task is about is not."""
    assert conditions.demanded(ANSWER + program) == values


@pytest.mark.parametrize("function", [lambda text: list(conditions.weakened(text)), conditions.demanded])
def test_what_is_not_python_is_refused(function) -> None:
    """Neither guesses at a text that does not parse."""
    with pytest.raises(source.NotPython):
        function("def evaluate(:")


def test_a_sum_beyond_the_floats_is_folded_too() -> None:
    """An integer that no float holds, plus a float, is a number like others."""
    assert conditions.demanded(f"x = {10**400} + 1.5") == [float("inf")]


@pytest.mark.parametrize(
    ("check", "condition"),
    [
        ("def evaluate():\n    return status() != 'open'", "status() != 'open'"),
        ("def evaluate():\n    return 'x' not in notes()", "'x' not in notes()"),
        ("def evaluate():\n    return status() != 'open' and price() == 3", ""),
        ("def evaluate():\n    return True", ""),
    ],
)
def test_a_check_that_only_excludes_values_is_found(check: str, condition: str) -> None:
    """It has conditions, and each says what must not be."""
    assert conditions.only_excluded(check) == condition
