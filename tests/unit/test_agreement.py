"""Independent attempts at an instruction, compared with the task's check."""

import pytest

from sca_cli.records import JSON, EnvSpec, Observation, Outcome, Rollout, Task
from sca_cli.verification.agreement import agreement

TASK = Task(env=EnvSpec(name="shop"), instruction="i", evaluate="e")


def tried(*attempts: tuple[JSON, Outcome] | tuple[JSON, Outcome, list[str]]) -> list[Rollout]:
    """Return rollouts with the given answers, outcomes and written names."""
    rollouts = []
    for sample, (answer, outcome, *names) in enumerate(attempts):
        calls = [Observation(tool="set_name", args=["u", name], writes=True) for name in (names[0] if names else [])]
        rollouts.append(Rollout(id=str(sample), task=TASK, sample=sample, answer=answer, outcome=outcome, calls=calls))
    return rollouts


@pytest.mark.parametrize(
    ("attempts", "attempted", "passed", "majority", "answer", "says"),
    [
        ([(7, "pass")] * 3, 3, 3, 3, 7, ""),
        ([(8, "fail")] * 3, 3, 0, 3, 8, "mislabelled"),
        ([(8, "fail")] * 2 + [(7, "pass")], 3, 1, 2, 8, "mislabelled"),
        ([(8, "fail")] * 2 + [(7, "pass")] * 2, 4, 2, 2, 8, ""),
        ([(8, "fail"), (9, "fail"), (7, "pass")], 3, 1, 1, 8, ""),
        ([(8, "fail"), (9, "fail"), (10, "fail")], 3, 0, 1, 8, "unsolved"),
        ([(8, "fail"), (None, "fail")], 2, 0, 1, 8, "unsolved"),
        ([(None, "fail")] * 4, 4, 0, 0, None, "unsolved"),
        ([(8, "fail")] * 2 + [(None, "fail")] * 3, 5, 0, 2, 8, "mislabelled"),
        ([(8, "fail")] * 2 + [(8, "invalid")] * 3 + [(7, "pass")] * 2, 4, 2, 2, 8, ""),
        ([(8, "invalid")] * 3, 0, 0, 0, None, ""),
        ([], 0, 0, 0, None, ""),
    ],
)
def test_a_majority_that_the_check_refuses_rejects(attempts, attempted, passed, majority, answer, says) -> None:
    """The task is rejected if more than half of the finished attempts, at least two, agree on an outcome that the check
    fails; a task without a successful attempt is only reported.
    """
    found, findings = agreement(tried(*attempts))
    assert (found.attempts, found.passed, found.majority, found.answer) == (attempted, passed, majority, answer)
    assert [finding.message.partition(":")[0] for finding in findings] == ([says] if says else [])
    assert all(finding.rejects == (says == "mislabelled") for finding in findings)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (7, 7.0, True),
        (1 / 3, 0.3333333, True),
        (7, 8, False),
        (1, True, False),
        ("New  York", "new york", True),
        ("New York", "Newyork", False),
        ([1, "a"], [1.0, "A"], True),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("7", 7, False),
    ],
)
def test_answers_agree_up_to_rounding_and_spelling(one: JSON, other: JSON, same: bool) -> None:
    """Answers that differ only in rounding, case or spacing are the same outcome."""
    found, findings = agreement(tried((one, "fail"), (other, "fail")))
    assert found.majority == (2 if same else 1)
    assert findings[0].rejects is same


def test_the_changes_count_as_the_answer_does() -> None:
    """Attempts with the same answer but other changes of the state disagree; without an answer the changes alone
    decide.
    """
    found, _ = agreement(tried(("ok", "fail", ["Eve"]), ("ok", "fail", ["Bob"])))
    assert found.majority == 1
    found, findings = agreement(tried((None, "fail", ["Eve"]), (None, "fail", ["Eve"]), (None, "fail", [])))
    assert (found.majority, findings[0].rejects) == (2, True)


def test_calls_that_were_refused_change_nothing() -> None:
    """Attempts that differ only in refused calls have the same outcome."""
    rollouts = tried(("ok", "fail", ["Eve"]), ("ok", "fail", ["Eve"]))
    rollouts[0].calls.append(Observation(tool="set_name", args=["nobody", "x"], writes=True, error="no"))
    assert agreement(rollouts)[0].majority == 2


def test_one_outcome_that_the_check_takes_once_is_no_mislabelling() -> None:
    """The task is kept if the check accepts one of the attempts that agree."""
    _, findings = agreement(tried((8, "fail"), (8, "fail"), (8, "pass")))
    assert findings == []
