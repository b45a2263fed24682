"""The arrow of imports, and what a light command may load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sca_cli

ROOT = Path(sca_cli.__file__).parent
PLUGINS = ROOT.parent / "plugins"
HEAVY = {"torch", "vllm", "trl", "transformers", "ray", "rich", "peft", "datasets", "openai", "accelerate"}

LEVELS: list[set[str]] = [
    {"errors"},
    {"records"},
    {"interfaces"},
    {"hookspecs"},
    {"plugins", "devices"},  # the sandbox asks it what to import into a world
    {"prompts", "chat", "source", "sandbox", "estimates"},
    {"arguments", "facts", "duplicates", "sequence", "user"},
    {"conditions", "probes", "forms", "agreement", "contamination", "funnel"},
    {"evidence"},
    {"agent", "checks", "doctor", "judge"},
    {"methods", "conformance"},
    {"fanout", "streams"},
    {"training", "suites", "report"},
    {"commands"},
    {"app"},
]
"""errors ← records ← interfaces ← {prompts, chat, sandbox} ← {agent, checks, doctor} ← methods ← fanout ← commands ←
app.
"""

LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield the modules a file imports, and whether at its top (not in a function, not for types only)."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            for inner in ast.walk(node):
                inner.late = True  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        top = not getattr(node, "late", False)
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((f"{module}.{alias.name}" if module == "sca_cli" else module, top) for alias in node.names)


def files() -> list[Path]:
    """Return all files of the program that have a level."""
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def plugin_files() -> list[Path]:
    """Return all files of the plugins but scripts that maintainers run, which no plugin imports."""
    return [path for path in sorted(PLUGINS.rglob("*.py")) if '__name__ == "__main__"' not in path.read_text()]


def part(module: str) -> str:
    """Return the name of the part that `sca_cli.x.y` belongs to: x."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """Each part imports only parts to its left on the arrow, its own, or the package root; types are no
    exception.
    """
    mine = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert mine in LEVEL_OF, f"{mine} has no place on the arrow"
    wrong = []
    for module, _ in imports(path):
        if module.startswith("sca_cli."):
            theirs = part(module)
            if theirs in LEVEL_OF and theirs != mine and LEVEL_OF[theirs] >= LEVEL_OF[mine]:
                wrong.append(module)
    assert wrong == []


@pytest.mark.parametrize("path", plugin_files(), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_plugins_import_only_the_root(path: Path) -> None:
    """A first-party plugin uses what a third-party plugin has: `from sca_cli import …` of public names, and
    nothing below.
    """
    for module, _ in imports(path):
        if module.startswith("sca_cli"):
            assert module == "sca_cli" or module.removeprefix("sca_cli.") in sca_cli.__all__, module


@pytest.mark.parametrize(
    "path",
    [*files(), *sorted(PLUGINS.glob("*/__init__.py"))],
    ids=lambda path: str(path.relative_to(ROOT.parent)),
)
def test_nothing_heavy_is_imported_at_the_top(path: Path) -> None:
    """Heavy libraries are imported inside functions."""
    assert [module for module, top in imports(path) if top and module.split(".")[0] in HEAVY] == []


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["plugins"], ["verify", "--help"], ["env", "list"], ["--version"], ["train", "--help"]],
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    """Help and listings are told without torch, vllm, trl, transformers, ray, rich or their like."""
    code = f"import sys, sca_cli.app as a; code = a.run({arguments}); print(code, *sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    result, *modules = ended.stderr.splitlines()[-1].split()
    assert result == "0"
    assert {module.split(".")[0] for module in modules} & HEAVY == set()


def test_the_root_costs_nothing_and_holds_what_it_says() -> None:
    """Importing the root loads none of its parts; every public name is there; others are not."""
    code = "import sys, sca_cli; print([m for m in sys.modules if m.startswith('sca_cli.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert all(getattr(sca_cli, name).__name__ == name for name in sca_cli.__all__ if name != "hookimpl")
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        sca_cli.Nothing  # noqa: B018
