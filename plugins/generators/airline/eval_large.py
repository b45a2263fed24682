"""Templates of the evaluation set: new cabins, flights and bookings, and requests of several parts."""

from typing import Any

from sca_airline.store import Record
from sca_airline.writing import BAG, INSURANCE

from generators.airline.drafts import (
    AirlineDraft,
    AirlineSampler,
    Case,
    assign,
    booked,
    call,
    cancelled,
    check,
    holds,
    people,
    route_of,
    unchanged,
)

_BOOK_CHEAPEST = """\
found = search_direct_flight(origin, destination, date)
found = [each for each in found if each['available_seats'][cabin] >= len(passengers)]
best = min(found, key=lambda each: each['prices'][cabin])
flights = [{'flight_number': best['flight_number'], 'date': date}]
price = len(passengers) * (best['prices'][cabin] + (30 if insurance == 'yes' else 0))
"""


def _cheapest(draw: AirlineSampler, origin: str, destination: str, date: str, cabin: str, count: int) -> Record | None:
    """Return the direct flight with enough seats whose price is lower than all others, or None."""
    flights = draw.world.search_direct_flight(origin, destination, date)
    flights = [each for each in flights if each["available_seats"][cabin] >= count]
    flights.sort(key=lambda each: each["prices"][cabin])
    if not flights or (len(flights) > 1 and flights[0]["prices"][cabin] == flights[1]["prices"][cabin]):
        return None
    return flights[0]


def _trip(draw: AirlineSampler, cabin: str, count: int) -> tuple[Record, str]:
    """Draw a flight that is the cheapest direct one of its route and date; return it and the date."""
    while True:
        flight, date = draw.random.choice(list(draw.store.flights.values())), f"2024-05-{draw.random.randrange(17, 29)}"
        best = _cheapest(draw, flight["origin"], flight["destination"], date, cabin, count)
        if best:
            return best, date


def _buyer(draw: AirlineSampler, *sources: str) -> Case:
    """Draw a user who has payment methods of these kinds, and one of the user's reservations."""
    return draw.case(lambda case: all(case.card(source) for source in sources))


def _self(case: Case) -> dict[str, str]:
    return {**case.user["name"], "dob": case.user["dob"]}


def _recabined(draw: AirlineSampler, case: Case, cabin: str) -> tuple[list[dict[str, Any]], int]:
    """Return the flights of a reservation in another cabin, and the difference in price."""
    legs = [draw.priced(flight, cabin) for flight in case.flights]
    before = sum(leg["price"] for leg in case.reservation["flights"])
    return legs, case.count * (sum(leg["price"] for leg in legs) - before)


def _paid(case: Case, payment_id: str, amount: int) -> list[dict[str, Any]]:
    return [*case.reservation["payment_history"], {"payment_id": payment_id, "amount": amount}]


def _new_cabin(draw: AirlineSampler, case: Case, cabin: str, wordings: tuple[str, str]) -> AirlineDraft:
    """Return a draft that changes the cabin; the flights stay, at today's prices."""
    legs, difference = _recabined(draw, case, cabin)
    arguments = {"reservation_id": case.key, "payment_id": case.card()}
    update = "update_reservation_flights"
    program = (
        "found = get_reservation_details(key)\n"
        "flights = [{'flight_number': each['flight_number'], 'date': each['date']} for each in found['flights']]\n"
        "update_reservation_flights(key, cabin, flights, card)\n"
    )
    other = "economy" if cabin == "business" else "basic_economy"
    return AirlineDraft(
        wordings,
        check(unchanged(case, cabin=cabin, flights=legs, payment_history=_paid(case, case.card(), difference))),
        assign(key=case.key, cabin=cabin, card=case.card()) + program,
        (
            call(update, cabin=case.reservation["cabin"], flights=case.flights, **arguments),
            f"try:\n    {call(update, cabin=other, flights=case.flights, **arguments)}except ToolError:\n    pass\n",
            call(update, cabin=cabin, flights=case.flights, **arguments)
            + call("cancel_reservation", reservation_id=case.key),
        ),
    )


