"""`Suite`: a benchmark's tasks as records, and the judgement of an attempt by the state it left.

The host replays the reference actions in a world of their own and compares what the two worlds hold. Departures from
the benchmarks' evaluators: fields that are null count as absent; a replayed action that is refused is passed over, as
there.
"""

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from sca_cli.episode import chat
from sca_cli.episode.agent import Episode
from sca_cli.errors import RecordError, WorldError
from sca_cli.evaluation.suites.listing import Action, Listing, Spec, listing_of
from sca_cli.evaluation.suites.programs import answer_text, program, state_check, without_nulls
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Completion
from sca_cli.records import JSON, EnvSpec, ErrorNote, Observation, Rollout, Task, sealed
from sca_cli.sandbox import Judgement, Sandbox, Session
from sca_cli.verification.paper_filter import bare

SEED = 0
"""A benchmark has one state."""

_AT_ONCE = threading.Semaphore(2)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a task should come to."""

    digests: tuple[str, str]
    """Of the state after the reference actions, as it is and without its null fields."""
    outputs: list[str]
    """What has to be said."""
    calls: list[Observation]
    """The reference actions, as they went."""

    def agrees(self, state: JSON) -> bool:
        """Whether a state is the reference's, null fields counting as absent."""
        return digest(state) == self.digests[0] or digest(without_nulls(state)) == self.digests[1]


@dataclass(slots=True)
class Suite:
    """An opened suite."""

    env: EnvSpec
    listing: Listing
    sandbox: Sandbox
    tasks: list[Task] = field(default_factory=list)
    references: dict[str, Reference] = field(default_factory=dict)
    """By task id; empty where the answer decides."""

    def facts(self) -> dict[str, JSON]:
        """Return what a score has to say of the suite: its name, the versions of data and checker."""
        checker = self.listing.checker + (", wrong answers may be tried again" if self.listing.retry else "")
        return {"suite": str(self.env), "data": self.listing.data, "checker": checker}

    def judge(self, session: Session, task: Task, episode: Episode) -> Judgement:
        """Compare the session's state with that of the reference, or run the task's check where the answer decides.

        Raises:
            WorldError: the environment failed.
        """
        reference = self.references.get(task.id)
        if reference is None:
            return session.evaluate(task.evaluate)
        told = said(episode)
        right = all(output.lower() in told for output in reference.outputs)
        return Judgement("pass" if right and reference.agrees(state_of(session)) else "fail")

    def attempt(self, task: Task, code: str) -> Rollout:
        """Run a program in place of a model, or nothing, and judge what it did."""
        rollout = Rollout(task=task, parents=[task.id], stop="answer")
        try:
            with self.sandbox.session(task.env, task.seed) as session:
                run = session.run(code) if code else None
                rollout.answer = run.answer if run else None
                rollout.calls = [bare(call) for call in session.calls]
                judgement = self.judge(session, task, Episode([], answer=rollout.answer))
        except WorldError as error:
            rollout.error = ErrorNote(boundary="world", message=error.message)
            return rollout
        rollout.outcome, rollout.reason = judgement.outcome, judgement.reason
        if run and not run.ok:
            rollout.outcome, rollout.reason = "invalid", run.reason
        return rollout

    def noop_share(self, fanout: Fanout) -> float:
        """Return the share of the tasks that are passed by doing nothing."""

        async def work(task: Task) -> bool:
            return (await asyncio.to_thread(self.attempt, task, "")).outcome == "pass"

        return sum(fanout.ordered(self.tasks, work)) / len(self.tasks)


def said(episode: Episode) -> str:
    """Return what the agent said: its answer, and messages that ask for no action; in lower case, without commas."""
    plain = [
        message.content
        for message in episode.messages
        if message.role == "assistant"
        and not chat.code_blocks(message.content)
        and chat.text_step(message.content)[0] != "action"
        and not chat.json_calls(Completion(message.content, "stop", tool_calls=message.tool_calls))
    ]
    return "\n".join([*plain, answer_text(episode.answer)]).lower().replace(",", "")


def digest(state: JSON) -> str:
    """Return a hash of a state that does not depend on the order of keys."""
    return hashlib.sha256(msgspec.json.encode(state, order="sorted")).hexdigest()


def state_of(session: Session) -> JSON:
    """Return a session's state; megabytes, so that few are asked for at once and none is late."""
    with _AT_ONCE:
        return session.state()


def open_suite(env: EnvSpec, sandbox: Sandbox, fanout: Fanout, count: int | None = None) -> Suite:
    """List a suite's tasks and make records of them.

    Args:
        count: only the first tasks; None is all.

    Raises:
        UsageError, MissingError, PluginError: as `listing_of`.
        RecordError: a task that cannot be read.
    """
    suite = Suite(env, listing_of(env, sandbox), sandbox)
    befores: dict[str, JSON] = {}

    async def work(spec: Spec) -> tuple[Task, Reference | None]:
        return await asyncio.to_thread(_prepared, spec, suite, befores)

    for task, reference in fanout.ordered(islice(suite.listing.tasks, count), work):
        suite.tasks.append(task)
        if reference:
            suite.references[task.id] = reference
    return suite


def _prepared(spec: Spec, suite: Suite, befores: dict[str, JSON]) -> tuple[Task, Reference | None]:
    env = EnvSpec(name=suite.env.name, options=spec.options)
    task = Task(
        env=env,
        seed=SEED,
        split="eval",
        instruction=spec.instruction,
        evaluate=spec.evaluate,
        solution=spec.solution,
        extra={
            "suite": suite.env.name,
            "task": spec.name,
            "data": suite.listing.data,
            "checker": suite.listing.checker,
        },
    )
    if suite.listing.checker != "state":
        return sealed(task), None
    if str(env) not in befores:
        befores[str(env)] = replayed(suite.sandbox, env, [])[1]
    calls, after = replayed(suite.sandbox, env, spec.actions)
    task.evaluate = state_check(befores[str(env)], after, calls, suite.listing.records, spec.outputs)
    task.solution = program(calls, spec.outputs)
    task.calls = len(calls)
    digests = digest(after), digest(without_nulls(after))
    return sealed(task), Reference(digests, spec.outputs, calls)


def replayed(sandbox: Sandbox, env: EnvSpec, actions: Sequence[Action]) -> tuple[list[Observation], JSON]:
    """Make calls in a fresh world; return them with their results, and the state they left.

    Raises:
        RecordError: a tool that is not there.
    """
    known = {tool.name for tool in sandbox.describe(env)[0]}
    if unknown := [action.name for action in actions if action.name not in known]:
        raise RecordError(f"{env}: a reference action calls '{unknown[0]}', which is no tool")
    with sandbox.session(env, SEED) as session:
        calls = [session.call(action.name, (), action.arguments) for action in actions]
        return calls, state_of(session)
