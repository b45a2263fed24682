"""`sca env new`: a plugin package to begin with, complete and tested."""

import importlib.util
import re
from pathlib import Path
from typing import Annotated

import typer

import sca_cli
from sca_cli import plugins
from sca_cli.commands.shared.shell import say
from sca_cli.errors import UsageError

_PACKAGE = Path(sca_cli.__file__).parent
_FILES = (
    "README.md",
    "pyproject.toml",
    "sca_library/__init__.py",
    "sca_library/environment.py",
    "sca_library/eval.jsonl",
    "tests/test_library.py",
)
"""Of the example plugin, which is the template: its name is replaced wherever it stands."""


def template() -> Path:
    """Return the example's directory: in the package where it was installed, else in the source tree."""
    installed = _PACKAGE / "template"
    return installed if installed.is_dir() else _PACKAGE.parent / "examples" / "plugin"


def run(name: str, folder: Path) -> list[Path]:
    """Write the package and return its files.

    Args:
        name: of the environment.
        folder: to be made; nothing is overwritten.

    Raises:
        UsageError: the name cannot be one, is taken, or the folder is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UsageError(f"'{name}' is no name for an environment", "lower-case letters and digits, joined by _")
    if name in plugins.registry().environments:
        raise UsageError(f"there is an environment '{name}' already", "'sca env list' shows all")
    if importlib.util.find_spec(f"sca_{name}"):
        raise UsageError(f"'{name}' would be the package sca_{name}, which is there already", "choose another name")
    if folder.exists():
        raise UsageError(f"{folder} is there already", "name another, or move it away")
    written = []
    for file in _FILES:
        path = folder / _renamed(file, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_renamed((template() / file).read_text(), name))
        written.append(path)
    return written


def _renamed(text: str, name: str) -> str:
    return text.replace("library", name).replace("Library", "".join(part.capitalize() for part in name.split("_")))


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the environment is to be called.", show_default=False)
    ],
) -> None:
    """Write a plugin package into ./NAME, complete and tested.

    \b
    Example:
      sca env new bakery

    It is the same example under any name, a library's lending desk with tools, state, held-out tasks and tests, and
    works as it is: install it with pip, try 'sca env test NAME', then put your own tools in place of its own.
    """
    for path in run(name, Path(name)):
        print(path)
    say(f"next: pip install -e ./{name}, then sca env test {name}", quiet=False)
