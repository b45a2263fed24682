"""The episode loop: a model acts in a session until it answers or a limit ends it. Every command uses this one.

Paper, section 2: the executor attempts a task over several turns; its reward comes from the task's own check, which
is not run here.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sca_cli.episode import chat
from sca_cli.episode.customer import STOP, Customer, User
from sca_cli.errors import ModelError
from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.prompts import Prompts
from sca_cli.records import JSON, Message, Observation, Segment, Usage
from sca_cli.sandbox import Description, Session

FINAL_ANSWER = Tool(
    name="final_answer",
    description="Give the final answer; this ends the task.",
    parameters={"type": "object", "properties": {"answer": {}}, "required": ["answer"], "additionalProperties": False},
    signature="final_answer(answer) -> None",
    returns="None",
)

type _Deed = Literal["answer", "action", "words"]
"""What a turn was: the final answer, another action, or neither."""


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """What ends an episode that does not answer."""

    turns: int = 8
    tokens: int = 2048
    """Sampled tokens over all turns."""
    seconds: float = 600.0
    observation_chars: int = 2000
    """Longer outputs are shown with their middle left out."""


USER_LIMITS = EpisodeLimits(turns=30, tokens=8192, seconds=3600.0)
"""Of an episode with a customer; turns as in TauBench."""


@dataclass(slots=True)
class Episode:
    """What happened."""

    messages: list[Message]
    opening: int = 0
    """How many messages there were before the model said anything."""
    segments: list[Segment] = field(default_factory=list)
    answer: JSON = None
    stop: Literal["answer", "user", "turns", "tokens", "time", "context", "error", "acted"] = "turns"
    problem: str = ""
    """With stop `error`: what broke, in words."""
    usage: Usage = field(default_factory=Usage)


type Actions = Literal["code", "json", "text"]
"""How a model acts: Python blocks in a kept session, tool calls, or `Action:` and `Answer:` lines."""


def opening_messages(
    prompts: Prompts, actions: Actions, place: Description, instruction: str, *, customer: bool = False
) -> list[Message]:
    """Return what an episode begins with: policy, tools, how to act, and what the user says.

    Args:
        prompts: the prompt files in force.
        actions: how the model is told to act.
        place: the environment.
        instruction: the task, or the first words of the customer.
        customer: the user is a customer, who goes on talking.
    """
    listing = chat.tool_schemas([*place.tools, FINAL_ANSWER]) if actions == "json" else chat.tool_listing(place.tools)
    name = f"agent-{actions}-customer" if customer and actions != "text" else f"agent-{actions}"
    return prompts.fill(name, policy=place.policy, tools=listing, instruction=instruction)


@dataclass(frozen=True, slots=True)
class Actor:
    """A model and how it acts.

    Args:
        user: plays the customer where an environment has one; None: the instruction goes to the model itself.
        user_limits: of an episode with a customer, in place of `limits`.
    """

    model: Model
    sampling: Sampling
    limits: EpisodeLimits = EpisodeLimits()
    actions: Actions = "code"
    prompts: Prompts = field(default_factory=Prompts)
    user: User | None = None
    user_limits: EpisodeLimits = USER_LIMITS

    async def attempt(
        self, session: Session, place: Description, instruction: str, seed: int, *, wants_value: bool = False
    ) -> Episode:
        """Let the model attempt a task: told the instruction, or by talking to a customer who was told.

        Args:
            session: a fresh world; the caller judges and closes it.
            place: its environment.
            instruction: the task.
            seed: of all sampling.
            wants_value: an answer is judged, see `act`.

        Raises:
            WorldError: the environment broke.
        """
        if self.user is None or not place.customer:
            opening = opening_messages(self.prompts, self.actions, place, instruction)
            return await self.act(session, opening, place.tools, seed)
        customer = Customer(self.user, instruction, random.Random(seed).getrandbits(31))
        try:
            said = await customer.speak()
        except ModelError as error:
            return Episode([], stop="error", problem=error.message, usage=customer.usage)
        opening = opening_messages(self.prompts, self.actions, place, said, customer=True)
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
        """Let the model act in the session until it answers.

        Args:
            session: a fresh world; the caller judges and closes it.
            opening: system message and what the user says.
            tools: the session's tools.
            seed: of the sampling; turn i samples with a seed derived from it.
            customer: hears every turn without an action, and replies; it ends the episode with stop `user`.
            wants_value: a model whose customer has left is asked in one more turn for the value that it told.
            until: asked after every turn that did not answer; True ends the episode with stop `acted`.

        Raises:
            WorldError: the environment broke.
        """
        episode = Episode(messages=list(opening), opening=len(opening), usage=customer.usage if customer else Usage())
        limits = self.user_limits if customer else self.limits
        tracker = _Tokens()
        started = time.monotonic()
        closing = False
        for turn in range(limits.turns + 1):
            if turn == limits.turns and not closing:
                break
            spare = limits.tokens - episode.usage.completion_tokens
            if spare <= 0 or time.monotonic() - started > limits.seconds:
                episode.stop = "tokens" if spare <= 0 else "time"
                break
            try:
                completion = await self._reply(episode.messages, tools, seed + turn, spare)
            except ModelError as error:
                episode.stop, episode.problem = "error", error.message
                break
            if completion.finish_reason == "context":
                episode.stop = "context"
                break
            tracker.add(completion)
            episode.usage.reply(completion.prompt_tokens, completion.completion_tokens)
            steps = {"code": self._step_by_code, "json": self._step_by_calls, "text": self._step_by_text}
            deed = await asyncio.to_thread(steps[self.actions], session, completion, episode, tools)
            if closing:
                break
            if deed == "answer":
                episode.stop = "answer"
                break
            if deed == "words":
                await self._heard(episode, customer)
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

    async def _reply(self, messages: list[Message], tools: Sequence[Tool], seed: int, spare: int) -> Completion:
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

    async def _heard(self, episode: Episode, customer: Customer | None) -> None:
        """Add what comes back to a turn of words: what the customer says, or that an action is wanted."""
        if customer is None:
            wanted = {"code": chat.NO_CODE, "json": chat.NO_CALL, "text": Message(role="user", content=chat.NO_ACTION)}
            episode.messages.append(wanted[self.actions])
            return
        try:
            said = await customer.speak(episode.messages[-1].content)
        except ModelError as error:
            episode.stop, episode.problem = "error", error.message
            return
        episode.messages.append(Message(role="user", content=said))
        if STOP in said:
            episode.stop = "user"

    def _step_by_code(self, session: Session, completion: Completion, episode: Episode, _: Sequence[Tool]) -> _Deed:
        episode.messages.append(Message(role="assistant", content=completion.text))
        blocks = chat.code_blocks(completion.text)
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
    ) -> _Deed:
        calls = chat.json_calls(completion)
        native = bool(completion.tool_calls)
        episode.messages.append(
            Message(role="assistant", content=completion.text, tool_calls=completion.tool_calls if native else [])
        )
        if not calls:
            return "words"
        by_name = {tool.name: tool for tool in tools}
        for call in calls:
            name = call.call.function.name
            if name == FINAL_ANSWER.name and call.arguments is not None and "answer" in call.arguments:
                try:
                    session.answer(call.arguments["answer"])
                except ValueError as error:  # nested too deeply to be an answer
                    text = f"Error: {error}"
                else:
                    episode.answer = call.arguments["answer"]
                    return "answer"
            else:
                text = self._called(session, by_name.get(name), call)
            episode.messages.append(
                Message(role="tool", content=text, tool_call_id=call.call.id, name=name)
                if native
                else Message(role="user", content=f"Result of {name or 'the call'}: {text}")
            )
        return "action"

    def _step_by_text(self, session: Session, completion: Completion, episode: Episode, tools: Sequence[Tool]) -> _Deed:
        episode.messages.append(Message(role="assistant", content=completion.text))
        kind, text = chat.text_step(completion.text)
        if kind == "answer":
            session.answer(text)
            episode.answer = text
            return "answer"
        if kind != "action":
            return "words"
        episode.messages.append(Message(role="user", content=self._acted(session, tools, text)))
        return "action"

    def _acted(self, session: Session, tools: Sequence[Tool], text: str) -> str:
        name, arguments = chat.text_call(text)
        if name not in {tool.name for tool in tools}:
            return f"Error: there is no tool '{name}'"
        observation = session.call(name, arguments)
        told = f"Error: {observation.error}" if observation.error else str(observation.result)
        return chat.shortened(told, self.limits.observation_chars)

    def _called(self, session: Session, tool: Tool | None, call: chat.JsonCall) -> str:
        if call.arguments is None:
            return 'Error: the call is not JSON of the form {"name": …, "arguments": {…}}'
        if tool is None:
            return f"Error: there is no tool '{call.call.function.name}'"
        observation: Observation = session.call(tool.name, *chat.positional(tool, call.arguments))
        text = f"Error: {observation.error}" if observation.error else repr(observation.result)
        return chat.shortened(text, self.limits.observation_chars)


class _Tokens:
    """Joins the tokens of consecutive turns while each prompt extends what went before; else begins a new segment.

    So training sees exactly the tokens that were sampled, whatever a chat template makes of the text between turns.
    """

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def add(self, completion: Completion) -> None:
        if completion.prompt_ids is None or completion.token_ids is None or completion.logprobs is None:
            return
        last = self.segments[-1].token_ids if self.segments else []
        if self.segments and completion.prompt_ids[: len(last)] == last:
            segment, given = self.segments[-1], completion.prompt_ids[len(last) :]
        else:
            segment, given = Segment(token_ids=[], loss_mask=[], logprobs=[]), completion.prompt_ids
            self.segments.append(segment)
        segment.token_ids += [*given, *completion.token_ids]
        segment.loss_mask += [0] * len(given) + [1] * len(completion.token_ids)
        segment.logprobs += [0.0] * len(given) + completion.logprobs
