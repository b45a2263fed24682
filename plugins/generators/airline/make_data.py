"""Generate the airline's data: `python -m generators.airline.make_data` writes `data.json.gz`, always the same bytes.

Only the airports are real. Flights run every day of May 2024 up to the 30th; the environment's current time is the
afternoon of the 15th (`writing.NOW`). Reservations are consistent with flights and users: legs connect, payments equal
the price, and payment methods belong to the user.
"""

import gzip
import json
import math
from random import Random

from sca_airline.airports import HUBS, PLACES
from sca_airline.files import OWN
from sca_airline.store import Record, Tables

from generators.airline import make_people
from generators.airline.make_reservations import reservations_of

_FLIGHTS = 320
_USERS = 520
_NOW = 15 * 60  # minutes since midnight of the 15th
_TODAY = 15
_DAYS = range(1, 31)


def make() -> Tables:
    """Generate the tables."""
    random = Random("sca_airline")
    flights = _flights(random)
    users = make_people.users(random, _USERS)
    return {"flights": flights, "reservations": reservations_of(random, flights, users), "users": users}


def _flights(random: Random) -> dict[str, Record]:
    """Generate flights by number, always in both directions.

    There are two a day between each pair of hubs, one between each hub and each other airport, and the rest connect
    random airports.
    """
    others = [code for code in PLACES if code not in HUBS]
    pairs = [(a, b) for a in HUBS for b in HUBS if a != b] * 2
    pairs += [pair for a in HUBS for b in others for pair in ((a, b), (b, a))]
    while len(pairs) < _FLIGHTS:
        a, b = random.sample(list(PLACES), 2)
        pairs += [(a, b), (b, a)]
    random.shuffle(pairs)
    return {(number := f"TRN{place:03d}"): _flight(random, number, *pair) for place, pair in enumerate(pairs, start=1)}


def _flight(random: Random, number: str, origin: str, destination: str) -> Record:
    distance = _kilometres(origin, destination)
    leaves = random.randrange(6 * 60, 22 * 60, 15)
    lands = leaves + 35 + round(distance / 13 / 5) * 5
    fare = 40 + distance / 18
    return {
        "flight_number": number,
        "origin": origin,
        "destination": destination,
        "scheduled_departure_time_est": _time(leaves),
        "scheduled_arrival_time_est": _time(lands),
        "dates": {f"2024-05-{day:02d}": _date(random, day, leaves, lands, fare) for day in _DAYS},
    }


def _date(random: Random, day: int, leaves: int, lands: int, fare: float) -> Record:
    if random.random() < (0.05 if day <= _TODAY else 0.02):
        return {"status": "cancelled"}
    if day > _TODAY:
        seats = {
            "basic_economy": random.randrange(21),
            "economy": random.randrange(21),
            "business": random.randrange(16),
        }
        today = fare * random.uniform(0.8, 1.3)
        prices = [today, today * random.uniform(1.25, 1.9), today * random.uniform(2.8, 4.2)]
        return {
            "status": "available",
            "available_seats": seats,
            "prices": dict(zip(seats, map(round, prices), strict=True)),
        }
    late = random.randrange(-15, 40)
    actual = {"actual_departure_time_est": _moment(day, leaves + late)}
    if day < _TODAY or lands + late + 5 <= _NOW:
        return {
            "status": "landed",
            **actual,
            "actual_arrival_time_est": _moment(day, lands + late + random.randrange(5)),
        }
    if leaves + late <= _NOW:
        return {"status": "flying", **actual, "estimated_arrival_time_est": _moment(day, lands + late)}
    late = random.choice((0, 0, 75, 140, 200))
    return {
        "status": "delayed" if late else "on time",
        "estimated_departure_time_est": _moment(day, leaves + late),
        "estimated_arrival_time_est": _moment(day, lands + late),
    }


def _kilometres(origin: str, destination: str) -> float:
    (north, east), (south, west) = PLACES[origin], PLACES[destination]
    return 111 * math.hypot(north - south, (east - west) * math.cos(math.radians((north + south) / 2)))


def _time(minutes: int) -> str:
    days, minutes = divmod(minutes, 24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:00" + ("+1" if days else "")


def _moment(day: int, minutes: int) -> str:
    days, minutes = divmod(minutes, 24 * 60)
    return f"2024-05-{day + days:02d}T{minutes // 60:02d}:{minutes % 60:02d}:00"


def main() -> None:
    """Write the file."""
    text = json.dumps(make(), separators=(",", ":"))
    OWN.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
