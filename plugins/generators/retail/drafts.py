"""Types and helpers for the templates of the evaluation set: a template gets a `Scene` and returns a `RetailDraft`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sca_retail.environment import Retail

from sca_cli.toolkit.tables import Record


class UnfitDraft(Exception):
    """The scene lacks something that the template needs; another one must be drawn."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A customer in the world of a seed."""

    random: Random
    world: Retail
    user_id: str

    @property
    def user(self) -> Record:
        """Return the customer's record."""
        return self.world.users[self.user_id]

    @property
    def name(self) -> str:
        """Return first and last name."""
        return f"{self.user['name']['first_name']} {self.user['name']['last_name']}"

    def hello(self) -> str:
        """Return the sentence in which the customer gives her name, and her email or zip code."""
        if self._by_email:
            return f"I am {self.name}, my email is {self.user['email']}."
        return f"This is {self.name}; I live in zip code {self.user['address']['zip']} and forgot my email."

    def login(self) -> str:
        """Return the line of a program that finds the customer's user id."""
        if self._by_email:
            return f"user_id = find_user_id_by_email({self.user['email']!r})\n"
        name = self.user["name"]
        arguments = ", ".join(map(repr, (name["first_name"], name["last_name"], self.user["address"]["zip"])))
        return f"user_id = find_user_id_by_name_zip({arguments})\n"

    @property
    def _by_email(self) -> bool:
        return len(self.user_id) % 2 == 0

    def orders(self, status: str = "") -> list[Record]:
        """Return the customer's orders in one status, or all of them."""
        orders = [self.world.orders[order_id] for order_id in self.user["orders"]]
        return [order for order in orders if status in ("", order["status"])]

    def order(self, status: str) -> Record:
        """Draw one of the customer's orders in a status.

        Raises:
            UnfitDraft: no order has this status.
        """
        return self.random.choice(require(self.orders(status)))

    def method(self, source: str = "", *, but: str = "") -> str:
        """Draw a payment method of the customer.

        Args:
            source: the method's source; "" for any.
            but: id of a method that must not be drawn.

        Raises:
            UnfitDraft: no method fits.
        """
        methods = self.user["payment_methods"].values()
        return str(
            self.random.choice(require([m["id"] for m in methods if source in ("", m["source"]) and m["id"] != but]))
        )

    def variants(self, item: Record) -> list[Record]:
        """Return the available variants of an item's product, without the item itself.

        Raises:
            UnfitDraft: no variant is available.
        """
        variants = self.world.products[item["product_id"]]["variants"].values()
        return require([v for v in variants if v["available"] and v["item_id"] != item["item_id"]])

    def can_pay(self, method_id: str, amount: float) -> None:
        """Make sure that a payment method covers an amount.

        Raises:
            UnfitDraft: the method is a gift card that holds less.
        """
        if self.user["payment_methods"][method_id].get("balance", amount) < amount:
            raise UnfitDraft


def require[T](items: list[T]) -> list[T]:
    """Return the items if there are any.

    Raises:
        UnfitDraft: the list is empty.
    """
    if not items:
        raise UnfitDraft
    return items


@dataclass(frozen=True, slots=True)
class RetailDraft:
    """A task without the customer's introduction."""

    request: str
    """The customer's request, which follows the introduction."""
    solution: str
    """Program that ends with `final_answer(…)`, without the line that finds the customer."""
    wrong: tuple[str, str, str]
    """Failure cases: programs with plausible mistakes, also without that line."""
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Order id → expected values at the end, by the keys of `check_of`; the customer's other orders must be unchanged.
    """
    user: dict[str, Any] = field(default_factory=dict)
    """Expected values in the customer's record at the end; the address must be unchanged unless it is listed here."""
    answer: Any = None
    """The right answer, a number or a text; None if the answer is not checked."""


type Template = Callable[[Scene], RetailDraft]


def check_of(draft: RetailDraft, scene: Scene) -> str:
    """Return the source of `evaluate`, which returns a boolean for every final state and every JSON answer."""
    wanted = {order["order_id"]: draft.orders.get(order["order_id"], _untouched(order)) for order in scene.orders()}
    user = {"address": scene.user["address"]} | draft.user
    condition, parameter = "True", ""
    if isinstance(draft.answer, str):
        condition, parameter = f"str(answer).strip().casefold() == {draft.answer.casefold()!r}", "answer"
    elif draft.answer is not None:
        condition, parameter = f"abs(number(answer) - {draft.answer!r}) < 0.0051", "answer"
    source = _CHECK.format(parameter=parameter, user_id=scene.user_id, user=user, wanted=wanted, condition=condition)
    return _NUMBER + source if "number(" in condition else source


def ids(items: Sequence[Record]) -> list[str]:
    """Return the sorted item ids, the form that `check_of` compares."""
    return sorted(item["item_id"] for item in items)


def _untouched(order: Record) -> dict[str, Any]:
    return {"status": order["status"], "item_ids": ids(order["items"]), "address": order["address"]}


_NUMBER = """\
def number(answer):
    try:
        return float(str(answer).strip(" $"))
    except ValueError:
        return float("nan")


"""

_CHECK = """\
def evaluate({parameter}):
    user = get_user_details({user_id!r})
    wanted = {user!r}
    if any(user.get(key) != value for key, value in wanted.items()):
        return False
    wanted = {wanted!r}
    for order_id, fields in wanted.items():
        order = get_order_details(order_id)
        order['item_ids'] = sorted(item['item_id'] for item in order['items'])
        order['paid_by'] = [entry['payment_method_id'] for entry in order['payment_history']]
        if any(order.get(key) != value for key, value in fields.items()):
            return False
    return {condition}
"""
