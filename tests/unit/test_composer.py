"""Programs put together by type: what feeds what, in what shares, and how they read."""

import ast
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from weather import CALLS, TOOLS, material, walk

from sca_cli.methods.compose.composer import Coverage, Unfit, composed, feed
from sca_cli.methods.compose.links import Link, links, parts
from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.steps import Literal, Step, Use, copied, pairs, program
from sca_cli.methods.compose.wrong_branches import wrong_branches
from sca_cli.records import Observation


def programs(made: Material, size: int, count: int = 200, seed: int = 0) -> list[list[Step]]:
    """Draw programs of a size; those that do not fit are left out."""
    draw, coverage, ways = random.Random(seed), Coverage(2), links(made)
    found = []
    for _ in range(count):
        try:
            found.append(composed(made, ways, made.worlds[0], size, coverage, draw))
        except Unfit:
            continue
        coverage.add(found[-1])
    return found


def step(name: str, **given: object) -> Step:
    """Return a call; what is no `Use` is a literal."""
    return Step(
        TOOLS[name], {key: [value if isinstance(value, Use) else Literal(value)] for key, value in given.items()}
    )


# ---------------------------------------------------------------- material


def test_a_tool_that_always_returns_the_same_is_found_out() -> None:
    """A reading tool is found after two different calls with the same result, unless another result occurs."""
    made = material()
    note = [Observation(tool="note", args=[text], result="noted") for text in ("a", "b", "c")]
    assert made.tells_nothing(note[:1]) == ""
    assert made.tells_nothing(note[:1]) == ""
    assert made.tells_nothing([Observation(tool="largest", args=[1, 2], result=2), note[1]]) == "note"
    note[2].result = "the notebook is full"
    assert made.tells_nothing(note[2:]) == ""
    assert made.tells_nothing(note[:1]) == ""
    rename = [Observation(tool="rename", args=[text], result="done", writes=True) for text in ("a", "b")]
    assert made.tells_nothing([*rename, *[Observation(tool="now", result="noon")] * 2]) == ""


# ---------------------------------------------------------------- links


def test_signatures_alone_tell_what_fits() -> None:
    """Signatures alone link texts to texts, numbers to lists of numbers, and writing tools to writing tools."""
    calls = [Observation(tool=call.tool, args=call.args, kwargs=call.kwargs) for call in CALLS]
    found = {(link.first, link.second, link.parameter) for link in links(material(walk(*calls)))}
    assert ("nearest", "mean_rain", "station") in found
    assert ("mean_rain", "largest", "numbers") in found
    assert ("rename", "close", "") in found
    assert ("close", "rename", "") in found
    assert ("nearest", "close", "") not in found
    assert ("mean_rain", "nearest", "city") not in found
    assert not any(first == "report" for first, _, _ in found)


def test_results_tell_what_lies_inside() -> None:
    """The keys of an object fit by their values; a value that was given before weighs more."""
    found = {link.access: link for link in links(material()) if link.pair == ("report", "mean_rain")}
    assert {access for access, link in found.items() if link.parameter == "station"} == {"@['station']", '@["it\'s"]'}
    weights = {link.access: link.weight for link in links(material()) if link.pair == ("report", "close")}
    assert weights == {"@['station']": 8, '@["it\'s"]': 1}


def test_a_whole_result_may_be_given_to_any_number_of_arguments() -> None:
    """The values of an object of numbers, or one key of a list of objects."""
    calls = [*CALLS[:3], Observation(tool="report", args=["Oslo"], result={"a": 1, "b": 2})]
    assert "*@.values()" in {link.access for link in links(material(walk(*calls))) if link.second == "largest"}
    calls[3].result = [{"rain": 1, "day": "x"}, {"rain": 2, "day": "y"}]
    found = {link.access for link in links(material(walk(*calls))) if link.second == "largest"}
    assert {access for access in found if access.startswith("*")} == {"*[item['rain'] for item in @]"}


def test_parts_of_a_result_are_found_by_key_and_first_place() -> None:
    """Three levels deep; a key that would be taken for the result itself is left out."""
    value = {"a": [{"b": 1}, 2], "@": 3, "c": {"d": {"e": {"f": 4}}}}
    assert [access for access, _ in parts(value)] == [
        "@['a']",
        "@['a'][0]",
        "@['a'][0]['b']",
        "@['c']",
        "@['c']['d']",
        "@['c']['d']['e']",
    ]
    assert all(eval(access.replace("@", repr(value))) == part for access, part in parts(value))


