"""Which examples are trained on: always-solved tasks, balance, and control arms."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from sca_cli.records import Check, EnvSpec, Message, Observation, Rollout, Segment, Task, Verdict, sealed
from sca_cli.training.data import Example, Tally
from sca_cli.training.selection import (
    Rules,
    balanced,
    by_calls,
    by_rarest_tool,
    draw_examples,
    select,
    shuffled_solutions,
)


def task(name: str, tools: Sequence[str] = ("look",), env: str = "e", **fields: Any) -> Task:
    """Return a task whose proven solution calls these tools."""
    check = Check(name="solution", outcome="pass", calls=[Observation(tool=tool) for tool in tools])
    verdict = Verdict(passed=True, stage="kept", checks=[check])
    return sealed(
        Task(env=EnvSpec(name=env), instruction=name, evaluate="", calls=len(tools), verdict=verdict, **fields)
    )


def attempt(of: Task, sample: int = 0, outcome: Any = "pass") -> Rollout:
    """Return an attempt with tokens of its own."""
    tokens = [*f"{of.instruction} {sample} {outcome}".encode()]
    segment = Segment(token_ids=tokens, loss_mask=[0] + [1] * (len(tokens) - 1), logprobs=[0.0] * len(tokens))
    return sealed(Rollout(task=of, sample=sample, segments=[segment], outcome=outcome))


def example(name: str, calls: int = 1, tools: Sequence[str] = ()) -> Example:
    """Return an example that its record identifies."""
    return Example([1, 2], [0, 1], f"task of {name}", name, "pass", calls, frozenset(tools))


def of_size(sizes: dict[int, int]) -> list[Example]:
    """Return examples by number of calls."""
    return [example(f"{calls}/{n}", calls) for calls, size in sizes.items() for n in range(size)]


def chosen(rollouts: Sequence[Rollout], tally: Tally | None = None, **rules: Any) -> list[str]:
    """Return the records of what is selected."""
    selection = select(rollouts, None, Rules(**rules), tally if tally is not None else Tally())
    return [one.record for one in selection.examples]


def test_of_a_task_that_every_attempt_solved_one_attempt_is_kept() -> None:
    """Attempts of several tasks in any order: what was always solved is thinned; one failure, a single judged attempt,
    or `keep_solved` keep all.
    """
    easy, hard, once = task("easy"), task("hard"), task("once")
    attempts = [attempt(easy, 0), attempt(hard, 0), attempt(once, 0), attempt(easy, 1), attempt(hard, 1)]
    attempts += [attempt(hard, 2, "fail"), attempt(once, 1, "invalid"), attempt(easy, 2)]
    tally = Tally()
    kept = chosen(attempts, tally, keep_solved=False)
    assert kept == [attempts[n].id for n in (0, 1, 2, 4)]
    lengths = [len(attempts[n].segments[0].token_ids) for n in (0, 1, 2, 4)]
    assert (tally.solved, tally.failed, tally.invalid, tally.examples) == (2, 1, 1, 4)
    assert (tally.tokens, tally.loss_tokens) == (sum(lengths), sum(lengths) - 4)
    assert len(chosen(attempts)) == 6


def test_all_segments_of_the_attempt_that_is_kept_are_kept() -> None:
    """A conversation whose past was rewritten is several sequences: they stay together."""
    easy = task("easy")
    first, second = attempt(easy, 0), attempt(easy, 1)
    first.segments.append(Segment(token_ids=[7, 8], loss_mask=[0, 1], logprobs=[0.0, 0.0]))
    assert chosen([first, second], keep_solved=False) == [first.id, first.id]


def test_every_number_of_calls_gets_the_same_share() -> None:
    """98, 50 and 13 examples become 54, 54 and 39: the mean, or three times what there is."""
    selection = balanced(of_size({1: 98, 2: 50, 3: 13}), by_calls, seed=0)
    assert selection.balance == {"1": [98, 54], "2": [50, 54], "3": [13, 39]}
    assert Counter(one.calls for one in selection.examples) == {1: 54, 2: 54, 3: 39}
    times = Counter(one.record for one in selection.examples)
    assert max(times[f"1/{n}"] for n in range(98)) == 1
    assert Counter(times[f"2/{n}"] for n in range(50)) == {1: 46, 2: 4}
    assert {times[f"3/{n}"] for n in range(13)} == {3}


def test_balancing_depends_on_the_seed_only() -> None:
    """The same seed draws the same examples, another seed others."""
    one, again, other = (balanced(of_size({1: 40, 2: 10}), by_calls, seed).examples for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert balanced([], by_calls, 0).examples == []


def test_an_example_counts_for_its_rarest_tool() -> None:
    """An example belongs to its rarest tool, the first by name among equals; without tools it is in the group `no
    tool`.
    """
    data = [example("a", tools=["look", "pay"]), example("b", tools=["look", "sell"]), example("c", tools=["look"])]
    group_of = by_rarest_tool([*data, example("d", tools=["sell"])])
    assert [group_of(one) for one in data] == ["pay", "sell", "look"]
    assert group_of(example("e", tools=["sell", "look", "sing"])) == "sing"
    assert group_of(example("f")) == "no tool"


def test_tools_and_calls_are_those_of_the_proven_solution_else_those_of_the_attempt() -> None:
    """What a task demands does not depend on how it was attempted, where that is known."""
    proven, unproven = task("p", ["look", "pay"]), sealed(Task(env=EnvSpec(name="e"), instruction="u", evaluate=""))
    attempts = [attempt(proven), attempt(unproven)]
    for one in attempts:
        one.calls = [Observation(tool="dance")] * 3
    made = select(attempts, None, Rules(), Tally()).examples
    assert [(one.calls, one.tools) for one in made] == [(2, {"look", "pay"}), (3, {"dance"})]


@pytest.mark.parametrize("balance", ["none", "calls"])
@pytest.mark.parametrize("control", ["random-rollouts", "one-call-only"])
def test_a_control_arm_is_as_large_as_the_selection(balance: str, control: str) -> None:
    """Same number of examples whatever the options; other examples; the same ones for the same seed."""
    tasks = [task(f"t{n}", ["look"] * (1 + n % 3)) for n in range(12)]
    attempts = [
        attempt(one, n, "pass" if n < place % 5 else "fail") for place, one in enumerate(tasks) for n in range(4)
    ]
    rules = {"keep_solved": False, "balance": balance, "max_per_task": 3}
    real = chosen(attempts, **rules)
    arm = select(attempts, None, Rules(control=control, **rules), Tally())  # type: ignore[arg-type]
    assert len(arm.examples) == len(real)
    assert arm == select(attempts, None, Rules(control=control, **rules), Tally())  # type: ignore[arg-type]
    assert [one.record for one in arm.examples] != chosen(attempts, control=control, seed=1, **rules)
    outcomes = {one.outcome for one in arm.examples}
    calls = {one.calls for one in arm.examples}
    assert (outcomes, calls) == (({"pass", "fail"}, {1, 2, 3}) if control == "random-rollouts" else ({"pass"}, {1}))


def test_a_control_with_too_few_examples_takes_them_in_turn() -> None:
    """None is taken twice before all were taken once; from nothing comes nothing."""
    data = [example(str(n)) for n in range(5)]
    assert Counter(Counter(one.record for one in draw_examples(data, 13, 0)).values()) == {3: 3, 2: 2}
    assert len({one.record for one in draw_examples(data, 5, 0)}) == 5
    assert len({one.record for one in draw_examples(data, 3, 0)}) == 3
    assert draw_examples([], 3, 0) == []


def test_shuffled_solutions_are_another_tasks_of_the_same_kind() -> None:
    """Solutions are permuted within an environment and number of calls, so that no task keeps its own, unless it is the
    only one.
    """

    def solved(name: str, env: str, calls: int) -> Rollout:
        said = [Message(role="user", content=name), Message(role="assistant", content=f"{env} {calls} {name}")]
        one = task(name, ["look"] * calls, env)
        return Rollout(id=one.id, task=one, messages=said, outcome="pass")

    kinds = [("a", 1)] * 5 + [("a", 2)] * 2 + [("b", 1)] * 3 + [("b", 3)]
    rollouts = [solved(f"t{n}", env, calls) for n, (env, calls) in enumerate(kinds)]
    shuffled = shuffled_solutions(rollouts, seed=0)
    assert [one.id for one in shuffled] == [one.id for one in rollouts]
    for before, after, (env, calls) in zip(rollouts, shuffled, kinds, strict=True):
        assert after.messages[0] == before.messages[0]
        assert after.messages[1].content.startswith(f"{env} {calls} ")
        assert (after.messages[1] == before.messages[1]) == ((env, calls) == ("b", 3))
    assert {one.messages[1].content for one in shuffled} == {one.messages[1].content for one in rollouts}
    assert shuffled != shuffled_solutions(rollouts, seed=1)
