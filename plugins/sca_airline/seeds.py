"""Vary our own data by a seed, and choose the seed's customer and the customer's first message.

A variation keeps the data consistent. It changes future flights (free seats, prices, cancellations), delays of flights
that leave this evening, and the balances of gift cards and certificates. It redraws all flights and payment methods of
the seed's customer, and a random sample of the others.
"""

import datetime
from random import Random
from typing import Any

from sca_airline.airports import CITIES
from sca_airline.store import Record, Store
from sca_airline.writing import NOW

_FLIGHTS = 24  # pairs of flight and date that a seed varies, of about 4,700
_CANCELLED = 3  # of these, pairs that are cancelled
_METHODS = 8  # gift cards and certificates that a seed varies
_DELAY = datetime.timedelta(minutes=95)

Places = list[tuple[str, str]]
"""(flight number, date) of flights, or (user id, payment id) of payment methods."""


def customer_of(seed: int, users: list[str]) -> str:
    """Return the user id of the seed's customer."""
    return users[Random(f"customer {seed}").randrange(len(users))]


def bookable(store: Store) -> Places:
    """Return all pairs of flight number and date that can be booked."""
    return [
        (number, date)
        for number, flight in store.flights.items()
        for date, day in flight["dates"].items()
        if day["status"] == "available"
    ]


def vary(store: Store, seed: int, customer: str, open_flights: Places, balances: Places) -> None:
    """Apply the variation of a seed to the store.

    Args:
        store: our own data, unchanged since it was loaded.
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
    """Return the first message of the seed's customer: name, user id, and a reservation or a trip to talk about."""
    random = Random(f"introduction {seed}")
    user: dict[str, Any] = store.users[customer]
    name = f"{user['name']['first_name']} {user['name']['last_name']}"
    text = f"I am {name}, my user id is {customer}."
    reservations = [store.reservations[key] for key in user["reservations"]]
    reservations = [each for each in reservations if each["flights"][0]["date"] >= NOW[:10]] or reservations
    if reservations and random.random() < 0.75:
        reservation = random.choice(reservations)
        first = reservation["flights"][0]
        ends = f"from {_place(reservation['origin'])} to {_place(reservation['destination'])}"
        return f"{text} It is about my reservation {reservation['reservation_id']} {ends}, leaving on {first['date']}."
    number, date = random.choice(open_flights)
    flight = store.flights[number]
    ends = f"from {_place(flight['origin'])} to {_place(flight['destination'])}"
    return f"{text} I would like to fly {ends} on {date}."


def _place(code: str) -> str:
    return f"{CITIES.get(code, code)} ({code})"
