"""Instructions without a model: they name every value, vary, and pass the checks that a model's texts must pass."""

import random

import pytest
from weather import TOOLS

from sca_cli.analysis import source
from sca_cli.interfaces import describe_tool
from sca_cli.methods.compose import in_words, machine_words
from sca_cli.methods.compose.steps import Literal, Step, Use, program
from sca_cli.methods.questions import instruction_problem, phrase_problem, step_problem


def convert(price: float, rate: float) -> float:
    """Convert a price to another currency: price times rate.

    Args:
        price: the price, at least 0.
        rate: units of the new currency for one unit of the old.
    """
    return price * rate


def string_length(s: str) -> int:
    """Return the number of characters of a string, spaces included.

    Args:
        s: the string to measure.
    """
    return len(s)


def find_flights(from_city: str, to_city: str, date: str, discount: float) -> list[str]:
    """List the direct flights of one day, by departure.

    Args:
        discount: in per cent.
    """
    return [from_city, to_city, date, str(discount)]


CONVERT, LENGTH, FLIGHTS = map(describe_tool, (convert, string_length, find_flights))
ALONE = [
    Step(CONVERT, {"price": [Literal(1250)], "rate": [Literal(1.08)]}),
    Step(LENGTH, {"s": [Literal("amber train")]}),
    Step(FLIGHTS, {"from_city": [Literal("Oslo")], "to_city": [Literal("Rome")], "date": [Literal("2025-09-03")],
                   "discount": [Literal(15)]}),
    Step(TOOLS["mean_rain"], {"station": [Literal("Oslo Airport")], "month": [Literal("June")]}),
    Step(TOOLS["largest"], {"numbers": [Literal(3), Literal(12.5), Literal(7)]}),
]  # fmt: skip


def texts(steps: list[Step], place: int, form: str) -> set[str]:
    """Return many texts for a call."""
    write = getattr(machine_words, form)
    return {write(steps, place, random.Random(seed)) for seed in range(60)}


@pytest.mark.parametrize("step", ALONE, ids=lambda step: step.tool.name)
def test_questions_name_every_value_and_vary(step: Step) -> None:
    """Sixty draws give many questions, and most of them have no problem that a model's question may not have."""
    written = texts([step], 0, "question")
    facts = source.literals(source.parse(program([step])))
    call = in_words.call([step], 0)
    good = [
        text
        for text in written
        if step_problem(text, call, facts, [], step.tool) in ("", f"does not ask for {step.tool.name}")
        and not instruction_problem(text, facts, "no answer", [])
    ]
    assert len(good) >= 10
    assert len(good) >= 0.7 * len(written), sorted(written - set(good))


def test_a_number_of_things_is_asked_for_by_how_many() -> None:
    """The documentation's "the number of characters of a string" becomes a question of people."""
    assert any(text.startswith("How many ") and "amber train" in text for text in texts([ALONE[1]], 0, "question"))


def test_prepositions_come_from_the_parameters_names() -> None:
    """`from_city`, `to_city` and `date` are put as people put them, and a rate in per cent has its unit."""
    written = texts([ALONE[2]], 0, "sentence")
    assert all("from Oslo to Rome on 2025-09-03" in text for text in written)
    assert all(any(unit in text for unit in ("15 per cent", "15 %", "15%", "15 percent")) for text in written)


def test_large_numbers_are_written_in_both_ways() -> None:
    """An agent has to read 1250 and 1,250."""
    written = texts([ALONE[0]], 0, "question")
    assert any("1,250" in text for text in written) and any("1250" in text for text in written)


def test_sentences_and_phrases_name_earlier_results() -> None:
    """A sentence names the earlier result that it uses, and a phrase can be inserted into a later one."""
    steps = [ALONE[1], Step(CONVERT, {"price": [Use(ALONE[1])], "rate": [Literal(2)]})]
    call = in_words.call(steps, 1)
    assert all("that result" in text for text in texts(steps, 1, "sentence"))
    phrases = texts(steps, 1, "phrase")
    good = [text for text in phrases if not phrase_problem(text, call, [2], ["that result"], CONVERT)]
    assert len(good) >= 0.7 * len(phrases)
    assert any(text.startswith("the result of converting that result to another currency") for text in good)


def test_context_adds_sentences_and_changes_nothing_else() -> None:
    """The instruction stays whole; short programs get more sentences than long ones, and the seed decides."""
    asked = "What is the largest of 3 and 4?"
    by_calls = {}
    for calls in (1, 2, 3, 7):
        written = [machine_words.in_context(asked, calls, seed) for seed in range(200)]
        assert all(asked in text for text in written)
        by_calls[calls] = sum(len(text) for text in written)
    assert by_calls[1] > by_calls[2] > by_calls[3] == by_calls[7]
    assert machine_words.in_context(asked, 1, 5) == machine_words.in_context(asked, 1, 5)


@pytest.mark.parametrize(
    ("verb", "gerund"), [("decode", "decoding"), ("get", "getting"), ("count", "counting"), ("show", "showing")]
)
def test_gerunds_are_spelt(verb: str, gerund: str) -> None:
    """A silent e goes, a short last syllable doubles its consonant."""
    assert machine_words._gerund(verb) == gerund


def test_documentation_in_the_third_person_is_a_request_too() -> None:
    """ "Converts a price" asks to convert a price."""

    def exchange(price: float) -> float:
        """Converts a price."""
        return price

    tool = describe_tool(exchange)
    written = texts([Step(tool, {"price": [Literal(9)]})], 0, "question")
    assert not [text for text in written if "onverts" in text]
    assert any(text.startswith("Convert a price of 9") for text in written)
