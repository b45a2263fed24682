"""Checks of the promises that every environment makes: one function per check; any plugin can be checked.

A check returns a sentence about what it observed. It raises `Broken` if the environment breaks the promise, and
`Skipped` if there is nothing to check. Most checks use real worlds in a real sandbox, so that their results also hold
for `verify` and `rollout`. The checks of the form of the state, of `restore`, of the tools' source and of the time of
`reset` load the environment into this process instead.
"""

import json
import keyword
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, Literal

from sca_cli import plugins
from sca_cli.analysis.calls import call_text
from sca_cli.conformance import arguments
from sca_cli.errors import PluginError, ScaError, WorldError
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, EnvSpec, Observation, Task
from sca_cli.sandbox import Limits, Sandbox, Session
from sca_cli.sandbox.inside.inspection import difference, short_repr
from sca_cli.verification import paper_filter

LIMITS = Limits(calls=100_000)
"""Limits of a session under test."""

# The numbers below are chosen by hand. Those for environments outside the jail are smaller, because there each session
# starts a server.
SEEDS, OUTSIDE_SEEDS = 8, 2
"""Seeds whose states are checked."""
SESSIONS, OUTSIDE_SESSIONS = 64, 4
"""Sessions that are open at the same time."""

_CALLS = 20
"""Calls in one session, or of one tool."""
_SOLUTIONS = 3
"""Held-out solutions in which each reading tool should succeed."""


class Broken(Exception):
    """The environment breaks a promise; the message names the call or the state that shows it."""


class Skipped(Exception):
    """There is nothing to check; the message says why."""


class Noted(Exception):
    """The environment keeps the promise, but the user should know what the message says."""


@dataclass(slots=True)
class CheckResult:
    """The result of one check."""

    check: str
    """Name of the check."""
    outcome: Literal["ok", "note", "fail", "skipped"]
    reason: str
    """What the check observed, what is wrong, or why it was skipped."""
    figures: dict[str, float] = field(default_factory=dict)
    """Name of a measured operation → median time in milliseconds."""


@dataclass(slots=True)
class Subject:
    """An environment under test."""

    sandbox: Sandbox
    env: EnvSpec
    tasks: Sequence[Task] = ()
    """The environment's held-out tasks."""
    tools: list[Tool] = field(default_factory=list)
    """The environment's tools, which `examine` fills in."""
    figures: dict[str, float] = field(default_factory=dict)
    """Measured times of the current check, see `CheckResult.figures`."""

    def state(self, seed: int) -> JSON:
        """Return the state of a fresh session."""
        with self.sandbox.session(self.env, seed) as session:
            return session.state()

    def is_outside(self) -> bool:
        """Tell whether the environment's worlds run outside the jail."""
        return plugins.environment_entry(self.env).outside

    def inspection(self, name: str) -> Any:
        """Return the result of an inspection in a world of seed 0, see `sca_cli/sandbox/inside/inspection.py`."""
        with self.sandbox.session(self.env, 0) as session:
            return session.inspect(name)

    def seeds(self) -> range:
        """Return the seeds whose states are checked."""
        return range(OUTSIDE_SEEDS if self.is_outside() else SEEDS)


def examine(subject: Subject) -> Iterator[CheckResult]:
    """Run all checks in order and yield their results. If no world starts, no other check runs."""
    try:
        subject.tools, *_ = subject.sandbox.describe(subject.env)
    except PluginError as error:
        yield CheckResult("a world starts", "fail", f"{error.message}; {error.hint}".rstrip("; "))
        return
    yield CheckResult("a world starts", "ok", f"{len(subject.tools)} tools")
    for name, check in CHECKS.items():
        subject.figures = {}
        try:
            yield CheckResult(name, "ok", check(subject), subject.figures)
        except Broken as broken:
            yield CheckResult(name, "fail", str(broken))
        except Skipped as skipped:
            yield CheckResult(name, "skipped", str(skipped))
        except Noted as noted:
            yield CheckResult(name, "note", str(noted))
        except WorldError as error:
            yield CheckResult(name, "fail", f"the environment failed: {error.message}")
        except ScaError as error:
            yield CheckResult(name, "fail", f"{error.message}; {error.hint}".rstrip("; "))
        except Exception as error:  # noqa: BLE001  some checks run the environment in this process; it may raise anything
            yield CheckResult(name, "fail", f"the environment failed: {type(error).__name__}: {error}")


