"""Draw the facts of a site from a seed: plain data, which `pages` renders as text."""

from collections.abc import Sequence
from random import Random
from typing import Any

from sca_web_browsing import words

SHOPS, GOODS, STAFF, PAPERS, FLATS, EVENTS, FERRIES, ROOMS = 8, 8, 16, 14, 10, 6, 4, 4
"""Numbers of shops, goods of a shop, and so on. Prices, sizes and counts within a list are all different."""

MAIL_PATTERNS = ("first.last", "f.last", "last.f", "first_last")

Facts = dict[str, Any]


def draw(seed: int) -> Facts:
    """Return the facts of a seed's site: names, prices, dates and relations between people and places."""
    random = Random(f"web_browsing {seed}")
    firsts = [random.choice(words.FIRST_NAMES) for _ in words.LAST_NAMES]
    # All family names differ, so all e-mail addresses built from names differ too.
    people = [f"{first} {last}" for first, last in zip(firsts, _shuffled(random, words.LAST_NAMES), strict=True)]
    staff = _staff(random, people[:STAFF])
    neighbours = people[STAFF:]
    institute = random.choice(words.INSTITUTES)
    return {
        "town": _town(random, neighbours[-1]),
        "shops": _shops(random, neighbours[:SHOPS]),
        "institute": {
            "name": f"{institute} Institute",
            "domain": f"{institute.lower()}.example",
            "mail": random.choice(MAIL_PATTERNS),
        },
        "staff": staff,
        "papers": _papers(random, staff),
        "jobs": _jobs(random, staff),
        "flats": _flats(random, neighbours[SHOPS:]),
        "events": _events(random),
        "ferries": _ferries(random),
        "museum": _museum(random, neighbours),
        "services": _services(random),
    }


