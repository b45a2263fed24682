"""Templates of the evaluation set for travel_itinerary; facts are drawn from the state of the task's world."""

from typing import Any

from sca_calculation.travel_data import CITIES, DATES, PREFERENCES

from generators.calculation.drafts import CalculationDraft, CalculationSampler, Templates

_FLIGHT, _DEPARTURE, _ARRIVAL, _PRICE = range(4)
_HOTEL, _NIGHT, _RATING, _FEATURES = range(4)


def _day(date: str) -> str:
    """Write out a date: 2025-09-04 → 4 September 2025."""
    return f"{int(date[-2:])} September 2025"


def _leg(draw: CalculationSampler) -> tuple[str, str, str, list[Any]]:
    """Draw a leg with at least two flights; return its start, end, date and flights."""
    legs = [
        (*key.partition(" ")[0].split(">"), key.partition(" ")[2], flights)
        for key, flights in draw.state["flights"].items()
        if len(flights) >= 2
    ]
    return draw.random.choice(legs)


def _lodging(draw: CalculationSampler, city: str) -> tuple[str, list[Any]]:
    """Draw a feature that at least two, but not all, hotels of a city have; return it and these hotels.

    If there is no such feature, draw one that any hotel has.
    """
    hotels = draw.state["hotels"][city]
    hotels_by_feature = {each: [hotel for hotel in hotels if each in hotel[_FEATURES]] for each in PREFERENCES}
    selective = [feature for feature, matches in hotels_by_feature.items() if 2 <= len(matches) < len(hotels)]
    feature = draw.random.choice(selective or [each for each, matches in hotels_by_feature.items() if matches])
    return feature, hotels_by_feature[feature]


def _how_many(draw: CalculationSampler) -> CalculationDraft:
    start, end, date, flights = _leg(draw)
    return CalculationDraft(
        {
            "start": start,
            "end": end,
            "date": date,
            "day": _day(date),
            "price": flights[0][_PRICE],
            "n": len(flights),
        },
        (
            "How many direct flights leave {start} for {end} on {day}?",
            "Count the nonstop connections from {start} to {end} on {date} and answer with their number.",
        ),
        "final_answer(len(find_flights({start!r}, {end!r}, {date!r})))",
        ("final_answer(0)", "final_answer({n} + 1)", "final_answer({price})"),
        len(flights),
        "number",
    )


def _first_out(draw: CalculationSampler) -> CalculationDraft:
    start, end, date, flights = _leg(draw)
    facts = {"start": start, "end": end, "date": date, "day": _day(date)}
    return CalculationDraft(
        {**facts, "last": flights[-1][_FLIGHT], "time": flights[0][_DEPARTURE]},
        (
            "Which flight is the first one out of {start} to {end} on {day}? Answer with its flight number.",
            "I want to leave {start} for {end} as early as possible on {date}. What is the number of my flight?",
        ),
        "flights = find_flights({start!r}, {end!r}, {date!r})\n"
        "final_answer(sorted(flights, key=lambda flight: flight['departure'])[0]['flight'])",
        ("final_answer({last!r})", "final_answer({time!r})", "final_answer({start!r} + {end!r})"),
        flights[0][_FLIGHT],
        "word",
    )


def _cheapest_room(draw: CalculationSampler) -> CalculationDraft:
    city = draw.random.choice(CITIES)
    feature, hotels = _lodging(draw, city)
    return CalculationDraft(
        {"city": city, "feature": feature, "dearest": hotels[-1][_HOTEL], "price": hotels[0][_NIGHT]},
        (
            "Name the hotel in {city} that offers '{feature}' at the lowest price per night.",
            "My one requirement for a hotel in {city} is '{feature}'. Which suitable hotel charges the least "
            "for a night? Answer with the hotel's name.",
        ),
        "hotels = book_hotel({city!r}, {feature!r})\n"
        "final_answer(sorted(hotels, key=lambda hotel: hotel['price_per_night'])[0]['hotel'])",
        (
            "final_answer({dearest!r})",
            "final_answer({price})",
            "final_answer(book_hotel({city!r}, {feature!r})[1:])",
        ),
        hotels[0][_HOTEL],
        "word",
    )


