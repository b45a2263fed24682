"""Templates of the evaluation set: requests that need several changes, a search or a condition."""

from sca_retail.writing import REASONS

from generators.retail.drafts import RetailDraft, Scene, Template, UnfitDraft, ids, require
from generators.retail.eval_changes import (
    DONE,
    arguments,
    cancel,
    describe,
    finds_item,
    finds_method,
    finds_variant,
    new_address,
    options,
    other_than,
    single,
    written,
)

_MINE = "orders = [get_order_details(order_id) for order_id in get_user_details(user_id)['orders']]\n"


def _refund(scene: Scene) -> RetailDraft:
    order, reason = scene.order("pending"), REASONS[0]
    amount = order["payment_history"][0]["amount"]
    return RetailDraft(
        f"I no longer need what I ordered as {order['order_id']}. Cancel it, and tell me how many dollars I get back.",
        "order = " + cancel(order, reason) + "final_answer(order['payment_history'][-1]['amount'])\n",
        (
            f"final_answer({amount})\n",
            cancel(order, reason) + DONE,
            cancel(order, REASONS[1]) + f"final_answer({amount})\n",
        ),
        orders={order["order_id"]: {"status": "cancelled", "cancel_reason": reason}},
        answer=amount,
    )


def _cancel_all(scene: Scene) -> RetailDraft:
    orders, reason = scene.orders("pending"), REASONS[0]
    if len(orders) < 2:
        raise UnfitDraft
    all_of = _MINE + f"for order in {{}}:\n    cancel_pending_order(order['order_id'], {reason!r})\n" + DONE
    pending = "[order for order in orders if order['status'] == 'pending']"
    return RetailDraft(
        "Cancel everything of mine that is still pending, all of it: I no longer need any of those things.",
        all_of.format(pending),
        (
            all_of.format(pending + "[:1]"),
            all_of.format(pending + "[1:]"),
            all_of.format(pending).replace(reason, REASONS[1]),
        ),
        orders={order["order_id"]: {"status": "cancelled", "cancel_reason": reason} for order in orders},
    )


def _relocate(scene: Scene) -> RetailDraft:
    orders, address = scene.orders("pending"), new_address(scene)
    moved = f"modify_user_address(user_id, {arguments(address)})\n"
    redirected = (
        _MINE + "for order in orders:\n    if order['status'] == 'pending':\n"
        f"        modify_pending_order_address(order['order_id'], {arguments(address)})\n"
    )
    return RetailDraft(
        f"I am moving to {written(address)}. Change my profile, and every order that is still "
        "pending must go there too.",
        moved + redirected + DONE,
        (moved + DONE, redirected + DONE, DONE),
        orders={
            order["order_id"]: {"status": "pending", "item_ids": ids(order["items"]), "address": address}
            for order in orders
        },
        user={"address": address},
    )


def _swap_cheapest(scene: Scene) -> RetailDraft:
    order = scene.order("delivered")
    item, method = single(order), order["payment_history"][0]["payment_method_id"]
    variants = sorted(scene.variants(item), key=lambda variant: float(variant["price"]))
    everything = scene.world.products[item["product_id"]]["variants"].values()
    unavailable = [variant["price"] for variant in everything if not variant["available"]]
    if len(variants) < 2 or variants[0]["price"] == variants[1]["price"] or min(unavailable, default=0) == 0:
        raise UnfitDraft
    difference = round(variants[0]["price"] - item["price"], 2)
    scene.can_pay(method, variants[-1]["price"] - item["price"])
    looked = (
        finds_item(order, item) + "variants = get_product_details(item['product_id'])['variants'].values()\n"
        "variants = [v for v in variants if v['available'] and v['item_id'] != item['item_id']]\n"
        "paid_by = order['payment_history'][0]['payment_method_id']\n"
    )
    call = (
        "new = {}(variants, key=lambda variant: variant['price'])\n"
        "order = exchange_delivered_order_items(order['order_id'], [item['item_id']], [new['item_id']], paid_by)\n"
    )
    return RetailDraft(
        f"Exchange the {item['name']} of order {order['order_id']} for the cheapest other variant you have in stock, "
        f"with {describe(method)}, which paid for the order. What is the price difference, new minus old, in dollars?",
        looked + call.format("min") + "final_answer(order['exchange_price_difference'])\n",
        (
            looked + call.format("max") + "final_answer(order['exchange_price_difference'])\n",
            looked + call.format("min") + "final_answer(new['price'])\n",
            f"final_answer({difference})\n",
        ),
        orders={
            order["order_id"]: {
                "status": "exchange requested",
                "exchange_items": [item["item_id"]],
                "exchange_new_items": [variants[0]["item_id"]],
                "exchange_payment_method_id": method,
            }
        },
        answer=difference,
    )


