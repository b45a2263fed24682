"""Benchmarks under `sca eval --suite` and `sca suite`: limits, the reference solutions, retries after wrong answers."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import typer

from sca_cli.commands.shared.attempts import Attempts
from sca_cli.commands.shared.shell import is_default
from sca_cli.episode.agent import Episode
from sca_cli.errors import UsageError
from sca_cli.evaluation.suites import Suite
from sca_cli.fanout import Fanout
from sca_cli.records import JSON, Message, Rollout, Task, TaskLimits
from sca_cli.sandbox import Description, Session

SUITE_LIMITS = TaskLimits(check_seconds=30.0)
"""Limits of benchmark tasks. The states are megabytes large, and M3ToolEval gives a turn of code 30 seconds."""


def by_reference(suite: Suite, fanout: Fanout) -> Iterator[Rollout]:
    """Run the reference solution of every task, and judge it like a model's attempt."""

    async def work(task: Task) -> Rollout:
        return await asyncio.to_thread(suite.attempt, task, task.solution)

    return fanout.ordered(suite.tasks, work)


def missed(rollouts: Sequence[Rollout]) -> str:
    """Return one line for each task whose reference solution does not pass."""
    return "\n".join(
        f"sca suite: the reference of task {rollout.task.extra['task']} is {rollout.outcome} {rollout.reason}".rstrip()
        for rollout in rollouts
        if rollout.outcome != "pass"
    )


def as_published(context: typer.Context, suite: Suite) -> dict[str, JSON]:
    """Return the options of attempts as the benchmark's authors publish scores: parameter → value.

    Raises:
        UsageError: the suite has no such settings, or another value was given for one of them.
    """
    published = suite.listing.published
    if published is None:
        raise UsageError(f"suite {suite.env} has no published settings", "use its whole test split and its own checker")
    customers = published.user_temperature is not None
    values: dict[str, JSON] = {
        "actions": published.actions,
        "attempts": published.attempts,
        "temperature": published.temperature,
        "user_turns" if customers else "turns": published.turns,
        "max_tokens": published.max_tokens,
        "top_p": 1.0,
        "direct": False,
        "observation_chars": None,
    }
    if customers:
        values |= {"user_temperature": published.user_temperature, "user_max_tokens": None}
    for parameter, value in values.items():
        if not is_default(context, parameter) and context.params[parameter] != value:
            raise UsageError(f"--as-published sets --{parameter.replace('_', '-')} itself", "leave the option out")
    if published.retry and suite.env.options.get("oracle", "yes") != "yes":
        raise UsageError("--as-published needs the option oracle=yes of the suite", "leave the option out")
    suite.listing.retry = suite.listing.retry or published.retry
    return values


def judged_by(suite: Suite, attempts: Attempts) -> Attempts:
    """Return the attempts with the judgement and the texts of the suite; its customers leave at once."""
    kind = Retrying if suite.listing.retry else Attempts
    user = attempts.actor.user
    actor = replace(attempts.actor, words=suite.listing.words, user=user and replace(user, waits=False))
    values = {f.name: getattr(attempts, f.name) for f in fields(attempts)} | {"actor": actor, "check": suite.judge}
    return kind(**values)


class Retrying(Attempts):
    """Attempts at tasks that are judged by the answer: after a wrong answer the model may retry, as in M3ToolEval."""

    async def act(self, task: Task, session: Session, place: Description, seed: int) -> Episode:
        """Let the model act until its answer is right or a limit ends the episode."""
        episode = await super().act(task, session, place, seed)
        limits = self.actor.limits
        while episode.stop == "answer" and not await asyncio.to_thread(self._is_right, task, episode):
            turns, tokens = limits.turns - episode.usage.turns, limits.tokens - episode.usage.completion_tokens
            if turns <= 0 or tokens <= 0:
                break
            session.withdraw_answer()
            actor = replace(self.actor, limits=replace(limits, turns=turns, tokens=tokens))
            messages = [*episode.messages, *_rejection_of(episode.messages, actor.words.wrong_answer)]
            episode = _joined(episode, await actor.act(session, messages, place.tools, seed + episode.usage.turns))
        return episode

    def _is_right(self, task: Task, episode: Episode) -> bool:
        with self.sandboxes.sandbox_of(task).session(task.env, task.seed) as session:
            session.answer(episode.answer)
            return session.evaluate(task.evaluate).outcome == "pass"


def _rejection_of(messages: Sequence[Message], text: str) -> list[Message]:
    """Return the messages that reject an answer, as replies to the tool calls that have none yet, if there are any."""
    replied = {message.tool_call_id for message in messages if message.role == "tool"}
    calls = [call for message in messages for call in message.tool_calls if call.id not in replied]
    if not calls:
        return [Message(role="user", content=text)]
    return [Message(role="tool", content=text, tool_call_id=call.id, name=call.function.name) for call in calls]


def _joined(first: Episode, second: Episode) -> Episode:
    """Join two episodes, the second of which continues the first."""
    second.segments = first.segments + second.segments
    for name in ("prompt_tokens", "completion_tokens", "turns", "cut_before_text"):
        setattr(second.usage, name, getattr(first.usage, name) + getattr(second.usage, name))
    second.usage.seconds = (first.usage.seconds or 0.0) + (second.usage.seconds or 0.0)
    return second
