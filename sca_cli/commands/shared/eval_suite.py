"""What `--suite` adds to `sca eval`: the reference instead of a model, wrong answers told, tasks written out."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace

import msgspec

from sca_cli.commands.rollout import Attempts
from sca_cli.episode.agent import Episode
from sca_cli.errors import UsageError
from sca_cli.evaluation.suites import Suite, failure_cases
from sca_cli.fanout import Fanout
from sca_cli.records import Message, Rollout, Task, content_id
from sca_cli.sandbox import Description, Session
from sca_cli.streams import Output

WRONG = "That answer is wrong. Try again."


def refuse_contradictions(
    *, suite: str | None, tasks_named: bool, gold: bool, export: str | None, kept: bool, against: bool
) -> None:
    """Refuse options that cannot go together.

    Args:
        tasks_named: files or `--env` were given.
        kept: `--rollouts` or `--compare` was given.
        against: `--against` was given.

    Raises:
        UsageError: they contradict each other.
    """
    if suite and tasks_named:
        raise UsageError("--suite brings its own tasks", "leave out files and --env")
    if not suite and (gold or export):
        raise UsageError("--gold and --export need --suite", "for example sca eval --suite tau2 --gold")
    if kept and (gold or export):
        raise UsageError("--gold and --export ask no model", "leave out --rollouts and --compare")
    if export and against:
        raise UsageError("--export writes tasks and scores nothing", "leave out --against")


def by_reference(suite: Suite, fanout: Fanout) -> Iterator[Rollout]:
    """Run every task's reference solution, and judge it as a model's attempt would be."""

    async def work(task: Task) -> Rollout:
        return await asyncio.to_thread(suite.attempt, task, task.solution)

    return fanout.ordered(suite.tasks, work)


def missed(rollouts: Sequence[Rollout]) -> str:
    """Return one line for each task whose reference solution does not pass."""
    return "\n".join(
        f"sca eval: the reference of task {rollout.task.extra['task']} is {rollout.outcome} {rollout.reason}".rstrip()
        for rollout in rollouts
        if rollout.outcome != "pass"
    )


def export(suite: Suite, fanout: Fanout, path: str) -> str:
    """Write the suite as tasks, with failure cases; return what to tell people."""
    output = Output(path, rejected=None, resume=False, settings={"command": "eval", "suite": str(suite.env)})
    short = 0

    async def work(task: Task) -> Task:
        cases = await asyncio.to_thread(failure_cases, suite, task)
        return msgspec.structs.replace(task, id="", failure_cases=cases)

    for task in fanout.ordered(suite.tasks, work):
        short += len(task.failure_cases) < 3
        output.write(content_id(task), [task])
    output.close(complete=True)
    lacking = f"; {short} with fewer than three failure cases, which `sca verify` turns down" if short else ""
    return f"sca eval: {len(suite.tasks)} tasks written to {path}{lacking}"


def judged_by(suite: Suite, attempts: Attempts) -> Attempts:
    """Return the attempts judged as the suite has it."""
    kind = Retrying if suite.listing.retry else Attempts
    values = {f.name: getattr(attempts, f.name) for f in fields(attempts)} | {"check": suite.judge}
    return kind(**values)


class Retrying(Attempts):
    """Attempts at tasks whose answers decide: a wrong answer is told and the episode goes on, as in M3ToolEval."""

    async def act(self, task: Task, session: Session, place: Description, seed: int) -> Episode:
        """Let the model act until it answers rightly or a limit ends it."""
        episode = await super().act(task, session, place, seed)
        limits = self.actor.limits
        while episode.stop == "answer" and not await asyncio.to_thread(self._is_right, task, episode):
            turns, tokens = limits.turns - episode.usage.turns, limits.tokens - episode.usage.completion_tokens
            if turns <= 0 or tokens <= 0:
                break
            session.withdraw_answer()
            actor = replace(self.actor, limits=replace(limits, turns=turns, tokens=tokens))
            told = [*episode.messages, *_told(episode.messages[-1])]
            episode = _joined(episode, await actor.act(session, told, place.tools, seed + episode.usage.turns))
        return episode

    def _is_right(self, task: Task, episode: Episode) -> bool:
        with self.sandbox.session(task.env, task.seed) as session:
            session.answer(episode.answer)
            return session.evaluate(task.evaluate).outcome == "pass"


def _told(last: Message) -> list[Message]:
    """Return what the model is told, in reply to its tool calls where it made some."""
    if not last.tool_calls:
        return [Message(role="user", content=WRONG)]
    return [
        Message(role="tool", content=WRONG, tool_call_id=call.id, name=call.function.name) for call in last.tool_calls
    ]


def _joined(first: Episode, second: Episode) -> Episode:
    """Return two episodes, the second of which goes on where the first stopped, as one."""
    second.segments = first.segments + second.segments
    for name in ("prompt_tokens", "completion_tokens", "turns"):
        setattr(second.usage, name, getattr(first.usage, name) + getattr(second.usage, name))
    second.usage.seconds = (first.usage.seconds or 0.0) + (second.usage.seconds or 0.0)
    return second
