"""The proofs after the paper's filter in the real sandbox: each stage, and the twins of the jail."""

import time
from dataclasses import dataclass
from typing import Any

import pytest

from sca_cli.records import EnvSpec, Task, sealed
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.sandbox.inside.clock import STEP_S
from sca_cli.verification import paper_filter
from sca_cli.verification.proofs import PROOFS
from sca_cli.verification.trial import Trial, in_secret_order, programs

pytestmark = pytest.mark.sandbox

RENAMED = "return get_user('user_1')['name'] == 'Eve'"
RENAME = "set_name('user_1', 'Eve')"
NOT_RENAMED = ["pass", "set_name('user_2', 'Eve')", "set_name('user_1', 'eve')"]
SIXTEEN = "final_answer(add(3, 16))"
NAME = "final_answer(get_user('user_1')['name'])"
LISTED = "final_answer(echo(['b', 'a']))"
SUM = "final_answer(add(3, 40))"
NOT_THE_SUM = ["final_answer(42)", "final_answer('43')", "pass"]
ANN = "and get_user('user_1')['name'] == 'Ann1'"
BY_NAME = "set(['alpha', 'beta', 'gamma', 'delta', 'epsilon'])"
WORDS = "{'alpha', 'beta', 'gamma', 'delta', 'epsilon'}"


def made(
    check: str = "return answer == 43",
    solution: str = SUM,
    failures: list[str] = NOT_THE_SUM,
    instruction: str = "Add 3 and 40.",
) -> Task:
    """Return a task of the shop; the arguments change a good one."""
    takes = "answer" if "answer" in check else ""
    evaluate = f"def evaluate({takes}):\n    {check}"
    spec = EnvSpec(name="shop")
    return sealed(
        Task(env=spec, seed=1, instruction=instruction, evaluate=evaluate, solution=solution, failure_cases=failures)
    )


@dataclass(frozen=True)
class Case:
    """A task with a finding of a stage, and the most similar task without one."""

    stage: str
    caught: Task
    sound: Task
    says: str
    rejects: bool = True