# ---------------------------------------------------------------- tools


def tools_are_described(subject: Subject) -> str:
    """Check that each tool has a Python name, documentation, and schemas that describe its arguments."""
    if not subject.tools:
        raise Broken("it has no tools")
    for tool in subject.tools:
        if not tool.name.isidentifier() or keyword.iskeyword(tool.name):
            raise Broken(f"'{tool.name}' is not a Python name")
        if not tool.description.strip():
            raise Broken(f"{tool.name} has no documentation")
        properties, required = tool.parameters.get("properties"), tool.parameters.get("required", [])
        if tool.parameters.get("type") != "object" or not isinstance(properties, dict):
            raise Broken(f"{tool.name}: its parameters are not the JSON Schema of an object")
        if unknown := set(required) - properties.keys():
            raise Broken(f"{tool.name}: required but not described: {', '.join(sorted(unknown))}")
        for name, schema in properties.items():
            if not arguments.is_schema(schema):
                raise Broken(f"{tool.name}: the schema of '{name}' uses more than type, items, enum and anyOf")
    writers = [tool.name for tool in subject.tools if tool.writes]
    return f"{len(subject.tools)} tools; {', '.join(writers) or 'none'} may change the state"


def tools_do_not_evaluate(subject: Subject) -> str:
    """Check that no tool runs its arguments as code, unless the environment is isolated.

    Only the source of the tools' own package is searched.
    """
    if subject.is_outside():
        raise Skipped("its tools run in another process")
    seen = subject.inspection("evaluations")
    if seen["places"] and not seen["isolated"]:
        raise Broken(seen["places"][0])
    return (
        f"isolated; {seen['places'][0]}" if seen["places"] else "no tool does, as far as its own package's source shows"
    )


# ---------------------------------------------------------------- state


def same_seed_same_state(subject: Subject) -> str:
    """Check that a seed always gives the same state: in two sessions, and in the new worlds of a second sandbox."""
    with Sandbox(subject.sandbox.limits) as other:
        for seed in subject.seeds():
            first = subject.state(seed)
            for again in (subject.state(seed), Subject(other, subject.env).state(seed)):
                if again != first:
                    raise Broken(f"seed {seed} gave two states: {difference(first, again)}")
    return "in two sessions and in a newly built world"


def different_seeds_different_states(subject: Subject) -> str:
    """Check that more than half of the seeds give different states, or that the start state is fixed.

    An environment without a state is skipped; it must not have writing tools.
    """
    states = [json.dumps(subject.state(seed), sort_keys=True) for seed in subject.seeds()]
    if set(states) == {"{}"}:
        if any(tool.writes for tool in subject.tools) and not subject.is_outside():
            raise Broken("it has tools that write, and `state()` shows nothing")
        raise Skipped("its state is in another process" if subject.is_outside() else "it has no state")
    distinct = len(set(states))
    if distinct == 1:
        raise Noted(
            "every seed gives the same start state; a function `reset(seed)` can vary it, for more varied tasks"
        )
    message = f"{len(states)} seeds give {distinct} different states"
    if distinct <= len(states) // 2:
        raise Broken(message)
    return message


def state_is_plain_data(subject: Subject) -> str:
    """Check that the state does not change when it is written as JSON and read again: no tuples, only string keys."""
    if subject.is_outside():
        raise Skipped("its state is in another process")
    seen = subject.inspection("plain state")
    if seen["fault"]:
        raise Broken(seen["fault"])
    return f"{seen['characters']} characters of JSON{_not_in_state(subject)}"


