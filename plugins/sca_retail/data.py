"""The shop's records: where they are read from, and what they must look like.

Three layouts are read: our own files and TauBench v1's (users.json, orders.json, products.json), and tau2's
(db.json with all three). Covered by the checks: every key that a tool reads, and that records name only users and
products that are there. Not covered: keys that the tools just pass on.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

type Record = dict[str, Any]
type Table = dict[str, Record]
"""Id → record. A record that is in a table is never changed, only replaced."""

type Dialect = Literal["own", "v1", "tau2"]
"""Whose tools are to be matched where they differ, refusals included:

- v1 lets a pending order's items be "replaced" by themselves; the others refuse.
- tau2 lets address and payment change after a pending order's items were; the others refuse.
- tau2 26.3 gives all replaced items the price and options of the last one; the others give each its own.
- v1 and tau2 take an empty list of items, do not round the amount of a replacement, and refund every entry of a
  payment history when an order is cancelled, refunds too; our own refuses, rounds, and refunds what is owed.
"""

TABLES = ("users", "orders", "products")
OWN = Path(__file__).with_name("data")


@dataclass(frozen=True, slots=True)
class Data:
    """All records, and whose they are."""

    users: Table
    orders: Table
    products: Table
    dialect: Dialect


def load(folder: Path) -> Data:
    """Read the records in a directory.

    Args:
        folder: an absolute path; a world has no working directory.

    Raises:
        OSError: it is not there, or lacks a file.
        ValueError: a relative path, broken JSON, or another layout; says where.
    """
    if not folder.is_absolute():
        raise ValueError(f"data={folder}: the path must be absolute, from / on")
    if not folder.is_dir():
        raise NotADirectoryError(f"data={folder}: no such directory")
    if (folder / "db.json").exists():
        source, db = "db.json", _read(folder / "db.json")
    elif any((folder / f"{table}.json").exists() for table in TABLES):
        source, db = "", {table: _read(folder / f"{table}.json") for table in TABLES}
    else:
        raise FileNotFoundError(f"data={folder} holds neither db.json nor users.json, orders.json and products.json")
    if misfit := _misfit(db, _SHAPE, source) or _dangling(db):
        raise ValueError(f"data={folder}: {misfit}")
    dialect: Dialect = "own" if folder == OWN else "tau2" if source else "v1"
    return Data(db["users"], db["orders"], db["products"], dialect)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


class _Each(NamedTuple):
    """The shape of every value of an object."""

    shape: Any


_NUMBER = (int, float)
_ADDRESS = {"zip": str}
_SHAPE: Any = {
    "users": _Each(
        {
            "name": {"first_name": str, "last_name": str},
            "address": _ADDRESS,
            "email": str,
            "payment_methods": _Each({"source": str}),
            "orders": [str],
        }
    ),
    "orders": _Each(
        {
            "user_id": str,
            "address": _ADDRESS,
            "items": [{"name": str, "product_id": str, "item_id": str, "price": _NUMBER, "options": dict}],
            "status": str,
            "payment_history": [{"transaction_type": str, "amount": _NUMBER, "payment_method_id": str}],
        }
    ),
    "products": _Each(
        {"name": str, "product_id": str, "variants": _Each({"options": dict, "available": bool, "price": _NUMBER})}
    ),
}
_WORDS = {str: "a text", bool: "true or false", dict: "an object", _NUMBER: "a number"}


def _misfit(value: Any, shape: Any, where: str) -> str:
    """Return where a value has not the shape, in words, or ""."""
    if isinstance(shape, _Each):
        if not isinstance(value, dict):
            return f"{where} is not an object"
        parts = [(inner, shape.shape, f"{where}.{key}") for key, inner in value.items()]
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is not an object"
        if missing := [key for key in shape if key not in value]:
            return f"{where} has no '{missing[0]}'"
        parts = [(value[key], inner, f"{where}.{key}".lstrip(".")) for key, inner in shape.items()]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        parts = [(inner, shape[0], f"{where}[{place}]") for place, inner in enumerate(value)]
    elif isinstance(value, shape) and (shape is bool or not isinstance(value, bool)):
        return ""
    else:
        return f"{where} is not {_WORDS[shape]}"
    return next((misfit for part in parts if (misfit := _misfit(*part))), "")


def _dangling(db: dict[str, Table]) -> str:
    """Return which record names one that is not there, or a gift card has no balance, in words, or ""."""
    if not db["users"]:
        return "users is empty"
    for user_id, user in db["users"].items():
        for method_id, method in user["payment_methods"].items():
            if method["source"] == "gift_card" and (misfit := _misfit(method, {"balance": _NUMBER}, method_id)):
                return f"users.{user_id}: {misfit}"
    for order_id, order in db["orders"].items():
        if order["user_id"] not in db["users"]:
            return f"orders.{order_id}: no user '{order['user_id']}'"
        if not order["payment_history"]:
            return f"orders.{order_id}: no payment"
        for item in order["items"]:
            if item["product_id"] not in db["products"]:
                return f"orders.{order_id}: no product '{item['product_id']}'"
    return ""


def plain(value: Any) -> Any:
    """Return a deep copy of JSON data; several times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value