CASES = {
    "nothing": Case(
        "no-op", made("return answer != 8", failures=["final_answer(8)"] * 3), made(), "doing nothing passes"
    ),
    "answer alone": Case(
        "no-op",
        made("get_user('user_1'); return answer == 'ok'", f"final_answer({RENAME})"),
        made(f"{RENAMED} and answer == 'ok'", f"final_answer({RENAME})"),
        "the answer alone passes",
    ),
    # Numbers of which the programs drawn for these tasks call no tool that ends the world or sleeps.
    "any number": Case(
        "random",
        made(
            "return isinstance(answer, int)",
            SIXTEEN,
            ["final_answer('43')", "final_answer([])", "pass"],
            "Add 3 and 16.",
        ),
        made("return answer == 19", SIXTEEN, ["final_answer(1)"] * 3, "Add 3 and 16."),
        "a random program passes",
    ),
    "near number": Case(
        "wrong", made("return abs(answer - 43) < 5", failures=["final_answer(0)"] * 3), made(), "as well"
    ),
    "somebody else": Case(
        "wrong",
        made(RENAMED, f"echo(['user_1', 'user_2']); {RENAME}", NOT_RENAMED),
        made(
            f"{RENAMED} and get_user('user_2')['name'] == 'Ann1'", f"echo(['user_1', 'user_2']); {RENAME}", NOT_RENAMED
        ),
        "the check passes with another call as well: set_name('user_2', 'Eve')",
        rejects=False,
    ),
    "any name": Case(
        "wrong",
        made("return get_user('user_1')['name'] != 'Ann1'", RENAME, ["pass"] * 3),
        made(RENAMED, RENAME, NOT_RENAMED),
        "the check accepts a changed solution",
    ),
    "any of two": Case(
        "wrong",
        made(
            "return answer[:1] == ['Ann1']",
            "final_answer([get_user('user_1')['name'], 'open'])",
            ["final_answer([])"] * 3,
        ),
        made(
            "return answer == ['Ann1', 'open']",
            "final_answer([get_user('user_1')['name'], 'open'])",
            ["final_answer([])"] * 3,
        ),
        "as well",
    ),
    "empty answer": Case(
        "wrong",
        made("return get_user('user_1')['name'].startswith(answer)", NAME, ["final_answer('x')"] * 3),
        made("return get_user('user_1')['name'] == answer", NAME, ["final_answer('x')"] * 3),
        "the check accepts the answer '' as well",
    ),
    "not a number": Case(
        "wrong",
        made("return not abs(float(answer) - 43) > 0.01", failures=["final_answer(0)"] * 3),
        made("return abs(float(answer) - 43) < 0.01", failures=["final_answer(0)"] * 3),
        "the check accepts the answer 'nan' as well",
    ),
    "3 per cent": Case(
        "wrong",
        made("return abs(answer - 400) <= 12", "final_answer(add(300, 100))", ["final_answer(0)"] * 3),
        made("return abs(answer - 400) <= 0.1", "final_answer(add(300, 100))", ["final_answer(0)"] * 3),
        "the check accepts the answer '410.0' as well",
        rejects=False,
    ),
    "answer without a judge": Case(
        "wrong",
        made(RENAMED, f"{RENAME}\nfinal_answer('Ann1')", NOT_RENAMED),
        made(RENAMED, RENAME, NOT_RENAMED),
        "evaluate() takes no answer, so nothing judges the answer 'Ann1'",
        rejects=False,
    ),
    "order": Case(
        "wrong",
        made("return answer == ['b', 'a']", LISTED, ["final_answer([])"] * 3, "List b and a, in any order."),
        made("return sorted(answer) == ['a', 'b']", LISTED, ["final_answer([])"] * 3, "List b and a, in any order."),
        "the order does not matter, but the check fails \"['a', 'b']\"",
        rejects=False,
    ),
    "hidden clock": Case(
        "deterministic",
        made("return answer == 43 and __import__('ti' + 'me').time() > 0"),
        made("return answer == 43 and __import__('ma' + 'th').pi > 0"),
        "the check depends on time",
    ),
    "near number in the instruction": Case(
        "leak",
        made(instruction="Add 3 and 40. A colleague says it is a bit more than forty-two point eight."),
        made(),
        "the instruction contains 42.8, which hints at the answer 43",
        rejects=False,
    ),
    "text of an object": Case(
        "literals",
        made(
            "return answer == repr({'b': 1, 'a': 2})",
            "final_answer(repr(echo({'b': 1, 'a': 2})))",
            ["final_answer(0)"] * 3,
            "Give the object {'b': 1, 'a': 2} as text.",
        ),
        made(
            "return answer == {'b': 1, 'a': 2}",
            "final_answer(echo({'b': 1, 'a': 2}))",
            ["final_answer(0)"] * 3,
            "Give the object {'b': 1, 'a': 2}.",
        ),
        "the check accepts only one way to write it",
        rejects=False,
    ),
    "half of it": Case(
        "wrong",
        made(RENAMED, f"{RENAME}; cancel_order('order_1')", NOT_RENAMED),
        made(RENAMED, RENAME, NOT_RENAMED),
        "the check accepts a changed solution",
    ),
    "clock": Case(
        "deterministic",
        made("import time; return answer == 43 and time.time() > 0"),
        made("import math; return answer == 43 and math.pi > 0"),
        "the check depends on time",
    ),
    "chance": Case(
        "deterministic",
        made(solution=f"import random; random.seed(1); {SUM}"),
        made(solution=f"import math; math.sqrt(1); {SUM}"),
        "the solution depends on random",
    ),
    "device": Case(
        "deterministic",
        made("return answer == 43 and open('/dev/urandom', 'rb') is not None"),
        made("time = 43; return answer == time"),
        "the check depends on /dev/urandom",
    ),
    "order of a set made by name": Case(
        "deterministic",
        made(f"return answer == ' '.join({BY_NAME})", f"final_answer(' '.join({BY_NAME}))"),
        made(f"return answer == ' '.join(sorted({BY_NAME}))", f"final_answer(' '.join(sorted({BY_NAME})))"),
        "run again, solution gives another result",
    ),
    "order of a set": Case(
        "deterministic",
        made(f"return answer == ' '.join({WORDS})", f"final_answer(' '.join({WORDS}))"),
        made(f"return answer == ' '.join(sorted({WORDS}))", f"final_answer(' '.join(sorted({WORDS})))"),
        "run again, solution gives another result",
    ),
    "no call": Case("tools", made(solution="final_answer(43)"), made(), "no tool call of the solution succeeds"),
    "calls for show": Case(
        "tools",
        made(solution="add(3, 40); final_answer(43)"),
        made(solution="got = add(3, 40); final_answer(got)"),
        "the answer does not depend on what the tools return",
    ),
    "no effect": Case(
        "tools",
        made("return get_user('user_1')['name'] == 'Ann1'", "add(3, 40)", [RENAME] * 3),
        made(RENAMED, RENAME, NOT_RENAMED),
        "neither changes anything nor answers",
    ),
    "refused": Case(
        "tools",
        made(solution=f"try:\n    get_user('nobody')\nexcept ToolError:\n    pass\n{SUM}"),
        made(solution=f"try:\n    get_user('user_1')\nexcept ToolError:\n    pass\n{SUM}"),
        "1 of the solution's calls were refused",
        rejects=False,
    ),
    "writing check": Case(
        "tools",
        made("try:\n        set_name('user_1', 'Bob')\n    except ToolError:\n        return answer == 43"),
        made("try:\n        get_user('user_1')\n    except ToolError:\n        return False\n    return answer == 43"),
        "the check calls set_name, which writes",
        rejects=False,
    ),
    "untried": Case(
        "conditions",
        made(f"return answer == 43 {ANN}"),
        made(f"return answer == 43 {ANN}", failures=["final_answer(42)", "pass", f"{RENAME}; {SUM}"]),
        "no failure case tries the condition: get_user('user_1')['name'] == 'Ann1'",
        rejects=False,
    ),
    "answer told": Case(
        "leak",
        made(instruction="Add 3 and 40, which should be 43."),
        made(instruction="Add 3 and 40, which should be easy."),
        "the instruction contains the answer 43",
    ),
    "call told": Case(
        "leak",
        made(instruction="Report add(3, 40)."),
        made(instruction="Report the sum (3, 40)."),
        "the instruction contains a call of add()",
    ),
    "choice": Case(
        "leak",
        made("return answer == 'Ann1'", "final_answer(get_user('user_1')['name'])", instruction="Is it Ann1 or Bob?"),
        made("return answer == 'Ann1'", "final_answer(get_user('user_1')['name'])", instruction="Is it Ann or Bob?"),
        "the instruction contains the answer Ann1",
        rejects=False,
    ),
    "one of two": Case(
        "leak",
        made("return answer == 'yes'", "final_answer('yes' if add(3, 40) > 9 else 'no')", instruction="Is 3 + 40 > 9?"),
        made("return answer == 43", "final_answer(add(3, 40))", instruction="How much is 3 + 40?"),
        "the answer is 'yes', one of two: a guess passes half of the time",
        rejects=False,
    ),
    "spelled out": Case(
        "leak",
        made(instruction="Add 3 and 40, which should be forty-three."),
        made(instruction="Add 3 and 40, which should be forty or so."),
        "the instruction contains the answer 43",
    ),
    "digit told": Case(
        "leak",
        made("return answer == 7", "final_answer(add(3, 4))", instruction="Add 3 and 4; give a number, e.g. 7."),
        made("return answer == 7", "final_answer(add(3, 4))", instruction="Add 3 and 4 for 7 children."),
        "the instruction hints at the answer 7",
        rejects=False,
    ),
    "words to say": Case(
        "literals",
        made(
            f"{RENAMED} and answer != ''",
            f"{RENAME}; final_answer('It is done.')",
            ["pass"] * 3,
            "Rename user_1 to Eve.",
        ),
        made(RENAMED, f"{RENAME}; final_answer('It is done.')", NOT_RENAMED, "Rename user_1 to Eve."),
        "the solution needs 'It is done.', which neither the instruction nor a tool states",
        rejects=False,
    ),
    "check's secret": Case(
        "literals",
        made("return answer == 43 and get_user('user_1')['name'] != 'Zed99'"),
        made(
            "return answer == 43 and get_user('user_1')['name'] != 'Zed99'",
            instruction="Add 3 and 40, unless the first is named Zed99.",
        ),
        "the check needs 'Zed99', which neither the instruction nor a tool states",
        rejects=False,
    ),
    "form": Case(
        "literals",
        made("return answer == 43.3", "final_answer(round(add(3, 40.333), 1))", instruction="Add 3 and 40.333."),
        made("return answer == 43.3", "final_answer(round(add(3, 40.333), 1))", instruction="3 + 40.333, one decimal?"),
        "the check wants 43.3 but the solution found 43.333: the instruction does not ask for 'rounding'",
        rejects=False,
    ),
    "solution's secret": Case(
        "literals",
        made(instruction="Add 3 and something."),
        made(),
        "the solution needs 40, which neither the instruction nor a tool states",
        rejects=False,
    ),
}


