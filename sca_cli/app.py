"""The program `sca`: load the verbs, run one, and turn errors into exit codes (only this module does).

Exit codes: 0 ok · 1 ran but produced nothing · 2 usage · 3 bad record · 4 something needed is missing · 5 a bug ·
130 Ctrl-C. A closed pipe (`| head -1`) is success.
"""

import importlib
import os
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import sca_cli
from sca_cli import machine, messages, plugins
from sca_cli.errors import ExitCode, ScaError

VERBS = {
    "explore": "Call an environment's tools without a task and record the results.",
    "challenge": "Write candidate tasks: instruction, check, solution and three failure cases.",
    "verify": "Run each task's programs in a jail and keep the tasks that pass every stage.",
    "rollout": "Attempt each task several times; the task's own check gives the reward.",
    "train": "Train a model on its own rollouts, on solutions, or by reinforcement learning on tasks.",
    "distill": "Fine-tune a student on a teacher's rollouts.",
    "eval": "Measure a model on held-out tasks: Pass@k, pass^k, 95 % intervals, the no-op baseline.",
    "suite": "List external benchmarks, run their reference solutions, export their tasks.",
    "report": "Show the results of a run as one HTML page: funnel, scores, curves, coverage, cost, tasks.",
    "export": "Write tasks or rollouts in the format of another system.",
    "plugins": "List the environments, models and export formats of the installed plugins.",
    "env": "List, show, test, create and serve environments.",
    "doctor": "Prove that the jail works on this machine, layer by layer.",
}
"""Verb → first line of its help. `sca --help` reads it from here, so that it does not import every verb."""


class _Verbs(TyperGroup):
    """Import `sca_cli.commands.VERB` only when VERB is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*VERBS, *(name for name in super().list_commands(ctx) if name not in VERBS)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in VERBS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        names = self.list_commands(ctx)
        rows = [(name, VERBS.get(name) or self.get_command(ctx, name).get_short_help_str(80)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _load(verb: str) -> Any:
    from sca_cli.commands.shared.verb import Verb  # late: `sca --help` needs no options

    module = importlib.import_module(f"sca_cli.commands.{verb}")
    if isinstance(getattr(module, "app", None), typer.Typer):
        return typer.main.get_group(module.app)
    single_command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single_command.command(verb, cls=Verb)(module.command)
    return typer.main.get_command(single_command)


app = typer.Typer(
    name="sca",
    cls=_Verbs,
    help="Turn any tool environment into verified training tasks and then into a better agent.\n\n"
    "\b\nExample:\n  sca challenge --env calculation -n 200 | sca verify | sca train --save runs/trained\n\n"
    "Records (JSONL) go to stdout; progress and messages go to stderr. Read 'man sca' and 'sca VERB --help' for more.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"sca {sca_cli.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def every_command() -> dict[str, Any]:
    """Import every verb and return verb → command. The manual and its tests use this."""
    group: Any = typer.main.get_command(app)
    return {name: group.get_command(None, name) for name in group.list_commands(None)}


def main() -> None:
    """Run `sca` with the arguments of this process, and exit."""
    machine.prepare()
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)  # None: it was closed
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        limit = machine.limit_reached(error)
        _drop_stdout()
        _print_error("sca", limit.message if limit else f"cannot write stdout: {error.strerror}", "")
        code = ExitCode.MISSING
    with suppress(OSError):
        sys.stderr.flush()
    sys.exit(code)


def _drop_stdout() -> None:
    """Let the interpreter's last flush succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line, print its errors to stderr, and return its exit code."""
    verb = next((word for word in (arguments or sys.argv[1:]) if not word.startswith("-")), "")
    name = f"sca {verb}".strip()
    try:
        plugins.add_commands(app)
        code = int(app(arguments, prog_name="sca", standalone_mode=False) or ExitCode.OK)
        if code == ExitCode.INTERRUPTED:  # Typer turns Ctrl-C into this exit code
            raise KeyboardInterrupt
        return code
    except SystemExit as exit_request:
        # Typer exits with 1 on a closed pipe. For `sca` a closed pipe is success.
        if not isinstance(exit_request.__context__, BrokenPipeError):
            raise
        _drop_stdout()
        return ExitCode.OK
    except ScaError as error:
        _print_error(name, error.message, error.hint)
        return error.exit_code
    except TyperException as error:
        _print_usage_error(error)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        _print_error(
            name,
            "interrupted; all lines written so far are complete",
            "continue with the same command and --resume, if the verb has it",
        )
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last boundary: any other exception is a bug in sca
        if limit := machine.limit_reached(error):
            _print_error(name, limit.message, limit.hint)
            return limit.exit_code
        messages.write(traceback.format_exc().rstrip())
        _print_error(
            name,
            f"internal error: {type(error).__name__}: {error}",
            "this is a bug in sca; the traceback above shows where",
        )
        return ExitCode.BUG


def _print_usage_error(error: TyperException) -> None:
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context else "sca"
    message = error.format_message()
    if context and message == context.get_help():  # `sca` or `sca env` without a verb
        messages.write(message)
    else:
        _print_error(command, message[:1].lower() + message[1:].rstrip("."), f"see '{command} --help'")


def _print_error(name: str, message: str, hint: str) -> None:
    messages.write(f"{name}: {message}")
    if hint:
        messages.write(f"hint: {hint}")


if __name__ == "__main__":
    main()
