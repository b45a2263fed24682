"""What README.md derives from the program and the tree: `python -m cogapp -r README.md man/*.[157]`.

A development tool; not part of the package.
"""

import ast
import re
from pathlib import Path

import cog

from man import roff

_WIDTH = 110
_TREE = {
    # path → what it is, where it does not say so itself; a directory stands for all that is under it
    "pyproject.toml": "one distribution: dependencies, extras, entry points, settings of the tools",
    "constraints.txt": "the versions everything was tested with",
    "sca_cli/*": "",
    "plugins/": "the environments and models that come with `sca`, each a package of its own",
    "examples/*": "",
    "examples/scripted.jsonl": "replies of the `scripted` model for the transcript above",
    "examples/experiments/": "RESULTS.md: what was measured, with commands, seeds and dates",
    "examples/plugin/": "an environment plugin in a package of its own: what `sca env new library` writes",
    "man/": "the manual pages, and what fills their options and records in",
    "tests/": "run.sh runs unit/, cli/ and pipelines/ (real processes); benchmarks/ is run by hand",
}


def verbs() -> None:
    """Write the table of verbs."""
    cog.outl("| verb | what it does |\n|---|---|")
    for verb in roff.commands():
        cog.outl(f"| `sca {verb}` | {roff.summary(verb).rstrip('.')} |")


def tree() -> None:
    """Write the tree: a line for each file, or for each directory that is one idea.

    Raises:
        ValueError: a file or directory does not say what it is.
    """
    cog.outl("```")
    for line in _lines():
        text = _TREE.get(line) or _says_itself(roff.ROOT / line)
        cog.outl(f"{line:<25} {_shortened(text, _WIDTH - 26)}")
    cog.outl("```")


def _lines() -> list[str]:
    """Return the paths of the tree, a directory's files before its subdirectories."""
    lines: dict[str, None] = {}
    for path in _TREE:
        if path.endswith("/*"):
            inside = [entry for entry in (roff.ROOT / path[:-2]).iterdir() if entry.name[0] not in "._"]
            for entry in sorted(inside, key=lambda entry: (entry.is_dir(), entry.name)):
                lines[f"{path[:-2]}/{entry.name}{'/' if entry.is_dir() else ''}"] = None
        else:
            lines[path] = None
    return list(lines)


def _says_itself(path: Path) -> str:
    """Return the first sentence of a module's or package's docstring, or of a script's first comment."""
    file = path / "__init__.py" if path.is_dir() else path
    text = ""
    if file.suffix == ".py" and file.exists():
        text = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0]
    elif file.suffix == ".sh":
        text = next((row[2:] for row in file.read_text().splitlines() if row.startswith("# ")), "")
    if not text:
        raise ValueError(f"{path} does not say what it is; give it a docstring, or a text in man/readme.py")
    return re.split(r"\.(?:\s|$)", " ".join(text.split()))[0]


def _shortened(text: str, width: int) -> str:
    """Return as many whole clauses as fit."""
    while len(text) > width:
        shorter = re.sub(r"\s*(?:[:;,—]|\()[^:;,(]*$", "", text)
        text = shorter if shorter != text else text[: width - 1].rsplit(" ", 1)[0] + "…"
    return text
