"""Generate the shop's records: `python -m generators.retail.make_data` writes data/*.json; same code, same bytes.

No order contains two variants of one product, so the result of replacing items does not depend on their order.
"""

import itertools
import json
from collections.abc import Iterator
from random import Random

from sca_retail.data import OWN, TABLES
from sca_retail.variation import draw_balance, draw_statuses, in_status

from generators.retail.catalogue import CARDS, CITIES, FIRST_NAMES, LAST_NAMES, PRODUCTS, STREETS
from sca_cli.toolkit.tables import Record, Table

_USERS, _ORDERS = 520, 1040
_VARIANTS = (6, 14)
"""Smallest and largest number of variants of a product; fewer if there are fewer combinations of options."""
_AVAILABLE = 0.65
"""Share of the variants that are in stock."""
_TWICE = 0.04
"""Share of the ordered items that are ordered twice."""


def make() -> dict[str, Table]:
    """Generate the tables in the layout of TauBench v1."""
    draw = Random("the shop")
    numbers = _numbers(draw)
    products = dict(_product(name, draw, numbers) for name in PRODUCTS)
    users = dict(itertools.islice(_users(draw, numbers), _USERS))
    orders: Table = {}
    buyers = draw.sample(list(users), _USERS - 30)
    for status in draw_statuses(draw, _ORDERS):
        order_id = f"#W{next(numbers) % 10**7:07}"
        user_id = draw.choice(buyers)
        orders[order_id] = in_status(_order(order_id, user_id, users[user_id], products, draw), status, draw)
        users[user_id]["orders"].append(order_id)
    return {"users": users, "orders": orders, "products": products}


def _numbers(draw: Random) -> Iterator[int]:
    """Yield random numbers of ten digits, as text; no two of them have the same last seven digits."""
    endings: set[int] = set()
    while True:
        number = draw.randrange(10**9, 10**10)
        if number % 10**7 not in endings:
            endings.add(number % 10**7)
            yield number


def _product(name: str, draw: Random, numbers: Iterator[int]) -> tuple[str, Record]:
    usual, options = PRODUCTS[name]
    combinations = list(itertools.product(*options.values()))
    count = min(draw.randint(*_VARIANTS), len(combinations))
    variants = {}
    for values in draw.sample(combinations, count):
        item_id = str(next(numbers))
        variants[item_id] = {
            "item_id": item_id,
            "options": dict(zip(options, values, strict=True)),
            "available": draw.random() < _AVAILABLE,
            "price": int(usual * (80 + 45 * draw.random())) / 100,
        }
    product_id = str(next(numbers))
    return product_id, {"name": name, "product_id": product_id, "variants": variants}


def _users(draw: Random, numbers: Iterator[int]) -> Iterator[tuple[str, Record]]:
    """Yield users; no two have the same name and zip code."""
    used = set()
    while True:
        first, last, address = draw.choice(FIRST_NAMES), draw.choice(LAST_NAMES), _address(draw)
        if (first, last, address["zip"]) in used:
            continue
        used.add((first, last, address["zip"]))
        handle = f"{first}_{last}_{next(numbers) % 10**4:04}".lower()
        yield (
            handle,
            {
                "name": {"first_name": first, "last_name": last},
                "address": address,
                "email": f"{first}.{last}{next(numbers) % 10**4}@example.com".lower(),
                "payment_methods": dict(_method(source, draw, numbers) for source in _sources(draw)),
                "orders": [],
            },
        )


def _address(draw: Random) -> Record:
    city, state, prefix = draw.choice(CITIES)
    return {
        "address1": f"{draw.randrange(1, 990)} {draw.choice(STREETS)}",
        "address2": draw.choice(("", f"Apt {draw.randrange(1, 90)}", f"Suite {draw.randrange(100, 900)}")),
        "city": city,
        "country": "USA",
        "state": state,
        "zip": f"{prefix}{draw.randrange(100):02}",
    }


def _sources(draw: Random) -> list[str]:
    return draw.sample(("credit_card", "gift_card", "paypal"), draw.choice((1, 1, 2, 2, 3)))


def _method(source: str, draw: Random, numbers: Iterator[int]) -> tuple[str, Record]:
    method_id = f"{source}_{next(numbers) % 10**7:07}"
    record: Record = {"source": source, "id": method_id}
    if source == "credit_card":
        record |= {"brand": draw.choice(CARDS), "last_four": f"{draw.randrange(10**4):04}"}
    if source == "gift_card":
        record |= {"balance": draw_balance(draw)}
    return method_id, record


def _order(order_id: str, user_id: str, user: Record, products: Table, draw: Random) -> Record:
    items = [
        _item(products[product_id], draw) for product_id in draw.sample(list(products), draw.choice((1, 2, 2, 3, 3, 4)))
    ]
    items += [dict(item) for item in items if draw.random() < _TWICE]
    payment = {
        "transaction_type": "payment",
        "amount": round(sum(item["price"] for item in items), 2),
        "payment_method_id": draw.choice(list(user["payment_methods"])),
    }
    address = user["address"] if draw.random() < 0.8 else _address(draw)
    return {
        "order_id": order_id,
        "user_id": user_id,
        "address": address,
        "items": items,
        "status": "",
        "fulfillments": [],
        "payment_history": [payment],
    }


def _item(product: Record, draw: Random) -> Record:
    item_id, variant = draw.choice(list(product["variants"].items()))
    return {
        "name": product["name"],
        "product_id": product["product_id"],
        "item_id": item_id,
        "price": variant["price"],
        "options": variant["options"],
    }


def main() -> None:
    """Write the files."""
    OWN.mkdir(exist_ok=True)
    tables = make()
    for table in TABLES:
        (OWN / f"{table}.json").write_text(json.dumps(tables[table], separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
