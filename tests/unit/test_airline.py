"""The airline: its data, its tools and their refusals, its seeds, and its held-out evaluation set."""

import copy
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from generators.airline import make_data, make_eval
from generators.airline.make_reservations import FREE_BAGS
from hypothesis import given, settings
from hypothesis import strategies as st
from sca_airline import files
from sca_airline.environment import Airline
from sca_airline.files import OWN

from sca_cli import ToolError, plugins
from sca_cli.errors import MissingError, RecordError
from sca_cli.interfaces import tools_of
from sca_cli.records import EnvSpec, Task, decode
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.verification.paper_filter import run_check

READING = (
    "get_user_details get_reservation_details list_all_airports search_direct_flight search_onestop_flight calculate "
    "think transfer_to_human_agents"
)
WRITING = (
    "book_reservation cancel_reservation send_certificate update_reservation_baggages update_reservation_flights "
    "update_reservation_passengers"
)
SEED = 3
_WORLD = Airline()  # one for all tests: the fixture puts it back


@pytest.fixture
def world() -> Airline:
    """The airline in the state of `SEED`."""
    _WORLD.reset(SEED)
    return _WORLD


def call(world: Airline, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a tool as the world process does."""
    return tools_of(world)[name][1](*args, **kwargs)


def refused(world: Airline, text: str, name: str, *args: Any, **kwargs: Any) -> None:
    """Assert that a call is refused with such words, and that nothing has changed."""
    before = world.state()
    with pytest.raises(ToolError, match=text):
        call(world, name, *args, **kwargs)
    assert world.state() == before


# ---------------------------------------------------------------- data


def test_the_data_is_what_its_generator_makes() -> None:
    """`python -m generators.airline.make_data` gives the shipped records, byte for byte."""
    made = json.dumps(make_data.make(), separators=(",", ":")).encode()
    assert gzip.decompress(OWN.read_bytes()) == made
    assert OWN.stat().st_size < 3_000_000


def test_the_data_is_as_large_as_the_benchmark() -> None:
    """The data has at least 300 flights on 30 dates, 2,000 reservations, and 500 users of all memberships."""
    tables = files.own_tables()
    assert len(tables["flights"]) >= 300
    assert len(tables["reservations"]) >= 2_000
    assert len(tables["users"]) >= 500
    assert {len(flight["dates"]) for flight in tables["flights"].values()} == {30}
    days = [day for flight in tables["flights"].values() for day in flight["dates"].values()]
    assert {day["status"] for day in days} == {"available", "landed", "cancelled", "delayed", "flying", "on time"}
    assert {user["membership"] for user in tables["users"].values()} == set(FREE_BAGS)
    methods = [each for user in tables["users"].values() for each in user["payment_methods"].values()]
    assert {each["source"] for each in methods} == {"credit_card", "gift_card", "certificate"}


def test_reservations_are_consistent() -> None:
    """Legs connect, payments are the price, bags within the allowance are free, payment methods are the user's."""
    tables = files.own_tables()
    for key, found in tables["reservations"].items():
        user, count = tables["users"][found["user_id"]], len(found["passengers"])
        legs = found["flights"]
        assert key in user["reservations"]
        assert legs[0]["origin"] == found["origin"]
        assert legs[-1]["destination"] == found["origin" if found["flight_type"] == "round_trip" else "destination"]
        assert all(a["destination"] == b["origin"] and a["date"] <= b["date"] for a, b in pairwise(legs))
        for leg in legs:
            flight = tables["flights"][leg["flight_number"]]
            assert (flight["origin"], flight["destination"]) == (leg["origin"], leg["destination"])
        price = count * (sum(leg["price"] for leg in legs) + 30 * (found["insurance"] == "yes"))
        assert [each["amount"] for each in found["payment_history"]] == [price + 50 * found["nonfree_baggages"]]
        assert found["payment_history"][0]["payment_id"] in user["payment_methods"]
        free = FREE_BAGS[user["membership"]][found["cabin"]] * count
        assert found["nonfree_baggages"] == max(0, found["total_baggages"] - free)
        assert found["created_at"] < "2024-05-15T15:00:00"
        assert found["created_at"][:10] < legs[0]["date"]
    assert sum(len(user["reservations"]) for user in tables["users"].values()) == len(tables["reservations"])


# ---------------------------------------------------------------- reading


def test_the_tools_are_the_fourteen_of_the_benchmark(world: Airline) -> None:
    """Names, and which of them write; every parameter is described."""
    tools = {name: tool for name, (tool, _) in tools_of(world).items()}
    assert {name for name, tool in tools.items() if not tool.writes} == set(READING.split())
    assert {name for name, tool in tools.items() if tool.writes} == set(WRITING.split())
    for tool in tools.values():
        assert all(schema.get("description") for schema in tool.parameters["properties"].values()), tool.name


def test_reading_changes_nothing(world: Airline) -> None:
    """No reading tool changes the state, and what it returns is a copy."""
    before = world.state()
    user_id = next(iter(before["users"]))
    key = next(iter(before["reservations"]))
    call(world, "get_user_details", user_id)["payment_methods"].clear()
    call(world, "get_reservation_details", key)["flights"][0]["price"] = 0
    for pair in call(world, "search_onestop_flight", "SEA", "TPA", "2024-05-20"):
        pair[0]["prices"].clear()
    for flight in call(world, "search_direct_flight", "DEN", "JFK", "2024-05-20"):
        flight["available_seats"]["economy"] = -1
    call(world, "list_all_airports").clear()
    assert call(world, "think", "what now?") == ""
    assert call(world, "transfer_to_human_agents", "lost a bag")
    assert world.state() == before


def test_searches_find_what_the_state_holds(world: Airline) -> None:
    """Every bookable flight of a route and date is found, and no other; connections leave after arrivals."""
    date, flights = "2024-05-21", world.state()["flights"]
    for origin, destination in {(each["origin"], each["destination"]) for each in flights.values()}:
        found = call(world, "search_direct_flight", origin, destination, date)
        expected = [
            number
            for number, each in flights.items()
            if (each["origin"], each["destination"]) == (origin, destination)
            and each["dates"][date]["status"] == "available"
        ]
        assert [each["flight_number"] for each in found] == expected
    for first, second in (pairs := call(world, "search_onestop_flight", "SEA", "TPA", date)):
        assert first["destination"] == second["origin"]
        assert (first["origin"], second["destination"]) == ("SEA", "TPA")
        overnight = "+1" in first["scheduled_arrival_time_est"]
        assert second["date"] == ("2024-05-22" if overnight else date)
        if not overnight:
            assert first["scheduled_arrival_time_est"] <= second["scheduled_departure_time_est"]
    assert pairs
    assert call(world, "search_direct_flight", "SEA", "SEA", date) == []
    assert call(world, "search_onestop_flight", "SEA", "TPA", "2024-06-01") == []


@pytest.mark.parametrize(
    ("expression", "result"), [("2 * (182 + 124)", "612.0"), ("10 / 3", "3.33"), ("-4 + 1", "-3.0")]
)
def test_calculate_rounds_to_cents(world: Airline, expression: str, result: str) -> None:
    """Results are texts with at most two decimals."""
    assert call(world, "calculate", expression) == result


@pytest.mark.parametrize(
    ("name", "argument", "text"),
    [
        ("calculate", "__import__('os')", "only numbers"), ("calculate", "1 / 0", "divides by zero"),
        ("get_user_details", "nobody_1", "ask the customer"), ("get_user_details", "\ud800", "surrogate"),
        ("get_reservation_details", "NOSUCH", "get_user_details lists"),
    ],
)  # fmt: skip
def test_readers_refuse_what_is_not_there(world: Airline, name: str, argument: str, text: str) -> None:
    """The refusal says what to do instead."""
    refused(world, text, name, argument)


# ---------------------------------------------------------------- writing


def pick(
    world: Airline, fits: Callable[[dict[str, Any], dict[str, Any]], bool]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return id, reservation and user of the first reservation that fits and whose flights can all be booked."""
    state = world.state()
    for key, found in state["reservations"].items():
        days = [state["flights"][leg["flight_number"]]["dates"][leg["date"]] for leg in found["flights"]]
        count = len(found["passengers"])
        if all(day["status"] == "available" and min(day["available_seats"].values()) >= count for day in days):
            user = state["users"][found["user_id"]]
            if fits(found, user):
                return key, found, user
    raise AssertionError("no such reservation")


def method_of(user: dict[str, Any], source: str) -> str:
    """Return a payment method of a kind, or ""."""
    return next((key for key, each in user["payment_methods"].items() if each["source"] == source), "")


@pytest.fixture
def order(world: Airline) -> dict[str, Any]:
    """Arguments of a booking that is right: two passengers, a certificate, a gift card and a credit card."""
    sources = ("certificate", "gift_card", "credit_card")
    user_id, user = next((k, u) for k, u in world.state()["users"].items() if all(method_of(u, s) for s in sources))
    for flight in world.state()["flights"].values():
        day = flight["dates"]["2024-05-20"]
        if day["status"] == "available" and day["available_seats"]["business"] >= 2 and day["prices"]["business"] > 750:
            break
    certificate, gift, card = (method_of(user, source) for source in sources)
    worth = user["payment_methods"][certificate]["amount"]
    held = user["payment_methods"][gift]["amount"]
    price = 2 * (day["prices"]["business"] + 30) + 50
    return {
        "user_id": user_id, "origin": flight["origin"], "destination": flight["destination"], "flight_type": "one_way",
        "cabin": "business", "flights": [{"flight_number": flight["flight_number"], "date": "2024-05-20"}],
        "passengers": [{"first_name": name, "last_name": "Doe", "dob": "1990-01-02"} for name in ("Ann", "Bo")],
        "payment_methods": [
            {"payment_id": certificate, "amount": worth}, {"payment_id": gift, "amount": held},
            {"payment_id": card, "amount": price - worth - held},
        ],
        "total_baggages": 9, "nonfree_baggages": 1, "insurance": "yes",
    }  # fmt: skip


def test_booking_takes_seats_and_payments(world: Airline, order: dict[str, Any]) -> None:
    """The reservation is the user's, seats and gift card shrink, the certificate is gone, and nothing else changes."""
    before = world.state()
    made = call(world, "book_reservation", **order)
    after = world.state()
    number = order["flights"][0]["flight_number"]
    seats = after["flights"][number]["dates"]["2024-05-20"]["available_seats"]
    assert seats["business"] == before["flights"][number]["dates"]["2024-05-20"]["available_seats"]["business"] - 2
    assert made == after["reservations"].pop(made["reservation_id"])
    assert made["created_at"] == "2024-05-15T15:00:00"
    assert made["payment_history"] == order["payment_methods"]
    user = after["users"][order["user_id"]]
    assert user["reservations"].pop() == made["reservation_id"]
    certificate, gift, _ = (each["payment_id"] for each in order["payment_methods"])
    assert user["payment_methods"][gift]["amount"] == 0
    assert certificate not in user["payment_methods"]
    seats["business"] += 2
    user["payment_methods"] = before["users"][order["user_id"]]["payment_methods"]
    assert after == before


def changed(order: dict[str, Any], key: str, place: int, **but: Any) -> dict[str, Any]:
    """Return an order with one item of a list changed; None takes a key out."""
    items = [dict(item) for item in order[key]]
    items[place] |= but
    items[place] = {name: value for name, value in items[place].items() if value is not None}
    return {**order, key: items}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda o: {**o, "user_id": "nobody_1"}, "no user"),
        (lambda o: {**o, "flights": []}, "1 to 20"),
        (lambda o: {**o, "flights": ["TRN001"]}, "must be an object"),
        (lambda o: {**o, "flights": o["flights"] * 2}, "listed twice"),
        (lambda o: changed(o, "flights", 0, flight_number="TRN999"), "no flight 'TRN999'"),
        (lambda o: changed(o, "flights", 0, date="2024-06-20"), "does not fly"),
        (lambda o: changed(o, "flights", 0, date="2024-05-14"), "cannot be booked"),
        (lambda o: changed(o, "flights", 0, date=None), "lacks date"),
        (lambda o: {**o, "passengers": []}, "1 to 20"),
        (lambda o: {**o, "passengers": o["passengers"] * 10}, "free seats in business, 20 are needed"),
        (lambda o: changed(o, "passengers", 1, dob=None), "lacks dob"),
        (lambda o: changed(o, "passengers", 1, dob="2 January 1990"), "YYYY-MM-DD"),
        (lambda o: changed(o, "passengers", 1, first_name="\udc00"), "surrogate"),
        (lambda o: changed(o, "passengers", 1, first_name=7), "must be a string"),
        (lambda o: {**o, "payment_methods": o["payment_methods"][:2]}, "add up to"),
        (lambda o: {**o, "payment_methods": o["payment_methods"][:1] * 2}, "one amount for each"),
        (lambda o: changed(o, "payment_methods", 0, payment_id="gift_card_1"), "the profile has"),
        (lambda o: changed(o, "payment_methods", 1, amount=10**5), "less than 100000"),
        (lambda o: changed(o, "payment_methods", 2, amount=-5), "between 0"),
        (lambda o: changed(o, "payment_methods", 2, amount=10.5), "whole number"),
        (lambda o: changed(o, "payment_methods", 2, amount=None), "whole number"),
        (lambda o: {**o, "insurance": "no"}, "the price is"),
        (lambda o: {**o, "nonfree_baggages": 2}, "the price is"),
        (lambda o: {**o, "nonfree_baggages": 10}, "more than total_baggages"),
        (lambda o: {**o, "total_baggages": -1}, "between 0"),
    ],
)  # fmt: skip
def test_a_wrong_booking_is_refused(
    world: Airline, order: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]], text: str
) -> None:
    """One thing wrong is enough; the refusal names it, and nothing is booked or paid."""
    refused(world, text, "book_reservation", **change(order))


