"""The Calculation environment: its tools, its state and its held-out evaluation set."""

import json
import math
from collections import Counter
from typing import Any

import pytest
from generators.calculation import make_eval
from generators.calculation.drafts import check_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sca_calculation.environment import FAMILIES, Calculation
from sca_calculation.travel_data import CITIES, DATES, PREFERENCES, draw

from sca_cli import ToolError
from sca_cli.interfaces import tools_of
from sca_cli.records import EnvSpec, Task, decode
from sca_cli.toolkit.arithmetic import MAX_MAGNITUDE

TOOLS = {
    "message_decoder": "convert_hex_to_ascii reverse_string caesar_decode string_length minimum_value maximum_value",
    "dna_sequencer": "count_nucleotides transcribe_dna_to_mrna translate_mrna_to_amino_acid "
    "find_max_nucleotide is_valid_dna_sequence reverse_transcribe_mrna_to_dna",
    "trade_calculator": "convert_currency calculate_tariff estimate_final_value calculator find_minimum find_maximum",
    "travel_itinerary": "find_flights book_hotel budget_calculator max min sum",
}
"""The names of M3ToolEval."""


@pytest.fixture(scope="module")
def world() -> Calculation:
    """An environment with all tools."""
    return Calculation()


def call(world: Calculation, name: str, *args: Any) -> Any:
    """Call a tool as the world process does."""
    return tools_of(world)[name][1](*args)


# ---------------------------------------------------------------- families


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_its_six_tools_and_a_policy(family: str) -> None:
    """Each family has the six tools of its name, and a policy of at most three sentences."""
    environment = Calculation(family=family)
    assert set(tools_of(environment)) == set(TOOLS[family].split())
    assert 1 <= environment.policy.count(". ") + 1 <= 3
    assert isinstance(environment, Calculation)


def test_without_a_family_all_tools_are_there(world: Calculation) -> None:
    """`calculation` alone has the 24 tools of the four families."""
    assert set(tools_of(world)) == set(" ".join(TOOLS.values()).split())
    assert all(Calculation(family).policy in world.policy for family in FAMILIES)


def test_every_parameter_is_described(world: Calculation) -> None:
    """Every parameter of every tool has a description."""
    for tool, _ in tools_of(world).values():
        for name, schema in tool.parameters["properties"].items():
            assert schema.get("description"), f"{tool.name}({name})"
        assert not tool.writes


def test_variants_are_the_families_unless_one_is_named() -> None:
    """Commands that make records take the families in turn."""
    assert Calculation.variants({}) == [{"family": family} for family in FAMILIES]
    assert Calculation.variants({"family": "dna_sequencer"}) == [{"family": "dna_sequencer"}]


def test_an_unknown_family_names_the_nearest() -> None:
    """A misspelt family is a ValueError that says which one was meant."""
    with pytest.raises(ValueError, match="did you mean 'trade_calculator'"):
        Calculation(family="trade_calculater")


# ---------------------------------------------------------------- what the tools say

RESULTS = [
    ("convert_hex_to_ascii", ["48 69 2c2D"], "Hi,-"),
    ("convert_hex_to_ascii", [""], ""),
    ("reverse_string", ["abc d"], "d cba"),
    ("caesar_decode", ["Khoor, Cb!", 3], "Hello, Zy!"),
    ("caesar_decode", ["Gdkkn", -1], "Hello"),
    ("caesar_decode", ["Ünïcode", 26], "Ünïcode"),
    ("string_length", ["a b!"], 4),
    ("minimum_value", [3, -1.5, 2], -1.5),
    ("maximum_value", [3, -1.5, 2], 3),
    ("count_nucleotides", ["AACGA"], {"A": 3, "C": 1, "G": 1, "T": 0}),
    ("transcribe_dna_to_mrna", ["ATTG"], "AUUG"),
    ("reverse_transcribe_mrna_to_dna", ["AUUG"], "ATTG"),
    ("translate_mrna_to_amino_acid", ["AUGGCCUGGUAAAAA"], "MAW"),
    ("translate_mrna_to_amino_acid", ["AUGGC"], "M"),
    ("translate_mrna_to_amino_acid", ["UAA"], ""),
    ("find_max_nucleotide", ["A", 2, "C", 7, "G", 7], ["C", 7]),
    ("is_valid_dna_sequence", ["ACGT"], True),
    ("is_valid_dna_sequence", ["ACGU"], False),
    ("is_valid_dna_sequence", [""], False),
    ("convert_currency", [12.5, 4], 50.0),
    ("calculate_tariff", [200, 15], 30.0),
    ("estimate_final_value", [200, 30.5], 230.5),
    ("find_minimum", [4, 2, 8], 2),
    ("find_maximum", [4, 2, 8], 8),
    ("budget_calculator", [300, 80.5, 2], 461.0),
    ("max", [1, 9, 4], 9),
    ("max", [[1, 9, 4]], 9),
    ("min", [5], 5),
    ("sum", [[1, 2.5]], 3.5),
]


