"""Read the tables, our own or those of the directory `data=`, and check every value that a tool reads."""

import gzip
import json
from pathlib import Path
from typing import Any

from sca_airline.store import Tables
from sca_cli.toolkit.tables import NUMBER, Each, Kinds, misfit, read

OWN = Path(__file__).with_name("data.json.gz")
"""Our own data; `generators.airline.make_data` writes the file."""

_CABINS = {"basic_economy": NUMBER, "economy": NUMBER, "business": NUMBER}
_BALANCE = {"id": str, "amount": NUMBER}
_SHAPES: dict[str, Any] = {
    "flights": Each({
        "flight_number": str, "origin": str, "destination": str,
        "scheduled_departure_time_est": str, "scheduled_arrival_time_est": str,
        "dates": Each(
            Kinds({"status": str}, "status", {"available": {"available_seats": _CABINS, "prices": _CABINS}})
        ),
    }),
    "reservations": Each({
        "reservation_id": str, "user_id": str, "origin": str, "destination": str, "flight_type": str, "cabin": str,
        "flights": [{"flight_number": str, "date": str, "price": NUMBER}],
        "passengers": [dict],
        "payment_history": [{"payment_id": str, "amount": NUMBER}],
        "created_at": str, "total_baggages": NUMBER, "nonfree_baggages": NUMBER, "insurance": str,
    }),
    "users": Each({
        "name": {"first_name": str, "last_name": str}, "address": dict, "email": str, "dob": str,
        "payment_methods": Each(Kinds({"source": str}, "source", {"gift_card": _BALANCE, "certificate": _BALANCE})),
        "saved_passengers": [dict], "membership": str, "reservations": [str],
    }),
}  # fmt: skip


def own_tables() -> Tables:
    """Return the tables that ship with the package."""
    tables: Tables = json.loads(gzip.decompress(OWN.read_bytes()))
    return tables


def tables_in(directory: str) -> Tables:
    """Return the tables in a directory of TauBench's or tau2's JSON files.

    Raises:
        MissingError, RecordError, UsageError: as `toolkit.tables.read`.
    """
    return read(directory, _SHAPES, _fault)[0]


def checked(tables: Any) -> Tables:
    """Check the shape of tables and return them.

    Raises:
        ValueError: the tables do not have the shape of airline data.
    """
    if wrong := misfit(tables, _SHAPES, ""):
        raise ValueError(f"no airline data: {wrong}")
    return {name: tables[name] for name in _SHAPES}


def _fault(tables: Tables) -> tuple[str, str] | None:
    """Check references between records, and that there is data to work with; return the faulty table and the fault.

    A fault is a reference to a missing record, an empty table, a reservation without a flight, or that no flight can be
    booked.
    """
    if empty := [table for table, records in tables.items() if not records]:
        return empty[0], f"{empty[0]} is empty"
    if not any(
        day["status"] == "available" for flight in tables["flights"].values() for day in flight["dates"].values()
    ):
        return "flights", "no flight is available on any date"
    for key, reservation in tables["reservations"].items():
        if reservation["user_id"] not in tables["users"]:
            return "reservations", f"reservations.{key}: no user '{reservation['user_id']}'"
        if not reservation["flights"]:
            return "reservations", f"reservations.{key}: no flight"
    for user_id, user in tables["users"].items():
        if missing := [key for key in user["reservations"] if key not in tables["reservations"]]:
            return "users", f"users.{user_id}: no reservation '{missing[0]}'"
    return None