def test_three_bookings_can_be_made(world: Airline, order: dict[str, Any]) -> None:
    """New reservations have ids of their own, and there are three, as in the benchmark."""
    card = order["payment_methods"][2]["payment_id"]
    order |= {"cabin": "economy", "passengers": order["passengers"][:1], "insurance": "no", "nonfree_baggages": 0}
    ids = set()
    for flight in world.state()["flights"].values():
        day = flight["dates"]["2024-05-22"]
        if day["status"] == "available" and day["available_seats"]["economy"]:
            order["flights"] = [{"flight_number": flight["flight_number"], "date": "2024-05-22"}]
            order["payment_methods"] = [{"payment_id": card, "amount": float(day["prices"]["economy"])}]
            if len(ids) == 3:
                break
            ids.add(call(world, "book_reservation", **order)["reservation_id"])
    assert ids == {"HATHAT", "HATHAU", "HATHAV"}
    refused(world, "no more than 3", "book_reservation", **order)


def test_cancelling_refunds_every_payment(world: Airline) -> None:
    """Each payment gets its refund, and the reservation says that it is cancelled."""
    key, found, _ = pick(world, lambda _found, _user: True)
    made = call(world, "cancel_reservation", key)
    assert made == found | {"status": "cancelled", "payment_history": made["payment_history"]}
    assert sum(each["amount"] for each in made["payment_history"]) == 0
    assert call(world, "get_reservation_details", key) == made
    refused(world, "no reservation", "cancel_reservation", "NOSUCH")


