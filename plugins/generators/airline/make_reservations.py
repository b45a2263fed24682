"""Generate invented reservations for existing flights and users."""

from collections import defaultdict
from collections.abc import Iterator
from random import Random
from typing import Any

from sca_airline.store import Record
from sca_airline.writing import BAG, INSURANCE

from generators.airline.make_people import passenger

_RESERVATIONS = 2_100
_SYMBOLS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_TODAY = 15
_CHANGE_MIN = 40  # shortest time between two connecting flights, in minutes

FREE_BAGS = {
    "regular": {"basic_economy": 0, "economy": 1, "business": 2},
    "silver": {"basic_economy": 1, "economy": 2, "business": 3},
    "gold": {"basic_economy": 2, "economy": 3, "business": 4},
}
"""Membership → cabin → free bags of each passenger, as in `policy.md`."""

Connections = dict[tuple[str, str], list[list[Record]]]
"""Origin and destination → connections, each one direct flight or two connecting flights."""


def reservations_of(random: Random, flights: dict[str, Record], users: dict[str, Record]) -> dict[str, Record]:
    """Generate reservations by id, and add their ids to the users' records."""
    connections, ids = _connections(flights), _ids(random)
    owners = [user_id for user_id in users if random.random() > 0.06]
    reservations: dict[str, Record] = {}
    while len(reservations) < _RESERVATIONS:
        user_id = random.choice(owners)
        new = _reservation(random, next(ids), user_id, users[user_id], connections)
        reservations[new["reservation_id"]] = new
        users[user_id]["reservations"].append(new["reservation_id"])
    return reservations


def _connections(flights: dict[str, Record]) -> Connections:
    connections: Connections = defaultdict(list)
    departures = defaultdict(list)
    for flight in flights.values():
        departures[flight["origin"]].append(flight)
        connections[flight["origin"], flight["destination"]].append([flight])
    for first in flights.values():
        for second in departures[first["destination"]]:
            wait = _minutes(second["scheduled_departure_time_est"]) - _minutes(first["scheduled_arrival_time_est"])
            if second["destination"] != first["origin"] and _CHANGE_MIN <= wait <= 6 * 60:
                connections[first["origin"], second["destination"]].append([first, second])
    return connections


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:5]) + (24 * 60 if time.endswith("+1") else 0)


def _ids(random: Random) -> Iterator[str]:
    used = set()
    while True:
        new = "".join(random.choices(_SYMBOLS, k=6))
        if new not in used:
            used.add(new)
            yield new


def _reservation(random: Random, new: str, user_id: str, user: Record, connections: Connections) -> Record:
    origin, destination = random.choice([*connections])
    out = random.choice((random.randrange(4, 16), *[random.randrange(16, 29)] * 3))
    cabin = random.choice(("basic_economy", "economy", "business"))
    passengers = [_self(user), *user["saved_passengers"], *(passenger(random) for _ in range(3))]
    passengers = passengers[: random.choices((1, 2, 3, 4), (46, 33, 16, 5))[0]]
    legs = _legs(random, connections[origin, destination], out, cabin)
    back = connections.get((destination, origin)) if random.random() < 0.48 else None
    if back:
        legs += _legs(random, back, min(30, out + random.randrange(1, 8)), cabin)
    total, nonfree = _bags(random, FREE_BAGS[user["membership"]][cabin] * len(passengers))
    insurance = random.choice(("yes", "no"))
    price = len(passengers) * (sum(leg["price"] for leg in legs) + (INSURANCE if insurance == "yes" else 0))
    methods = [key for key, method in user["payment_methods"].items() if method["source"] != "certificate"]
    return {
        "reservation_id": new,
        "user_id": user_id,
        "origin": origin,
        "destination": destination,
        "flight_type": "round_trip" if back else "one_way",
        "cabin": cabin,
        "flights": legs,
        "passengers": passengers,
        "payment_history": [{"payment_id": random.choice(methods), "amount": price + BAG * nonfree}],
        "created_at": _created(random, out),
        "total_baggages": total,
        "nonfree_baggages": nonfree,
        "insurance": insurance,
    }


def _self(user: Record) -> dict[str, str]:
    return {**user["name"], "dob": user["dob"]}


def _legs(random: Random, connections: list[list[Record]], day: int, cabin: str) -> list[dict[str, Any]]:
    date = f"2024-05-{day:02d}"
    only_direct = random.random() < 0.4
    direct = [flights for flights in connections if len(flights) == 1]
    connection = random.choice(direct or connections) if only_direct else random.choice(connections)
    factor = {"basic_economy": 90, "economy": 140, "business": 320}[cabin]
    return [
        {
            "origin": flight["origin"],
            "destination": flight["destination"],
            "flight_number": flight["flight_number"],
            "date": date,
            "price": round(factor * random.uniform(0.7, 1.9)),
        }
        for flight in connection
    ]


def _bags(random: Random, free: int) -> tuple[int, int]:
    total = random.choices((0, 1, 2, 3, 4), (50, 25, 15, 6, 4))[0]
    return total, max(0, total - free)


def _created(random: Random, out: int) -> str:
    if out > _TODAY and random.random() < 0.12:  # booked within the last 24 hours, so it can be cancelled
        hour = random.randrange(15, 39)
        day, hour = divmod((_TODAY - 1) * 24 + hour, 24)
    else:
        day, hour = random.randrange(1, min(out, _TODAY - 1)), random.randrange(24)
    return f"2024-05-{day:02d}T{hour:02d}:{random.randrange(60):02d}:{random.randrange(60):02d}"
