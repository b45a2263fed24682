"""The command class of every verb: help in panels, `--help-all`, `--config FILE`, and names that were replaced.

Each option names its panel where it is defined (`rich_help_panel`); the panels are drawn here, without rich, because
`--help` must be fast. `--help` leaves out the options in `SELDOM`; `--help-all` and the manual page show all.
"""

import difflib
import re
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from sca_cli import messages, plugins
from sca_cli.commands.shared.options import PANELS, RUN, option_name
from sca_cli.errors import MissingError, UsageError

SELDOM: dict[str, str] = {
    "": "top_p max_tokens prompt concurrency times user_turns user_temperature user_max_tokens direct "
    "observation_chars tool_names cover cpu_seconds memory_mb output_bytes reply_bytes tool_calls kl balance "
    "keep_solved control like max_length max_per_task device dtype threads allow_eval trust_remote_code band promote "
    "replay mix trainer report_to validate lora_rank",
    "verify": "turns temperature sense",
    "train": "actions turns user_model temperature allow_env",
    "distill": "actions turns user_model temperature allow_env",
    "eval": "actions allow_env published",
}
"""Verb → parameters that its `--help` leaves out; those under "" are left out by all verbs."""

REPLACED: dict[str, dict[str, str]] = {
    "": {"--samples": "--attempts"},
    "verify": {
        f"--{prefix}{stage}": f"--skip {stage}" if prefix else f"the default; --skip {stage} leaves the stage out"
        for stage in (
            "no-op",
            "random",
            "wrong",
            "deterministic",
            "tools",
            "conditions",
            "leak",
            "literals",
            "duplicate",
        )
        for prefix in ("", "no-")
    },
    "eval": {"--gold": "'sca suite gold NAME'", "--export": "'sca suite export NAME -o FILE'"},
}
"""Verb → option of an earlier version → what replaced it; those under "" belong to all verbs."""

_PLACEHOLDERS = {"int": "N", "float": "X", "str": "TEXT"}
_HELP_ALL, _CONFIG = "sca.help_all", "sca.config"


class Verb(TyperCommand):
    """A verb of `sca`."""

    def __init__(self, name: str | None, *, params: Sequence[Any] | None = None, **attributes: Any) -> None:
        super().__init__(name, params=[*(params or []), *_common_parameters()], **attributes)
        for parameter in self.params:
            if parameter.envvar == "SCA_ENV":
                parameter.split_envvar_value = split_envs  # type: ignore[assignment]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse a command line; an option that was replaced is an error that names the new one."""
        try:
            return super().parse_args(ctx, args)
        except TyperException as error:
            old = getattr(error, "option_name", "")
            if replacement := _of_verb(REPLACED, self.name).get(old):
                raise UsageError(f"{old} is now {replacement}") from error
            parameter = getattr(error, "param", None)
            source = ctx.get_parameter_source(parameter.name) if parameter else None
            if source is not None and source.name == "DEFAULT_MAP":
                error.message = f"{error.message.rstrip('.')} (in {ctx.meta[_CONFIG]})"
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a table for each panel, and how many options are left out."""
        seldom = set() if _HELP_ALL in ctx.meta else {*SELDOM[""].split(), *SELDOM.get(self.name or "", "").split()}
        rows: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        left_out = 0
        for parameter in self.get_params(ctx):
            if parameter.name in seldom:
                left_out += 1
            elif record := parameter.get_help_record(ctx):
                rows.setdefault(panel_of(parameter), []).append((term_of(parameter, record[0]), record[1]))
        for panel, records in rows.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)
        if left_out:
            formatter.write(f"\n{left_out} more options: '{ctx.command_path} --help-all'\n")


def split_envs(text: str) -> list[str]:
    """Split the value of SCA_ENV before each registered name, not at every blank: `mcp:` options may contain blanks."""
    names = "|".join(map(re.escape, plugins.registry().environments))
    return re.split(rf"\s+(?=(?:{names})(?::|\s|$))", text.strip())


def panel_of(parameter: Any) -> str:
    """Return the heading under which help and the manual list a parameter."""
    return str(getattr(parameter, "rich_help_panel", None) or RUN)


def term_of(parameter: Any, shown: str) -> str:
    """Return the left column of a table: names and placeholder, with N for an integer and X for a number."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or shown)
    return re.sub(r"<(int|float|str)( range)?>", lambda match: _PLACEHOLDERS[match[1]], shown)


