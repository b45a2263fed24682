"""Invented travel data: a fixed vocabulary, and flights and hotels drawn from a seed."""

from collections.abc import Iterator
from itertools import permutations
from random import Random
from typing import Any

CITIES = (
    "Amsterdam", "Athens", "Cairo", "Chicago", "Dublin", "Istanbul", "Lisbon",
    "Montreal", "Oslo", "Prague", "Seoul", "Singapore", "Sydney", "Toronto",
)  # fmt: skip
DATES = tuple(f"2025-09-{day:02}" for day in range(1, 15))
PREFERENCES = (
    "airport shuttle", "breakfast", "gym", "kitchen", "parking",
    "pets allowed", "pool", "sea view", "spa", "wifi",
)  # fmt: skip
_HOTEL_NAMES = (
    "Amber Court", "Birch House", "Copper Gate", "Dovecote Inn", "Elm Terrace", "Falcon Lodge",
    "Garnet Palace", "Harbour Rest", "Ivory Tower", "Juniper Hall", "Lantern Square", "Mariner's Nook",
    "Northern Star", "Orchard Suites",
)  # fmt: skip

# Built once, because each reset uses thousands of these texts.
_FLIGHTS = [f"{line}{number}" for line in ("AQ", "BL", "CN", "DV", "EW", "FJ") for number in range(100, 1000)]
_CLOCK = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60)]

_ROUTE_SHARE = 0.6
"""Share of the ordered pairs of cities that have direct flights."""
_FLIGHTS_A_DAY = (0, 1, 1, 2, 2, 2, 3, 3)
"""Number of flights of a route on a day; each entry is equally likely."""


def draw(seed: int) -> dict[str, Any]:
    """Return the flights and hotels of a seed as plain data.

    All flights of one route and day have different prices and departures, and all hotels of one city have different
    prices and ratings. So "the cheapest" and "the best rated" are always unique.

    Returns:
        `flights`: "FROM>TO DATE" → [[flight, departure, arrival, price], …] by departure, without empty lists;
        `hotels`: city → [[hotel, price per night, rating, [feature, …]], …] by price. Prices are in dollars.
    """
    random = Random(f"travel itinerary {seed}")
    return {"flights": dict(_flights(random)), "hotels": {city: _hotels(random) for city in CITIES}}


def _flights(random: Random) -> Iterator[tuple[str, list[list[Any]]]]:
    toss = random.random  # with sample() and randrange() a reset would take several times as long
    for start, end in permutations(CITIES, 2):
        if toss() >= _ROUTE_SHARE:
            continue
        usual, minutes = 80 + int(620 * toss()), 70 + int(470 * toss())
        for date in DATES:
            count = _FLIGHTS_A_DAY[int(len(_FLIGHTS_A_DAY) * toss())]
            prices = dict.fromkeys(int(usual * (0.75 + 0.75 * toss())) for _ in range(count))
            departures = sorted({300 + 5 * int(204 * toss()) for _ in range(count)})
            flights = [
                [_FLIGHTS[int(len(_FLIGHTS) * toss())], _CLOCK[at], _CLOCK[(at + minutes) % 1440], price]
                for at, price in zip(departures, prices, strict=False)  # duplicates are dropped, so lengths may differ
            ]
            if flights:
                yield f"{start}>{end} {date}", flights


def _hotels(random: Random) -> list[list[Any]]:
    count = random.randrange(4, 7)
    names = random.sample(_HOTEL_NAMES, count)
    prices = sorted(random.sample(range(45, 360), count))
    ratings = random.sample(range(30, 51), count)
    return [
        [name, price, rating / 10, sorted(random.sample(PREFERENCES, random.randrange(3, 7)))]
        for name, price, rating in zip(names, prices, ratings, strict=True)
    ]
