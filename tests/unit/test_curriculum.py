"""The curriculum: what the sequential test drops, and which tasks a round gets."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sca_cli.records import EnvSpec, Rollout, Segment, Task
from sca_cli.training.curriculum import Band, Curriculum, CurriculumOptions, Item, Round

BAND = Band(0.2, 0.8)


def tasks(count: int, calls: int = 1, env: str = "one") -> list[Task]:
    """Return tasks whose id holds their number of calls."""
    names = [f"{env}-{calls}-{n}" for n in range(count)]
    return [Task(id=name, env=EnvSpec(name=env), instruction=name, evaluate="", calls=calls) for name in names]


def attempts(passes: Callable[[Task, int], bool], seen: list[Item] | None = None) -> Any:
    """Return a function that makes attempts of a known outcome, and notes them."""

    def attempt(items: list[Item]) -> list[Rollout]:
        if seen is not None:
            seen.extend(items)
        return [rollout(task, sample, passes(task, sample)) for task, sample in items]

    return attempt


def rollout(task: Task, sample: int, passed: bool) -> Rollout:
    """Return an attempt with tokens."""
    segment = Segment(token_ids=[1, 2], loss_mask=[0, 1], logprobs=[0.0, -1.0])
    outcome: Any = "pass" if passed else "fail"
    name = f"{task.id}#{sample}"
    return Rollout(id=name, task=task, sample=sample, segments=[segment], outcome=outcome, reward=float(passed))


def curriculum(chosen: list[Task], per_round: int = 2, per_task: int = 8, **parts: Any) -> Curriculum:
    """Return a curriculum."""
    return Curriculum(chosen, per_round, per_task, 0, CurriculumOptions(**parts))


def dropped(band: Band, rate: float, attempts: int) -> tuple[float, float]:
    """Return the probability that a task is dropped within some attempts, and the mean number of attempts (exact)."""
    alive = {0: 1.0}
    lost = mean = 0.0
    for judged in range(1, attempts + 1):
        mean += sum(alive.values())
        after: Counter[int] = Counter()
        for passed, share in alive.items():
            after[passed] += share * (1 - rate)
            after[passed + 1] += share * rate
        lost += sum(share for passed, share in after.items() if band.side(passed, judged))
        alive = {passed: share for passed, share in after.items() if not band.side(passed, judged)}
    return lost, mean


@pytest.mark.parametrize("band", [BAND, Band(0.1, 0.9), Band(0.3, 0.7), Band(0.0, 0.6)])
def test_the_sequential_test_keeps_its_error_rate(band: Band) -> None:
    """Computed exactly: however many attempts are made, a task in the middle of the band is dropped no more often than
    Wald's bound allows for both tests together; a task that is hopeless is dropped always, and early.
    """
    middle = (band.low + band.high) / 2
    tests = (band.low > 0) + (band.high < 1)
    assert dropped(band, middle, 200)[0] <= tests * band.error / (1 - band.error)
    for rate in [0.0] * (band.low > 0) + [1.0] * (band.high < 1):
        lost, mean = dropped(band, rate, 200)
        assert (lost, mean < 12) == (1.0, True)
    if band.low > 0:
        assert dropped(band, band.low, 200)[0] >= 1 - band.error / (1 - band.error) - 0.02


def test_tasks_outside_the_band_are_dropped_early_and_replaced() -> None:
    """Of six tasks two are hopeless and two trivial: the round trains on the other two, and counts what it saved."""
    chosen = tasks(6)
    kind = {task.id: ("never", "always", "half")[n % 3] for n, task in enumerate(chosen)}
    made = curriculum(chosen, band=BAND).round(
        attempts(lambda task, sample: {"never": False, "always": True, "half": sample % 2 == 0}[kind[task.id]])
    )
    assert {kind[group.rollouts[0].task.id] for group in made.groups} == {"half"}
    assert [len(group.rollouts) for group in made.groups] == [8, 8]
    figures = made.figures
    assert figures["attempts"] == len(made.attempts)
    outside = int(figures["below"] + figures["above"])
    assert outside >= 1
    assert figures["saved"] == outside * (8 - BAND.least())
    assert BAND.least() == 5


def test_a_round_without_tasks_in_the_band_ends() -> None:
    """All tasks are hopeless: the round gives nothing, after at most four times its tasks; the next tries again."""
    course = curriculum(tasks(20), band=BAND)
    for _ in range(2):
        made = course.round(attempts(lambda *_: False))
        assert (made.groups, made.figures["below"]) == ([], 8)


def test_without_options_each_round_takes_the_next_tasks() -> None:
    """Every task is attempted as often, and the samples of a task are numbered through."""
    chosen = tasks(5)
    seen: list[Item] = []
    course = curriculum(chosen, per_round=2, per_task=3)
    rounds = [course.round(attempts(lambda *_: True, seen)) for _ in range(course.rounds(2))]
    assert len(rounds) == 5
    assert {one.figures == {} for one in rounds} == {True}
    assert sorted(seen, key=lambda item: (item[0].id, item[1])) == [(task, n) for task in chosen for n in range(6)]


def test_promotion_adds_tasks_of_more_calls() -> None:
    """It begins with one call, and adds two and then three calls, each after a full round above the pass rate."""
    course = curriculum([*tasks(4, 3), *tasks(4, 1), *tasks(4, 2)], per_task=2, promote=0.7)
    levels = []
    for _ in range(20):
        made = course.round(attempts(lambda *_: True))
        levels.append(max(rollout.task.calls or 0 for rollout in made.attempts))
    assert levels[0] == 1
    assert sorted(set(levels)) == [1, 2, 3]
    assert made.figures["level"] == 3
    stuck = curriculum([*tasks(4, 1), *tasks(4, 2)], per_task=2, promote=0.7)
    for _ in range(9):
        assert stuck.round(attempts(lambda _, sample: sample % 2 == 0)).figures["level"] == 1


def test_an_earlier_success_joins_the_attempts_that_all_fail() -> None:
    """A task is solved once and never again: later groups hold its success, also where the band drops the task."""
    course = curriculum(tasks(2), replay=True, band=BAND)
    first = course.round(attempts(lambda _, sample: sample == 0 or sample == 3))
    assert [group.earlier for group in first.groups] == [[], []]
    second = course.round(attempts(lambda *_: False))
    assert second.figures["replayed"] == second.figures["below"] == 2
    for group in second.groups:
        assert [(one.task.id, one.sample) for one in group.earlier] == [(group.rollouts[0].task.id, 3)]
        assert len(group.rollouts) == BAND.least()


def test_environments_are_mixed_by_weight() -> None:
    """With weights 3 and 1 three of four attempted tasks are of the first environment, whatever their numbers."""
    chosen = [*tasks(3, env="a"), *tasks(30, env="b")]
    course = curriculum(chosen, per_round=4, per_task=1, mix={"a": 3.0})
    for _ in range(5):
        made = course.round(attempts(lambda *_: True))
        assert Counter(rollout.task.env.name for rollout in made.attempts) == {"a": 3, "b": 1}


def test_a_journal_repeats_every_decision() -> None:
    """Fed with its own rollouts, a new curriculum asks for the same attempts in the same order."""
    chosen = [*tasks(8, 1, "a"), *tasks(8, 2, "a"), *tasks(4, 1, "b")]
    parts: dict[str, Any] = {"band": BAND, "promote": 0.6, "replay": True, "mix": {"a": 2.0}}
    draw = random.Random(5)
    rates = {task.id: draw.choice([0.0, 0.5, 0.7, 1.0]) for task in chosen}
    seen: list[Item] = []
    outcomes: dict[tuple[str, int], bool] = {}

    def passes(task: Task, sample: int) -> bool:
        return outcomes.setdefault((task.id, sample), draw.random() < rates[task.id])

    def rounds(seen: list[Item]) -> list[Round]:
        course = curriculum(chosen, per_round=4, **parts)
        return [course.round(attempts(passes, seen)) for _ in range(12)]

    again: list[Item] = []
    assert rounds(seen) == rounds(again)
    assert seen == again
    assert len(seen) == len({(task.id, sample) for task, sample in seen})
