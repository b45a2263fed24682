"""The episode loop, with a scripted model in a real session."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from sca_cli.episode.agent import Actor, Episode, EpisodeLimits
from sca_cli.errors import ModelError, WorldError
from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.plugins import load_model
from sca_cli.records import EnvSpec, Message, Observation
from sca_cli.sandbox import Sandbox

pytestmark = pytest.mark.sandbox

OPENING = [Message(role="system", content="policy"), Message(role="user", content="the task")]


@pytest.fixture
def play(sandbox: Sandbox, shop: EnvSpec) -> Callable[..., tuple[Episode, list[Observation]]]:
    """Return a function that lets a model act in a fresh shop and returns the episode and the calls made."""

    def run(model: Model | str, actions: Any = "code", seed: int = 0, max_tokens: int = 100, **limits: Any):
        engine = load_model(model) if isinstance(model, str) else model
        actor = Actor(engine, Sampling(max_tokens=max_tokens), EpisodeLimits(**limits), actions)
        tools, *_ = sandbox.describe(shop)
        with sandbox.session(shop, 0) as session:
            episode = asyncio.run(actor.act(session, OPENING, tools, seed))
            return episode, list(session.calls)

    return run


def said(episode: Episode) -> list[tuple[str, str]]:
    """Return role and content of what came after the opening."""
    return [(message.role, message.content) for message in episode.messages[len(OPENING) :]]


def code(text: str) -> str:
    """Return a reply that acts by code."""
    return f"```python\n{text}\n```"


def call(name: str, /, **arguments: Any) -> str:
    """Return a reply that calls a tool by a block in its text."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


# ---------------------------------------------------------------- code


def test_without_a_limit_the_whole_output_is_shown(play, script) -> None:
    """No character of a long output is left out, and by default its middle is."""
    model = script({"replies": [code("print('a' * 3000)"), code("final_answer(1)")]})
    assert said(play(model, observation_chars=None)[0])[1][1] == "Output:\n" + "a" * 3000
    assert "characters left out" in said(play(model)[0])[1][1]


@pytest.mark.parametrize("actions", ["code", "json"])
def test_a_tool_that_ends_attempts_ends_the_episode(sandbox: Sandbox, shop: EnvSpec, script, actions: Any) -> None:
    """The episode stops with `tool` after its call, and later calls of the same reply are not made."""
    reply = code("set_name('user_1', 'Bo')") if actions == "code" else call("set_name", uid="user_1", name="Bo") * 2
    actor = Actor(load_model(script({"replies": [reply]})), Sampling(), EpisodeLimits(), actions)
    tools = [replace(tool, ends=tool.name == "set_name") for tool in sandbox.describe(shop)[0]]
    with sandbox.session(shop, 0) as session:
        episode = asyncio.run(actor.act(session, OPENING, tools, 0))
        assert (episode.stop, episode.usage.turns, len(session.calls)) == ("tool", 1, 1)


def test_variables_live_from_turn_to_turn_until_the_answer(play, script) -> None:
    """Code runs turn by turn in one session, its output is shown, and the answer ends the episode."""
    model = script(
        {
            "replies": [
                code("x = add(1, 2)\nprint(x)"),
                code("final_answer({'sum': x})\nprint('never')"),
                "more",
            ]
        }
    )
    episode, calls = play(model)
    assert (episode.stop, episode.answer, episode.usage.turns) == ("answer", {"sum": 3}, 2)
    assert [role for role, _ in said(episode)] == ["assistant", "user", "assistant"]
    assert said(episode)[1] == ("user", "Output:\n3")
    assert [(made.tool, made.args, made.result) for made in calls] == [("add", [1, 2], 3)]


def test_errors_are_shown_and_the_episode_goes_on(play, script) -> None:
    """The model gets an exception, a refusal by a tool, and a note on a reply without code."""
    model = script({"replies": [code("1 / 0"), code("get_user('nobody')"), "just prose", code("final_answer(1)")]})
    episode, _ = play(model)
    shown = [content for role, content in said(episode) if role == "user"]
    assert "ZeroDivisionError: division by zero" in shown[0]
    assert "ToolError: no user 'nobody'" in shown[1]
    assert "holds no Python code block" in shown[2]
    assert (episode.stop, episode.answer) == ("answer", 1)


