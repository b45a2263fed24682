"""How tasks are made: parsing, checks from observations, and both methods from end to end."""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sca_cli import plugins
from sca_cli.analysis import fits
from sca_cli.interfaces import Completion, Sampling
from sca_cli.methods import Workshop, cat, solution_first
from sca_cli.methods.observed import NothingObserved, answer_check, state_check
from sca_cli.methods.questions import instruction_problem
from sca_cli.methods.solution_first import draw_chain
from sca_cli.prompts import ATTEMPT, CHALLENGE, EXPLORE, SENSE, WALK, Prompts, names
from sca_cli.records import EnvSpec, Exploration, Observation, Task, Usage
from sca_cli.sandbox import Sandbox
from sca_cli.verification import paper_filter

pytestmark = pytest.mark.sandbox

READ = Observation(tool="get_user", args=["user_1"], result={"name": "Ann3"})
EXPLORATION = Exploration(id="e1", env=EnvSpec(name="shop"), seed=3, observations=[READ])

PARTS = {
    "instruction": "<instruction>\nAdd 3 and 4.\n</instruction>",
    "evaluate": "<evaluation_function>\n```python\ndef evaluate(answer):\n    return answer == 7\n```\n"
    "</evaluation_function>",
    "solution": "<solution>\nfinal_answer(add(3, 4))\n</solution>",
    "failures": "".join(f"<failure_case>\nfinal_answer({wrong})\n</failure_case>\n" for wrong in (6, 8, "'7'")),
}
WHOLE = "Here it is.\n" + "\n".join(PARTS.values()) + "\nDone."


@pytest.fixture
def workshop(sandbox: Sandbox, script: Callable[..., str], tmp_path: Path) -> Callable[..., Workshop]:
    """Return a function that opens a workshop with a scripted model; its prompts are one word each, to tell
    them apart.
    """

    def build(*rules: dict[str, Any], env: str = "shop") -> Workshop:
        folder = tmp_path / "prompts"
        folder.mkdir(exist_ok=True)
        for name in names():
            (folder / f"{name}.md").write_text(f"[user]\nprompt {name}")
        model = plugins.load_model(script(*rules))
        return Workshop(model, Sampling(max_tokens=500), Prompts(folder), sandbox, *sandbox.describe(EnvSpec(name=env)))

    return build


def rule(prompt: str, *replies: Any) -> dict[str, Any]:
    """Return a rule that answers one of the prompts, with a reply for each seed in turn."""
    return {"when": f"^prompt {prompt}$", "replies": [list(replies)]}


def code(*programs: str) -> str:
    """Return a reply of code blocks."""
    return "\n".join(f"```python\n{program}\n```" for program in programs)


# ---------------------------------------------------------------- cat


def test_cat_reads_the_four_parts() -> None:
    """The paper's text form, prose around it and code fences inside, becomes the fields of a task."""
    assert asdict(cat.parse(WHOLE)) == {
        "instruction": "Add 3 and 4.",
        "evaluate": "def evaluate(answer):\n    return answer == 7",
        "solution": "final_answer(add(3, 4))",
        "failure_cases": ["final_answer(6)", "final_answer(8)", "final_answer('7')"],
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instruction": ""}, "0 <instruction> instead of one"),
        ({"instruction": "<instruction>\n \n</instruction>"}, "0 <instruction> instead of one"),
        ({"instruction": PARTS["instruction"] * 2}, "2 <instruction> instead of one"),
        ({"solution": "<solution>\nfinal_answer(7)"}, "0 <solution> instead of one"),
        ({"solution": "<solution>\nfirst add\n</solution>"}, "<solution> is not Python"),
        (
            {"evaluate": "<evaluation_function>\ndef check(answer): return True\n</evaluation_function>"},
            r"does not define evaluate\(\)",
        ),
        (
            {"evaluate": "<evaluation_function>\ndef evaluate(:\n</evaluation_function>"},
            "<evaluation_function> is not Python",
        ),
        ({"failures": "<failure_case>\nfinal_answer(1)\n</failure_case>"}, "1 <failure_case> instead of 3"),
        (
            {"failures": PARTS["failures"].replace("final_answer(8)", "final_answer(")},
            "<failure_case> is not Python",
        ),
    ],
)
def test_cat_is_strict(change: dict[str, str], said: str) -> None:
    """A part that is missing, empty, repeated or not Python, or too few failure cases: nothing is guessed."""
    with pytest.raises(cat.Unparsable, match=said):
        cat.parse("\n".join((PARTS | change).values()))


