"""Run episodes: a model acts in a session until it answers or reaches a limit. All commands use this loop.

Paper, section 2: the executor attempts a task over several turns, and the task's own check gives the reward. The check
is not run here.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from sca_cli.episode import chat
from sca_cli.episode.customer import STOP, Customer, User
from sca_cli.errors import ModelError
from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.prompts import Prompts
from sca_cli.records import JSON, FunctionCall, Message, Observation, Segment, ToolCall, Usage
from sca_cli.sandbox import Description, Session
from sca_cli.toolkit.replies import without_reasoning

FINAL_ANSWER = Tool(
    name="final_answer",
    description="Give the final answer; this ends the task.",
    parameters={"type": "object", "properties": {"answer": {}}, "required": ["answer"], "additionalProperties": False},
    signature="final_answer(answer) -> None",
    returns="None",
)

_SHOWN_ARGUMENTS_CHARS = 200
"""Longest text of arguments that an error message quotes whole. Chosen by hand."""

type _TurnKind = Literal["answer", "action", "words"]
"""Kind of a turn: the final answer, another action, or only words."""


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """Limits of an episode. The defaults are chosen by hand."""

    turns: int = 8
    tokens: int = 2048
    """Most tokens sampled over all turns."""
    seconds: float = 600.0
    """Most wall time; checked before each turn."""
    observation_chars: int | None = 2000
    """Longest output that the model sees whole. The middle of a longer one is left out; None shows all."""


USER_LIMITS = EpisodeLimits(turns=30, tokens=8192, seconds=3600.0)
"""Limits of an episode with a customer. The number of turns is that of TauBench."""


@dataclass(slots=True)
class Episode:
    """The record of an episode."""

    messages: list[Message]
    opening: int = 0
    """Number of messages before the model's first reply."""
    segments: list[Segment] = field(default_factory=list)
    """Sampled tokens, for training; empty if the engine does not return token ids."""
    answer: JSON = None
    """Value of the final answer; None if there is none."""
    stop: Literal["answer", "user", "tool", "turns", "tokens", "time", "context", "error", "acted"] = "turns"
    """Why the episode ended. `acted`: the condition `until` of `Actor.act` was met."""
    problem: str = ""
    """Error message, if `stop` is `error`."""
    usage: Usage = field(default_factory=Usage)


type Actions = Literal["code", "json", "text"]
"""How a model acts: by Python code blocks in one session, by JSON tool calls, or by `Action:` and `Answer:` lines."""


def opening_messages(
    prompts: Prompts, actions: Actions, place: Description, instruction: str, *, customer: bool = False
) -> list[Message]:
    """Return the first messages of an episode: policy, tools, how to act, and the user's message.

    Args:
        prompts: the prompt files to use.
        actions: how the model acts.
        place: description of the environment: its tools and its policy.
        instruction: the task's instruction, or the customer's first message.
        customer: the user is a customer who answers the model's messages.
    """
    listing = chat.tool_schemas([*place.tools, FINAL_ANSWER]) if actions == "json" else chat.tool_listing(place.tools)
    name = f"agent-{actions}-customer" if customer and actions != "text" else f"agent-{actions}"
    return prompts.fill(name, policy=place.policy, tools=listing, instruction=instruction)


