"""What a hand-written template of the evaluation set is given, and what it makes: a scene, and a draft of a task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sca_retail.environment import Retail
from sca_retail.tables import Record


class Unfit(Exception):
    """This scene has not what the template is about."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A customer of a seed's world."""

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
        """Return how the customer says who she is."""
        if self._by_email:
            return f"I am {self.name}, my email is {self.user['email']}."
        return f"This is {self.name}; I live in zip code {self.user['address']['zip']} and forgot my email."

    def login(self) -> str:
        """Return the line of a program that finds the customer."""
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
        mine = [self.world.orders[order_id] for order_id in self.user["orders"]]
        return [order for order in mine if status in ("", order["status"])]

    def order(self, status: str) -> Record:
        """Draw one of the customer's orders.

        Raises:
            Unfit: none is in that status.
        """
        return self.random.choice(some(self.orders(status)))

    def method(self, source: str = "", *, but: str = "") -> str:
        """Draw a payment method of the customer, of one source if it is named, and not `but`.

        Raises:
            Unfit: there is none.
        """
        methods = self.user["payment_methods"].values()
        return str(
            self.random.choice(some([m["id"] for m in methods if source in ("", m["source"]) and m["id"] != but]))
        )

    def variants(self, item: Record) -> list[Record]:
        """Return the available variants of an item's product, itself left out.

        Raises:
            Unfit: there is none.
        """
        variants = self.world.products[item["product_id"]]["variants"].values()
        return some([v for v in variants if v["available"] and v["item_id"] != item["item_id"]])

    def can_pay(self, method_id: str, amount: float) -> None:
        """Make sure that a payment method covers an amount.

        Raises:
            Unfit: a gift card that does not.
        """
        if self.user["payment_methods"][method_id].get("balance", amount) < amount:
            raise Unfit


def some[T](found: list[T]) -> list[T]:
    """Return what was found.

    Raises:
        Unfit: nothing was.
    """
    if not found:
        raise Unfit
    return found


@dataclass(frozen=True, slots=True)
class Draft:
    """A task, but for its customer's part."""

    request: str
    """What the customer wants, after she said who she is."""
    solution: str
    """Program that ends with `final_answer(…)`, without the line that finds the customer."""
    wrong: tuple[str, str, str]
    """Programs of plausible mistakes, also without that line."""
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Order id → what must be found in the end, by the keys of `check_of`; the customer's other orders stay as they
    were."""
    user: dict[str, Any] = field(default_factory=dict)
    """What must be found in the customer's record in the end; the address stays as it was unless it is named."""
    answer: Any = None
    """The right answer, a number or a text; None where none is asked for."""


type Template = Callable[[Scene], Draft]


def check_of(draft: Draft, scene: Scene) -> str:
    """Return the source of `evaluate`, which gives a boolean for every end state and every JSON answer."""
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
    """Return the item ids, as `check_of` compares them."""
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
