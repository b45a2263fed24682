"""The shop's tools that do not change records: look-ups, calculate, think and transfer_to_human_agents."""

import re
from typing import Any

from sca_cli import Environment, ToolError, tool
from sca_cli.toolkit import arithmetic
from sca_cli.toolkit.tables import Record, Table
from sca_retail.data import Dialect, plain

_SHOWN = 60
"""Maximum number of characters of an argument that a refusal quotes."""


class RetailReadingTools(Environment):
    """The shop's tools that do not change records. Tools return copies, which the caller may change."""

    users: Table
    orders: Table
    products: Table
    dialect: Dialect

    @tool
    def find_user_id_by_email(self, email: str) -> str:
        """Return the id of the user with this email address; capitals do not matter.

        Args:
            email: for example 'ada.moss@example.com'.
        """
        for user_id, user in self.users.items():
            if user["email"].lower() == email.lower():
                return user_id
        raise ToolError("no user has this email; ask again, or try find_user_id_by_name_zip")

    @tool
    def find_user_id_by_name_zip(self, first_name: str, last_name: str, zip: str) -> str:  # noqa: A002  TauBench's name
        """Return the id of the user with this name and zip code, for users who do not know their email.

        Args:
            first_name: capitals do not matter.
            last_name: capitals do not matter.
            zip: of the user's own address, for example '60213'.
        """
        wanted = (first_name.lower(), last_name.lower(), zip)
        for user_id, user in self.users.items():
            name = user["name"]
            if (name["first_name"].lower(), name["last_name"].lower(), user["address"]["zip"]) == wanted:
                return user_id
        raise ToolError("no user has this name and zip code; check the spelling, or try find_user_id_by_email")

    @tool
    def get_user_details(self, user_id: str) -> dict[str, Any]:
        """Return a user's record: name, address, email, payment_methods by id, and the ids of the orders.

        Args:
            user_id: for example 'ada_moss_4821'; the find_user_id tools give it.
        """
        return copied(self.user(user_id))

    @tool
    def get_order_details(self, order_id: str) -> dict[str, Any]:
        """Return an order's record: user_id, address, items, status, fulfillments, payment_history.

        Each item is {'name', 'product_id', 'item_id', 'price', 'options'}. The status is pending, processed,
        delivered, cancelled or what a change made of it, such as 'return requested'.

        Args:
            order_id: for example '#W1234567', the # included.
        """
        return copied(self.order(order_id))

    @tool
    def list_all_product_types(self) -> dict[str, str]:
        """Return the names of all products with their product ids, by name."""
        return dict(sorted((product["name"], product["product_id"]) for product in self.products.values()))

    @tool
    def get_product_details(self, product_id: str) -> dict[str, Any]:
        """Return a product's record: name, product_id, and variants by item id.

        Each variant is {'item_id', 'options', 'available', 'price'}.

        Args:
            product_id: not an item id; orders and list_all_product_types give it.
        """
        if product_id not in self.products:
            raise ToolError(f"no product {shown(product_id)}; list_all_product_types gives the product ids")
        return copied(self.products[product_id])

    @tool
    def calculate(self, expression: str) -> float:
        """Return the value of an arithmetic expression, rounded to two decimals.

        Args:
            expression: numbers, + - * / and parentheses, for example '(12.5 + 3) * 2'.
        """
        if not re.fullmatch(r"[0-9+\-*/(). ]*", expression):
            raise ToolError("expression must be numbers, + - * /, parentheses and spaces, nothing else")
        return round(float(arithmetic.calculate(expression)), 2)

    @tool
    def think(self, thought: str) -> str:  # noqa: ARG002  the argument in the transcript is the whole effect
        """Write a thought down; nothing is looked up and nothing changes.

        Args:
            thought: what to keep in mind.
        """
        return ""

    @tool
    def transfer_to_human_agents(self, summary: str) -> str:  # noqa: ARG002  there is no human agent
        """Hand the customer to a human agent; only for what the policy and the tools cannot do.

        Args:
            summary: what the customer wants and what was done so far.
        """
        return "Transfer successful"

    def user(self, user_id: str) -> Record:
        """Return a user's record itself, which the caller must not change.

        Raises:
            ToolError: no user has this id.
        """
        if user_id not in self.users:
            raise ToolError(f"no user {shown(user_id)}; the find_user_id tools give the user id")
        return self.users[user_id]

    def order(self, order_id: str) -> Record:
        """Return an order's record itself, which the caller must not change.

        Raises:
            ToolError: no order has this id.
        """
        if order_id not in self.orders:
            raise ToolError(
                f"no order {shown(order_id)}; an order id begins with '#W', and get_user_details lists a user's orders"
            )
        return self.orders[order_id]


def copied(record: Record) -> dict[str, Any]:
    """Return a deep copy, which the caller may change."""
    copy: dict[str, Any] = plain(record)
    return copy


def shown(argument: str) -> str:
    """Return an argument in quotes, shortened."""
    return repr(argument if len(argument) <= _SHOWN else argument[:_SHOWN] + "…")