@pytest.mark.parametrize(("name", "args", "result"), RESULTS)
def test_a_tool_gives_the_right_result(world: Calculation, name: str, args: list[Any], result: Any) -> None:
    """Worked examples, one or more for each tool without data."""
    found = call(world, name, *args)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4 / 8", 2.5),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("17 // 5 + 17 % 5", 5),
        ("+-+3", -3),
        (" 1.5e3 ", 1500.0),
        ("10 ** 100", 10**100),
        ("0 ** 0", 1),
        ("(" * 149 + "7" + ")" * 149, 7),
        ("-" * 298 + "7", 7),
    ],
)
def test_calculator_follows_the_rules_of_arithmetic(world: Calculation, expression: str, value: float) -> None:
    """Precedence, signs, powers and whole numbers are Python's."""
    assert call(world, "calculator", expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "", "   ",
        "1 +", "(1", "1)", "()", "1 / 0", "1 % 0", "0 ** -1", "9 ** 9 ** 9", "10.0 ** 101", "(-8) ** 0.5",
        "1e999",
        "1e99 * 1e99", "abs(1)", "__import__('os')", "1, 2", "1 if 1 else 2", "1 < 2", "~1", "1j", "0x10",
        "1_000",
        "'a' * 9", "1\n+2", "1e", "5(3)", "(" * 299, "-" * 299, "9" * 301, "²",
    ],
)  # fmt: skip
def test_calculator_refuses_all_else(world: Calculation, expression: str) -> None:
    """Everything but bounded arithmetic is refused with a message, and no text is evaluated as code."""
    with pytest.raises(ToolError, match=r"\w"):
        call(world, "calculator", expression)


@given(st.text("0123456789.+-*/%() e", max_size=60))
@settings(max_examples=400, deadline=None)
def test_calculator_agrees_with_python(expression: str) -> None:
    """Whatever it accepts, it computes as Python does, within its bounds; it raises ToolError alone."""
    try:
        value = call(Calculation("trade_calculator"), "calculator", expression)
    except ToolError:
        return
    assert abs(value) <= MAX_MAGNITUDE
    assert value == eval(expression.strip(), {"__builtins__": {}})


BAD = [
    ("convert_hex_to_ascii", ["4g"], "'g'"),
    ("convert_hex_to_ascii", ["486"], "3 digits"),
    ("convert_hex_to_ascii", ["ff"], "ASCII"),
    ("convert_hex_to_ascii", [12], "must be a string"),
    ("reverse_string", [None], "not null"),
    ("reverse_string", ["\ud800"], "surrogate"),
    ("caesar_decode", ["abc", "3"], "whole number"),
    ("caesar_decode", ["abc", True], "not a boolean"),
    ("caesar_decode", ["abc", 10**4000], "between"),
    ("string_length", ["x" * 10_001], "at most"),
    ("minimum_value", [], "at least one"),
    ("minimum_value", [[1, 2]], "one by one"),
    ("maximum_value", [1, "2"], "argument 2"),
    ("maximum_value", [1] * 1_001, "at most"),
    ("maximum_value", [math.nan], "finite"),
    ("count_nucleotides", ["ACGU"], "place 4"),
    ("count_nucleotides", ["acgt"], "capitals"),
    ("count_nucleotides", [""], "empty"),
    ("translate_mrna_to_amino_acid", ["ATG"], "A, C, G, U"),
    ("find_max_nucleotide", [], "in turn"),
    ("find_max_nucleotide", ["A"], "in turn"),
    ("find_max_nucleotide", ["A", "B"], "count of 'A'"),
    ("find_max_nucleotide", [1, "A"], "nucleotide"),
    ("convert_currency", [-1, 2], "at least 0"),
    ("convert_currency", [True, 2], "not a boolean"),
    ("convert_currency", [10**400, 2], "finite"),
    ("calculate_tariff", [10, math.inf], "finite"),
    ("estimate_final_value", [10, "2"], "tariff must be a number"),
    ("calculator", [2], "must be a string"),
    ("find_flights", ["Osl", "Cairo", "2025-09-01"], "did you mean 'Oslo'"),
    ("find_flights", ["Oslo", "Oslo", "2025-09-01"], "both Oslo"),
    ("find_flights", ["Oslo", "Cairo", "1 September"], "YYYY-MM-DD"),
    ("find_flights", ["Oslo", "Cairo", "2025-10-01"], "2025-09-14"),
    ("book_hotel", ["Oslo", "sauna"], "sea view"),
    ("book_hotel", ["Oslo", ["wifi"]], "must be a string"),
    ("book_hotel", ["Oslo", *["wifi"] * 11], "at most 10"),
    ("budget_calculator", [1, 2, 2.5], "whole number"),
    ("budget_calculator", [1, 2, -1], "between"),
    ("max", [[]], "at least one"),
    ("sum", [{"price": 3}], "such as the prices"),
]


