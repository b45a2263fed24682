"""Find the files to read. The path of a file gives the arm, the seed and the round of its records."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ENDINGS = (".jsonl", ".jsonl.b", ".jsonl.gz", ".jsonl.gz.b")
"""`eval --compare --rollouts FILE.jsonl` writes the second model's rollouts to `FILE.jsonl.b`."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a record, relative to the common directory of all inputs."""

    arm: str = ""
    """The directories of the path, without `seed-N` and `round-N`; empty for the main arm."""
    seed: int | None = None
    """N of a directory `seed-N`; None if there is none."""
    round: int | None = None
    """N of a directory `round-N`; None if there is none."""
    stem: str = ""
    """Name of the file without its extension."""


def files_to_read(inputs: Sequence[str]) -> Iterator[tuple[str, Place]]:
    """Yield (path, place) of every file to read, each file once.

    Directories are searched for `*.jsonl` and `*.jsonl.gz`, and for such files with `.b` appended, in sorted order.

    Args:
        inputs: files, directories, `-` for standard input.
    """
    roots = [path if os.path.isdir(path) else os.path.dirname(path) for path in inputs if path != "-"]  # noqa: PTH112, PTH120  names as given
    base = Path(os.path.commonpath([os.path.abspath(root) for root in roots])) if roots else Path()  # noqa: PTH100  links stay
    known_paths: set[str] = set()
    for path in (file for name in inputs for file in _files(name)):
        absolute = path if path == "-" else os.path.abspath(path)  # noqa: PTH100  links stay
        if absolute not in known_paths:
            known_paths.add(absolute)
            yield path, Place() if path == "-" else _place(Path(absolute).relative_to(base))


def _files(name: str) -> list[str]:
    if not os.path.isdir(name):  # noqa: PTH112  '-' is no path
        return [name]
    paths = [folder / file for folder, _, files in Path(name).walk() for file in files if file.endswith(_ENDINGS)]
    return sorted(str(path) for path in paths if path.is_file() or path.is_symlink())  # a named pipe would block


def _place(path: Path) -> Place:
    numbers: dict[str, int] = {}
    arm = []
    for part in path.parent.parts:
        if numbered := re.fullmatch(r"(seed|round)-([0-9]{1,9})", part):
            numbers[numbered[1]] = int(numbered[2])
        else:
            arm.append(part)
    return Place("/".join(arm), numbers.get("seed"), numbers.get("round"), Path(path.name.removesuffix(".gz")).stem)
