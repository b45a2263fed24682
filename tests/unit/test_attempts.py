"""Attempts and their judgement: what counts as a fail, what is retried, and how a run of broken attempts ends."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sca_cli import app
from sca_cli.commands.shared.attempts import Attempts
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.episode.agent import Actor, Episode, EpisodeLimits
from sca_cli.interfaces import Sampling
from sca_cli.plugins import load_model
from sca_cli.records import EnvSpec, Rollout, Task, encode
from sca_cli.sandbox import AllowedEnvs, Judgement, Session

pytestmark = pytest.mark.sandbox

ENV = EnvSpec(name="calculation", options={"family": "trade_calculator"})


def task_of(evaluate: str, solution: str = "final_answer(7)") -> Task:
    """Return a task with this check."""
    return Task(env=ENV, instruction="Say seven.", evaluate=f"def evaluate(answer):\n    {evaluate}", solution=solution)


def code(text: str) -> str:
    """Return a reply that acts by code."""
    return f"```python\n{text}\n```"


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[Sandboxes]:
    """Return the sandboxes of all tests here."""
    with Sandboxes(AllowedEnvs()) as opened:
        yield opened


def attempt(sandboxes: Sandboxes, model: str, task: Task, **options: Any) -> Rollout:
    """Return one attempt at a task."""
    actor = Actor(load_model(model), Sampling(), EpisodeLimits(turns=2))
    return asyncio.run(Attempts(actor, sandboxes, "scripted", 1, 0, **options).attempt(task, 0))


@pytest.mark.parametrize(
    "evaluate",
    [
        "return len('x' * (answer * 10**10)) > 0",
        "return [convert_currency(1, 1) for _ in range(answer * 300)] == 7",
        "return answer['a']",
        "return 1",
    ],
    ids=["memory", "calls", "exception", "not a bool"],
)
def test_an_answer_that_drives_the_check_over_its_limits_fails(
    sandboxes: Sandboxes, script: Callable[..., str], evaluate: str
) -> None:
    """An agent must not choose that a lost attempt is not counted."""
    rollout = attempt(sandboxes, script({"replies": [code("final_answer(9)")]}), task_of(evaluate))
    assert (rollout.outcome, rollout.reward) == ("fail", 0.0)
    assert rollout.reason


@pytest.mark.parametrize(("again", "outcome"), [("pass", "pass"), ("fail", "fail"), ("invalid", "fail")])
def test_a_check_that_timed_out_is_run_once_more_in_the_same_state(
    sandboxes: Sandboxes, script: Callable[..., str], again: Any, outcome: str
) -> None:
    """The second judgement counts; a second time-out is a fail. Calls and answer are those of the attempt."""
    seen: list[tuple[list[str], Any]] = []

    def check(session: Session, _: Task, episode: Episode) -> Judgement:
        seen.append(([call.tool for call in session.calls], episode.answer))
        result = again if len(seen) > 1 else "invalid"
        return Judgement(result, "timeout" if result == "invalid" else "")

    model = script({"replies": [code("final_answer(convert_currency(3, 2))")]})
    rollout = attempt(sandboxes, model, task_of("return True"), check=check)
    assert rollout.outcome == outcome
    assert seen == [(["convert_currency"], 6.0)] * 2


def test_replies_cut_before_any_text_are_counted(sandboxes: Sandboxes) -> None:
    """A reply of reasoning alone that reached the limit of tokens is counted on the record."""
    from sca_cli.interfaces import Completion

    class Thinker:
        async def generate(self, *_: Any) -> list[Completion]:
            return [Completion("<think>hm", "length", completion_tokens=5, reasoning="hm")]

        async def close(self) -> None: ...

    attempts = Attempts(Actor(Thinker(), Sampling(), EpisodeLimits(turns=2)), sandboxes, "thinker", 1, 0)
    rollout = asyncio.run(attempts.attempt(task_of("return True"), 0))
    assert (rollout.usage.cut_before_text, rollout.usage.turns) == (2, 2)
    assert [m.reasoning_content for m in rollout.messages if m.role == "assistant"][-1] == "hm"


@pytest.mark.parametrize("verb", ["rollout", "eval"])
def test_a_run_in_which_every_attempt_broke_exits_with_1_and_the_reason(
    tmp_path: Path, script: Callable[..., str], capfd: Any, verb: str
) -> None:
    """All records are written, the reason is printed in spite of --quiet, and the exit code is not 0."""
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_bytes(encode(task_of("return True")) + b"\n")
    model = script({"when": "never", "replies": ["x"]})
    assert app.run([verb, str(tasks), "-k", "2", "--model", model, "-q", "-o", str(tmp_path / "out.jsonl")]) == 1
    assert "no rule of" in capfd.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(records) == (2 if verb == "rollout" else 1)


def test_eval_reports_tasks_whose_solution_fails_their_own_check(
    tmp_path: Path, script: Callable[..., str], capfd: Any
) -> None:
    """A held-out task whose solution fails is named with the reason, before its score is reported."""
    tasks = tmp_path / "tasks.jsonl"
    broken, whole = task_of("raise KeyError('gone')"), task_of("return answer == 7")
    tasks.write_bytes(encode(broken) + b"\n" + encode(whole) + b"\n")
    model = script({"replies": [code("final_answer(7)")]})
    assert app.run(["eval", str(tasks), "-k", "1", "--model", model, "-q", "-o", str(tmp_path / "out.jsonl")]) == 0
    err = capfd.readouterr().err
    assert "the solutions of 1 of 2 tasks do not pass their own checks" in err
    assert "KeyError" in err
    assert broken.id in err
    assert whole.id not in err


def test_eval_scores_the_other_tasks_if_one_cannot_be_run(
    tmp_path: Path, script: Callable[..., str], capfd: Any
) -> None:
    """A held-out task of an environment that is not installed costs its own attempts; the others are scored."""
    odd, whole = task_of("return True"), task_of("return answer == 7")
    odd.env = EnvSpec(name="nowhere")
    (tmp_path / "tasks.jsonl").write_bytes(encode(odd) + b"\n" + encode(whole) + b"\n")
    model = script({"replies": [code("final_answer(7)")]})
    assert app.run(["eval", str(tmp_path / "tasks.jsonl"), "-k", "1", "--model", model]) == 0
    err = capfd.readouterr().err
    assert re.search(r"Pass@1 +100\.0%", err)
    assert re.search(r"invalid attempts, in no estimate +1\n", err)
    assert "unknown environment 'nowhere'" in err
