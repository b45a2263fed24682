"""The shop's records: where they are read from, and what they must look like.

Covered by the checks: every key that a tool reads, and that records name only users and products that are there.
Not covered: keys that the tools just pass on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sca_retail.tables import NUMBER, Each, Kinds, Table, read

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
    """All records, and whose they are. A record that is in a table is never changed, only replaced."""

    users: Table
    orders: Table
    products: Table
    dialect: Dialect


def load(folder: str) -> Data:
    """Read the records in a directory.

    Raises:
        MissingError, RecordError, UsageError: as `tables.read`.
    """
    found, together = read(folder, _SHAPES, _fault)
    dialect: Dialect = "own" if folder == str(OWN) else "tau2" if together else "v1"
    return Data(found["users"], found["orders"], found["products"], dialect)


_ADDRESS = {"zip": str}
_SHAPES: dict[str, Any] = {
    "users": Each(
        {
            "name": {"first_name": str, "last_name": str},
            "address": _ADDRESS,
            "email": str,
            "payment_methods": Each(Kinds({"source": str}, "source", {"gift_card": {"balance": NUMBER}})),
            "orders": [str],
        }
    ),
    "orders": Each(
        {
            "user_id": str,
            "address": _ADDRESS,
            "items": [{"name": str, "product_id": str, "item_id": str, "price": NUMBER, "options": dict}],
            "status": str,
            "payment_history": [{"transaction_type": str, "amount": NUMBER, "payment_method_id": str}],
        }
    ),
    "products": Each(
        {"name": str, "product_id": str, "variants": Each({"options": dict, "available": bool, "price": NUMBER})}
    ),
}


def _fault(tables: dict[str, Table]) -> tuple[str, str] | None:
    """Return which table has a record that names one that is not there, and which."""
    if not tables["users"]:
        return "users", "users is empty"
    for order_id, order in tables["orders"].items():
        if order["user_id"] not in tables["users"]:
            return "orders", f"orders.{order_id}: no user '{order['user_id']}'"
        if not order["payment_history"]:
            return "orders", f"orders.{order_id}: no payment"
        for item in order["items"]:
            if item["product_id"] not in tables["products"]:
                return "orders", f"orders.{order_id}: no product '{item['product_id']}'"
    return None


def plain(value: Any) -> Any:
    """Return a deep copy of JSON data; several times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value
