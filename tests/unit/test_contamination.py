"""What evaluated tasks share with trained ones: the same task, instruction, program or sequence of calls."""

import tracemalloc

import msgspec
import pytest

from sca_cli.evaluation.contamination import TrainedOn, normalised
from sca_cli.evaluation.scores import counted, overlap_of
from sca_cli.records import Check, EnvSpec, Observation, Outcome, Rollout, Task, Verdict, sealed

SOLUTION = "a = add(3, 4)\nfinal_answer(double(a))"


def task(instruction: str = "Add 3 and 4.", solution: str = SOLUTION, env: str = "shop", **fields: object) -> Task:
    """Return a task."""
    given = Task(env=EnvSpec(name=env), instruction=instruction, evaluate="e", solution=solution)
    return sealed(msgspec.structs.replace(given, **fields))


def verified(task: Task, *tools: str) -> Task:
    """Return the task with a verdict that says which tools its solution called, and another's failure case."""
    checks = [
        Check(name="solution", outcome="pass", calls=[Observation(tool=tool) for tool in tools]),
        Check(name="failure_case[0]", outcome="fail", calls=[Observation(tool="other")]),
    ]
    return msgspec.structs.replace(task, verdict=Verdict(passed=True, stage="kept", checks=checks))


def found(trained: Task, evaluated: Task) -> set[str]:
    """Return the classes in which one task is found in the other."""
    known = TrainedOn()
    known.add(trained)
    shared = known.shared_by([evaluated])
    return {name for name in ("same", "instruction", "program", "calls") if getattr(shared, name)}


ALL = {"same", "instruction", "program", "calls"}


@pytest.mark.parametrize(
    ("evaluated", "classes"),
    [
        (task(), ALL),
        (task(split="eval", calls=2, id="mine"), ALL),
        (verified(task(), "add", "double"), ALL),
        (task("  ADD 3, and 4\n"), ALL - {"same"}),
        (task("Add 3 and 5."), {"program", "calls"}),
        (task("Sum!", "x = add(7, 8)\nunused = add(1, 1)\nfinal_answer(double(x))"), {"program"}),
        (task("Sum!", "final_answer(double(add(1, 2)))"), {"program", "calls"}),
        (task("Sum!", "n = add(1, 2)\nn = double(n)\nfinal_answer(n)"), {"program", "calls"}),
        (task("Sum!", "n = add(1, 2)\nfinal_answer(double(n) + n)"), {"calls"}),
        (task("Sum!", "final_answer(double(add(1, 2)))", env="kiosk"), {"program"}),
        (task("Sum!", env="kiosk"), {"program"}),
        (task("Sum!", "final_answer(add(double(1), 2))"), set()),
        (task("Sum!", "x = 1\nfinal_answer(x)"), set()),
        (task("Sum!", ""), set()),
        (task("Sum!", "final_answer("), set()),
    ],
    ids=[
        "itself",
        "itself, held out",
        "itself, verified",
        "wording",
        "another number",
        "another value",
        "layout",
        "one name for all",
        "another use",
        "environment",
        "program in another environment",
        "order",
        "no calls",
        "no solution",
        "no program",
    ],
)
def test_each_class_is_found_and_nothing_else(evaluated: Task, classes: set[str]) -> None:
    """Exactly the classes of overlap that two tasks have are found, from either side."""
    assert found(task(), evaluated) == classes
    assert found(evaluated, task()) == classes


@pytest.mark.parametrize("solution", ["", "final_answer(7)", "final_answer(", "done = set_name('a')\nfinal_answer(7)"])
def test_solutions_that_say_nothing_are_not_alike(solution: str) -> None:
    """Programs that are absent, broken or without a call that is read are not found in each other."""
    other = solution.replace("set_name", "cancel")
    assert found(task("One.", solution), task("Other.", other)) == set()


