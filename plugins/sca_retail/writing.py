"""The shop's tools that change records. A refused call changes nothing, because a tool replaces records at its end."""

from collections.abc import Sequence
from typing import Any

from sca_cli import ToolError, tool
from sca_cli.toolkit.tables import Record
from sca_retail.reading import RetailReadingTools, copied, shown

REASONS = ("no longer needed", "ordered by mistake")


class RetailWritingTools(RetailReadingTools):
    """The shop's tools that change records. `Dialect` lists where TauBench's own tools differ from ours."""

    @tool(writes=True)
    def cancel_pending_order(self, order_id: str, reason: str) -> dict[str, Any]:
        """Cancel an order that is still pending, refund it, and return its record.

        A gift card is refunded at once, any other payment within 5 to 7 business days.

        Args:
            order_id: for example '#W1234567'.
            reason: 'no longer needed' or 'ordered by mistake'.
        """
        order = self._order_in("pending", order_id, "cancelled")
        if reason not in REASONS:
            raise ToolError(f"reason must be '{REASONS[0]}' or '{REASONS[1]}', not {shown(reason)}")
        refunds = [_entry("refund", amount, method) for method, amount in self._refundable(order)]
        for refund in refunds:
            self._charge(order, refund["payment_method_id"], -refund["amount"])
        history = [*order["payment_history"], *refunds]
        return self._put(order_id, status="cancelled", cancel_reason=reason, payment_history=history)

    @tool(writes=True)
    def modify_pending_order_address(
        self,
        order_id: str,
        address1: str,
        address2: str,
        city: str,
        state: str,
        country: str,
        zip: str,  # noqa: A002  TauBench's name
    ) -> dict[str, Any]:
        """Send a pending order to another address, and return the order's record.

        Args:
            order_id: for example '#W1234567'.
            address1: street and number.
            address2: flat or suite, '' for none.
            city: for example 'Denver'.
            state: for example 'CO'.
            country: for example 'USA'.
            zip: for example '80203'.
        """
        self._pending(order_id)
        return self._put(order_id, address=_address(address1, address2, city, state, country, zip))

    @tool(writes=True)
    def modify_pending_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> dict[str, Any]:
        """Replace items of a pending order by other variants of the same products, and return the order's record.

        This can be done once for an order, which can then be neither changed nor cancelled: name all items at once.

        Args:
            order_id: for example '#W1234567'.
            item_ids: the items to be replaced; an item bought twice may be named twice.
            new_item_ids: what replaces them, in the same order; each must be available.
            payment_method_id: of the user, to pay or to get back the difference in price.
        """
        order = self._order_in("pending", order_id, "modified")
        if self.dialect != "v1" and (same := [new for old, new in zip(item_ids, new_item_ids) if old == new]):  # noqa: B905  lengths are judged next
            raise ToolError(f"item {shown(same[0])} would be replaced by itself; choose another variant")
        variants = self._variants(order, item_ids, new_item_ids)
        difference = _difference(order, item_ids, variants)
        if self.dialect == "own":
            difference = round(difference, 2)
        self._cover(order, payment_method_id, difference)
        self._charge(order, payment_method_id, difference)
        items = [dict(item) for item in order["items"]]
        for item_id, new_item_id, variant in zip(item_ids, new_item_ids, variants, strict=True):
            source = variants[-1] if self.dialect == "tau2" else variant
            _item(items, item_id).update(item_id=new_item_id, price=source["price"], options=source["options"])
        entry = _entry("payment" if difference > 0 else "refund", abs(difference), payment_method_id)
        history = [*order["payment_history"], entry]
        return self._put(order_id, items=items, status="pending (item modified)", payment_history=history)

    @tool(writes=True)
    def modify_pending_order_payment(self, order_id: str, payment_method_id: str) -> dict[str, Any]:
        """Pay a pending order by another payment method, refund the first one, and return the order's record.

        Args:
            order_id: for example '#W1234567'.
            payment_method_id: of the user, not the one the order was paid with; a gift card must hold the total.
        """
        order = self._pending(order_id)
        self._method(order, payment_method_id)
        payment = order["payment_history"][0]
        if len(order["payment_history"]) != 1 or payment["transaction_type"] != "payment":
            raise ToolError(f"the payment of order {order_id} was changed before; that can be done once")
        if payment["payment_method_id"] == payment_method_id:
            raise ToolError(f"order {order_id} is paid with '{payment_method_id}' already; choose another one")
        self._cover(order, payment_method_id, payment["amount"])
        self._charge(order, payment_method_id, payment["amount"])
        self._charge(order, payment["payment_method_id"], -payment["amount"])
        paid = _entry("payment", payment["amount"], payment_method_id)
        refunded = _entry("refund", payment["amount"], payment["payment_method_id"])
        return self._put(order_id, payment_history=[payment, paid, refunded])

    @tool(writes=True)
    def modify_user_address(
        self,
        user_id: str,
        address1: str,
        address2: str,
        city: str,
        state: str,
        country: str,
        zip: str,  # noqa: A002  TauBench's name
    ) -> dict[str, Any]:
        """Change a user's own address, not that of any order, and return the user's record.

        Args:
            user_id: for example 'ada_moss_4821'.
            address1: street and number.
            address2: flat or suite, '' for none.
            city: for example 'Denver'.
            state: for example 'CO'.
            country: for example 'USA'.
            zip: for example '80203'.
        """
        user = self.user(user_id) | {"address": _address(address1, address2, city, state, country, zip)}
        self.users[user_id] = user
        return copied(user)

    @tool(writes=True)
    def return_delivered_order_items(
        self, order_id: str, item_ids: list[str], payment_method_id: str
    ) -> dict[str, Any]:
        """Ask for the return of items of a delivered order, and return the order's record.

        A delivered order can be returned or exchanged once: name all items at once.

        Args:
            order_id: for example '#W1234567'.
            item_ids: the items to be returned; an item bought twice may be named twice.
            payment_method_id: where the refund goes: what the order was paid with, or a gift card of the user.
        """
        order = self._order_in("delivered", order_id, "returned")
        method = self._method(order, payment_method_id)
        original = order["payment_history"][0]["payment_method_id"]
        if method["source"] != "gift_card" and payment_method_id != original:
            raise ToolError(f"a refund goes to '{original}', which paid for the order, or to a gift card of the user")
        self._owned(order, item_ids)
        return self._put(
            order_id,
            status="return requested",
            return_items=sorted(item_ids),
            return_payment_method_id=payment_method_id,
        )

    @tool(writes=True)
    def exchange_delivered_order_items(
        self, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
    ) -> dict[str, Any]:
        """Ask for the exchange of items of a delivered order for other variants, and return the order's record.

        A delivered order can be returned or exchanged once: name all items at once.

        Args:
            order_id: for example '#W1234567'.
            item_ids: the items to be sent back; an item bought twice may be named twice.
            new_item_ids: what is wanted for them, in the same order; each must be available and of the same product.
            payment_method_id: of the user, to pay or to get back the difference in price.
        """
        order = self._order_in("delivered", order_id, "exchanged")
        variants = self._variants(order, item_ids, new_item_ids)
        difference = round(_difference(order, item_ids, variants), 2)
        self._cover(order, payment_method_id, difference)
        return self._put(
            order_id,
            status="exchange requested",
            exchange_items=sorted(item_ids),
            exchange_new_items=sorted(new_item_ids),
            exchange_payment_method_id=payment_method_id,
            exchange_price_difference=difference,
        )

    # ------------------------------------------------------------ checks

    def _order_in(self, status: str, order_id: str, participle: str) -> Record:
        order = self.order(order_id)
        if order["status"] != status:
            raise ToolError(f"order {order_id} is '{order['status']}'; only a {status} order can be {participle}")
        return order

    def _pending(self, order_id: str) -> Record:
        """Return an order if its address and payment may be changed; refuse otherwise."""
        order = self.order(order_id)
        if self.dialect == "tau2" and "pending" in order["status"]:
            return order
        return self._order_in("pending", order_id, "modified")

    def _method(self, order: Record, payment_method_id: str) -> Record:
        methods: dict[str, Record] = self.users[order["user_id"]]["payment_methods"]
        if payment_method_id not in methods:
            raise ToolError(
                f"the user has no payment method {shown(payment_method_id)}; there are: {', '.join(methods) or 'none'}"
            )
        return methods[payment_method_id]

    def _cover(self, order: Record, payment_method_id: str, amount: float) -> None:
        method = self._method(order, payment_method_id)
        if method["source"] == "gift_card" and method["balance"] < amount:
            raise ToolError(
                f"'{payment_method_id}' holds {method['balance']}, less than the {amount:.2f} to be paid; "
                "choose another payment method"
            )

    def _owned(self, order: Record, item_ids: Sequence[str]) -> None:
        owned = [item["item_id"] for item in order["items"]]
        if not item_ids and self.dialect == "own":
            raise ToolError(f"item_ids is empty; order {order['order_id']} holds {', '.join(owned)}")
        for item_id in item_ids:
            if item_ids.count(item_id) > owned.count(item_id):
                raise ToolError(
                    f"item {shown(item_id)} is {item_ids.count(item_id)} times in item_ids but {owned.count(item_id)} "
                    f"times in order {order['order_id']}, which holds {', '.join(owned)}"
                )

    def _variants(self, order: Record, item_ids: Sequence[str], new_item_ids: Sequence[str]) -> list[Record]:
        """Return the variant of each new item; refuse an item that is not in the order or not available."""
        self._owned(order, item_ids)
        if len(item_ids) != len(new_item_ids):
            raise ToolError(f"{len(item_ids)} item_ids but {len(new_item_ids)} new_item_ids; give one for each")
        variants = []
        for item_id, new_item_id in zip(item_ids, new_item_ids, strict=True):
            item = _item(order["items"], item_id)
            variant = self.products[item["product_id"]]["variants"].get(new_item_id)
            if not variant:
                raise ToolError(
                    f"{shown(new_item_id)} is no variant of {item['name']}, whose product id is {item['product_id']}"
                )
            if not variant["available"]:
                raise ToolError(f"item {new_item_id} is not available; choose another variant of {item['name']}")
            variants.append(variant)
        return variants

    # ------------------------------------------------------------ changes

    def _refundable(self, order: Record) -> list[tuple[str, float]]:
        """Return the payment methods and amounts that a cancellation refunds."""
        history = order["payment_history"]
        if self.dialect != "own":
            return [(entry["payment_method_id"], entry["amount"]) for entry in history]
        owed: dict[str, float] = {}
        for entry in history:
            sign = 1 if entry["transaction_type"] == "payment" else -1
            owed[entry["payment_method_id"]] = owed.get(entry["payment_method_id"], 0) + sign * entry["amount"]
        return [(method, round(amount, 2)) for method, amount in owed.items() if round(amount, 2) > 0]

    def _charge(self, order: Record, payment_method_id: str, amount: float) -> None:
        """Subtract an amount from a gift card; a negative amount is added. Other payment methods have no balance."""
        user = self.users[order["user_id"]]
        method = user["payment_methods"].get(payment_method_id)
        if method and method["source"] == "gift_card":
            charged = method | {"balance": round(method["balance"] - amount, 2)}
            methods = user["payment_methods"] | {payment_method_id: charged}
            self.users[order["user_id"]] = user | {"payment_methods": methods}

    def _put(self, order_id: str, **changes: Any) -> dict[str, Any]:
        self.orders[order_id] = self.orders[order_id] | changes
        return copied(self.orders[order_id])


def _item(items: list[Record], item_id: str) -> Record:
    return next(item for item in items if item["item_id"] == item_id)


def _difference(order: Record, item_ids: Sequence[str], variants: Sequence[Record]) -> float:
    """Return the price of the variants minus the price of the items that they replace."""
    # Add one difference after another, starting from 0. Another order would round differently from TauBench.
    total: float = 0
    for item_id, variant in zip(item_ids, variants, strict=True):
        total += variant["price"] - _item(order["items"], item_id)["price"]
    return total


def _entry(transaction_type: str, amount: float, payment_method_id: str) -> Record:
    return {"transaction_type": transaction_type, "amount": amount, "payment_method_id": payment_method_id}


def _address(address1: str, address2: str, city: str, state: str, country: str, zip_code: str) -> Record:
    return {
        "address1": address1, "address2": address2, "city": city, "country": country, "state": state, "zip": zip_code,
    }  # fmt: skip
