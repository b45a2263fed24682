"""Talking to a customer: what each side hears, what ends the conversation, and whose tokens are whose."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sca_cli.episode.agent import Actor, Episode, EpisodeLimits
from sca_cli.episode.customer import STOP, Customer, User
from sca_cli.errors import ModelError
from sca_cli.interfaces import Completion, Sampling, Tool
from sca_cli.records import EnvSpec, Message, Observation
from sca_cli.sandbox import Sandbox

pytestmark = pytest.mark.sandbox

WISH = "You are user_1. You want to be called Eve from now on."
RENAME = "set_name('user_1', 'Eve')"


class Engine:
    """A model with tokens, one a byte; the tests' own end of our interface.

    Args:
        replies: given one after the other; a reply that is an error is raised.
    """

    def __init__(self, *replies: str | ModelError) -> None:
        self._replies = list(replies)
        self.heard: list[list[Message]] = []
        self.seeds: list[int] = []

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Give the next reply."""
        del tools
        self.heard.append(list(*conversations))
        self.seeds.append(sampling.seed)
        reply = self._replies.pop(0)
        if isinstance(reply, ModelError):
            raise reply
        prompt = "".join(f"<{m.role}>{m.content}</>" for m in self.heard[-1]) + "<assistant>"
        prompt_ids, token_ids = list(prompt.encode()), list(f"{reply}</>".encode())
        completion = Completion(reply, "stop", len(prompt_ids), len(token_ids), prompt_ids=prompt_ids)
        completion.token_ids, completion.logprobs = token_ids, [-1.0] * len(token_ids)
        return [completion]

    async def close(self) -> None:
        """Hold nothing."""


type Talk = Callable[..., tuple[Episode, list[Observation]]]


@pytest.fixture
def talk(sandbox: Sandbox, counter: EnvSpec) -> Talk:
    """Return a function that lets an agent meet a customer at the counter; it gives the episode and the calls."""

    def run(agent: Engine, user: Engine | None, actions: Any = "code", env: EnvSpec = counter, **limits: Any):
        player = user and User(user, Sampling())
        wants_value = limits.pop("wants_value", False)
        actor = Actor(agent, Sampling(), EpisodeLimits(turns=2), actions, user=player)
        if limits:
            actor = Actor(
                agent, Sampling(), EpisodeLimits(turns=2), actions, user=player, user_limits=EpisodeLimits(**limits)
            )
        with sandbox.session(env, 0) as session:
            episode = asyncio.run(actor.attempt(session, sandbox.describe(env), WISH, 5, wants_value=wants_value))
            return episode, list(session.calls)

    return run


def code(text: str) -> str:
    """Return a reply that acts by code."""
    return f"Let me see.\n```python\n{text}\n```"