def upgraded(draw: AirlineSampler) -> AirlineDraft:
    """Change a reservation to business and pay the difference."""

    def fits(c: Case) -> bool:
        return (
            c.reservation["cabin"] != "business"
            and draw.seats(c, "business")
            and _recabined(draw, c, "business")[1] > 0
        )

    case = draw.case(fits)
    return _new_cabin(
        draw,
        case,
        "business",
        (
            f"{case.hello()} Move everybody on {case.key} to business, on the same flights. Charge {case.card()}; "
            "whatever "
            "it costs is fine.",
            f"{case.hello()} We would like to sit in business on all flights of {case.key}. Take the difference from "
            f"{case.card()}.",
        ),
    )


def downgraded(draw: AirlineSampler) -> AirlineDraft:
    """Change a reservation from business to economy and get a refund."""

    def fits(c: Case) -> bool:
        return (
            c.reservation["cabin"] == "business" and draw.seats(c, "economy") and _recabined(draw, c, "economy")[1] < 0
        )

    case = draw.case(fits)
    return _new_cabin(
        draw,
        case,
        "economy",
        (
            f"{case.hello()} Business is too dear for us. Put reservation {case.key} in economy, same flights, and "
            "refund "
            f"the difference to {case.card()}.",
            f"{case.hello()} Change {case.key} from business to economy without touching the flights. The money back "
            "goes "
            f"to {case.card()}.",
        ),
    )


def moved(draw: AirlineSampler) -> AirlineDraft:
    """Move a direct one-way trip to the cheapest direct flight of another day."""
    date = f"2024-05-{draw.random.randrange(18, 30)}"

    def best(c: Case) -> Record | None:
        r = c.reservation
        return _cheapest(draw, r["origin"], r["destination"], date, r["cabin"], c.count)

    def fits(c: Case) -> bool:
        r = c.reservation
        plain = r["flight_type"] == "one_way" and r["cabin"] != "basic_economy" and len(r["flights"]) == 1
        return plain and draw.ahead(c) and r["flights"][0]["date"] != date and best(c) is not None

    case = draw.case(fits)
    chosen = best(case) or {}
    cabin, before = case.reservation["cabin"], case.reservation["flights"][0]
    flights = [{"flight_number": chosen["flight_number"], "date": date}]
    leg = draw.priced(flights[0], cabin)
    difference = case.count * (leg["price"] - before["price"])
    paid = _paid(case, case.card(), difference) if difference else case.reservation["payment_history"]
    arguments = {"reservation_id": case.key, "payment_id": case.card()}
    route = assign(origin=before["origin"], destination=before["destination"], date=date, cabin=cabin, card=case.card())
    return AirlineDraft(
        (
            f"{case.hello()} I have to travel on {date} instead: move {case.key} to the cheapest direct flight of that "
            "day "
            f"that has room, in the same cabin. Settle the difference with {case.card()}.",
            f"{case.hello()} Please rebook {case.key} to {date}. Same cabin, nonstop, the lowest fare with enough "
            "seats; "
            f"{case.card()} pays or gets the refund.",
        ),
        check(unchanged(case, flights=[leg], payment_history=paid)),
        assign(key=case.key) + route + "passengers = get_reservation_details(key)['passengers']\ninsurance = 'no'\n"
        + _BOOK_CHEAPEST + "update_reservation_flights(key, cabin, flights, card)\n",
        (
            call("get_reservation_details", reservation_id=case.key),
            call("update_reservation_flights", cabin=cabin, flights=case.flights, **arguments),
            call("update_reservation_flights", cabin=cabin, flights=flights, **arguments)
            + call("cancel_reservation", reservation_id=case.key),
        ),
    )  # fmt: skip


def _booking(
    case: Case, legs: list[dict[str, Any]], cabin: str, passengers: list[dict[str, str]], **more: Any
) -> dict[str, Any]:
    """Return the values that the reservation of a one-way booking has, without the payments."""
    return {
        "user_id": case.user_id,
        "origin": legs[0]["origin"],
        "destination": legs[-1]["destination"],
        "flight_type": "one_way",
        "cabin": cabin,
        "flights": legs,
        "passengers": passengers,
        "total_baggages": 0,
        "nonfree_baggages": 0,
        "insurance": "no",
    } | more