def _given_budget(draw: CalculationSampler) -> CalculationDraft:
    flight, night, nights = draw.cents(120, 900), draw.cents(60, 300), draw.random.randrange(3, 12)
    return CalculationDraft(
        {"flight": flight, "night": night, "nights": nights},
        (
            "A trip takes a return ticket for {flight} dollars and {nights} nights in a hotel at {night} "
            "dollars a night. What does it cost in all?",
            "With flights at {flight} dollars and a room at {night} dollars per night for {nights} nights, "
            "what budget do I need in dollars?",
        ),
        "final_answer(budget_calculator({flight}, {night}, {nights}))",
        (
            "final_answer(budget_calculator({flight}, {night}, 1))",
            "final_answer(budget_calculator(0, {night}, {nights}))",
            "final_answer(({flight} + {night}) * {nights})",
        ),
        flight + night * nights,
        "number",
    )


def _expenses(draw: CalculationSampler) -> CalculationDraft:
    spent = [draw.cents(5, 180) for _ in range(7)]
    listed = ", ".join(map(str, spent))
    return CalculationDraft(
        {"listed": listed, "rest": ", ".join(map(str, spent[1:])), "most": max(spent)},
        (
            "On a week away I spent {listed} dollars day by day. What did the week come to, rounded to cents?",
            "Total these travel receipts, in dollars and to two decimals: {listed}.",
        ),
        "final_answer(round(sum({listed}), 2))",
        (
            "final_answer(round(sum({rest}), 2))",
            "final_answer({most})",
            "final_answer(round(sum({listed}) / 7, 2))",
        ),
        sum(spent),
        "cents",
    )


def _lowest_fare(draw: CalculationSampler) -> CalculationDraft:
    start, end, date, flights = _leg(draw)
    return CalculationDraft(
        {
            "start": start,
            "end": end,
            "date": date,
            "day": _day(date),
            "others": [flight[_PRICE] for flight in flights],
        },
        (
            "What is the lowest fare, in dollars, for a direct flight from {start} to {end} on {day}?",
            "Look through all direct flights {start} - {end} on {date} and report the cheapest price in dollars.",
        ),
        "flights = find_flights({start!r}, {end!r}, {date!r})\nfinal_answer(min([each['price'] for each in flights]))",
        (
            "final_answer(max({others!r}))",
            "final_answer(sum({others!r}))",
            "final_answer(min({others!r}) - 1)",
        ),
        min(flight[_PRICE] for flight in flights),
        "number",
    )


def _stay(draw: CalculationSampler) -> CalculationDraft:
    city = draw.random.choice(CITIES)
    feature, hotels = _lodging(draw, city)
    flight, nights = draw.random.randrange(150, 800), draw.random.randrange(3, 9)
    return CalculationDraft(
        {
            "city": city,
            "feature": feature,
            "flight": flight,
            "nights": nights,
            "prices": [each[_NIGHT] for each in hotels],
        },
        (
            "My tickets to {city} cost {flight} dollars. I will stay {nights} nights in the cheapest hotel "
            "there that has '{feature}'. How many dollars will tickets and hotel come to?",
            "Budget a stay in {city}: {flight} dollars of airfare plus {nights} nights in whichever hotel "
            "with '{feature}' has the lowest nightly price. Give the total in dollars.",
        ),
        "night = sorted(hotel['price_per_night'] for hotel in book_hotel({city!r}, {feature!r}))[0]\n"
        "final_answer(budget_calculator({flight}, night, {nights}))",
        (
            "final_answer(budget_calculator({flight}, {prices!r}[-1], {nights}))",
            "final_answer(budget_calculator({flight}, {prices!r}[0], {nights} - 1))",
            "final_answer(budget_calculator(0, {prices!r}[0], {nights}))",
        ),
        flight + hotels[0][_NIGHT] * nights,
        "number",
    )


