"""What every environment promises, as checks that anyone can run on a plugin: one function a check.

A check returns what it saw, in words, and raises `Broken` or `Skipped`. Everything but the shape of the state is looked
at from outside, through real worlds in a real sandbox: what holds here holds for `verify` and `rollout`.
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
from sca_cli.conformance import arguments
from sca_cli.errors import PluginError, WorldError
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, EnvSpec, Observation, Task
from sca_cli.sandbox import Limits, Sandbox, Session
from sca_cli.sandbox.inside.audit import evaluators
from sca_cli.verification import paper_filter

LIMITS = Limits(calls=100_000)
"""What a session under test may use."""

SEEDS, OUTSIDE_SEEDS = 8, 2
SESSIONS, OUTSIDE_SESSIONS = 64, 4
"""How many are open at once; fewer where every session is a server of its own."""

_CALLS = 20
_SOLUTIONS = 3


class Broken(Exception):
    """The environment does not keep a promise; the message says which call or state shows it."""


class Skipped(Exception):
    """There is nothing to check; the message says why."""


@dataclass(slots=True)
class Finding:
    """What one check found."""

    check: str
    outcome: Literal["ok", "fail", "skipped"]
    reason: str
    """What was seen, what is wrong, or why there was nothing to check."""
    figures: dict[str, float] = field(default_factory=dict)
    """Milliseconds by what took them."""


@dataclass(slots=True)
class Subject:
    """An environment under test."""

    sandbox: Sandbox
    env: EnvSpec
    tasks: Sequence[Task] = ()
    """Its held-out tasks."""
    tools: list[Tool] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def state(self, seed: int) -> JSON:
        """Return the state of a fresh session."""
        with self.sandbox.session(self.env, seed) as session:
            return session.state()

    def is_outside(self) -> bool:
        """Tell whether its worlds run without a jail."""
        return plugins.environment_entry(self.env).outside

    def seeds(self) -> range:
        """Return the seeds to look at."""
        return range(OUTSIDE_SEEDS if self.is_outside() else SEEDS)


def examine(subject: Subject) -> Iterator[Finding]:
    """Run all checks in order; the first is whether a world starts, without which there is nothing to check."""
    try:
        subject.tools, *_ = subject.sandbox.describe(subject.env)
    except PluginError as error:
        yield Finding("a world starts", "fail", f"{error.message}; {error.hint}".rstrip("; "))
        return
    yield Finding("a world starts", "ok", f"{len(subject.tools)} tools")
    for name, check in CHECKS.items():
        subject.figures = {}
        try:
            yield Finding(name, "ok", check(subject), subject.figures)
        except Broken as broken:
            yield Finding(name, "fail", str(broken))
        except Skipped as skipped:
            yield Finding(name, "skipped", str(skipped))
        except WorldError as error:
            yield Finding(name, "fail", f"the environment failed: {error.message}")


# ---------------------------------------------------------------- tools


def tools_are_described(subject: Subject) -> str:
    """Each tool has a name that Python can call, a documentation, and schemas that arguments can be judged by."""
    if not subject.tools:
        raise Broken("it has no tools")
    for tool in subject.tools:
        if not tool.name.isidentifier() or keyword.iskeyword(tool.name):
            raise Broken(f"'{tool.name}' is no Python name")
        if not tool.description.strip():
            raise Broken(f"{tool.name} has no documentation")
        properties, required = tool.parameters.get("properties"), tool.parameters.get("required", [])
        if tool.parameters.get("type") != "object" or not isinstance(properties, dict):
            raise Broken(f"{tool.name}: its parameters are no JSON Schema of an object")
        if unknown := set(required) - properties.keys():
            raise Broken(f"{tool.name}: required but not described: {', '.join(sorted(unknown))}")
        for name, schema in properties.items():
            if not arguments.is_schema(schema):
                raise Broken(f"{tool.name}: the schema of '{name}' is not made of type, items, enum and anyOf")
    writers = [tool.name for tool in subject.tools if tool.writes]
    return f"{len(subject.tools)} tools; {', '.join(writers) or 'none'} may change the state"


def tools_do_not_evaluate(subject: Subject) -> str:
    """No tool runs its arguments as code, or the environment is isolated."""
    if subject.is_outside():
        raise Skipped("its tools are another process's")
    environment = plugins.load_environment(subject.env)
    places = {name: evaluators(method) for name, (_, method) in environment.tools().items()}
    found = [f"{name}: {place}" for name, some in places.items() for place in some]
    if found and not environment.isolated:
        raise Broken(found[0])
    return f"isolated; {found[0]}" if found else "no tool does, as far as its own package's source shows"


# ---------------------------------------------------------------- state


def same_seed_same_state(subject: Subject) -> str:
    """A seed gives one state: in two sessions, and in a sandbox of its own, whose worlds are built anew."""
    with Sandbox(LIMITS) as other:
        for seed in subject.seeds():
            first = subject.state(seed)
            for again in (subject.state(seed), Subject(other, subject.env).state(seed)):
                if again != first:
                    raise Broken(f"seed {seed} gave two states: {_difference(first, again)}")
    return "in two sessions and in a world built anew"


def different_seeds_different_states(subject: Subject) -> str:
    """Seeds tell states apart; an environment without a state is told as such, and has no tool that writes."""
    states = [json.dumps(subject.state(seed), sort_keys=True) for seed in subject.seeds()]
    if set(states) == {"{}"}:
        if any(tool.writes for tool in subject.tools) and not subject.is_outside():
            raise Broken("it has tools that write, and `state()` shows nothing")
        raise Skipped("its state is another process's" if subject.is_outside() else "it has no state")
    distinct = len(set(states))
    seen = f"{len(states)} seeds give {distinct} different states"
    if distinct <= len(states) // 2:
        raise Broken(seen)
    return seen


def state_is_plain_data(subject: Subject) -> str:
    """The state is what JSON makes of it: no tuples, no keys that are not strings."""
    if subject.is_outside():
        raise Skipped("its state is another process's")
    environment = plugins.load_environment(subject.env)
    environment.reset(0)
    state = environment.state()
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(f"state(): {error}") from error
    if not _is_same(state, json.loads(text)):
        raise Broken(f"JSON gives another state back: {_difference(state, json.loads(text))}")
    return f"{len(text)} characters of JSON"


def state_can_be_restored(subject: Subject) -> str:
    """`restore(state)` puts back what `state()` gave, whatever seed was in place."""
    if subject.is_outside():
        raise Skipped("its state is another process's")
    environment = plugins.load_environment(subject.env)
    for seed in range(SEEDS):
        environment.reset(seed)
        wanted = json.loads(json.dumps(environment.state()))
        environment.reset(seed + 1)
        try:
            environment.restore(json.loads(json.dumps(wanted)))
        except NotImplementedError:
            raise Skipped("restore is not implemented") from None
        if environment.state() != wanted:
            raise Broken(f"seed {seed}: {_difference(wanted, environment.state())}")
    return f"{SEEDS} states"


def _is_same(one: Any, other: Any) -> bool:
    """Compare with types: a tuple is no list, 1 is no "1"."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return bool(one == other)


