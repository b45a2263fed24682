"""`sca explore`: act in an environment without a task and record the tool calls (paper, section 3).

In the paper the challenger explores; `--method walk` calls the tools without a model (an addition).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from sca_cli import plugins
from sca_cli.commands.shared import options
from sca_cli.commands.shared.error_note import error_note
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
    sandbox_width,
    say,
    session_width,
)
from sca_cli.conformance.marks import Marks
from sca_cli.episode import chat
from sca_cli.episode.agent import Actor, EpisodeLimits
from sca_cli.errors import ExitCode, UsageError, WorldError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import Model, Sampling, Tool
from sca_cli.prompts import EXPLORE, Prompts
from sca_cli.records import EnvSpec, ErrorNote, Exploration, Message, sealed
from sca_cli.sandbox import AllowedEnvs, Limits, Sandbox, Session
from sca_cli.streams import Output
from sca_cli.walk.explorer import CALLS, walk
from sca_cli.walk.stateful import CALLS as STATEFUL_CALLS
from sca_cli.walk.stateful import CALLS_OUTSIDE as STATEFUL_CALLS_OUTSIDE
from sca_cli.walk.stateful import walk_state


class ExploreMethod(StrEnum):
    """What chooses the calls."""

    MODEL = "model"
    WALK = "walk"


FOCUS_TOOLS = 3
"""Number of tools that the prompt of an exploration names. The seed draws them, so that many explorations cover all."""


_MOST_FAILURES = 3
"""Tools that may make the world fail in one exploration. After each, the others are called in a new world."""


@dataclass(frozen=True, slots=True)
class Walker:
    """Makes explorations without a model."""

    envs: list[EnvSpec]
    sandbox: Sandbox
    seed: int
    calls: int | None = None
    """Calls of one exploration; None: `CALLS`, more if tools write."""

    async def explore(self, index: int) -> Exploration:
        """Make exploration `index`; the index and the seed decide its environment and its world.

        Raises:
            SandboxError, MissingError, PluginError: the environment does not start.
        """
        return await asyncio.to_thread(self._explore, index)

    def _explore(self, index: int) -> Exploration:
        env = self.envs[index % len(self.envs)]
        seed = derived_seed(self.seed, "explore", index)
        exploration = Exploration(env=env, seed=seed, made_by=made_by("explore", seed=seed))
        tools = self.sandbox.describe(env).tools
        if any(tool.writes for tool in tools):
            return self._explore_state(exploration, tools)
        calls = self.calls or CALLS
        sources: list[dict[str, str]] = []
        failures: dict[str, str] = {}
        try:
            while tools and len(sources) < calls and len(failures) <= _MOST_FAILURES:
                with self.sandbox.session(env, seed) as session:
                    exploration.first_observation = session.first_observation()
                    walked = walk(session, tools, exploration.first_observation, seed, calls - len(sources))
                exploration.observations += walked.observations
                sources += walked.sources
                if not walked.problem:
                    break
                failures[walked.failed_tool] = walked.problem
                tools = [tool for tool in tools if tool.name not in failures]
        except WorldError as error:
            exploration.error = ErrorNote(boundary="world", message=error.message)
        exploration.extra["sources"] = sources
        if failures:
            exploration.extra["failed_tools"] = failures
        if failures and not exploration.observations:
            exploration.error = ErrorNote(boundary="world", message="; ".join(failures.values()))
        return sealed(exploration)

    def _explore_state(self, exploration: Exploration, tools: list[Tool]) -> Exploration:
        """Fill an exploration of a world with state."""

        def open_session() -> Session:
            return self.sandbox.session(exploration.env, exploration.seed)

        calls = STATEFUL_CALLS_OUTSIDE if plugins.environment_entry(exploration.env).outside else STATEFUL_CALLS
        try:
            walked = walk_state(open_session, tools, exploration.seed, self.calls or calls)
        except WorldError as error:
            exploration.error = ErrorNote(boundary="world", message=error.message)
            return sealed(exploration)
        exploration.first_observation, exploration.observations = walked.first_observation, walked.observations
        exploration.extra = {"sources": walked.sources, "resets": walked.resets}
        if walked.unsteady:
            exploration.extra["unsteady"] = walked.unsteady
        if walked.failed_tools:
            exploration.extra["failed_tools"] = walked.failed_tools
        return sealed(exploration)


@dataclass(frozen=True, slots=True)
class Explorer:
    """Makes explorations with a model."""

    envs: list[EnvSpec]
    model_name: str
    actor: Actor
    sandbox: Sandbox
    seed: int
    times: bool = False

    async def explore(self, index: int) -> Exploration:
        """Make exploration `index`; the index and the seed decide its environment, its world and the tools in focus.

        Raises:
            SandboxError, MissingError, PluginError: the environment does not start.
        """
        env = self.envs[index % len(self.envs)]
        seed = derived_seed(self.seed, "explore", index)
        tools, policy, _ = self.sandbox.describe(env)
        focus = random.Random(seed).sample(tools, min(FOCUS_TOOLS, len(tools)))
        origin = made_by("explore", model=self.model_name, seed=seed, prompt=self.actor.prompts.fingerprint(*EXPLORE))
        exploration = Exploration(env=env, seed=seed, made_by=origin)
        try:
            with self.sandbox.session(env, seed) as session:
                exploration.first_observation = await asyncio.to_thread(session.first_observation)
                introduction = "\n\n".join(filter(None, [policy, exploration.first_observation]))
                episode = await self.actor.act(session, self._opening(introduction, tools, focus), tools, seed)
                exploration.messages, exploration.observations = episode.messages, list(session.calls)
                exploration.usage = episode.usage
                if not self.times:
                    exploration.usage.seconds = None
                if episode.stop == "error":
                    exploration.error = ErrorNote(boundary="model", message=episode.problem)
        except WorldError as error:
            exploration.error = ErrorNote(boundary="world", message=error.message)
        return sealed(exploration)

    def _opening(self, policy: str, tools: list[Tool], focus: list[Tool]) -> list[Message]:
        names = ", ".join(tool.name for tool in focus)
        return self.actor.prompts.fill("explore", policy=policy, tools=chat.tool_listing(tools), focus=names)


_OF_A_MODEL = ("model", "turns", "temperature", "top_p", "max_tokens", "prompt")
"""Options that only `--method model` takes."""


def run(count: int, explorer: Explorer | Walker, *, output: Output, fanout: Fanout, meter: Meter) -> Iterator[Done]:
    """Make `count` explorations and write them."""

    async def work(index: int) -> Done:
        exploration = await explored(explorer, index)
        return Done(str(index), [] if exploration.error else [exploration], [exploration] if exploration.error else [])

    def failed(index: int, note: ErrorNote) -> Done:
        return Done(str(index), rejected=[_failed(explorer, index, note)])

    return pump(range(count), work, failed=failed, identify=str, output=output, fanout=fanout, meter=meter)


async def explored(explorer: Explorer | Walker, index: int) -> Exploration:
    """Make exploration `index`. An exception becomes its error.

    Raises:
        SandboxError: the jail does not start.
        MachineError: the machine is at a limit.
    """
    try:
        return await explorer.explore(index)
    except Exception as error:  # noqa: BLE001  whatever one exploration raises, it does not end the run
        return _failed(explorer, index, error_note(error))


def _failed(explorer: Explorer | Walker, index: int, note: ErrorNote) -> Exploration:
    seed = derived_seed(explorer.seed, "explore", index)
    env = explorer.envs[index % len(explorer.envs)]
    return Exploration(env=env, seed=seed, made_by=made_by("explore", seed=seed), error=note)


def exploring_actor(model: Model, sampling: Sampling, prompts: Prompts, turns: int) -> Actor:
    """Return the actor that explores: it acts by code and has few turns."""
    return Actor(model, sampling, EpisodeLimits(turns=turns), "code", prompts)


def command(
    context: typer.Context,
    env: options.Env = None,
    model: options.Model = None,
    method: Annotated[
        ExploreMethod | None,
        typer.Option(
            help="model: the model chooses the calls, as in the paper. walk: no model; arguments come from the tools' "
            "documentation, from earlier results and from error messages of tools.",
            show_default="model if --model is set, else walk",
            rich_help_panel=options.TASKS,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Explorations to make.", rich_help_panel=options.TASKS)
    ] = 16,
    calls: Annotated[
        int | None,
        typer.Option(
            "--calls",
            min=1,
            help="walk: tool calls in one exploration.",
            show_default=f"{CALLS}, or {STATEFUL_CALLS} if tools write ({STATEFUL_CALLS_OUTSIDE} for mcp)",
            rich_help_panel=options.TASKS,
        ),
    ] = None,
    turns: Annotated[
        int, typer.Option("--turns", min=1, help="Limit of turns in one exploration.", rich_help_panel=options.MODEL)
    ] = 2,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.8,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 192,
    prompt: options.Prompt = None,
    memory_mb: options.WorldMemoryMb = 512,
    output: options.Output = "-",
    resume: options.Resume = False,
    rejected: options.Rejected = None,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Call an environment's tools without a task and record the results.

    \b
    Example:
      sca explore --env calculation --model transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct -n 40 > explorations.jsonl

    Each exploration records every tool call and its result. With a model, the prompt asks for a few tools that the
    seed draws. Without a model, as in `sca explore --env calculation`, the tools that worked least are called first.
    """
    envs = required_envs(env)
    chosen = method or (ExploreMethod.MODEL if model else ExploreMethod.WALK)
    if chosen is ExploreMethod.WALK:
        if typed := [name for name in _OF_A_MODEL if on_command_line(context, name)]:
            raise UsageError(f"--{typed[0].replace('_', '-')} is an option of --method model", "leave it out")
        model_name = ""
    else:
        model_name = required_model(model)
        if on_command_line(context, "calls"):
            raise UsageError("--calls is an option of --method walk", "leave it out; --turns limits a model")
    prompts = Prompts.from_option(prompt)
    settings = options.settings_of(
        context,
        "memory_mb",
        env=[str(spec) for spec in envs],
        method=str(chosen),
        model=model_name,
        prompt=prompts.fingerprint(*EXPLORE),
    )
    sink = Output(output, rejected=rejected, resume=resume, settings=settings)
    width = sandbox_width() if chosen is ExploreMethod.WALK else MODEL_WIDTH
    with (
        Fanout(concurrency or session_width(width)) as fanout,
        Sandbox(Limits(memory_mb=memory_mb), AllowedEnvs.of(*envs)) as sandbox,
        Meter("explore", count, quiet=quiet) as meter,
        opened_model(model_name, fanout) if model_name else nullcontext() as engine,
    ):
        for env_spec in envs:
            sandbox.describe(env_spec)  # an environment that does not start is reported once, before any work
        explorer: Explorer | Walker = Walker(envs, sandbox, seed, calls)
        if engine:
            actor = exploring_actor(engine, Sampling(temperature, top_p, max_tokens), prompts, turns)
            explorer = Explorer(envs, model_name, actor, sandbox, seed, times)
        calls_made = calls_failed = 0
        failed: Counter[str] = Counter()
        failed_tools: Counter[str] = Counter()
        marks, unmarked_tools = Marks(sandbox), dict[str, None]()
        for done in run(count, explorer, output=sink, fanout=fanout, meter=meter):
            failed.update(record.error.message for record in done.rejected if record.error)
            for record in done.kept:
                assert isinstance(record, Exploration)
                calls_made += len(record.observations)
                calls_failed += sum(bool(call.error) for call in record.observations)
                failed_tools.update(list(record.extra.get("failed_tools", ())))
                if unmarked := marks.missing(record):
                    unmarked_tools[unmarked] = None
    say(
        f"sca explore: {sink.kept} explorations"
        + (
            f", {sink.begun_at} of them before"
            if sink.begun_at
            else f", {calls_made} tool calls, {calls_failed} of them refused"
        )
        + (f", {failed.total()} failed" if failed else "")
        + "".join(f"\n{line}" for line in most_frequent(failed))
        + "".join(f"\n  {number:5d}  explorations in which '{tool}' failed" for tool, number in failed_tools.items())
        + "".join(
            f"\nwarning: '{tool}' changes the state and is not marked as writing: "
            "write @tool(writes=True) above it, after 'from sca_cli import tool'"
            for tool in unmarked_tools
        ),
        quiet=quiet,
    )
    return exit_code(sink.kept)