def test_certificates_are_new_payment_methods(world: Airline) -> None:
    """A certificate that is sent is in the profile; a user gets at most three, an unknown user and a negative amount
    get none.
    """
    user_id = next(iter(world.state()["users"]))
    assert "certificate_3221322" in call(world, "send_certificate", user_id, 150)
    methods = call(world, "get_user_details", user_id)["payment_methods"]
    assert methods["certificate_3221322"] == {"source": "certificate", "amount": 150, "id": "certificate_3221322"}
    refused(world, "no user", "send_certificate", "nobody_1", 100)
    refused(world, "between 0", "send_certificate", user_id, -100)
    call(world, "send_certificate", user_id, 1)
    call(world, "send_certificate", user_id, 2)
    refused(world, "no more than 3", "send_certificate", user_id, 3)


def test_bags_beyond_the_allowance_are_paid(world: Airline) -> None:
    """Fifty dollars for each nonfree bag more than before, from a gift card that holds enough."""

    def fits(_found: dict[str, Any], user: dict[str, Any]) -> bool:
        gift, certificate = method_of(user, "gift_card"), method_of(user, "certificate")
        return bool(gift and certificate and 100 <= user["payment_methods"][gift]["amount"] < 1_000)

    key, found, user = pick(world, fits)
    gift = method_of(user, "gift_card")
    nonfree, update = found["nonfree_baggages"] + 2, "update_reservation_baggages"
    made = call(world, update, key, found["total_baggages"] + 2, nonfree, gift)
    assert made["payment_history"] == [*found["payment_history"], {"payment_id": gift, "amount": 100}]
    left = call(world, "get_user_details", found["user_id"])["payment_methods"][gift]["amount"]
    assert left == user["payment_methods"][gift]["amount"] - 100
    again = call(world, update, key, found["total_baggages"] + 3, nonfree, gift)
    assert again == made | {"total_baggages": found["total_baggages"] + 3}
    refused(world, "less than", update, key, 90, 90, gift)
    refused(world, "certificate pays for new bookings only", update, key, 90, 90, method_of(user, "certificate"))
    refused(world, "the profile has", update, key, 90, 90, "gift_card_1")
    refused(world, "more than total_baggages", update, key, 1, 2, gift)