def slug(text: str) -> str:
    """Convert a name to a part of a url."""
    return "".join(letter for letter in text.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def mail_of(facts: Facts, name: str) -> str:
    """Return a person's e-mail address, built with the institute's pattern."""
    first, _, last = name.lower().partition(" ")
    local = {
        "first.last": f"{first}.{last}",
        "f.last": f"{first[0]}.{last}",
        "last.f": f"{last}.{first[0]}",
        "first_last": f"{first}_{last}",
    }[facts["institute"]["mail"]]
    return f"{local}@{facts['institute']['domain']}"


def _shuffled(random: Random, values: Sequence[str]) -> list[str]:
    return random.sample(values, len(values))


def _euros(random: Random, low: int, high: int, count: int) -> list[float]:
    """Return different prices in euros, in steps of five cents."""
    return [cents / 100 for cents in random.sample(range(low * 100, high * 100, 5), count)]


def _clock(random: Random, low: int, high: int) -> str:
    return f"{random.randrange(low, high):02}:{random.choice(('00', '15', '30', '45'))}"


def _town(random: Random, mayor: str) -> Facts:
    return {
        "name": random.choice(words.TOWNS),
        "mayor": mayor,
        "founded": random.randrange(1050, 1750),
        "people": random.randrange(4_000, 48_000),
        "area_km2": random.randrange(12, 90),
        "lighthouse_m": random.randrange(18, 55),
    }


def _shops(random: Random, owners: list[str]) -> list[Facts]:
    shops = []
    kinds = random.sample(sorted(words.SHOPS), SHOPS)
    names, founded = random.sample(words.SHOP_NAMES, SHOPS), random.sample(range(1890, 2020), SHOPS)
    for place, (kind, name) in enumerate(zip(kinds, names, strict=True)):
        prices = _euros(random, 3, 90, GOODS)
        stock = random.sample(range(2, 60), GOODS)
        goods = random.sample(words.SHOPS[kind], GOODS)
        free_from = random.randrange(60, 160, 10)
        shops.append(
            {
                "name": f"{name} {kind}",
                "slug": slug(f"{name} {kind}"),
                "kind": kind,
                "owner": owners[place],
                "founded": founded[place],
                "street": f"{random.randrange(2, 90)} {random.choice(words.STREETS)}",
                "telephone": f"555-{random.randrange(1_000, 9_999)}",
                "hours": _hours(random),
                "delivery": {"fee": _euros(random, 2, 9, 1)[0], "free_from": free_from},
                "goods": [
                    {"name": good, "price": price, "stock": left}
                    for good, price, left in zip(goods, prices, stock, strict=True)
                ],
            }
        )
    return shops


def _hours(random: Random) -> dict[str, list[str] | None]:
    """Return weekday → opening and closing time, or None if the shop is closed."""
    opening, closing = _clock(random, 7, 11), _clock(random, 16, 19)
    hours: dict[str, list[str] | None] = {day: [opening, closing] for day in words.WEEKDAYS}
    hours[random.choice(words.WEEKDAYS[1:5])] = [opening, _clock(random, 20, 22)]
    hours["Saturday"] = [_clock(random, 9, 12), _clock(random, 13, 16)]
    hours[random.choice(("Sunday", "Monday"))] = None
    return hours


def _staff(random: Random, names: list[str]) -> list[Facts]:
    rooms, telephones = random.sample(range(101, 499), STAFF), random.sample(range(2_000, 9_000), STAFF)
    joined = [random.randrange(1990, 2016) for _ in names]
    departments = sorted(words.DEPARTMENTS)
    staff = []
    for place, name in enumerate(names):
        begins = random.randrange(8, 16)
        staff.append(
            {
                "name": name,
                "slug": slug(name),
                "position": words.POSITIONS[place // len(departments)],
                "department": departments[place % len(departments)],
                "room": f"{random.choice('ABCD')}{rooms[place]}",
                "telephone": telephones[place],
                "joined": joined[place],
                "office_day": random.choice(words.WEEKDAYS[:5]),
                "office_hours": [f"{begins:02}:00", f"{begins + random.choice((1, 2)):02}:30"],
            }
        )
    return staff


def _papers(random: Random, staff: list[Facts]) -> list[Facts]:
    years = sorted(random.randrange(2008, 2025) for _ in range(PAPERS))
    topics = [(department, topic) for department, group in sorted(words.DEPARTMENTS.items()) for topic in group]
    readers, samples = random.sample(range(40, 3_000), PAPERS), random.sample(range(20, 900), PAPERS)
    papers: list[Facts] = []
    for place, (department, topic) in enumerate(random.sample(topics, PAPERS)):
        title = f"{random.choice(words.APPROACHES)} {topic.title()}"
        colleagues = [person["slug"] for person in staff if person["department"] == department]
        earlier = [paper["slug"] for paper in papers]
        papers.append(
            {
                "title": title,
                "slug": slug(title),
                "topic": topic,
                "year": years[place],
                "authors": random.sample(colleagues, random.randrange(1, 4)),
                "journal": random.choice(words.JOURNALS),
                "length_pages": random.randrange(6, 48),
                "readers": readers[place],
                "samples": samples[place],
                "cites": random.sample(earlier, min(len(earlier), random.randrange(1, 4))),
            }
        )
    return papers


def _jobs(random: Random, staff: list[Facts]) -> list[Facts]:
    wages = _euros(random, 14, 32, len(words.JOBS))
    contacts = random.sample(staff, len(words.JOBS))
    return [
        {
            "title": title,
            "slug": slug(title),
            "contact": contact["slug"],
            "department": contact["department"],
            "wage": wage,
            "hours": random.randrange(8, 40, 2),
            "deadline": f"{random.randrange(1, 29)} {random.choice(words.MONTHS)} 2026",
        }
        for title, contact, wage in zip(words.JOBS, contacts, wages, strict=True)
    ]


def _flats(random: Random, agents: list[str]) -> list[Facts]:
    rents, sizes = random.sample(range(420, 1_600, 5), FLATS), random.sample(range(24, 130), FLATS)
    heating = random.sample(range(30, 120), FLATS)
    flats = []
    for place, street in enumerate(random.sample(words.STREETS, FLATS)):
        address = f"{random.randrange(1, 80)} {street}"
        flats.append(
            {
                "address": address,
                "slug": slug(address),
                "rent": rents[place],
                "heating": heating[place],
                "size_m2": sizes[place],
                "rooms": 1 + sizes[place] // 28,
                "floor": random.randrange(0, 6),
                "deposit_months": random.randrange(1, 4),
                "from": f"1 {random.choice(words.MONTHS)} 2026",
                "pets": random.random() < 0.4,
                "agent": random.choice(agents),
                "telephone": f"555-{random.randrange(1_000, 9_999)}",
            }
        )
    return flats


def _events(random: Random) -> list[Facts]:
    prices, seats = _euros(random, 6, 40, EVENTS), random.sample(range(40, 900, 5), EVENTS)
    return [
        {
            "title": title,
            "slug": slug(title),
            "day": f"{random.randrange(1, 29)} {random.choice(words.MONTHS)} 2026",
            "starts": _clock(random, 10, 21),
            "venue": random.choice(words.VENUES),
            "adult": price,
            "child": round(price / 2, 2),
            "seats": places,
        }
        for title, price, places in zip(random.sample(words.EVENTS, EVENTS), prices, seats, strict=True)
    ]


def _ferries(random: Random) -> list[Facts]:
    fares, minutes = _euros(random, 4, 28, FERRIES), random.sample(range(15, 140, 5), FERRIES)
    return [
        {
            "to": port,
            "slug": slug(port),
            "fare": fare,
            "bicycle": _euros(random, 1, 6, 1)[0],
            "minutes": length,
            "departures": sorted(
                {f"{hour:02}:{random.randrange(0, 60, 5):02}" for hour in random.sample(range(6, 22), 6)}
            ),
        }
        for port, fare, length in zip(random.sample(words.PORTS, FERRIES), fares, minutes, strict=True)
    ]


def _museum(random: Random, curators: list[str]) -> Facts:
    places = random.sample(range(len(words.ROOMS)), ROOMS)
    counts, oldest = random.sample(range(30, 600), ROOMS), random.sample(range(1300, 1850), ROOMS)
    adult = random.randrange(8, 16)
    return {
        "adult": adult,
        "child": random.randrange(3, 7),
        "family": adult * 2 + random.randrange(1, 6),
        "closed": random.choice(words.WEEKDAYS[:5]),
        "rooms": [
            {
                "name": words.ROOMS[which],
                "slug": slug(words.ROOMS[which]),
                "treasure": words.OBJECTS[which],
                "objects": count,
                "oldest": year,
                "curator": random.choice(curators),
            }
            for which, count, year in zip(places, counts, oldest, strict=True)
        ],
    }


def _services(random: Random) -> Facts:
    days = random.sample(words.WEEKDAYS[:6], 3)
    return {
        "parking_hour": _euros(random, 1, 5, 1)[0],
        "parking_day": random.randrange(9, 24),
        "market_day": days[0],
        "glass_day": days[1],
        "late_desk": days[2],
        "card": random.randrange(5, 30),
        "loan_days": random.randrange(14, 42, 7),
        "late_cents": random.randrange(10, 60, 5),
        "pool": _euros(random, 3, 9, 1)[0],
        "pool_ten": random.randrange(30, 60),
        "dog": random.randrange(20, 90),
        "fireworks_days": random.randrange(7, 40),
        "bonfire": f"555-{random.randrange(1_000, 9_999)}",
        "mooring": random.randrange(12, 48),
        "bins": random.randrange(40, 160),
    }
