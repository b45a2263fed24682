r"""What the manual pages derive from the program, as roff: `python -m cogapp -r README.md CONTRIBUTING.md man/*.[157]`.

A page says in a comment what it wants (`.\" [[[cog from man import roff; roff.options("verify") ]]]`); cog
puts it below. Options come from the live Typer app, records and interfaces from their source, exit codes from
`app.py`: nothing is written twice. A development tool; not part of the package.
"""

import ast
import importlib.util
import inspect
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import cog
import typer.main

import sca_cli
from sca_cli import app, plugins, records
from sca_cli.commands.shared import verb as verb_help
from sca_cli.commands.shared.options import PANELS
from sca_cli.errors import ExitCode

ROOT = Path(__file__).parent.parent
RELEASED = "2026-11-22"
"""The day of `sca_cli.__version__`; a page must carry a date."""


# ---------------------------------------------------------------- text


def escaped(text: str) -> str:
    """Return text that roff prints as it is: backslashes, and hyphens that must stay ASCII."""
    text = text.replace("\\", r"\e").replace("]]]", r"]]\&]")  # three of them would end what cog writes
    return text.replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")


def bold(text: str) -> str:
    """Return literal text in bold."""
    return rf"\fB{escaped(text)}\fR"


def italic(text: str) -> str:
    """Return a placeholder in italics."""
    return rf"\fI{escaped(text)}\fR"


def prose(text: str) -> list[str]:
    """Return a paragraph as filled lines; `code` is bold."""
    words = re.sub(r"`([^`]+)`", lambda match: "\0" + match[1].replace(" ", "\1") + "\0", " ".join(text.split()))
    lines = textwrap.wrap(words, 70, break_long_words=False, break_on_hyphens=False)
    return [_literal(line) for line in lines]


def _literal(line: str) -> str:
    parts = line.replace("\1", " ").split("\0")
    joined = "".join(bold(part) if index % 2 else escaped(part) for index, part in enumerate(parts))
    return rf"\&{joined}" if joined.startswith((".", r"\(aq")) else joined


def _emit(lines: Iterable[str]) -> None:
    cog.out("".join(f"{line}\n" for line in lines))


def _tagged(tag: str, body: Iterable[str]) -> Iterator[str]:
    yield from (".TP", tag, *body)


def _code(text: str) -> Iterator[str]:
    yield ".EX"
    for line in text.rstrip("\n").split("\n"):
        yield rf"\&{escaped(line)}" if line.startswith((".", "'")) else escaped(line)
    yield ".EE"


def _docstring(text: str) -> Iterator[str]:
    """Render a docstring: paragraphs, indented code, bullets, and the sections Args, Returns and Raises."""
    for place, block in enumerate(text.split("\n\n")):
        head, _, rest = block.partition("\n")
        if head in ("Args:", "Returns:", "Raises:"):
            yield from (".PP", rf"{head[:-1]}:")
            items = re.split(r"\n(?=\S)", textwrap.dedent(rest))
            for item in items:
                name, colon, meaning = item.partition(": ")
                yield from _tagged(bold(name) if colon else r"\ ", prose(meaning if colon else item))
        elif block.startswith("    "):
            yield from (".PP", ".RS 4", *_code(textwrap.dedent(block)), ".RE")
        elif block.startswith("- "):
            for item in re.split(r"\n(?=- )", block):
                yield from (r".IP \(bu 2", *prose(item[2:]))
        else:
            yield from (*([".PP"] if place else []), *prose(block))


# ---------------------------------------------------------------- commands


def commands() -> dict[str, Any]:
    """Return name → command of the live app, in the order of `sca --help`."""
    return app.every_command()


def _leaves(verb: str) -> list[tuple[str, Any]]:
    command = commands()[verb]
    inner = getattr(command, "commands", None)
    return [(f"{verb} {name}", leaf) for name, leaf in inner.items()] if inner else [(verb, command)]


def summary(verb: str) -> str:
    """Return what a verb does, in one sentence."""
    return str(commands()[verb].help).split("\n")[0].strip()


def _parameters(command: Any, kind: str) -> list[Any]:
    context = command.make_context(command.name, [], resilient_parsing=True)
    return [parameter for parameter in command.get_params(context) if parameter.param_type_name == kind]