def test_every_stage_has_a_case() -> None:
    """Every stage has a case with a finding."""
    assert {case.stage for case in CASES.values()} == set(PROOFS)


@pytest.mark.parametrize("name", CASES)
def test_a_stage_catches_its_defect_and_lets_the_nearest_sound_task_pass(sandbox: Sandbox, name: str) -> None:
    """The stage has a finding for one task and none for the other, and both pass the paper's filter. A finding that is
    only reported rejects with `strict`.
    """
    case = CASES[name]
    assert paper_filter.verify(sandbox, case.caught).stage == "kept"
    for strict in (False, True):
        caught = paper_filter.verify(sandbox, case.caught, {case.stage}, strict=strict)
        (finding,) = caught.findings
        assert (finding.stage, finding.rejects) == (case.stage, case.rejects), finding
        assert case.says in finding.message
        assert caught.stage == (case.stage if case.rejects or strict else "kept")
        assert caught.passed == (caught.stage == "kept")
    sound = paper_filter.verify(sandbox, case.sound, {case.stage}, strict=True)
    assert (sound.stage, sound.findings) == ("kept", [])


def test_a_task_falls_at_the_first_stage_that_rejects_it(sandbox: Sandbox) -> None:
    """The first stage that rejects, in the order of the funnel, decides; earlier reports are kept, later stages do not
    run.
    """
    task = made("return answer is not None", "final_answer(43)", ["pass"] * 3, "The answer is 43.")
    everything = paper_filter.verify(sandbox, task, set(PROOFS))
    later = paper_filter.verify(sandbox, task, {"tools", "leak"})
    assert (everything.stage, later.stage) == ("random", "tools")
    assert [finding.stage for finding in later.findings] == ["tools"]


