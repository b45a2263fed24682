"""Method `compose` in the jail: which programs are kept, their checks, and the words a model finds for them."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sca_cli import plugins
from sca_cli.errors import RecordError
from sca_cli.interfaces import Sampling, Tool
from sca_cli.methods import Dropped, Workshop
from sca_cli.methods.compose import compose, operations
from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.plan import Composed, Plan, _drop_detours, _projected, _ran
from sca_cli.methods.compose.steps import Literal, Step, Use
from sca_cli.prompts import Prompts
from sca_cli.records import Check, EnvSpec, Exploration, Observation, Task, Usage, Verdict
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.verification import paper_filter
from sca_cli.verification.proofs import PROOFS

pytestmark = pytest.mark.sandbox

SEEN = [
    Observation(tool="get_user", args=["user_1"], result={"name": "Ann3"}),
    Observation(tool="get_user", args=["user_2"], result={"name": "Ann3"}),
    Observation(tool="set_name", args=["user_1", "Eve"], result="ok", writes=True),
    Observation(tool="set_name", args=["user_2", "Zoe"], result="ok", writes=True),
    Observation(tool="add", args=[2.5, 4], result=6.5),
    Observation(tool="divide", args=[9, 4], result=2.25),
]
EXPLORATION = Exploration(id="e1", env=EnvSpec(name="shop"), seed=3, observations=SEEN)


@pytest.fixture
def sandbox(shop: EnvSpec) -> Iterator[Sandbox]:  # noqa: ARG001  its tests use the shop
    """Give a sandbox with a shorter wall time: plans draw calls of a tool that sleeps, and wait for each."""
    with Sandbox(Limits(wall_s=1.0, cpu_s=5, memory_mb=128, output_bytes=4096, calls=20)) as opened:
        yield opened


@pytest.fixture
def tools(sandbox: Sandbox) -> dict[str, Tool]:
    """Return the shop's tools by name."""
    return {tool.name: tool for tool in sandbox.describe(EXPLORATION.env).tools}


def step(tool: Tool, **given: Any) -> Step:
    """Return a call; a list is for `*args`, and what is no `Use` is a literal."""
    many = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    return Step(tool, {name: [v if isinstance(v, Use) else Literal(v) for v in value] for name, value in many.items()})


def ran(sandbox: Sandbox, tools: dict[str, Tool], steps: list[Step]) -> Composed:
    """Run a program of the shop, and make its check and failure cases."""
    material = Material(EXPLORATION.env, list(tools.values()))
    material.add(EXPLORATION)
    return _ran(sandbox, material, material.worlds[0], steps, random.Random(0))


def task_of(made: Composed) -> Task:
    """Return a task that would be made of a program."""
    return Task(
        env=made.world.env,
        seed=made.world.seed,
        instruction="i",
        evaluate=made.evaluate,
        solution=made.program,
        failure_cases=[text for _, text in made.wrong],
    )


# ---------------------------------------------------------------- programs


def test_a_reading_program_is_judged_by_its_answer(sandbox: Sandbox, tools: dict[str, Tool]) -> None:
    """The result goes into the check; an intermediate result and other wrong branches fail it."""
    first = step(tools["add"], numbers=[2.5, 4])
    made = ran(sandbox, tools, [first, step(tools["divide"], a=Use(first), b=4)])
    assert made.result == 1.625
    assert made.evaluate.startswith("def evaluate(answer):")
    assert made.wrong[0] == ("intermediate", "step1 = add(2.5, 4)\nfinal_answer(step1)")
    assert paper_filter.verify(sandbox, task_of(made), PROOFS).stage == "kept"


def test_a_writing_program_is_judged_by_the_state(sandbox: Sandbox, tools: dict[str, Tool]) -> None:
    """Two changes: the check takes no answer, sees both, and refuses a program that makes one of them."""
    names = [step(tools["set_name"], uid=f"user_{i}", name=name) for i, name in ((1, "Eve"), (2, "Zoe"))]
    made = ran(sandbox, tools, names)
    assert "def evaluate():" in made.evaluate
    assert "get_user('user_1'), 'name') == 'Eve'" in made.evaluate
    assert "get_user('user_2'), 'name') == 'Zoe'" in made.evaluate
    assert ("intermediate", "step1 = set_name('user_1', 'Eve')\nfinal_answer(step1)") in made.wrong
    assert paper_filter.verify(sandbox, task_of(made)).stage == "kept"


def test_of_a_long_result_a_part_is_answered() -> None:
    """The question is about one value of a result that is too long, and sometimes of a short one; a long value is no
    answer.
    """
    draw = random.Random(0)
    assert _projected({"name": "Ann3", "text": "x" * 130, "none": None}, draw) == ("@['name']", "Ann3")
    assert {_projected([1, 2], draw)[0] for _ in range(50)} == {"@", "@[0]"}
    assert _projected("word", draw) == ("@", "word")
    assert _projected([], draw) == ("@", [])
    with pytest.raises(Dropped, match="the answer is too long"):
        _projected({"text": "x" * 130}, draw)