def title(name: str, section: int) -> None:
    """Write the title line of a page; text is neither hyphenated nor spread to the right margin."""
    _emit(
        [
            f'.TH {name.upper()} {section} {RELEASED} "sca {sca_cli.__version__}" "sca manual"',
            ".nr HY 0",
            ".nh",
            ".ad l",
        ]
    )


def head(verb: str) -> None:
    """Write title, NAME and SYNOPSIS of a verb's page."""
    title(f"sca-{verb}", 1)
    what = summary(verb).rstrip(".")
    _emit([".SH NAME", rf"sca\-{verb} \- {escaped(what[:1].lower() + what[1:])}", ".SH SYNOPSIS"])
    for place, (name, command) in enumerate(_leaves(verb)):
        parts = [bold(f"sca {name}")]
        options = _parameters(command, "option")
        parts += [f"{bold(o.opts[0])} {italic(_value(o))}" for o in options if o.required]
        parts += ["[" + italic("options") + "]"] if len(options) > 1 else []
        parts += [italic(argument.metavar or argument.name) for argument in _parameters(command, "argument")]
        _emit([*([".br"] if place else []), " ".join(parts)])


def options(verb: str) -> None:
    """Write the arguments and options of a verb."""
    leaves = _leaves(verb)
    for name, command in leaves:
        if len(leaves) > 1:
            _emit([f'.SS "sca {name}"', *prose(str(command.help).split("\n")[0])])
        for heading, parameters in _by_panel(command).items():
            if heading and len(leaves) == 1:
                _emit([f'.SS "{heading}"'])
            for parameter in parameters:
                _emit(_option(parameter) if parameter.param_type_name == "option" else _argument(parameter))


def _by_panel(command: Any) -> dict[str, list[Any]]:
    """Return panel → arguments and options, in the order of the help; one panel "" for commands without panels."""
    parameters = _parameters(command, "argument") + _parameters(command, "option")
    if not isinstance(command, verb_help.Verb):
        return {"": parameters}
    panels: dict[str, list[Any]] = {panel: [] for panel in PANELS}
    for parameter in parameters:
        panels[verb_help.panel_of(parameter)].append(parameter)
    return {panel: members for panel, members in panels.items() if members}


def _argument(argument: Any) -> Iterator[str]:
    return _tagged(italic(argument.metavar or argument.name), prose(argument.help or ""))


def root_options() -> None:
    """Write the options of `sca` itself."""
    group: Any = typer.main.get_command(app.app)
    for option in _parameters(group, "option"):
        _emit(_option(option))


def _option(option: Any) -> Iterator[str]:
    names = ", ".join(bold(name) for name in sorted(option.opts, key=len))
    value = _value(option)
    return _tagged(f"{names} {italic(value)}" if value else names, prose(_help_with_notes(option)))


def _record(option: Any) -> tuple[str, str]:
    context = typer.main.get_command(app.app).make_context("sca", [], resilient_parsing=True)
    option.hidden = False  # the manual shows all
    shown, text = option.get_help_record(context)
    return str(shown), str(text)


def _value(option: Any) -> str:
    """Return the placeholder of an option's value, or "" for a switch."""
    shown = re.sub(r"^(-\S+, )*--\S+ ?", "", _record(option)[0])
    return {"<int>": "N", "<int range>": "N", "<float>": "X", "<float range>": "X", "<str>": "TEXT"}.get(
        shown, shown.strip("<>")
    )


def _help_with_notes(option: Any) -> str:
    """Return the help text with what Typer appends in brackets as sentences."""
    text, _, notes = _record(option)[1].rstrip("]").partition("  [")
    for note in filter(None, re.split(r"; (?![^(]*\))", notes)):  # not inside the brackets of a default
        key, _, value = note.partition(": ")
        if key == "env var":
            text += f" The default is taken from the environment variable `{value}`."
        elif key == "default":
            text += f" Default: {value[1:-1]}." if value.startswith("(") else f" Default: `{value}`."
        elif key == "required":
            text += " Required."
        else:
            text += f" {_range(note)}."
    return text


