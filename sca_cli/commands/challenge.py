"""`sca challenge`: write candidate tasks from explorations, by one of five methods (paper, section 3)."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from copy import copy
from enum import StrEnum
from typing import Annotated, Any

import typer

from sca_cli import streams
from sca_cli.commands.explore import Explorer, Walker, explored, exploring_actor
from sca_cli.commands.shared import options
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Done,
    LeftOut,
    Meter,
    exit_code,
    made_by,
    most_frequent,
    on_command_line,
    opened_model,
    pump,
    required_envs,
    required_model,
    say,
    session_width,
    written_before,
)
from sca_cli.errors import ExitCode, ModelError, UsageError, WorldError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import Model, Sampling
from sca_cli.methods import Method, Workshop, cat, pae, rejected, solution_first
from sca_cli.methods.compose import compose
from sca_cli.methods.compose.plan import Composed, Plan
from sca_cli.methods.walk import make as walk
from sca_cli.prompts import CHALLENGE, WALK, Prompts
from sca_cli.records import EnvSpec, ErrorNote, Exploration, Record, Task, content_id
from sca_cli.sandbox import AllowedEnvs, Limits, Sandbox
from sca_cli.streams import Output

EXPLORATION_TURNS = 2


class MethodName(StrEnum):
    """How tasks are made."""

    CAT = "cat"
    SOLUTION_FIRST = "solution-first"
    COMPOSE = "compose"
    WALK = "walk"
    PAE = "pae"


_METHODS: dict[MethodName, Method[Any]] = {
    MethodName.CAT: cat.make,
    MethodName.SOLUTION_FIRST: solution_first.make,
    MethodName.COMPOSE: compose.make,
    MethodName.WALK: walk.make,
    MethodName.PAE: pae.make,
}


def _prompts_of(method: MethodName) -> tuple[str, ...]:
    """Return the beginnings of the names of the prompts that a method uses."""
    return WALK if method is MethodName.WALK else CHALLENGE


type Subject = Exploration | Composed
"""The input of one candidate."""

CANDIDATES_PER_EXPLORATION = 5
"""Candidates for each exploration that `challenge` makes itself, when it reads none. Chosen by hand."""


def in_turn(explorations: Iterable[Exploration], count: int | None) -> Iterator[tuple[int, Exploration]]:
    """Yield (place, exploration) for every candidate to make.

    Args:
        explorations: a stream. It is kept in memory only if `count` needs some of them more than once.
        count: candidates to make; None means one for each exploration.
    """
    if count is None:
        yield from enumerate(explorations)
        return
    kept: list[Exploration] = []
    for exploration in explorations:
        if len(kept) == count:
            return
        kept.append(exploration)
        yield len(kept) - 1, exploration
    for place in range(len(kept), count if kept else 0):
        yield place, kept[place % len(kept)]


def run(
    candidates: Iterable[tuple[int, Subject]],
    method: MethodName,
    workshop_for: "Workshops",
    *,
    keep_all: bool,
    times: bool = False,
    output: Output,
    fanout: Fanout,
    meter: Meter,
) -> Iterator[Done]:
    """Make one candidate task from each exploration or composed program, and write it.

    Args:
        candidates: (place, input) of each candidate.
        method: the method that makes candidates.
        workshop_for: returns the model, sandbox and prompts that make a candidate.
        keep_all: write rejected candidates too.
        times: keep wall times in the records.
        output: the files for the records.
        fanout: runs the work concurrently.
        meter: shows progress.
    """

    def stamped(task: Task, place: int) -> Task:
        task.made_by = made_by(
            "challenge",
            model=workshop_for.model_name,
            seed=seed_of(place),
            prompt=workshop_for.prompts.fingerprint(*_prompts_of(method)),
        )
        task.id = content_id(task)
        return task

    def seed_of(place: int) -> int:
        return derived_seed(workshop_for.seed, "challenge", method, place)

    turns: dict[int, int] = {}

    def counted() -> Iterator[tuple[int, Subject]]:
        before: Counter[str] = Counter()
        for place, subject in candidates:
            turns[place] = before[_world(subject).id]
            before[_world(subject).id] += 1
            yield place, subject

    async def work(item: tuple[int, Subject]) -> Done:
        place, subject = item
        exploration = _world(subject)
        seed = seed_of(place)
        workshop = workshop_for(exploration, turns.pop(place))
        started = time.monotonic()
        try:
            task = await _METHODS[method](workshop, subject, seed)
        except (ModelError, WorldError) as error:
            task = rejected(exploration, method, error.message, "")
            task.error = ErrorNote(boundary=error.boundary, message=error.message)
        task.usage = copy(workshop.usage)  # other calls of a failed candidate may still add to it
        task.usage.seconds = time.monotonic() - started if times else None
        if workshop.may_name_tools:
            task.extra["may_name_tools"] = True
        stamped(task, place)
        accepted = task.error is None
        return Done(_identity(item), [task] if accepted or keep_all else [], [] if accepted else [task])

    def failed(item: tuple[int, Subject], note: ErrorNote) -> Done:
        place, subject = item
        task = rejected(_world(subject), method, note.message, "")
        task.error = note
        stamped(task, place)
        return Done(_identity(item), [task] if keep_all else [], [task])

    return pump(counted(), work, failed=failed, identify=_identity, output=output, fanout=fanout, meter=meter)


def _by_machine(record: Record) -> bool:
    written_by = record.extra.get("written_by")
    return isinstance(written_by, dict) and str(written_by["instruction"]).startswith("machine")


def _world(subject: Subject) -> Exploration:
    return subject.world if isinstance(subject, Composed) else subject


def _identity(item: tuple[int, Subject]) -> str:
    place, subject = item
    return f"{place}:{_world(subject).id}"


class Workshops:
    """Makes the workshop of each candidate."""

    def __init__(
        self,
        model: Model | None,
        model_name: str,
        sampling: Sampling,
        prompts: Prompts,
        sandbox: Sandbox,
        seed: int,
        *,
        may_name_tools: bool = False,
    ) -> None:
        self.model_name, self.prompts, self.seed = model_name, prompts, seed
        self._model, self._sampling, self._sandbox = model, sampling, sandbox
        self._may_name_tools = may_name_tools

    def __call__(self, exploration: Exploration, turn: int = 0) -> Workshop:
        place = self._sandbox.describe(exploration.env)
        shared = (self._model, self._sampling, self.prompts, self._sandbox)
        return Workshop(*shared, *place, may_name_tools=self._may_name_tools, turn=turn)


def command(
    context: typer.Context,
    inputs: options.Inputs = None,
    env: options.Env = None,
    allow_env: options.AllowEnv = None,
    model: options.Model = None,
    method: Annotated[
        MethodName,
        typer.Option(
            help="cat: the model writes all four parts, as in the paper. solution-first: the model writes a program, "
            "the check compares the answer with its result, then the model writes the question; for small models. "
            "compose: programs are composed from recorded calls that worked, equally many of each length; the model "
            "writes the question. walk: tasks that change the state, from writes that worked; the model paraphrases "
            "them. pae: instructions only, without a check (a baseline).",
            rich_help_panel=options.TASKS,
        ),
    ] = MethodName.CAT,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            help="Candidates to make; the explorations are used in turn.",
            show_default="one for each exploration",
            rich_help_panel=options.TASKS,
        ),
    ] = None,
    calls: Annotated[
        int,
        typer.Option(
            "--calls",
            min=1,
            max=8,
            help="compose: most tool calls in one program; lengths 1…N are equally frequent.",
            rich_help_panel=options.TASKS,
        ),
    ] = 3,
    cover: Annotated[
        int,
        typer.Option(
            "--cover",
            min=0,
            help="compose: tasks in which each ordered pair of fitting tools must occur before other pairs are drawn.",
            rich_help_panel=options.TASKS,
        ),
    ] = 3,
    tool_names: Annotated[
        bool,
        typer.Option(
            "--tool-names",
            help="solution-first, compose: allow the names of tools in instructions.",
            show_default=False,
            rich_help_panel=options.TASKS,
        ),
    ] = False,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.8,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 768,
    prompt: options.Prompt = None,
    keep_all: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Write rejected candidates too, with their error.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = False,
    memory_mb: options.WorldMemoryMb = 512,
    output: options.Output = "-",
    resume: options.Resume = False,
    rejected: options.Rejected = None,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Write candidate tasks: instruction, check, solution and three failure cases.

    \b
    Example:
      sca explore --env calculation -n 40 | sca challenge --method compose -n 200 > candidates.jsonl

    It reads explorations. With --env, or with SCA_ENV and no piped input, it explores first. The method compose also
    reads verified tasks. Replies that are not tasks are counted; --rejected writes them to a file.
    """
    model_name = required_model(model) if model or method not in (MethodName.COMPOSE, MethodName.WALK) else ""
    prompts = Prompts.from_option(prompt)
    paths = inputs or (["-"] if streams.is_piped() and not on_command_line(context, "env") else [])
    if not paths and not env:
        raise UsageError("nothing to read and no --env to explore", "pipe explorations in, or give --env NAME")
    envs = [] if paths else required_envs(env)
    if method is not MethodName.COMPOSE and (idle := [n for n in ("calls", "cover") if on_command_line(context, n)]):
        raise UsageError(f"--{idle[0]} is an option of --method compose", f"leave it out with --method {method}")
    if method in (MethodName.CAT, MethodName.PAE) and tool_names:
        raise UsageError("--tool-names is an option of --method solution-first and compose", "leave it out")
    settings = options.settings_of(
        context,
        "memory_mb",
        env=[str(spec) for spec in envs],
        method=str(method),
        model=model_name,
        prompt=prompts.fingerprint(*_prompts_of(method)),
    )
    allowed = AllowedEnvs([*(env or []), *(allow_env or [])])
    sink = Output(output, rejected=rejected, resume=resume, settings=settings, inputs=paths)
    sampling = Sampling(temperature, top_p, max_tokens)
    left_out = LeftOut("challenge")
    with (
        Fanout(concurrency or session_width(MODEL_WIDTH)) as fanout,
        Sandbox(Limits(memory_mb=memory_mb), allowed) as sandbox,
        Meter("challenge", count, quiet=quiet) as meter,
        opened_model(model_name, fanout) if model_name else nullcontext() as engine,
    ):
        for env_spec in envs:
            sandbox.describe(env_spec)  # an environment that does not start is reported once, before any work
        explorations: Iterable[Exploration | Task]
        if paths:
            kinds = [Exploration, Task] if method is MethodName.COMPOSE else [Exploration]
            explorations = streams.read(paths, *kinds, left_out=left_out)
        elif method is MethodName.PAE:
            explorations = _unexplored(envs, count or len(envs), seed)
        else:
            explorer: Explorer | Walker = Walker(envs, sandbox, seed)
            if engine is not None:
                actor = exploring_actor(engine, sampling, prompts, EXPLORATION_TURNS)
                explorer = Explorer(envs, model_name, actor, sandbox, seed)
            explorations = _own_explorations(explorer, count or len(envs), fanout)
        workshops = Workshops(engine, model_name, sampling, prompts, sandbox, seed, may_name_tools=tool_names)
        reasons: Counter[str] = Counter()
        machine_written = 0
        subjects: Iterable[tuple[int, Subject]]
        if method is MethodName.COMPOSE:
            plan = Plan(sandbox, calls, cover, seed)
            read = plan.read(explorations)
            earlier = written_before(sink, [output], Task)
            before = {(str(task.env), task.solution) for task in earlier if task.error is None}
            subjects = plan.programs(count or read, before, sink.begun_at)
        else:
            subjects = in_turn((record for record in explorations if isinstance(record, Exploration)), count)
        for done in run(
            subjects, method, workshops, keep_all=keep_all, times=times, output=sink, fanout=fanout, meter=meter
        ):
            reasons.update(record.error.message for record in done.rejected if record.error)
            if method is MethodName.COMPOSE:
                plan.became(written=not done.rejected)
                machine_written += sum(_by_machine(record) for record in done.kept)
        candidates = meter.inputs
    if sink.begun_at:
        say(f"sca challenge: {sink.begun_at} candidates were made before", quiet=quiet)
    say(_summary(candidates, reasons, method), quiet=quiet)
    if method is MethodName.COMPOSE:
        if machine_written:
            reason = "the model's text was rejected" if model_name else "no model was given"
            say(f"  {machine_written} instructions were written without a model: {reason}", quiet=quiet)
        say(_composition(plan, cover), quiet=quiet)
    return exit_code(sink.kept, left_out)


