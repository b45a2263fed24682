"""The judge: what it reads of an attempt, how its reply is read; and the first observation that a proposer reads."""

import asyncio
from typing import Any

import pytest

from sca_cli import Completion, Message, Model, Sampling, plugins
from sca_cli.episode.judge import TRANSCRIPT_CHARS, Judge, transcript
from sca_cli.errors import WorldError
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, FunctionCall, Task, ToolCall
from sca_cli.sandbox import Judgement, Sandbox

TASK = Task(env=EnvSpec(name="shop"), instruction="Rename $user_1 to Eve.", evaluate="", unverified=True)


class Echo(Model):
    """A model that keeps what it is asked and says one thing."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[Message] = []
        self.sampling = Sampling()

    async def generate(self, conversations: Any, sampling: Sampling, tools: Any = ()) -> list[Completion]:
        assert not tools
        (self.asked,) = conversations
        self.sampling = sampling
        return [Completion(text=self.reply, finish_reason="stop")]

    async def close(self) -> None:
        pass


def judged(reply: str, *messages: Message, answer: Any = None) -> tuple[Judgement, Echo]:
    """Let a judge with this reply judge an attempt."""
    model = Echo(reply)
    return asyncio.run(Judge(model, "echo:", Prompts())(TASK, messages, answer, 7)), model


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("It was done.\nStatus: success", "pass"),
        ("status: **Failure**", "fail"),
        ("If it were Status: success I would say so.\nStatus: failure", "fail"),
        ("success", "invalid"),
        ("Status: unsuccessful", "invalid"),
        ("", "invalid"),
    ],
)
def test_the_last_status_counts(reply: str, outcome: str) -> None:
    """Only a line `Status: success` or `Status: failure` is a judgement, and the last one is it."""
    judgement, _ = judged(reply)
    assert judgement.outcome == outcome
    assert judgement.reason == ("judge" if outcome == "invalid" else "")


def test_the_judge_reads_instruction_transcript_and_answer() -> None:
    """The judge's prompt holds every message and call, with dollar signs unchanged, and its reply is sampled
    greedily.
    """
    call = ToolCall(id="1", function=FunctionCall(name="set_name", arguments='{"uid": "user_1"}'))
    said = [
        Message(role="assistant", content="On it, $sir.", tool_calls=[call]),
        Message(role="tool", content="ok", tool_call_id="1", name="set_name"),
    ]
    _, model = judged("Status: success", *said, answer={"done": "$5"})
    last = model.asked[-1].content
    assert last.startswith("Instruction: Rename $user_1 to Eve.")
    assert transcript(said) == ('The assistant:\nOn it, $sir.\nset_name({"uid": "user_1"})\n\nWhat came back:\nok')
    assert transcript(said) in last
    assert last.endswith("Final answer: {'done': '$5'}")
    assert (model.sampling.temperature, model.sampling.seed) == (0, 7)


def test_a_long_attempt_is_shortened_and_no_answer_is_said() -> None:
    """The middle is left out, said so; an attempt that gave no answer is shown as such."""
    _, model = judged("Status: failure", Message(role="assistant", content="x" * 3 * TRANSCRIPT_CHARS))
    last = model.asked[-1].content
    assert len(last) < TRANSCRIPT_CHARS + 500
    assert "characters left out" in last
    assert last.endswith("Final answer: (none)")


@pytest.mark.sandbox
def test_a_world_tells_its_first_observation(shop: EnvSpec, sandbox: Sandbox) -> None:
    """It is that of the seed's world, "" where the environment has none, and a broken one is the world's fault."""
    site = EnvSpec(name="web_browsing")
    with sandbox.session(site, 3) as session:
        told = session.first_observation()
        assert told == session.call("view").result
        session.call("click_url", ["/faq"])
    with sandbox.session(site, 4) as session:
        assert session.first_observation() != told
    with sandbox.session(shop, 0) as session:
        assert session.first_observation() == ""
    plugins.registry().environments["mute"] = plugins.Entry("mute", "worlds:Mute", "fails", "", "tests")
    with sandbox.session(EnvSpec(name="mute"), 0) as session, pytest.raises(WorldError, match="first_observation"):
        session.first_observation()
