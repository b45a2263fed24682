"""Templates of the evaluation set: one request, at most four calls."""

from sca_airline.store import Record
from sca_airline.writing import BAG

from generators.airline.drafts import (
    AirlineDraft,
    AirlineSampler,
    Case,
    call,
    cancelled,
    check,
    holds,
    route_of,
    unchanged,
)
from generators.calculation.drafts import check_of


def _other(draw: AirlineSampler, case: Case) -> Case:
    """Return another reservation id of the same user."""
    return draw.case(lambda other: other.user_id == case.user_id and other.key != case.key)


def _has_two(case: Case) -> bool:
    return len(case.user["reservations"]) > 1


def business_cancelled(draw: AirlineSampler) -> AirlineDraft:
    """Cancel a business reservation, which the policy always allows."""
    case = draw.case(lambda c: _has_two(c) and c.reservation["cabin"] == "business" and draw.ahead(c))
    other = _other(draw, case)
    return AirlineDraft(
        (
            f"{case.hello()} Please cancel my reservation {case.key}; my plans have changed.",
            f"{case.hello()} My meeting was called off, so I no longer need {case.key}. Cancel it if that is allowed.",
        ),
        check(cancelled(case), unchanged(other)),
        call("get_reservation_details", reservation_id=case.key) + call("cancel_reservation", reservation_id=case.key),
        (
            call("cancel_reservation", reservation_id=other.key),
            call("transfer_to_human_agents", summary=f"wants {case.key} cancelled"),
            call("cancel_reservation", reservation_id=case.key) + call("cancel_reservation", reservation_id=other.key),
        ),
    )


def insured_cancelled(draw: AirlineSampler) -> AirlineDraft:
    """Cancel an insured reservation for health reasons, which the insurance covers."""
    case = draw.case(
        lambda c: c.reservation["insurance"] == "yes" and draw.ahead(c) and not draw.cancellable(c) and _has_two(c)
    )
    legs = case.reservation["flights"]
    return AirlineDraft(
        (
            f"{case.hello()} I have fallen ill and cannot take my trip {case.key}. I bought the insurance: please "
            "cancel.",
            f"{case.hello()} My doctor has forbidden me to fly. Cancel my trip from {case.reservation['origin']} to "
            f"{case.reservation['destination']} on {legs[0]['date']}, reservation {case.key}; it is insured.",
        ),
        check(cancelled(case), holds(case.user_id, "certificate_3221322", None)),
        f"found = get_reservation_details({case.key!r})\n"
        "if found['insurance'] == 'yes':\n    " + call("cancel_reservation", reservation_id=case.key),
        (
            call("get_reservation_details", reservation_id=case.key),
            call("send_certificate", user_id=case.user_id, amount=100 * case.count),
            call("cancel_reservation", reservation_id=case.key)
            + call("send_certificate", user_id=case.user_id, amount=100 * case.count),
        ),
    )


def passenger_renamed(draw: AirlineSampler) -> AirlineDraft:
    """Correct the last name of one passenger; everything else must be unchanged."""
    case = draw.case(lambda c: c.count > 1 and draw.ahead(c))
    passengers = case.reservation["passengers"]
    last = passengers[-1]
    name = f"{last['last_name']}-{passengers[0]['last_name']}"
    right = [*passengers[:-1], {**last, "last_name": name}]
    full = f"{last['first_name']} {last['last_name']}"
    return AirlineDraft(
        (
            f"{case.hello()} In reservation {case.key} the last name of {full} must read {name}. Please correct it.",
            f"{case.hello()} {full}, who flies with me on {case.key}, has married: the last name is now {name}. "
            "Update the passenger, nothing else.",
        ),
        check(unchanged(case, passengers=right)),
        f"passengers = get_reservation_details({case.key!r})['passengers']\n"
        f"passengers[-1]['last_name'] = {name!r}\n"
        f"update_reservation_passengers({case.key!r}, passengers)\n",
        (
            call("get_reservation_details", reservation_id=case.key),
            call("update_reservation_passengers", reservation_id=case.key, passengers=[*right[:-1], last]),
            call(
                "update_reservation_passengers",
                reservation_id=case.key,
                passengers=[{**each, "last_name": name} for each in passengers],
            ),
        ),
    )