def said(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Return role and content of all but the system message."""
    return [(message.role, message.content) for message in messages if message.role != "system"]


ACTIONS = {
    "code": ("code", code(f"print({RENAME})"), "Output:\nok"),
    "json": (
        "json",
        f"<tool_call>{json.dumps({'name': 'set_name', 'arguments': {'uid': 'user_1', 'name': 'Eve'}})}</tool_call>",
        "Result of set_name: 'ok'",
    ),
}


@pytest.mark.parametrize(("actions", "action", "result"), ACTIONS.values(), ids=ACTIONS)
def test_each_side_hears_what_is_said_to_it(talk: Talk, actions: str, action: str, result: str) -> None:
    """The customer alone knows the instruction and hears words only; the agent sees its own work and the customer's
    words; the customer's stop token ends it all.
    """
    user = Engine("Change my name, please.", "user_1. To Eve.", STOP)
    agent = Engine("Who are you?", action, "Done, Eve.")
    episode, calls = talk(agent, user, actions)
    assert (episode.stop, episode.answer, episode.usage.turns, episode.usage.user_turns) == ("user", None, 3, 3)
    assert said(episode.messages) == [
        ("user", "Change my name, please."),
        ("assistant", "Who are you?"),
        ("user", "user_1. To Eve."),
        ("assistant", action),
        ("user", result),
        ("assistant", "Done, Eve."),
        ("user", STOP),
    ]
    assert [(call.tool, call.result) for call in calls] == [("set_name", "ok")]
    assert WISH in user.heard[0][0].content
    assert not any(WISH in message.content for message in episode.messages)
    assert said(user.heard[-1])[1:] == [
        ("assistant", "Change my name, please."),
        ("user", "Who are you?"),
        ("assistant", "user_1. To Eve."),
        ("user", "Done, Eve."),
    ]
    assert all(word in agent.heard[0][0].content for word in ("Ask for the customer's key", "set_name", "final_answer"))


def test_what_comes_with_the_stop_token_is_kept_and_what_follows_is_not_asked_for(talk: Talk) -> None:
    """A last message may say goodbye; the agent has no turn after it."""
    agent = Engine("Hello?", "never")
    episode, _ = talk(agent, Engine("Hi", f"Thanks, bye! {STOP}"))
    assert (episode.stop, said(episode.messages)[-1]) == ("user", ("user", f"Thanks, bye! {STOP}"))
    assert len(agent.heard) == 1


def test_final_answer_ends_a_conversation_too(talk: Talk) -> None:
    """The answer is what was given to final_answer, and the customer is not asked again."""
    user = Engine("How much is 1 and 2?")
    episode, _ = talk(Engine(code("final_answer(add(1, 2))")), user)
    assert (episode.stop, episode.answer, len(user.heard)) == ("answer", 3, 1)


CLOSINGS = {
    "code": ("code", code("final_answer(add(1, 2))")),
    "json": ("json", '<tool_call>{"name": "final_answer", "arguments": {"answer": 3}}</tool_call>'),
    "text": ("text", "Answer: 3"),
}


@pytest.mark.parametrize(("actions", "closing"), CLOSINGS.values(), ids=CLOSINGS)
def test_a_customer_who_leaves_with_a_value_leaves_a_turn_to_answer_in(talk: Talk, actions: str, closing: str) -> None:
    """If the task expects a value, the agent may answer after the stop token, even when that was the last turn. The
    request is part of the customer's message, and the customer does not see the reply.
    """
    agent, user = Engine("That makes 3.", closing, "never"), Engine("How much is 1 and 2?", f"Thanks! {STOP}")
    episode, _ = talk(agent, user, actions, turns=1, wants_value=True)
    assert (episode.stop, str(episode.answer), episode.usage.turns, len(user.heard)) == ("user", "3", 2, 2)
    assert [role for role, _ in said(episode.messages)] == ["user", "assistant"] * 2
    (asked,) = [content for _, content in said(episode.messages) if STOP in content]
    assert asked.startswith(f"Thanks! {STOP}\n\nThe customer has left. If the customer asked for a value, give that")


def test_an_agent_that_does_not_answer_after_its_customer_left_has_answered_nothing(talk: Talk) -> None:
    """The agent is asked once for the value; a value in plain text is no answer."""
    agent, user = Engine("That makes 3.", "As I said, 3.", "never"), Engine("How much is 1 and 2?", STOP)
    episode, _ = talk(agent, user, wants_value=True)
    assert (episode.stop, episode.answer, len(agent.heard), len(user.heard)) == ("user", None, 2, 2)


def test_turns_with_a_customer_have_a_limit_of_their_own(talk: Talk) -> None:
    """Not the limit for agents that were given the instruction: 2 in these tests."""
    agent, user = Engine(*["What else?", code("add(1)")] * 3), Engine("Hi", *["Nothing yet."] * 9)
    episode, calls = talk(agent, user, turns=6)
    assert (episode.stop, episode.usage.turns, episode.usage.user_turns, len(calls)) == ("turns", 6, 4, 3)


def test_the_tokens_of_the_customer_are_counted_apart_and_spend_nothing_of_the_agents(talk: Talk) -> None:
    """Tokens read and sampled are those of each side; only the agent's count against its limit."""
    user, agent = Engine("x" * 50, "y" * 50, STOP), Engine("What?", "And?")
    episode, _ = talk(agent, user, tokens=40)
    usage = episode.usage
    assert (usage.completion_tokens, usage.user_completion_tokens) == (len("What?And?") + 6, 100 + len(STOP) + 9)
    assert episode.stop == "user"
    assert usage.user_prompt_tokens == sum(
        len("".join(f"<{m.role}>{m.content}</>" for m in heard) + "<assistant>") for heard in user.heard
    )


def test_only_what_the_agent_said_carries_loss(talk: Talk) -> None:
    """All turns are one segment of tokens; those in the mask spell the agent's replies, and nothing of the
    customer's.
    """
    action = code(f"print({RENAME})")
    episode, _ = talk(Engine("Who?", action, "Done."), Engine("Please!", "I am user_1.", STOP))
    (segment,) = episode.segments
    pairs = list(zip(segment.token_ids, segment.loss_mask, strict=True))
    assert bytes(token for token, own in pairs if own).decode() == f"Who?</>{action}</>Done.</>"
    given = bytes(token for token, own in pairs if not own).decode()
    assert given.endswith("<user>Please!</><assistant><user>I am user_1.</><assistant><user>Output:\nok</><assistant>")


@pytest.mark.parametrize(
    ("replies", "problem"),
    [
        ([ModelError("no GPU")], "the user model: no GPU"),
        (["Hi", ModelError("no GPU")], "the user model: no GPU"),
        (["Hi", "\n"], "the user model: no reply"),
        ([STOP], "the user model: no reply"),
    ],
    ids=["first", "later", "empty", "nothing but the end"],
)
def test_a_customer_who_fails_is_an_error(talk: Talk, replies: list[Any], problem: str) -> None:
    """Whatever is wrong with the user model ends the episode as an error that names it."""
    episode, _ = talk(Engine("Hello?"), Engine(*replies))
    assert (episode.stop, episode.problem) == ("error", problem)


def test_nobody_is_content_before_anything_was_done(talk: Talk) -> None:
    """A stop token in the first message is a slip: the rest of the message begins the conversation."""
    episode, _ = talk(Engine("Bye."), Engine(f"Call me Eve. {STOP}", STOP))
    assert said(episode.messages)[0] == ("user", "Call me Eve.")


def test_without_a_user_model_or_a_customer_the_instruction_goes_to_the_agent(talk: Talk, shop: EnvSpec) -> None:
    """So it is with --direct, and in environments that have no customer: the user model is not asked."""
    user = Engine()
    at_counter, _ = talk(Engine(code("final_answer(1)")), None)
    in_shop, _ = talk(Engine(code("final_answer(1)")), user, env=shop)
    for episode in (at_counter, in_shop):
        assert WISH in episode.messages[-2].content
        assert (episode.stop, episode.usage.user_turns) == ("answer", 0)
    assert user.heard == []


def test_the_customers_seeds_follow_from_the_attempts(talk: Talk) -> None:
    """Each message has a seed of its own, none the agent's, and the same attempt has the same seeds again."""
    seeds = []
    for _ in range(2):
        user, agent = Engine("a", "b", STOP), Engine("c", "d")
        talk(agent, user)
        assert len({*user.seeds, *agent.seeds}) == 5
        seeds.append(user.seeds)
    assert seeds[0] == seeds[1]


@pytest.mark.parametrize(("waits", "heard"), [(True, "Yes, do that."), (False, f"Yes, do that. {STOP}")])
def test_a_customer_of_a_benchmark_does_not_wait(waits: bool, heard: str) -> None:
    """Its last message ends the conversation at once, whatever it asks for."""
    customer = Customer(User(Engine("Hi.", f"Yes, do that. {STOP}"), Sampling(), waits=waits), WISH, 0)
    assert asyncio.run(customer.speak()) == "Hi."
    assert (asyncio.run(customer.speak("Shall I?")), customer.leaves) == (heard, waits)


def test_a_customer_who_agrees_and_leaves_gives_the_agent_its_turn_first(talk: Talk) -> None:
    """A yes with the stop token is a message to act on; the token follows after the agent's turn."""
    agent = Engine("Shall I?", code(RENAME), "Done.")
    episode, calls = talk(agent, Engine("Call me Eve, I am user_1.", f"Yes, please do it. {STOP}"))
    assert [call.tool for call in calls] == ["set_name"]
    assert said(episode.messages)[2:] == [
        ("user", "Yes, please do it."),
        ("assistant", code(RENAME)),
        ("user", "Output:\n'ok'"),
        ("assistant", "Done."),
        ("user", STOP),
    ]
    assert episode.stop == "user"