def _own_explorations(explorer: Explorer | Walker, count: int, fanout: Fanout) -> Iterator[Exploration]:
    async def work(index: int) -> Exploration:
        return await explored(explorer, index)

    explorations = max(len(explorer.envs), -(-count // CANDIDATES_PER_EXPLORATION))
    return (record for record in fanout.ordered(range(explorations), work) if record.error is None)


def _unexplored(envs: list[EnvSpec], count: int, seed: int) -> Iterator[Exploration]:
    """Yield empty explorations, for a method that does not use observations."""
    for index in range(count):
        yield Exploration(env=envs[index % len(envs)], seed=derived_seed(seed, "explore", index))


def _summary(candidates: int, reasons: Counter[str], method: MethodName) -> str:
    tasks = candidates - reasons.total()
    share = f"{tasks / max(candidates, 1):.1%}"
    lines = [f"sca challenge --method {method}: {tasks} of {candidates} replies are tasks ({share})"]
    lines += most_frequent(reasons)
    return "\n".join(lines)


def _composition(plan: Plan, cover: int) -> str:
    """Report the programs that were dropped before the model was asked, and which pairs of tools occur in tasks."""
    lines = [f"sca challenge --method compose: {plan.dropped.total()} programs were dropped"]
    lines += most_frequent(plan.dropped)
    if plan.unproven:
        lines.append(f"  {plan.unproven} tasks were left out: sca verify rejected them")
    lines += [f"  {number:5d}  records left out: {reason}" for reason, number in plan.left_out.items()]
    for env, (fitting, worked, occurring, often) in plan.coverage().items():
        pairs = f"{fitting} pairs of tools fit, {worked} of them ran, {occurring} are in tasks"
        lines.append(f"  {env}: {pairs}, {often} in {cover} or more")
    return "\n".join(lines)
