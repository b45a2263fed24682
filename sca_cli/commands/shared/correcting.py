"""Corrections: a teacher continues the failed attempts of a student (`sca distill --correct`).

The student's first replies are repeated in a fresh world, and the teacher makes the rest. The student then learns from
the teacher's replies in the states that it reaches itself (Ross et al. 2011, arXiv 1011.0686: DAgger). A rollout of a
correction counts only the teacher's replies as turns, and these are the last ones, so the loss is on them only.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sca_cli.commands.shared.attempts import Attempts
from sca_cli.errors import ModelError
from sca_cli.interfaces import Completion, Model, Sampling, Tool
from sca_cli.records import ErrorNote, Message, Rollout

type Correction = tuple[Rollout, int]
"""A failed attempt, and the number of the correction."""


def worth_correcting(rollouts: Iterable[Rollout]) -> Iterator[Rollout]:
    """Leave out the attempts that passed or were not judged."""
    return (one for one in rollouts if one.outcome == "fail" and one.error is None and one.usage.turns)


def kept_replies(failed: Rollout, number: int) -> int:
    """Return how many of the student's replies a correction repeats.

    The first correction repeats all but the last reply, and each further one repeats one reply less. After a correction
    that repeats none, this starts again. An attempt of one reply is made anew.
    """
    return failed.usage.turns - 1 - number % failed.usage.turns


def correction_name(item: Correction) -> str:
    """Return the name of a correction, by which `--resume` identifies it."""
    failed, number = item
    return f"{failed.id}#{number}"


async def correct(attempts: Attempts, item: Correction) -> Rollout:
    """Let the teacher continue a failed attempt, and judge the result.

    Args:
        attempts: the teacher's; its limit of turns counts the teacher's replies.
        item: the failed attempt.
    """
    failed, number = item
    kept = kept_replies(failed, number)
    limits = attempts.actor.limits
    turns = attempts.turns or attempts.sandboxes.limits_of(failed.task).turns or limits.turns
    model = _Continued(attempts.actor.model, failed.messages, failed.usage.turns, kept)
    actor = replace(attempts.actor, model=model, limits=replace(limits, turns=turns + kept))
    rollout = await replace(attempts, actor=actor, turns=turns + kept).attempt(failed.task, number)
    rollout.parents = [failed.task.id, failed.id]
    if rollout.error is None and rollout.usage.turns <= kept:
        rollout.error = ErrorNote(boundary="model", message="the teacher made no reply")
    rollout.usage.turns = max(rollout.usage.turns - kept, 0)
    return rollout


@dataclass(slots=True)
class _Continued(Model):
    """A model that first repeats replies of an attempt, and then is the teacher."""

    teacher: Model
    messages: Sequence[Message]
    """The conversation of the attempt."""
    replies: int
    """Number of the attempt's own replies: the last ones from the assistant."""
    kept: int
    """Number of these to repeat."""
    repeated: int = 0

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Repeat the next reply, or let the teacher reply.

        Raises:
            ModelError: the conversation is not that of the attempt; the teacher failed.
        """
        if self.repeated == self.kept and self.kept:
            self._fail_if_other(conversations[0], self._places()[self.kept])
        if self.repeated >= self.kept:
            self.repeated += 1
            return await self.teacher.generate(conversations, sampling, tools)
        place = self._places()[self.repeated]
        self._fail_if_other(conversations[0], place)
        self.repeated += 1
        reply = self.messages[place]
        calls = list(reply.tool_calls)
        finish = "tool_calls" if calls else "stop"
        return [Completion(reply.content, finish, tool_calls=calls, reasoning=reply.reasoning_content)]  # type: ignore[arg-type]

    async def close(self) -> None:
        """Do nothing: the teacher closes itself."""

    def _places(self) -> list[int]:
        return [place for place, message in enumerate(self.messages) if message.role == "assistant"][-self.replies :]

    def _fail_if_other(self, conversation: Sequence[Message], place: int) -> None:
        now, before = ([(one.role, one.content) for one in part] for part in (conversation, self.messages[:place]))
        if now != before:
            number = next((n for n, pair in enumerate(zip(now, before, strict=False)) if pair[0] != pair[1]), len(now))
            raise ModelError(f"the attempt cannot be repeated: message {number + 1} differs from the recorded one")
