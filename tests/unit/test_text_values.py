"""What a text tells, in whatever form: numbers, words, dates, and when two values say the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca_cli.analysis import text_values

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=3), part, max_size=3),
)


@given(VALUES)
def test_alike_is_reflexive(value: Any) -> None:
    """Every value says the same as itself."""
    assert text_values.alike(value, value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (100, 101.5, True),
        (100, 103, False),
        (-100, 100, False),
        (0, 0.05, True),
        ("New York", "new-york", True),
        ("New York", "Newark", False),
        ([1, "a"], [1, "A"], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1.01}, True),
        ({"a": 1}, {"b": 1}, False),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        ("1", 1, True),
        ("1", 2, False),
        (None, None, True),
        (None, 0, False),
        ([], {}, False),
    ],
)
def test_alike_forgives_rounding_and_spelling_only(one: Any, other: Any, same: bool) -> None:
    """Numbers within two per cent, and texts with the same letters and digits, count as equal; types and order
    matter.
    """
    assert text_values.alike(one, other) is same


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from 3 to -4.5", [3, -4.5]),
        ("1,234,567.89 in all", [1234567.89]),
        ("1e-3, 2e5", [0.001, 200000]),
        ("version 1.2.3", [1.2]),
        ("B52 bombers", []),
        ("none", []),
    ],
)
def test_numbers_are_read_from_figures(text: str, found: list[float]) -> None:
    """Signs, thousands and exponents are read; a figure inside a word is none."""
    assert text_values.numbers(text) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, []),
        (True, []),
        (7, []),
        (7.0, []),
        (43, ["43"]),
        (43.0, ["43"]),
        (-12, ["-12"]),
        (1.5, ["1.5"]),
        ("ab", []),
        (" Eve ", ["Eve"]),
        (["Eve", 43, {"a": "Bob", "b": 2}], ["Eve", "43", "Bob"]),
    ],
)
def test_texts_are_what_somebody_could_recognise(value: Any, found: list[str]) -> None:
    """Truths, single digits and scraps of text prove nothing where they are found."""
    assert text_values.texts(value) == found


@pytest.mark.parametrize(
    ("told", "text", "found"),
    [
        ("It is Ann1, they say", "ann1", True),
        ("It is Ann12", "Ann1", False),
        ("(a+b) * c", "(a+b)", True),
        ("It costs 1,250 dollars", "1250", True),
        ("It costs 12.35", "12.36", False),
        ("It costs 12.35", "12.3499", True),
        ("It costs 12", "12.35", False),
        ("Flight 430", "43", False),
        ("", "43", False),
    ],
)
def test_mentions_are_whole(told: str, text: str, found: bool) -> None:
    """A word inside another is not mentioned; a number is, however it is written."""
    assert text_values.mentions(told, text) is found


@given(st.text(), st.text(), st.integers(10, 10**9))
def test_what_stands_between_blanks_is_mentioned(before: str, after: str, number: int) -> None:
    """A number between blanks is found in any text."""
    assert text_values.mentions(f"{before} {number} {after}", str(number))


INSTRUCTION = "Book three seats on 12 March for Ann Lee at $1,250 with 15% off; send it to ann_lee_77"


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (1250, True),
        (1251, False),
        ("$1,250", True),
        (3, True),
        (4, False),
        (0.15, True),
        (0.85, True),
        (1.15, True),
        (0.25, False),
        (100, True),
        ("ann lee", True),
        ("Ann-Lee", True),
        ("Bob", False),
        ("2024-03-12", True),
        ("2024-03-13", False),
        ("2024-04-12", False),
        ("ann_lee_77", True),
        ("economy", True),
        ("business", False),
        (640, True),
        ("F-17", True),
        (-640, True),
        (2, True),
        ("15 + 640 * 3", True),
        ("15 + 641 * 3", False),
        (88, False),
        ("88", False),
    ],
)
def test_known_is_what_was_told_in_any_form(value: Any, known: bool) -> None:
    """Figures, words for numbers, percentages, dates and names are held from the instruction, from results, and
    words (but no numbers) from documentation.
    """
    told = text_values.KnownValues(INSTRUCTION, [[{"cost": 640, "flight": "F-17"}]], ["One of economy; at most 88."])
    assert told.holds(value) is (known or (value == "88"))


@given(st.text(), st.text(min_size=1))
def test_a_text_told_is_known(around: str, text: str) -> None:
    """Every literal part of the instruction counts as known."""
    assert text_values.KnownValues(f"{around} {text} {around}", []).holds(text)


def test_what_a_model_wrote_cannot_break_the_look_at_it() -> None:
    """Numbers too large for a float are compared as infinite, and a month that does not exist is no date."""
    known = text_values.KnownValues("Pay 12 euros in May.", [])
    assert not known.holds(10**400) and not known.holds(-(10**400))
    assert not known.holds("2025-13-12") and not known.holds("2025-00-12")
    assert text_values.alike(10**400, 10**400) and not text_values.alike(10**400, 12)


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("It is two hundred and four.", "It is 204."),
        ("a thousand?", "1000?"),
        ("six ewes and eight rams", "6 ewes and 8 rams"),
        ("Twenty-five hundred", "2500"),
        ("three thousand and twelve", "3012"),
        ("a weight of tens", "a weight of tens"),
        ("fifty-nine point nine", "59.9"),
        ("minus three point one four", "-3.14"),
        ("twelve and a half", "12.5"),
        ("two dozen", "24"),
        ("at that point one left", "at that point 1 left"),
    ],
)
def test_numbers_in_words_are_read(text: str, figures: str) -> None:
    """Numbers in words are replaced by figures, and the rest of the text stays."""
    assert text_values.in_figures(text) == figures


@pytest.mark.parametrize(
    ("value", "told", "said"),
    [
        ({"A": 2, "C": 1, "T": 4}, "In the lab's notation: {'A': 2, 'C': 1, 'T': 4}.", True),
        ([8, 9, 10], "I'd say 8, 9 and 10 o'clock.", True),
        (["A5", "B1", "C2"], "Format: ['A5', 'B1', 'C2'].", True),
        ([8, 9, 10], "From 6 to 18, at 2.5 or more, for 10 and 9 and 8.", False),
        ([8, 9, 10], "I'd say 8, 9 and 100.", False),
        ([8, 9], "8 and 9", False),
        ([[8], 9, 10], "8, 9 and 10", False),
        ("8, 9, 10", "8, 9, 10", False),
        (None, "", False),
    ],
)
def test_what_is_listed_is_found(value: Any, told: str, said: bool) -> None:
    """All parts in their order, with nothing but signs and `and` between them; two of them may be chance."""
    assert text_values.lists(told, value) is said
