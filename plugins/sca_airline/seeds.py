"""What a seed means: a small variation of our own data, and a customer with something to ask.

A variation keeps the data consistent. It changes what the future holds (free seats, prices, flights that the airline
cancels, delays of flights that leave this evening) and what gift cards and certificates are worth. Of the flights and
payment methods that the seed's customer has to do with all are drawn anew, of the others a few.
"""

import datetime
from random import Random
from typing import Any

from sca_airline.airports import CITIES
from sca_airline.store import Record, Store
from sca_airline.writing import NOW

_FLIGHTS = 24  # flights on a date, of some 4,700
_CANCELLED = 3
_METHODS = 8
_DELAY = datetime.timedelta(minutes=95)

Places = list[tuple[str, str]]
"""Flight number and date, or user id and payment id."""


def customer_of(seed: int, users: list[str]) -> str:
    """Return the user id of the seed's customer."""
    return users[Random(f"customer {seed}").randrange(len(users))]


def bookable(store: Store) -> Places:
    """Return all flights that can be booked, each with a date."""
    return [
        (number, date)
        for number, flight in store.flights.items()
        for date, day in flight["dates"].items()
        if day["status"] == "available"
    ]


def vary(store: Store, seed: int, customer: str, open_flights: Places, balances: Places) -> None:
    """Put the variation of a seed in place.

    Args:
        store: our own data as it was loaded.
        seed: any integer.
        customer: user id of the seed's customer.
        open_flights: all bookable flights.
        balances: all gift cards and certificates.
    """
    random = Random(f"variation {seed}")
    user = store.users[customer]
    legs = [leg for key in user["reservations"] for leg in store.reservations[key]["flights"]]
    places = [*random.sample(open_flights, _FLIGHTS), *((leg["flight_number"], leg["date"]) for leg in legs)]
    for place, (number, date) in enumerate(dict.fromkeys(places)):
        dates = store.flights[number]["dates"]
        if place < _CANCELLED and dates[date]["status"] == "available":
            store.put(dates, date, {"status": "cancelled"})
        else:
            _vary_flight(random, store, dates, date)
    methods = [*random.sample(balances, _METHODS), *((customer, key) for key in user["payment_methods"])]
    for user_id, payment_id in dict.fromkeys(methods):
        method = store.users[user_id]["payment_methods"][payment_id]
        if method["source"] != "credit_card":
            amount = random.randrange(20, 900) if method["source"] == "gift_card" else random.randrange(50, 550, 50)
            store.put(method, "amount", amount)


def _vary_flight(random: Random, store: Store, dates: dict[str, Record], date: str) -> None:
    day = dates[date]
    if day["status"] == "available":
        seats = {cabin: random.randrange(most) for cabin, most in zip(day["prices"], (21, 21, 16), strict=True)}
        factor = random.uniform(0.85, 1.2)
        prices = {cabin: round(price * factor) for cabin, price in day["prices"].items()}
        store.put(dates, date, day | {"available_seats": seats, "prices": prices})
    elif day["status"] == "on time" and random.random() < 0.5:
        times = {key: _later(value) for key, value in day.items() if key != "status"}
        store.put(dates, date, {"status": "delayed"} | times)


def _later(moment: str) -> str:
    return (datetime.datetime.fromisoformat(moment) + _DELAY).isoformat()


def introduction(store: Store, seed: int, customer: str, open_flights: Places) -> str:
    """Return what the seed's customer says: who is asking, and a reservation or a trip it may be about."""
    random = Random(f"introduction {seed}")
    user: dict[str, Any] = store.users[customer]
    name = f"{user['name']['first_name']} {user['name']['last_name']}"
    text = f"I am {name}, my user id is {customer}."
    known = [store.reservations[key] for key in user["reservations"]]
    known = [each for each in known if each["flights"][0]["date"] >= NOW[:10]] or known
    if known and random.random() < 0.75:
        mine = random.choice(known)
        first = mine["flights"][0]
        ends = f"from {_place(mine['origin'])} to {_place(mine['destination'])}"
        return f"{text} It is about my reservation {mine['reservation_id']} {ends}, leaving on {first['date']}."
    number, date = random.choice(open_flights)
    flight = store.flights[number]
    ends = f"from {_place(flight['origin'])} to {_place(flight['destination'])}"
    return f"{text} I would like to fly {ends} on {date}."


def _place(code: str) -> str:
    return f"{CITIES.get(code, code)} ({code})"
