"""`sca challenge`: explorations → candidate tasks, by one of the methods (paper, section 3)."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from copy import copy
from enum import StrEnum
from typing import Annotated, Any

import typer

from sca_cli import streams
from sca_cli.commands.explore import Explorer, Walker, exploring_actor
from sca_cli.commands.shared import options
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Done,
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
    written_before,
)
from sca_cli.errors import ExitCode, ModelError, UsageError, WorldError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import Model, Sampling
from sca_cli.methods import Method, Workshop, cat, pae, rejected, solution_first
from sca_cli.methods.compose import compose
from sca_cli.methods.compose.plan import Composed, Plan
from sca_cli.prompts import CHALLENGE, Prompts
from sca_cli.records import EnvSpec, ErrorNote, Exploration, Record, Task, content_id
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output

EXPLORATION_TURNS = 2


class MethodName(StrEnum):
    """How tasks are made."""

    CAT = "cat"
    SOLUTION_FIRST = "solution-first"
    COMPOSE = "compose"
    PAE = "pae"


_METHODS: dict[MethodName, Method[Any]] = {
    MethodName.CAT: cat.make,
    MethodName.SOLUTION_FIRST: solution_first.make,
    MethodName.COMPOSE: compose.make,
    MethodName.PAE: pae.make,
}

type Subject = Exploration | Composed
"""What one candidate is made from."""

CANDIDATES_PER_EXPLORATION = 5
"""Without explorations on stdin, one exploration is made for so many candidates."""


def in_turn(explorations: Iterable[Exploration], count: int | None) -> Iterator[tuple[int, Exploration]]:
    """Yield (place, exploration) for every candidate to be made.

    Args:
        explorations: streamed; kept in memory only where `count` makes it necessary to go round again.
        count: candidates to make; None for one an exploration.
    """
    if count is None:
        yield from enumerate(explorations)
        return
    seen: list[Exploration] = []
    for exploration in explorations:
        if len(seen) == count:
            return
        seen.append(exploration)
        yield len(seen) - 1, exploration
    for place in range(len(seen), count if seen else 0):
        yield place, seen[place % len(seen)]


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
    """Make one candidate task from each exploration or composed program given, and write it.

    Args:
        candidates: places and what is made into a task there.
        method: how.
        workshop_for: gives each candidate what it is made with.
        keep_all: write those that came to nothing as well.
        times: leave wall times in.
        output: where they are written.
        fanout: does the work.
        meter: is told.
    """

    async def work(item: tuple[int, Subject]) -> Done:
        place, subject = item
        exploration = _world(subject)
        seed = derived_seed(workshop_for.seed, "challenge", method, place)
        workshop = workshop_for(exploration)
        started = time.monotonic()
        try:
            task = await _METHODS[method](workshop, subject, seed)
        except (ModelError, WorldError) as error:
            task = rejected(exploration, method, error.message, "")
            task.error = ErrorNote(boundary=error.boundary, message=error.message)
        task.usage = copy(workshop.usage)  # what was asked beside a call that failed may still be counted there
        task.usage.seconds = time.monotonic() - started if times else None
        task.made_by = made_by(
            "challenge", model=workshop_for.model_name, seed=seed, prompt=workshop_for.prompts.fingerprint(*CHALLENGE)
        )
        if workshop.may_name_tools:
            task.extra["may_name_tools"] = True
        task.id = content_id(task)
        good = task.error is None
        return Done(_identity(item), [task] if good or keep_all else [], [] if good else [task])

    return pump(candidates, work, identify=_identity, output=output, fanout=fanout, meter=meter)


def _by_machine(record: Record) -> bool:
    written_by = record.extra.get("written_by")
    return isinstance(written_by, dict) and str(written_by["instruction"]).startswith("machine")


def _world(subject: Subject) -> Exploration:
    return subject.world if isinstance(subject, Composed) else subject


def _identity(item: tuple[int, Subject]) -> str:
    place, subject = item
    return f"{place}:{_world(subject).id}"


class Workshops:
    """A workshop for each candidate."""

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

    def __call__(self, exploration: Exploration) -> Workshop:
        place = self._sandbox.describe(exploration.env)
        given = (self._model, self._sampling, self.prompts, self._sandbox)
        return Workshop(*given, *place, may_name_tools=self._may_name_tools)


def command(
    context: typer.Context,
    inputs: options.Inputs = None,
    env: options.Env = None,
    model: options.Model = None,
    method: Annotated[
        MethodName,
        typer.Option(
            help="cat: the model writes all four parts (the paper's). solution-first: the model writes a program, its "
            "result fills the check, then the model writes the question; for small models. compose: programs put "
            "together from calls that were seen to work, in equal shares by number of calls; the model writes the "
            "question. pae: instructions only, without a check (a baseline)."
        ),
    ] = MethodName.CAT,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            "-n",
            min=1,
            help="Candidates to make, explorations taken in turn.",
            show_default="one an exploration",
        ),
    ] = None,
    calls: Annotated[
        int, typer.Option("--calls", min=1, max=8, help="compose: most calls of a program; each number as often.")
    ] = 3,
    cover: Annotated[
        int,
        typer.Option(
            "--cover",
            min=0,
            help="compose: tasks in which each ordered pair of tools that fit is to occur before others are drawn.",
        ),
    ] = 3,
    tool_names: Annotated[
        bool,
        typer.Option(
            "--tool-names",
            help="solution-first, compose: let instructions hold the names of tools.",
            show_default=False,
        ),
    ] = False,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.8,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 768,
    prompt: options.Prompt = None,
    keep_all: Annotated[
        bool, typer.Option("--all", help="Write rejected candidates too, with their error.", show_default=False)
    ] = False,
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
      sca explore --env calculation -n 40 | sca challenge --method solution-first -n 200 > candidates.jsonl

    Reads explorations; with --env given, or nothing piped in and SCA_ENV set, it explores itself. The method compose
    reads verified tasks too. A reply that is not a task is counted, and kept with --rejected.
    """
    model_name = required_model(model) if model or method is not MethodName.COMPOSE else ""
    prompts = Prompts.from_option(prompt)
    paths = inputs or (["-"] if streams.is_piped() and not on_command_line(context, "env") else [])
    if not paths and not env:
        raise UsageError("nothing to read and no --env to explore", "pipe explorations in, or give --env NAME")
    envs = [] if paths else required_envs(env)
    if method is not MethodName.COMPOSE and (idle := [n for n in ("calls", "cover") if on_command_line(context, n)]):
        raise UsageError(f"--{idle[0]} is an option of --method compose", f"leave it out with --method {method}")
    if method in (MethodName.CAT, MethodName.PAE) and tool_names:
        raise UsageError("--tool-names is an option of --method solution-first and compose", "leave it out")
    settings = {
        "command": "challenge",
        "method": method,
        "env": [str(spec) for spec in envs],
        "model": model_name,
        "count": count,
        **({"calls": calls, "cover": cover} if method is MethodName.COMPOSE else {}),
        **({"tool_names": True} if tool_names else {}),
        "seed": seed,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "prompt": prompts.fingerprint(*CHALLENGE),
        "all": keep_all,
        "times": times,
    }
    sink = Output(output, rejected=rejected, resume=resume, settings=settings, inputs=paths)
    sampling = Sampling(temperature, top_p, max_tokens)
    with (
        Fanout(concurrency or MODEL_WIDTH) as fanout,
        Sandbox(Limits()) as sandbox,
        Meter("challenge", count, quiet=quiet) as meter,
        opened_model(model_name, fanout) if model_name else nullcontext() as engine,
    ):
        for env_spec in envs:
            sandbox.describe(env_spec)  # one that does not start is told once, before any work
        explorations: Iterable[Exploration | Task]
        if paths:
            explorations = streams.read(paths, Exploration, *([Task] if method is MethodName.COMPOSE else []))
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
        made = meter.inputs
    if sink.begun_at:
        say(f"sca challenge: {sink.begun_at} candidates were made before", quiet=quiet)
    say(_summary(made, reasons, method), quiet=quiet)
    if method is MethodName.COMPOSE:
        if machine_written:
            why = "the model's words would not do" if model_name else "no model was given"
            say(f"  {machine_written} instructions are in the machine's own words: {why}", quiet=quiet)
        say(_composition(plan, cover), quiet=quiet)
    return exit_code(sink.kept)


