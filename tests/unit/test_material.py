"""The material of successful calls, and the arguments that are drawn from it."""

import random
from typing import Any

import pytest
from weather import CALLS, ENV, TOOLS, material, walk

from sca_cli.analysis.calls import bound
from sca_cli.methods.compose import material as module
from sca_cli.methods.compose.material import CALLS_KEPT, WORLDS_KEPT, short
from sca_cli.records import Check, ErrorNote, Observation, Task, Verdict

REFUSED = [
    Observation(tool="nearest", args=["Nowhere"], error="no such city"),
    Observation(tool="close", args=["Elsewhere"], refused=True, writes=True),
    Observation(tool="unheard_of", args=["Neverland"], result="x"),
]


def drawn(name: str, made: Any, times: int = 200) -> list[dict[str, Any]]:
    """Return many drawings of arguments for a tool."""
    draw = random.Random(1)
    return [made.arguments(TOOLS[name], made.worlds[0], draw) for _ in range(times)]


def test_what_was_refused_is_never_used() -> None:
    """Values of refused calls, of calls that a check refused and of tools that are none here do not occur."""
    made = material(walk(*CALLS, *REFUSED))
    text = repr([drawn(name, made) for name in TOOLS]) + repr(made.worlds) + repr(made.calls("nearest"))
    assert "Bergen" in text
    assert not any(name in text for name in ("Nowhere", "Elsewhere", "Neverland"))


def test_only_refused_calls_leave_nothing_to_draw_from() -> None:
    """A value that is needed and was never seen is an error, not a guess."""
    made = material(walk(*REFUSED))
    with pytest.raises(LookupError):
        made.arguments(TOOLS["nearest"], made.worlds[0], random.Random(0))


def test_memory_does_not_grow_with_the_stream() -> None:
    """Calls and worlds are kept up to a number, the same call once; messages are not kept."""
    walks = [walk(Observation(tool="nearest", args=[f"City {seed}"], result="x"), CALLS[1], seed=seed)
             for seed in range(CALLS_KEPT + 50)]  # fmt: skip
    made = material(*walks)
    assert len(made.calls("nearest")) == CALLS_KEPT
    assert len(made.calls("mean_rain")) == 1
    assert len(made.worlds) == WORLDS_KEPT
    assert not any(world.messages for world in made.worlds)
    assert len(made.results("nearest")) == 5


def test_arguments_are_seen_ones_and_drawn_again() -> None:
    """Texts are observed ones, sometimes joined; numbers have a similar size; an enum gives only its values."""
    stations = {given["station"] for given in drawn("mean_rain", material())}
    assert "Bergen Airport" in stations
    assert "Bergen Airport Oslo" in stations
    assert {given["month"] for given in drawn("mean_rain", material())} == {"May", "June"}
    days = {given.get("day") for given in drawn("report", material())}
    assert len(days) > 3
    assert all(isinstance(day, int) and 1 <= day <= 80 for day in days)
    numbers = {number for given in drawn("largest", material()) for number in given["numbers"]}
    assert len(numbers) > 20
    assert all(3 <= number <= 80 for number in numbers)
    assert all(round(number, 2) == number for number in numbers)


def test_texts_are_made_of_the_words_or_letters_of_others() -> None:
    """A reading tool gets recombined words or letters; a writing tool gets observed texts, or two of them joined."""
    made = material(walk(*CALLS, Observation(tool="nearest", args=["Oslo City Hall"], result="x")))
    cities = {given["city"] for given in drawn("nearest", made)}
    assert any(set(city) <= set("Bergen") and city != "Bergen" for city in cities)
    assert any(
        set(city.split()) <= {"Oslo", "City", "Hall"} and city.split() != ["Oslo", "City", "Hall"] for city in cities
    )
    assert {given["station"] for given in drawn("close", material())} <= {
        first + between + second
        for first in ("Oslo", "Bergen Airport", "Blindern", "Bergen", "May", "x")
        for between in ("", " ")
        for second in ("", "Oslo", "Bergen Airport")
    }


@pytest.mark.parametrize("value", [0, -5, 7, 0.0, -2.5, 1e20, 1e-9, 3.14159265])
def test_numbers_are_drawn_anew_about_as_large(value: float) -> None:
    """Sign and magnitude stay, and a whole number stays whole; truths and texts stay as they are."""
    draw = random.Random(2)
    for _ in range(50):
        again = module.varied(value, draw)
        assert type(again) is type(value)
        assert min(value / 2, value * 2) - 1 <= again <= max(value / 2, value * 2, 3)
    assert [module.varied(other, draw) for other in (True, "7", None)] == [True, "7", None]


def test_an_argument_that_was_left_out_may_stay_so() -> None:
    """An optional parameter is given where a call gave it, and a required one always."""
    calls = [Observation(tool="report", args=["Oslo"], result={}), CALLS[3]]
    assert {frozenset(given) for given in drawn("report", material(walk(*calls)))} == {
        frozenset({"station"}),
        frozenset({"station", "day"}),
    }


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (CALLS[2], {"numbers": [12.5, 7, 40]}),
        (CALLS[3], {"station": "Oslo", "day": 3}),
        (Observation(tool="report", kwargs={"day": 2, "station": "Oslo"}), {"station": "Oslo", "day": 2}),
    ],
)
def test_arguments_are_bound_to_their_parameters(call: Observation, given: dict[str, Any]) -> None:
    """Positional, named and any number of arguments are found by the parameter's name."""
    assert bound(TOOLS[call.tool], call) == given


def test_long_values_are_not_for_questions() -> None:
    """120 characters are the most, quotes included."""
    assert short("x" * 118)
    assert not short("x" * 119)


@pytest.mark.parametrize(
    ("verdict", "error", "counts"),
    [
        (Verdict(passed=True, stage="kept", checks=[Check(name="solution", outcome="pass", calls=CALLS)]), None, True),
        (
            Verdict(passed=False, stage="no-op", checks=[Check(name="solution", outcome="pass", calls=CALLS)]),
            None,
            False,
        ),
        (None, None, False),
        (
            Verdict(passed=True, stage="kept", checks=[Check(name="solution", outcome="pass", calls=CALLS)]),
            ErrorNote(boundary="task", message="m"),
            False,
        ),
    ],
)
def test_only_tasks_that_were_kept_count(verdict: Verdict | None, error: ErrorNote | None, counts: bool) -> None:
    """The calls of a solution that was proven are taken; those of a rejected or unverified task are not."""
    made = material(walk())
    made.add(Task(env=ENV, instruction="i", evaluate="e", verdict=verdict, error=error))
    assert bool(made.calls("nearest")) is counts
