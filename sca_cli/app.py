"""The program `sca`: mounts the verbs, and is the one place where errors become exit codes.

Exit codes: 0 ok · 1 ran but produced nothing · 2 usage · 3 bad record · 4 something needed is missing · 5 a bug ·
130 Ctrl-C. A closed pipe (`| head -1`) is success.
"""

import os
import sys
import traceback
from typing import Annotated

import typer
from typer.exceptions import TyperException

import sca_cli
from sca_cli import plugins
from sca_cli.commands import challenge, distill, env, explore, plugins_list, rollout, train, verify
from sca_cli.commands import eval as evaluate
from sca_cli.errors import ExitCode, ScaError

app = typer.Typer(
    name="sca",
    help="Turn any tool environment into verified training tasks and then into a better agent.\n\n"
    "\b\nExample:\n  sca challenge --env calculation -n 200 | sca verify | sca train --save runs/trained\n\n"
    "Records are JSONL: data on stdout, everything for people on stderr. 'man sca' and 'sca VERB --help' say more.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command("explore")(explore.command)
app.command("challenge")(challenge.command)
app.command("verify")(verify.command)
app.command("rollout")(rollout.command)
app.command("train")(train.command)
app.command("distill")(distill.command)
app.command("eval")(evaluate.command)
app.command("plugins")(plugins_list.command)
app.add_typer(env.app, name="env")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"sca {sca_cli.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run `sca` with the arguments of this process, and exit."""
    code = run()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code; what went wrong is told on stderr."""
    verb = next((word for word in (arguments or sys.argv[1:]) if not word.startswith("-")), "")
    name = f"sca {verb}".strip()
    try:
        plugins.add_commands(app)
        return int(app(arguments, prog_name="sca", standalone_mode=False) or ExitCode.OK)
    except SystemExit as leaving:
        # Typer leaves with 1 on a closed pipe; to us it is success
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitCode.OK
    except ScaError as error:
        _tell(name, error.message, error.hint)
        return error.exit_code
    except TyperException as error:
        _tell_usage(error)
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last boundary: whatever it is, it is a bug of ours
        traceback.print_exc()
        _tell(name, f"internal error: {type(error).__name__}: {error}", "this is a bug; the lines above say where")
        return ExitCode.BUG


def _tell_usage(error: TyperException) -> None:
    context: typer.Context | None = getattr(error, "ctx", None)
    command = context.command_path if context else "sca"
    message = error.format_message()
    if context and message == context.get_help():  # a bare `sca` or `sca env`
        print(message, file=sys.stderr)
    else:
        _tell(command, message[:1].lower() + message[1:].rstrip("."), f"'{command} --help' shows how")


def _tell(name: str, message: str, hint: str) -> None:
    print(f"{name}: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)


if __name__ == "__main__":
    main()