def lowest_fare(draw: AirlineSampler) -> AirlineDraft:
    """Find the lowest fare among several direct flights."""
    user_id, user = draw.user(lambda _key, _user: True)
    name = f"{user['name']['first_name']} {user['name']['last_name']}"
    day = draw.random.randrange(16, 31)
    date = f"2024-05-{day}"
    flights: list[Record] = []
    while len(flights) < 2:
        flight = draw.random.choice(list(draw.store.flights.values()))
        route = {"origin": flight["origin"], "destination": flight["destination"], "date": date}
        flights = draw.world.search_direct_flight(**route)
    cabin = draw.random.choice(("basic_economy", "economy", "business"))
    fares = [flight["prices"][cabin] for flight in flights]
    label = cabin.replace("_", " ")
    ends = f"from {route['origin']} to {route['destination']}"
    return AirlineDraft(
        (
            f"I am {name}, user id {user_id}. What is the lowest fare in {label} for a direct flight {ends} on {date}, "
            "in dollars, whether or not seats are left? Answer with the number.",
            f"This is {name} ({user_id}). I am not booking yet: just tell me what the cheapest nonstop flight {ends} "
            "on "
            f"{date} costs in {label}, sold out or not, as a number of dollars.",
        ),
        check_of(min(fares), "number"),
        f"found = {call('search_direct_flight', **route)}final_answer(min(each['prices'][{cabin!r}] for each in "
        "found))\n",
        (
            f"final_answer({max(fares) + 1})\n",
            f"found = {call('search_direct_flight', **route)}"
            f"final_answer(sum(each['prices'][{cabin!r}] for each in found))\n",
            f"final_answer({len(fares)})\n",
        ),
    )


def free_allowance(draw: AirlineSampler) -> AirlineDraft:
    """Compute the number of free bags from membership, cabin and number of passengers."""
    case = draw.case(lambda c: draw.ahead(c) and c.free_bags() > 0)
    free = case.free_bags()
    return AirlineDraft(
        (
            f"{case.hello()} How many checked bags are free on my reservation {case.key}, for all passengers together? "
            "Answer with the number.",
            f"{case.hello()} Before we pack: what is the total of free checked bags for everybody on {case.key}? "
            "I need just the number.",
        ),
        check_of(free, "number"),
        f"found, me = get_reservation_details({case.key!r}), get_user_details({case.user_id!r})\n"
        "extra = ['regular', 'silver', 'gold'].index(me['membership'])\n"
        "cabin = ['basic_economy', 'economy', 'business'].index(found['cabin'])\n"
        "final_answer((extra + cabin) * len(found['passengers']))\n",
        (
            f"final_answer({free + case.count})\n",
            f"final_answer({free} - 1)\n",
            f"final_answer(get_reservation_details({case.key!r})['nonfree_baggages'] + {free} + 2)\n",
        ),
    )


def free_bag_added(draw: AirlineSampler) -> AirlineDraft:
    """Add a bag within the free allowance, at no cost."""
    case = draw.case(lambda c: draw.ahead(c) and c.card() != "" and c.reservation["total_baggages"] < c.free_bags())
    total = case.reservation["total_baggages"] + 1
    arguments = {"reservation_id": case.key, "payment_id": case.card()}
    update = "update_reservation_baggages"
    return AirlineDraft(
        (
            f"{case.hello()} Add one checked bag to reservation {case.key}. I think it is free; otherwise charge "
            f"{case.card()}.",
            f"{case.hello()} We will bring one suitcase more than planned on {case.key}. Please add it; should it cost "
            f"anything, use {case.card()}.",
        ),
        check(unchanged(case, total_baggages=total)),
        f"found, me = get_reservation_details({case.key!r}), get_user_details({case.user_id!r})\n"
        f"update_reservation_baggages({case.key!r}, found['total_baggages'] + 1, found['nonfree_baggages'], "
        f"{case.card()!r})\n",
        (
            call(update, total_baggages=total, nonfree_baggages=1, **arguments),
            call(update, total_baggages=total + 1, nonfree_baggages=0, **arguments),
            call("get_reservation_details", reservation_id=case.key),
        ),
    )