def test_only_the_first_block_is_run(play, script) -> None:
    """What a model writes after its first block it has not seen happen."""
    _, calls = play(script({"replies": [code("add(1)") + "\nOutput: 1\n" + code("add(2)"), code("final_answer(0)")]}))
    assert [made.args for made in calls] == [[1]]


def test_a_session_that_was_ended_says_so(play, script) -> None:
    """After a limit the model gets a note that its variables are lost."""
    episode, _ = play(script({"replies": [code("while True: pass"), code("final_answer(2)")]}))
    assert "the session was ended; its variables are gone" in said(episode)[1][1]


def test_long_outputs_are_shortened(play, script) -> None:
    """An observation is cut to the limit, in the middle."""
    episode, _ = play(script({"replies": [code("print('a' * 1000)"), code("final_answer(1)")]}), observation_chars=100)
    assert "[900 characters left out]" in said(episode)[1][1]


# ---------------------------------------------------------------- tool calls


@pytest.mark.parametrize("native", [False, True])
def test_tools_are_called_in_order_and_final_answer_ends(play, script, native: bool) -> None:
    """Calls in text or by the engine are carried out, results shown in the matching form, and the rest is
    left out.
    """
    steps: list[tuple[str, dict[str, Any]]] = [
        ("add", {"numbers": [1, 2]}),
        ("get_user", {"uid": "user_1"}),
        ("final_answer", {"answer": [3]}),
        ("set_name", {"uid": "user_1", "name": "x"}),
    ]
    if native:
        replies: list[Any] = [
            {"tool_calls": [{"name": n, "arguments": a} for n, a in part]} for part in (steps[:1], steps[1:])
        ]
    else:
        replies = ["".join(call(n, **a) for n, a in part) for part in (steps[:1], steps[1:])]
    episode, calls = play(script({"replies": replies}), "json")
    assert (episode.stop, episode.answer) == ("answer", [3])
    assert [(made.tool, made.result) for made in calls] == [("add", 3), ("get_user", {"name": "Ann0"})]
    results = [message for message in episode.messages[len(OPENING) :] if message.role != "assistant"]
    if native:
        assert (results[0].role, results[0].content, results[0].tool_call_id, results[0].name) == (
            "tool",
            "3",
            "call_0_0",
            "add",
        )
        assert len(episode.messages[-2].tool_calls) == 3
    else:
        assert (results[0].role, results[0].content) == ("user", "Result of add: 3")
        assert not any(message.tool_calls for message in episode.messages)


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ("<tool_call>add(1)</tool_call>", "the call is not JSON of the form"),
        (call("ad", x=1), "there is no tool 'ad'"),
        (call("get_user"), "TypeError: get_user() missing a required argument: 'uid'"),
        (call("get_user", uid="nobody"), "Error: no user 'nobody'"),
        (call("get_user", uid=7), "must be str, not int 7"),
        (call("final_answer"), "Error: "),
        (call("final_answer", answer=json.loads("[" * 300 + "]" * 300)), "Error: "),
        ("prose", "holds no tool call"),
    ],
    ids=["not json", "unknown", "missing", "refused", "type", "no answer", "deep answer", "none"],
)
def test_calls_that_cannot_be_made_are_answered(play, script, reply: str, shown: str) -> None:
    """The model gets an error for every kind of wrong call, and the episode continues."""
    episode, _ = play(script({"replies": [reply, call("final_answer", answer=None)]}), "json")
    assert shown in said(episode)[1][1]
    assert (episode.stop, episode.answer) == ("answer", None)


# ---------------------------------------------------------------- limits


def test_turns_end_an_episode(play, script) -> None:
    """A model that never answers is stopped after the given number of turns."""
    episode, calls = play(script({"replies": [code("add(1)")]}), turns=3)
    assert (episode.stop, episode.usage.turns, len(calls)) == ("turns", 3, 3)


def test_tokens_end_an_episode(play, script) -> None:
    """The tokens of all turns together are limited, and no turn may sample more than is left."""
    episode, _ = play(script({"replies": ["a b c d e f g"]}), tokens=10, turns=9)
    assert (episode.stop, episode.usage.completion_tokens, episode.usage.turns) == ("tokens", 10, 2)


def test_time_ends_an_episode(play, script) -> None:
    """An episode that takes too long is stopped between turns."""
    episode, _ = play(script({"replies": ["a"]}, delay_s=0.05), seconds=0.02, turns=9)
    assert (episode.stop, episode.usage.turns) == ("time", 1)