def _not_in_state(subject: Subject) -> str:
    """Return the variables that are not part of the state, as the end of a sentence, or ""."""
    with subject.sandbox.session(subject.env, 0) as session:
        names = session.not_in_state()
    return f"; not part of the state, so no check sees a change: {', '.join(names)}" if names else ""


def state_can_be_restored(subject: Subject) -> str:
    """Check that `restore(state)` restores an earlier `state()` after a reset to another seed."""
    if subject.is_outside():
        raise Skipped("its state is in another process")
    for seed in range(SEEDS):
        saved = subject.state(seed)
        with subject.sandbox.session(subject.env, seed + 1) as session:
            try:
                session.restore(saved)
            except WorldError as error:
                if "NotImplementedError" in error.message:
                    raise Skipped("restore is not implemented") from None
                raise
            if (restored := session.state()) != saved:
                raise Broken(f"seed {seed}: {difference(saved, restored)}")
    return f"{SEEDS} states"


# ---------------------------------------------------------------- sessions


def sessions_are_apart(subject: Subject) -> str:
    """Check that sessions do not affect each other.

    Many sessions are open at once; half of them may write, and all make their calls in turn. A few of them are then
    repeated alone: results and final state must be equal. A session that only reads must keep its initial state.
    """
    if not subject.tools:
        raise Skipped("it has no tools")
    count = OUTSIDE_SESSIONS if subject.is_outside() else SESSIONS
    sessions = [subject.sandbox.session(subject.env, 0) for _ in range(count)]
    try:
        initial = sessions[0].state()
        values = arguments.values_of(initial)
        plans = [_plan(subject, values, number, writes=number % 2 == 1) for number in range(count)]
        for step in range(_CALLS):
            for session, plan in zip(sessions, plans, strict=True):
                _make_calls(session, plan[step : step + 1])
        ends = [(_results(session.calls), session.state()) for session in sessions]
    finally:
        for session in sessions:
            session.close()
    for number in (0, 1, count - 2, count - 1):
        with subject.sandbox.session(subject.env, 0) as alone:
            _make_calls(alone, plans[number])
            if (_results(alone.calls), alone.state()) != ends[number]:
                raise Broken("the same calls on the same seed end differently alone and with other sessions open")
    changed = sum(state != initial for _, state in ends)
    can_read = any(not tool.writes for tool in subject.tools)  # if all tools write, every session writes
    if can_read and any(state != initial for _, state in ends[::2]):
        raise Broken("the state of a session that only read has changed")
    if not changed:
        raise Skipped(f"{count} at once; none of them changed its state, so none could affect another")
    return f"{count} at once, {changed} of them changed their state"


def readers_change_nothing(subject: Subject) -> str:
    """Check that tools not marked as writing do not change the state: with random calls, and in held-out solutions."""
    readers = {tool.name: tool for tool in subject.tools if not tool.writes}
    attempted, succeeded = Counter[str](), Counter[str]()
    for seed, calls in chain(_random_calls(subject, readers.values()), _solution_calls(subject, readers.keys())):
        with subject.sandbox.session(subject.env, seed) as session:
            change = _change(session, calls, readers)
            reader_calls = [call for call in session.calls if call.tool in readers]
        if change:
            raise Broken(f"{_first_change(subject, seed, calls, readers)}; mark it with @tool(writes=True)")
        attempted.update(call.tool for call in reader_calls)
        succeeded.update(call.tool for call in reader_calls if not call.error)
    shares = ", ".join(f"{name} {succeeded[name]} of {attempted[name]}" for name in readers)
    return f"{len(readers)} reading tools; calls that succeeded: {shares or 'none'}{_not_in_state(subject)}"