def _if_in_stock(scene: Scene) -> RetailDraft:
    order = scene.order("pending")
    item, method = single(order), order["payment_history"][0]["payment_method_id"]
    everything = scene.world.products[item["product_id"]]["variants"].values()
    new = scene.random.choice(require([variant for variant in everything if variant["item_id"] != item["item_id"]]))
    scene.can_pay(method, new["price"] - item["price"])
    replaced = (
        "modify_pending_order_items(order['order_id'], [item['item_id']], [new['item_id']], "
        "order['payment_history'][0]['payment_method_id'])\n"
    )
    cancelled = cancel(order, REASONS[0])
    left = [each for each in ids(order["items"]) if each != item["item_id"]]
    end: dict[str, object] = {"status": "cancelled", "cancel_reason": REASONS[0]}
    if new["available"]:
        end = {"status": "pending (item modified)", "item_ids": sorted([*left, new["item_id"]])}
    return RetailDraft(
        f"About the {item['name']} in order {order['order_id']}: if you have it with {options(new)}, put that one into "
        f"the order instead, with the payment method I used. If that one is out of stock, I no longer need the order: "
        "cancel all of it.",
        finds_item(order, item)
        + finds_variant(new)
        + f"if new['available']:\n    {replaced}else:\n    {cancelled}"
        + DONE,
        (
            cancelled + DONE if new["available"] else cancel(order, REASONS[1]) + DONE,
            f"get_product_details({item['product_id']!r})\n" + DONE,
            f"transfer_to_human_agents('change of order {order['order_id']}')\n" + DONE,
        ),
        orders={order["order_id"]: end},
    )


def _replace_two(scene: Scene) -> RetailDraft:
    order = scene.order("pending")
    items = [item for item in order["items"] if ids(order["items"]).count(item["item_id"]) == 1][:2]
    if len(items) < 2:
        raise UnfitDraft
    method = scene.method()
    new = [scene.random.choice(scene.variants(item)) for item in items]
    scene.can_pay(method, sum(each["price"] for each in new))
    old_ids, new_ids = [item["item_id"] for item in items], [variant["item_id"] for variant in new]
    call = f"modify_pending_order_items({order['order_id']!r}, {{}}, {{}}, {method!r})\n"
    left = [each for each in ids(order["items"]) if each not in old_ids]
    return RetailDraft(
        f"Two changes to order {order['order_id']} before it leaves. The {items[0]['name']}: {options(new[0])}. "
        f"The {items[1]['name']}: {options(new[1])}. The difference goes over {describe(method)}.",
        "old_ids, new_ids = [], []\n"
        + "".join(
            finds_item(order, item) + finds_variant(variant) + "old_ids.append(item['item_id'])\n"
            "new_ids.append(new['item_id'])\n"
            for item, variant in zip(items, new, strict=True)
        )
        + finds_method(method)
        + "modify_pending_order_items(order['order_id'], old_ids, new_ids, paid_by)\n"
        + DONE,
        (
            call.format(old_ids[:1], new_ids[:1]) + DONE,
            call.format(old_ids[1:], new_ids[1:]) + DONE,
            cancel(order, REASONS[0]) + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "pending (item modified)",
                "item_ids": sorted([*left, *new_ids]),
                "paid_by": [order["payment_history"][0]["payment_method_id"], method],
            }
        },
    )