def test_a_failing_model_ends_an_episode(play, script) -> None:
    """An engine's error is kept in words; what was said before is kept too."""
    episode, _ = play(script({"when": "the task", "replies": [code("add(1)")]}))
    assert (episode.stop, episode.usage.turns) == ("error", 1)
    assert "no rule of" in episode.problem


def test_a_broken_environment_is_no_fault_of_the_model(play, script) -> None:
    """A tool that fails as an environment ends the episode as an error, or with a WorldError for calls by
    JSON.
    """
    episode, _ = play(script({"replies": [code("divide(1, 0)")]}))
    assert episode.stop == "error"
    assert "ZeroDivisionError" in episode.problem
    with pytest.raises(WorldError, match="ZeroDivisionError"):
        play(script({"replies": [call("divide", a=1, b=0)]}), "json")


class Engine:
    """A model that gives tokens, as an engine does; the tests' own end of our interface.

    Args:
        completions: given one after the other.
    """

    def __init__(self, *completions: Completion | Exception) -> None:
        self._completions = list(completions)
        self.seeds: list[int] = []
        self.offered: list[int] = []

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Return the next completion."""
        assert len(conversations) == 1
        self.seeds.append(sampling.seed)
        self.offered.append(len(tools))
        completion = self._completions.pop(0)
        if isinstance(completion, Exception):
            raise completion
        return [completion]

    async def close(self) -> None:
        """Hold nothing."""


def tokens(text: str, prompt: list[int], sampled: list[int]) -> Completion:
    """Return a completion with token ids."""
    return Completion(
        text,
        "stop",
        len(prompt),
        len(sampled),
        prompt_ids=prompt,
        token_ids=sampled,
        logprobs=[-1.0] * len(sampled),
    )


def test_tokens_of_turns_are_joined_while_the_prompt_grows(play) -> None:
    """A prompt that begins with all that went before continues the segment; only sampled tokens are in the
    mask.
    """
    engine = Engine(
        tokens(code("add(1)"), [1, 2], [3, 4]),
        tokens("x", [1, 2, 3, 4, 5], [6]),
        tokens("y", [1, 2, 9], [7]),
        tokens(code("final_answer(1)"), [1, 2, 9, 7], [8]),
    )
    episode, _ = play(engine)
    first, second = episode.segments
    assert (first.token_ids, first.loss_mask) == ([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 0, 1])
    assert first.logprobs == [0.0, 0.0, -1.0, -1.0, 0.0, -1.0]
    assert (second.token_ids, second.loss_mask) == ([1, 2, 9, 7, 8], [0, 0, 0, 1, 1])


def test_engines_without_tokens_give_no_segments(play, script) -> None:
    """Tokens are never made up."""
    assert play(script({"replies": [code("final_answer(1)")]}))[0].segments == []


def test_a_full_context_ends_an_episode(play) -> None:
    """A conversation that does not fit any more stops; the turn that was not made does not count."""
    episode, _ = play(Engine(Completion("a", "stop"), Completion("", "context")))
    assert (episode.stop, episode.usage.turns) == ("context", 1)


def test_every_turn_has_a_seed_of_its_own(play) -> None:
    """The seeds of the turns follow from the episode's, so that episodes can be repeated."""
    engine = Engine(*[Completion("a", "stop")] * 3)
    play(engine, seed=100, turns=3)
    assert len(set(engine.seeds)) == 3
    again = Engine(*[Completion("a", "stop")] * 3)
    play(again, seed=100, turns=3)
    assert again.seeds == engine.seeds


def test_tools_are_offered_only_where_they_are_called(play, sandbox: Sandbox, shop: EnvSpec) -> None:
    """Native tools, final_answer among them, go to the engine with JSON actions and not with code."""
    for actions, offered in (("code", 0), ("json", len(sandbox.describe(shop)[0]) + 1)):
        engine = Engine(ModelError("enough"))
        play(engine, actions)
        assert engine.offered == [offered]


def test_until_ends_an_episode_that_acted(sandbox: Sandbox, shop: EnvSpec, script) -> None:
    """Whoever waits for something else than an answer is asked after each turn."""
    actor = Actor(load_model(script({"replies": [code("add({seed})")]})), Sampling())
    with sandbox.session(shop, 0) as session:
        tools, *_ = sandbox.describe(shop)
        episode = asyncio.run(actor.act(session, OPENING, tools, 5, until=lambda s: len(s.calls) >= 2))
    assert (episode.stop, episode.usage.turns) == ("acted", 2)
