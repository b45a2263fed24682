"""A model as judge of attempts at tasks without a check: the evaluator of PAE (arXiv 2412.13194).

It sees the instruction, what was said and done, and the answer. It can be wrong, and talked into a success by the
attempt it reads: what it says is marked as its opinion (`Rollout.judged_by`) and never mixed with what checks say.
Departure: a transcript takes the place of screenshots.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sca_cli.episode import chat
from sca_cli.errors import ModelError
from sca_cli.interfaces import Model, Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import JSON, Message, Task
from sca_cli.sandbox import Judgement

TRANSCRIPT_CHARS = 8000
REPLY_TOKENS = 256

_SPEAKERS = {"assistant": "The assistant", "user": "What came back", "tool": "What came back"}


@dataclass(frozen=True, slots=True)
class Judge:
    """A model and what it is asked."""

    model: Model
    name: str
    """Its specification, as given to `--judge`."""
    prompts: Prompts

    async def __call__(self, task: Task, messages: Sequence[Message], answer: JSON, seed: int) -> Judgement:
        """Ask whether an attempt did what the instruction says; greedily, so that the same attempt is judged alike.

        Args:
            messages: of the attempt, without what it began with.
            answer: what was given to `final_answer`; None where nothing was.
            seed: of the sampling.

        Returns:
            invalid with reason `judge` where the engine failed or its reply says neither success nor failure.
        """
        prompt = self.prompts.fill(
            "judge",
            instruction=task.instruction,
            transcript=chat.shortened(transcript(messages), TRANSCRIPT_CHARS),
            answer="(none)" if answer is None else chat.shortened(repr(answer), TRANSCRIPT_CHARS),
        )
        sampling = Sampling(temperature=0, max_tokens=REPLY_TOKENS, seed=seed)
        try:
            (completion,) = await self.model.generate([prompt], sampling)
        except ModelError as error:
            return Judgement("invalid", "judge", error.message)
        said = re.findall(r"status:\W*(success|failure)", completion.text, re.IGNORECASE)
        if not said:
            return Judgement("invalid", "judge", "the reply says neither success nor failure")
        return Judgement("pass" if said[-1].lower() == "success" else "fail")


def transcript(messages: Sequence[Message]) -> str:
    """Return a conversation as text."""
    return "\n\n".join(f"{_SPEAKERS[message.role]}:\n{_said(message)}" for message in messages)


def _said(message: Message) -> str:
    calls = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))
