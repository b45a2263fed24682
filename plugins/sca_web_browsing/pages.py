"""The pages of a site: url → function that renders the lines of the page. A page is rendered when it is opened."""

from collections.abc import Callable, Iterable

from sca_web_browsing.facts import Facts
from sca_web_browsing.institute import institute_pages

type Page = Callable[[], list[str]]
"""A function that renders the lines of a page."""

START = "/"


def pages(facts: Facts) -> dict[str, Page]:
    """Return the pages of the site with these facts; the first one is the start page."""
    return {
        START: lambda: _home(facts),
        "/about": lambda: _about(facts),
        "/faq": lambda: _faq(facts),
        **_shop_pages(facts),
        **institute_pages(facts),
        **_flat_pages(facts),
        **_event_pages(facts),
        **_news_pages(facts),
        **_ferry_pages(facts),
        **_museum_pages(facts),
    }


def _home(facts: Facts) -> list[str]:
    town = facts["town"]["name"]
    return [
        f"Welcome to {town}",
        f"This is the web site of the town of {town}. It is kept by the town office.",
        "[About the town](/about)",
        "[Shops](/shops): who sells what, opening hours and price lists",
        f"[{facts['institute']['name']}](/institute): people, papers and vacancies",
        "[Flats to let](/flats): what is free this year",
        "[Events](/events): what is on and what it costs",
        "[News](/news): the latest from town",
        "[Ferries](/ferries): timetables and fares",
        "[Museum](/museum): rooms, tickets and opening days",
        "[Frequently asked questions](/faq): parking, market, library, waste",
    ]


def _about(facts: Facts) -> list[str]:
    town = facts["town"]
    return [
        f"About {town['name']}",
        "[Start page](/)",
        f"{town['name']} was founded in {town['founded']} by net makers and salt traders.",
        f"The town has {town['people']} inhabitants and covers {town['area_km2']} square kilometres.",
        "Its harbour freezes once in a generation, and nobody agrees when it last did.",
        f"The mayor is {town['mayor']}, whose door is open on the first Monday of the month.",
        f"The lighthouse above the harbour is {town['lighthouse_m']} metres high and can be climbed in summer.",
        "Everything else is in the [frequently asked questions](/faq).",
    ]


def _faq(facts: Facts) -> list[str]:
    about = facts["services"]
    return [
        "Frequently asked questions",
        "[Start page](/)",
        "Q: Where can I park, and what does it cost?",
        f"A: At the station and on Salt Quay: {about['parking_hour']:.2f} euros an hour, "
        f"at most {about['parking_day']} euros a day.",
        "Q: When is the market held?",
        f"A: Every {about['market_day']} from seven in the morning until noon, on Market Square.",
        "Q: What does a library card cost?",
        f"A: {about['card']} euros a year; it is free for everybody under 18.",
        "Q: How long may I keep a library book?",
        f"A: {about['loan_days']} days. After that a fine of {about['late_cents']} cents a day is due for each book.",
        "Q: When is glass collected?",
        f"A: On {about['glass_day']}, from six in the morning. A new bin costs {about['bins']} euros.",
        "Q: Is the town office ever open in the evening?",
        f"A: Yes, on {about['late_desk']} until eight o'clock.",
        "Q: What does the swimming pool cost?",
        f"A: {about['pool']:.2f} euros a visit, or {about['pool_ten']} euros for a card of ten visits.",
        "Q: How much is the dog licence?",
        f"A: {about['dog']} euros a year for the first dog, and twice as much for every further one.",
        "Q: How early must fireworks be announced?",
        f"A: At least {about['fireworks_days']} days before, at the town office.",
        "Q: Whom do I ring before I light a bonfire?",
        f"A: The fire station, {about['bonfire']}.",
        "Q: What does a guest berth in the harbour cost?",
        f"A: {about['mooring']} euros a night, water and electricity included.",
    ]


def entries(title: str, texts: Iterable[str], back: str = "[Start page](/)") -> list[str]:
    """Return the lines of a page that lists other pages."""
    return [title, back, *(f"- {text}" for text in texts)]


# ---------------------------------------------------------------- shops


