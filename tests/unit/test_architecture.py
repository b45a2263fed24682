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

LAYERS: list[set[str]] = [
    {"errors"},
    {"records", "machine", "lines", "messages"},
    {"interfaces"},
    {"hookspecs", "toolkit"},
    {"plugins", "devices", "streams", "fanout"},
    {"prompts", "analysis", "sandbox.wire"},
    {"sandbox.inside"},
    {"sandbox", "sandbox.host"},
    {"verification", "episode", "doctor", "walk"},
    {"methods", "conformance", "evaluation", "training"},
    {"methods.compose", "evaluation.suites"},
    {"report", "exports"},
    {"commands"},
    {"app"},
    {"__main__"},
]
"""The files and folders of `sca_cli/`, lowest first. A module belongs to the longest name that it is under, and imports
only from its own part and from the layers below it.
"""

LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}


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
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                named = module == "sca_cli" or (
                    module.startswith("sca_cli.") and is_there(whole.removeprefix("sca_cli."))
                )
                yield whole if named else module, top


def files() -> list[Path]:
    """Return all files of the program that have a layer."""
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def plugin_files() -> list[Path]:
    """Return all files of the plugins."""
    return [path for path in sorted(PLUGINS.rglob("*.py")) if "generators" not in path.relative_to(PLUGINS).parts]


def part(module: str) -> str:
    """Return the part that a module is in, "" for the package root: `sandbox.inside.world` is in `sandbox.inside`."""
    while module and module not in LAYER_OF:
        module = module.rpartition(".")[0]
    return module


def name_of(path: Path) -> str:
    """Return the dotted name of a file, without `sca_cli`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_there(name: str) -> bool:
    """Tell whether a name is a file or a folder of the program."""
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_the_layers_are_the_folders() -> None:
    """Every part is there, in one layer only; every file and every folder at the root has a layer."""
    names = [name for layer in LAYERS for name in layer]
    assert len(names) == len(LAYER_OF)
    assert [name for name in names if not is_there(name)] == []
    assert {name_of(path).split(".")[0] for path in files()} == {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    """Each part imports only from layers below, from itself, or from the package root; types are no exception."""
    mine = part(name_of(path))
    assert mine, f"{path} has no layer"
    wrong = []
    for module, _ in imports(path):
        theirs = part(module.removeprefix("sca_cli.")) if module.startswith("sca_cli.") else ""
        if theirs and theirs != mine and LAYER_OF[theirs] >= LAYER_OF[mine]:
            wrong.append(module)
    if path == ROOT / "sandbox" / "__init__.py":  # the front door of the host's side, which it names for types only
        wrong = [module for module in wrong if not module.startswith("sca_cli.sandbox.host.")]
    assert wrong == []


def test_no_module_imports_itself_through_others() -> None:
    """The modules that are loaded when a module is imported never need it in turn."""
    modules = {f"sca_cli.{name_of(path)}": path for path in files()}
    needs = {
        name: {module for module, top in imports(path) if top and module in modules} for name, path in modules.items()
    }
    while free := {name for name, needed in needs.items() if not needed & needs.keys()}:
        needs = {name: needed for name, needed in needs.items() if name not in free}
    assert needs == {}


@pytest.mark.parametrize("path", plugin_files(), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_plugins_import_only_public_names(path: Path) -> None:
    """A plugin of ours imports only modules that a third party's can: public names of `sca_cli`, `sca_cli.toolkit`, and
    its own package. One exception: `sca_embedded` is a preset of `sca_transformers`.
    """
    own = path.relative_to(PLUGINS).parts[0]
    allowed = {own, "sca_transformers"} if own == "sca_embedded" else {own}
    for module, _ in imports(path):
        root = module.split(".")[0]
        assert root != "generators", "generators are not in the wheel"
        if root == "sca_cli":
            public = module == "sca_cli" or module.removeprefix("sca_cli.") in sca_cli.__all__
            assert public or module.startswith("sca_cli.toolkit."), module
        elif root.startswith("sca_"):
            assert root in allowed, f"{module} is another plugin's"


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
    """Help and listings load none of torch, vllm, trl, transformers, ray, rich and similar packages."""
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


def test_each_class_name_occurs_once() -> None:
    """No two classes of sca and its plugins share a name, except for the `ToolError` of programs in the jail."""
    paths = [*ROOT.rglob("*.py"), *(ROOT.parent / "plugins").rglob("*.py")]
    classes = [
        node.name for path in paths for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    ]
    assert {name for name in classes if classes.count(name) > 1} == {"ToolError"}


def test_text_for_people_is_printed_in_one_place() -> None:
    """`print` occurs where text is made visible, and where JSON, a version or a count is printed; nowhere else."""
    counts = {}
    for path in sorted(ROOT.rglob("*.py")):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        if number := sum(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
            counts[str(path.relative_to(ROOT))] = number
    assert counts == {
        "messages.py": 2,
        "app.py": 1,  # the version
        "commands/doctor.py": 2,  # JSON; a count
        "commands/env/test.py": 1,  # JSON
        "sandbox/inside/program.py": 1,  # what a program evaluates, in the jail
    }