@pytest.mark.parametrize("tail", ["<failure_case>pass</failure_case>", "<failure_case>\npa", "<solution>x</solution>"])
def test_cat_does_not_read_beyond_the_third_failure_case(tail: str) -> None:
    """A small model rambles on until its tokens end; the task it has written by then is whole."""
    assert cat.parse(WHOLE + tail) == cat.parse(WHOLE)


def test_cat_makes_a_task_that_verifies(workshop, sandbox: Sandbox) -> None:
    """`cat` makes a task whose parent is the exploration, and the task verifies."""
    task = asyncio.run(cat.make(workshop(rule("challenge-cat", WHOLE)), EXPLORATION, 1))
    assert (task.env, task.seed, task.method, task.parents, task.error) == (
        EXPLORATION.env,
        3,
        "cat",
        ["e1"],
        None,
    )
    assert paper_filter.verify(sandbox, task).stage == "kept"


def test_cat_keeps_the_reply_of_a_candidate_that_came_to_nothing(workshop) -> None:
    """A reply that is no task is a rejected candidate with its reason, its reply and its parent."""
    task = asyncio.run(cat.make(workshop(rule("challenge-cat", "I cannot.")), EXPLORATION, 1))
    assert task.error is not None
    assert task.error.message == "unparsable: 0 <instruction> instead of one"
    assert (task.extra["reply"], task.parents, task.method) == ("I cannot.", ["e1"], "cat")


def test_what_the_model_is_asked_is_counted(workshop) -> None:
    """The tokens of every reply are counted, useful or not; a prompt that does not fit is not."""

    class Full:
        async def generate(self, conversations, sampling, tools=()) -> list[Completion]:
            del sampling, tools
            return [Completion("", "context", prompt_tokens=999) for _ in conversations]

        async def close(self) -> None: ...

    made = workshop(rule("challenge-cat", "I cannot."))
    asyncio.run(cat.make(made, EXPLORATION, 1))
    assert made.usage == Usage(prompt_tokens=2, completion_tokens=2, turns=1)
    asyncio.run(cat.make(replace(made, model=Full()), EXPLORATION, 1))
    assert made.usage == Usage(prompt_tokens=2, completion_tokens=2, turns=1)


# ---------------------------------------------------------------- checks from observations


def says(check: str, answer: Any) -> Any:
    """Run one of our own checks here, as the jail would run it."""
    namespace: dict[str, Any] = {}
    exec(check, namespace)
    return namespace["evaluate"](answer)


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        (7, [7, 7.0, 7.0000001], [8, True, "7", None, [7], 7.1, float("nan"), float("inf")]),
        (1, [1, 1.0], [True, 0]),
        (0.5, [0.5, 0.5000001], [0.51, "0.5"]),
        (1e9, [1e9, 1e9 + 100], [1e9 + 2000]),
        (-3, [-3], [3]),
        ("it's\n", ["it's", " it's "], ["its", "IT'S", None, 1]),
        ([1, "a"], [[1, "a"]], [["a", 1], "[1, 'a']", None]),
        ({"a": None}, [{"a": None}], [{}, {"a": 0}]),
    ],
)
def test_answer_checks_say_true_for_that_answer_only(expected: Any, right: list[Any], wrong: list[Any]) -> None:
    """Numbers within 1e-6, texts apart from outer blanks, all else exactly; the verdict is always a bool."""
    check = answer_check(expected)
    assert [says(check, answer) for answer in right] == [True] * len(right)
    assert [says(check, answer) for answer in wrong] == [False] * len(wrong)


@pytest.fixture
def desk(sandbox: Sandbox) -> EnvSpec:  # noqa: ARG001  the sandbox registers the shop first
    """Register the desk and return its specification."""
    plugins.registry().environments["desk"] = plugins.Entry("desk", "desk:Desk", "a desk", "", "tests")
    return EnvSpec(name="desk")