def _of_verb(table: dict[str, dict[str, str]], verb: str | None) -> dict[str, str]:
    return table[""] | table.get(verb or "", {})


# ---------------------------------------------------------------- --config and --help-all


def _read_config(context: typer.Context, path: str | None) -> None:
    if path and not context.resilient_parsing:
        context.meta[_CONFIG] = path
        context.default_map = _values(context, path)


def _show_all(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        context.meta[_HELP_ALL] = True
        messages.show(context.get_help())
        raise typer.Exit


def _common(
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            envvar="SCA_CONFIG",
            help="Read option values from a TOML file: one table for each verb, one key for each option.",
            callback=_read_config,
            is_eager=True,
            expose_value=False,
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    help_all: Annotated[
        bool,
        typer.Option(
            "--help-all",
            help="Show all options and exit.",
            callback=_show_all,
            is_eager=True,
            expose_value=False,
            show_default=False,
            rich_help_panel=RUN,
            hidden=True,
        ),
    ] = False,
) -> None:
    """Declare the options that every verb has."""


def _common_parameters() -> list[Any]:
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    holder.command()(_common)
    return list(typer.main.get_command(holder).params)


def _values(context: typer.Context, path: str) -> dict[str, Any]:
    """Return parameter → value for the verb of a context, from a configuration file.

    Raises:
        MissingError: the file cannot be read.
        UsageError: it is not TOML, or it names a verb or an option that does not exist.
    """
    try:
        tables = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise MissingError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    table, verb = _table_of(context, tables, path)
    options = {option_name(parameter): parameter for parameter in context.command.params if _configurable(parameter)}
    return {
        options[key].name: _checked(options[key], value, f"{path}: [{verb}] {key}")
        for key, value in table.items()
        if _is_option(key, options, path, verb)
    }


def _table_of(context: typer.Context, tables: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the table of a verb and its name: `[verify]`, or `[suite.gold]` for a verb of a group."""
    contexts: list[Any] = [context]
    while contexts[0].parent:
        contexts.insert(0, contexts[0].parent)
    for group, inner in pairwise(contexts):
        known = group.command.list_commands(group)
        for name, table in tables.items():
            if name not in known:
                raise UsageError(
                    f"{path}: there is no verb '{name}'", _nearest(name, known) or "a table is named for a verb"
                )
            if not isinstance(table, dict):
                raise UsageError(f"{path}: '{name}' is not a table", f"write [{name}], and below it one option a line")
        tables = tables.get(str(inner.info_name), {})
    return tables, ".".join(str(each.info_name) for each in contexts[1:])


def _configurable(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option" and parameter.expose_value)


def _is_option(key: str, options: dict[str, Any], path: str, verb: str) -> bool:
    if key in options:
        return True
    if replacement := _of_verb(REPLACED, verb).get(f"--{key}"):
        raise UsageError(f"{path}: [{verb}] {key} is now {replacement}")
    raise UsageError(f"{path}: '{verb}' has no option '{key}'", _nearest(key, list(options)))


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else ""


def _checked(option: Any, value: Any, where: str) -> Any:
    """Return a value of the type that the option takes; numbers are passed as text, which Typer parses and checks."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{where}: not true or false")
        return value
    if option.multiple or option.nargs != 1:
        values = value if isinstance(value, list) else [value]
        return [_text(each, where) for each in values]
    return _text(value, where)


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"{where}: neither text nor a number")
    return str(value)
