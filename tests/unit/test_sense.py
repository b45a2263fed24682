"""The review of a task by a model: how its reply is read, and that it is recorded and rejects nothing."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from sca_cli import Completion, Message, Model, Sampling
from sca_cli.errors import ModelError
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, Finding, Sense, Task
from sca_cli.verification.sense import review

POLICY = "Pending orders can be cancelled.\nDelivered orders cannot be cancelled."
TASK = Task(env=EnvSpec(name="shop"), instruction="Cancel my delivered order.", evaluate="", solution="cancel()")
GOOD = "Said: yes\nComplete: yes\nAllowed: yes\nRule: Pending orders can be cancelled."


class Echo(Model):
    """A model that keeps what it is asked and says one thing."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[Message] = []

    async def generate(self, conversations: Any, sampling: Sampling, tools: Any = ()) -> list[Completion]:
        assert not tools
        assert sampling.temperature == 0
        if not self.reply:
            raise ModelError("it is gone")
        (self.asked,) = conversations
        return [Completion(text=self.reply, finish_reason="stop")]

    async def close(self) -> None:
        pass


def reviewed(reply: str) -> tuple[Sense, list[Finding]]:
    """Let a model with this reply review the task."""
    return asyncio.run(review(Echo(reply), "echo:", Prompts(), TASK, POLICY))


@pytest.mark.parametrize(
    ("reply", "said", "complete", "allowed", "rule", "problem"),
    [
        (GOOD, True, True, True, "Pending orders can be cancelled.", ""),
        ("**Said:** Yes\n**Complete:** no\nAllowed: NO\nRule: \"Delivered orders cannot be cancelled.\"",
         True, False, False, "Delivered orders cannot be cancelled.", ""),
        ("Said: no\nComplete: yes\nAllowed: yes\nRule: none", False, True, True, "", ""),
        ("Said: yes\nComplete: yes\nAllowed: no\nRule: Nobody may do this.", True, True, False, "", "quoted rule"),
        ("Said: yes", True, None, None, "", "does not answer"),
        ("All is well.", None, None, None, "", "does not answer"),
        ("", None, None, None, "", "it is gone"),
    ],
)  # fmt: skip
def test_a_review_is_read(
    reply: str, said: bool | None, complete: bool | None, allowed: bool | None, rule: str, problem: str
) -> None:
    """Three answers and a rule are read; a rule that the policy does not contain is not recorded."""
    sense, findings = reviewed(reply)
    assert (sense.said, sense.complete, sense.allowed, sense.rule) == (said, complete, allowed, rule)
    assert problem in sense.problem
    assert bool(problem) == bool(sense.problem)
    assert len(findings) == [said, complete, allowed].count(False)
    assert not any(finding.rejects for finding in findings)


def test_the_model_reads_rules_instruction_and_solution() -> None:
    """The prompt contains the policy, the instruction and the program."""
    model = Echo(GOOD)
    asyncio.run(review(model, "echo:", Prompts(), TASK, POLICY))
    assert all(text in model.asked[-1].content for text in (POLICY, TASK.instruction, TASK.solution))


@pytest.mark.sandbox
def test_verify_records_the_review_and_keeps_the_task(sca: Callable[..., Any], script: Callable[..., str]) -> None:
    """`verify --sense` writes the review into the verdict of a kept task, whatever the model says."""
    model = script({"replies": ["Said: no\nComplete: yes\nAllowed: yes\nRule: none"]})
    task = {
        "kind": "task", "env": {"name": "calculation", "options": {"family": "message_decoder"}}, "seed": 0,
        "instruction": "Reverse the text 'otter'.", "solution": "final_answer(reverse_string('otter'))",
        "evaluate": "def evaluate(answer):\n    return answer == 'retto'\n",
        "failure_cases": ["final_answer('otter')", "final_answer('')", "final_answer('rett')"],
    }  # fmt: skip
    result = sca("verify", "--paper", "--sense", model, stdin=json.dumps(task).encode() + b"\n")
    assert result.returncode == 0, result.stderr
    verdict = json.loads(result.stdout)["verdict"]
    assert verdict["passed"]
    assert verdict["sense"] == {"by": model, "said": False, "complete": True, "allowed": True}
    assert [finding["rejects"] for finding in verdict["findings"]] == [False]