def _both_ways(draw: CalculationSampler) -> CalculationDraft:
    flights = draw.state["flights"]
    out, back = sorted(draw.random.sample(DATES, 2))
    routes = [key.partition(" ")[0] for key in flights if key.endswith(out)]
    routes = [route for route in routes if f"{'>'.join(reversed(route.split('>')))} {back}" in flights]
    start, end = draw.random.choice(routes).split(">")
    there, home = len(flights[f"{start}>{end} {out}"]), len(flights[f"{end}>{start} {back}"])
    return CalculationDraft(
        {"start": start, "end": end, "out": out, "back": back, "out_day": _day(out), "back_day": _day(back)},
        (
            "Going from {start} to {end} on {out_day} and returning on {back_day}, between how many "
            "different pairs of an outbound and a return direct flight can I choose?",
            "Multiply the number of direct flights {start} to {end} on {out} by the number of direct flights "
            "{end} to {start} on {back}, and answer with the product.",
        ),
        "there = find_flights({start!r}, {end!r}, {out!r})\nhome = find_flights({end!r}, {start!r}, "
        "{back!r})\nfinal_answer(len(there) * len(home))",
        (
            "final_answer(len(find_flights({start!r}, {end!r}, {out!r})) + 10)",
            "there = find_flights({start!r}, {end!r}, {out!r})\nhome = find_flights({end!r}, {start!r}, "
            "{back!r})\nfinal_answer(len(there) + len(home))",
            "final_answer(0)",
        ),
        there * home,
        "number",
    )


def _which_city(draw: CalculationSampler) -> CalculationDraft:
    first, second = draw.random.sample(CITIES, 2)
    feature, hotels = _lodging(draw, first)
    rivals = [hotel for hotel in draw.state["hotels"][second] if feature in hotel[_FEATURES]]
    while not rivals or rivals[0][_NIGHT] == hotels[0][_NIGHT]:
        second = draw.random.choice([city for city in CITIES if city != first])
        rivals = [hotel for hotel in draw.state["hotels"][second] if feature in hotel[_FEATURES]]
    cheaper, dearer = (first, second) if hotels[0][_NIGHT] < rivals[0][_NIGHT] else (second, first)
    return CalculationDraft(
        {"first": first, "second": second, "feature": feature, "dearer": dearer, "price": hotels[0][_NIGHT]},
        (
            "Where can I sleep for less in a hotel with '{feature}', in {first} or in {second}? Compare the "
            "cheapest suitable hotel of each and answer with the city.",
            "I can go to {first} or {second}, and I insist on '{feature}'. Answer with the city whose "
            "cheapest hotel offering it has the lower nightly price.",
        ),
        "prices = {{}}\nfor city in ({first!r}, {second!r}):\n"
        "    prices[city] = sorted(hotel['price_per_night'] for hotel in book_hotel(city, {feature!r}))[0]\n"
        "final_answer(sorted(prices, key=prices.get)[0])",
        ("final_answer({dearer!r})", "final_answer({price})", "final_answer([{first!r}, {second!r}])"),
        cheaper,
        "word",
    )


def _dearest_fare(draw: CalculationSampler) -> CalculationDraft:
    start, end, date, flights = _leg(draw)
    party = draw.random.randrange(2, 6)
    prices = [flight[_PRICE] for flight in flights]
    return CalculationDraft(
        {"start": start, "end": end, "date": date, "day": _day(date), "party": party, "prices": prices},
        (
            "If {party} people all take the most expensive direct flight from {start} to {end} on {day}, "
            "what do they pay together, in dollars?",
            "Find the highest fare among the direct flights from {start} to {end} on {date} and give the "
            "price of {party} seats at that fare.",
        ),
        "flights = find_flights({start!r}, {end!r}, {date!r})\n"
        "final_answer(max([flight['price'] for flight in flights]) * {party})",
        (
            "final_answer(max({prices!r}))",
            "final_answer(min({prices!r}) * {party})",
            "final_answer(sum({prices!r}) * {party})",
        ),
        max(prices) * party,
        "number",
    )


