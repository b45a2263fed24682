"""Invented reservations, over given flights and users."""

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
_CHANGE_MIN = 40  # between two flights of a day

FREE_BAGS = {
    "regular": {"basic_economy": 0, "economy": 1, "business": 2},
    "silver": {"basic_economy": 1, "economy": 2, "business": 3},
    "gold": {"basic_economy": 2, "economy": 3, "business": 4},
}
"""Of each passenger, as `policy.md` says."""

Ways = dict[tuple[str, str], list[list[Record]]]
"""From origin and destination to the direct flights and the pairs of flights."""


def reservations_of(random: Random, flights: dict[str, Record], users: dict[str, Record]) -> dict[str, Record]:
    """Return reservations by id, and enter them in the users' lists."""
    ways, ids = _ways(flights), _ids(random)
    owners = [user_id for user_id in users if random.random() > 0.06]
    made: dict[str, Record] = {}
    while len(made) < _RESERVATIONS:
        user_id = random.choice(owners)
        new = _reservation(random, next(ids), user_id, users[user_id], ways)
        made[new["reservation_id"]] = new
        users[user_id]["reservations"].append(new["reservation_id"])
    return made


def _ways(flights: dict[str, Record]) -> Ways:
    ways: Ways = defaultdict(list)
    leaving = defaultdict(list)
    for flight in flights.values():
        leaving[flight["origin"]].append(flight)
        ways[flight["origin"], flight["destination"]].append([flight])
    for first in flights.values():
        for second in leaving[first["destination"]]:
            wait = _minutes(second["scheduled_departure_time_est"]) - _minutes(first["scheduled_arrival_time_est"])
            if second["destination"] != first["origin"] and _CHANGE_MIN <= wait <= 6 * 60:
                ways[first["origin"], second["destination"]].append([first, second])
    return ways


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:5]) + (24 * 60 if time.endswith("+1") else 0)


def _ids(random: Random) -> Iterator[str]:
    seen = set()
    while True:
        new = "".join(random.choices(_SYMBOLS, k=6))
        if new not in seen:
            seen.add(new)
            yield new


def _reservation(random: Random, new: str, user_id: str, user: Record, ways: Ways) -> Record:
    origin, destination = random.choice([*ways])
    out = random.choice((random.randrange(4, 16), *[random.randrange(16, 29)] * 3))
    cabin = random.choice(("basic_economy", "economy", "business"))
    passengers = [_self(user), *user["saved_passengers"], *(passenger(random) for _ in range(3))]
    passengers = passengers[: random.choices((1, 2, 3, 4), (46, 33, 16, 5))[0]]
    legs = _legs(random, ways[origin, destination], out, cabin)
    back = ways.get((destination, origin)) if random.random() < 0.48 else None
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


def _legs(random: Random, ways: list[list[Record]], day: int, cabin: str) -> list[dict[str, Any]]:
    date = f"2024-05-{day:02d}"
    way = (
        random.choice([way for way in ways if len(way) == 1] or ways) if random.random() < 0.4 else random.choice(ways)
    )
    factor = {"basic_economy": 90, "economy": 140, "business": 320}[cabin]
    return [
        {
            "origin": flight["origin"],
            "destination": flight["destination"],
            "flight_number": flight["flight_number"],
            "date": date,
            "price": round(factor * random.uniform(0.7, 1.9)),
        }
        for flight in way
    ]


def _bags(random: Random, free: int) -> tuple[int, int]:
    total = random.choices((0, 1, 2, 3, 4), (50, 25, 15, 6, 4))[0]
    return total, max(0, total - free)


def _created(random: Random, out: int) -> str:
    if out > _TODAY and random.random() < 0.12:  # within the last day: such bookings can be cancelled
        hour = random.randrange(15, 39)
        day, hour = divmod((_TODAY - 1) * 24 + hour, 24)
    else:
        day, hour = random.randrange(1, min(out, _TODAY - 1)), random.randrange(24)
    return f"2024-05-{day:02d}T{hour:02d}:{random.randrange(60):02d}:{random.randrange(60):02d}"