def _random_calls(subject: Subject, tools: Iterable[Tool]) -> Iterator[tuple[int, list[Observation]]]:
    """Yield for each tool a seed and calls with random arguments that fit."""
    values = arguments.values_of(subject.state(1))
    for tool in tools:
        argument_sets = arguments.fitting(tool, values, random.Random(1), _CALLS)
        yield 1, [Observation(tool=tool.name, kwargs=kwargs) for kwargs in argument_sets]


def _solution_calls(subject: Subject, tools: Collection[str]) -> Iterator[tuple[int, list[Observation]]]:
    """Yield the seeds and calls of held-out solutions, until each of the tools succeeded in a few of them.

    A tool with many rules rejects nearly all random arguments; it accepts those of a solution.
    """
    missing = Counter(dict.fromkeys(tools, _SOLUTIONS))
    for task in subject.tasks:
        with subject.sandbox.session(subject.env, task.seed) as session:
            session.run(task.solution)
        successful_tools = {call.tool for call in session.calls if not call.error}
        if any(missing[name] > 0 for name in successful_tools):
            missing.subtract(successful_tools)
            yield task.seed, session.calls


def _plan(
    subject: Subject, values: arguments.StateValues, seed: int, *, writes: bool
) -> list[tuple[str, dict[str, JSON]]]:
    """Return (tool, arguments) of random calls that fit; writing tools are included only if `writes`."""
    rng = random.Random(seed)
    tools = [tool for tool in subject.tools if writes or not tool.writes] or subject.tools
    chosen = [rng.choice(tools) for _ in range(_CALLS)]
    return [(tool.name, kwargs) for tool in chosen for kwargs in arguments.fitting(tool, values, rng, 1)]


def _make_calls(session: Session, plan: list[tuple[str, dict[str, JSON]]]) -> None:
    for name, kwargs in plan:
        session.call(name, (), kwargs)


def _results(calls: Sequence[Observation]) -> list[tuple[str, JSON, str]]:
    return [(call.tool, call.result, call.error) for call in calls]


# ---------------------------------------------------------------- arguments


def bad_arguments_are_refused(subject: Subject) -> str:
    """Check that unknown, missing and mistyped arguments give an error and change nothing."""
    count = 0
    for tool in subject.tools:
        with subject.sandbox.session(subject.env, 2) as session:
            before = session.state()
            calls = list(arguments.misfits(tool, before))
            count += len(calls)
            for kwargs in calls:
                if not session.call(tool.name, (), kwargs).error:
                    raise Broken(f"{_short_call(tool.name, kwargs)} was not refused")
            changed = session.state() != before
        if changed:
            observations = [Observation(tool=tool.name, kwargs=kwargs) for kwargs in calls]
            raise Broken(f"{_first_change(subject, 2, observations, [tool.name])}, and was refused")
    return f"{count} calls that do not fit"


def odd_arguments_are_survived(subject: Subject) -> str:
    """Check that unusual arguments of the right type give a result or a refusal, and that a refusal changes nothing.

    For an environment outside the jail, only the first few calls are made.
    """
    count = 0
    before = subject.state(3)
    for tool in subject.tools:
        for kwargs in arguments.oddities(tool):
            count += 1
            with subject.sandbox.session(subject.env, 3) as session:
                try:
                    refusal = session.call(tool.name, (), kwargs).error
                    after = session.state()
                except WorldError as error:
                    call = _short_call(tool.name, kwargs)
                    raise Broken(f"{call} fails without a refusal: {error.message}; raise ToolError") from error
                if refusal and after != before:
                    call = _short_call(tool.name, kwargs)
                    raise Broken(f"{call} was refused and changed {difference(before, after)}")
            if subject.is_outside() and count >= OUTSIDE_SESSIONS:
                return f"{count} calls with unusual values"
    return f"{count} calls with unusual values"


