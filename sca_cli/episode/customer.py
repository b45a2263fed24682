"""Simulate the user: a model plays the customer of a task and talks to the agent, as in TauBench.

The customer reads the instruction, and the agent does not. The customer reads the agent's messages, but not its code,
tool calls and observations.
"""

import re
from dataclasses import dataclass, field, replace

from sca_cli.errors import ModelError
from sca_cli.interfaces import Model, Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import Message, Usage
from sca_cli.toolkit.replies import without_reasoning

STOP = "###STOP###"
"""The customer's message contains this text when the conversation is over."""

_FAREWELL = {
    *(
        "a",
        "again",
        "all",
        "and",
        "bye",
        "cheers",
        "day",
        "else",
        "for",
        "good",
        "goodbye",
        "have",
        "help",
        "is",
        "lot",
    ),
    *("much", "nice", "no", "nothing", "now", "s", "so", "thank", "thanks", "that", "the", "very", "you", "your"),
}
"""A last message of these words alone needs no reply. Chosen by hand."""


@dataclass(frozen=True, slots=True)
class User:
    """A model that plays customers.

    Args:
        model: samples the customer's messages.
        sampling: its sampling. Stop text and seed are set per message.
        prompts: the prompt files to use.
        name: the model specification, for the record.
        waits: a customer who leaves with a request waits for the agent's turn. The customers of benchmarks do not.
    """

    model: Model
    sampling: Sampling
    prompts: Prompts = field(default_factory=Prompts)
    name: str = ""
    waits: bool = True


class Customer:
    """One customer in one conversation.

    Args:
        user: plays the customer.
        instruction: what the customer wants and knows.
        seed: message i samples with `seed + i`.
    """

    def __init__(self, user: User, instruction: str, seed: int) -> None:
        self.usage = Usage()
        """Tokens and turns of the customer, in the fields for the user. The episode adds those of the agent."""
        self._user, self._seed = user, seed
        self.leaves = False
        """The last message contained `STOP` and a request: the conversation is over after the agent's turn."""
        self._messages = user.prompts.fill("user", instruction=instruction, stop=STOP)

    async def speak(self, agent_message: str | None = None) -> str:
        """Return the customer's next message.

        Args:
            agent_message: the agent's last message; None before its first one.

        Returns:
            The message. If it contains `STOP`, it is the last one. If the model writes `STOP` after more than thanks
            and a farewell, such as "Yes, do that", the agent gets a turn to do it: this call returns the text without
            `STOP`, and the next call returns `STOP`; but not if the user does not wait.

        Raises:
            ModelError: the engine failed, or its reply is empty.
        """
        if self.leaves:
            return STOP
        if agent_message is not None:
            self._messages.append(Message(role="user", content=agent_message))
        sampling = replace(self._user.sampling, stop=(STOP,), seed=self._seed + self.usage.user_turns)
        try:
            (completion,) = await self._user.model.generate([self._messages], sampling)
        except ModelError as error:
            raise ModelError(f"the user model: {error.message}", error.hint) from error
        self.usage.user_turns += 1
        self.usage.user_prompt_tokens += completion.prompt_tokens
        self.usage.user_completion_tokens += completion.completion_tokens
        message = without_reasoning(completion.text).strip()
        if STOP in message:
            words = message.replace(STOP, "").strip()
            is_first = agent_message is None  # the conversation cannot be over before it began
            is_farewell = _FAREWELL.issuperset(re.findall(r"\w+", words.lower()))
            self.leaves = self._user.waits and not is_first and not is_farewell
            message = words if is_first or self.leaves else message
        if not message:
            is_full = completion.finish_reason == "context"
            problem = "the conversation does not fit in its context" if is_full else "no reply"
            raise ModelError(f"the user model: {problem}")
        self._messages.append(Message(role="assistant", content=message))
        return message