# ---------------------------------------------------------------- drawing


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_every_step_is_used_or_writes(size: int) -> None:
    """A program has the requested number of calls and uses only earlier results, and every step is used or writes."""
    found = programs(material(), size)
    assert len(found) > 20
    for steps in found:
        assert len(steps) == size
        used = {id(use.step) for each in steps for _, _, use in each.uses()}
        assert all(id(each) in used or each.tool.writes for each in steps[:-1])
        before: set[int] = set()
        for each in steps:
            assert {id(use.step) for _, _, use in each.uses()} <= before
            before.add(id(each))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_programs_are_python(size: int) -> None:
    """They parse, call a tool a line, and end in an answer."""
    for steps in programs(material(), size):
        tree = ast.parse(program(steps))
        assert len(tree.body) == size + 1
        called = [
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert called.count("final_answer") == 1
        assert sorted(called) == sorted([*(each.tool.name for each in steps), "final_answer"])


def test_a_result_among_others_is_not_pushed_out_by_a_whole_one() -> None:
    """Passing a whole result to `*args` is refused if it would replace the result of another step."""
    first = step("nearest", city="Bergen")
    taking = Step(TOOLS["largest"], {"numbers": [Use(first), Literal(3)]})
    with pytest.raises(Unfit):
        feed(
            taking,
            Link("report", "largest", "numbers", "*@.values()"),
            step("report", station="Oslo"),
            random.Random(0),
        )
    assert len(list(taking.uses())) == 1


def test_tools_alone_come_in_equal_shares() -> None:
    """Programs of one call: each tool as often."""
    counts = Counter(steps[0].tool.name for steps in programs(material(), 1, 60))
    assert set(counts) == set(TOOLS)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_pairs_covered_least_come_first() -> None:
    """Every pair that fits occurs before any occurs three times."""
    fitting = {link.pair for link in links(material())}
    counts = Counter(pair for steps in programs(material(), 2, len(fitting)) for pair in pairs(steps))
    assert set(counts) == fitting
    assert set(counts.values()) == {1}


def test_a_pair_that_comes_to_nothing_is_given_up() -> None:
    """One that is drawn again and again without success gives way to those that succeeded."""
    ways = [Link("a", "b", "x"), Link("b", "c", "x")]
    coverage, draw = Coverage(3), random.Random(0)
    coverage.occurred["b", "c"] = 1
    drawn = [coverage.draw(ways, draw).pair for _ in range(40)]
    assert set(drawn[:5]) == {("a", "b")}
    assert ("b", "c") in drawn


def test_a_pair_that_nobody_finds_words_for_is_given_up() -> None:
    """Programs that run and become no task weigh as tries do, though the count of those begins anew."""
    made = material()
    one, *_ = programs(made, 2, 1)
    coverage = Coverage(3)
    (pair,) = pairs(one)
    for _ in range(6):
        coverage.add(one)
        coverage.take_back(one)
    assert (coverage.occurred[pair], coverage.need(pair)) == (0, 2)


def test_nothing_to_compose_is_said() -> None:
    """No tool that takes what another returns, and no value like those needed."""
    made = material(walk(CALLS[0]))
    with pytest.raises(Unfit, match="no tool takes what another returns"):
        composed(made, [], made.worlds[0], 2, Coverage(1), random.Random(0))
    nothing = material(walk())
    nothing.tools = {"nearest": TOOLS["nearest"]}
    with pytest.raises(Unfit, match="no similar one is recorded"):
        composed(nothing, [], nothing.worlds[0], 1, Coverage(1), random.Random(0))
    long = material(walk(Observation(tool="nearest", args=["x" * 200], result="y" * 200)))
    long.tools = nothing.tools
    with pytest.raises(Unfit):
        composed(long, [], long.worlds[0], 1, Coverage(1), random.Random(1))


def test_the_same_seed_draws_the_same_under_any_hash_seed() -> None:
    """Two processes with different hash seeds print the same programs; another seed draws others."""
    told = [
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from test_composer import *\nfor steps in programs(material(), 3): print(program(steps))",
            ],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parent,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0].count(b"final_answer") > 50
    assert [program(steps) for steps in programs(material(), 3, seed=1)] != told[0].decode().splitlines()


