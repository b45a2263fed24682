"""Which files there are to read, and what the place of a file says: the arm, the seed and the round of its records."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ENDINGS = (".jsonl", ".jsonl.b")
"""The second is what `eval --compare --rollouts FILE.jsonl` keeps of the second model."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was found, below the directory that all input has in common."""

    arm: str = ""
    """The directories on the way, seeds and rounds left out; empty for the main arm."""
    seed: int | None = None
    """N of a directory `seed-N`."""
    round: int | None = None
    """N of a directory `round-N`."""
    stem: str = ""
    """Name of the file without its ending."""


def found(inputs: Sequence[str]) -> Iterator[tuple[str, Place]]:
    """Yield every file to read with its place: directories are searched for `*.jsonl` and `*.jsonl.b`, in sorted
    order.

    Args:
        inputs: files, directories, `-` for standard input.
    """
    roots = [path if os.path.isdir(path) else os.path.dirname(path) for path in inputs if path != "-"]  # noqa: PTH112, PTH120  names as given
    base = Path(os.path.commonpath([os.path.abspath(root) for root in roots])) if roots else Path()  # noqa: PTH100  links stay
    seen: set[str] = set()
    for path in (file for name in inputs for file in _files(name)):
        whole = path if path == "-" else os.path.abspath(path)  # noqa: PTH100  links stay
        if whole not in seen:
            seen.add(whole)
            yield path, Place() if path == "-" else _place(Path(whole).relative_to(base))


def _files(name: str) -> list[str]:
    if not os.path.isdir(name):  # noqa: PTH112  '-' is no path
        return [name]
    return sorted(
        str(folder / file) for folder, _, files in Path(name).walk() for file in files if file.endswith(_ENDINGS)
    )


def _place(path: Path) -> Place:
    numbers: dict[str, int] = {}
    arm = []
    for part in path.parent.parts:
        if numbered := re.fullmatch(r"(seed|round)-([0-9]{1,9})", part):
            numbers[numbered[1]] = int(numbered[2])
        else:
            arm.append(part)
    return Place("/".join(arm), numbers.get("seed"), numbers.get("round"), path.stem)
