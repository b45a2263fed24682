"""Read the shop's records and check them.

Checked: every key that a tool reads, and that records refer only to existing users and products.
Not checked: keys that the tools only pass on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sca_cli.toolkit.tables import NUMBER, Each, Kinds, Table, read

type Dialect = Literal["own", "v1", "tau2"]
"""The implementation whose behaviour the tools copy where the implementations differ, refusals included:

- v1 accepts a call that "replaces" a pending order's item by itself; the others refuse it.
- tau2 accepts changes of address and payment after the items of a pending order were changed; the others refuse them.
- tau2 26.3 gives all replaced items the price and options of the last one; the others give each item its own.
- v1 and tau2 accept an empty list of items, do not round the amount of a replacement, and on a cancellation refund
  every entry of the payment history, even refunds. Our own refuses the list, rounds, and refunds the amount owed.
"""

TABLES = ("users", "orders", "products")
OWN = Path(__file__).with_name("data")


@dataclass(frozen=True, slots=True)
class Data:
    """All records and their dialect. A record in a table is never changed, only replaced."""

    users: Table
    orders: Table
    products: Table
    dialect: Dialect


def load(folder: str) -> Data:
    """Read the records in a directory.

    Raises:
        MissingError, RecordError, UsageError: as `tables.read`.
    """
    tables, in_one_file = read(folder, _SHAPES, _fault)
    dialect: Dialect = "own" if folder == str(OWN) else "tau2" if in_one_file else "v1"
    return Data(tables["users"], tables["orders"], tables["products"], dialect)


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
    """Check references between records; return the faulty table and the fault, or None.

    A fault is a reference to a missing record, an order without a payment, or that there are no users.
    """
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
    """Return a deep copy of JSON data; this is several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value