def test_the_evidence_stands_in_the_verdict(sandbox: Sandbox) -> None:
    """The verdict holds the outcome of the no-op, of the random programs and of the programs in the twin."""
    verdict = paper_filter.verify(sandbox, made(), {"no-op", "random", "deterministic"})
    names = [check.name for check in verdict.checks[4:]]
    again = [f"failure_case[{place}]@1" for place in range(3)]
    assert names[:4] == ["no-op", "random[0]", "random[1]", "random[2]"]
    assert sorted(names[4:]) == sorted([*again, "solution@1"])
    assert {check.outcome for check in verdict.checks if check.name != "solution" and "random" not in check.name} == {
        "fail", "pass",
    }  # fmt: skip
    assert [check.name for check in verdict.checks if check.outcome == "pass"] == ["solution", "solution@1"]


NONE = ("return answer is None", "final_answer(echo(None))", ["final_answer('x')"] * 3)
NO_SUCH_USER = (
    "try:\n    get_user('user_9')\n    known = 'yes'\nexcept ToolError:\n    known = 'no'\nfinal_answer(known)"
)


@pytest.mark.parametrize(
    ("task", "stage", "messages"),
    [
        (made(*NONE, "Answer None if it is empty."), "kept", ["ask for a text such as 'none'"]),
        (made(*NONE, "What is it?"), "no-op", ["ask for a text such as 'none'"]),
        (
            made("return answer == 'no'", NO_SUCH_USER, ["final_answer('yes')"] * 3, "Is there a user_9? Yes or no?"),
            "kept",
            ["1 of the solution's calls were refused"],
        ),
        (
            made(
                "return abs(answer - 43) < 5", failures=["final_answer(0)"] * 3, instruction="Roughly, what is 3 + 40?"
            ),
            "kept",
            ["as well"],
        ),
    ],
    ids=["none", "none that is not asked for", "refusal", "roughly"],
)
def test_an_unusual_task_is_reported_and_not_rejected(
    sandbox: Sandbox, task: Task, stage: str, messages: list[str]
) -> None:
    """None that is asked for, a refusal that the answer depends on, and a rough number are right answers."""
    verdict = paper_filter.verify(sandbox, task, {"no-op", "random", "wrong", "tools"})
    assert verdict.stage == stage
    assert len(verdict.findings) == len(messages), verdict.findings
    assert all(text in finding.message for text, finding in zip(messages, verdict.findings, strict=True))