def _own_explorations(explorer: Explorer | Walker, count: int, fanout: Fanout) -> Iterator[Exploration]:
    async def work(index: int) -> Exploration:
        return await explorer.explore(index)

    explorations = max(len(explorer.envs), -(-count // CANDIDATES_PER_EXPLORATION))
    return (record for record in fanout.ordered(range(explorations), work) if record.error is None)


def _unexplored(envs: list[EnvSpec], count: int, seed: int) -> Iterator[Exploration]:
    """Yield worlds where nobody has been, for a method that does not look."""
    for index in range(count):
        yield Exploration(env=envs[index % len(envs)], seed=derived_seed(seed, "explore", index))


def _summary(made: int, reasons: Counter[str], method: MethodName) -> str:
    good = made - reasons.total()
    lines = [f"sca challenge --method {method}: {good} of {made} replies are tasks ({good / max(made, 1):.1%})"]
    lines += most_frequent(reasons)
    return "\n".join(lines)


def _composition(plan: Plan, cover: int) -> str:
    """Return what was drawn and dropped before a model was asked, and which pairs of tools occur."""
    lines = [f"sca challenge --method compose: {plan.dropped.total()} programs drawn came to nothing"]
    lines += most_frequent(plan.dropped)
    if plan.unproven:
        lines.append(f"  {plan.unproven} tasks were left out: sca verify did not keep them")
    for env, (fitting, worked, occurring, often) in plan.coverage().items():
        told = f"{fitting} pairs of tools fit, {worked} of them ran, {occurring} are in tasks"
        lines.append(f"  {env}: {told}, {often} in {cover} or more")
    return "\n".join(lines)
