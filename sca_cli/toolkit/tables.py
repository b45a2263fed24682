"""Read tables of records from a directory of JSON files and check their shapes.

There are two layouts: TauBench v1 has one file for each table, and tau2 has one db.json with all tables.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sca_cli.errors import MissingError, RecordError, UsageError

type Record = dict[str, Any]
type Table = dict[str, Record]
"""Id → record."""

NUMBER = (int, float)
_WORDS = {str: "a text", bool: "true or false", dict: "an object", NUMBER: "a number"}


class Each(NamedTuple):
    """The shape of an object whose keys are arbitrary and whose values all have the same shape."""

    shape: Any


class Kinds(NamedTuple):
    """The shape of an object that has further keys, which depend on one of its values."""

    shape: dict[str, Any]
    key: str
    more: dict[str, dict[str, Any]]
    """Value at `key` → shape of the further keys."""


def variants(options: dict[str, str]) -> list[dict[str, str]]:
    """Make the option `data` an absolute path, so that records are valid in any directory.

    The world's process does not run in the user's directory, so it cannot resolve a relative path.
    """
    return [options | {"data": str(Path(options["data"]).expanduser().absolute())} if options.get("data") else options]


def read(
    data: str, shapes: Mapping[str, Any], faults: Callable[[dict[str, Table]], tuple[str, str] | None]
) -> tuple[dict[str, Table], bool]:
    """Read the tables in a directory.

    Args:
        data: absolute path of the directory.
        shapes: table → its shape, see `misfit`.
        faults: a further check; it gets tables of these shapes, and returns the faulty table and the fault, or None.

    Returns:
        The tables, and whether one db.json holds them all.

    Raises:
        MissingError: the directory or a file does not exist.
        RecordError: a file is not JSON, or a record does not have its shape; the message names the file and the place.
        UsageError: the path is relative.
    """
    folder = Path(data)
    if not folder.is_absolute():
        raise UsageError(f"data={data}: the path must be absolute")
    if not folder.is_dir():
        raise MissingError(f"data={data}: no such directory")
    in_one_file = (folder / "db.json").exists()
    files = {table: folder / ("db.json" if in_one_file else f"{table}.json") for table in shapes}
    if missing := list(dict.fromkeys(path.name for path in files.values() if not path.exists())):
        raise MissingError(f"data={data} has neither db.json nor {', '.join(missing)}")
    content = _json(folder / "db.json") if in_one_file else {table: _json(path) for table, path in files.items()}
    for table, shape in shapes.items():
        if wrong := misfit(content, {table: shape}, ""):
            raise RecordError(f"{files[table]}: {wrong}")
    tables = {table: content[table] for table in shapes}
    if fault := faults(tables):
        raise RecordError(f"{files[fault[0]]}: {fault[1]}")
    return tables, in_one_file


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # invalid JSON, not UTF-8, or nested too deeply
        raise RecordError(f"{path} is not JSON: {error}") from None


def misfit(value: Any, shape: Any, where: str) -> str:
    """Describe the first place where a value does not have a shape; return "" if it has.

    Args:
        value: the value.
        shape: a type, a tuple of types, `Each`, `Kinds`, a dictionary of required keys, or a list with the shape of
            its items.
        where: path of the value, for the description.
    """
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