def test_a_way_there_and_back_is_refused() -> None:
    """A text that was there before is no result, but where the call took it itself, or writes."""
    seen = [("reverse", "ab", "ba", False), ("first", "ba", "ba", False), ("write", "ba", "ba", True)]
    calls = [Observation(tool=name, args=[given], result=made, writes=writes) for name, given, made, writes in seen]
    _drop_detours(calls)
    with pytest.raises(Dropped, match="leads back to what was there before"):
        _drop_detours([*calls, Observation(tool="reverse", args=["ba"], result="ab")])


def test_a_difference_is_asked_for_the_way_round_that_leaves_something(
    sandbox: Sandbox, tools: dict[str, Tool]
) -> None:
    """What an operation makes of results is judged like any answer; it is no call, and below zero no question."""
    more, less = step(tools["add"], numbers=[2.5, 4]), step(tools["add"], numbers=[1, 2])
    difference = next(
        tool for tool in (operations.draw_one(float, 2, random.Random(seed)) for seed in range(9)) if " - " in tool.glue
    )
    made = ran(sandbox, tools, [more, less, step(difference, part1=Use(more), part2=Use(less))])
    assert (made.result, len(made.calls)) == (3.5, 2)
    assert paper_filter.verify(sandbox, task_of(made), PROOFS).stage == "kept"
    with pytest.raises(Dropped, match="a difference below zero"):
        ran(sandbox, tools, [less, more, step(difference, part1=Use(less), part2=Use(more))])


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([("get_user", {"uid": "user_9"})], "a tool refused"),
        ([("set_name", {"uid": "user_1", "name": "Ann3"})], "no change that the tools show"),
        ([("cancel_order", {"oid": "order_1"})], "no change that the tools show"),
        ([("add", {"numbers": [1, -1]})], "trivial answer"),
        ([("echo", {"value": True})], "trivial answer"),
        ([("echo", {"value": "word"})], "the program contains the answer"),
        ([("fill", {"size": 1000})], "the answer is too long"),
        ([("get_user", {"uid": "user_1"})], "fewer than three failure cases fail"),
        ([("add", {"numbers": [5]}), ("add", {"numbers": ["@", 3]})], "a step makes no difference"),
        ([("get_user", {"uid": "user_1"}), ("echo", {"value": "@['zip']"})], "it raises: exception"),
        ([("set_name", {"uid": "user_1", "name": "Eve"}), ("echo", {"value": "@"})], "reads after it wrote"),
        ([("leave", {})], "it raises: world"),
    ],
)
def test_programs_worth_nothing_are_dropped(
    sandbox: Sandbox, tools: dict[str, Tool], calls: list[tuple[str, dict[str, Any]]], said: str
) -> None:
    """A program is dropped with a reason if a tool refuses, nothing changes, a step is unused, or the answer is trivial
    or known.
    """
    steps: list[Step] = []
    for name, given in calls:
        steps.append(step(tools[name], **{key: used(value, steps) for key, value in given.items()}))
    with pytest.raises(Dropped) as dropped:
        ran(sandbox, tools, steps)
    assert str(dropped.value) == said


def used(value: Any, steps: list[Step]) -> Any:
    """Return a value, or the use of the step before where it starts with @."""
    if isinstance(value, list):
        return [used(part, steps) for part in value]
    return Use(steps[-1], value) if isinstance(value, str) and value.startswith("@") else value


def test_every_step_of_a_long_program_must_make_a_difference(sandbox: Sandbox, tools: dict[str, Tool]) -> None:
    """The fifth step of six, which adds nothing, is found out; only the first four were tried without theirs."""
    steps = [step(tools["add"], numbers=[2.5, 4])]
    for number in (7, 11, 13):
        steps.append(step(tools["add"], numbers=[Use(steps[-1]), number]))
    steps.append(step(tools["echo"], value=Use(steps[-1])))
    steps.append(step(tools["divide"], a=Use(steps[-1]), b=3))
    with pytest.raises(Dropped, match="a step makes no difference"):
        ran(sandbox, tools, steps)