def test_a_new_cabin_costs_or_refunds_the_difference(world: Airline) -> None:
    """A new cabin changes all flights to today's prices in it; the same flights in the same cabin cost nothing."""
    key, found, user = pick(world, lambda found, _user: found["cabin"] == "economy")
    card, update = method_of(user, "credit_card"), "update_reservation_flights"
    flights = [{"flight_number": leg["flight_number"], "date": leg["date"]} for leg in found["flights"]]
    assert call(world, update, key, "economy", flights, card) == found
    made = call(world, update, key, "business", flights, card)
    dates = world.state()["flights"]
    prices = [dates[leg["flight_number"]]["dates"][leg["date"]]["prices"]["business"] for leg in found["flights"]]
    assert [leg["price"] for leg in made["flights"]] == prices
    difference = len(found["passengers"]) * (sum(prices) - sum(leg["price"] for leg in found["flights"]))
    assert made["payment_history"][1:] == [{"payment_id": card, "amount": difference}]
    assert made["cabin"] == "business"
    refused(world, "1 to 20", update, key, "business", [], card)
    refused(world, "no flight", update, key, "business", [{"flight_number": "X", "date": "2024-05-20"}], card)
    refused(world, "the profile has", update, key, "business", flights, "credit_card_1")


def test_the_number_of_passengers_stays(world: Airline) -> None:
    """Names can change, numbers cannot."""
    key, found, _ = pick(world, lambda found, _user: len(found["passengers"]) == 2)
    new = [{"first_name": "Ann", "last_name": "Doe", "dob": "1990-01-02", "seat": "1A"}, found["passengers"][1]]
    made = call(world, "update_reservation_passengers", key, new)
    del new[0]["seat"]  # what is not known is not kept
    assert made == found | {"passengers": new}
    refused(world, "for 2 passengers, not 1", "update_reservation_passengers", key, new[:1])
    refused(world, "1 to 20", "update_reservation_passengers", key, [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("\udc00"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["flight_number", "date", "payment_id", "amount", "dob", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(items=st.lists(JSON, max_size=3), counts=st.tuples(st.integers(), st.integers()), text=st.text(max_size=6))
@settings(max_examples=150, deadline=None)
def test_hostile_arguments_are_refused(items: list[Any], counts: tuple[int, int], text: str) -> None:
    """Whatever fits the types of the tools gives a result or a refusal in words, never a fault."""
    world = _WORLD
    world.reset(SEED)
    user_id, key = next(iter(world.store.users)), next(iter(world.store.reservations))
    card = method_of(world.store.users[user_id], "credit_card")
    for name, args in (
        ("book_reservation", [user_id, text, text, "one_way", "economy", items, items, items, *counts, "no"]),
        ("update_reservation_flights", [key, "business", items, card]),
        ("update_reservation_passengers", [key, items]),
        ("update_reservation_baggages", [key, *counts, text]),
        ("send_certificate", [user_id, counts[0]]),
        ("search_onestop_flight", [text, text, text]),
    ):
        try:
            json.dumps(call(world, name, *args), allow_nan=False)
        except ToolError as refusal:
            assert 0 < len(str(refusal)) < 1_000


# ---------------------------------------------------------------- seeds and states


def test_seeds_differ_and_repeat(order: dict[str, Any]) -> None:
    """The same seed gives the same state in one process, whatever was done in between; other seeds give others."""
    fresh, used = Airline(), Airline()
    used.reset(SEED)
    call(used, "book_reservation", **order)
    call(used, "cancel_reservation", next(iter(used.store.reservations)))
    states = []
    for seed in (0, 1, 2, 12345678901234567890, -4):
        fresh.reset(seed)
        used.reset(seed)
        states.append(fresh.state())
        assert used.state() == states[-1]
        assert used.first_observation() == fresh.first_observation()
    assert len({json.dumps(state) for state in states}) == len(states)
    used.reset(0)
    assert used.state() == states[0]


def test_a_variation_is_small_and_consistent() -> None:
    """It changes flights to come, delays of today and balances; reservations, people and the past stay."""
    own = files.own_tables()
    for seed in range(30):
        _WORLD.reset(seed)
        state = _WORLD.state()
        assert state["reservations"] == own["reservations"]
        for user_id, user in state["users"].items():
            methods = user.pop("payment_methods")
            before = own["users"][user_id]["payment_methods"]
            assert {key: each["source"] for key, each in methods.items()} == {k: e["source"] for k, e in before.items()}
            assert all(each["amount"] >= 20 for each in methods.values() if each["source"] != "credit_card")
            assert user == {key: value for key, value in own["users"][user_id].items() if key != "payment_methods"}
        moves = Counter(
            (own["flights"][number]["dates"][date]["status"], day["status"])
            for number, flight in state["flights"].items()
            for date, day in flight["dates"].items()
            if day != own["flights"][number]["dates"][date]
        )
        assert moves.keys() <= {("available", "available"), ("available", "cancelled"), ("on time", "delayed")}
        assert 10 <= moves.total() <= 100
        for flight in state["flights"].values():
            for day in flight["dates"].values():
                if day["status"] == "available":
                    assert min(day["available_seats"].values()) >= 0
                    assert 0 < day["prices"]["basic_economy"] < day["prices"]["economy"] < day["prices"]["business"]


def test_a_state_can_be_put_back(world: Airline, order: dict[str, Any]) -> None:
    """restore(state()) gives the same state and working tools, independent of what it was given; reset ends it."""
    start = world.state()
    made = call(world, "book_reservation", **order)
    booked = world.state()
    other = Airline()
    other.restore(booked)
    assert other.state() == booked
    call(other, "cancel_reservation", made["reservation_id"])
    assert booked == world.state() != other.state()
    number = order["flights"][0]["flight_number"]
    found = call(other, "search_direct_flight", order["origin"], order["destination"], "2024-05-20")
    seats = booked["flights"][number]["dates"]["2024-05-20"]["available_seats"]
    assert [each["available_seats"] for each in found if each["flight_number"] == number] == [seats]
    other.reset(SEED)
    assert other.state() == start
    with pytest.raises(ValueError, match="no airline data: it has no 'users'"):
        other.restore({"flights": start["flights"], "reservations": start["reservations"]})


def test_a_customer_says_who_asks_and_for_what() -> None:
    """The first observation leads to records: its user exists, and so does the reservation or the route."""
    kinds = Counter()
    for seed in range(60):
        _WORLD.reset(seed)
        words = _WORLD.first_observation()
        user_id = words.partition("user id is ")[2].partition(".")[0]
        user = call(_WORLD, "get_user_details", user_id)
        assert user["name"]["last_name"] in words
        if mine := [key for key in user["reservations"] if key in words]:
            assert call(_WORLD, "get_reservation_details", mine[0])["flights"][0]["date"] in words
        else:
            origin, destination = (part[:3] for part in words.split("(")[1:])
            date = words.rstrip(".")[-10:]
            flights = _WORLD.state()["flights"].values()
            assert any((each["origin"], each["destination"]) == (origin, destination) for each in flights)
            assert "2024-05-16" <= date <= "2024-05-30"
        kinds["reservation" if mine else "trip"] += 1
    assert min(kinds["reservation"], kinds["trip"]) >= 10


# ---------------------------------------------------------------- data=


def write(folder: Path, tables: dict[str, Any]) -> str:
    """Write tables in the three files of TauBench's layout."""
    for name, table in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(table))
    return str(folder)


def test_data_is_taken_as_it_is(tmp_path: Path) -> None:
    """Both layouts give exactly the files' state for every seed; a seed picks the customer."""
    tables = files.own_tables()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "db.json").write_text(json.dumps(tables))
    for world in (Airline(data=write(tmp_path, tables)), Airline(data=str(tmp_path / "one"))):
        said = set()
        for seed in range(5):
            world.reset(seed)
            assert world.state() == tables
            said.add(world.first_observation())
        assert len(said) == 5
        call(world, "cancel_reservation", next(iter(tables["reservations"])))
        world.reset(0)
        assert world.state() == tables


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda folder: (folder / "users.json").unlink(), r"neither db\.json nor users\.json$"),
        (lambda folder: (folder / "users.json").write_text("{"), r"users\.json is not JSON"),
        (lambda folder: (folder / "users.json").write_bytes(b"\xff\xfe"), r"users\.json is not JSON"),
        (lambda folder: (folder / "users.json").write_text("[]"), r"users\.json: users is not an object$"),
        (lambda folder: (folder / "flights.json").write_text('{"F1": {"price": 3}}'), "F1 has no 'flight_number'$"),
        (lambda folder: (folder / "flights.json").write_text('{"F1": 3}'), r"flights\.json: flights.F1 is not an obj"),
        (lambda folder: (folder / "flights.json").write_text("{}"), r"flights\.json: flights is empty$"),
        (lambda folder: (folder / "db.json").write_text("{}"), r"db\.json: it has no 'flights'$"),
    ],
)  # fmt: skip
def test_other_data_is_one_clear_line(tmp_path: Path, spoil: Callable[[Path], None], text: str) -> None:
    """A missing, broken or foreign file is named in one line."""
    folder = write(tmp_path, files.own_tables())
    spoil(tmp_path)
    with pytest.raises((RecordError, MissingError), match=text) as caught:
        Airline(data=folder)
    assert "\n" not in caught.value.message
    with pytest.raises(MissingError, match="no such directory"):
        Airline(data=f"{folder}/nowhere")


