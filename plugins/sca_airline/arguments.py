"""Checks of the lists that the writing tools take, and of texts that are kept.

A tool's own types are judged before it is called; what its lists hold is judged here. Only the keys that are known
are taken over.
"""

import re
from typing import Any

from sca_calculation.arguments import kind, text, whole

from sca_cli import ToolError

MAX_ITEMS = 20
"""Flights, passengers or payments in one call."""
MAX_COUNT = 1_000
"""Bags of a reservation."""
MAX_DOLLARS = 1_000_000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def flights_of(value: list[Any]) -> list[dict[str, str]]:
    """Return `flight_number` and `date` of each flight; no flight is there twice.

    Raises:
        ToolError: the list or an item is of another form.
    """
    flights = [_texts("flights", place, item, ("flight_number", "date")) for place, item in _items("flights", value)]
    for place, flight in enumerate(flights):
        if flight in flights[:place]:
            raise ToolError(f"flight {flight['flight_number']} on {flight['date']} is listed twice")
    return flights


def passengers_of(value: list[Any]) -> list[dict[str, str]]:
    """Return `first_name`, `last_name` and `dob` of each passenger.

    Raises:
        ToolError: the list or an item is of another form.
    """
    keys = ("first_name", "last_name", "dob")
    passengers = [_texts("passengers", place, item, keys) for place, item in _items("passengers", value)]
    for passenger in passengers:
        if not _DATE.fullmatch(passenger["dob"]):
            raise ToolError(f"dob must be written YYYY-MM-DD, not '{passenger['dob']}'")
    return passengers


def payments_of(value: list[Any]) -> list[dict[str, Any]]:
    """Return `payment_id` and `amount`, whole dollars, of each payment; no payment method is there twice.

    Raises:
        ToolError: the list or an item is of another form.
    """
    payments: list[dict[str, Any]] = []
    for place, item in _items("payment_methods", value):
        payment: dict[str, Any] = _texts("payment_methods", place, item, ("payment_id",))
        if any(payment["payment_id"] == other["payment_id"] for other in payments):
            raise ToolError(f"payment method {payment['payment_id']} is listed twice; give one amount for each")
        payments.append(payment | {"amount": dollars("amount", item.get("amount"))})
    return payments


def dollars(name: str, value: Any) -> int:
    """Return an amount of whole dollars; 98.0, as balances may be written, is 98.

    Raises:
        ToolError: no such amount.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return whole(name, value, 0, MAX_DOLLARS)


def bags(total: int, nonfree: int) -> None:
    """Refuse numbers of bags that cannot be.

    Raises:
        ToolError: below zero, too many, or more to pay for than there are.
    """
    whole("total_baggages", total, 0, MAX_COUNT)
    whole("nonfree_baggages", nonfree, 0, MAX_COUNT)
    if nonfree > total:
        raise ToolError(f"nonfree_baggages is {nonfree}, more than total_baggages, {total}")


def _items(name: str, value: list[Any]) -> list[tuple[int, Any]]:
    if not 1 <= len(value) <= MAX_ITEMS:
        raise ToolError(f"{name} must be a list of 1 to {MAX_ITEMS} objects, not of {len(value)}")
    return list(enumerate(value, start=1))


def _texts(name: str, place: int, item: Any, keys: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(item, dict):
        raise ToolError(f"item {place} of {name} must be an object with {', '.join(keys)}, not {kind(item)}")
    absent = [key for key in keys if key not in item]
    if absent:
        raise ToolError(f"item {place} of {name} lacks {', '.join(absent)}")
    return {key: text(key, item[key], most=100) for key in keys}
