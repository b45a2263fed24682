"""The simulated user: a model plays the customer of a task and talks to the agent, as in TauBench.

The customer is told the instruction, which the agent never sees, and hears what the agent says to it: no code, no tool
call, no observation.
"""

from dataclasses import dataclass, field, replace

from sca_cli.errors import ModelError
from sca_cli.interfaces import Model, Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import Message, Usage

STOP = "###STOP###"
"""A customer says it when the conversation is over."""


@dataclass(frozen=True, slots=True)
class User:
    """A model that plays customers.

    Args:
        name: the model specification, for the record.
    """

    model: Model
    sampling: Sampling
    prompts: Prompts = field(default_factory=Prompts)
    name: str = ""


class Customer:
    """One customer in one conversation.

    Args:
        user: plays it.
        instruction: what it wants, and all that it knows.
        seed: of the sampling; message i samples with `seed + i`.
    """

    def __init__(self, user: User, instruction: str, seed: int) -> None:
        self.usage = Usage()
        """Its own tokens, in the fields for the user; the episode adds the agent's."""
        self._user, self._seed = user, seed
        self._messages = user.prompts.fill("user", instruction=instruction, stop=STOP)

    async def speak(self, heard: str | None = None) -> str:
        """Say the next thing.

        Args:
            heard: what the agent said; None before it has said anything.

        Returns:
            a message; one that holds `STOP` is the last.

        Raises:
            ModelError: the engine failed, or said nothing.
        """
        if heard is not None:
            self._messages.append(Message(role="user", content=heard))
        sampling = replace(self._user.sampling, stop=(STOP,), seed=self._seed + self.usage.user_turns)
        try:
            (completion,) = await self._user.model.generate([self._messages], sampling)
        except ModelError as error:
            raise ModelError(f"the user model: {error.message}", error.hint) from error
        self.usage.user_turns += 1
        self.usage.user_prompt_tokens += completion.prompt_tokens
        self.usage.user_completion_tokens += completion.completion_tokens
        said = completion.text.strip()
        if heard is None:  # nobody is content before anything was done
            said = said.replace(STOP, "").strip()
        if not said:
            full = completion.finish_reason == "context"
            raise ModelError(f"the user model: {'the conversation does not fit in its window' if full else 'no reply'}")
        self._messages.append(Message(role="assistant", content=said))
        return said