def _whole_trip(draw: CalculationSampler) -> CalculationDraft:
    start, end, date, flights = _leg(draw)
    feature, hotels = _lodging(draw, end)
    fares, nights = [flight[_PRICE] for flight in flights], draw.random.randrange(2, 9)
    facts = {
        "start": start,
        "end": end,
        "date": date,
        "day": _day(date),
        "feature": feature,
        "nights": nights,
    }
    return CalculationDraft(
        {**facts, "fares": fares, "prices": [hotel[_NIGHT] for hotel in hotels]},
        (
            "Plan a one-way trip: the cheapest direct flight from {start} to {end} on {day}, then {nights} "
            "nights in the cheapest hotel of {end} with '{feature}'. What is the total in dollars?",
            "I fly from {start} to {end} on {date} at the lowest fare and stay {nights} nights where "
            "'{feature}' is offered at the lowest nightly price. How many dollars do flight and hotel cost "
            "together?",
        ),
        "fare = min([flight['price'] for flight in find_flights({start!r}, {end!r}, {date!r})])\n"
        "night = min([hotel['price_per_night'] for hotel in book_hotel({end!r}, {feature!r})])\n"
        "final_answer(budget_calculator(fare, night, {nights}))",
        (
            "final_answer(budget_calculator(max({fares!r}), min({prices!r}), {nights}))",
            "final_answer(budget_calculator(min({fares!r}), max({prices!r}), {nights}))",
            "final_answer(min({fares!r}) + min({prices!r}))",
        ),
        min(fares) + hotels[0][_NIGHT] * nights,
        "number",
    )


def _best_day(draw: CalculationSampler) -> CalculationDraft:
    flights = draw.state["flights"]
    start, end, *_ = _leg(draw)
    days = [date for date in DATES if f"{start}>{end} {date}" in flights]
    fares: dict[str, int] = {}
    while len(set(fares.values())) < 3:
        chosen = sorted(draw.random.sample(days, 3))
        fares = {date: min(flight[_PRICE] for flight in flights[f"{start}>{end} {date}"]) for date in chosen}
    order = sorted(fares, key=fares.__getitem__)
    named = {name: _day(date) for name, date in zip("abc", fares, strict=True)}
    return CalculationDraft(
        {**named, "start": start, "end": end, "days": list(fares), "order": order, "fare": fares[order[0]]},
        (
            "I can travel from {start} to {end} on {a}, {b} or {c}. On which of these days is the cheapest "
            "direct flight to be had? Answer with the date as YYYY-MM-DD.",
            "Compare the lowest direct fares from {start} to {end} on {a}, {b} and {c}, and answer with the "
            "cheapest date, written YYYY-MM-DD.",
        ),
        "fares = {{}}\nfor date in {days!r}:\n"
        "    fares[date] = min([flight['price'] for flight in find_flights({start!r}, {end!r}, date)])\n"
        "final_answer(sorted(fares, key=fares.get)[0])",
        ("final_answer({order!r}[1])", "final_answer({order!r}[2])", "final_answer({fare})"),
        order[0],
        "text",
    )


def _round_trip(draw: CalculationSampler) -> CalculationDraft:
    flights = draw.state["flights"]
    out, back = sorted(draw.random.sample(DATES, 2))
    routes = [key.partition(" ")[0] for key in flights if key.endswith(out) and len(flights[key]) > 1]
    routes = [route for route in routes if f"{'>'.join(reversed(route.split('>')))} {back}" in flights]
    start, end = draw.random.choice(routes).split(">")
    there = [flight[_PRICE] for flight in flights[f"{start}>{end} {out}"]]
    home = [flight[_PRICE] for flight in flights[f"{end}>{start} {back}"]]
    dates = {"out": out, "back": back, "out_day": _day(out), "back_day": _day(back)}
    return CalculationDraft(
        {**dates, "start": start, "end": end, "there": there, "home": home},
        (
            "What is the least I can pay, in dollars, for flying directly from {start} to {end} on {out_day} "
            "and directly back on {back_day}?",
            "Take the cheapest direct flight {start} to {end} on {out} and the cheapest direct flight home "
            "on {back}. What do both cost together, in dollars?",
        ),
        "there = min([flight['price'] for flight in find_flights({start!r}, {end!r}, {out!r})])\n"
        "home = min([flight['price'] for flight in find_flights({end!r}, {start!r}, {back!r})])\n"
        "final_answer(sum(there, home))",
        (
            "final_answer(min({there!r}))",
            "final_answer(sum(max({there!r}), min({home!r})))",
            "final_answer(2 * min({there!r}) + 1)",
        ),
        min(there) + min(home),
        "number",
    )