def paid_bags_added(draw: AirlineSampler) -> AirlineDraft:
    """Add bags that exceed the free allowance for 50 dollars each, paid with a gift card."""

    def fits(case: Case) -> bool:
        room = case.free_bags() - case.reservation["total_baggages"]
        return draw.ahead(case) and case.card("gift_card", 2 * BAG) != "" and 0 <= room <= 1

    case = draw.case(fits)
    card = case.card("gift_card", 2 * BAG)
    before, total = case.reservation, case.reservation["total_baggages"] + 2
    nonfree = total - case.free_bags()
    cost = BAG * (nonfree - before["nonfree_baggages"])
    left = case.user["payment_methods"][card]["amount"] - cost
    paid = [*before["payment_history"], {"payment_id": card, "amount": cost}]
    arguments = {"reservation_id": case.key, "payment_id": card}
    update = "update_reservation_baggages"
    return AirlineDraft(
        (
            f"{case.hello()} Please add two checked bags to {case.key} and charge what they cost to my gift card "
            f"{card}.",
            f"{case.hello()} For trip {case.key} we need two more checked bags. Pay from {card} whatever is not free.",
        ),
        check(
            unchanged(case, total_baggages=total, nonfree_baggages=nonfree, payment_history=paid),
            holds(case.user_id, card, left),
        ),
        f"found, me = get_reservation_details({case.key!r}), get_user_details({case.user_id!r})\n"
        f"total = found['total_baggages'] + 2\n"
        f"update_reservation_baggages({case.key!r}, total, total - {case.free_bags()}, {card!r})\n",
        (
            call(update, total_baggages=total, nonfree_baggages=before["nonfree_baggages"], **arguments),
            call(update, total_baggages=2, nonfree_baggages=2, **arguments),
            call(update, total_baggages=total, nonfree_baggages=nonfree, **{**arguments, "payment_id": case.card()}),
        ),
    )


def flight_compensated(draw: AirlineSampler) -> AirlineDraft:
    """Compensate an eligible customer for a cancelled flight with 100 dollars for each passenger."""

    def fits(case: Case) -> bool:
        entitled = case.user["membership"] != "regular" or case.reservation["insurance"] == "yes"
        gone = [leg for leg in case.reservation["flights"] if draw.day(leg)["status"] == "cancelled"]
        return entitled and len(gone) == 1

    case = draw.case(fits)
    gone = next(leg for leg in case.reservation["flights"] if draw.day(leg)["status"] == "cancelled")
    amount = 100 * case.count
    tool = "send_certificate"
    return AirlineDraft(
        (
            f"{case.hello()} Flight {gone['flight_number']} on {gone['date']} of my reservation {case.key} was "
            "cancelled "
            "by you. I want the compensation I am entitled to; leave the reservation itself as it is.",
            f"{case.hello()} You cancelled {gone['flight_number']} ({gone['date']}, reservation {case.key}) on us. "
            "Please "
            "send me the certificate that your rules provide for. I do not want to change or cancel anything.",
        ),
        check(holds(case.user_id, "certificate_3221322", amount), unchanged(case)),
        f"me, found = get_user_details({case.user_id!r}), get_reservation_details({case.key!r})\n"
        f"open_flights = {call('search_direct_flight', **route_of(gone))}"
        f"assert {gone['flight_number']!r} not in [each['flight_number'] for each in open_flights]\n"
        f"send_certificate({case.user_id!r}, 100 * len(found['passengers']))\n",
        (
            call(tool, user_id=case.user_id, amount=50 * case.count),
            call(tool, user_id=case.user_id, amount=100 * case.count + 100),
            call(tool, user_id=case.user_id, amount=amount) + call("cancel_reservation", reservation_id=case.key),
        ),
    )


TEMPLATES = (
    lowest_fare,
    free_allowance,
    business_cancelled,
    insured_cancelled,
    passenger_renamed,
    free_bag_added,
    paid_bags_added,
    flight_compensated,
)
