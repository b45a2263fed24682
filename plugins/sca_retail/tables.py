"""Tables of records in a directory of JSON files, and what they must look like; the airline's are read here too.

Two layouts are read: TauBench v1's, a file a table, and tau2's, one db.json with all of them.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sca_cli import MissingError, RecordError, UsageError

type Record = dict[str, Any]
type Table = dict[str, Record]
"""Id → record."""

NUMBER = (int, float)
_WORDS = {str: "a text", bool: "true or false", dict: "an object", NUMBER: "a number"}


class Each(NamedTuple):
    """The shape of every value of an object."""

    shape: Any


class Kinds(NamedTuple):
    """The shape of an object, which has more to it where one of its values says so."""

    shape: dict[str, Any]
    key: str
    more: dict[str, dict[str, Any]]
    """Value at the key → what else there must be."""


def variants(options: dict[str, str]) -> list[dict[str, str]]:
    """Return options whose `data` is an absolute path: records are good in any directory, and a world has none."""
    return [options | {"data": str(Path(options["data"]).expanduser().absolute())} if options.get("data") else options]


def read(
    data: str, shapes: Mapping[str, Any], faults: Callable[[dict[str, Table]], tuple[str, str] | None]
) -> tuple[dict[str, Table], bool]:
    """Read the tables in a directory.

    Args:
        data: its absolute path.
        shapes: table → its shape.
        faults: is given tables of these shapes, and returns which one is at fault and how, or None.

    Returns:
        The tables, and whether one db.json held them all.

    Raises:
        MissingError: the directory or a file is not there.
        RecordError: a file is no JSON, or its records are of another shape; names the file and the place.
        UsageError: the path is relative.
    """
    folder = Path(data)
    if not folder.is_absolute():
        raise UsageError(f"data={data}: the path must be absolute, from / on")
    if not folder.is_dir():
        raise MissingError(f"data={data}: no such directory")
    together = (folder / "db.json").exists()
    files = {table: folder / ("db.json" if together else f"{table}.json") for table in shapes}
    if absent := list(dict.fromkeys(path.name for path in files.values() if not path.exists())):
        raise MissingError(f"data={data} has neither db.json nor {', '.join(absent)}")
    whole = _json(folder / "db.json") if together else {table: _json(path) for table, path in files.items()}
    for table, shape in shapes.items():
        if wrong := misfit(whole, {table: shape}, ""):
            raise RecordError(f"{files[table]}: {wrong}")
    tables = {table: whole[table] for table in shapes}
    if fault := faults(tables):
        raise RecordError(f"{files[fault[0]]}: {fault[1]}")
    return tables, together


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # broken JSON, or not UTF-8
        raise RecordError(f"{path} is not JSON: {error}") from None


def misfit(value: Any, shape: Any, where: str) -> str:
    """Return where a value has not the shape, in words, or ""."""
    if isinstance(shape, Kinds):
        return misfit(value, shape.shape, where) or misfit(value, shape.more.get(value[shape.key], {}), where)
    if isinstance(shape, Each):
        if not isinstance(value, dict):
            return f"{where} is not an object"
        parts = [(inner, shape.shape, f"{where}.{key}") for key, inner in value.items()]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where or 'it'} is not an object"
        if missing := [key for key in shape if key not in value]:
            return f"{where or 'it'} has no '{missing[0]}'"
        parts = [(value[key], inner, f"{where}.{key}".lstrip(".")) for key, inner in shape.items()]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        parts = [(inner, shape[0], f"{where}[{place}]") for place, inner in enumerate(value)]
    elif isinstance(value, shape) and (shape is bool or not isinstance(value, bool)):
        return ""
    else:
        return f"{where} is not {_WORDS[shape]}"
    return next((wrong for part in parts if (wrong := misfit(*part))), "")