def _difference(one: Any, other: Any, path: str = "$") -> str:
    """Return where two states differ first."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        key = next((key for key in one if not _is_same(one[key], other[key])), None)
        return path if key is None else _difference(one[key], other[key], f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        place = next((i for i, pair in enumerate(zip(one, other, strict=True)) if not _is_same(*pair)), None)
        return path if place is None else _difference(one[place], other[place], f"{path}[{place}]")
    return f"{path}: {_shown(one)}, then {_shown(other)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


# ---------------------------------------------------------------- sessions


def sessions_are_apart(subject: Subject) -> str:
    """Many sessions at once, every second one writing, see what they would see alone."""
    if not subject.tools:
        raise Skipped("it has no tools")
    count = OUTSIDE_SESSIONS if subject.is_outside() else SESSIONS
    sessions = [subject.sandbox.session(subject.env, 0) for _ in range(count)]
    try:
        start = sessions[0].state()
        material = arguments.material_of(start)
        plans = [_plan(subject, material, number, writes=number % 2 == 1) for number in range(count)]
        for step in range(_CALLS):
            for session, plan in zip(sessions, plans, strict=True):
                _make(session, plan[step : step + 1])
        ends = [(_seen(session.calls), session.state()) for session in sessions]
    finally:
        for session in sessions:
            session.close()
    for number in (0, 1, count - 2, count - 1):
        with subject.sandbox.session(subject.env, 0) as alone:
            _make(alone, plans[number])
            if (_seen(alone.calls), alone.state()) != ends[number]:
                raise Broken("the same calls on the same seed end differently alone and beside other sessions")
    changed = sum(state != start for _, state in ends)
    can_read = any(not tool.writes for tool in subject.tools)  # where all tools write, every session does
    if can_read and any(state != start for _, state in ends[::2]):
        raise Broken("a session that only read has another state than at its start")
    return f"{count} at once, {changed} of them changed their state"


def readers_change_nothing(subject: Subject) -> str:
    """A tool that is not marked as writing leaves the state as it was: drawn calls, and those of held-out solutions."""
    readers = {tool.name: tool for tool in subject.tools if not tool.writes}
    made, succeeded = Counter[str](), Counter[str]()
    for seed, calls in chain(_drawn(subject, readers.values()), _solved(subject, readers.keys())):
        with subject.sandbox.session(subject.env, seed) as session:
            changed = _change(session, calls, readers)
            seen = [call for call in session.calls if call.tool in readers]
        if changed:
            raise Broken(f"{_first_change(subject, seed, calls, readers)}; mark it writes=True")
        made.update(call.tool for call in seen)
        succeeded.update(call.tool for call in seen if not call.error)
    shares = ", ".join(f"{name} {succeeded[name]} of {made[name]}" for name in readers)
    return f"{len(readers)} reading tools; calls that succeeded: {shares or 'none'}"


def _drawn(subject: Subject, tools: Iterable[Tool]) -> Iterator[tuple[int, list[Observation]]]:
    """Yield seed and calls with arguments that fit, for one tool after another."""
    material = arguments.material_of(subject.state(1))
    for tool in tools:
        drawn = arguments.fitting(tool, material, random.Random(1), _CALLS)
        yield 1, [Observation(tool=tool.name, kwargs=kwargs) for kwargs in drawn]


def _solved(subject: Subject, wanted: Collection[str]) -> Iterator[tuple[int, list[Observation]]]:
    """Yield seed and calls of held-out solutions, of so many that each wanted tool succeeds in a few.

    Drawn arguments hardly ever make a call that a tool with many rules carries out; a solution's do.
    """
    lacking = Counter(dict.fromkeys(wanted, _SOLUTIONS))
    for task in subject.tasks:
        with subject.sandbox.session(subject.env, task.seed) as session:
            session.run(task.solution)
        useful = {call.tool for call in session.calls if not call.error}
        if any(lacking[name] > 0 for name in useful):
            lacking.subtract(useful)
            yield task.seed, session.calls


def _plan(
    subject: Subject, material: arguments.Material, seed: int, *, writes: bool
) -> list[tuple[str, dict[str, JSON]]]:
    """Return calls with arguments that fit."""
    draw = random.Random(seed)
    tools = [tool for tool in subject.tools if writes or not tool.writes] or subject.tools
    chosen = [draw.choice(tools) for _ in range(_CALLS)]
    return [(tool.name, kwargs) for tool in chosen for kwargs in arguments.fitting(tool, material, draw, 1)]


def _make(session: Session, plan: list[tuple[str, dict[str, JSON]]]) -> None:
    for name, kwargs in plan:
        session.call(name, (), kwargs)


def _seen(calls: Sequence[Observation]) -> list[tuple[str, JSON, str]]:
    return [(call.tool, call.result, call.error) for call in calls]


# ---------------------------------------------------------------- arguments


def bad_arguments_are_refused(subject: Subject) -> str:
    """Missing, superfluous and mistyped arguments are an error, and change nothing."""
    count = 0
    for tool in subject.tools:
        with subject.sandbox.session(subject.env, 2) as session:
            before = session.state()
            calls = list(arguments.misfits(tool, before))
            count += len(calls)
            for kwargs in calls:
                if not session.call(tool.name, (), kwargs).error:
                    raise Broken(f"{_call(tool.name, kwargs)} was not refused")
            changed = session.state() != before
        if changed:
            made = [Observation(tool=tool.name, kwargs=kwargs) for kwargs in calls]
            raise Broken(f"{_first_change(subject, 2, made, [tool.name])}, and was refused")
    return f"{count} calls that do not fit"


def odd_arguments_are_survived(subject: Subject) -> str:
    """Arguments of the right type and any value give a result or a refusal; a refusal changes nothing."""
    count = 0
    before = subject.state(3)
    for tool in subject.tools:
        for kwargs in arguments.oddities(tool):
            count += 1
            with subject.sandbox.session(subject.env, 3) as session:
                try:
                    refused = session.call(tool.name, (), kwargs).error
                    after = session.state()
                except WorldError as error:
                    shown = _call(tool.name, kwargs)
                    raise Broken(f"{shown} is no refusal: {error.message}; raise ToolError") from error
                if refused and after != before:
                    raise Broken(f"{_call(tool.name, kwargs)} was refused and changed {_difference(before, after)}")
            if subject.is_outside() and count >= OUTSIDE_SESSIONS:
                return f"{count} calls with odd values"
    return f"{count} calls with odd values"


def _change(session: Session, calls: Iterable[Observation], watched: Collection[str]) -> str:
    """Make calls; say which run of watched tools' calls changed the state, or "": reading the state takes long."""
    for is_watched, group in groupby(calls, key=lambda call: call.tool in watched):
        run = list(group)
        before = session.state() if is_watched else None
        for call in run:
            session.call(call.tool, call.args, call.kwargs)
        if is_watched and (after := session.state()) != before:
            return f"{_call(run[0].tool, run[0].kwargs, run[0].args)} changed {_difference(before, after)}"
    return ""


