"""`sca env test`: does an environment keep what every environment promises?"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import msgspec
import typer

from sca_cli import plugins, streams
from sca_cli.commands.shared import options
from sca_cli.conformance import checks
from sca_cli.errors import ExitCode
from sca_cli.records import EnvSpec, Task
from sca_cli.sandbox import Sandbox


def run(env: EnvSpec) -> Iterator[checks.CheckResult]:
    """Yield what each check finds on one variant of an environment."""
    with Sandbox(checks.LIMITS) as sandbox:
        yield from checks.examine(checks.Subject(sandbox, env, list(_tasks(env))))


def _tasks(env: EnvSpec) -> Iterator[Task]:
    path = plugins.eval_path(env)
    return (task for task in streams.read([str(path)], Task) if task.env == env) if path else iter(())


def command(
    name: options.EnvArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a JSON object for each check.", show_default=False)
    ] = False,
) -> ExitCode:
    """Test an environment against what every environment promises.

    \b
    Example:
      sca env test calculation:family=travel_itinerary

    One line a check: ok, fail or skipped, and why. Ends with 1 if any fails.
    """
    failed = False
    spec = plugins.parse_env(name)
    plugins.fail_if_unknown([spec], [])
    for variant in plugins.expand_env(spec):
        if not as_json:
            print(f"# {variant}")
        for found in run(variant):
            failed |= found.outcome == "fail"
            if as_json:
                print(msgspec.json.encode({"env": str(variant), **asdict(found)}).decode(), flush=True)
            else:
                print(f"{found.outcome:<8} {found.check:<27} {found.reason}", flush=True)
    return ExitCode.NOTHING if failed else ExitCode.OK
