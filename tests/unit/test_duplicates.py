"""What makes two tasks the same: what they do, not their wording, names or layout."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca_cli.records import JSON, Check, EnvSpec, Observation, Task, Verdict
from sca_cli.verification.duplicates import KeptTasks, masked

NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
    lambda name: not keyword.iskeyword(name) and name not in ("add", "final_answer")
)
LITERALS = st.integers(0, 10**6).map(repr)


def verified(
    solution: str, *calls: list[JSON], instruction: str = "i", seed: int = 1, env: str = "shop", passed: bool = True
) -> Task:
    """Return a task that was verified, whose solution made calls of `add`."""
    made = [Observation(tool="add", args=args) for args in calls]
    verdict = Verdict(passed=passed, stage="kept", checks=[Check(name="solution", outcome="pass", calls=made)])
    return Task(
        env=EnvSpec(name=env), seed=seed, instruction=instruction, evaluate="e", solution=solution, verdict=verdict
    )


FIRST = verified("a = add(3, 4)\nfinal_answer(a)", [3, 4])


@pytest.mark.parametrize(
    ("task", "found"),
    [
        (FIRST, "calls"),
        (verified("total  =  add( 3, 4 )  # sum\n\n\nfinal_answer(total)", [3, 4], instruction="Sum!"), "calls"),
        (verified("x = 9\na = add(3, 4)\nfinal_answer(a)", [3, 4]), "calls"),
        (verified("a = add(3, 4)\nfinal_answer(a)", [3, 4], seed=2), "calls"),
        (verified("a = add(5, 6)\nfinal_answer(a)", [5, 6]), "values"),
        (verified("final_answer(add(3, 4))", [3, 4]), "same calls"),
        (verified("a = add(3, 4)\nfinal_answer(len(a))", [3, 4]), "same calls"),
        (verified("a = add(3, 4)\nfinal_answer(a + 1)", [3, 4]), "same calls"),
        (verified("a = add(3, 4)\nfinal_answer(a)", [3, 4], env="kiosk"), None),
        (verified("a = add('3', 4)\nfinal_answer(a)", ["3", 4]), None),
    ],
    ids=[
        "itself",
        "wording",
        "unused step",
        "seed",
        "values",
        "layout of steps",
        "other function",
        "more",
        "environment",
        "type",
    ],
)
def test_a_duplicate_does_the_same_whatever_it_is_called(task: Task, found: str | None) -> None:
    """The same program with the same calls rejects it, one of the two is reported, anything else is new."""
    known = KeptTasks()
    known.add(FIRST)
    findings = known.compare(task)
    assert [(each.stage, each.rejects) for each in findings] == ([("duplicate", found == "calls")] if found else [])
    assert all(found in each.message for each in findings if found)


def test_only_what_passed_counts_as_earlier() -> None:
    """A task that was rejected, or was never verified, makes no duplicate of the next one."""
    known = KeptTasks()
    known.add(verified(FIRST.solution, [3, 4], passed=False))
    bare = verified(FIRST.solution)
    bare.verdict = None
    known.add(bare)
    assert known.compare(FIRST) == []


def test_comparing_does_not_take_in() -> None:
    """A task is known once it was added, not once it was looked at."""
    known = KeptTasks()
    assert known.compare(FIRST) == known.compare(FIRST) == []


@given(NAMES, NAMES, LITERALS, LITERALS, st.sampled_from(["", "\n\n", "  # why\n", "\nunused = 7\n"]))
def test_masking_ignores_names_literals_and_layout(one: str, other: str, a: str, b: str, gap: str) -> None:
    """Renamed variables, other literals of a type, blank lines, comments and unused steps leave the masked program."""
    program = "{name} = add({literal}, 'x'){gap}\nfinal_answer({name})"
    first = program.format(name=one, literal=a, gap="")
    second = program.format(name=other, literal=b, gap=gap)
    assert masked(first) == masked(second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("final_answer(add(1, 2))", "final_answer(sub(1, 2))"),
        ("final_answer(add(1, 2))", "final_answer(add(1, 2.0))"),
        ("final_answer(add(1, 2))", "final_answer(add(1, '2'))"),
        ("a = f()\nb = g()\nfinal_answer(a - b)", "a = f()\nb = g()\nfinal_answer(b - a)"),
        ("final_answer(f(x=1))", "final_answer(f(y=1))"),
        ("final_answer(a.x)", "final_answer(a.y)"),
    ],
)
def test_masking_keeps_what_a_program_does(one: str, other: str) -> None:
    """Programs with other tools, literal types, flow of values or named arguments stay different when masked."""
    assert masked(one) != masked(other)


def test_what_does_not_parse_stays_as_it_is() -> None:
    """A program without a syntax tree has nothing to mask."""
    assert masked("final_answer(") == "final_answer("


def test_functions_and_their_arguments_are_names_too() -> None:
    """A program whose own functions are called otherwise does the same."""
    known = KeptTasks()
    known.add(verified("def both(x, y):\n    return add(x, y)\na = both(3, 4)\nfinal_answer(a)", [3, 4]))
    again = verified("def total(one, two):\n    return add(one, two)\nb = total(3, 4)\nfinal_answer(b)", [3, 4])
    (finding,) = known.compare(again)
    assert finding.rejects


def test_the_same_calls_with_another_answer_are_another_task() -> None:
    """Two fields of one result are two questions: the second task is only reported."""
    known = KeptTasks()
    tasks = [verified(f"a = add(3, 4)\nfinal_answer(a[{field!r}])", [3, 4]) for field in ("balance", "vip")]
    for task, answer in zip(tasks, (80.0, True), strict=True):
        assert task.verdict
        task.verdict.checks[0].answer = answer
    known.add(tasks[0])
    assert [finding.rejects for finding in known.compare(tasks[1])] == [False]


def test_a_program_of_1100_steps_is_compared() -> None:
    """A long chain of assignments ends neither the comparison nor the run."""
    chain = "\n".join(["a0 = add(3, 4)", *(f"a{n + 1} = a{n}" for n in range(1100)), "final_answer(a0)"])
    assert masked(chain) == masked("a = add(3, 4)\nfinal_answer(a)")
