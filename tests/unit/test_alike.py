"""Programs that treat several values in the same way, and operations that combine results without a tool."""

import ast
import random
from collections import Counter

import pytest
from weather import TOOLS, material, walk

from sca_cli.methods.compose import alike, in_words, operations
from sca_cli.methods.compose.composer import Coverage, Unfit
from sca_cli.methods.compose.links import links
from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.operations import Operation
from sca_cli.methods.compose.steps import Literal, Step, Use, pairs, program
from sca_cli.records import Observation


def programs(made: Material, size: int, count: int = 300) -> list[list[Step]]:
    """Draw programs of a size; those that do not fit are left out."""
    draw, coverage, ways = random.Random(0), Coverage(2), links(made)
    found = []
    for _ in range(count):
        try:
            found.append(alike.composed(made, ways, made.worlds[0], size, coverage, draw))
        except Unfit:
            continue
    return found


def calls(steps: list[Step]) -> list[Step]:
    """Return the steps that are calls."""
    return [step for step in steps if not isinstance(step.tool, Operation)]


@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_branches_come_together(size: int) -> None:
    """A program has the requested number of calls and uses every result; most repeat a tool, and no branch writes."""
    found = programs(material(), size)
    assert len(found) > 20
    for steps in found:
        assert len(calls(steps)) == size
        assert all(step in calls(steps) for step in steps[:-1])
        assert not any(step.tool.writes for step in steps if size < 4)
        used = {id(use.step) for step in steps for _, _, use in step.uses()}
        assert used == {id(step) for step in steps[:-1]}
        assert max(len(list(step.uses())) for step in steps) > 1
        ast.parse(program(steps))
    repeated = sum(max(Counter(step.tool.name for step in steps).values()) > 1 for steps in found)
    assert repeated > len(found) / 2


def test_results_are_put_together_by_calls_and_by_operations() -> None:
    """Programs of three calls combine two results in a third call, or three results in an operation."""
    found = programs(material(), 3)
    assert {len(calls(steps)) for steps in found if isinstance(steps[-1].tool, Operation)} == {3}
    by_call = [steps for steps in found if not isinstance(steps[-1].tool, Operation)]
    assert by_call and all(steps[-1].tool.name == "largest" for steps in by_call)


def test_what_is_put_together_is_of_one_type() -> None:
    """Numbers are added up, texts are written one after the other; of an object one part is taken."""
    found = [steps for steps in programs(material(), 2) if isinstance(steps[-1].tool, Operation)]
    for steps in found:
        texts = steps[-1].tool.returns == "str"
        for _, _, use in steps[-1].uses():
            returns = use.step.tool.returns if use.access == "@" else {"@['station']": "str"}.get(use.access, "float")
            assert use.access in ("@", "@['station']", "@['rain']", '@["it\'s"]', "@['hours'][0]")
            assert texts == (returns == "str" or "it's" in use.access)
    assert {steps[-1].tool.name for steps in found} == {
        "sum of results",
        "difference of results",
        "results one after the other",
    }


@pytest.mark.parametrize("size", [2, 3, 5])
def test_what_cannot_be_put_together_is_said(size: int) -> None:
    """A tool set with one reading tool and only single values as results raises `Unfit` with the reason."""
    made = material(walk(Observation(tool="close", args=["Oslo"], writes=True)))
    del made.tools["nearest"], made.tools["mean_rain"], made.tools["largest"]
    for seed in range(20):
        with pytest.raises(Unfit, match="nothing to put together"):
            alike.composed(made, links(made), made.worlds[0], size, Coverage(2), random.Random(seed))


NEAR, VOSS = (Step(TOOLS["nearest"], {"city": [Literal(city)]}) for city in ("Bergen", "Voss"))
RAIN, DRY = (Step(TOOLS["report"], {"station": [Use(step)], "day": [Literal(3)]}) for step in (NEAR, VOSS))


def put_together(operation: Operation, *results: Use) -> Step:
    """Return the step of an operation."""
    return Step(operation, {name: [use] for name, use in zip(operation.parameters["properties"], results, strict=True)})


def operation(taken: type, count: int, name: str, words: str = "") -> Operation:
    """Draw until it is the one."""
    draw = random.Random(0)
    return next(
        drawn
        for drawn in (operations.draw_one(taken, count, draw) for _ in range(100))
        if drawn.name == name and words in drawn.sentences[0]
    )


def test_an_operation_is_no_call() -> None:
    """It reads as Python, and its pairs are none of tools."""
    taken = operation(float, 2, "difference of results")
    steps = [NEAR, RAIN, VOSS, DRY, put_together(taken, Use(RAIN, "@['rain']"), Use(DRY, "@['rain']"))]
    assert program(steps).splitlines()[-2:] == ["step5 = step2['rain'] - step4['rain']", "final_answer(step5)"]
    assert pairs(steps) == {("nearest", "report")}
    assert in_words.depth(steps) == 2


def test_an_operation_has_fixed_words() -> None:
    """As a sentence it names results by their place, as a question by phrases; the order is that of the program."""
    taken = operation(float, 2, "difference of results")
    steps = [NEAR, RAIN, VOSS, DRY, put_together(taken, Use(RAIN, "@['rain']"), Use(DRY, "@['rain']"))]
    assert (
        in_words.operation(steps, 4, 0) == "Take the 'rain' of that result away from the 'rain' of the second result."
    )
    assert in_words.can_be_nested(steps)
    phrases = ["the station near Bergen", "the report of that result on day 3"]
    assert in_words.nested(steps, [*phrases, "the station near Voss", phrases[1], ""], "@", 0) == (
        "By how much is the 'rain' of the report of the station near Bergen on day 3 "
        "larger than the 'rain' of the report of the station near Voss on day 3?"
    )


def test_braces_in_a_phrase_are_only_braces() -> None:
    """A model writes them; they are no places to fill in."""
    taken = operation(float, 2, "sum of results")
    assert taken.question(["the largest of {3, 4}", "the {x} of {0}"], 0) == (
        "What is the sum of the largest of {3, 4} and the {x} of {0}?"
    )


def test_texts_are_written_with_what_stands_between_them() -> None:
    """Three of them, with a sign that the words name."""
    taken = operation(str, 3, "results one after the other", "slash")
    steps = [NEAR, VOSS, RAIN, put_together(taken, Use(NEAR), Use(VOSS), Use(RAIN, "@['station']"))]
    assert "step4 = step1 + '/' + step2 + '/' + step3['station']" in program(steps)
    assert in_words.operation(steps, 3, 0) == (
        "Write the first result, the second result and the 'station' of that result one after the other, "
        "with a slash '/' between them."
    )
