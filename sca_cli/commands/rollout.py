"""`sca rollout`: attempt each task several times; the task's own check gives the reward (paper, section 2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from sca_cli import streams
from sca_cli.commands.shared import options
from sca_cli.commands.shared.acting import Acting, opened_actor
from sca_cli.commands.shared.attempts import Attempts, Results, attempt_all, worth_attempting
from sca_cli.commands.shared.grouped import grouped
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import (
    MODEL_WIDTH,
    LeftOut,
    Meter,
    exit_code,
    opened_model,
    required_inputs,
    required_model,
    written_before,
)
from sca_cli.episode.judge import Judge
from sca_cli.errors import ExitCode
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Model
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import Rollout, Task
from sca_cli.sandbox import AllowedEnvs
from sca_cli.streams import Output


@grouped
def command(
    context: typer.Context,
    *,
    inputs: options.Inputs = None,
    model: options.Model = None,
    acting: Acting,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Model that judges attempts at tasks without a check; the rollout records its name.",
            show_default=False,
            rich_help_panel=options.ATTEMPTS,
        ),
    ] = None,
    allow_env: options.AllowEnv = None,
    seed: options.Seed = 0,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Attempt each task several times; the task's own check gives the reward.

    \b
    Example:
      sca rollout tasks.jsonl -k 4 --model transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct -o rollouts.jsonl --resume

    An attempt that cannot be judged (a crashed engine, a broken environment) is `invalid` and has no reward.
    """
    model_name = required_model(model)
    judge_name = required_model(judge, "--judge") if judge else None
    paths = required_inputs(inputs, "sca rollout tasks.jsonl > rollouts.jsonl")
    prompts = Prompts.from_option(acting.prompt)
    talk = acting.talk()
    settings = options.settings_of(context, model=model_name, judge=judge_name, prompt=prompts.fingerprint(*ATTEMPT))
    allowed = AllowedEnvs(allow_env or [])
    sink = Output(output, rejected=None, resume=resume, settings=settings, inputs=paths)
    lines = streams.line_count(paths)
    results = Results("rollout")
    for rollout in written_before(sink, [output], Rollout):
        results.add(rollout)
    with (
        Fanout(concurrency or MODEL_WIDTH) as fanout,
        Sandboxes(allowed) as sandboxes,
        Meter("rollout", lines and lines * acting.attempts, quiet=quiet) as meter,
        opened_actor(model_name, fanout, acting.sampling, acting.limits, acting.actions, prompts, talk) as actor,
        _opened_judge(judge_name, model_name, actor.model, prompts, fanout) as referee,
    ):
        attempter = Attempts(
            actor, sandboxes, model_name, acting.attempts, seed, times=times, judge=referee, turns=acting.turns
        )
        left_out = LeftOut("rollout")
        tasks = worth_attempting(streams.read(paths, Task, left_out=left_out))
        for done in attempt_all(tasks, attempter, output=sink, fanout=fanout, meter=meter):
            for record in done.kept:
                if isinstance(record, Rollout):
                    results.add(record)
    results.say(quiet=quiet)
    results.say_unverified(quiet=quiet)
    code = exit_code(sink.kept, left_out)
    return ExitCode.NOTHING if results.broke() else code


@contextmanager
def _opened_judge(
    name: str | None, model_name: str, engine: Model, prompts: Prompts, fanout: Fanout
) -> Iterator[Judge | None]:
    """Context manager: load the judge; a model that both acts and judges is loaded once."""
    if name is None:
        yield None
    elif name == model_name:
        yield Judge(engine, name, prompts)
    else:
        with opened_model(name, fanout) as own:
            yield Judge(own, name, prompts)