def test_an_order_cancelled_in_the_retail_shop_is_checked_by_its_state(sandbox: Sandbox) -> None:
    """What was cancelled, and why, goes into the check; wrong branches fail it."""
    env = EnvSpec(name="retail")
    with sandbox.session(env, 0) as session:
        order = re.findall(r"order (#W\d+)", session.first_observation())[0]
        seen = [
            session.call("get_order_details", [order]),
            session.call("cancel_pending_order", [order, "no longer needed"]),
        ]
    assert not any(call.error for call in seen)
    material = Material(env, sandbox.describe(env).tools)
    material.add(Exploration(id="e2", env=env, seed=0, observations=seen))
    mistake = [order, "ordered by mistake"]
    called = Observation(tool="cancel_pending_order", args=mistake, result={}, writes=True)
    material.add(Exploration(id="e3", env=env, seed=0, observations=[called]))
    cancel = step(material.tools["cancel_pending_order"], order_id=order, reason="no longer needed")
    made = _ran(sandbox, material, material.worlds[0], [cancel], random.Random(2))
    assert f"look(get_order_details('{order}'), 'status') == 'cancelled'" in made.evaluate
    assert len(made.wrong) == 3
    assert paper_filter.verify(sandbox, task_of(made)).stage == "kept"


# ---------------------------------------------------------------- the plan


def verified(passed: bool) -> Task:
    """Return a task whose solution made the calls seen, without results, kept by `sca verify` or not."""
    calls = [Observation(tool=call.tool, args=call.args, writes=call.writes) for call in SEEN]
    verdict = Verdict(passed=passed, stage="kept" if passed else "no-op",
                      checks=[Check(name="solution", outcome="pass", calls=calls)])  # fmt: skip
    return Task(id="t1", env=EXPLORATION.env, seed=3, instruction="i", evaluate="e", verdict=verdict)


@pytest.mark.parametrize("record", [EXPLORATION, verified(passed=True)])
def test_programs_come_in_equal_shares_and_prove_themselves(sandbox: Sandbox, record: Exploration | Task) -> None:
    """Program sizes alternate, the same plan draws the same programs and drop reasons, and every task verifies."""
    plans = [Plan(sandbox, 2, 1, 0) for _ in range(2)]
    assert [plan.read([record]) for plan in plans] == [1, 1]
    made, again = (list(plan.programs(4)) for plan in plans)
    assert [(place, each.program, each.wrong) for place, each in made] == [
        (place, each.program, each.wrong) for place, each in again
    ]
    assert len(made) >= 3
    assert all(len(each.steps) == 1 + place % 2 for place, each in made)
    assert all(paper_filter.verify(sandbox, task_of(each)).stage == "kept" for _, each in made)
    # A tool that sleeps passes the limit of the program or of the world, whichever is noticed first.
    reasons = [
        Counter(re.sub("world|timeout", "limit", reason) for reason in plan.dropped.elements()) for plan in plans
    ]
    assert reasons[0] == reasons[1]
    assert reasons[0].total() > 0
    for place, _ in made:
        plans[0].became(written=place % 2 == 1)
    (fitting, worked, occurring, often), *_ = plans[0].coverage().values()
    assert fitting > worked == occurring == often > 0


def drawn(
    plan: Plan, count: int, written: Callable[[int], bool], told: int = 0, before: Sequence[tuple[str, str]] = ()
) -> list[tuple[str, str]]:
    """Return the (environment, program) pairs that a plan draws; from number `told` on it learns each outcome at once.

    Two environments have the same tools.
    """
    other = msgspec.structs.replace(EXPLORATION, env=EnvSpec(name="shop", options={"fault": "none"}))
    assert plan.read([EXPLORATION, other]) == 2
    made = []
    for number, (_, each) in enumerate(plan.programs(count, before, told)):
        made.append((str(each.world.env), each.program))
        if number >= told:
            plan.became(written=written(number))
    return made


