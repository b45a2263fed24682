"""Let a model judge attempts at tasks without a check: the evaluator of PAE (arXiv 2412.13194).

The judge reads the instruction, a transcript of the attempt, and the answer. It can be wrong, and text in the attempt
can persuade it. Its judgements are therefore marked (`Rollout.judged_by`) and never mixed with those of checks.
Departure: the judge reads a transcript instead of screenshots.
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
from sca_cli.toolkit.replies import without_reasoning

TRANSCRIPT_CHARS = 8000
"""Longest transcript, and longest answer, that the judge reads whole. Chosen by hand."""
REPLY_TOKENS = 256
"""Most tokens of the judge's reply. Chosen by hand."""

_SPEAKERS = {"assistant": "The assistant", "user": "What came back", "tool": "What came back"}


@dataclass(frozen=True, slots=True)
class Judge:
    """A model that judges attempts."""

    model: Model
    name: str
    """The model specification, as passed to `--judge`."""
    prompts: Prompts

    async def __call__(self, task: Task, messages: Sequence[Message], answer: JSON, seed: int) -> Judgement:
        """Judge whether an attempt did what the instruction asks for.

        Sampling is greedy, so that the same attempt gets the same judgement.

        Args:
            task: gives the instruction.
            messages: the messages of the attempt, without the opening ones.
            answer: the value passed to `final_answer`; None if there is none.
            seed: seeds the sampling.

        Returns:
            Pass or fail; invalid with reason `judge` if the engine failed or the reply says neither success nor
            failure.
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
        statuses = re.findall(r"status:\W*(success|failure)", without_reasoning(completion.text), re.IGNORECASE)
        if not statuses:
            return Judgement("invalid", "judge", "the reply says neither success nor failure")
        return Judgement("pass" if statuses[-1].lower() == "success" else "fail")


def transcript(messages: Sequence[Message]) -> str:
    """Return a conversation as text, one paragraph per message, with speakers and tool calls."""
    return "\n\n".join(f"{_SPEAKERS[message.role]}:\n{_text_of(message)}" for message in messages)


def _text_of(message: Message) -> str:
    calls = [f"{call.function.name}({call.function.arguments})" for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))