def _three_cities(draw: CalculationSampler) -> CalculationDraft:
    cities, nights = draw.random.sample(CITIES, 3), draw.random.sample(range(2, 7), 3)
    prices = [draw.state["hotels"][city][0][_NIGHT] for city in cities]
    stays = dict(zip(cities, nights, strict=True))
    listed = ", ".join(f"{stay} nights in {city}" for city, stay in stays.items())
    return CalculationDraft(
        {"listed": listed, "stays": stays, "prices": prices, "nights": nights},
        (
            "A tour takes in {listed}, always in the cheapest hotel of the city, whatever it offers. What do "
            "the hotels cost in all, in dollars?",
            "Add up the hotel bill, in dollars, for {listed} if in each city I choose the hotel with the "
            "lowest nightly price.",
        ),
        "bill = 0\nfor city, nights in {stays!r}.items():\n"
        "    bill += min([hotel['price_per_night'] for hotel in book_hotel(city)]) * "
        "nights\nfinal_answer(bill)",
        (
            "final_answer(sum({prices!r}))",
            "final_answer({prices!r}[0] * {nights!r}[0] + {prices!r}[1] * {nights!r}[1])",
            "final_answer(max({prices!r}) * sum({nights!r}))",
        ),
        sum(price * stay for price, stay in zip(prices, nights, strict=True)),
        "number",
    )


def _two_legs(draw: CalculationSampler) -> CalculationDraft:
    start, stop, date, flights = _leg(draw)
    while date > DATES[8]:
        start, stop, date, flights = _leg(draw)
    nights = draw.random.randrange(2, 5)
    later = DATES[DATES.index(date) + nights]
    ends = [key for key in draw.state["flights"] if key.startswith(f"{stop}>") and key.endswith(later)]
    end = draw.random.choice(ends).partition(" ")[0].split(">")[1]
    first = [flight[_PRICE] for flight in flights]
    second = [flight[_PRICE] for flight in draw.state["flights"][f"{stop}>{end} {later}"]]
    night = draw.state["hotels"][stop][0][_NIGHT]
    route = {"start": start, "stop": stop, "end": end, "date": date, "later": later, "nights": nights}
    return CalculationDraft(
        {
            **route,
            "day": _day(date),
            "later_day": _day(later),
            "first": first,
            "second": second,
            "night": night,
        },
        (
            "Fly from {start} to {stop} on {day}, sleep {nights} nights in the cheapest hotel of {stop}, and "
            "fly on to {end} on {later_day}. Always taking the cheapest direct flight, what is the price of "
            "the whole journey in dollars?",
            "A journey has three parts: the lowest direct fare {start} to {stop} on {date}; {nights} nights "
            "in the hotel of {stop} with the lowest nightly price; the lowest direct fare {stop} to {end} on "
            "{later}. Give their total in dollars.",
        ),
        "first = min([flight['price'] for flight in find_flights({start!r}, {stop!r}, {date!r})])\n"
        "second = min([flight['price'] for flight in find_flights({stop!r}, {end!r}, {later!r})])\n"
        "night = min([hotel['price_per_night'] for hotel in book_hotel({stop!r})])\n"
        "final_answer(budget_calculator(sum(first, second), night, {nights}))",
        (
            "final_answer(budget_calculator(min({first!r}), {night}, {nights}))",
            "final_answer(sum(min({first!r}), min({second!r})))",
            "final_answer(sum(max({first!r}), min({second!r}), {night}))",
        ),
        min(first) + min(second) + night * nights,
        "number",
    )


TEMPLATES = Templates(
    one=(_how_many, _first_out, _cheapest_room, _given_budget, _expenses),
    two=(_lowest_fare, _stay, _both_ways, _which_city, _dearest_fare),
    more=(_whole_trip, _best_day, _round_trip, _three_cities, _two_legs),
)
