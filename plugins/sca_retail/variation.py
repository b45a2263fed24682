"""Vary our own records by a seed: the status of orders, the stock, and the balances of gift cards."""

from random import Random

from sca_cli.toolkit.tables import Record, Table

STATUSES = {"pending": 42, "delivered": 38, "processed": 10, "cancelled": 10}
"""Status of an order → its share in per cent."""

_ORDERS, _PRODUCTS, _USERS = 40, 8, 20
"""Numbers of records that a seed changes, in addition to the customer's own; chosen by hand."""
_RESTOCKED = 0.3
"""Share of the variants of a changed product whose availability flips; chosen by hand."""


def vary(users: Table, orders: Table, products: Table, customer: str, draw: Random) -> None:
    """Replace records in the tables, so that the customer has a pending and a delivered order.

    Args:
        users: the table of users. All three tables are changed in place; their records are replaced, not changed.
        orders: the table of orders.
        products: the table of products.
        customer: id of a user with two orders or more.
        draw: random generator for all other choices.
    """
    own = draw.sample(users[customer]["orders"], len(users[customer]["orders"]))
    statuses = ["pending", "delivered", *draw_statuses(draw, len(own) - 2 + _ORDERS)]
    others = [order_id for order_id in draw.sample(list(orders), _ORDERS) if order_id not in own]
    for order_id, status in zip([*own, *others], statuses, strict=False):
        orders[order_id] = in_status(orders[order_id], status, draw)
    own_products = {item["product_id"]: None for order_id in own for item in orders[order_id]["items"]}
    for product_id in dict.fromkeys([*own_products, *draw.sample(list(products), _PRODUCTS)]):
        products[product_id] = _restocked(products[product_id], draw)
    for user_id in dict.fromkeys([customer, *draw.sample(list(users), _USERS)]):
        users[user_id] = _recharged(users[user_id], draw)


def draw_statuses(draw: Random, count: int) -> list[str]:
    """Return random statuses with the probabilities in `STATUSES`."""
    return draw.choices(list(STATUSES), list(STATUSES.values()), k=count)


def in_status(order: Record, status: str, draw: Random) -> Record:
    """Return a copy of the order with a status, and with fulfillments, payments and refunds that fit the status."""
    payment = order["payment_history"][0]
    refunds = [payment | {"transaction_type": "refund"}] if status == "cancelled" else []
    shipments = [
        {"tracking_id": [f"{draw.randrange(10**12):012}"], "item_ids": [item["item_id"] for item in order["items"]]}
    ]
    return order | {
        "status": status,
        "fulfillments": shipments if status in ("processed", "delivered") else [],
        "payment_history": [payment, *refunds],
    }


def draw_balance(draw: Random) -> float:
    """Return a random balance of a gift card, in dollars."""
    return draw.randrange(30_000) / 100


def _restocked(product: Record, draw: Random) -> Record:
    variants = {
        item_id: variant | {"available": variant["available"] ^ (draw.random() < _RESTOCKED)}
        for item_id, variant in product["variants"].items()
    }
    return product | {"variants": variants}


def _recharged(user: Record, draw: Random) -> Record:
    methods = {
        method_id: method | {"balance": draw_balance(draw)} if method["source"] == "gift_card" else method
        for method_id, method in user["payment_methods"].items()
    }
    return user | {"payment_methods": methods}