def _range(note: str) -> str:
    """Return `x>=1` or `0.0<=x<=1.0` in words."""
    low, high = re.search(r"x>=(\S+)|(\S+)<=x", note), re.search(r"x<=(\S+)", note)
    if not low:
        return f"At most {high[1]}" if high else note
    least = low[1] or low[2]
    return f"From {least} to {high[1]}" if high else f"At least {least}"


def example(verb: str) -> None:
    """Write the example that a verb's help leads with."""
    for _, command in _leaves(verb):
        for text in re.findall(r"Example:\n((?:  .*\n?)+)", str(command.help)):
            _emit(_code(textwrap.dedent(text)))


def verbs() -> None:
    """Write the list of verbs with what each does."""
    for verb in commands():
        _emit(_tagged(rf"\fBsca\-{verb}\fR(1)", prose(summary(verb))))


def exit_codes() -> dict[int, str]:
    """Return code → meaning, from the module docstring of `app.py`.

    Raises:
        ValueError: the docstring and `ExitCode` name different codes.
    """
    (_, told) = re.split(r"Exit codes:", str(app.__doc__), maxsplit=1)
    table = {int(code): meaning for code, meaning in re.findall(r"(\d+) ([^·.]+?)(?= ·|\.)", " ".join(told.split()))}
    if set(table) != {int(code) for code in ExitCode}:
        raise ValueError(f"app.py tells of the exit codes {sorted(table)}, errors.py has {sorted(ExitCode)}")
    return table


def exit_table() -> None:
    """Write the table of exit codes, the same in every page."""
    _emit([".SH EXIT STATUS"])
    for code, meaning in exit_codes().items():
        _emit(_tagged(bold(str(code)), prose(meaning[:1].upper() + meaning[1:] + ".")))


def see_also(*pages: str) -> None:
    """Write SEE ALSO: the pages given, then those every page refers to; not the page itself."""
    named = dict.fromkeys([*pages, "sca(1)", "sca-records(5)", "sca-plugins(7)"])
    named.pop("{}({})".format(*Path(cog.inFile).name.split(".")), None)
    marked = [re.sub(r"^(.*)(\(\d\))$", lambda match: bold(match[1]) + match[2], page) for page in named]
    _emit([".SH SEE ALSO", *(f"{page}," for page in marked[:-1]), marked[-1]])


# ---------------------------------------------------------------- source: records, interfaces, hooks


def _body(module: str) -> list[ast.stmt]:
    return ast.parse(inspect.getsource(import_module(module))).body


def _class(module: str, name: str) -> ast.ClassDef:
    return next(node for node in _body(module) if isinstance(node, ast.ClassDef) and node.name == name)


def _documented(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each statement with the docstring under it, or ""."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        docstring = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            docstring = inspect.cleandoc(str(after.value.value))
        yield node, docstring


_JSON_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "JSON": "any JSON value",
    "None": "null",
}


