"""`Suite`: hold a benchmark's tasks as records, and judge an attempt by the state that it left.

The reference actions are replayed in a separate world, and the states of the two worlds are compared. As in the
benchmarks' evaluators, a replayed action that is refused is ignored. Departure: null fields count as absent.
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
"""Seed of all worlds of a suite: a benchmark has only one initial state."""

_LIMITS = ("turns", "tokens", "context")
"""Reasons why an episode stopped that are failures, whatever its state: the benchmarks give it no reward."""

_STATE_READS = threading.Semaphore(2)
"""Limits how many states are read at the same time, see `state_of`."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The expected result of a task."""

    digests: tuple[str, str]
    """Digests of the state after the reference actions: of the whole state, and of the state without null fields."""
    outputs: list[str]
    """Texts that the agent has to say."""
    calls: list[Observation]
    """The reference actions, with results."""

    def agrees(self, state: JSON) -> bool:
        """Tell whether a state equals the expected one; null fields count as absent."""
        return digest(state) == self.digests[0] or digest(without_nulls(state)) == self.digests[1]


@dataclass(slots=True)
class Suite:
    """An opened suite."""

    env: EnvSpec
    listing: Listing
    sandbox: Sandbox
    tasks: list[Task] = field(default_factory=list)
    references: dict[str, Reference] = field(default_factory=dict)
    """Task id → expected result; empty if the answer decides."""

    def facts(self) -> dict[str, JSON]:
        """Return facts about the suite for the score record: its name, its data with version, its checker."""
        checker = self.listing.checker + (", wrong answers may be tried again" if self.listing.retry else "")
        return {"suite": str(self.env), "data": self.listing.data, "checker": checker}

    def judge(self, session: Session, task: Task, episode: Episode) -> Judgement:
        """Judge an attempt: run the task's check if the answer decides; else compare outputs and state.

        An attempt that reached a limit fails.

        Raises:
            WorldError: the environment failed.
        """
        if episode.stop in _LIMITS:
            return Judgement("fail")
        reference = self.references.get(task.id)
        if reference is None:
            return session.evaluate(task.evaluate)
        text = agent_text(episode)
        has_outputs = all(output.lower() in text for output in reference.outputs)
        return Judgement("pass" if has_outputs and reference.agrees(state_of(session)) else "fail")

    def attempt(self, task: Task, code: str) -> Rollout:
        """Run a program instead of a model, and judge its effect.

        Args:
            task: a task of the suite.
            code: Python source; "" runs nothing.
        """
        rollout = Rollout(task=task, parents=[task.id], stop="answer")
        try:
            with self.sandbox.session(task.env, task.seed) as session:
                run = session.run(code) if code else None
                rollout.answer = run.answer if run else None
                rollout.calls = [bare(call) for call in session.calls]
                judgement = self.judge(session, task, Episode([], answer=rollout.answer, stop="answer"))
        except WorldError as error:
            rollout.error = ErrorNote(boundary="world", message=error.message)
            return rollout
        rollout.outcome, rollout.reason = judgement.outcome, judgement.reason
        if run and not run.ok:
            rollout.outcome, rollout.reason = "invalid", run.reason
        return rollout

    def noop_share(self, fanout: Fanout) -> float:
        """Return the share of the tasks that pass when nothing is done, 0 to 1."""

        async def work(task: Task) -> bool:
            return (await asyncio.to_thread(self.attempt, task, "")).outcome == "pass"

        return sum(fanout.ordered(self.tasks, work)) / len(self.tasks)


def agent_text(episode: Episode) -> str:
    """Return the text that the agent said, in lower case and without commas: messages without an action, the answer."""
    messages = [
        message.content
        for message in episode.messages
        if message.role == "assistant"
        and not chat.code_blocks(message.content)
        and chat.text_step(message.content)[0] != "action"
        and not chat.json_calls(Completion(message.content, "stop", tool_calls=message.tool_calls))
    ]
    return "\n".join([*messages, answer_text(episode.answer)]).lower().replace(",", "")


def digest(state: JSON) -> str:
    """Return the SHA-256 digest of a state; it does not depend on the order of keys."""
    return hashlib.sha256(msgspec.json.encode(state, order="sorted")).hexdigest()


def state_of(session: Session) -> JSON:
    """Return a session's state.

    At most two states are read at the same time. A state is megabytes of JSON, and with more parallel reads some would
    exceed their time limit.
    """
    with _STATE_READS:
        return session.state()


def open_suite(env: EnvSpec, sandbox: Sandbox, fanout: Fanout, count: int | None = None) -> Suite:
    """List a suite's tasks, replay their reference actions, and make task records.

    Args:
        env: the suite, see `parse_suite`.
        sandbox: runs the suite's worlds.
        fanout: runs several replays at once.
        count: number of tasks to open, from the first; None opens all.

    Raises:
        UsageError, MissingError, PluginError: see `listing_of`.
        RecordError: a task cannot be read, or a reference action calls an unknown tool.
    """
    suite = Suite(env, listing_of(env, sandbox), sandbox)
    initial_states: dict[str, JSON] = {}

    async def work(spec: Spec) -> tuple[Task, Reference | None]:
        return await asyncio.to_thread(_prepare, spec, suite, initial_states)

    for task, reference in fanout.ordered(islice(suite.listing.tasks, count), work):
        suite.tasks.append(task)
        if reference:
            suite.references[task.id] = reference
    return suite


def _prepare(spec: Spec, suite: Suite, initial_states: dict[str, JSON]) -> tuple[Task, Reference | None]:
    """Return the record of a task and its expected result; None if the answer decides.

    Args:
        spec: the task.
        suite: the suite that it belongs to.
        initial_states: environment → state before any action; missing states are added.
    """
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
    if str(env) not in initial_states:
        initial_states[str(env)] = replayed(suite.sandbox, env, [])[1]
    calls, after = replayed(suite.sandbox, env, spec.actions)
    task.evaluate = state_check(initial_states[str(env)], after, calls, suite.listing.records, spec.outputs)
    task.solution = program(calls, spec.outputs)
    task.calls = len(calls)
    digests = digest(after), digest(without_nulls(after))
    return sealed(task), Reference(digests, spec.outputs, calls)


def replayed(sandbox: Sandbox, env: EnvSpec, actions: Sequence[Action]) -> tuple[list[Observation], JSON]:
    """Make calls in a fresh world; return the calls with their results, and the state after them.

    Raises:
        RecordError: an action calls an unknown tool.
    """
    known = {tool.name for tool in sandbox.describe(env)[0]}
    if unknown := [action.name for action in actions if action.name not in known]:
        raise RecordError(f"{env}: a reference action calls '{unknown[0]}', which is not a tool")
    with sandbox.session(env, SEED) as session:
        calls = [session.call(action.name, (), action.arguments) for action in actions]
        return calls, state_of(session)
