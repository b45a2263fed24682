"""The rules of `policy.md` that the tools do not enforce, for `Environment.allows`."""

import datetime
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from sca_airline.store import Record, Store
from sca_airline.writing import NOW

_LEFT = ("flying", "landed")
_FREE_BAGS = {"regular": (0, 1, 2), "silver": (1, 2, 3), "gold": (2, 3, 4)}
_CABINS = ("basic_economy", "economy", "business")
_MOST_PASSENGERS = 5
_DAY = datetime.timedelta(days=1)

_OTHER_CUSTOMER = "Only the customer's own reservations and profile may be changed."
_HAS_LEFT = "The cabin of any reservation can be changed, unless one of its flights has left."
_OPEN = ""
"""The policy neither allows nor forbids the call for certain."""


def forbids(store: Store, customer: str, tool: str, arguments: dict[str, Any]) -> str | None:
    """Return the rule that forbids a call, None if it is allowed, or "" if the policy leaves it open.

    Args:
        store: the present state.
        customer: user id of the customer at the desk.
        tool: name of a writing tool.
        arguments: its arguments.
    """
    if arguments.get("user_id", customer) != customer:
        return _OTHER_CUSTOMER
    user = store.users[customer]
    if "reservation_id" not in arguments:
        return _book(user, arguments) if tool == "book_reservation" else _send_certificate(store, user, arguments)
    reservation = store.reservations[arguments["reservation_id"]]
    if reservation["user_id"] != customer:
        return _OTHER_CUSTOMER
    if reservation.get("status") == "cancelled":
        return _OPEN
    return _CHANGES[tool](store, reservation, arguments)


def _free_bags(user: Record, cabin: str, passengers: int) -> int:
    return _FREE_BAGS[user["membership"]][_CABINS.index(cabin)] * passengers


def _statuses(store: Store, reservation: Record) -> list[str]:
    """Return the status of each flight of a reservation."""
    return [store.flights[leg["flight_number"]]["dates"][leg["date"]]["status"] for leg in reservation["flights"]]


def _has_left(store: Store, reservation: Record) -> bool:
    return any(status in _LEFT for status in _statuses(store, reservation))


def _book(user: Record, arguments: dict[str, Any]) -> str | None:
    passengers = arguments["passengers"]
    if len(passengers) > _MOST_PASSENGERS or any(passengers.count(each) > 1 for each in passengers):
        return "A reservation has one to five passengers."
    paid_bags = max(0, arguments["total_baggages"] - _free_bags(user, arguments["cabin"], len(passengers)))
    if arguments["nonfree_baggages"] != paid_bags:
        return "Each bag beyond the free ones costs 50 dollars."
    sources = [user["payment_methods"][each["payment_id"]]["source"] for each in arguments["payment_methods"]]
    if any(sources.count(source) > most for source, most in (("certificate", 1), ("credit_card", 1), ("gift_card", 3))):
        return "At most one certificate, one credit card and three gift cards pay for it."
    return None


def _send_certificate(store: Store, user: Record, arguments: dict[str, Any]) -> str | None:
    for reservation in (store.reservations[key] for key in user["reservations"]):
        is_eligible = user["membership"] != "regular" or reservation["insurance"] == "yes"
        amount = 100 * len(reservation["passengers"])
        is_eligible = is_eligible or reservation["cabin"] == "business"
        if is_eligible and arguments["amount"] == amount and "cancelled" in _statuses(store, reservation):
            return None
    return "For a cancelled flight: a certificate of 100 dollars for each passenger. Nothing else is compensated."


def _cancel(store: Store, reservation: Record, _: dict[str, Any]) -> str | None:
    statuses = _statuses(store, reservation)
    if any(status in _LEFT for status in statuses):
        return _OPEN  # the agent transfers the customer, and this may end the conversation
    age = datetime.datetime.fromisoformat(NOW) - datetime.datetime.fromisoformat(reservation["created_at"])
    if age <= _DAY or "cancelled" in statuses or reservation["cabin"] == "business":
        return None
    if reservation["insurance"] == "yes":
        return _OPEN  # the customer may have a reason of health or weather
    return "Cancel if it was booked within the last 24 hours, or the airline cancelled a flight, or it is in business."


def _bags(store: Store, reservation: Record, arguments: dict[str, Any]) -> str | None:
    user = store.users[reservation["user_id"]]
    if arguments["total_baggages"] <= reservation["total_baggages"]:
        return "Bags can be added, not taken off."
    free = _free_bags(user, reservation["cabin"], len(reservation["passengers"]))
    if arguments["nonfree_baggages"] != max(reservation["nonfree_baggages"], arguments["total_baggages"] - free):
        return "Each bag beyond the free ones costs 50 dollars."
    return None


def _flights(store: Store, reservation: Record, arguments: dict[str, Any]) -> str | None:
    def place(leg: Record) -> tuple[str, str]:
        return leg["flight_number"], leg["date"]

    before, after = list(map(place, reservation["flights"])), list(map(place, arguments["flights"]))
    has_left, has_new_cabin = _has_left(store, reservation), arguments["cabin"] != reservation["cabin"]
    if has_left and has_new_cabin:
        return _HAS_LEFT
    if before == after:
        return None if has_new_cabin else _OPEN
    if reservation["cabin"] == "basic_economy":
        return "Flights in basic economy cannot be changed."
    ends = [(store.flights[number]["origin"], store.flights[number]["destination"]) for number, _ in after]
    days = [day for _, day in after]
    is_connected = all(one[1] == next_one[0] for one, next_one in pairwise(ends))
    if not is_connected or days != sorted(days) or not _same_trip(reservation, ends):
        return "Origin, destination and kind of trip stay as they are."
    return _OPEN if has_left else None


def _same_trip(reservation: Record, ends: list[tuple[str, str]]) -> bool:
    """Tell whether connected flights lead from the origin to the destination, and back for a round trip."""
    places = [origin for origin, _ in ends] + [ends[-1][1]]
    origin, destination = reservation["origin"], reservation["destination"]
    if reservation["flight_type"] == "one_way":
        return places[0] == origin and places[-1] == destination and origin not in places[1:]
    return places[0] == places[-1] == origin and destination in places[1:-1]


def _passengers(_: Store, reservation: Record, arguments: dict[str, Any]) -> str | None:
    passengers = arguments["passengers"]
    if len(passengers) != len(reservation["passengers"]):
        return "The number of passengers cannot be changed."
    return _OPEN if any(passengers.count(each) > 1 for each in passengers) else None


_CHANGES: dict[str, Callable[[Store, Record, dict[str, Any]], str | None]] = {
    "cancel_reservation": _cancel,
    "update_reservation_baggages": _bags,
    "update_reservation_flights": _flights,
    "update_reservation_passengers": _passengers,
}
