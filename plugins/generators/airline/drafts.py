"""What a template of the evaluation set draws from, and what it makes: a draft with the source of its check."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from sca_airline.environment import Airline
from sca_airline.store import Record
from sca_airline.writing import NOW

from generators.airline.make_reservations import FREE_BAGS

DAY_AGO = "2024-05-14T15:00:00"


@dataclass(frozen=True, slots=True)
class Draft:
    """A task in its texts."""

    wordings: tuple[str, str]
    """Instructions that say the same; one of them is used."""
    evaluate: str
    solution: str
    wrong: tuple[str, str, str]
    """Programs of plausible mistakes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A reservation and whose it is."""

    user_id: str
    user: Record
    reservation: Record

    @property
    def key(self) -> str:
        """The reservation id."""
        return str(self.reservation["reservation_id"])

    @property
    def count(self) -> int:
        """Number of passengers."""
        return len(self.reservation["passengers"])

    @property
    def flights(self) -> list[dict[str, str]]:
        """The flights as tools take them."""
        return [{key: leg[key] for key in ("flight_number", "date")} for leg in self.reservation["flights"]]

    def free_bags(self, cabin: str = "") -> int:
        """Return how many bags are free for all passengers together."""
        return FREE_BAGS[self.user["membership"]][cabin or self.reservation["cabin"]] * self.count

    def card(self, source: str = "credit_card", least: int = 0) -> str:
        """Return the first payment method of a kind that holds enough, or ""."""
        for key, method in self.user["payment_methods"].items():
            if method["source"] == source and method.get("amount", least) >= least:
                return str(key)
        return ""

    def hello(self) -> str:
        """Return how the customer begins."""
        return f"I am {self.user['name']['first_name']} {self.user['name']['last_name']}, user id {self.user_id}."


class Draw:
    """The world of a task, and the chance by which its facts are drawn.

    Args:
        random: of this task.
        world: with the state of the task's seed.
    """

    def __init__(self, random: Random, world: Airline) -> None:
        self.random, self.world, self.store = random, world, world.store

    def case(self, fits: Callable[[Case], bool]) -> Case:
        """Return a reservation that fits."""
        return next(case for case in self._cases() if fits(case))

    def user(self, fits: Callable[[str, Record], bool]) -> tuple[str, Record]:
        """Return a user that fits."""
        users = list(self.store.users.items())
        self.random.shuffle(users)
        return next((key, user) for key, user in users if fits(key, user))

    def _cases(self) -> Iterator[Case]:
        keys = list(self.store.reservations)
        self.random.shuffle(keys)
        for key in keys:
            reservation = self.store.reservations[key]
            user_id = reservation["user_id"]
            yield Case(user_id, self.store.users[user_id], reservation)

    def day(self, leg: dict[str, Any]) -> Record:
        """Return a flight's record of its date."""
        day: Record = self.store.flights[leg["flight_number"]]["dates"][leg["date"]]
        return day

    def ahead(self, case: Case) -> bool:
        """Return whether every flight can still be booked: none has left, none is cancelled."""
        return all(self.day(leg)["status"] == "available" for leg in case.reservation["flights"])

    def seats(self, case: Case, cabin: str) -> bool:
        """Return whether every flight is ahead and has the seats in a cabin."""
        legs = case.reservation["flights"]
        return self.ahead(case) and all(self.day(leg)["available_seats"][cabin] >= case.count for leg in legs)

    def cancellable(self, case: Case) -> bool:
        """Return whether a change of plans is reason enough to cancel."""
        legs = [self.day(leg)["status"] for leg in case.reservation["flights"]]
        gone = any(status not in ("available", "cancelled") for status in legs) or case.flights[0]["date"] <= NOW[:10]
        lately = case.reservation["created_at"] >= DAY_AGO
        return not gone and (lately or case.reservation["cabin"] == "business" or "cancelled" in legs)

    def priced(self, flight: dict[str, str], cabin: str) -> dict[str, Any]:
        """Return a flight as a reservation has it, at the price of its day."""
        known = self.store.flights[flight["flight_number"]]
        ends = {key: known[key] for key in ("origin", "destination")}
        date = flight["date"]
        return {
            **ends,
            "flight_number": known["flight_number"],
            "date": date,
            "price": known["dates"][date]["prices"][cabin],
        }


Template = Callable[[Draw], Draft]


def given(**facts: Any) -> str:
    """Return the source of assignments, with which a program begins."""
    return "".join(f"{name} = {value!r}\n" for name, value in facts.items())


def called(tool: str, **arguments: Any) -> str:
    """Return the source of a call, on a line of its own."""
    return f"{tool}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})\n"


def cancelled(case: Case) -> str:
    """Return the condition that a reservation is cancelled and refunded, and otherwise as it was."""
    paid = case.reservation["payment_history"]
    refunds = [{**payment, "amount": -payment["amount"]} for payment in paid]
    return unchanged(case, status="cancelled", payment_history=[*paid, *refunds])


def unchanged(case: Case, **but: Any) -> str:
    """Return the condition that a reservation is as it was, but for some values."""
    return f"get_reservation_details({case.key!r}) == {case.reservation | but!r}"


def holds(user_id: str, payment_id: str, amount: int | None) -> str:
    """Return the condition that a payment method holds an amount; None: it is not there."""
    method = f"get_user_details({user_id!r})['payment_methods'].get({payment_id!r}, {{}})"
    return f"{method}.get('amount') == {amount!r}"


def booked(user_id: str, before: list[str], values: dict[str, Any]) -> str:
    """Return the condition that the user has one reservation more, with exactly such values."""
    new = f"[key for key in get_user_details({user_id!r})['reservations'] if key not in {before!r}]"
    record = f"{{**{values!r}, 'reservation_id': new[0], 'created_at': {NOW!r}, 'user_id': {user_id!r}}}"
    return f"len(new := {new}) == 1 and get_reservation_details(new[0]) == {record}"


def check(*conditions: str) -> str:
    """Return the source of an `evaluate()` of all conditions."""
    return "def evaluate():\n    return (\n        " + "\n        and ".join(conditions) + "\n    )\n"


def route_of(leg: dict[str, Any]) -> dict[str, str]:
    """Return what the searches take to find a flight."""
    return {key: leg[key] for key in ("origin", "destination", "date")}


def people(*passengers: dict[str, str]) -> str:
    """Return passengers in words."""
    return " and ".join(f"{each['first_name']} {each['last_name']} (born {each['dob']})" for each in passengers)