@dataclass(frozen=True, slots=True)
class Actor:
    """A model with its sampling, limits, way of acting and prompts.

    Args:
        model: samples the replies.
        sampling: temperature, top-p and most tokens per reply. Stop texts and seeds are set per turn.
        limits: limits of an episode without a customer.
        actions: how the model acts.
        prompts: the prompt files to use.
        user: plays the customer if the environment has one. If None, the model reads the instruction itself.
        user_limits: limits of an episode with a customer, instead of `limits`.
        words: texts for replies and calls that cannot be used.
    """

    model: Model
    sampling: Sampling
    limits: EpisodeLimits = EpisodeLimits()
    actions: Actions = "code"
    prompts: Prompts = field(default_factory=Prompts)
    user: User | None = None
    user_limits: EpisodeLimits = USER_LIMITS
    words: chat.Words = chat.WORDS

    async def attempt(
        self, session: Session, place: Description, instruction: str, seed: int, *, wants_value: bool = False
    ) -> Episode:
        """Let the model attempt a task.

        The model reads the instruction. If there is a user and the environment has a customer, only the customer reads
        the instruction, and the model talks to the customer.

        Args:
            session: a session in a fresh world. The caller judges and closes it.
            place: description of the environment.
            instruction: the task's instruction.
            seed: seeds all sampling of the model and the customer.
            wants_value: the check judges an answer, see `act`.

        Raises:
            WorldError: the environment broke.
        """
        if self.user is None or not place.customer:
            opening = opening_messages(self.prompts, self.actions, place, instruction)
            return await self.act(session, opening, place.tools, seed)
        customer = Customer(self.user, instruction, random.Random(seed).getrandbits(31))
        try:
            first_message = await customer.speak()
        except ModelError as error:
            return Episode([], stop="error", problem=error.message, usage=customer.usage)
        opening = opening_messages(self.prompts, self.actions, place, first_message, customer=True)
        return await self.act(session, opening, place.tools, seed, customer=customer, wants_value=wants_value)

    async def act(
        self,
        session: Session,
        opening: Sequence[Message],
        tools: Sequence[Tool],
        seed: int,
        *,
        customer: Customer | None = None,
        wants_value: bool = False,
        until: Callable[[Session], bool] = lambda _: False,
    ) -> Episode:
        """Let the model act in a session until it answers or reaches a limit.

        Args:
            session: a session in a fresh world. The caller judges and closes it.
            opening: the first messages, see `opening_messages`.
            tools: the session's tools.
            seed: turn i samples with `seed + i`.
            customer: replies to every turn without an action. When the customer leaves, the episode stops with `user`.
            wants_value: the check judges an answer. After the customer left, the model gets one more turn, in which it
                passes the value that it gave the customer to the check.
            until: called after every turn that did not answer. If it returns True, the episode stops with `acted`.

        Raises:
            WorldError: the environment broke.
        """
        episode = Episode(messages=list(opening), opening=len(opening), usage=customer.usage if customer else Usage())
        limits = self.user_limits if customer else self.limits
        tracker = _Tokens()
        started = time.monotonic()
        closing = False
        ending = {tool.name for tool in tools if tool.ends}
        for turn in range(limits.turns + 1):
            if turn == limits.turns and not closing:
                if customer is None or not customer.leaves:
                    break
                episode.stop = "user"
                if not wants_value:
                    break
                closing = True
                episode.messages[-1].content += f"\n\n{chat.CLOSING[self.actions]}"
            spare = limits.tokens - episode.usage.completion_tokens
            if spare <= 0 or time.monotonic() - started > limits.seconds:
                episode.stop = "tokens" if spare <= 0 else "time"
                break
            try:
                completion = await self._sample(episode.messages, tools, seed + turn, spare)
            except ModelError as error:
                episode.stop, episode.problem = "error", error.message
                break
            if completion.finish_reason == "context":
                episode.stop = "context"
                break
            tracker.add(completion)
            is_cut = completion.finish_reason == "length" and not completion.tool_calls
            episode.usage.reply(
                completion.prompt_tokens,
                completion.completion_tokens,
                cut_before_text=is_cut and not without_reasoning(completion.text).strip(),
            )
            steps = {"code": self._step_by_code, "json": self._step_by_calls, "text": self._step_by_text}
            calls_before = len(session.calls)
            kind = await asyncio.to_thread(steps[self.actions], session, completion, episode, tools)
            if closing:
                break
            if kind == "answer":
                episode.stop = "answer"
                break
            if ending and any(call.tool in ending for call in session.calls[calls_before:]):
                episode.stop = "tool"
                break
            if kind == "words":
                await self._reply_to_words(episode, customer)
            if episode.stop == "user" and wants_value:
                closing = True
                episode.messages[-1].content += f"\n\n{chat.CLOSING[self.actions]}"
                continue
            if episode.stop in ("error", "user"):
                break
            if until(session):
                episode.stop = "acted"
                break
        episode.segments = tracker.segments
        episode.usage.seconds = time.monotonic() - started
        return episode

    async def _sample(self, messages: list[Message], tools: Sequence[Tool], seed: int, spare: int) -> Completion:
        """Sample one reply of at most `spare` tokens."""
        sampling = Sampling(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            max_tokens=min(self.sampling.max_tokens, spare),
            stop={"code": chat.CODE_STOP, "json": (), "text": chat.TEXT_STOP}[self.actions],
            seed=seed,
        )
        offered = [*tools, FINAL_ANSWER] if self.actions == "json" else ()
        (completion,) = await self.model.generate([messages], sampling, offered)
        return completion

    async def _reply_to_words(self, episode: Episode, customer: Customer | None) -> None:
        """Add the reply to a turn without an action: the customer's message, or a request to act if there is none."""
        if customer is None:
            requests = {
                "code": chat.NO_CODE,
                "json": chat.NO_CALL,
                "text": Message(role="user", content=self.words.no_action),
            }
            episode.messages.append(requests[self.actions])
            return
        try:
            reply = await customer.speak(episode.messages[-1].content)
        except ModelError as error:
            episode.stop, episode.problem = "error", error.message
            return
        episode.messages.append(Message(role="user", content=reply))
        if STOP in reply:
            episode.stop = "user"

    def _step_by_code(self, session: Session, completion: Completion, episode: Episode, _: Sequence[Tool]) -> _TurnKind:
        """Run the first code block of a reply; add its output, or the answer, to the episode."""
        episode.messages.append(_said(completion))
        blocks = chat.code_blocks(without_reasoning(completion.text))
        if not blocks:
            return "words"
        run = session.run(blocks[0])
        if run.answered:
            episode.answer = run.answer
            return "answer"
        if run.reason in ("sandbox", "world"):
            episode.stop, episode.problem = "error", run.message
            return "action"
        problem = run.message if run.alive else f"{run.message} (the session was ended; its variables are gone)"
        episode.messages.append(chat.code_observation(run.output, problem, self.limits.observation_chars))
        return "action"

    def _step_by_calls(
        self, session: Session, completion: Completion, episode: Episode, tools: Sequence[Tool]
    ) -> _TurnKind:
        """Make the tool calls of a reply in order, up to one that ends the episode; add their results to it."""
        calls = chat.json_calls(completion)
        native = bool(completion.tool_calls)
        reply = _said(completion)
        reply.tool_calls = _for_replay(calls, episode.messages) if native else []
        episode.messages.append(reply)
        if not calls:
            return "words"
        by_name = {tool.name: tool for tool in tools}
        results: list[str] = []
        kind: _TurnKind = "action"
        for place, call in enumerate(calls):
            name = call.call.function.name
            if name == FINAL_ANSWER.name and call.arguments is not None and "answer" in call.arguments:
                try:
                    session.answer(call.arguments["answer"])
                except ValueError as error:  # nested too deeply to be an answer
                    text = f"Error: {error}"
                else:
                    episode.answer, kind = call.arguments["answer"], "answer"
                    break
            else:
                text = self._result_of_call(session, by_name.get(name), call)
            if native:
                identity = reply.tool_calls[place].id
                episode.messages.append(Message(role="tool", content=text, tool_call_id=identity, name=name))
            else:
                results.append(f"Result of {name or 'the call'}: {text}")
            if name in by_name and by_name[name].ends:
                break
        if results:  # one message, because strict servers want the roles to alternate
            episode.messages.append(Message(role="user", content="\n\n".join(results)))
        return kind

    def _step_by_text(
        self, session: Session, completion: Completion, episode: Episode, tools: Sequence[Tool]
    ) -> _TurnKind:
        """Carry out the first `Action:` or `Answer:` of a reply; add the result to the episode."""
        episode.messages.append(_said(completion))
        kind, text = chat.text_step(without_reasoning(completion.text))
        if kind == "answer":
            session.answer(text)
            episode.answer = text
            return "answer"
        if kind != "action":
            return "words"
        episode.messages.append(Message(role="user", content=self._result_of_action(session, tools, text)))
        return "action"

    def _result_of_action(self, session: Session, tools: Sequence[Tool], text: str) -> str:
        name, arguments = chat.text_call(text)
        if name not in {tool.name for tool in tools}:
            return self.words.unknown_tool.format(tool=name)
        observation = session.call(name, arguments)
        result = self._refusal(observation) or observation.text or str(observation.result) or "(nothing)"
        return chat.shortened(result, self.limits.observation_chars)

    def _result_of_call(self, session: Session, tool: Tool | None, call: chat.JsonCall) -> str:
        if call.arguments is None:
            written = chat.shortened(call.call.function.arguments, _SHOWN_ARGUMENTS_CHARS)
            form = 'the call is not JSON of the form {"name": …, "arguments": {…}}'
            return f"Error: {form}" + (f"; its arguments were: {written}" if written != "{}" else "")
        if call.call.function.name == FINAL_ANSWER.name:
            return 'Error: final_answer needs {"answer": value}'
        if tool is None:
            return self.words.unknown_tool.format(tool=call.call.function.name)
        observation: Observation = session.call(tool.name, *chat.positional(tool, call.arguments))
        text = self._refusal(observation) or observation.text or repr(observation.result)
        return chat.shortened(text, self.limits.observation_chars)

    def _refusal(self, call: Observation) -> str:
        """Return the text for a refused call, or ""."""
        arguments = (*call.args, *call.kwargs.values())
        return self.words.refused.format(tool=call.tool, arguments=arguments, reason=call.error) if call.error else ""


