"""Composed calls in words: what the model is shown, and which sentences will do."""

import pytest
from weather import TOOLS

from sca_cli.methods.compose import in_words
from sca_cli.methods.compose.steps import Literal, Step, Use
from sca_cli.methods.questions import first_sentence, phrase_problem, step_problem

NEAR = Step(TOOLS["nearest"], {"city": [Literal("Bergen")]})
REPORT = Step(TOOLS["report"], {"station": [Use(NEAR)], "day": [Literal(3)]})
MOST = Step(TOOLS["largest"], {"numbers": [Use(REPORT, "@['rain']"), Literal(7), Use(NEAR)]})
STEPS = [NEAR, REPORT, MOST]


def test_calls_are_shown_with_names_and_references() -> None:
    """The result before is `that result`, an earlier one has a number, and a part is named by its key."""
    assert [in_words.call(STEPS, place) for place in range(3)] == [
        "nearest(city='Bergen')",
        "report(station=that result, day=3)",
        "largest(the 'rain' of that result, 7, the first result)",
    ]
    assert [in_words.mentioned(STEPS, place) for place in range(3)] == [
        [],
        ["that result"],
        ["that result", "the first result"],
    ]


def test_what_must_be_said() -> None:
    """A first argument of a fixed number goes without saying; another one, one of many, or a part does not."""
    assert [in_words.references(STEPS, place) for place in range(3)] == [
        [],
        [],
        ["that result", "the first result", "rain"],
    ]
    second = Step(TOOLS["report"], {"station": [Literal("Bergen")], "day": [Use(NEAR)]})
    assert in_words.references([NEAR, second], 1) == ["that result"]
    part = Step(TOOLS["report"], {"station": [Use(REPORT, "@['station']")], "day": [Literal(1)]})
    assert in_words.references([REPORT, part], 1) == ["station"]


@pytest.mark.parametrize(
    ("access", "said"),
    [
        ("@['rain']", "the 'rain' of that result"),
        ("@['days'][0]", "the first of the 'days' of that result"),
        ("@['days'][0]['rain']", "the 'rain' of the first of the 'days' of that result"),
        ('@["it\'s"]', 'the "it\'s" of that result'),
        ("*@", "all of that result"),
        ("*[item['rain'] for item in @]", "every 'rain' of that result"),
    ],
)
def test_parts_of_results_are_said(access: str, said: str) -> None:
    """The phrase of a part names the innermost key first, in any style of quotation marks."""
    steps = [REPORT, Step(TOOLS["largest"], {"numbers": [Use(REPORT, access)]})]
    assert in_words.call(steps, 1) == f"largest({said})"


def test_a_part_of_the_last_result_is_asked_for() -> None:
    """If the whole result is the answer, nothing is added."""
    assert list(in_words.part("@['hours'][0]")) == ["Answer with the first of the 'hours' of that result."]
    assert list(in_words.part("@")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Get the report of that result for day 3.", ""),
        ("Say what was measured at that result on day 3", ""),
        ("Get the report of that result.", "leaves a fact out"),
        ("Get the report of the station for day 3.", "leaves out the earlier result"),
        ("Get the report of that result for days 3 to 14.", "adds a figure"),
        ("Get the report of that result for day 3 at 'noon'.", "adds a name"),
        ("Get the report of that result for 'day' 3.", ""),
        ("Get the report of that result.\nDay 3.", "more than a sentence"),
        ('Get the report of "that result on day 3.', "leaves a quotation open"),
        ("Take that result and 3 and go on.", "does not ask for report"),
    ],
)
def test_sentences_are_judged(text: str, problem: str) -> None:
    """A sentence has all facts and references of its call, nothing else, and a word of what the tool does."""
    assert step_problem(text, in_words.call(STEPS, 1), [3], ["that result"], REPORT.tool) == problem


def test_a_number_is_named_as_often_as_it_is_given() -> None:
    """A sum without one of its numbers is another sum."""
    large = Step(TOOLS["largest"], {"numbers": [Literal(3), Literal(4), Literal(3)]})
    shown = in_words.call([large], 0)
    assert step_problem("Find the largest of 3, 4 and 3.", shown, [3, 4, 3], [], large.tool) == ""
    assert step_problem("Find the largest of 3 and 4.", shown, [3, 4, 3], [], large.tool) == "leaves a fact out"


def test_phrases_are_put_into_each_other() -> None:
    """Every result is named by what it is, the part that a step takes of it included."""
    taken = Step(TOOLS["largest"], {"numbers": [Use(REPORT, "@['rain']"), Literal(7)]})
    steps = [NEAR, REPORT, taken]
    assert in_words.can_be_nested(steps)
    phrases = [
        "the station nearest to Bergen",
        "the report of that result on day 3",
        "the largest of 7 and the 'rain' of that result",
    ]
    assert in_words.nested(steps, phrases, "@", 0) == (
        "What is the largest of 7 and the 'rain' of the report of the station nearest to Bergen on day 3?"
    )
    assert in_words.nested(steps[:2], phrases[:2], "@['rain']", 1) == (
        "Find the 'rain' of the report of the station nearest to Bergen on day 3."
    )


def test_two_branches_come_together() -> None:
    """`the first result` and `that result` are each replaced by their own phrase, even if a phrase contains the words
    of the other.
    """
    voss = Step(TOOLS["nearest"], {"city": [Literal("Voss")]})
    both = Step(TOOLS["largest"], {"numbers": [Use(NEAR), Use(voss)]})
    phrases = [
        "the station of that result street",
        "the station of Voss",
        "the larger of that result and the first result",
    ]
    assert in_words.nested([NEAR, voss, both], phrases, "@", 0) == (
        "What is the larger of the station of Voss and the station of that result street?"
    )


def test_a_result_that_goes_into_two_calls_is_not_nested() -> None:
    """A result that two calls use is not nested, because its phrase would occur twice; neither are calls that write."""
    assert not in_words.can_be_nested(STEPS)
    assert in_words.can_be_nested(STEPS[:2])
    assert not in_words.can_be_nested(
        [NEAR, Step(TOOLS["report"], {"station": [Literal("Voss")], "day": [Literal(3)]})]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("the report of that result for day 3", ""),
        ("all of the report of that result for day 3", ""),
        ("Report of that result for day 3", "is no noun phrase"),
        ("the report of that result for day 3.", "is no noun phrase"),
        ("the report is that result. It is of day 3", "is no noun phrase"),
        ("the report of day 3 of that result, near that result", "names an earlier result twice"),
        ("the report of the station for day 3", "leaves out the earlier result"),
        ("the report of that result", "leaves a fact out"),
        ("the report is of that result on day 3", "is no noun phrase"),
        ("the report that is of that result and of day 3", ""),
        ("the", "is no noun phrase"),
        ("", "is no noun phrase"),
    ],
)
def test_phrases_are_judged(text: str, problem: str) -> None:
    """A phrase can be put into another: it begins with an article, ends without a stop, and refers once."""
    assert phrase_problem(text, in_words.call(STEPS, 1), [3], ["that result"], REPORT.tool) == problem


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Find it. Always.", "Find it"),
        ("Find it\nquickly: now", "Find it quickly"),
        ("Of 2.5 metres\n\nArgs: none", "Of 2.5 metres"),
        ("One word", "One word"),
    ],
)
def test_the_first_sentence_is_found(text: str, first: str) -> None:
    """It ends with a full stop, a colon or an empty line, but not within a number."""
    assert first_sentence(text) == first
