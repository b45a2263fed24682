"""Generate invented users: names, addresses, payment methods and saved passengers."""

from random import Random
from typing import Any

from sca_airline.store import Record

_FIRST = (
    "Adaeze Ailsa Amaru Anouk Ansel Aroha Bashir Benno Birgit Calla Cato Chioma Corin Dalia Davor Delphine Dinesh Edda "
    "Eamon Elif Enzo Farah Fintan Freya Gareth Gita Greta Hamish Hana Helga Idris Ilse Imani Ines Jarek Jonas Juno "
    "Kaito Kalani Katya Kofi Lars Leila Linus Lucia Magnus Malik Marisol Mateo Mirela Nadia Niamh Nils Noor Odile "
    "Olek Oriana Otis Paloma Petra Piers Quentin Rafaela Rania Rhys Ronan Rosa Sabine Sanjay Selma Sigrid Soren Tariq "
    "Thea Tobias Uma Valentin Vera Viggo Wanda Willa Xenia Yara Yusuf Zaid Zelda"
)
_LAST = (
    "Abara Achterberg Alvarado Amundsen Aoki Arslan Bakker Barlow Beaumont Bianchi Brandt Calloway Castellan Chaudhry "
    "Cordeiro Dahl Danjuma Delacroix Demir Dragomir Eklund Esposito Fairbanks Ferreira Fontaine Galanis Gallagher "
    "Gruber Haddad Halvorsen Hartley Hoang Ibarra Iyer Jankowski Jelani Kaplan Kimura Kowal Lindqvist Lombardi "
    "Mahlangu Marchetti Mbeki McAllister Moreau Nakata Ndiaye Novak Obi Okafor Olsen Pashkov Pereira Popescu Quist "
    "Rahimi Ramaswamy Rosenthal Sandoval Sorensen Steiner Takeda Tamboli Tremblay Uchida Vandermeer Vasquez Villanueva "
    "Wakefield Weiss Whitlock Yamada Yilmaz Zamora Zhukov"
)
_STREETS = (
    "Alder Anchor Basalt Bellflower Bramble Canal Chestnut Cooper Ferry Foundry Garnet Heron Juniper Kestrel Lantern "
    "Larch Linden Mill Orchard Quarry Rowan Saddle Tanner Thistle Walnut Willow"
)
_CITIES = (
    ("Denver", "CO", "802"), ("Atlanta", "GA", "303"), ("Chicago", "IL", "606"), ("Salt Lake City", "UT", "841"),
    ("New York", "NY", "100"), ("Seattle", "WA", "981"), ("Portland", "OR", "972"), ("San Diego", "CA", "921"),
    ("San Francisco", "CA", "941"), ("Austin", "TX", "787"), ("Minneapolis", "MN", "554"), ("Kansas City", "MO", "641"),
    ("St. Louis", "MO", "631"), ("Nashville", "TN", "372"), ("New Orleans", "LA", "701"), ("Tampa", "FL", "336"),
    ("Raleigh", "NC", "276"), ("Pittsburgh", "PA", "152"), ("Cleveland", "OH", "441"), ("Boston", "MA", "021"),
)  # fmt: skip


def users(random: Random, count: int) -> dict[str, Record]:
    """Generate users by user id, without reservations."""
    numbers = random.sample(range(4_000_000, 10_000_000), 8 * count)
    user_by_id: dict[str, Record] = {}
    while len(user_by_id) < count:
        first, last = _one(random, _FIRST), _one(random, _LAST)
        user_id = f"{first}_{last}_{random.randrange(1000, 10000)}".lower()
        user_by_id[user_id] = _user(random, first, last, numbers)
    return user_by_id


def passenger(random: Random) -> dict[str, str]:
    """Generate a passenger who is not a user."""
    return {"first_name": _one(random, _FIRST), "last_name": _one(random, _LAST), "dob": _birth(random)}


def _user(random: Random, first: str, last: str, numbers: list[int]) -> Record:
    city, state, area = random.choice(_CITIES)
    return {
        "name": {"first_name": first, "last_name": last},
        "address": {
            "address1": f"{random.randrange(2, 990)} {_one(random, _STREETS)} {_one(random, 'Street Road Lane')}",
            "address2": f"Apartment {random.randrange(1, 80)}",
            "city": city,
            "country": "USA",
            "state": state,
            "zip": f"{area}{random.randrange(100):02d}",
        },
        "email": f"{first}.{last}{random.randrange(10, 1000)}@example.com".lower(),
        "dob": _birth(random),
        "payment_methods": _payment_methods(random, numbers),
        "saved_passengers": [passenger(random) for _ in range(random.choice((0, 1, 1, 2, 3)))],
        "membership": random.choice(("regular", "silver", "gold")),
        "reservations": [],
    }


def _payment_methods(random: Random, numbers: list[int]) -> dict[str, dict[str, Any]]:
    sources = ["credit_card", *random.choices(("credit_card", "gift_card", "certificate"), k=random.randrange(5))]
    methods = {}
    for source in sources:
        new: dict[str, Any] = {"source": source}
        if source == "credit_card":
            new |= {"brand": random.choice(("visa", "mastercard")), "last_four": f"{random.randrange(10000):04d}"}
        elif source == "gift_card":
            new["amount"] = random.randrange(20, 900)
        else:
            new["amount"] = random.choice((50, 100, 150, 200, 250, 300, 500))
        new["id"] = f"{source}_{numbers.pop()}"
        methods[new["id"]] = new
    return methods


def _one(random: Random, words: str) -> str:
    return random.choice(words.split())


def _birth(random: Random) -> str:
    return f"{random.randrange(1945, 2006)}-{random.randrange(1, 13):02d}-{random.randrange(1, 29):02d}"
