"""`sca env test`: test an environment against the contract of all environments."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Annotated

import msgspec
import typer

from sca_cli import messages, plugins, streams
from sca_cli.commands.shared import options
from sca_cli.conformance import checks
from sca_cli.errors import ExitCode
from sca_cli.records import EnvSpec, Task
from sca_cli.sandbox import Sandbox


def run(env: EnvSpec, memory_mb: int = 512) -> Iterator[checks.CheckResult]:
    """Yield the result of each check on one variant of an environment."""
    with Sandbox(replace(checks.LIMITS, memory_mb=memory_mb)) as sandbox:
        yield from checks.examine(checks.Subject(sandbox, env, list(_tasks(env))))


def _tasks(env: EnvSpec) -> Iterator[Task]:
    path = plugins.eval_path(env)
    return (task for task in streams.read([str(path)], Task) if task.env == env) if path else iter(())


def command(
    name: options.EnvArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON object for each check.", show_default=False)
    ] = False,
    memory_mb: options.WorldMemoryMb = 512,
) -> ExitCode:
    """Test an environment against the contract of all environments.

    \b
    Example:
      sca env test calculation:family=travel_itinerary

    Each line holds one check: ok, note, fail or skipped, and the reason. The exit code is 1 if a check fails.
    """
    failed = False
    spec = plugins.parse_env(name)
    plugins.fail_if_unknown([spec], [])
    for variant in plugins.expand_env(spec):
        if not as_json:
            messages.show(f"# {variant}")
        for result in run(variant, memory_mb):
            failed |= result.outcome == "fail"
            if as_json:
                print(msgspec.json.encode({"env": str(variant), **asdict(result)}).decode(), flush=True)
            else:
                messages.show(f"{result.outcome:<8} {result.check:<27} {result.reason}")
    return ExitCode.NOTHING if failed else ExitCode.OK
