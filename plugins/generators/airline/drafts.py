"""Types and helpers for the templates of the evaluation set.

A template gets an `AirlineSampler` and returns an `AirlineDraft`.
"""

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
class AirlineDraft:
    """The texts of a task."""

    wordings: tuple[str, str]
    """Two instructions with the same meaning; one of them is used."""
    evaluate: str
    solution: str
    wrong: tuple[str, str, str]
    """Failure cases: programs with plausible mistakes."""


@dataclass(frozen=True, slots=True)
class Case:
    """A reservation and its user."""

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
        """The flights in the form that tools expect."""
        return [{key: leg[key] for key in ("flight_number", "date")} for leg in self.reservation["flights"]]

    def free_bags(self, cabin: str = "") -> int:
        """Return the number of free bags of all passengers together."""
        return FREE_BAGS[self.user["membership"]][cabin or self.reservation["cabin"]] * self.count

    def card(self, source: str = "credit_card", least: int = 0) -> str:
        """Return the id of the first payment method from `source` with at least `least` dollars, or ""."""
        for key, method in self.user["payment_methods"].items():
            if method["source"] == source and method.get("amount", least) >= least:
                return str(key)
        return ""

    def hello(self) -> str:
        """Return the sentence in which the customer gives name and user id."""
        return f"I am {self.user['name']['first_name']} {self.user['name']['last_name']}, user id {self.user_id}."


class AirlineSampler:
    """Draw the facts of a task from its environment.

    Args:
        random: random generator of this task.
        world: the environment, in the state of the task's seed.
    """

    def __init__(self, random: Random, world: Airline) -> None:
        self.random, self.world, self.store = random, world, world.store

    def case(self, fits: Callable[[Case], bool]) -> Case:
        """Return a random reservation that fits."""
        return next(case for case in self._cases() if fits(case))

    def user(self, fits: Callable[[str, Record], bool]) -> tuple[str, Record]:
        """Return a random user that fits."""
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
        """Return a flight's record for the date of the leg."""
        day: Record = self.store.flights[leg["flight_number"]]["dates"][leg["date"]]
        return day

    def ahead(self, case: Case) -> bool:
        """Return whether every flight can still be booked: none has departed, and none is cancelled."""
        return all(self.day(leg)["status"] == "available" for leg in case.reservation["flights"])

    def seats(self, case: Case, cabin: str) -> bool:
        """Return whether every flight can be booked and has enough seats in a cabin for all passengers."""
        legs = case.reservation["flights"]
        return self.ahead(case) and all(self.day(leg)["available_seats"][cabin] >= case.count for leg in legs)

    def cancellable(self, case: Case) -> bool:
        """Return whether the policy allows a cancellation because of a change of plans."""
        legs = [self.day(leg)["status"] for leg in case.reservation["flights"]]
        begun = any(status not in ("available", "cancelled") for status in legs) or case.flights[0]["date"] <= NOW[:10]
        booked_today = case.reservation["created_at"] >= DAY_AGO
        return not begun and (booked_today or case.reservation["cabin"] == "business" or "cancelled" in legs)

    def priced(self, flight: dict[str, str], cabin: str) -> dict[str, Any]:
        """Return a flight in the form that reservations store, at today's price."""
        known = self.store.flights[flight["flight_number"]]
        ends = {key: known[key] for key in ("origin", "destination")}
        date = flight["date"]
        return {
            **ends,
            "flight_number": known["flight_number"],
            "date": date,
            "price": known["dates"][date]["prices"][cabin],
        }


Template = Callable[[AirlineSampler], AirlineDraft]


def assign(**facts: Any) -> str:
    """Return source lines that assign the facts to variables; a program begins with them."""
    return "".join(f"{name} = {value!r}\n" for name, value in facts.items())


def call(tool: str, **arguments: Any) -> str:
    """Return a source line that calls a tool."""
    return f"{tool}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})\n"


def cancelled(case: Case) -> str:
    """Return the condition that a reservation is cancelled and refunded, and otherwise unchanged."""
    paid = case.reservation["payment_history"]
    refunds = [{**payment, "amount": -payment["amount"]} for payment in paid]
    return unchanged(case, status="cancelled", payment_history=[*paid, *refunds])


def unchanged(case: Case, **changes: Any) -> str:
    """Return the condition that a reservation is unchanged except for some values."""
    return f"get_reservation_details({case.key!r}) == {case.reservation | changes!r}"


def holds(user_id: str, payment_id: str, amount: int | None) -> str:
    """Return the condition that a payment method holds an amount; None means that the method does not exist."""
    method = f"get_user_details({user_id!r})['payment_methods'].get({payment_id!r}, {{}})"
    return f"{method}.get('amount') == {amount!r}"


def booked(user_id: str, before: list[str], values: dict[str, Any]) -> str:
    """Return the condition that the user has exactly one new reservation, with exactly these values."""
    new = f"[key for key in get_user_details({user_id!r})['reservations'] if key not in {before!r}]"
    record = f"{{**{values!r}, 'reservation_id': new[0], 'created_at': {NOW!r}, 'user_id': {user_id!r}}}"
    return f"len(new := {new}) == 1 and get_reservation_details(new[0]) == {record}"


def check(*conditions: str) -> str:
    """Return the source of an `evaluate()` that checks all conditions."""
    return "def evaluate():\n    return (\n        " + "\n        and ".join(conditions) + "\n    )\n"


def route_of(leg: dict[str, Any]) -> dict[str, str]:
    """Return the arguments of a search that finds the flight."""
    return {key: leg[key] for key in ("origin", "destination", "date")}


def people(*passengers: dict[str, str]) -> str:
    """Return a text that lists passengers with their dates of birth."""
    return " and ".join(f"{each['first_name']} {each['last_name']} (born {each['dob']})" for each in passengers)
