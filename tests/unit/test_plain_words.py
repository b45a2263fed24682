"""The texts that people read avoid idioms. The reader is an engineer whose English is a second language.

Checked are docstrings, the docstrings under fields and constants, help texts, the hand-written parts of manual pages,
and Markdown.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PLAIN = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "examples",
    "examples/experiments/README.md",
    "examples/experiments/RESULTS.md",
    "man",
    "man/sca-challenge.1",
    "man/sca-distill.1",
    "man/sca-eval.1",
    "man/sca-explore.1",
    "man/sca-rollout.1",
    "man/sca-train.1",
    "man/sca-verify.1",
    "man/sca-suite.1",
    "man/sca-doctor.1",
    "man/sca-env.1",
    "man/sca-plugins.1",
    "man/sca-plugins.7",
    "man/sca-records.5",
    "man/sca-report.1",
    "man/sca.1",
    "sca_cli/analysis",
    "sca_cli/conformance",
    "sca_cli/doctor",
    "sca_cli/episode",
    "sca_cli/evaluation",
    "sca_cli/methods",
    "sca_cli/prompts",
    "sca_cli/report",
    "sca_cli/sandbox",
    "sca_cli/toolkit",
    "sca_cli/training",
    "sca_cli/commands",
    "sca_cli/verification",
    "sca_cli/walk",
    "plugins",
    "tests",
    *(path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("sca_cli/*.py"))),
)
"""Files without idioms, and folders whose Python files have none."""

IDIOMS = {
    "nobody, whoever": r"\b(nobody|somebody|everybody|whoever|whosoever)\b",
    "told": r"\b(told|telling)\b",
    "comes to": r"\b(comes?|came) (to (?!life)|of it\b|of that\b|out of\b)",
    "stands in": r"\b(stands?|stood|standing) (in|at|beside|where|for|out|under|on|there|still|as)\b",
    "as it stands": r"\bas (it|they) stands?\b",
    "goes on": r"\b(go|goes|going|gone|went) on\b",
    "falls": r"\b(falls|fell|fallen)\b",
    "so many": r"\b[Ss]o many\b(?! that)",
    "give back": r"\b(gives?|gave|given) back\b",
    "put in place": r"\bputs? in place\b",
    "is had": r"\b(is|are|be) had\b",
    "for nothing": r"\bfor nothing\b",
    "alike": r"\balike\b",
    "turned down": r"\bturned down\b",
    "what is … is": r"(^|\. )What (is|was|they|it) [^.?]* (is|are|was)\b(?![^.]*\?)",
}
"""Idiom → pattern of it."""

ALLOWED: dict[str, tuple[str, ...]] = {
    # the description of a tool: models read it, and a change would change their replies
    "plugins/sca_web_browsing/environment.py": ('as it stands in a link: for [About the town](/about) it is "/about".',)
}
"""File → texts in it that a pattern matches and that must stay."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of everything in a file that people read as prose."""
    source = path.read_text()
    if path.suffix == ".py":
        yield from _python_texts(ast.parse(source))
    elif path.suffix == ".md":
        yield from _prose_lines(source, begin=r"```|<!-- \[\[\[cog", end=r"```$|<!-- \[\[\[end")
    else:
        yield from _prose_lines(source, begin=r"\.EX|\.\\\" \[\[\[cog", end=r"\.EE|\.\\\" \[\[\[end")


def _python_texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
        elif isinstance(node, ast.keyword) and node.arg == "help" and isinstance(node.value, ast.Constant):
            yield node.value.lineno, str(node.value.value)


def _prose_lines(source: str, *, begin: str, end: str) -> Iterator[tuple[int, str]]:
    """Yield paragraphs, without the blocks between two patterns: examples, and what cog derives from sources."""
    skipping, start, paragraph = False, 1, ""
    for number, line in enumerate([*source.splitlines(), ""], 1):
        if skipping:
            skipping = not re.match(end, line)
        elif re.match(begin, line) or not line or line.startswith("."):
            skipping = bool(re.match(begin, line))
            if paragraph:
                yield start, paragraph
            paragraph = ""
        else:
            start = start if paragraph else number
            paragraph = f"{paragraph} {line}".strip()


def files(name: str) -> list[Path]:
    """Return the file of that name, or the Python files of the folder."""
    path = ROOT / name
    python = [each for each in sorted(path.rglob("*.py")) if "fixtures" not in each.parts]
    return python if path.is_dir() else [path]


def found(text: str) -> list[str]:
    """Return the idioms in a text; names in backticks do not count."""
    flat = re.sub(r"`[^`]*`", "`…`", " ".join(text.split()))
    return [idiom for idiom, pattern in IDIOMS.items() if re.search(pattern, flat)]


@pytest.mark.parametrize("name", PLAIN)
def test_texts_are_plain(name: str) -> None:
    """No text of the file or folder contains an idiom."""
    hits = [
        f"{path.relative_to(ROOT)}:{line}: {', '.join(found(text))}: {' '.join(text.split())[:100]}"
        for path in files(name)
        for line, text in texts(path)
        if found(text) and not any(literal in text for literal in ALLOWED.get(str(path.relative_to(ROOT)), ()))
    ]
    assert hits == []


def test_an_idiom_is_found_where_people_read(tmp_path: Path) -> None:
    """Docstrings, help texts, paragraphs of a page and of Markdown are read; code and derived parts are not."""
    written = {
        "a.py": '"""Nobody is told."""\nX = 1\n"""It stands in a file."""\nf(help="Goes on.")\ny = "told"\n',
        "a.1": '.PP\nIt\ngoes on.\n.\\" [[[cog x ]]]\ntold\n.\\" [[[end]]]\n.EX\ntold\n.EE\nOne falls.\n',
        "a.md": "Fine.\n\n```sh\ntold\n```\nIt comes to nothing.\n",
    }
    for name, text in written.items():
        (tmp_path / name).write_text(text.replace("Nobody", "nobody").replace("Goes", "goes"))
    hits = {name: [(line, *found(text)) for line, text in texts(tmp_path / name) if found(text)] for name in written}
    assert hits == {
        "a.py": [(1, "nobody, whoever", "told"), (3, "stands in"), (4, "goes on")],
        "a.1": [(2, "goes on"), (10, "falls")],
        "a.md": [(6, "comes to")],
    }