def _arguments(values: dict[str, Any], payments: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the arguments of `book_reservation` that create such a reservation."""
    flights = [{key: leg[key] for key in ("flight_number", "date")} for leg in values["flights"]]
    return {**values, "flights": flights, "payment_methods": payments}


def _booked(case: Case, values: dict[str, Any], payments: list[dict[str, Any]]) -> str:
    return booked(case.user_id, case.user["reservations"], {**values, "payment_history": payments})


def booked_one_way(draw: AirlineSampler) -> AirlineDraft:
    """Book the cheapest direct flight in economy, for the customer alone."""
    case = _buyer(draw, "credit_card")
    flight, date = _trip(draw, "economy", 1)
    leg = draw.priced({"flight_number": flight["flight_number"], "date": date}, "economy")
    values = _booking(case, [leg], "economy", [_self(case)])
    payments = [{"payment_id": case.card(), "amount": leg["price"]}]
    dear = [{"payment_id": case.card(), "amount": leg["price"] + BAG}]
    insured = [{"payment_id": case.card(), "amount": leg["price"] + INSURANCE}]
    ends = f"from {leg['origin']} to {leg['destination']} on {date}"
    facts = assign(origin=leg["origin"], destination=leg["destination"], date=date, cabin="economy", me=case.user_id)
    facts += assign(passengers=[_self(case)], card=case.card(), insurance="no")
    return AirlineDraft(
        (
            f"{case.hello()} Book me one way {ends}: the cheapest direct flight in economy with a free seat. No bags, "
            "no "
            f"insurance, just me, born {case.user['dob']}. Pay with {case.card()}.",
            f"{case.hello()} I need a seat in economy {ends}, one way and nonstop, at the lowest fare there is. Only I "
            "fly "
            f"(date of birth {case.user['dob']}), without checked bags or insurance; {case.card()} pays.",
        ),
        check(_booked(case, values, payments)),
        facts + _BOOK_CHEAPEST + "payments = [{'payment_id': card, 'amount': price}]\n"
        "book_reservation(me, origin, destination, 'one_way', cabin, flights, passengers, payments, 0, 0, insurance)\n",
        (
            call("search_direct_flight", origin=leg["origin"], destination=leg["destination"], date=date),
            call("book_reservation", **_arguments({**values, "total_baggages": 1, "nonfree_baggages": 1}, dear)),
            call("book_reservation", **_arguments({**values, "insurance": "yes"}, insured)),
        ),
    )  # fmt: skip


def booked_with_certificate(draw: AirlineSampler) -> AirlineDraft:
    """Book for two people with insurance, and pay with a certificate and a credit card."""
    case = draw.case(lambda c: bool(c.card("certificate") and c.user["saved_passengers"]))
    flight, date = _trip(draw, "business", 2)
    leg = draw.priced({"flight_number": flight["flight_number"], "date": date}, "business")
    party = [_self(case), case.user["saved_passengers"][0]]
    values = _booking(case, [leg], "business", party, insurance="yes")
    certificate, card = case.card("certificate"), case.card()
    worth, price = case.user["payment_methods"][certificate]["amount"], 2 * (leg["price"] + INSURANCE)
    worth = min(worth, price)
    payments = [{"payment_id": certificate, "amount": worth}, {"payment_id": card, "amount": price - worth}]
    bare = [{"payment_id": certificate, "amount": worth}, {"payment_id": card, "amount": 2 * leg["price"] - worth}]
    ends = f"from {leg['origin']} to {leg['destination']} on {date}"
    facts = assign(origin=leg["origin"], destination=leg["destination"], date=date, cabin="business", me=case.user_id)
    facts += assign(passengers=party, certificate=certificate, card=card, insurance="yes")
    return AirlineDraft(
        (
            f"{case.hello()} Two tickets in business {ends}, one way, for {people(*party)}, with travel insurance and "
            "no "
            f"bags. Take the cheapest direct flight with two seats. Use all of {certificate} first, the rest goes on "
            f"{card}.",
            f"{case.hello()} Book {people(*party)} on the cheapest nonstop flight {ends} that has two seats in "
            "business. One "
            f"way, insured, no checked bags. Spend {certificate} in full and put what remains on {card}.",
        ),
        check(_booked(case, values, payments), holds(case.user_id, certificate, None)),
        facts + _BOOK_CHEAPEST + "worth = get_user_details(me)['payment_methods'][certificate]['amount']\n"
        "payments = [{'payment_id': certificate, 'amount': worth}, {'payment_id': card, 'amount': price - worth}]\n"
        "book_reservation(me, origin, destination, 'one_way', cabin, flights, passengers, payments, 0, 0, insurance)\n",
        (
            call("book_reservation", **_arguments(values, [{"payment_id": card, "amount": price}])),
            call("book_reservation", **_arguments({**values, "insurance": "no"}, bare)),
            call("book_reservation", **_arguments({**values, "passengers": party[::-1]}, payments))
            + call("send_certificate", user_id=case.user_id, amount=worth)
            + call("cancel_reservation", reservation_id="HATHAT"),
        ),
    )  # fmt: skip


def booked_one_stop(draw: AirlineSampler) -> AirlineDraft:
    """Book the cheapest pair of flights on a route without direct flights."""
    case = _buyer(draw, "credit_card")
    pairs: list[list[Record]] = []
    codes = [each["iata"] for each in draw.world.list_all_airports()]

    def cost(pair: list[Record]) -> int:
        return sum(each["prices"]["economy"] for each in pair)

    while len(pairs) < 2 or cost(pairs[0]) == cost(pairs[1]):
        route = dict(zip(("origin", "destination"), draw.random.sample(codes, 2), strict=True))
        route["date"] = f"2024-05-{draw.random.randrange(17, 28)}"
        if not draw.world.search_direct_flight(**route):
            pairs = draw.world.search_onestop_flight(**route)
            pairs = [pair for pair in pairs if all(each["available_seats"]["economy"] for each in pair)]
            pairs.sort(key=cost)
    legs = [[draw.priced(each, "economy") for each in pair] for pair in (pairs[0], pairs[-1])]
    values = _booking(case, legs[0], "economy", [_self(case)])
    payments = [{"payment_id": case.card(), "amount": cost(pairs[0])}]
    most = [{"payment_id": case.card(), "amount": cost(pairs[-1])}]
    first = [{"payment_id": case.card(), "amount": legs[0][0]["price"]}]
    ends = f"from {route['origin']} to {route['destination']} on {route['date']}"
    return AirlineDraft(
        (
            f"{case.hello()} Get me {ends} in economy, one way, with one stop and as cheaply as can be. I travel alone "
            "(born "
            f"{case.user['dob']}), no bags, no insurance, and pay with {case.card()}.",
            f"{case.hello()} There seems to be no direct flight {ends}. Book the least expensive connection over one "
            "other "
            f"airport in economy, one way, for me alone, date of birth {case.user['dob']}. No insurance, no checked "
            "bags, "
            f"card {case.card()}.",
        ),
        check(_booked(case, values, payments)),
        assign(**route, me=case.user_id, card=case.card(), passengers=[_self(case)])
        + "pairs = search_onestop_flight(origin, destination, date)\n"
        "pairs = [pair for pair in pairs if all(each['available_seats']['economy'] > 0 for each in pair)]\n"
        "best = min(pairs, key=lambda pair: sum(each['prices']['economy'] for each in pair))\n"
        "flights = [{'flight_number': each['flight_number'], 'date': each['date']} for each in best]\n"
        "payments = [{'payment_id': card, 'amount': sum(each['prices']['economy'] for each in best)}]\n"
        "book_reservation(me, origin, destination, 'one_way', 'economy', flights, passengers, payments, 0, 0, 'no')\n",
        (
            call("search_onestop_flight", **route),
            call("book_reservation", **_arguments({**values, "flights": legs[1]}, most)),
            call("book_reservation", **_arguments({**values, "flights": legs[0][:1]}, first)),
        ),
    )


def booked_round_trip(draw: AirlineSampler) -> AirlineDraft:
    """Book a round trip in basic economy with one bag, which may be free or not."""
    case = draw.case(lambda c: c.card() != "")
    back = None
    while back is None:
        out, date = _trip(draw, "basic_economy", 1)
        later = f"2024-05-{min(30, int(date[-2:]) + draw.random.randrange(1, 6))}"
        back = _cheapest(draw, out["destination"], out["origin"], later, "basic_economy", 1)
    days = ((out, date), (back, later))
    legs = [draw.priced({"flight_number": each["flight_number"], "date": day}, "basic_economy") for each, day in days]
    nonfree = int(case.user["membership"] == "regular")
    more = {"flight_type": "round_trip", "destination": out["destination"], "total_baggages": 1}
    values = _booking(case, legs, "basic_economy", [_self(case)], **more, nonfree_baggages=nonfree)
    fares = sum(leg["price"] for leg in legs)
    payments = [{"payment_id": case.card(), "amount": fares + BAG * nonfree}]
    other = [{"payment_id": case.card(), "amount": fares + BAG * (1 - nonfree)}]
    one = [{"payment_id": case.card(), "amount": legs[0]["price"] + BAG * nonfree}]
    ends = f"from {out['origin']} to {out['destination']}"
    return AirlineDraft(
        (
            f"{case.hello()} A round trip in basic economy {ends}, out on {date}, back on {later}, for me (born "
            f"{case.user['dob']}): each way the cheapest direct flight with a seat. One checked bag, no insurance, "
            "paid "
            f"with {case.card()}.",
            f"{case.hello()} I am flying {ends} on {date} and home on {later}. Book me the cheapest nonstop flights "
            "that have "
            "a seat, basic economy, as one round trip. I check one bag, want no insurance, was born on "
            f"{case.user['dob']} "
            f"and pay with {case.card()}.",
        ),
        check(_booked(case, values, payments)),
        assign(ends=[out["origin"], out["destination"]], dates=[date, later], me=case.user_id, card=case.card())
        + assign(passengers=[_self(case)], cabin="basic_economy")
        + "flights, price = [], 0\n"
        "for origin, destination, date in ((*ends, dates[0]), (*ends[::-1], dates[1])):\n"
        "    found = search_direct_flight(origin, destination, date)\n"
        "    found = [each for each in found if each['available_seats'][cabin] > 0]\n"
        "    best = min(found, key=lambda each: each['prices'][cabin])\n"
        "    flights.append({'flight_number': best['flight_number'], 'date': date})\n"
        "    price += best['prices'][cabin]\n"
        "nonfree = 1 if get_user_details(me)['membership'] == 'regular' else 0\n"
        "payments = [{'payment_id': card, 'amount': price + 50 * nonfree}]\n"
        "book_reservation(me, *ends, 'round_trip', cabin, flights, passengers, payments, 1, nonfree, 'no')\n",
        (
            call("book_reservation", **_arguments({**values, "nonfree_baggages": 1 - nonfree}, other)),
            call("book_reservation", **_arguments({**values, "flights": legs[:1], "flight_type": "one_way"}, one)),
            call("get_user_details", user_id=case.user_id),
        ),
    )


def only_the_allowed(draw: AirlineSampler) -> AirlineDraft:
    """Cancel one of two reservations: the only one that the rules allow to cancel."""

    def firm(c: Case) -> bool:
        return draw.ahead(c) and not draw.cancellable(c)

    def pair(c: Case) -> bool:
        return draw.cancellable(c) and any(firm(other) for other in _others(draw, c))

    case = draw.case(pair)
    other = next(each for each in _others(draw, case) if firm(each))
    first, second = sorted((case.key, other.key))
    return AirlineDraft(
        (
            f"{case.hello()} My plans have changed: I need neither {first} nor {second} any more. Cancel each of them "
            "that "
            "your rules let me cancel for that reason, and leave the other alone.",
            f"{case.hello()} Please look at {first} and {second}. I simply do not want to travel any longer. Cancel "
            "whichever may be cancelled on these grounds, but not the one that may not.",
        ),
        check(cancelled(case), unchanged(other)),
        "".join(call("get_reservation_details", reservation_id=key) for key in (first, second))
        + "".join(call("search_direct_flight", **route_of(leg)) for leg in case.reservation["flights"])
        + call("cancel_reservation", reservation_id=case.key),
        (
            call("cancel_reservation", reservation_id=other.key),
            call("cancel_reservation", reservation_id=first) + call("cancel_reservation", reservation_id=second),
            call("get_user_details", user_id=case.user_id),
        ),
    )


def _others(draw: AirlineSampler, case: Case) -> list[Case]:
    keys = [key for key in case.user["reservations"] if key != case.key]
    return [Case(case.user_id, case.user, draw.store.reservations[key]) for key in keys]


def cancelled_and_rebooked(draw: AirlineSampler) -> AirlineDraft:
    """Cancel a business trip, and book the cheapest direct flight of another day in economy instead."""
    date = f"2024-05-{draw.random.randrange(18, 30)}"

    def best(c: Case) -> Record | None:
        return _cheapest(draw, c.reservation["origin"], c.reservation["destination"], date, "economy", c.count)

    def fits(c: Case) -> bool:
        r = c.reservation
        return r["cabin"] == "business" and r["flight_type"] == "one_way" and draw.ahead(c) and best(c) is not None

    case = draw.case(fits)
    chosen, card = best(case) or {}, case.card()
    leg = draw.priced({"flight_number": chosen["flight_number"], "date": date}, "economy")
    values = _booking(case, [leg], "economy", case.reservation["passengers"])
    payments = [{"payment_id": card, "amount": case.count * leg["price"]}]
    book = call("book_reservation", **_arguments(values, payments))
    facts = assign(key=case.key, date=date, cabin="economy", card=card, insurance="no", me=case.user_id)
    who = "the same passenger" if case.count == 1 else "the same passengers"
    return AirlineDraft(
        (
            f"{case.hello()} Cancel my business reservation {case.key}, then book {who} one way on the cheapest direct "
            f"flight of {date} between the same airports that has room in economy. No bags, no insurance; charge "
            f"{card}.",
            f"{case.hello()} {case.key} no longer suits us. Please cancel it and make a new one-way booking in economy "
            "on "
            f"{date}, same airports, {who}, nonstop, lowest fare with enough seats, no bags or insurance, paid with "
            f"{card}.",
        ),
        check(cancelled(case), _booked(case, values, payments)),
        facts + "old = get_reservation_details(key)\ncancel_reservation(key)\n"
        "origin, destination, passengers = old['origin'], old['destination'], old['passengers']\n" + _BOOK_CHEAPEST
        + "payments = [{'payment_id': card, 'amount': price}]\n"
        "book_reservation(me, origin, destination, 'one_way', cabin, flights, passengers, payments, 0, 0, insurance)\n",
        (call("cancel_reservation", reservation_id=case.key), book, book + book),
    )  # fmt: skip


def all_at_once(draw: AirlineSampler) -> AirlineDraft:
    """Change cabin, bags and a name in one request; the free allowance is that of the new cabin."""

    def fits(c: Case) -> bool:
        r = c.reservation
        plain = (
            r["cabin"] == "economy"
            and r["nonfree_baggages"] == 0
            and r["total_baggages"] + 2 <= c.free_bags("business")
        )
        return plain and c.free_bags() < r["total_baggages"] + 2 and draw.seats(c, "business")

    case = draw.case(lambda c: fits(c) and _recabined(draw, c, "business")[1] > 0)
    legs, difference = _recabined(draw, case, "business")
    card, total = case.card(), case.reservation["total_baggages"] + 2
    passengers = [{**each} for each in case.reservation["passengers"]]
    name = f"{passengers[0]['first_name']} {passengers[0]['last_name']}"
    passengers[0]["first_name"] += "-Marie"
    right = passengers[0]["first_name"]
    paid = _paid(case, card, difference)
    cabin = call(
        "update_reservation_flights", reservation_id=case.key, cabin="business", flights=case.flights, payment_id=card
    )
    names = call("update_reservation_passengers", reservation_id=case.key, passengers=passengers)
    bags = {"reservation_id": case.key, "total_baggages": total, "payment_id": card}
    return AirlineDraft(
        (
            f"{case.hello()} Three changes to {case.key}: business instead of economy on the same flights, two more "
            "checked "
            f"bags, and the first name of {name} must be {right}. Everything is charged to {card}.",
            f"{case.hello()} For {case.key}, please (1) correct {name}'s first name to {right}, (2) move all of us to "
            f"business without changing flights and (3) then add two checked bags. {card} pays what there is to pay.",
        ),
        check(
            unchanged(
                case, cabin="business", flights=legs, passengers=passengers, total_baggages=total, payment_history=paid
            )
        ),
        call("get_user_details", user_id=case.user_id)
        + call("get_reservation_details", reservation_id=case.key)
        + cabin + call("update_reservation_baggages", nonfree_baggages=0, **bags) + names,
        (
            call("update_reservation_baggages", nonfree_baggages=total - case.free_bags(), **bags) + cabin + names,
            cabin + call("update_reservation_baggages", nonfree_baggages=0, **bags),
            call("update_reservation_baggages", nonfree_baggages=0, **bags) + names,
        ),
    )  # fmt: skip


TEMPLATES = (
    upgraded,
    downgraded,
    moved,
    booked_one_way,
    booked_with_certificate,
    booked_one_stop,
    booked_round_trip,
    only_the_allowed,
    cancelled_and_rebooked,
    all_at_once,
)
