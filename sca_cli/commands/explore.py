"""`sca explore`: the challenger acts in the environment without a task and records what it saw (paper, section 3)."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from sca_cli.commands.shared import options
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    Done,
    Meter,
    exit_code,
    made_by,
    most_frequent,
    opened_model,
    pump,
    required_envs,
    required_model,
    say,
)
from sca_cli.episode import chat
from sca_cli.episode.agent import Actor, EpisodeLimits
from sca_cli.errors import ExitCode, WorldError
from sca_cli.fanout import Fanout, derived_seed
from sca_cli.interfaces import Model, Sampling, Tool
from sca_cli.prompts import EXPLORE, Prompts
from sca_cli.records import EnvSpec, ErrorNote, Exploration, Message, sealed
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output

FOCUS_TOOLS = 3
"""Tools an exploration is asked to try; drawn by its seed, so that many explorations see all."""


@dataclass(frozen=True, slots=True)
class Explorer:
    """What explorations are made with."""

    envs: list[EnvSpec]
    model_name: str
    actor: Actor
    sandbox: Sandbox
    seed: int
    times: bool = False

    async def explore(self, index: int) -> Exploration:
        """Make exploration `index`: environment, world and the tools in focus follow from the index and the seed.

        Raises:
            SandboxError, MissingError, PluginError: the environment cannot be had.
        """
        env = self.envs[index % len(self.envs)]
        seed = derived_seed(self.seed, "explore", index)
        tools, policy, _ = self.sandbox.describe(env)
        focus = random.Random(seed).sample(tools, min(FOCUS_TOOLS, len(tools)))
        made = made_by("explore", model=self.model_name, seed=seed, prompt=self.actor.prompts.fingerprint(*EXPLORE))
        exploration = Exploration(env=env, seed=seed, made_by=made)
        try:
            with self.sandbox.session(env, seed) as session:
                exploration.first_observation = await asyncio.to_thread(session.first_observation)
                told = "\n\n".join(filter(None, [policy, exploration.first_observation]))
                episode = await self.actor.act(session, self._opening(told, tools, focus), tools, seed)
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


def run(count: int, explorer: Explorer, *, output: Output, fanout: Fanout, meter: Meter) -> Iterator[Done]:
    """Make `count` explorations and write them."""

    async def work(index: int) -> Done:
        exploration = await explorer.explore(index)
        return Done(str(index), [] if exploration.error else [exploration], [exploration] if exploration.error else [])

    return pump(range(count), work, identify=str, output=output, fanout=fanout, meter=meter)


def exploring_actor(model: Model, sampling: Sampling, prompts: Prompts, turns: int) -> Actor:
    """Return the actor that explores: code actions, few turns."""
    return Actor(model, sampling, EpisodeLimits(turns=turns), "code", prompts)


def command(
    env: options.Env = None,
    model: options.Model = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Explorations to make.")] = 16,
    turns: options.Turns = 2,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.8,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 192,
    prompt: options.Prompt = None,
    output: options.Output = "-",
    resume: options.Resume = False,
    rejected: options.Rejected = None,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Act in an environment without a task and record what was seen.

    \b
    Example:
      sca explore --env calculation --model transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct -n 40 > explorations.jsonl

    Each exploration is asked to try a few tools drawn by its seed, and records every call it made and what came back.
    """
    envs, model_name = required_envs(env), required_model(model)
    prompts = Prompts.from_option(prompt)
    settings = {
        "command": "explore",
        "env": [str(spec) for spec in envs],
        "model": model_name,
        "count": count,
        "turns": turns,
        "seed": seed,
        "temperature": temperature,
        "top_p": top_p,
        "max_tokens": max_tokens,
        "prompt": prompts.fingerprint(*EXPLORE),
        "times": times,
    }
    sink = Output(output, rejected=rejected, resume=resume, settings=settings)
    with (
        Fanout(concurrency or MODEL_WIDTH) as fanout,
        Sandbox(Limits()) as sandbox,
        Meter("explore", count, quiet=quiet) as meter,
        opened_model(model_name, fanout) as engine,
    ):
        for env_spec in envs:
            sandbox.describe(env_spec)  # one that does not start is told once, before any work
        actor = exploring_actor(engine, Sampling(temperature, top_p, max_tokens), prompts, turns)
        explorer = Explorer(envs, model_name, actor, sandbox, seed, times)
        calls = 0
        failed: Counter[str] = Counter()
        for done in run(count, explorer, output=sink, fanout=fanout, meter=meter):
            failed.update(record.error.message for record in done.rejected if record.error)
            for record in done.kept:
                assert isinstance(record, Exploration)
                calls += len(record.observations)
    say(
        f"sca explore: {sink.kept} explorations"
        + (f", {sink.begun_at} of them before" if sink.begun_at else f", {calls} tool calls seen")
        + (f", {failed.total()} failed" if failed else "")
        + "".join(f"\n{line}" for line in most_frequent(failed)),
        quiet=quiet,
    )
    return exit_code(sink.kept)
