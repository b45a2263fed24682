"""`sca env new`: create a plugin package, complete and tested."""

import importlib.util
import re
from pathlib import Path
from typing import Annotated

import typer

import sca_cli
from sca_cli import messages, plugins
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
"""Files of the example plugin, which is the template. Its name is replaced everywhere in them."""


def template() -> Path:
    """Return the directory of the example: inside the installed package, else in the source tree."""
    installed = _PACKAGE / "template"
    return installed if installed.is_dir() else _PACKAGE.parent / "examples" / "plugin"


def run(name: str, folder: Path) -> list[Path]:
    """Write the package and return its files.

    Args:
        name: name of the environment.
        folder: directory to create; nothing is overwritten.

    Raises:
        UsageError: the name is not allowed or is taken, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UsageError(
            f"'{name}' is not a valid name for an environment", "lower-case letters and digits, joined by _"
        )
    if name in plugins.registry().environments:
        raise UsageError(f"the environment '{name}' exists already", "'sca env list' shows all")
    if importlib.util.find_spec(f"sca_{name}"):
        raise UsageError(f"the package sca_{name} exists already", "choose another name")
    if folder.exists():
        raise UsageError(f"{folder} exists already", "choose another name, or move it away")
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
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new environment.", show_default=False)],
) -> None:
    """Write a plugin package into ./NAME, complete and tested.

    \b
    Example:
      sca env new bakery

    The package holds a working example under the new name: a library's lending desk with tools, state, held-out tasks
    and tests. Install it with pip, run 'sca env test NAME', then replace its tools by your own.
    """
    for path in run(name, Path(name)):
        messages.show(str(path))
    say(f"next: pip install -e ./{name}, then sca env test {name}", quiet=False)
