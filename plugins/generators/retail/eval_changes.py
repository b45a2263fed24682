"""Templates of the evaluation set: requests that need one change."""

from sca_retail.writing import REASONS

from generators.retail.catalogue import CITIES, STREETS
from generators.retail.drafts import RetailDraft, Scene, Template, UnfitDraft, ids, require
from sca_cli.toolkit.tables import Record

DONE = "final_answer('done')\n"


def cancel(order: Record, reason: str) -> str:
    """Return a source line that cancels an order."""
    return f"cancel_pending_order({order['order_id']!r}, {reason!r})\n"


def other_than(scene: Scene, order: Record, status: str) -> Record:
    """Draw another order of the customer in that status.

    Raises:
        UnfitDraft: there is none.
    """
    return scene.random.choice(require([each for each in scene.orders(status) if each is not order]))


def new_address(scene: Scene) -> Record:
    """Draw an address to move to."""
    city, state, prefix = scene.random.choice(CITIES)
    return {
        "address1": f"{scene.random.randrange(1, 990)} {scene.random.choice(STREETS)}",
        "address2": f"Apt {scene.random.randrange(1, 90)}",
        "city": city,
        "country": "USA",
        "state": state,
        "zip": f"{prefix}{scene.random.randrange(100):02}",
    }


def written(address: Record) -> str:
    """Return an address in the form that a customer writes."""
    return "{address1}, {address2}, {city}, {state} {zip}, {country}".format(**address)


def arguments(address: Record) -> str:
    """Return an address as the Python text of tool arguments, one argument for each part of the address."""
    return ", ".join(f"{key}={value!r}" for key, value in address.items())


def options(variant: Record) -> str:
    """Return a variant's options in a customer's words."""
    return ", ".join(f"{key} {value}" for key, value in variant["options"].items())


def describe(method_id: str) -> str:
    """Return a payment method in a customer's words."""
    return {"credit": "my credit card", "paypal": "my PayPal account", "gift": "my gift card"}[method_id.split("_")[0]]


def single(order: Record) -> Record:
    """Draw an item that the order contains exactly once.

    Raises:
        UnfitDraft: there is none.
    """
    held = ids(order["items"])
    single: list[Record] = [item for item in order["items"] if held.count(item["item_id"]) == 1]
    return require(single)[0]


def finds_item(order: Record, item: Record) -> str:
    """Return source lines that find an item by the name of its product and assign it to `item`."""
    return (
        f"order = get_order_details({order['order_id']!r})\n"
        f"item = next(item for item in order['items'] if item['name'] == {item['name']!r})\n"
    )


def finds_variant(variant: Record) -> str:
    """Return source lines that find the variant of `item` with certain options and assign it to `new`."""
    return (
        "variants = get_product_details(item['product_id'])['variants'].values()\n"
        f"new = next(variant for variant in variants if variant['options'] == {variant['options']!r})\n"
    )


def finds_method(method_id: str) -> str:
    """Return source lines that find a payment method of the customer by its kind and assign it to `paid_by`."""
    source = method_id.rpartition("_")[0]
    return (
        "methods = get_user_details(user_id)['payment_methods'].values()\n"
        f"paid_by = next(method['id'] for method in methods if method['source'] == {source!r})\n"
    )


def _cancel(scene: Scene) -> RetailDraft:
    order, reason = scene.order("pending"), scene.random.choice(REASONS)
    wish = {REASONS[0]: "I no longer need it", REASONS[1]: "I ordered it by mistake"}[reason]
    other = REASONS[1 - REASONS.index(reason)]
    return RetailDraft(
        f"Please cancel my order {order['order_id']}; {wish}.",
        cancel(order, reason) + DONE,
        (
            cancel(order, other) + DONE,
            f"get_order_details({order['order_id']!r})\n" + DONE,
            f"transfer_to_human_agents('cancel order {order['order_id']}')\n" + DONE,
        ),
        orders={order["order_id"]: {"status": "cancelled", "cancel_reason": reason}},
    )


def _redirect(scene: Scene) -> RetailDraft:
    order, address = scene.order("pending"), new_address(scene)
    call = f"modify_pending_order_address({order['order_id']!r}, {{}})\n"
    return RetailDraft(
        f"Order {order['order_id']} has not left yet, has it? Then send it to {written(address)}. "
        "My own address stays as it is.",
        call.format(arguments(address)) + DONE,
        (
            call.format(arguments(address | {"address2": ""})) + DONE,
            f"modify_user_address(user_id, {arguments(address)})\n" + DONE,
            call.format(arguments(address)) + f"modify_user_address(user_id, {arguments(address)})\n" + DONE,
        ),
        orders={order["order_id"]: {"status": "pending", "item_ids": ids(order["items"]), "address": address}},
    )


def _move(scene: Scene) -> RetailDraft:
    order, address = scene.order("pending"), new_address(scene)
    call = f"modify_user_address(user_id, {arguments(address)})\n"
    redirected = f"modify_pending_order_address({order['order_id']!r}, {arguments(address)})\n"
    return RetailDraft(
        f"I have moved. Put {written(address)} into my profile, but leave my orders alone.",
        call + DONE,
        (
            redirected + DONE,
            call + redirected + DONE,
            f"modify_user_address(user_id, {arguments(address | {'zip': scene.user['address']['zip']})})\n" + DONE,
        ),
        user={"address": address},
    )