# ---------------------------------------------------------------- text


def test_a_program_reads_as_one_would_write_it() -> None:
    """A line a step, arguments by place until one is left out, results by name, a part of the last one answered."""
    near = step("nearest", city="Bergen")
    report = step("report", station=Use(near), day=3)
    most = Step(TOOLS["largest"], {"numbers": [Use(report, "@['rain']"), Literal(7)]})
    assert program([near, report, most]) == (
        "step1 = nearest('Bergen')\nstep2 = report(step1, 3)\nstep3 = largest(step2['rain'], 7)\nfinal_answer(step3)"
    )
    assert program([near, report], answer="@['hours'][0]").endswith("final_answer(step2['hours'][0])")
    assert program([step("report", day=3)]).startswith("step1 = report(day=3)\n")


def test_a_step_alone_takes_nothing_from_others() -> None:
    """Its own values stay, and the step itself is as it was."""
    near = step("nearest", city="Bergen")
    report = step("report", station=Use(near), day=3)
    assert program([report.alone()]) == "step1 = report(3)\nfinal_answer(step1)"
    assert len(list(report.uses())) == 1


def test_a_copy_can_be_changed() -> None:
    """Steps of a copy use steps of the copy."""
    steps = programs(material(), 3)[0]
    again = copied(steps)
    assert program(again) == program(steps)
    assert {id(use.step) for each in again for _, _, use in each.uses()} <= set(map(id, again))
    again[0].arguments.clear()
    assert program(again) != program(steps)


# ---------------------------------------------------------------- wrong branches


def test_wrong_branches_of_a_program() -> None:
    """Each result answered too early, each step left out, neighbours swapped, and another value."""
    near = step("nearest", city="Bergen")
    rain = step("mean_rain", station=Use(near), month="May")
    made = material()
    found = list(wrong_branches([near, rain], "@", made, made.worlds[0], random.Random(0)))
    assert found[:4] == [
        ("intermediate", "step1 = nearest('Bergen')\nfinal_answer(step1)"),
        ("left out", "step1 = mean_rain('Bergen', 'May')\nfinal_answer(step1)"),
        ("left out", "step1 = nearest('Bergen')\nfinal_answer(step1)"),
        ("swapped", "step1 = nearest('Bergen')\nstep2 = mean_rain('May', step1)\nfinal_answer(step2)"),
    ]
    assert {kind for kind, _ in found[4:]} == {"another value"}
    assert any(text != program([near, rain]) for _, text in found[4:])
    alone = list(wrong_branches([near], "@", made, made.worlds[0], random.Random(0)))
    assert alone[0] == ("no call", "final_answer('Bergen')")


def test_steps_that_write_are_exchanged_unless_one_needs_the_other() -> None:
    """The order of two changes is a wrong branch too; what reads has none."""
    writer = replace(TOOLS["nearest"], writes=True)
    one, other = (Step(writer, {"city": [Literal(city)]}) for city in ("Bergen", "Oslo"))
    needs = Step(writer, {"city": [Use(one)]})
    made = material()

    def exchanged(steps: list[Step]) -> list[str]:
        found = wrong_branches(steps, "@", made, made.worlds[0], random.Random(0))
        return [text for kind, text in found if kind == "order"]

    assert exchanged([one, other]) == ["step1 = nearest('Oslo')\nstep2 = nearest('Bergen')\nfinal_answer(step2)"]
    assert exchanged([one, needs]) == exchanged([step("nearest", city="a"), step("nearest", city="b")]) == []


def test_a_value_that_cannot_be_drawn_again_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument of a kind that is never drawn, an object, was an error that ended the command."""
    tool = TOOLS["nearest"]
    monkeypatch.setitem(tool.parameters["properties"], "city", {"type": "object"})
    made = material(walk(Observation(tool="nearest", args=[{"name": "Bergen"}], result="x")))
    steps = [Step(tool, {"city": [Literal({"name": "Bergen"})]})]
    for seed in range(10):
        found = list(wrong_branches(steps, "@", made, made.worlds[0], random.Random(seed)))
        assert ("another value", program(steps)) in found