def _shop_pages(facts: Facts) -> dict[str, Page]:
    by_url: dict[str, Page] = {
        "/shops": lambda: entries(
            f"Shops in {facts['town']['name']}",
            (f"[{shop['name']}](/shops/{shop['slug']}), {shop['street']}" for shop in facts["shops"]),
        )
    }
    for shop in facts["shops"]:
        by_url[f"/shops/{shop['slug']}"] = lambda shop=shop: _shop(shop)  # type: ignore[misc]
        by_url[f"/shops/{shop['slug']}/prices"] = lambda shop=shop: _prices(shop)  # type: ignore[misc]
    return by_url


def _shop(shop: Facts) -> list[str]:
    hours = [f"{day}: {' to '.join(times) if times else 'closed'}" for day, times in shop["hours"].items()]
    return [
        shop["name"],
        "[All shops](/shops)",
        f"[Price list](/shops/{shop['slug']}/prices)",
        f"A family business, founded in {shop['founded']}.",
        f"Owner: {shop['owner']}",
        f"Address: {shop['street']}",
        f"Telephone: {shop['telephone']}",
        "Opening hours",
        *hours,
        "Parcels",
        f"Delivery in town costs {shop['delivery']['fee']:.2f} euros.",
        f"It is free for orders of {shop['delivery']['free_from']} euros and more.",
    ]


def _prices(shop: Facts) -> list[str]:
    goods = [f"{good['name']}: {good['price']:.2f} euros ({good['stock']} in stock)" for good in shop["goods"]]
    return [f"{shop['name']}: price list", f"[Back to the shop](/shops/{shop['slug']})", *goods]


# ---------------------------------------------------------------- flats


def _flat_pages(facts: Facts) -> dict[str, Page]:
    by_url: dict[str, Page] = {
        "/flats": lambda: entries(
            "Flats to let",
            (
                f"[{flat['address']}](/flats/{flat['slug']}), {flat['rooms']} room{'s' * (flat['rooms'] > 1)}"
                for flat in facts["flats"]
            ),
        )
    }
    for flat in facts["flats"]:
        by_url[f"/flats/{flat['slug']}"] = lambda flat=flat: _flat(flat)  # type: ignore[misc]
    return by_url


def _flat(flat: Facts) -> list[str]:
    return [
        f"Flat to let: {flat['address']}",
        "[All flats](/flats)",
        f"Size: {flat['size_m2']} square metres",
        f"Floor: {flat['floor'] or 'ground floor'}",
        f"Free from: {flat['from']}",
        f"Pets: {'welcome' if flat['pets'] else 'not allowed'}",
        f"Rent: {flat['rent']} euros a month",
        f"Heating: {flat['heating']} euros a month, on top of the rent",
        f"Deposit: {flat['deposit_months']} monthly rent{'s' * (flat['deposit_months'] > 1)}, without heating",
        f"Agent: {flat['agent']}",
        f"Telephone: {flat['telephone']}",
    ]


# ---------------------------------------------------------------- events and news


def _event_pages(facts: Facts) -> dict[str, Page]:
    by_url: dict[str, Page] = {
        "/events": lambda: entries(
            "Events", (f"[{event['title']}](/events/{event['slug']}), {event['day']}" for event in facts["events"])
        )
    }
    for event in facts["events"]:
        by_url[f"/events/{event['slug']}"] = lambda event=event: [  # type: ignore[misc]
            event["title"],
            "[All events](/events)",
            f"Day: {event['day']}",
            f"Begins at: {event['starts']}",
            f"Place: {event['venue']}",
            f"There are {event['seats']} seats; doors open half an hour before.",
            f"Adults: {event['adult']:.2f} euros",
            f"Children: {event['child']:.2f} euros",
        ]
    return by_url


