"""Attempts with a simulated user, in real processes: an agent at the counter, a customer who wants another name."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sca_cli.commands.shared.attempting import Attempting, Roller
from sca_cli.records import EnvSpec, Task, encode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

TASK = Task(
    env=EnvSpec(name="counter"),
    instruction="You are user_1. You want to be called Eve from now on.",
    evaluate="def evaluate():\n    return get_user('user_1')['name'] == 'Eve'",
)
STOP = "###STOP###"


def code(text: str) -> str:
    """Return a reply that acts by code."""
    return f"```python\n{text}\n```"


AGENT: dict[str, Any] = {
    "replies": ["Who are you, and what shall it be?", code("set_name('user_1', 'Eve')"), ["Done.", "All done, dear."]]
}
USER: dict[str, Any] = {"replies": [["Another name, please.", "I want a new name."], "user_1, and Eve.", STOP]}

type Sca = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def attempt(sca: Sca, script: Callable[..., str], outside: str) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that rolls out the task at the counter and returns the rollouts."""

    def run(*options: object, agent: dict[str, Any] = AGENT, user: dict[str, Any] | None = USER) -> Any:
        player = ("--user-model", script(user, name="user")) if user else ()
        command = ("rollout", "-m", script(agent, name="agent"), *player, *options)
        ended = sca(*command, stdin=encode(TASK), env={"PYTHONPATH": outside})
        assert ended.returncode == 0, ended.stderr.decode()
        return [json.loads(line) for line in ended.stdout.splitlines()]

    return run


def test_a_customer_is_served(attempt) -> None:
    """The stop token ends the conversation, the check judges the state, and the user model is on record."""
    for rollout in attempt("-k", "2"):
        assert (rollout["outcome"], rollout["stop"], rollout.get("answer")) == ("pass", "user", None)
        assert rollout["user_model"].endswith("user.jsonl")
        assert (rollout["usage"]["turns"], rollout["usage"]["user_turns"]) == (3, 3)
        assert [message["role"] for message in rollout["messages"]] == ["system", *["user", "assistant"] * 3, "user"]
        assert TASK.instruction not in json.dumps(rollout["messages"])


ASKED = Task(
    env=EnvSpec(name="counter"),
    instruction="You want to know how much 19 and 23 are.",
    evaluate="def evaluate(answer):\n    return answer == 42",
)


@pytest.mark.parametrize(
    ("closing", "outcome"), [("final_answer(add(19, 23))", "pass"), ("print('41, 42 or 43')", "fail")]
)
def test_a_value_that_was_told_in_words_is_asked_for_when_the_customer_has_left(
    sca: Sca, script, outside: str, closing: str, outcome: str
) -> None:
    """The check sees the one value that the agent gives then; a task whose check takes no answer has no such turn."""
    rules = [
        {"when": "The customer has left", "replies": [code(closing)]},
        {"when": "user_1", "replies": [code("set_name('user_1', 'Eve')")]},
        {"replies": ["It is 41, 42 or 43."]},
    ]
    user = script({"when": "19", "anywhere": True, "replies": ["How much are 19 and 23?", STOP]}, *[USER], name="user")
    ended = sca(
        *("rollout", "-k", "1", "-m", script(*rules, name="agent"), "--user-model", user),
        stdin=encode(ASKED) + b"\n" + encode(TASK),
        env={"PYTHONPATH": outside},
    )
    value, change = (json.loads(line) for line in ended.stdout.splitlines())
    assert (value["outcome"], value["stop"], value["usage"]["turns"]) == (outcome, "user", 2)
    assert value.get("answer") == {"pass": 42, "fail": None}[outcome]
    assert (change["stop"], "has left" in json.dumps(change["messages"])) == ("user", False)


def test_the_same_seed_gives_the_same_conversation(attempt) -> None:
    """Attempts differ from each other, and a run does not differ from its repetition, at any concurrency."""
    one, many = attempt("-k", "6", "--concurrency", "1"), attempt("-k", "6")
    assert one == many
    assert {rollout["messages"][1]["content"] for rollout in one} == {"Another name, please.", "I want a new name."}


def test_a_turn_limit_ends_a_conversation(attempt) -> None:
    """--user-turns counts the agent's turns, --turns does not; what was done until then is judged."""
    done, undone = (attempt("-k", "1", "--turns", "1", "--user-turns", n)[0] for n in (2, 1))
    assert [(r["outcome"], r["stop"], r["usage"]["turns"]) for r in (done, undone)] == [
        ("pass", "turns", 2),
        ("fail", "turns", 1),
    ]


def test_direct_leaves_the_customer_out(attempt) -> None:
    """With --direct the agent reads the instruction, no customer speaks, and --turns applies."""
    agent = {"when": "You are user_1", "replies": [code("set_name('user_1', 'Eve')\nfinal_answer(None)")]}
    (rollout,) = attempt("-k", "1", "--direct", agent=agent, user=None)
    assert (rollout["outcome"], rollout["stop"]) == ("pass", "answer")
    assert not {"user_model"} & rollout.keys() and "user_turns" not in rollout["usage"]


def test_a_user_model_that_fails_makes_an_attempt_invalid(attempt) -> None:
    """Even where the agent had done all: there is no outcome but invalid, no reward, and an error that says why."""
    (rollout,) = attempt("-k", "1", user={"when": "Hello|Who are you", "replies": USER["replies"]})
    assert [call["tool"] for call in rollout["calls"]] == ["set_name"]
    assert rollout.get("outcome", "invalid") == "invalid" and "reward" not in rollout
    assert (rollout["stop"], rollout["error"]["boundary"]) == ("error", "model")
    assert "the user model: no rule of" in rollout["error"]["message"]