def test_calls_are_those_of_the_verdict_and_of_the_text() -> None:
    """A loop calls more often than its text; either sequence is found, and a verdict without calls is none."""
    loop = task("Sum!", "for n in (1, 2):\n    add(n, 1)\nfinal_answer(double(3))")
    ran = verified(loop, "add", "add", "double")
    assert found(task(), loop) == found(task(), ran) == {"calls"}
    assert found(task("Two.", "add(1, 2)\nadd(3, 4)\nfinal_answer(double(5))"), ran) == {"calls"}
    assert found(verified(task("Two.", ""), "cancel"), verified(task("One.", ""), "cancel")) == {"calls"}
    assert found(verified(task("Two.", "")), verified(task("One.", ""))) == set()


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Caf\u00e9 - now", "  cafe\u0301\nNOW!", True),
        ("Ship “#W1” (today).", "ship w1 today", True),
        ("What is 3 + 4?", "What is 3 < 4?", False),
        ("Ship W1.", "Ship W2.", False),
    ],
)
def test_case_layout_and_punctuation_aside(one: str, other: str, alike: bool) -> None:
    """What differs in these alone is one instruction; symbols, numbers and words count."""
    assert (normalised(one) == normalised(other)) == alike


def test_an_instruction_of_signs_alone_is_compared_as_it_is() -> None:
    """Two such instructions are not both empty."""
    assert (normalised("?!"), normalised("...")) == ("?!", "...")


def test_the_same_id_is_not_the_same_task() -> None:
    """Ids of the user's own are not trusted: what a task says decides."""
    assert found(task("One.", "f()", id="1"), task("Other.", "g()", id="1")) == set()


def test_memory_holds_digests_only() -> None:
    """Sixty tasks of 20 kB take a few kB each at most, and a task that comes again takes none."""
    known = TrainedOn()
    tracemalloc.start()
    taken = []
    for number in [*range(60), *range(10)]:
        known.add(task(f"{number} " + "x" * 20_000, f"final_answer(add({number}))"))
        taken.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert taken[59] - taken[29] < 30 * 2_000
    assert taken[-1] - taken[59] < 2_000


# ---------------------------------------------------------------- the score


def attempts(task: Task, *outcomes: Outcome) -> list[Rollout]:
    """Return attempts at a task."""
    return [Rollout(task=task, outcome=outcome) for outcome in outcomes]


KNOWN, ALIKE, NEW = task(), task("Sum!"), task("Cancel.", "cancel('a')")


def test_scores_and_differences_leave_out_what_is_shared() -> None:
    """Pass@1 and the paired difference are those of the other tasks, by class."""
    trained = TrainedOn()
    trained.add(KNOWN)
    shared = trained.shared_by([KNOWN, ALIKE, NEW])
    before = counted(
        [*attempts(KNOWN, "fail", "fail"), *attempts(ALIKE, "fail", "pass"), *attempts(NEW, "pass", "fail")]
    )
    after = counted(
        [*attempts(KNOWN, "pass", "pass"), *attempts(ALIKE, "pass", "pass"), *attempts(NEW, "fail", "fail")]
    )
    found = overlap_of(shared, after, before)
    assert found is not None
    assert (found.trained, found.same) == (1, 1)
    parts = {name: getattr(found, name) for name in ("instruction", "program", "either", "calls")}
    assert {name: part.tasks for name, part in parts.items()} == {
        "instruction": 1,
        "program": 2,
        "either": 2,
        "calls": 2,
    }
    assert [part.pass_at_1.value for part in parts.values()] == [0.5, 0.0, 0.0, 0.0]
    assert [part.difference.value for part in parts.values()] == [0.0, -0.5, -0.5, -0.5]


def test_tasks_that_a_model_did_not_attempt_are_not_its_own() -> None:
    """The overlap of a model counts only the tasks that it attempted."""
    trained = TrainedOn()
    trained.add(KNOWN)
    found = overlap_of(trained.shared_by([KNOWN, ALIKE, NEW]), counted(attempts(ALIKE, "pass")))
    assert found is not None
    assert (found.same, found.instruction.tasks, found.program.tasks) == (0, 0, 1)


def test_without_tasks_left_there_is_no_score() -> None:
    """The score of the tasks that are not shared is None if all are shared; without `--against` there is no overlap."""
    trained = TrainedOn()
    trained.add(KNOWN)
    tallies = counted(attempts(KNOWN, "pass"))
    found = overlap_of(trained.shared_by([KNOWN]), tallies, tallies)
    assert found is not None
    assert (found.calls.tasks, found.calls.pass_at_1, found.calls.difference) == (1, None, None)
    assert overlap_of(None, tallies) is None