def _type(node: ast.expr) -> str:
    """Return an annotation in JSON's words."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _type(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp):
        return f"{_type(node.left)} or {_type(node.right)}"
    if isinstance(node, ast.Subscript):
        outer, inner = ast.unparse(node.value), node.slice
        if outer == "Literal":
            values = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return " or ".join(f'"{ast.literal_eval(value)}"' for value in values)
        if outer == "dict" and isinstance(inner, ast.Tuple):
            return f"object of {_type(inner.elts[1])}"
        if outer == "Annotated" and isinstance(inner, ast.Tuple):  # its bounds are checked when a record is read
            return _type(inner.elts[0])
        return f"array of {_type(inner)}"
    name = ast.unparse(node)
    return _JSON_NAMES.get(name, name)


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for item, told in _documented(node.body):
        if not isinstance(item, ast.AnnAssign):
            continue
        default = "required" if item.value is None else _default(item.value)
        kind = escaped(_type(item.annotation) + (f"; {default}" if default else ""))
        yield from _tagged(rf"{bold(ast.unparse(item.target))} ({kind})", prose(told))


def _default(node: ast.expr) -> str:
    """Return a default that is worth a mention: not an empty or absent one."""
    if isinstance(node, ast.Constant) and node.value not in (None, "", 0, False):
        return f"default {node.value!s}"
    return ""


def record_kinds() -> None:
    """Write every record kind with its fields, after the fields all of them have."""
    common = _class(records.__name__, "Record")
    _emit(['.SS "Every record"', *prose("All kinds have these fields."), *_fields(common)])
    for kind, cls in records.KINDS.items():
        _emit([f'.SS "kind {kind}"', *prose(str(cls.__doc__)), *_fields(_class(records.__name__, cls.__name__))])


def record_parts() -> None:
    """Write the pieces that records are made of, and the named types."""
    for node, told in _documented(_body(records.__name__)):
        if isinstance(node, ast.TypeAlias) and told:
            values = f"{_type(node.value)}. " if isinstance(node.value, ast.Subscript) else ""
            _emit([f".SS {node.name.id}", *prose(values + told)])
        if (
            isinstance(node, ast.ClassDef)
            and [ast.unparse(base) for base in node.bases] == ["_Part"]
            and node.name != "Record"
        ):
            _emit([f".SS {node.name}", *prose(ast.get_docstring(node) or ""), *_fields(node)])


def interface(name: str) -> None:
    """Write a class of `interfaces.py`: its docstring, its fields and its methods."""
    node = _class("sca_cli.interfaces", name)
    _emit([f".SS {name}", *_docstring(ast.get_docstring(node) or "")])
    for item, told in _documented(node.body):
        if isinstance(item, ast.AnnAssign):
            kind = escaped(ast.unparse(item.annotation).strip("'"))
            _emit(_tagged(f"{bold(ast.unparse(item.target))} ({kind})", prose(told)))
        elif isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            _emit(_tagged(bold(_signature(item)), []))
            _emit([".RS", *_docstring(ast.get_docstring(item) or ""), ".RE"])


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    arguments = re.sub(r"^self, |^cls, |^self$|^cls$", "", ast.unparse(node.args))
    awaited = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    # types that are written as strings are shown without their quotes
    return re.sub(r"(?<=[:>] )'([^']+)'", r"\1", f"{awaited}{node.name}({arguments}){returns}")


def hooks() -> None:
    """Write every hook, and what registration takes."""
    for node in _body("sca_cli.hookspecs"):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("sca_"):
            _emit(_tagged(bold(_signature(node)), []))
            _emit([".RS", *_docstring(ast.get_docstring(node) or ""), ".RE"])
    call = next(node for node in _class("sca_cli.hookspecs", "Register").body if isinstance(node, ast.FunctionDef))
    _emit(_tagged(bold(_signature(call).replace("__call__", "register")), []))
    _emit([".RS", *_docstring(ast.get_docstring(call) or ""), ".RE"])


def shipped(kind: str) -> None:
    """Write what comes with `sca`: `environments` or `models`, each with its options.

    Only the sources are read: a plugin's class is documented whether or not what it needs is installed.
    """
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["sca"]
    for entry in getattr(plugins.registry(), kind).values():
        if entry.plugin in ours:
            need = f" Needs `pip install 'sca-cli[{entry.extra}]'`." if entry.extra else ""
            _emit(_tagged(bold(entry.name), prose(f"{entry.help[:1].upper()}{entry.help[1:]}.{need}")))
            options_told = list(_options_of(entry.target))
            _emit([".RS", *options_told, ".RE"] if options_told else [])


def _options_of(target: str) -> Iterator[str]:
    module, _, name = target.partition(":")
    spec = importlib.util.find_spec(module)
    body = ast.parse(Path(str(spec.origin if spec else "")).read_text()).body
    factory = next(node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name)
    made = [node for node in factory.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    for node in (factory, *made):
        for block in (ast.get_docstring(node) or "").split("\n\n"):
            if block.startswith("Args:"):
                items = re.split(r"\n(?=\S)", textwrap.dedent(block.partition("\n")[2]))
                for key, _, meaning in (item.partition(": ") for item in items):
                    if key != "name":
                        yield from _tagged(bold(key + "="), prose(meaning))


def names() -> None:
    """Write the names that a plugin may import from `sca_cli`."""
    _emit(prose(", ".join(f"`{name}`" for name in sca_cli.__all__) + "."))


def module_text(module: str) -> None:
    """Write the docstring of a module."""
    _emit(_docstring(str(import_module(module).__doc__).strip()))


def listing(path: str) -> None:
    """Write a file of the repository without changes."""
    _emit(_code((ROOT / path).read_text()))