def _first_change(subject: Subject, seed: int, calls: Sequence[Observation], watched: Collection[str]) -> str:
    """Say which of the calls, made again one by one in another session, changes the state first."""
    with subject.sandbox.session(subject.env, seed) as session:
        changes = (_change(session, [call], watched) for call in calls)
        return next(filter(None, changes), "the state changed, and not when the calls were made again")


def _call(tool: str, kwargs: dict[str, JSON], args: Sequence[JSON] = ()) -> str:
    return f"{tool}({', '.join([*map(_shown, args), *(f'{name}={_shown(value)}' for name, value in kwargs.items())])})"


# ---------------------------------------------------------------- speed, tasks


def calls_are_fast(subject: Subject) -> str:
    """Tell how long `reset`, a session with its state, and a call of each tool take; nothing is too slow to pass."""
    if not subject.is_outside():
        environment = plugins.load_environment(subject.env)
        taken = [_milliseconds(environment.reset, seed) for seed in subject.seeds()]
        subject.figures["reset()"] = statistics.median(taken)
    taken = [_milliseconds(subject.state, seed) for seed in subject.seeds()]
    subject.figures["opening and reading the state"] = statistics.median(taken)
    for tool in subject.tools:
        with subject.sandbox.session(subject.env, 0) as session:
            plan = list(arguments.fitting(tool, arguments.material_of(session.state()), random.Random(4), _CALLS))
            taken = [_milliseconds(session.call, tool.name, (), kwargs) for kwargs in plan]
            subject.figures[tool.name] = statistics.median(taken)
    subject.figures = {name: round(value, 3) for name, value in subject.figures.items()}
    return ", ".join(f"{name} {value:.3g} ms" for name, value in subject.figures.items())


def _milliseconds(work: Callable[..., object], *args: object) -> float:
    started = time.perf_counter()
    work(*args)
    return (time.perf_counter() - started) * 1000


def held_out_tasks_hold(subject: Subject) -> str:
    """Each held-out task is passed by its own solution and failed by each of its failure cases."""
    if not subject.tasks:
        raise Skipped("it ships no held-out tasks")
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda task: paper_filter.verify(subject.sandbox, task), subject.tasks))
    for task, verdict in zip(subject.tasks, verdicts, strict=True):
        if not verdict.passed:
            right = {"solution": "pass"}
            off = next(check for check in verdict.checks if check.outcome != right.get(check.name, "fail"))
            raise Broken(f"task {task.id} falls at '{verdict.stage}': {off.name} {off.outcome} {off.message}".strip())
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
"""Name in the report → check, in the order they are run."""
