"""What README.md and CONTRIBUTING.md derive from the program and the tree; run cog as CONTRIBUTING.md says.

A development tool; not part of the package.
"""

import ast
import re
from pathlib import Path

import cog

from man import roff

_WIDTH = 110
_COLUMN = 53
_TREE = {
    # path → what it is, where it does not say so itself; a directory stands for all that is under it, `*/` for each
    "{pyproject.toml,constraints.txt}": "dependencies, extras, entry points; tested versions",
    "sca_cli/{__main__,app,plugins,hookspecs,interfaces,errors}.py": "the program; what plugins implement; exit codes",
    "sca_cli/{records,lines,streams,messages,fanout}.py": "the wire format; JSONL; messages; concurrent work",
    "sca_cli/{machine,devices}.py": "the limits of this machine; torch's device",
    "sca_cli/*/": "",
    "plugins/": "the environments and models that come with `sca`",
    "examples/": "runs as scripts, experiments/RESULTS.md, the paper-scale run, a plugin",
    "man/": "the manual pages, and what fills in what is derived",
    "tests/": "run.sh runs them; benchmarks/ is run by hand",
}


def verbs() -> None:
    """Write the table of verbs."""
    cog.outl("| verb | what it does |\n|---|---|")
    for verb in roff.commands():
        cog.outl(f"| `sca {verb}` | {roff.summary(verb).rstrip('.')} |")


def tree() -> None:
    """Write the tree: a line for each directory or group of files that is one idea.

    Raises:
        ValueError: a directory does not say what it is.
    """
    cog.outl("```")
    for line in _lines():
        text = _TREE.get(line) or _says_itself(roff.ROOT / line)
        cog.outl(f"{line:<{_COLUMN}} {_shortened(text, _WIDTH - _COLUMN - 1)}")
    cog.outl("```")


def _lines() -> list[str]:
    """Return the paths of the tree."""
    lines: list[str] = []
    for path in _TREE:
        if path.endswith("/*/"):
            inside = sorted(entry.name for entry in (roff.ROOT / path[:-3]).iterdir() if entry.is_dir())
            lines += [f"{path[:-2]}{name}/" for name in inside if name[0] not in "._"]
        else:
            lines.append(path)
    return lines


def _says_itself(path: Path) -> str:
    """Return the first sentence of a package's docstring."""
    file = path / "__init__.py"
    text = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0] if file.exists() else ""
    if not text:
        raise ValueError(f"{path} does not say what it is; give it a docstring, or a text in man/readme.py")
    return re.split(r"\.(?:\s|$)", " ".join(text.split()))[0]


def _shortened(text: str, width: int) -> str:
    """Return as many whole clauses as fit."""
    while len(text) > width:
        shorter = re.sub(r"\s*(?:[:;,—]|\()[^:;,(]*$", "", text)
        text = shorter if shorter != text else text[: width - 1].rsplit(" ", 1)[0] + "…"
    return text
