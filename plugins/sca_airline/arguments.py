"""Check the list arguments of the writing tools, and the texts that they store.

The types in a tool's signature are checked before the call; the items of lists are checked here. Unknown keys of an
item are dropped.
"""

import re
from typing import Any

from sca_cli import ToolError
from sca_cli.toolkit.arguments import kind, text, whole

MAX_ITEMS = 20
"""Maximum number of flights, passengers or payments in one call; chosen by hand."""
MAX_COUNT = 1_000
"""Maximum number of bags of a reservation; chosen by hand."""
MAX_DOLLARS = 1_000_000
"""Maximum amount of one payment; chosen by hand."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def flights_of(value: list[Any]) -> list[dict[str, str]]:
    """Return `flight_number` and `date` of each flight; all flights differ.

    Raises:
        ToolError: the list is empty or too long, an item lacks one of these keys, or a flight is listed twice.
    """
    flights = [_texts("flights", place, item, ("flight_number", "date")) for place, item in _items("flights", value)]
    for place, flight in enumerate(flights):
        if flight in flights[:place]:
            raise ToolError(f"flight {flight['flight_number']} on {flight['date']} is listed twice")
    return flights


def passengers_of(value: list[Any]) -> list[dict[str, str]]:
    """Return `first_name`, `last_name` and `dob` of each passenger.

    Raises:
        ToolError: the list is empty or too long, an item lacks one of these keys, or a date of birth is not a date.
    """
    keys = ("first_name", "last_name", "dob")
    passengers = [_texts("passengers", place, item, keys) for place, item in _items("passengers", value)]
    for passenger in passengers:
        if not _DATE.fullmatch(passenger["dob"]):
            raise ToolError(f"dob must be written YYYY-MM-DD, not '{passenger['dob']}'")
    return passengers


def payments_of(value: list[Any]) -> list[dict[str, Any]]:
    """Return `payment_id` and `amount` in whole dollars of each payment; all payment methods differ.

    Raises:
        ToolError: the list is empty or too long, an item lacks one of these keys, or a payment method is listed twice.
    """
    payments: list[dict[str, Any]] = []
    for place, item in _items("payment_methods", value):
        payment: dict[str, Any] = _texts("payment_methods", place, item, ("payment_id",))
        if any(payment["payment_id"] == other["payment_id"] for other in payments):
            raise ToolError(f"payment method {payment['payment_id']} is listed twice; give one amount for each")
        payments.append(payment | {"amount": dollars("amount", item.get("amount"))})
    return payments


def dollars(name: str, value: Any) -> int:
    """Return an amount of whole dollars; 98.0 becomes 98, because balances may be floats.

    Raises:
        ToolError: the value is not an amount of whole dollars in 0..`MAX_DOLLARS`.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return whole(name, value, 0, MAX_DOLLARS)


def bags(total: int, nonfree: int) -> None:
    """Check the numbers of bags of a reservation.

    Args:
        total: all bags.
        nonfree: the bags that are not free, a part of `total`.

    Raises:
        ToolError: a number is negative or too large, or `nonfree` is larger than `total`.
    """
    whole("total_baggages", total, 0, MAX_COUNT)
    whole("nonfree_baggages", nonfree, 0, MAX_COUNT)
    if nonfree > total:
        raise ToolError(f"nonfree_baggages is {nonfree}, more than total_baggages, {total}")


def _items(name: str, value: list[Any]) -> list[tuple[int, Any]]:
    """Number the items of a list argument from 1; refuse an empty list and one of more than `MAX_ITEMS` items."""
    if not 1 <= len(value) <= MAX_ITEMS:
        raise ToolError(f"{name} must be a list of 1 to {MAX_ITEMS} objects, not of {len(value)}")
    return list(enumerate(value, start=1))


def _texts(name: str, place: int, item: Any, keys: tuple[str, ...]) -> dict[str, str]:
    """Return the text values of an item at some keys; refuse an item that lacks one of them."""
    if not isinstance(item, dict):
        raise ToolError(f"item {place} of {name} must be an object with {', '.join(keys)}, not {kind(item)}")
    missing = [key for key in keys if key not in item]
    if missing:
        raise ToolError(f"item {place} of {name} lacks {', '.join(missing)}")
    return {key: text(key, item[key], most=100) for key in keys}