def test_a_proof_that_fails_rejects_one_task(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error in a stage is a finding against the task, with the error's name."""

    def no_stage(_: Trial) -> None:
        raise RecursionError("too deep")

    monkeypatch.setitem(PROOFS, "leak", no_stage)  # type: ignore[arg-type]  # its error is the point
    verdict = paper_filter.verify(sandbox, made(), {"leak"})
    assert (verdict.stage, verdict.findings[0].message) == (
        "leak",
        "this proof failed on the task: RecursionError: too deep",
    )


def test_a_program_cannot_read_which_twin_it_is(sandbox: Sandbox, shop: EnvSpec) -> None:
    """The process environment is empty, and the interpreter's flags are the same in every twin."""
    asks = "import os, sys; final_answer([dict(os.environ), list(sys.flags)])"
    (variables, flags), again = (answer_of(sandbox, shop, asks, twin) for twin in (0, 1))
    assert variables == {}
    assert [variables, flags] == again


def test_a_check_too_deep_to_examine_falls_by_it(sandbox: Sandbox) -> None:
    """A stage that needs the syntax tree rejects a check whose source cannot be parsed."""
    deep = made("return answer == " + "-" * 120 + "43")
    assert paper_filter.verify(sandbox, deep).stage == "kept"
    verdict = paper_filter.verify(sandbox, deep, {"conditions"})
    assert (verdict.stage, verdict.findings[0].message.partition(":")[0]) == (
        "conditions",
        "the source cannot be analysed",
    )


# ---------------------------------------------------------------- twins


def answer_of(sandbox: Sandbox, shop: EnvSpec, program: str, twin: int) -> Any:
    """Return the answer of a program in a twin."""
    with sandbox.session(shop, 1, twin=twin) as session:
        run = session.run(program)
        assert run.ok, run.message
        return run.answer


@pytest.mark.parametrize(
    "value",
    [
        "time.time()", "time.time_ns()", "time.strftime('%Y-%m-%d')", "time.ctime()", "time.gmtime().tm_yday",
        "time.localtime().tm_year", "datetime.date.today().isoformat()", "datetime.datetime.now().isoformat()",
        "datetime.datetime.utcnow().isoformat()", "datetime.datetime.now(datetime.UTC).isoformat()",
        "random.random()", "hash('text')", f"list({WORDS})",
    ],
)  # fmt: skip
def test_a_twin_differs_in_clock_chance_and_order(sandbox: Sandbox, shop: EnvSpec, value: str) -> None:
    """Time, random numbers and hashes differ between twins."""
    program = f"import datetime, random, time, warnings\nwarnings.simplefilter('ignore')\nfinal_answer({value})"
    first, second = answer_of(sandbox, shop, program, 0), answer_of(sandbox, shop, program, 1)
    assert first != second


@pytest.mark.parametrize("value", ["3 + 4", "sorted({'b', 'a'})", "hash(7)", "get_user('user_1')"])
def test_a_twin_is_the_same_world(sandbox: Sandbox, shop: EnvSpec, value: str) -> None:
    """Everything else is the same in a twin, such as the environment's state."""
    assert answer_of(sandbox, shop, f"final_answer({value})", 0) == answer_of(
        sandbox, shop, f"final_answer({value})", 1
    )


def test_chance_is_the_same_in_one_twin(sandbox: Sandbox, shop: EnvSpec) -> None:
    """One twin draws the same random numbers every time, so that a verdict can be repeated."""
    program = "import random\nfinal_answer([random.random(), hash('text')])"
    assert answer_of(sandbox, shop, program, 1) == answer_of(sandbox, shop, program, 1)


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        (f"import time; return time.time() < {time.time() + STEP_S / 2}", "fail"),
        (f"import datetime; return datetime.datetime.now().timestamp() < {time.time() + STEP_S / 2}", "fail"),
        (f"return ' '.join({WORDS}) == answer", "fail"),
        ("return answer == ANSWER", "pass"),
    ],
    ids=["time", "date", "order", "neither"],
)
def test_a_check_in_a_twin_sees_another_day_and_another_order(
    sandbox: Sandbox, shop: EnvSpec, check: str, outcome: str
) -> None:
    """A check that depends on the date or the order of a set has another outcome in a twin; other checks have the
    same.
    """
    answer = answer_of(sandbox, shop, f"final_answer(' '.join({WORDS}))", 0)
    task = made(check.replace("ANSWER", repr(answer)), failures=[])
    program = f"final_answer({answer!r})"
    found = [paper_filter.run_check(sandbox, task, program, "x", twin=twin).outcome for twin in (0, 1)]
    assert found == ["pass", outcome]


