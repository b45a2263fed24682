"""The `retail` environment: the shop's records, their variation by the seed, and the seed's customer."""

from pathlib import Path
from random import Random
from typing import Any

from sca_cli.toolkit import tables
from sca_retail.data import OWN, load
from sca_retail.policy import POLICY
from sca_retail.variation import vary
from sca_retail.writing import RetailWritingTools


class Retail(RetailWritingTools):
    """Simulate a service desk with customers, orders and products, with the tools of TauBench v1 retail.

    Tool names and signatures are TauBench's. A seed chooses a customer. It also changes some of our own records, the
    customer's included; it does not change TauBench's records.
    """

    policy = POLICY
    customer = True

    def __init__(self, data: str = "") -> None:
        """Read the records and set the state of seed 0.

        Args:
            data: directory with TauBench's users.json, orders.json and products.json, or with tau2's db.json; "" for
                our own records.

        Raises:
            MissingError: the directory or a file does not exist.
            RecordError: a file is not JSON or has another layout; the message says where.
        """
        self._data = load(data or str(OWN))
        self.dialect = self._data.dialect
        least = 2 if self.dialect == "own" else 1
        orders = self._data.orders.keys()
        self._customers = [
            user_id for user_id, user in self._data.users.items() if len(orders & set(user["orders"])) >= least
        ] or list(self._data.users)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Set the records and the customer of `seed`."""
        draw = Random(f"retail {seed}")
        self.who = draw.choice(self._customers)
        self._by_email = draw.random() < 0.5
        self.users, self.orders = dict(self._data.users), dict(self._data.orders)
        self.products = dict(self._data.products)
        if self.dialect == "own":
            vary(self.users, self.orders, self.products, self.who, draw)

    def state(self) -> Any:
        """Return all records by table; the result stays valid, because records are replaced and never changed."""
        return {"users": dict(self.users), "orders": dict(self.orders), "products": dict(self.products)}

    def restore(self, state: Any) -> None:
        """Set all records; the customer is still the seed's."""
        self.users, self.orders = dict(state["users"]), dict(state["orders"])
        self.products = dict(state["products"])

    def first_observation(self) -> str:
        """Return the first message of the seed's customer: her name, email or zip code, and her orders."""
        user = self.users[self.who]
        name = " ".join((user["name"]["first_name"], user["name"]["last_name"]))
        contact = f"my email is {user['email']}" if self._by_email else f"my zip code is {user['address']['zip']}"
        orders = [_sentence(self.orders[order_id]) for order_id in user["orders"] if order_id in self.orders]
        return " ".join([f"Hello, I am {name}, and {contact}.", *orders])

    def allows(self, tool: str, arguments: dict[str, Any]) -> str | None:  # noqa: ARG002  one rule for all tools
        """Return the rule that forbids a call, or None: only records of the seed's customer may be changed."""
        order = self.orders.get(str(arguments.get("order_id")))
        owner = order["user_id"] if order else arguments.get("user_id")
        return None if owner == self.who else "Refuse whatever concerns another customer's profile or orders."

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Return the options with an absolute path."""
        return tables.variants(options)

    @classmethod
    def eval_path(cls) -> Path:
        """Return the file of the held-out evaluation tasks, one record a line."""
        return Path(__file__).with_name("eval.jsonl")


def _sentence(order: tables.Record) -> str:
    """Return a customer's sentence about an order."""
    names = list(dict.fromkeys(item["name"] for item in order["items"]))
    goods = " and the ".join([", the ".join(names[:-1]), names[-1]] if names[1:] else names)
    return f"My order {order['order_id']} with the {goods} is {order['status']}."
