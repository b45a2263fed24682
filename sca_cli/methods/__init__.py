"""The methods by which a challenger makes tasks. Each method is a function of the type `Method`.

`cat`, `solution_first` and `pae` are one file each; `compose` and `walk` are folders.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.prompts import Prompts
from sca_cli.records import ErrorNote, Exploration, Task, Usage
from sca_cli.sandbox import Sandbox
from sca_cli.toolkit.replies import without_reasoning


@dataclass(frozen=True, slots=True)
class Workshop:
    """The model, the prompts and the sandbox with which a method makes one candidate."""

    model: Model | None
    """None: fixed templates write the instructions. Only the methods `compose` and `walk` can do this."""
    sampling: Sampling
    prompts: Prompts
    sandbox: Sandbox
    tools: list[Tool]
    policy: str
    customer: bool = False
    """Each instruction describes a customer, whom a model will play in a conversation with the agent."""
    may_name_tools: bool = False
    """Instructions may contain names of tools."""
    turn: int = 0
    """Candidates that were made of the same exploration before this one."""
    usage: Usage = field(default_factory=Usage)
    """Tokens and replies of the model so far; `ask` adds to it."""

    def setting(self, exploration: Exploration) -> str:
        """Return the policy and `request`: the context that a model needs to write tasks from this exploration."""
        return "\n\n".join(filter(None, [self.policy, self.request(exploration)]))

    @property
    def unspoken(self) -> list[str]:
        """The names of the tools, if instructions may not contain them; else none."""
        return [] if self.may_name_tools else [tool.name for tool in self.tools]

    def request(self, exploration: Exploration) -> str:
        """Return the first observation and, if there is a customer, what an instruction for one must contain."""
        customer_rules = self.prompts.fill("challenge-customer")[0].content if self.customer else ""
        return "\n\n".join(filter(None, [exploration.first_observation, customer_rules]))

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
        """Send the model the same prompt `count` times and return the completions without reasoning, in order.

        Args:
            prompt: name of the prompt file.
            seed: completion i is sampled with `seed + i`.
            count: number of completions.
            most: limit of tokens for each reply; the user's own limit applies too. A short limit matters because one
                long reply delays its whole batch.
            stop: texts that end a reply.
            values: fill in the prompt's `$names`.

        Raises:
            ModelError: the engine failed.
        """
        max_tokens = min(self.sampling.max_tokens, most or self.sampling.max_tokens)
        sampling = replace(self.sampling, stop=stop, seed=seed, max_tokens=max_tokens)
        assert self.model is not None, "only methods that have a model call ask()"
        completions = await self.model.generate([self.prompts.fill(prompt, **values)] * count, sampling)
        for completion in completions:
            completion.text = without_reasoning(completion.text)
            if completion.finish_reason != "context":  # the prompt was too long: the model processed no token
                is_cut = completion.finish_reason == "length" and not completion.text.strip()
                self.usage.reply(completion.prompt_tokens, completion.completion_tokens, cut_before_text=is_cut)
        return completions


type Method[S] = Callable[[Workshop, S, int], Awaitable[Task]]
"""Makes one task from a subject and a seed. The subject is one exploration, or for `compose` a program that was
composed from several. A rejected candidate is a task with `error` set; its `extra` holds the model's reply."""


class Dropped(ValueError):
    """The candidate is rejected; the message says why."""


def rejected(exploration: Exploration, method: str, reason: str, reply: str) -> Task:
    """Return a rejected candidate that holds the reason and the model's reply."""
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