def test_without_user_model_the_agents_plays_the_customer(attempt) -> None:
    """Without --user-model the agent's model plays the customer too."""
    agent = {"when": "Another name", "replies": [code("set_name('user_1', 'Eve')\nfinal_answer(1)")]}
    rules = {**agent, "when": "Hello|Another", "replies": [["Another name!"]]}
    (rollout,) = attempt("-k", "1", "--user-turns", "1", agent=rules, user=None)
    assert rollout["messages"][1]["content"] == rollout["messages"][2]["content"] == "Another name!"
    assert rollout["user_model"] == rollout["made_by"]["model"]


def test_eval_says_who_played_the_customers(sca: Sca, script, outside: str, tmp_path: Path) -> None:
    """The score names the user model and counts its tokens apart; two models are compared before one user only."""
    (tmp_path / "tasks").write_bytes(encode(TASK))
    agent, user = script(AGENT, name="agent"), script(USER, name="user")
    settings = {"PYTHONPATH": outside}
    ended = sca("eval", "tasks", "-k", "2", "-m", agent, "--user-model", user, "--rollouts", "kept", env=settings)
    score = json.loads(ended.stdout)
    assert (score["user_model"], score["pass_at"]["1"]["value"], score["usage"]["user_turns"]) == (user, 1.0, 6)
    kept = [
        json.loads(line)["usage"]["user_completion_tokens"] for line in (tmp_path / "kept").read_text().splitlines()
    ]
    assert score["usage"]["user_completion_tokens"] == sum(kept) > 0
    refused = sca("eval", "tasks", "--compare", agent, agent, env=settings)
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"sca eval: --compare with customers needs --user-model\n")
    both = sca("eval", "tasks", "-k", "1", "--compare", agent, agent, "--user-model", user, env=settings)
    assert json.loads(both.stdout.splitlines()[1])["difference"]["value"] == 0.0


def test_options_that_contradict_each_other_or_name_nothing_are_refused(sca: Sca, script) -> None:
    """--direct with --user-model, and an unknown user model, are errors before any work."""
    model = script(AGENT)
    both = sca("rollout", "-m", model, "--direct", "--user-model", model, stdin=b"")
    assert (both.returncode, both.stderr.splitlines()[0]) == (
        2,
        b"sca rollout: --user-model and --direct exclude each other",
    )
    unknown = sca("rollout", "-m", model, "--user-model", "nobody:x", stdin=b"")
    assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (4, b"sca rollout: unknown model plugin 'nobody'")


def test_a_run_is_not_gone_on_with_another_customer(sca: Sca, script, outside: str, tmp_path: Path) -> None:
    """--resume refuses another user model, as it does another seed."""
    agent, settings = script(AGENT, name="agent"), {"PYTHONPATH": outside}
    (tmp_path / "tasks").write_bytes(encode(TASK) + b"\n" + encode(TASK)[:9])
    line = ("rollout", "tasks", "-o", "out", "-m", agent, "--user-model", script(USER, name="user"))
    assert sca(*line, env=settings).returncode == 3
    again = sca(*line[:-1], script(USER, name="other"), "--resume", env=settings)
    assert (again.returncode, again.stderr.splitlines()[0]) == (
        2,
        b"sca rollout: --resume: out was started with other settings: user-model",
    )


def test_train_and_distill_roll_out_with_customers(script, counter: EnvSpec) -> None:
    """The attempts that training makes itself are those of `sca rollout`: served, and stamped with the user model."""
    user = script(USER, name="user")
    for command in ("train", "distill"):
        given = Attempting(attempts=1, user_model=user)
        roller = Roller.from_options(command, script(AGENT, name="agent"), given, 0, quiet=True, resume=False)
        (rollout,) = roller.rollouts([Task(env=counter, instruction=TASK.instruction, evaluate=TASK.evaluate)])
        assert (rollout.outcome, rollout.stop, rollout.user_model) == ("pass", "user", user)


def test_explorers_and_challengers_are_introduced_to_the_customer(sca: Sca, script, outside: str) -> None:
    """The prompts of explorers and challengers hold the first observation of their world, a challenger's also how
    customers phrase a request; no user model takes part.
    """
    task = (
        "<instruction>You are user_1. Be called Eve.</instruction><evaluation_function>\n" + TASK.evaluate
        + "\n</evaluation_function><solution>set_name('user_1', 'Eve')</solution>"
        + "<failure_case>pass</failure_case>" * 3
    )  # fmt: skip
    explorer = {"when": r"The customer is user_1, Ann\d+\.\n\nThe functions", "replies": [code("get_user('user_1')")]}
    challenger = {
        "when": r"change anything\.\n\nThe customer is user_1, Ann\d+\.\n\nThe assistant.*identity.*Write a new task",
        "replies": [task],
    }
    rules = [challenger, explorer, {"when": "Output:", "replies": ["Well."]}]
    settings = {"PYTHONPATH": outside, "SCA_MODEL": script(*rules)}
    explored = sca("explore", "--env", "counter", "-n", "2", env=settings)
    seen = [json.loads(line) for line in explored.stdout.splitlines()]
    assert all(record["first_observation"].startswith("The customer is user_1, Ann") for record in seen), explored
    made = sca("challenge", stdin=explored.stdout, env=settings)
    assert len(seen) == len(made.stdout.splitlines()) == 2, made.stderr