def _change(session: Session, calls: Iterable[Observation], watched: Collection[str]) -> str:
    """Make calls; describe the first change of the state by consecutive calls of watched tools, or return "".

    The state is read once per group of consecutive calls, not once per call, because reading it is slow. The
    description names the first call of the group.
    """
    for is_watched, group in groupby(calls, key=lambda call: call.tool in watched):
        consecutive = list(group)
        before = session.state() if is_watched else None
        for call in consecutive:
            session.call(call.tool, call.args, call.kwargs)
        if is_watched and (after := session.state()) != before:
            first = consecutive[0]
            return f"{_short_call(first.tool, first.kwargs, first.args)} changed {difference(before, after)}"
    return ""


def _first_change(subject: Subject, seed: int, calls: Sequence[Observation], watched: Collection[str]) -> str:
    """Repeat calls one by one in another session; describe the first that changes the state."""
    with subject.sandbox.session(subject.env, seed) as session:
        changes = (_change(session, [call], watched) for call in calls)
        return next(filter(None, changes), "the state changed, but not when the calls were repeated")


def _short_call(tool: str, kwargs: dict[str, JSON], args: Sequence[JSON] = ()) -> str:
    """Return a call as text, with long arguments shortened."""
    return call_text(tool, args, kwargs, short_repr)


# ---------------------------------------------------------------- speed, tasks


def calls_are_fast(subject: Subject) -> str:
    """Measure the median time of `reset`, of opening a session and reading its state, and of a call of each tool.

    The times are only reported: no environment is too slow to pass.
    """
    if not subject.is_outside():
        subject.figures["reset()"] = subject.inspection("reset ms")
    times_ms = [_milliseconds(subject.state, seed) for seed in subject.seeds()]
    subject.figures["opening and reading the state"] = statistics.median(times_ms)
    for tool in subject.tools:
        with subject.sandbox.session(subject.env, 0) as session:
            plan = list(arguments.fitting(tool, arguments.values_of(session.state()), random.Random(4), _CALLS))
            times_ms = [_milliseconds(session.call, tool.name, (), kwargs) for kwargs in plan]
            subject.figures[tool.name] = statistics.median(times_ms)
    subject.figures = {name: round(value, 3) for name, value in subject.figures.items()}
    return ", ".join(f"{name} {value:.3g} ms" for name, value in subject.figures.items())


def _milliseconds(work: Callable[..., object], *args: object) -> float:
    started = time.perf_counter()
    work(*args)
    return (time.perf_counter() - started) * 1000


def held_out_tasks_hold(subject: Subject) -> str:
    """Check that each held-out task passes the paper's filter: its solution passes and its failure cases fail."""
    if not subject.tasks:
        raise Skipped("it ships no held-out tasks")
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda task: paper_filter.verify(subject.sandbox, task), subject.tasks))
    for task, verdict in zip(subject.tasks, verdicts, strict=True):
        if not verdict.passed:
            expected = {"solution": "pass"}
            wrong = next(check for check in verdict.checks if check.outcome != expected.get(check.name, "fail"))
            evidence = f"{wrong.name} {wrong.outcome} {wrong.message}"
            raise Broken(f"stage '{verdict.stage}' rejects task {task.id}: {evidence}".strip())
    return f"{len(subject.tasks)} tasks"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "tools are described": tools_are_described,
    "tools do not evaluate": tools_do_not_evaluate,
    "same seed, same state": same_seed_same_state,
    "other seeds, other states": different_seeds_different_states,
    "state is plain data": state_is_plain_data,
    "state can be restored": state_can_be_restored,
    "sessions are apart": sessions_are_apart,
    "readers change nothing": readers_change_nothing,
    "bad arguments are refused": bad_arguments_are_refused,
    "odd arguments are survived": odd_arguments_are_survived,
    "latency": calls_are_fast,
    "held-out tasks hold": held_out_tasks_hold,
}
"""Name of the check in the report → its function, in the order in which the checks run."""