def _send_back(scene: Scene) -> RetailDraft:
    order = scene.order("delivered")
    if len({item["name"] for item in order["items"]}) < 2:
        raise UnfitDraft
    item, original = single(order), order["payment_history"][0]["payment_method_id"]
    call = f"return_delivered_order_items({order['order_id']!r}, {{}}, {original!r})\n"
    others = [each for each in ids(order["items"]) if each != item["item_id"]]
    return RetailDraft(
        f"I want to return the {item['name']} of order {order['order_id']}, nothing else, and get the money back the "
        "way I paid.",
        finds_item(order, item)
        + "return_delivered_order_items(order['order_id'], [item['item_id']], "
        + "order['payment_history'][0]['payment_method_id'])\n"
        + DONE,
        (
            call.format(ids(order["items"])) + DONE,
            call.format(others[:1]) + DONE,
            f"transfer_to_human_agents('return of the {item['name']}')\n" + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "return requested",
                "return_items": [item["item_id"]],
                "return_payment_method_id": original,
            }
        },
    )


def _send_all_back(scene: Scene) -> RetailDraft:
    order = scene.random.choice(require([order for order in scene.orders("delivered") if len(order["items"]) > 1]))
    original = order["payment_history"][0]["payment_method_id"]
    card = scene.method("gift_card", but=original)
    call = f"return_delivered_order_items({order['order_id']!r}, {{}}, {{}})\n"
    looked = (
        f"item_ids = [item['item_id'] for item in get_order_details({order['order_id']!r})['items']]\n"
        + finds_method(card)
    )
    return RetailDraft(
        f"Everything in order {order['order_id']} goes back. Refund it to my gift card, not to what I paid with.",
        looked + call.format("item_ids", "paid_by") + DONE,
        (
            looked + call.format("item_ids", repr(original)) + DONE,
            looked + call.format("item_ids[:1]", "paid_by") + DONE,
            looked + call.format("item_ids[1:]", "paid_by") + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "return requested",
                "return_items": ids(order["items"]),
                "return_payment_method_id": card,
            }
        },
    )


def _replace(scene: Scene) -> RetailDraft:
    order = scene.order("pending")
    item, method = single(order), scene.method()
    variants = scene.variants(item)
    if len(variants) < 2:
        raise UnfitDraft
    new, wrong = scene.random.sample(variants, 2)
    scene.can_pay(method, max(new["price"], wrong["price"]) - item["price"])
    looked = finds_item(order, item) + finds_variant(new) + finds_method(method)
    call = f"modify_pending_order_items({order['order_id']!r}, [{item['item_id']!r}], [{{!r}}], {method!r})\n"
    left = [each for each in ids(order["items"]) if each != item["item_id"]]
    paid_by = [order["payment_history"][0]["payment_method_id"], method]
    return RetailDraft(
        f"In my pending order {order['order_id']} I would rather have another {item['name']}: {options(new)}. "
        f"Settle the difference with {describe(method)}.",
        looked + "modify_pending_order_items(order['order_id'], [item['item_id']], [new['item_id']], paid_by)\n" + DONE,
        (
            call.format(wrong["item_id"]) + DONE,
            cancel(order, REASONS[0]) + DONE,
            f"get_product_details({item['product_id']!r})\n" + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "pending (item modified)",
                "item_ids": sorted([*left, new["item_id"]]),
                "paid_by": paid_by,
            }
        },
    )


def _exchange(scene: Scene) -> RetailDraft:
    order = scene.order("delivered")
    item, method = single(order), scene.method()
    variants = scene.variants(item)
    if len(variants) < 2:
        raise UnfitDraft
    new, wrong = scene.random.sample(variants, 2)
    scene.can_pay(method, max(new["price"], wrong["price"]) - item["price"])
    original = order["payment_history"][0]["payment_method_id"]
    looked = finds_item(order, item) + finds_variant(new) + finds_method(method)
    call = f"exchange_delivered_order_items({order['order_id']!r}, [{item['item_id']!r}], [{{!r}}], {method!r})\n"
    return RetailDraft(
        f"The {item['name']} from order {order['order_id']} is not right for me. I want to exchange it for this one: "
        f"{options(new)}. Use {describe(method)} for any difference in price.",
        looked
        + "exchange_delivered_order_items(order['order_id'], [item['item_id']], [new['item_id']], paid_by)\n"
        + DONE,
        (
            call.format(wrong["item_id"]) + DONE,
            f"return_delivered_order_items({order['order_id']!r}, [{item['item_id']!r}], {original!r})\n" + DONE,
            f"transfer_to_human_agents('exchange of the {item['name']}')\n" + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "exchange requested",
                "exchange_items": [item["item_id"]],
                "exchange_new_items": [new["item_id"]],
                "exchange_payment_method_id": method,
            }
        },
    )


def _repay(scene: Scene) -> RetailDraft:
    order = scene.order("pending")
    original = order["payment_history"][0]["payment_method_id"]
    method = scene.method(but=original)
    scene.can_pay(method, order["payment_history"][0]["amount"])
    call = f"modify_pending_order_payment({order['order_id']!r}, {method!r})\n"
    return RetailDraft(
        f"Charge order {order['order_id']} to {describe(method)} and not to {describe(original)}.",
        finds_method(method) + f"modify_pending_order_payment({order['order_id']!r}, paid_by)\n" + DONE,
        (
            cancel(order, REASONS[1]) + DONE,
            f"get_user_details(user_id)['payment_methods'][{method!r}]\n" + DONE,
            call + cancel(order, REASONS[0]) + DONE,
        ),
        orders={
            order["order_id"]: {
                "status": "pending",
                "item_ids": ids(order["items"]),
                "paid_by": [original, method, original],
            }
        },
    )


TEMPLATES: tuple[Template, ...] = (
    _cancel,
    _redirect,
    _move,
    _send_back,
    _send_all_back,
    _replace,
    _exchange,
    _repay,
)