def _said(completion: Completion) -> Message:
    return Message(role="assistant", content=completion.text, reasoning_content=completion.reasoning)


def _for_replay(calls: Sequence[chat.JsonCall], earlier: Sequence[Message]) -> list[ToolCall]:
    """Return the calls of a reply as servers accept them in later requests.

    Ids are unique over the conversation, and arguments are JSON text of an object: `{}` if the model wrote none.

    Args:
        calls: the calls of the reply.
        earlier: the messages before it.
    """
    used = {call.id for message in earlier for call in message.tool_calls}
    replayed = []
    for call in calls:
        identity = call.call.id
        number = len(used)
        while not identity or identity in used:
            identity = f"call{number:05d}"  # Mistral's servers want nine letters or digits
            number += 1
        used.add(identity)
        written = call.call.function.arguments
        is_object = call.arguments is not None and written.lstrip().startswith("{")
        arguments = written if is_object else msgspec.json.encode(call.arguments or {}).decode()
        replayed.append(ToolCall(id=identity, function=FunctionCall(name=call.call.function.name, arguments=arguments)))
    return replayed


class _Tokens:
    """Joins the tokens of consecutive turns into segments.

    A turn extends the last segment if its prompt begins with all tokens of the segment; else it begins a new segment.
    So training uses exactly the tokens that were sampled, even if the chat template changes the text between turns.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def add(self, completion: Completion) -> None:
        if completion.prompt_ids is None or completion.token_ids is None or completion.logprobs is None:
            return
        last = self.segments[-1].token_ids if self.segments else []
        if self.segments and completion.prompt_ids[: len(last)] == last:
            segment, new_prompt_ids = self.segments[-1], completion.prompt_ids[len(last) :]
        else:
            segment, new_prompt_ids = Segment(token_ids=[], loss_mask=[], logprobs=[]), completion.prompt_ids
            self.segments.append(segment)
        segment.token_ids += [*new_prompt_ids, *completion.token_ids]
        segment.loss_mask += [0] * len(new_prompt_ids) + [1] * len(completion.token_ids)
        segment.logprobs += [0.0] * len(new_prompt_ids) + completion.logprobs