SMALL: dict[str, Any] = {
    "flights": {"F1": {
        "flight_number": "F1", "origin": "DEN", "destination": "BOS",
        "scheduled_departure_time_est": "06:00:00", "scheduled_arrival_time_est": "09:00:00",
        "dates": {"2024-05-16": {
            "status": "available",
            "available_seats": {"basic_economy": 1, "economy": 2, "business": 3},
            "prices": {"basic_economy": 50, "economy": 100, "business": 300},
        }, "2024-05-14": {"status": "cancelled"}},
    }},
    "reservations": {"R1": {
        "reservation_id": "R1", "user_id": "u1", "origin": "DEN", "destination": "BOS", "flight_type": "one_way",
        "cabin": "economy", "flights": [{"flight_number": "F1", "date": "2024-05-16", "price": 100}],
        "passengers": [{"first_name": "Ada", "last_name": "Moss", "dob": "1990-01-01"}],
        "payment_history": [{"payment_id": "gift_card_1", "amount": 100}], "created_at": "2024-05-01T10:00:00",
        "total_baggages": 0, "nonfree_baggages": 0, "insurance": "no",
    }},
    "users": {"u1": {
        "name": {"first_name": "Ada", "last_name": "Moss"}, "address": {}, "email": "ada@example.com",
        "dob": "1990-01-01", "saved_passengers": [], "membership": "gold", "reservations": ["R1"],
        "payment_methods": {"gift_card_1": {"source": "gift_card", "id": "gift_card_1", "amount": 40}},
    }},
}  # fmt: skip


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("flights.F1.dates", [], "flights.json: flights.F1.dates is not an object"),
        ("flights.F1.dates.2024-05-14", {}, "flights.json: flights.F1.dates.2024-05-14 has no 'status'"),
        ("flights.F1.dates.2024-05-16.prices.economy", "1", "flights.F1.dates.2024-05-16.prices.economy is not a n"),
        ("flights.F1.dates.2024-05-16.status", "landed", "flights.json: no flight is available on any date"),
        ("reservations.R1.user_id", "u2", "reservations.json: reservations.R1: no user 'u2'"),
        ("reservations.R1.flights", [], "reservations.json: reservations.R1: no flight"),
        ("reservations.R1.flights", [{}], "reservations.R1.flights[0] has no 'flight_number'"),
        ("reservations.R1.payment_history", {}, "reservations.json: reservations.R1.payment_history is not a list"),
        ("users.u1.name", "Ada", "users.json: users.u1.name is not an object"),
        ("users.u1.payment_methods.gift_card_1.amount", True, "u1.payment_methods.gift_card_1.amount is not a number"),
        ("users.u1.reservations", ["R2"], "users.json: users.u1: no reservation 'R2'"),
    ],
)
@pytest.mark.sandbox
def test_data_that_would_break_a_tool_or_a_seed_is_refused_with_the_place(
    sandbox: Sandbox, tmp_path: Path, place: str, value: Any, said: str
) -> None:
    """Data that would break a tool later is refused at once, also in the jail: the message names file, record and
    fault.
    """
    tmp_path.chmod(0o755)
    tables = copy.deepcopy(SMALL)
    *keys, last = place.split(".")
    found: Any = tables
    for key in keys:
        found = found[key]
    found[last] = value
    with pytest.raises(RecordError, match=re.escape(said)) as refusal:
        sandbox.describe(EnvSpec(name="airline", options={"data": write(tmp_path, tables)}))
    assert refusal.value.message.startswith(f"environment 'airline': {tmp_path}/")


