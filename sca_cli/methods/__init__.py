"""How a challenger makes tasks: one file a method, all behind `Method`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.prompts import Prompts
from sca_cli.records import ErrorNote, Exploration, Task, Usage
from sca_cli.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a method makes one candidate with."""

    model: Model | None
    """None: the machine writes the instructions, which only the method compose can do."""
    sampling: Sampling
    prompts: Prompts
    sandbox: Sandbox
    tools: list[Tool]
    policy: str
    customer: bool = False
    """Instructions are what a customer has in mind."""
    may_name_tools: bool = False
    """Instructions may hold the names of tools."""
    usage: Usage = field(default_factory=Usage)
    """What the model was asked so far; grows."""

    def setting(self, exploration: Exploration) -> str:
        """Return the policy, and what else is to be known before tasks can be written from this exploration."""
        return "\n\n".join(filter(None, [self.policy, self.request(exploration)]))

    @property
    def unspoken(self) -> list[str]:
        """The names of tools that no instruction may hold."""
        return [] if self.may_name_tools else [tool.name for tool in self.tools]

    def request(self, exploration: Exploration) -> str:
        """Return what was told of the world before any call and, where there is a customer, how a request is put."""
        asked = self.prompts.fill("challenge-customer")[0].content if self.customer else ""
        return "\n\n".join(filter(None, [exploration.first_observation, asked]))

    async def ask(
        self,
        prompt: str,
        seed: int,
        *,
        count: int = 1,
        most: int | None = None,
        stop: tuple[str, ...] = (),
        **values: str,
    ) -> list[Completion]:
        """Ask the model the same thing `count` times, with different seeds.

        Args:
            prompt: name of the prompt file; `values` fill it in.
            most: tokens a reply needs at most, where that is less than the user allows: one reply that rambles on
                keeps a whole batch waiting.

        Raises:
            ModelError: the engine failed.
        """
        max_tokens = min(self.sampling.max_tokens, most or self.sampling.max_tokens)
        sampling = replace(self.sampling, stop=stop, seed=seed, max_tokens=max_tokens)
        assert self.model is not None, "methods that ask check it first"
        completions = await self.model.generate([self.prompts.fill(prompt, **values)] * count, sampling)
        for completion in completions:
            if completion.finish_reason != "context":  # else it was neither read nor answered
                self.usage.reply(completion.prompt_tokens, completion.completion_tokens)
        return completions


type Method[S] = Callable[[Workshop, S, int], Awaitable[Task]]
"""Makes one task from one exploration, or from what a method made of several, with a seed. A task with `error` set is a
candidate that came to nothing; its `extra` holds the model's reply."""


class Dropped(ValueError):
    """The candidate came to nothing; the message says why."""


def rejected(exploration: Exploration, method: str, reason: str, reply: str) -> Task:
    """Return a candidate that came to nothing, with the model's reply kept."""
    return Task(
        env=exploration.env,
        seed=exploration.seed,
        method=method,
        instruction="",
        evaluate="",
        parents=[exploration.id] if exploration.id else [],
        error=ErrorNote(boundary="task", message=reason),
        extra={"reply": reply},
    )
