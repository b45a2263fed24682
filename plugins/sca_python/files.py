"""Find the files that a Python file needs from its own folder, by reading it, without running it.

A world gets these files and no others: the folder may hold private files.
"""

import ast
from collections.abc import Iterator
from pathlib import Path


def files_of(path: Path) -> list[Path]:
    """Return a file, the modules in its folder that it imports, directly or not, and the data files that they name.

    A data file is named by a constant in the source, as in `Path(__file__).with_name("rates.json")`, and every user may
    read it. A file that is not Python or that cannot be read is returned without others.
    """
    folder, needed, todo = path.parent, dict[Path, None](), [path]
    while todo:
        file = todo.pop()
        if file in needed:
            continue
        needed[file] = None
        try:
            tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
        todo += [module for name in _imports(tree, file, folder) for module in _modules(name, folder)]
        needed |= dict.fromkeys(_named_data(tree, file.parent, folder))
    return list(needed)


def _imports(tree: ast.AST, file: Path, folder: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports; relative ones are resolved against its package."""
    package = file.relative_to(folder).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _modules(name: str, folder: Path) -> Iterator[Path]:
    """Yield the files of a module and of the packages that it is in, as far as they are in the folder."""
    parts = [part for part in name.split(".") if part.isidentifier()]
    for depth in range(1, len(parts) + 1):
        place = folder.joinpath(*parts[:depth])
        for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if file.is_file():
                yield file


def _named_data(tree: ast.AST, here: Path, folder: Path) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 256:
            try:
                place = (here / node.value).resolve()
                if place != folder.resolve() and place.is_relative_to(folder.resolve()) and _is_public(place):
                    yield here / node.value
            except (OSError, ValueError):
                continue


def _is_public(place: Path) -> bool:
    """Return whether every user may read a file, or everything in a directory."""
    if place.is_dir():
        return bool(place.stat().st_mode & 0o005 == 0o005) and all(map(_is_public, place.iterdir()))
    return place.is_file() and bool(place.stat().st_mode & 0o004)