def _news_pages(facts: Facts) -> dict[str, Page]:
    shop, other = facts["shops"][0], facts["shops"][-1]
    paper, event, ferry = facts["papers"][-1], facts["events"][0], facts["ferries"][0]
    room, flat = facts["museum"]["rooms"][0], facts["flats"][0]
    items: dict[str, list[str]] = {
        f"{shop['name']} looks back": [
            f"It all began in {shop['founded']} with a barrow on the quay.",
            f"Today {shop['owner']} sells what the town needs at {shop['street']}.",
            f"What there is, and when: [{shop['name']}](/shops/{shop['slug']}).",
        ],
        f"A new hand at {other['name']}": [
            f"{other['owner']} has taken over the shop at {other['street']}.",
            f"Nothing else changes, says the new owner: [{other['name']}](/shops/{other['slug']}).",
        ],
        f"Research on {paper['topic']} makes waves": [
            f"No other paper of the year {paper['year']} was asked for as often at the library.",
            f"Read it yourself: [{paper['title']}](/institute/papers/{paper['slug']}).",
        ],
        f"{event['title']} nearly sold out": [
            f"Of {event['seats']} seats only {event['seats'] // 8} are left.",
            f"Where and when: [{event['title']}](/events/{event['slug']}).",
        ],
        f"Ferry to {ferry['to']} in winter": [
            f"The boat will call at {ferry['to']} all through the winter.",
            f"The [timetable](/ferries/{ferry['slug']}) stays as it is.",
        ],
        f"{room['name']} reopens": [
            f"After two years the {room['name']} of the museum can be seen again.",
            f"{room['curator']} shows visitors round: [{room['name']}](/museum/{room['slug']}).",
        ],
        f"Long wait for {flat['address']} is over": [
            f"The flat on offer will be free from {flat['from']}.",
            f"Details: [{flat['address']}](/flats/{flat['slug']}).",
        ],
    }
    item_by_url = {f"/news/{number}": item for number, item in enumerate(items.items(), 1)}
    by_url: dict[str, Page] = {
        "/news": lambda: entries("News", (f"[{title}]({url})" for url, (title, _) in item_by_url.items()))
    }
    for url, (title, lines) in item_by_url.items():
        by_url[url] = lambda title=title, lines=lines: [title, "[All news](/news)", *lines]  # type: ignore[misc]
    return by_url


# ---------------------------------------------------------------- ferries and museum


def _ferry_pages(facts: Facts) -> dict[str, Page]:
    by_url: dict[str, Page] = {
        "/ferries": lambda: entries(
            f"Ferries from {facts['town']['name']}",
            (f"[{ferry['to']}](/ferries/{ferry['slug']})" for ferry in facts["ferries"]),
        )
    }
    for ferry in facts["ferries"]:
        by_url[f"/ferries/{ferry['slug']}"] = lambda ferry=ferry: [  # type: ignore[misc]
            f"Ferry to {ferry['to']}",
            "[All ferries](/ferries)",
            f"The crossing takes {ferry['minutes']} minutes.",
            f"Single fare: {ferry['fare']:.2f} euros",
            f"Bicycle: {ferry['bicycle']:.2f} euros, each way",
            "Departures, every day",
            *(f"- {departure}" for departure in ferry["departures"]),
        ]
    return by_url


def _museum_pages(facts: Facts) -> dict[str, Page]:
    museum = facts["museum"]
    by_url: dict[str, Page] = {
        "/museum": lambda: entries(
            "Town museum",
            ("[Tickets](/museum/tickets)", *(f"[{room['name']}](/museum/{room['slug']})" for room in museum["rooms"])),
        ),
        "/museum/tickets": lambda: [
            "Town museum: tickets",
            "[Museum](/museum)",
            f"The museum is closed on {museum['closed']}.",
            f"Adults: {museum['adult']} euros",
            f"Children under 15: {museum['child']} euros",
            f"Family ticket (two adults, up to three children): {museum['family']} euros",
        ],
    }
    for room in museum["rooms"]:
        by_url[f"/museum/{room['slug']}"] = lambda room=room: [  # type: ignore[misc]
            f"Town museum: {room['name']}",
            "[Museum](/museum)",
            f"The room holds {room['objects']} objects.",
            f"The {room['treasure']} by the door is what most visitors come for.",
            f"The oldest object was made in {room['oldest']}.",
            f"Curator: {room['curator']}",
        ]
    return by_url