@pytest.mark.parametrize(
    ("program", "wrong"),
    [
        ("throw_away('b')", ["pass", "throw_away('a')", "tag('b', 'x')"]),
        ("tag('a', 'red')", ["pass", "tag('a', 'green')", "tag('b', 'red')"]),
        ("swap_tags('a')", ["pass", "tag('a', 'x')", "swap_tags('b')"]),
    ],
)
def test_state_checks_see_what_was_changed(sandbox: Sandbox, desk: EnvSpec, program: str, wrong: list[str]) -> None:
    """Something removed, added or reordered makes a check that is True after the program and False after
    others.
    """
    exploration = Exploration(env=desk, seed=2, observations=[Observation(tool="papers")])
    with sandbox.session(desk, 2) as session:
        run = session.run(program)
        assert run.ok
        evaluate = state_check(sandbox, session, exploration, run.calls)
    verdict = paper_filter.verify(
        sandbox,
        Task(env=desk, seed=2, instruction="i", evaluate=evaluate, solution=program, failure_cases=wrong),
    )
    assert verdict.stage == "kept", verdict


def test_state_checks_need_something_to_see(sandbox: Sandbox, desk: EnvSpec) -> None:
    """A change that no reading call shows, and a program that changes nothing, make no check."""
    for program, observations in (("tag('a', 'x')", []), ("papers()", [Observation(tool="papers")])):
        with sandbox.session(desk, 2) as session:
            run = session.run(program)
            with pytest.raises(NothingObserved):
                state_check(sandbox, session, Exploration(env=desk, seed=2, observations=observations), run.calls)


# ---------------------------------------------------------------- solution-first

PROGRAM = "a = add(2, 3.5)\nfinal_answer(add(a, 10))"
QUESTION = "What do you get when you add 2 and 3.5, and then 10 to that?"


def test_solution_first_makes_a_task_that_verifies(workshop, sandbox: Sandbox) -> None:
    """Program, check, question and failure cases: what is right or crashes is no failure case, mutants fill
    up.
    """
    made = workshop(
        rule("solution-first-program", code(PROGRAM)),
        rule("solution-first-instruction", "add_it", QUESTION, "no", "no"),
        rule("solution-first-failures", code("final_answer(add(2, 3.5))", "final_answer(15.5)", "1 / 0")),
    )
    task = asyncio.run(solution_first.make(made, EXPLORATION, 1))
    assert task.error is None, task.error
    assert (task.instruction, task.method, task.calls, task.parents) == (
        QUESTION,
        "solution-first",
        2,
        ["e1"],
    )
    assert task.failure_cases[0] == "final_answer(add(2, 3.5))"
    assert task.extra["written_by"]["failure_cases"] == ["model", "mutation", "mutation"]
    programs, questions, failures = 3 * 8, 2 * (1 + len(QUESTION.split()) + 1 + 1), 4 + 3 + 5
    assert made.usage == Usage(prompt_tokens=12 * 2, completion_tokens=programs + questions + failures, turns=3 + 8 + 1)
    assert paper_filter.verify(sandbox, task).stage == "kept"


@pytest.mark.parametrize("answer", ["done", "None", "True", "[done]"])
def test_solution_first_checks_the_state_where_the_program_writes(workshop, sandbox: Sandbox, answer: str) -> None:
    """A program that changes the world is judged by what the reading tools show, whatever it answers."""
    made = workshop(
        rule("solution-first-program", code(f"done = set_name('user_1', 'Eve Adams')\nfinal_answer({answer})")),
        rule(
            "solution-first-instruction",
            "Please give user_1 the new name Eve Adams, once is enough (1 time).",
        ),
        rule("solution-first-failures", "none come to mind"),
    )
    task = asyncio.run(solution_first.make(made, EXPLORATION, 1))
    assert task.error is None, task.error
    assert "get_user('user_1')" in task.evaluate
    assert task.extra["written_by"]["failure_cases"] == ["mutation"] * 3
    assert paper_filter.verify(sandbox, task).stage == "kept"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("prose", "program: no code block"),
        (code("x = ("), "program: not Python"),
        (code("1 / 0"), "program: exception"),
        (code("add(1, 2)"), "program: no final answer"),
        (code("try:\n    get_user('x')\nexcept ToolError:\n    final_answer(1)"), "program: a tool refused"),
        (code("final_answer(12)"), "program: calls no tool"),
        (code("final_answer(add(1, -1))"), "program: trivial answer"),
        (code("add(1)\nfinal_answer('' or echo(''))"), "program: trivial answer"),
        (code("final_answer(echo(12))"), "program: the program contains the answer"),
        (code("final_answer(int(echo('12')))"), "program: the program contains the answer"),
        (code("final_answer(fill(1000))"), "program: answer too long"),
        (code("cancel_order('order_1')\nfinal_answer(1)"), "program: no change that the tools show"),
    ],
)
def test_solution_first_drops_programs_with_a_reason(workshop, program: str, said: str) -> None:
    """A program that cannot become a task is a rejected candidate that says why."""
    task = asyncio.run(solution_first.make(workshop(rule("solution-first-program", program)), EXPLORATION, 1))
    assert task.error is not None
    assert task.error.message == said
    assert program in task.extra["reply"]


