"""The form that a solution gives its answer is taken off, and looked for in the instruction."""

import pytest

from sca_cli.analysis import answer_format, source


@pytest.mark.parametrize(
    ("answer", "bare", "taken"),
    [
        ("round(100 * share(), 1)", "100 * share()", ["rounding"]),
        ("'[' + decode(x).upper() + ']'", "decode(x)", ["]", "[", "case"]),
        ("f'{duty():.2f} EUR'", "duty()", ["rounding", "  EUR"]),
        ("'$ ' + f'{duty:.2f}'.replace('.', ',')", "duty", ["$ ", ",", "rounding"]),
        ("'%.1f inh./km2' % density", "density", ["rounding", " inh./km2"]),
        ("[round(x, 2), y.title()]", "[x, y]", ["rounding", "case"]),
        ("{'sum': round(x)}", "{'sum': x}", ["rounding"]),
        ("str(round(x))", "x", ["rounding"]),
        ("answer=round(x)", "answer=x", ["rounding"]),
        ("'{:.2f} EUR'.format(x)", "x", ["rounding", "EUR"]),
    ],
)
def test_a_value_is_left_without_its_form(answer: str, bare: str, taken: list[str]) -> None:
    """The format is removed from a value, at any place in the answer, and only from values."""
    text, found = answer_format.without_form(f"final_answer({answer})")
    assert text == f"final_answer({bare})"
    assert sorted(form.strip() for form in found) == sorted(form.strip() for form in taken)


@pytest.mark.parametrize("answer", ["x", "f'{a}, {b}'", "'%s and %s' % (a, b)", "count(a) + count(b)", "'yes'"])
def test_what_is_made_of_several_values_stays(answer: str) -> None:
    """Nor is there a form where a value is answered as it is."""
    assert answer_format.without_form(f"final_answer({answer})") == ("", [])


def test_a_form_given_before_is_found() -> None:
    """A value that is named for the answer only loses it where it is named: nothing is read later than it was."""
    text, taken = answer_format.without_form("shown = round(read(), 2)\nwrite()\nfinal_answer(shown)")
    assert taken == ["rounding"]
    assert text == "shown = read()\nwrite()\nfinal_answer(shown)"
    assert answer_format.without_form("shown = round(read(), 2)\nif shown > 2:\n    final_answer(shown)") == ("", [])


@pytest.mark.parametrize(
    ("form", "instruction", "told"),
    [
        ("rounding", "What is the mean, to two decimals?", True),
        ("rounding", "What is the mean?", False),
        ("case", "Shout the word in capitals.", True),
        ("case", "Shout the word.", False),
        (" EUR", "How much is it in EUR?", True),
        (" inh./km2", "How many people live on a square kilometre?", False),
    ],
)
def test_a_form_is_told_in_words_or_as_it_is(form: str, instruction: str, told: bool) -> None:
    """Rounding and case have words of their own; of other texts every word and mark is looked for."""
    assert answer_format.is_requested(form, instruction) is told


def test_what_is_no_program_has_no_form() -> None:
    """As everywhere in the examination of sources."""
    with pytest.raises(source.NotPython):
        answer_format.without_form("final_answer(")