@pytest.mark.sandbox
def test_a_relative_path_is_recorded_as_absolute(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `data=` names is found from where it was typed, and the record is good in any directory."""
    tmp_path.chmod(0o755)
    (folder := tmp_path / "desk").mkdir()
    write(folder, SMALL)
    monkeypatch.chdir(tmp_path)
    (env,) = plugins.expand_env(plugins.parse_env("airline:data=./desk"))
    assert env.options == {"data": str(folder)}
    monkeypatch.chdir("/")
    with sandbox.session(env, 0) as session:
        assert session.state() == SMALL


# ---------------------------------------------------------------- the evaluation set


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """The committed evaluation set."""
    records = [decode(line) for line in Airline.eval_path().read_bytes().splitlines()]
    return [record for record in records if isinstance(record, Task)]


def test_the_evaluation_set_is_graded(tasks: list[Task]) -> None:
    """72 different tasks from one call to five and more, all marked as held out, with three failure cases each."""
    assert len(tasks) == len({task.id for task in tasks}) == len({task.instruction for task in tasks}) == 72
    assert {(task.env.name, task.split, len(task.failure_cases)) for task in tasks} == {("airline", "eval", 3)}
    grades = Counter(min(task.calls or 0, 5) for task in tasks)
    assert grades.keys() == {1, 2, 3, 4, 5}
    assert min(grades.values()) >= 4


def test_making_the_evaluation_set_again_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`python -m generators.airline.make_eval` reproduces the committed file."""
    committed = Airline.eval_path().read_bytes()
    monkeypatch.setattr(Airline, "eval_path", classmethod(lambda _cls: tmp_path / "eval.jsonl"))
    make_eval.main()
    assert (tmp_path / "eval.jsonl").read_bytes() == committed


@pytest.mark.sandbox
def test_gold_solutions_pass_and_failure_cases_fail(tasks: list[Task]) -> None:
    """In the sandbox, one task of each kind: solutions pass with the calls they claim; mistakes and nothing fail."""
    with Sandbox(Limits(wall_s=60.0)) as sandbox:
        for task in tasks[1::4]:
            solution = run_check(sandbox, task, task.solution, "solution")
            assert (solution.outcome, len(solution.calls)) == ("pass", task.calls), task.instruction
            for program in ("", *task.failure_cases):
                assert run_check(sandbox, task, program, "wrong").outcome == "fail", (task.instruction, program)


@pytest.mark.sandbox
def test_a_jailed_world_is_the_seeds() -> None:
    """A world in the sandbox has the same state for a seed as one in this process, and describes its tools and
    policy.
    """
    assert "airline" in plugins.registry().environments
    with Sandbox(Limits(wall_s=60.0)) as sandbox:
        tools, policy, _ = sandbox.describe(EnvSpec(name="airline"))
        assert len(tools) == 14
        assert "basic economy" in policy
        with sandbox.session(EnvSpec(name="airline"), 41) as session:
            _WORLD.reset(41)
            assert session.state() == _WORLD.state()
