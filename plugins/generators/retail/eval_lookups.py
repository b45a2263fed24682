"""Templates of the evaluation set: questions that need no change."""

from generators.retail.drafts import RetailDraft, Scene, Template, UnfitDraft, require


def _status(scene: Scene) -> RetailDraft:
    order = scene.random.choice(scene.orders())
    looked = f"order = get_order_details({order['order_id']!r})\n"
    return RetailDraft(
        f"What is the status of my order {order['order_id']}? One word is enough.",
        looked + "final_answer(order['status'])\n",
        (
            looked + "final_answer(order['order_id'])\n",
            "final_answer('shipped')\n",
            looked + "final_answer(order['items'][0]['name'])\n",
        ),
        answer=order["status"],
    )


def _total(scene: Scene) -> RetailDraft:
    order = scene.random.choice(require([order for order in scene.orders() if len(order["items"]) > 1]))
    looked = f"order = get_order_details({order['order_id']!r})\n"
    return RetailDraft(
        f"How much did I pay for order {order['order_id']} in all? Just the number, in dollars.",
        looked + "final_answer(order['payment_history'][0]['amount'])\n",
        (
            looked + "final_answer(order['items'][0]['price'])\n",
            looked + "final_answer(max(item['price'] for item in order['items']))\n",
            looked + "final_answer(len(order['items']))\n",
        ),
        answer=order["payment_history"][0]["amount"],
    )


def _price(scene: Scene) -> RetailDraft:
    order = scene.random.choice(require([order for order in scene.orders() if len(order["items"]) > 1]))
    item = scene.random.choice(order["items"])
    looked = f"order = get_order_details({order['order_id']!r})\n"
    named = f"next(item for item in order['items'] if item['name'] == {item['name']!r})"
    return RetailDraft(
        f"I forgot what the {item['name']} in order {order['order_id']} cost. What was the price of one, as a number?",
        looked + f"final_answer({named}['price'])\n",
        (
            looked + "final_answer(order['payment_history'][0]['amount'])\n",
            looked + f"final_answer({named}['item_id'])\n",
            looked
            + f"final_answer(next(item for item in order['items'] if item['name'] != {item['name']!r})['price'])\n",
        ),
        answer=item["price"],
    )


def _balance(scene: Scene) -> RetailDraft:
    card = scene.method("gift_card")
    looked = (
        "methods = get_user_details(user_id)['payment_methods'].values()\n"
        "card = next(method for method in methods if method['source'] == 'gift_card')\n"
    )
    return RetailDraft(
        "How many dollars are left on my gift card? Only the amount, please.",
        looked + "final_answer(card['balance'])\n",
        (
            looked + "final_answer(card['id'])\n",
            looked + "final_answer(len(methods))\n",
            looked + "final_answer(0)\n",
        ),
        answer=scene.user["payment_methods"][card]["balance"],
    )


def _choice(scene: Scene) -> RetailDraft:
    product = scene.random.choice(list(scene.world.products.values()))
    available = [variant for variant in product["variants"].values() if variant["available"]]
    looked = (
        f"product_id = list_all_product_types()[{product['name']!r}]\n"
        "variants = get_product_details(product_id)['variants'].values()\n"
    )
    return RetailDraft(
        f"How many variants of the {product['name']} can I order right now? Answer with a number.",
        looked + "final_answer(sum(variant['available'] for variant in variants))\n",
        (
            looked + "final_answer(len(variants))\n",
            looked + "final_answer(sum(not variant['available'] for variant in variants))\n",
            looked + "final_answer(product_id)\n",
        ),
        answer=len(available),
    )


def _cheapest(scene: Scene) -> RetailDraft:
    product = scene.random.choice(list(scene.world.products.values()))
    variants = product["variants"].values()
    prices = sorted(variant["price"] for variant in variants if variant["available"])
    if not prices or prices[0] == min(variant["price"] for variant in variants):
        raise UnfitDraft  # otherwise an agent that ignores the stock would be right
    looked = (
        f"product_id = list_all_product_types()[{product['name']!r}]\n"
        "variants = get_product_details(product_id)['variants'].values()\n"
    )
    return RetailDraft(
        f"I might buy a {product['name']}. What does the cheapest one cost that you have in stock? A number will do.",
        looked + "final_answer(min(variant['price'] for variant in variants if variant['available']))\n",
        (
            looked + "final_answer(min(variant['price'] for variant in variants))\n",
            looked + "final_answer(max(variant['price'] for variant in variants if variant['available']))\n",
            looked + "final_answer(sum(variant['price'] for variant in variants))\n",
        ),
        answer=prices[0],
    )


def _spent(scene: Scene) -> RetailDraft:
    orders = scene.orders("delivered")
    if len(orders) < 2:
        raise UnfitDraft
    looked = "orders = [get_order_details(order_id) for order_id in get_user_details(user_id)['orders']]\n"
    paid = "final_answer(sum(order['payment_history'][0]['amount'] for order in {}))\n"
    return RetailDraft(
        "Add up what I paid for all those orders of mine that have been delivered. I need the sum in dollars.",
        looked + paid.format("orders if order['status'] == 'delivered'"),
        (
            looked + paid.format("orders"),
            looked + paid.format("orders if order['status'] != 'delivered'"),
            looked + paid.format("orders[:1]"),
        ),
        answer=round(sum(order["payment_history"][0]["amount"] for order in orders), 2),
    )


TEMPLATES: tuple[Template, ...] = (_status, _total, _price, _balance, _choice, _cheapest, _spent)