@pytest.mark.parametrize(("name", "args", "message"), BAD, ids=[f"{bad[0]}-{bad[2]}" for bad in BAD])
def test_a_bad_argument_is_refused_with_a_message(world: Calculation, name: str, args: list[Any], message: str) -> None:
    """The refusal says what is wrong and what would be right."""
    with pytest.raises(ToolError, match=message):
        call(world, name, *args)


WORDS = st.sampled_from([*CITIES, *DATES, *PREFERENCES, "ACGT", "AUGGCC", "4869", "1 + 2", "oslo"])
NUMBERS = st.integers() | st.floats() | st.booleans() | st.sampled_from([10**400, -(10**4000), 1e308, -0.0])
JSON = st.recursive(
    st.none() | NUMBERS | st.text() | WORDS | st.just("\udc00"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", " ".join(TOOLS.values()).split())
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_json_arguments_give_a_result_or_a_refusal(world: Calculation, name: str, data: st.DataObject) -> None:
    """Hostile arguments of the right number never raise anything but ToolError; results are finite JSON."""
    properties = tools_of(world)[name][0].parameters["properties"]
    args = [data.draw(JSON) for key in properties if key not in ("args", "preferences")]
    if properties.keys() & {"args", "preferences"}:
        args += data.draw(st.lists(JSON | NUMBERS | WORDS, max_size=6))
    before = json.dumps(world.state())
    try:
        result = call(world, name, *args)
    except ToolError as refusal:
        assert 0 < len(str(refusal)) < 1_000
    else:
        assert json.loads(json.dumps(result, allow_nan=False).encode()) == result
    assert json.dumps(world.state()) == before


# ---------------------------------------------------------------- travel


def test_travel_data_has_choice_and_single_winners() -> None:
    """A good share of routes and days has several flights; prices that a task compares are never equal."""
    state = draw(7)
    counts = Counter(map(len, state["flights"].values()))
    assert len(CITIES) >= 12
    assert len(DATES) >= 14
    assert (counts[2] + counts[3]) / counts.total() > 0.5
    for flights in state["flights"].values():
        assert len({flight[3] for flight in flights}) == len(flights)
        assert [flight[1] for flight in flights] == sorted({flight[1] for flight in flights})
    for hotels in state["hotels"].values():
        assert len(hotels) >= 3
        assert [hotel[1] for hotel in hotels] == sorted({hotel[1] for hotel in hotels})
        assert len({hotel[2] for hotel in hotels}) == len(hotels)


def test_travel_tools_report_the_state() -> None:
    """find_flights and book_hotel return exactly the entries of the state, in any case of the words."""
    world = Calculation("travel_itinerary")
    world.reset(3)
    state: Any = world.state()
    for key in list(state["flights"])[::97]:
        route, _, date = key.partition(" ")
        start, end = route.split(">")
        found = call(world, "find_flights", start.lower(), f" {end} ", date)
        assert [list(each.values()) for each in found] == [
            [flight, start, end, date, departure, arrival, price]
            for flight, departure, arrival, price in state["flights"][key]
        ]
    for city, hotels in state["hotels"].items():
        wanted = hotels[0][3][:2]
        found = call(world, "book_hotel", city, *(each.upper() for each in wanted))
        assert [each["hotel"] for each in found] == [each[0] for each in hotels if set(wanted) <= set(each[3])]
        assert len(call(world, "book_hotel", city)) == len(hotels)


def test_a_route_without_flights_is_an_empty_list() -> None:
    """No flights is an answer, not a refusal."""
    world = Calculation("travel_itinerary")
    state: Any = world.state()
    start, end = next(
        (a, b) for a in CITIES for b in CITIES if a != b and f"{a}>{b} {DATES[0]}" not in state["flights"]
    )
    assert call(world, "find_flights", start, end, DATES[0]) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_state_is_the_seeds_and_plain_json(family: str) -> None:
    """Same seed, same state; the state survives JSON; only travel_itinerary depends on the seed."""
    world, again = Calculation(family), Calculation(family)
    world.reset(11)
    again.reset(11)
    assert json.loads(json.dumps(world.state())) == world.state() == again.state()
    again.reset(12)
    assert (again.state() != world.state()) == (family == "travel_itinerary")


# ---------------------------------------------------------------- the evaluation set


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """The committed evaluation set."""
    records = [decode(line) for line in Calculation.eval_path().read_bytes().splitlines()]
    assert all(isinstance(record, Task) for record in records)
    return [record for record in records if isinstance(record, Task)]


def test_the_evaluation_set_is_balanced(tasks: list[Task]) -> None:
    """120 tasks: for each family 10 of one call, 10 of two and 10 of more; all marked as held out."""
    groups = Counter((task.env.options["family"], min(task.calls or 0, 3)) for task in tasks)
    assert groups == {(family, calls): 10 for family in FAMILIES for calls in (1, 2, 3)}
    assert {task.split for task in tasks} == {"eval"}
    assert {task.env.name for task in tasks} == {"calculation"}
    assert {len(task.failure_cases) for task in tasks} == {3}


def test_no_task_is_there_twice(tasks: list[Task]) -> None:
    """Ids and instructions are all different."""
    assert len({task.id for task in tasks}) == len({task.instruction for task in tasks}) == 120


def test_making_the_evaluation_set_again_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """`python -m generators.calculation.make_eval` reproduces the committed file."""
    committed = Calculation.eval_path().read_bytes()
    monkeypatch.setattr(Calculation, "eval_path", classmethod(lambda _cls: tmp_path / "eval.jsonl"))
    make_eval.main()
    assert (tmp_path / "eval.jsonl").read_bytes() == committed


@given(answer=JSON)
@settings(max_examples=300, deadline=None)
def test_every_check_judges_every_json_answer(answer: Any) -> None:
    """The checks of all kinds of answers return a boolean for anything that JSON can say."""
    for right, judged in (
        (7, "number"),
        (7.25, "cents"),
        ("Ab", "text"),
        ("Ab", "word"),
        (["a", 1], "exact"),
    ):
        names: dict[str, Any] = {}
        exec(check_of(right, judged), names)  # type: ignore[arg-type]
        assert type(names["evaluate"](answer)) is bool
        assert names["evaluate"](right) is True


@pytest.mark.parametrize(
    ("right", "judged", "answer", "passed"),
    [
        (7, "number", "7.0", True), (7, "number", True, False), (1, "number", True, False),
        (7, "number", None, False),
        (7, "number", 7.00001, False), (1e9, "number", 1e9 + 100, True), (7.128, "cents", 7.13, True),
        (7.128, "cents", 7.12, False), (7, "number", 10**4000, False), (7, "number", "nan", False),
        ("Ab", "text", " Ab ", True), ("Ab", "text", "ab", False), ("Ab", "word", "aB", True),
        (["a", "b"], "exact", ["b", "a"], False), (["a", "b"], "exact", "ab", False),
    ],
)  # fmt: skip
def test_checks_are_as_strict_as_they_say(right: Any, judged: Any, answer: Any, passed: bool) -> None:
    """Tolerances, booleans, numeric strings, case and order are judged as `Answer` says."""
    names: dict[str, Any] = {}
    exec(check_of(right, judged), names)
    assert names["evaluate"](answer) is passed


@pytest.mark.sandbox
@pytest.mark.parametrize("family", FAMILIES)
def test_gold_solutions_pass_and_failure_cases_fail(tasks: list[Task], family: str) -> None:
    """In the sandbox every solution passes with the calls it claims; failure cases and doing nothing fail."""
    from sca_cli.sandbox import Sandbox

    with Sandbox() as sandbox:
        for task in (each for each in tasks if each.env == EnvSpec(name="calculation", options={"family": family})):
            with sandbox.session(task.env, task.seed) as session:
                assert len(session.run(task.solution).calls) == task.calls, task.instruction
                assert session.evaluate(task.evaluate).outcome == "pass", task.instruction
            for program in task.failure_cases:
                with sandbox.session(task.env, task.seed) as session:
                    assert session.run(program).answered, program
                    assert session.evaluate(task.evaluate).outcome == "fail", program
            with sandbox.session(task.env, task.seed) as session:
                assert session.evaluate(task.evaluate).outcome == "fail", task.instruction