def test_solution_first_needs_three_failure_cases(workshop) -> None:
    """The candidate is dropped if neither the model nor mutation finds three programs that fail."""
    made = workshop(
        rule("solution-first-program", code("final_answer(get_user('user_1')['name'])")),
        rule("solution-first-instruction", "What is the name of the user user_1 in this shop?"),
        rule("solution-first-failures", "none"),
    )
    task = asyncio.run(solution_first.make(made, EXPLORATION, 1))
    assert task.error is not None
    assert task.error.message == "failure cases: fewer than three fail"


@pytest.mark.parametrize(
    ("text", "facts", "answer", "problem"),
    [
        (QUESTION, [2, 3.5, 10], 15.5, ""),
        ("Too short", [], 1, "too short or too long"),
        ("long " * 200, [], 1, "too short or too long"),
        ("Run this please: ```python\nx\n```", [], 1, "holds code"),
        ("Please do this:\nimport everything now", [], 1, "holds code"),
        ("Use get_user to find the name of the user", [], "x1", "names a tool"),
        ("What is 2 plus four, if you add them?", [2, 4], 6, "leaves a fact out"),
        ("What is 2 plus 4? (It makes 6, of course.)", [2, 4], 6, "gives the answer away"),
        ("What do 1,200 and 2 make together? Answer in full.", [1200, 2], 1202, ""),
        ("It is -3.5 degrees; what is that in another unit?", [-3.5], 25.7, ""),
        ("Say the word HELLO backwards, if you please.", ["hello"], "olleh", ""),
        ("Stay 3 nights and eat 3 meals: how much is it at 5 each?", [3, 5, 3, 5], 30, ""),
        ("Among 5, 2 and 8, the smallest number is 2.", [5, 2, 8], 2, "asks nothing"),
        ("Count the nucleotides in a sequence, please.", ["C"], 1, "leaves a fact out"),
        ("Write (a, b) with ', ' and the sign '/' between them.", [", ", "/", "b"], "x", ""),
        ("Is there 1 thing here that is true, or is there none?", [], True, ""),
        ("Is there 1 thing here that is nothing, or is there none?", [], None, ""),
        ("Is there 1 thing here that is a list, or is there none?", [], [1], ""),
    ],
)
def test_instructions_are_judged(text: str, facts: list[Any], answer: Any, problem: str) -> None:
    """An instruction names every fact, neither a tool nor the answer, and is prose of a sensible length."""
    assert instruction_problem(text, facts, answer, ["get_user", "add"]) == problem


def test_chains_of_tools_fit_and_follow_from_the_seed(sandbox: Sandbox) -> None:
    """Each tool of a chain takes what the one before gives; the same seed draws the same; lengths differ."""
    tools, *_ = sandbox.describe(EnvSpec(name="calculation", options={"family": "trade_calculator"}))
    chains = [draw_chain(tools, random.Random(seed)) for seed in range(40)]
    assert chains == [draw_chain(tools, random.Random(seed)) for seed in range(40)]
    assert {len(chain) for chain in chains} == {1, 2, 3}
    for chain in chains:
        assert all(fits.accepts(after, before.returns) for before, after in itertools.pairwise(chain))


def test_a_changed_prompt_concerns_the_commands_that_use_it(tmp_path: Path) -> None:
    """A changed prompt only changes the fingerprint of the commands that use it, and every prompt belongs to one
    kind.
    """
    (tmp_path / "compose-step.md").write_text("[user]\n$call")
    changed = [
        Prompts().fingerprint(*kind) != Prompts(tmp_path).fingerprint(*kind) for kind in (ATTEMPT, CHALLENGE, EXPLORE)
    ]
    assert changed == [False, True, False]
    all_kinds = (*ATTEMPT, *CHALLENGE, *EXPLORE, *SENSE, *WALK)
    kinds = [[kind for kind in all_kinds if name.startswith(kind)] for name in names()]
    assert all(len(found) == 1 for found in kinds)