def test_dates_of_a_twin_are_dates(sandbox: Sandbox, shop: EnvSpec) -> None:
    """A twin's date and time are more than a year ahead, and behave like ordinary dates with isinstance and
    subclasses.
    """
    program = """\
import datetime, pickle
now, today = datetime.datetime.now(), datetime.date.today()
class Holiday(datetime.date):
    pass
final_answer({
    "now": now.timestamp(),
    "true": [
        isinstance(now, datetime.datetime), isinstance(now, datetime.date), isinstance(today, datetime.date),
        isinstance(now.date(), datetime.date), isinstance(now + datetime.timedelta(1), datetime.datetime),
        issubclass(datetime.datetime, datetime.date), isinstance(Holiday(2024, 1, 1), Holiday),
        isinstance(Holiday(2024, 1, 1), datetime.date), issubclass(Holiday, datetime.date),
        now.date() == today, now.year == today.year, pickle.loads(pickle.dumps(now)) == now,
        datetime.datetime.strptime("2024-02-29", "%Y-%m-%d") == datetime.datetime(2024, 2, 29),
    ],
    "false": [
        isinstance(today, datetime.datetime), isinstance(today, Holiday), isinstance("today", datetime.date),
        issubclass(datetime.date, datetime.datetime), issubclass(datetime.date, Holiday),
    ],
})"""
    before = time.time()
    for twin in (0, 1):
        told = answer_of(sandbox, shop, program, twin)
        assert before - 1 <= told["now"] - twin * STEP_S <= time.time() + 1
        assert all(told["true"]), told
        assert not any(told["false"]), told


def test_limits_hold_in_a_twin(shop: EnvSpec) -> None:
    """The changed clock of a twin neither shortens nor extends the time limits."""
    with Sandbox(Limits(wall_s=0.5)) as quick, quick.session(shop, 1, twin=1) as session:
        assert session.run("import time\ntime.sleep(0.05)").ok
        assert session.run("import time\ntime.sleep(60)").reason == "timeout"


def test_nobody_can_tell_which_run_it_is_in(sandbox: Sandbox, shop: EnvSpec) -> None:
    """The order of the runs is random and independent of the task's id, and process ids are always 0."""
    orders = set()
    for _ in range(60):
        order: list[str] = []
        done = in_secret_order(made(), lambda name, text, order=order: order.append(name) or text)  # type: ignore[misc]
        assert list(done.items()) == programs(made())
        orders.add(tuple(order))
    assert len(orders) > 10
    asks = "import os, threading; numbers = [os.getpid(), os.getppid(), threading.get_native_id()]"
    assert answer_of(sandbox, shop, f"{asks}\nfinal_answer(numbers)", 0) == [0, 0, 0]
    with sandbox.session(shop, 1) as session:
        assert session.evaluate(f"def evaluate():\n    {asks}\n    return numbers == [0, 0, 0]").outcome == "pass"


def test_a_child_is_any_of_those_that_wait(sandbox: Sandbox, shop: EnvSpec) -> None:
    """The numbers of a process's sockets do not reveal how many processes started before it."""
    places = []
    for _ in range(12):
        asks = "import os; final_answer(os.fstat(3).st_ino)"
        places.append(answer_of(sandbox, shop, asks, 0))
    assert sorted(places) not in (places, places[::-1])
