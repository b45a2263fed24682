"""Reading the tables: our own, and the files that `data=` names.

A directory holds either `flights.json`, `reservations.json` and `users.json` (TauBench) or all three tables in one
`db.json` (tau2).
"""

import gzip
import json
from pathlib import Path
from typing import Any

from sca_airline.store import Tables

OWN = Path(__file__).with_name("data.json.gz")
"""Written by `make_data`."""

_KEYS = {
    "flights": {"flight_number", "origin", "destination", "scheduled_departure_time_est",
                "scheduled_arrival_time_est", "dates"},
    "reservations": {"reservation_id", "user_id", "origin", "destination", "flight_type", "cabin", "flights",
                     "passengers", "payment_history", "created_at", "total_baggages", "nonfree_baggages", "insurance"},
    "users": {"name", "address", "email", "dob", "payment_methods", "saved_passengers", "membership", "reservations"},
}  # fmt: skip


def own_tables() -> Tables:
    """Return the tables that ship with the package."""
    tables: Tables = json.loads(gzip.decompress(OWN.read_bytes()))
    return tables


def tables_in(directory: str) -> Tables:
    """Return the tables in a directory of TauBench's or tau2's JSON files.

    Raises:
        OSError: the directory or a file in it is missing.
        ValueError: a file is no JSON, or of another layout.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise NotADirectoryError(f"data={directory} is not a directory")
    if (folder / "db.json").exists():
        return checked(_read(folder / "db.json"), f"{folder / 'db.json'}")
    absent = [f"{name}.json" for name in _KEYS if not (folder / f"{name}.json").exists()]
    if absent:
        raise FileNotFoundError(f"data={directory} has neither db.json nor {', '.join(absent)}")
    return checked({name: _read(folder / f"{name}.json") for name in _KEYS}, str(folder))


def checked(tables: Any, source: str) -> Tables:
    """Return tables after a look at their layout.

    Args:
        tables: anything.
        source: where they come from, for the message.

    Raises:
        ValueError: a table or a part of a record is missing or of another kind, or a reservation is nobody's.
    """
    for name, keys in _KEYS.items():
        table = tables.get(name) if isinstance(tables, dict) else None
        if not isinstance(table, dict) or not table:
            raise ValueError(f"{source}: no airline data: '{name}' is not an object of records")
        for key, record in table.items():
            if not isinstance(record, dict) or not keys <= record.keys():
                lacking = ", ".join(sorted(keys - record.keys())) if isinstance(record, dict) else "everything"
                raise ValueError(f"{source}: no airline data: {name} '{key}' lacks {lacking}")
    for key, record in tables["reservations"].items():
        if record["user_id"] not in tables["users"]:
            raise ValueError(f"{source}: reservation '{key}' belongs to no user: '{record['user_id']}'")
    return {name: tables[name] for name in _KEYS}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:  # broken JSON, or not UTF-8
        raise ValueError(f"{path} is not JSON: {error}") from None
