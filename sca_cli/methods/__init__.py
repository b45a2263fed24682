"""How a challenger makes tasks: one file a method, all behind `Method`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.prompts import Prompts
from sca_cli.records import ErrorNote, Exploration, Message, Task
from sca_cli.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a method works with."""

    model: Model
    sampling: Sampling
    prompts: Prompts
    sandbox: Sandbox
    tools: list[Tool]
    policy: str

    async def ask(self, prompt: str, seed: int, *, count: int = 1, stop: tuple[str, ...] = ()) -> list[Completion]:
        """Ask the model the same thing `count` times, with different seeds.

        Raises:
            ModelError: the engine failed.
        """
        sampling = Sampling(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            max_tokens=self.sampling.max_tokens,
            stop=stop,
            seed=seed,
        )
        messages = [
            Message(role="system", content="You are an expert who writes tasks and programs exactly as asked."),
            Message(role="user", content=prompt),
        ]
        return await self.model.generate([messages] * count, sampling)


type Method = Callable[[Workshop, Exploration, int], Awaitable[Task]]
"""Makes one task from one exploration with a seed. A task with `error` set is a candidate that came to nothing; its
`extra` holds the model's reply."""


def rejected(exploration: Exploration, method: str, reason: str, reply: str) -> Task:
    """Return a candidate that came to nothing, with the model's reply kept."""
    return Task(
        env=exploration.env,
        seed=exploration.seed,
        method=method,
        instruction="",
        evaluate="",
        parents=[exploration.id],
        error=ErrorNote(boundary="task", message=reason),
        extra={"reply": reply},
    )