def _search(scene: Scene) -> RetailDraft:
    order = scene.order("delivered")
    item, original = single(order), order["payment_history"][0]["payment_method_id"]
    if sum(item["name"] in [each["name"] for each in other["items"]] for other in scene.orders()) > 1:
        raise UnfitDraft
    if len(order["items"]) < 2:
        raise UnfitDraft
    lookup = (
        _MINE
        + f"order = next(order for order in orders if {item['name']!r} in [item['name'] for item in order['items']])\n"
        "paid_by = order['payment_history'][0]['payment_method_id']\n"
    )
    call = "return_delivered_order_items(order['order_id'], {}, paid_by)\n"
    named = f"[item['item_id'] for item in order['items'] if item['name'] {{}} {item['name']!r}]"
    return RetailDraft(
        f"I do not know the order number, but once I bought a {item['name']} and it has arrived. I want to return it, "
        "only that, for a refund to what I paid with.",
        lookup + call.format(named.format("==")) + DONE,
        (
            lookup + call.format("[item['item_id'] for item in order['items']]") + DONE,
            lookup + call.format(named.format("!=")) + DONE,
            lookup + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "return requested",
                "return_items": [item["item_id"]],
                "return_payment_method_id": original,
            }
        },
    )


def _dearest_and_cancel(scene: Scene) -> RetailDraft:
    sent, pending = scene.order("delivered"), scene.order("pending")
    prices = sorted(item["price"] for item in sent["items"])
    if len(prices) < 2 or prices[-1] == prices[-2]:
        raise UnfitDraft
    item = max(sent["items"], key=lambda item: float(item["price"]))
    original = sent["payment_history"][0]["payment_method_id"]
    returned = (
        f"order = get_order_details({sent['order_id']!r})\n"
        "item = {}(order['items'], key=lambda item: item['price'])\n"
        "paid_by = order['payment_history'][0]['payment_method_id']\n"
        "return_delivered_order_items(order['order_id'], [item['item_id']], paid_by)\n"
    )
    return RetailDraft(
        f"Take back the most expensive item of order {sent['order_id']} and refund it the way I paid. Then cancel "
        f"order {pending['order_id']}, which I placed by mistake.",
        returned.format("max") + cancel(pending, REASONS[1]) + DONE,
        (
            returned.format("min") + cancel(pending, REASONS[1]) + DONE,
            returned.format("max") + DONE,
            cancel(pending, REASONS[1]) + DONE,
        ),
        orders={
            sent["order_id"]: {
                "status": "return requested",
                "return_items": [item["item_id"]],
                "return_payment_method_id": original,
            },
            pending["order_id"]: {"status": "cancelled", "cancel_reason": REASONS[1]},
        },
    )


def _keep_the_better(scene: Scene) -> RetailDraft:
    first = scene.order("pending")
    second = other_than(scene, first, "pending")
    if (
        len(scene.orders("pending")) > 2
        or first["payment_history"][0]["amount"] == second["payment_history"][0]["amount"]
    ):
        raise UnfitDraft
    dear = max(first, second, key=lambda order: float(order["payment_history"][0]["amount"]))
    cheap = second if dear is first else first
    return RetailDraft(
        "I have two pending orders and can afford only one. Cancel whichever cost me more, since I no longer need it, "
        "and tell me the number of the order that is left.",
        _MINE
        + "pending = [order for order in orders if order['status'] == 'pending']\n"
        + "pending.sort(key=lambda order: order['payment_history'][0]['amount'])\n"
        + f"cancel_pending_order(pending[-1]['order_id'], {REASONS[0]!r})\nfinal_answer(pending[0]['order_id'])\n",
        (
            cancel(cheap, REASONS[0]) + f"final_answer({dear['order_id']!r})\n",
            cancel(dear, REASONS[0]) + f"final_answer({dear['order_id']!r})\n",
            f"final_answer({cheap['order_id']!r})\n",
        ),
        orders={dear["order_id"]: {"status": "cancelled", "cancel_reason": REASONS[0]}},
        answer=cheap["order_id"],
    )


TEMPLATES: tuple[Template, ...] = (
    _refund,
    _cancel_all,
    _relocate,
    _swap_cheapest,
    _if_in_stock,
    _replace_two,
    _search,
    _dearest_and_cancel,
    _keep_the_better,
)