def test_what_no_instruction_was_written_for_is_drawn_again(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program without an instruction does not count for coverage, and a resumed run draws the same programs."""
    monkeypatch.setattr("sca_cli.methods.compose.plan.AHEAD", 2)
    monkeypatch.setattr("sca_cli.methods.compose.plan.DRAWS", 10)
    whole = Plan(sandbox, 2, 1, 0)
    made = drawn(whole, 12, lambda number: number % 4 == 3)
    assert made != drawn(Plan(sandbox, 2, 1, 0), 12, lambda _: True)
    for told in (5, len(made)):
        resumed = Plan(sandbox, 2, 1, 0)
        before = [each for number, each in enumerate(made[:told]) if number % 4 == 3]
        assert drawn(resumed, 12, lambda number: number % 4 == 3, told, before) == made
        assert resumed.coverage() == whole.coverage()
    none = Plan(sandbox, 2, 1, 0)
    drawn(none, 12, lambda _: False)
    for _, worked, occurring, often in none.coverage().values():
        assert worked > occurring == often == 0


def test_tasks_that_were_not_kept_do_not_count(sandbox: Sandbox) -> None:
    """Rejected and unverified tasks are skipped and counted, and their environment is not opened."""
    plan = Plan(sandbox, 2, 1, 0)
    unknown = Task(env=EnvSpec(name="nowhere"), instruction="i", evaluate="e")
    assert plan.read([verified(passed=False), unknown]) == 0
    assert plan.unproven == 2
    assert list(plan.programs(3)) == []


def test_held_out_tasks_are_refused(sandbox: Sandbox) -> None:
    """Programs composed of the calls of held-out tasks would be trained on."""
    task = verified(passed=True)
    task.split = "eval"
    with pytest.raises(RecordError, match="task t1 is held out for evaluation"):
        Plan(sandbox, 2, 1, 0).read([task])


# ---------------------------------------------------------------- the instruction


@pytest.fixture
def workshop(sandbox: Sandbox, script: Callable[..., str], tmp_path: Path) -> Callable[..., Workshop]:
    """Return a function that opens a workshop whose model is shown only the call that it is to put into words."""

    def build(*rules: dict[str, Any]) -> Workshop:
        folder = tmp_path / "prompts"
        folder.mkdir()
        for name in ("compose-step", "compose-question"):
            (folder / f"{name}.md").write_text(f"[user]\n{name} $call: $meaning ($values)")
        model = plugins.load_model(script(*rules))
        return Workshop(model, Sampling(max_tokens=99), Prompts(folder), sandbox, *sandbox.describe(EXPLORATION.env))

    return build


ADD = r"^compose-step add\(2\.5, 4\): Add numbers\. \(2\.5, 4\)$"
DIVIDE = r"^compose-step divide\(a=that result, b=4\): Divide, and .*\. \(4, that result\)$"


@pytest.fixture
def two_calls(sandbox: Sandbox, tools: dict[str, Tool]) -> Composed:
    """Return a program of two calls."""
    first = step(tools["add"], numbers=[2.5, 4])
    return ran(sandbox, tools, [first, step(tools["divide"], a=Use(first), b=4)])


def test_several_calls_get_a_sentence_each(workshop, two_calls: Composed) -> None:
    """The first sentence that will do is taken of each, and the record says who wrote what."""
    made = workshop(
        {"when": ADD, "replies": [["What?", '"Add 2.5 and 4 together"']]},
        {"when": DIVIDE, "replies": [["Divide by 4 it all.", "Divide 'that result' by 4, please."]]},
    )
    task = asyncio.run(compose.make(made, two_calls, 0))
    assert task.error is None, task.error
    assert task.instruction == "Add 2.5 and 4 together. Divide that result by 4, please."
    assert (task.method, task.calls, task.parents, task.seed) == ("compose", 2, ["e1"], 3)
    assert made.usage == Usage(prompt_tokens=2 * 7 + 2 * 17, completion_tokens=1 + 5 + 5 + 6, turns=4)
    assert task.extra == {
        "written_by": {
            "instruction": "model, a sentence a call",
            "solution": "composed",
            "evaluate": "observed",
            "failure_cases": [kind for kind, _ in two_calls.wrong],
        },
        "pairs": [["add", "divide"]],
    }


def test_a_single_call_gets_a_question(workshop, sandbox: Sandbox, tools: dict[str, Tool]) -> None:
    """A single call gets its question from a separate prompt, without sentences for its steps."""
    alone = ran(sandbox, tools, [step(tools["divide"], a=9, b=4)])
    made = workshop({"when": "^compose-question ", "replies": ["What is left if you divide 9 by 4?"]})
    task = asyncio.run(compose.make(made, alone, 0))
    assert task.instruction == "What is left if you divide 9 by 4?"
    assert task.extra["written_by"]["instruction"] == "model"
    assert task.extra["pairs"] == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Divide that result by a number.", "leaves a fact out"),
        ("Divide that result by 4; it is 1.625.", "adds a figure"),
        ("Take that result and 4 together.", "does not ask for divide"),
        ("The division is of that result by 4.", "asks nothing"),
        ("", "leaves a fact out"),
    ],
)
def test_where_the_model_fails_the_machine_writes(workshop, two_calls: Composed, reply: str, said: str) -> None:
    """The record says so, with the most frequent reason and all replies of the model."""
    made = workshop(
        {"when": ADD, "replies": ["Add 2.5 and 4 together."]},
        {"when": DIVIDE, "replies": [reply]},
    )
    task = asyncio.run(compose.make(made, two_calls, 0))
    assert task.error is None
    assert task.extra["written_by"]["instruction"].startswith("machine")
    assert all(value in task.instruction for value in ("2.5", "4"))
    assert task.extra["model_wording"] == f"instruction: {said}"
    assert reply in task.extra["reply"]
    assert made.usage.turns == 2 + 6
    assert made.usage.completion_tokens == 2 * 5 + 6 * len(reply.split())
    assert task.method == "compose"
