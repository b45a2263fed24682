"""The Retail environment: the rules of its tools, its seeds, its records and its held-out evaluation set."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generators.retail import make_data, make_eval
from generators.retail.drafts import RetailDraft, Scene, check_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sca_retail.data import OWN, TABLES
from sca_retail.environment import Retail
from sca_retail.variation import STATUSES

from sca_cli import ToolError, plugins
from sca_cli.errors import MissingError, RecordError, UsageError
from sca_cli.interfaces import tools_of
from sca_cli.records import EnvSpec, Task, decode
from sca_cli.sandbox import Sandbox

READING = {
    "find_user_id_by_email",
    "find_user_id_by_name_zip",
    "get_user_details",
    "get_order_details",
    "list_all_product_types",
    "get_product_details",
    "calculate",
    "think",
    "transfer_to_human_agents",
}
WRITING = {
    "cancel_pending_order",
    "modify_pending_order_address",
    "modify_pending_order_items",
    "modify_pending_order_payment",
    "modify_user_address",
    "return_delivered_order_items",
    "exchange_delivered_order_items",
}
"""The names of TauBench v1 retail."""

ADDRESS = {"address1": "1 Mill Street", "address2": "", "city": "Reno", "state": "NV", "country": "USA", "zip": "89501"}


def item(name: str, item_id: str, price: float) -> dict[str, Any]:
    """Return an item of an order; products are named p1, p2, … and their items 11, 12, …, 21, …"""
    return {"name": name, "product_id": name, "item_id": item_id, "price": price, "options": {"size": item_id}}


def order(order_id: str, status: str, items: list[dict[str, Any]], paid_by: str) -> dict[str, Any]:
    """Return an order of user u1."""
    amount = sum(each["price"] for each in items)
    return {
        "order_id": order_id,
        "user_id": "u1",
        "address": ADDRESS,
        "items": items,
        "status": status,
        "fulfillments": [],
        "payment_history": [{"transaction_type": "payment", "amount": amount, "payment_method_id": paid_by}],
    }


def records() -> dict[str, Any]:
    """Return a small shop: one user with three payment methods, a pending order and a delivered one."""
    prices = {"11": 10.0, "12": 12.35, "13": 60.0, "14": 8.1}
    variant = {
        key: {"item_id": key, "options": {"size": key}, "available": key != "14", "price": price}
        for key, price in prices.items()
    }
    lamp = {"item_id": "21", "options": {"size": "21"}, "available": True, "price": 30.0}
    methods = {
        "credit_card_1": {"source": "credit_card", "id": "credit_card_1", "brand": "visa", "last_four": "0001"},
        "paypal_1": {"source": "paypal", "id": "paypal_1"},
        "gift_card_1": {"source": "gift_card", "id": "gift_card_1", "balance": 25.5},
    }
    goods = [item("p1", "11", 10.0), item("p1", "11", 10.0), item("p2", "21", 30.0)]
    orders = [
        order("#W1", "pending", goods, "credit_card_1"),
        order("#W2", "delivered", goods, "credit_card_1"),
        order("#W3", "processed", goods, "credit_card_1"),
        order("#W4", "pending", [item("p1", "11", 10.0)], "gift_card_1"),
    ]
    return {
        "users": {
            "u1": {
                "name": {"first_name": "Ada", "last_name": "Moss"},
                "address": ADDRESS,
                "email": "ada.moss@example.com",
                "payment_methods": methods,
                "orders": [each["order_id"] for each in orders],
            }
        },
        "orders": {each["order_id"]: each for each in orders},
        "products": {
            "p1": {"name": "p1", "product_id": "p1", "variants": variant},
            "p2": {"name": "p2", "product_id": "p2", "variants": {"21": lamp}},
        },
    }


@pytest.fixture(scope="module")
def full() -> Retail:
    """The shop with its own records."""
    return Retail()


@pytest.fixture
def small(full: Retail) -> Retail:
    """The rules of our own shop over the small records."""
    full.reset(0)
    full.restore(records())
    return full


def call(world: Retail, name: str, *args: Any, **kwargs: Any) -> Any:
    """Call a tool as the world process does."""
    return tools_of(world)[name][1](*args, **kwargs)


def balance(world: Retail) -> float:
    """Return what the gift card of the small shop holds."""
    return float(call(world, "get_user_details", "u1")["payment_methods"]["gift_card_1"]["balance"])


# ---------------------------------------------------------------- the tools in general


def test_the_tools_are_those_of_taubench(full: Retail) -> None:
    """16 tools, of which 7 write; every parameter is described; the agent serves a customer."""
    tools = {name: tool for name, (tool, _) in tools_of(full).items()}
    assert {name for name, tool in tools.items() if not tool.writes} == READING
    assert {name for name, tool in tools.items() if tool.writes} == WRITING
    for tool in tools.values():
        assert all(schema.get("description") for schema in tool.parameters["properties"].values()), tool.name
    assert full.customer
    assert "one customer" in full.policy


def test_reading_tools_change_nothing(full: Retail) -> None:
    """Looking everything up leaves the state as it was, and what a tool returned is the caller's to change."""
    full.reset(5)
    before = json.dumps(full.state())
    user = call(full, "get_user_details", full.who)
    call(full, "find_user_id_by_email", user["email"])
    for order_id in user["orders"]:
        found = call(full, "get_order_details", order_id)
        call(full, "get_product_details", found["items"][0]["product_id"])["variants"].clear()
        found["items"].clear()
    user["payment_methods"].clear()
    call(full, "list_all_product_types").clear()
    assert call(full, "calculate", "2 * (3 + 0.456)") == 6.91
    assert call(full, "think", "hm") == ""
    assert call(full, "transfer_to_human_agents", "x") == "Transfer successful"
    assert json.dumps(full.state()) == before


def test_users_are_found_by_email_or_name_and_zip(small: Retail) -> None:
    """Capitals do not matter."""
    assert call(small, "find_user_id_by_email", "ADA.moss@example.com") == "u1"
    assert call(small, "find_user_id_by_name_zip", "ada", "MOSS", "89501") == "u1"


def test_products_are_listed_by_name(full: Retail) -> None:
    """50 names with the ids that get_product_details takes."""
    full.reset(0)
    found = call(full, "list_all_product_types")
    assert list(found) == sorted(found)
    assert len(found) == 50
    assert all(call(full, "get_product_details", product_id)["name"] == name for name, product_id in found.items())


REFUSALS: list[tuple[str, list[Any], str]] = [
    ("find_user_id_by_email", ["x@example.com"], "find_user_id_by_name_zip"),
    ("find_user_id_by_name_zip", ["Ada", "Moss", "89502"], "zip code"),
    ("get_user_details", ["u2"], "no user 'u2'"),
    ("get_order_details", ["W1"], "begins with '#W'"),
    ("get_order_details", ["#" * 500], "…"),
    ("get_product_details", ["11"], "list_all_product_types"),
    ("calculate", ["2 + x"], "numbers"),
    ("calculate", ["1e5"], "numbers"),
    ("calculate", ["1 / 0"], "zero"),
    ("calculate", ["__import__('os')"], "numbers"),
    ("cancel_pending_order", ["#W9", "no longer needed"], "no order"),
    ("cancel_pending_order", ["#W2", "no longer needed"], "'delivered'; only a pending"),
    ("cancel_pending_order", ["#W1", "too dear"], "'no longer needed' or 'ordered by mistake'"),
    ("modify_pending_order_address", ["#W3", *ADDRESS.values()], "'processed'"),
    ("modify_user_address", ["u2", *ADDRESS.values()], "no user"),
    ("modify_pending_order_items", ["#W2", ["11"], ["12"], "paypal_1"], "'delivered'"),
    ("modify_pending_order_items", ["#W1", [], [], "paypal_1"], "empty"),
    ("modify_pending_order_items", ["#W1", ["12"], ["11"], "paypal_1"], "0 times in order"),
    ("modify_pending_order_items", ["#W1", ["11"] * 3, ["12"] * 3, "paypal_1"], "3 times in item_ids but 2"),
    ("modify_pending_order_items", ["#W1", ["11", "11"], ["12"], "paypal_1"], "2 item_ids but 1"),
    ("modify_pending_order_items", ["#W1", ["11"], ["11"], "paypal_1"], "by itself"),
    ("modify_pending_order_items", ["#W1", ["11"], ["21"], "paypal_1"], "no variant of p1"),
    ("modify_pending_order_items", ["#W1", ["11"], ["14"], "paypal_1"], "not available"),
    ("modify_pending_order_items", ["#W1", ["11"], ["12"], "paypal_2"], "there are: credit_card_1, paypal_1"),
    ("modify_pending_order_items", ["#W1", ["11"], ["13"], "gift_card_1"], "holds 25.5, less than the 50.00"),
    ("modify_pending_order_payment", ["#W2", "paypal_1"], "'delivered'"),
    ("modify_pending_order_payment", ["#W1", "paypal_2"], "no payment method"),
    ("modify_pending_order_payment", ["#W1", "credit_card_1"], "already"),
    ("modify_pending_order_payment", ["#W1", "gift_card_1"], "less than the 50.00"),
    ("return_delivered_order_items", ["#W1", ["11"], "credit_card_1"], "'pending'"),
    ("return_delivered_order_items", ["#W2", ["12"], "credit_card_1"], "0 times"),
    ("return_delivered_order_items", ["#W2", [], "credit_card_1"], "empty"),
    ("return_delivered_order_items", ["#W2", ["11"], "paypal_1"], "'credit_card_1', which paid"),
    ("return_delivered_order_items", ["#W2", ["11"], "gift_card_2"], "no payment method"),
    ("exchange_delivered_order_items", ["#W1", ["11"], ["12"], "paypal_1"], "'pending'"),
    ("exchange_delivered_order_items", ["#W2", ["11"], ["14"], "paypal_1"], "not available"),
    ("exchange_delivered_order_items", ["#W2", ["11"], ["21"], "paypal_1"], "no variant"),
    ("exchange_delivered_order_items", ["#W2", ["11"], ["13"], "gift_card_1"], "less than"),
    ("exchange_delivered_order_items", ["#W2", ["11"], ["12"], "paypal_2"], "no payment method"),
    ("exchange_delivered_order_items", ["#W2", ["11"], [], "paypal_1"], "1 item_ids but 0"),
]


@pytest.mark.parametrize(("name", "args", "message"), REFUSALS, ids=[f"{each[0]}-{each[2]}" for each in REFUSALS])
def test_a_refusal_says_why_and_changes_nothing(small: Retail, name: str, args: list[Any], message: str) -> None:
    """The text names what is wrong or what would be right; no record differs afterwards."""
    before = json.dumps(small.state())
    with pytest.raises(ToolError) as refusal:
        call(small, name, *args)
    assert message in str(refusal.value)
    assert len(str(refusal.value)) < 300
    assert json.dumps(small.state()) == before


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_arguments_give_json_or_a_refusal(full: Retail, data: st.DataObject) -> None:
    """Arguments of the right types never raise anything but ToolError; a refusal changes nothing."""
    full.restore(records())
    words = st.sampled_from(
        ["u1", "#W1", "#W2", "#W4", "p1", "11", "12", "13", "gift_card_1", "no longer needed", "1+1"]
    )
    for _ in range(data.draw(st.integers(1, 6))):
        tool, method = data.draw(st.sampled_from(list(tools_of(full).values())))
        text = words | st.text(max_size=8)
        args = [
            data.draw(st.lists(text, max_size=3) if schema["type"] == "array" else text)
            for schema in tool.parameters["properties"].values()
        ]
        before = json.dumps(full.state())
        try:
            result = method(*args)
        except ToolError:
            assert json.dumps(full.state()) == before
        else:
            assert json.loads(json.dumps(result, allow_nan=False)) == result
            assert tool.writes or json.dumps(full.state()) == before


# ---------------------------------------------------------------- what each writing tool does


def test_cancelling_refunds_the_payment(small: Retail) -> None:
    """Status, reason and refund are written down; a gift card gets its money at once, a credit card has no balance."""
    found = call(small, "cancel_pending_order", "#W4", "ordered by mistake")
    assert (found["status"], found["cancel_reason"]) == ("cancelled", "ordered by mistake")
    assert found["payment_history"][1:] == [
        {"transaction_type": "refund", "amount": 10.0, "payment_method_id": "gift_card_1"}
    ]
    assert balance(small) == 35.5
    call(small, "cancel_pending_order", "#W1", "no longer needed")
    assert balance(small) == 35.5
    with pytest.raises(ToolError, match="'cancelled'"):
        call(small, "cancel_pending_order", "#W1", "no longer needed")


def test_cancelling_refunds_only_what_is_still_owed(small: Retail) -> None:
    """After a change of payment only the second method is refunded, and only once."""
    call(small, "modify_pending_order_payment", "#W4", "paypal_1")
    found = call(small, "cancel_pending_order", "#W4", "no longer needed")
    assert [entry["payment_method_id"] for entry in found["payment_history"][3:]] == ["paypal_1"]
    assert balance(small) == 35.5


def test_another_payment_method_pays_and_the_first_is_refunded(small: Retail) -> None:
    """Both entries are written down, gift cards are charged, and it cannot be done again."""
    found = call(small, "modify_pending_order_payment", "#W4", "credit_card_1")
    assert [(e["transaction_type"], e["amount"], e["payment_method_id"]) for e in found["payment_history"]] == [
        ("payment", 10.0, "gift_card_1"),
        ("payment", 10.0, "credit_card_1"),
        ("refund", 10.0, "gift_card_1"),
    ]
    assert balance(small) == 35.5
    assert found["status"] == "pending"
    with pytest.raises(ToolError, match="changed before"):
        call(small, "modify_pending_order_payment", "#W4", "paypal_1")


def test_replaced_items_have_their_own_price_and_the_difference_is_paid(small: Retail) -> None:
    """Two equal items become two variants; the gift card pays; no other change is possible then."""
    found = call(small, "modify_pending_order_items", "#W1", ["11", "11"], ["12", "12"], "gift_card_1")
    assert [(i["item_id"], i["price"], i["options"]) for i in found["items"]] == [
        ("12", 12.35, {"size": "12"}),
        ("12", 12.35, {"size": "12"}),
        ("21", 30.0, {"size": "21"}),
    ]
    assert found["status"] == "pending (item modified)"
    assert found["payment_history"][-1] == {
        "transaction_type": "payment",
        "amount": 4.7,
        "payment_method_id": "gift_card_1",
    }
    assert balance(small) == 20.8
    for name, args in (
        ("modify_pending_order_items", [["12"], ["11"], "paypal_1"]),
        ("modify_pending_order_address", list(ADDRESS.values())),
        ("modify_pending_order_payment", ["paypal_1"]),
        ("cancel_pending_order", ["no longer needed"]),
    ):
        with pytest.raises(ToolError, match="item modified"):
            call(small, name, "#W1", *args)


def test_a_cheaper_item_is_a_refund(small: Retail) -> None:
    """The difference goes back to the method that was named."""
    call(small, "modify_pending_order_items", "#W1", ["11"], ["13"], "paypal_1")
    small.products["p1"]["variants"]["14"]["available"] = True
    found = call(small, "modify_pending_order_items", "#W4", ["11"], ["14"], "gift_card_1")
    assert found["payment_history"][-1]["transaction_type"] == "refund"
    assert found["payment_history"][-1]["amount"] == 1.9
    assert balance(small) == 27.4


def test_addresses_of_orders_and_users_are_apart(small: Retail) -> None:
    """Each tool changes its own, and the user's is what name and zip are compared with."""
    there = ADDRESS | {"address1": "2 Dune Avenue", "zip": "33101"}
    assert call(small, "modify_pending_order_address", "#W1", **there)["address"] == there
    assert call(small, "get_user_details", "u1")["address"] == ADDRESS
    assert call(small, "modify_user_address", "u1", **there)["address"] == there
    assert call(small, "get_order_details", "#W4")["address"] == ADDRESS
    assert call(small, "find_user_id_by_name_zip", "Ada", "Moss", "33101") == "u1"


@pytest.mark.parametrize("method", ["credit_card_1", "gift_card_1"])
def test_a_return_is_noted_once(small: Retail, method: str) -> None:
    """Refunds go to the original payment or a gift card, later; neither a return nor an exchange can follow."""
    found = call(small, "return_delivered_order_items", "#W2", ["21", "11", "11"], method)
    assert found["status"] == "return requested"
    assert found["return_items"] == ["11", "11", "21"]
    assert found["return_payment_method_id"] == method
    assert balance(small) == 25.5
    with pytest.raises(ToolError, match="return requested"):
        call(small, "exchange_delivered_order_items", "#W2", ["11"], ["12"], "paypal_1")


def test_an_exchange_is_noted_once(small: Retail) -> None:
    """Old and new items, method and difference are written down; the items of the order stay."""
    found = call(small, "exchange_delivered_order_items", "#W2", ["11", "21"], ["12", "21"], "paypal_1")
    assert found["status"] == "exchange requested"
    assert (found["exchange_items"], found["exchange_new_items"]) == (["11", "21"], ["12", "21"])
    assert (found["exchange_payment_method_id"], found["exchange_price_difference"]) == ("paypal_1", 2.35)
    assert [each["item_id"] for each in found["items"]] == ["11", "11", "21"]
    with pytest.raises(ToolError, match="exchange requested"):
        call(small, "return_delivered_order_items", "#W2", ["11"], "credit_card_1")


# ---------------------------------------------------------------- seeds and state


def test_a_seed_decides_the_state_and_the_customer() -> None:
    """Same seed, same state in any process history; different seeds, different states."""
    world, fresh = Retail(), Retail()
    seen = []
    for seed in (3, 4, 3, 1_000_003):
        world.reset(seed)
        seen.append((json.dumps(world.state()), world.first_observation()))
    fresh.reset(3)
    assert seen[0] == seen[2] == (json.dumps(fresh.state()), fresh.first_observation())
    assert len({state for state, _ in seen}) == 3
    assert len({said for _, said in seen}) == 3


def test_reset_undoes_whatever_was_done() -> None:
    """Changes of one session are gone in the next, and a state that was taken before stays as it was."""
    world = Retail()
    world.reset(7)
    taken = world.state()
    before = json.dumps(taken)
    pending = next(o for o in world.users[world.who]["orders"] if world.orders[o]["status"] == "pending")
    call(world, "cancel_pending_order", pending, "no longer needed")
    call(world, "modify_user_address", world.who, **ADDRESS)
    changed = json.dumps(world.state())
    assert changed != before
    assert json.dumps(taken) == before
    world.reset(7)
    assert json.dumps(world.state()) == before
    world.restore(json.loads(changed))
    assert json.dumps(world.state()) == changed
    world.reset(7)
    assert json.dumps(world.state()) == before


@pytest.mark.parametrize("seed", range(40))
def test_a_seeds_state_is_consistent(full: Retail, seed: int) -> None:
    """Shipments, payments and refunds fit the status; the customer has something to change and something to return."""
    full.reset(seed)
    for found in full.orders.values():
        amount = round(sum(each["price"] for each in found["items"]), 2)
        kinds = ["payment", "refund"] if found["status"] == "cancelled" else ["payment"]
        assert [entry["transaction_type"] for entry in found["payment_history"]] == kinds
        assert {entry["amount"] for entry in found["payment_history"]} == {amount}
        assert found["payment_history"][0]["payment_method_id"] in full.users[found["user_id"]]["payment_methods"]
        assert bool(found["fulfillments"]) == (found["status"] in ("processed", "delivered"))
    mine = Counter(full.orders[order_id]["status"] for order_id in full.users[full.who]["orders"])
    assert {"pending", "delivered"} <= mine.keys()
    said = full.first_observation()
    assert all(order_id in said for order_id in full.users[full.who]["orders"])
    assert full.users[full.who]["email"] in said or full.users[full.who]["address"]["zip"] in said


# ---------------------------------------------------------------- the records


def test_the_shop_is_of_taubenchs_size_and_layout(full: Retail) -> None:
    """1,000 orders, 500 users and 50 products or more; ids differ and name records that are there."""
    tables = {table: json.loads((OWN / f"{table}.json").read_bytes()) for table in TABLES}
    users, orders, products = (tables[table] for table in TABLES)
    assert len(users) >= 500
    assert len(orders) >= 1000
    assert len(products) == 50
    assert Counter(order_id for user in users.values() for order_id in user["orders"]) == Counter(orders.keys())
    assert all(order_id in users[each["user_id"]]["orders"] for order_id, each in orders.items())
    assert len({user["email"] for user in users.values()}) == len(users)
    assert {each["status"] for each in orders.values()} == set(STATUSES)
    variants = {key: variant for product in products.values() for key, variant in product["variants"].items()}
    for each in orders.values():
        held = {(i["product_id"], i["item_id"]) for i in each["items"]}
        assert len({product for product, _ in held}) == len(held), "two variants of one product in one order"
        assert all(i["options"] == variants[i["item_id"]]["options"] for i in each["items"])
    assert full.eval_path().exists()


def test_making_the_records_again_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`python -m generators.retail.make_data` reproduces the committed files."""
    monkeypatch.setattr(make_data, "OWN", tmp_path)
    make_data.main()
    for table in TABLES:
        assert (tmp_path / f"{table}.json").read_bytes() == (OWN / f"{table}.json").read_bytes()


def written(folder: Path, tables: dict[str, Any], layout: str) -> str:
    """Write records as TauBench v1 or tau2 does; return what `data=` takes."""
    if layout == "tau2":
        (folder / "db.json").write_text(json.dumps(tables))
    else:
        for table in TABLES:
            (folder / f"{table}.json").write_text(json.dumps(tables[table]))
    return str(folder)


@pytest.mark.parametrize("layout", ["v1", "tau2"])
def test_records_of_others_are_taken_as_they_are(tmp_path: Path, layout: str) -> None:
    """The option data= gives every seed exactly the records of the files, and their layout decides which rules
    apply.
    """
    world = Retail(written(tmp_path, records(), layout))
    for seed in (0, 1):
        world.reset(seed)
        assert world.state() == records()
        assert "Ada Moss" in world.first_observation()
    items = ["#W1", ["11", "21"], ["12", "21"], "paypal_1"]
    if layout == "v1":
        found = call(world, "modify_pending_order_items", *items)
        assert [each["price"] for each in found["items"]] == [12.35, 10.0, 30.0]
        assert found["payment_history"][-1]["amount"] == 12.35 - 10.0
    else:
        with pytest.raises(ToolError, match="by itself"):
            call(world, "modify_pending_order_items", *items)
        call(world, "modify_pending_order_items", "#W1", ["11", "11"], ["12", "13"], "paypal_1")
        assert [each["price"] for each in world.orders["#W1"]["items"]] == [60.0, 60.0, 30.0]
        assert call(world, "modify_pending_order_address", "#W1", **ADDRESS)["address"] == ADDRESS


def without(path: str) -> dict[str, Any]:
    """Return the small records without one key."""
    tables = records()
    *keys, last = path.split(".")
    place: Any = tables
    for key in keys:
        place = place[int(key) if isinstance(place, list) else key]
    del place[last]
    return tables


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (without("users"), "db.json: it has no 'users'"),
        (without("users.u1"), "users is empty"),
        (without("users.u1.email"), "users.u1 has no 'email'"),
        (without("users.u1.payment_methods.gift_card_1.balance"), "gift_card_1 has no 'balance'"),
        (without("orders.#W1.items.0.price"), r"orders.#W1.items\[0\] has no 'price'"),
        (without("products.p2"), "no product 'p2'"),
        (records() | {"users": {"u2": records()["users"]["u1"]}}, "no user 'u1'"),
        (records() | {"orders": [1]}, "orders is not an object"),
        (records() | {"products": {"p1": {"name": 1, "product_id": "p1", "variants": {}}}}, "p1.name is not a text"),
        ([], "db.json: it is not an object"),
    ],
)
def test_another_layout_is_refused_with_the_place(tmp_path: Path, tables: Any, message: str) -> None:
    """Data that does not have TauBench's layout is refused in one line that names the file and the place."""
    (tmp_path / "db.json").write_text(json.dumps(tables))
    with pytest.raises(RecordError, match=message) as refusal:
        Retail(str(tmp_path))
    assert refusal.value.message.startswith(f"{tmp_path / 'db.json'}: ")
    assert "\n" not in refusal.value.message


def test_missing_files_and_broken_json_are_named(tmp_path: Path) -> None:
    """No directory, a relative one, no file, one file of three, no JSON: each has its own message."""
    with pytest.raises(MissingError, match="no such directory"):
        Retail(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="must be absolute"):
        Retail("tau")
    with pytest.raises(MissingError, match=r"neither db\.json nor users\.json"):
        Retail(str(tmp_path))
    (tmp_path / "users.json").write_text("{}")
    with pytest.raises(MissingError, match=r"neither db\.json nor orders\.json"):
        Retail(str(tmp_path))
    for text in ("{", "\xff", "[" * 100_000):
        (tmp_path / "db.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(RecordError, match=r"db\.json is not JSON"):
            Retail(str(tmp_path))


@pytest.mark.sandbox
def test_a_world_reads_the_directory_that_an_option_names(sandbox: Sandbox, tmp_path: Path) -> None:
    """The jail reads the files of the option's directory; a missing directory is an error in one line."""
    tmp_path.chmod(0o755)
    env = EnvSpec(name="retail", options={"data": written(tmp_path, records(), "v1")})
    with sandbox.session(env, 0) as session:
        assert session.state() == records()
        assert session.call("find_user_id_by_email", ["ada.moss@example.com"]).result == "u1"
    with pytest.raises(MissingError, match="no such directory"):
        sandbox.describe(EnvSpec(name="retail", options={"data": str(tmp_path / "nowhere")}))


@pytest.mark.sandbox
def test_a_relative_path_is_recorded_as_absolute(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `data=` names is found from where it was typed, and the record is good in any directory."""
    tmp_path.chmod(0o755)
    (folder := tmp_path / "shop").mkdir()
    written(folder, records(), "v1")
    monkeypatch.chdir(tmp_path)
    (env,) = plugins.expand_env(plugins.parse_env("retail:data=shop"))
    assert env.options == {"data": str(folder)}
    monkeypatch.chdir("/")
    with sandbox.session(env, 0) as session:
        assert session.state() == records()
    assert plugins.expand_env(EnvSpec(name="retail")) == [EnvSpec(name="retail")]


@pytest.mark.sandbox
def test_broken_records_end_a_command_with_one_line(sca: Callable[..., Any], tmp_path: Path) -> None:
    """Exit code 3 for what is not as it should be, 4 for what is not there; both name the path."""
    written(tmp_path, without("users.u1.email"), "v1")
    tmp_path.chmod(0o755)
    told = sca("env", "show", "retail:data=.")
    line = f"sca env: environment 'retail': {tmp_path}/users.json: users.u1 has no 'email'\n"
    assert (told.returncode, told.stderr.decode()) == (3, line)
    (tmp_path / "orders.json").unlink()
    told = sca("env", "show", "retail:data=.")
    line = f"sca env: environment 'retail': data={tmp_path} has neither db.json nor orders.json\n"
    assert (told.returncode, told.stderr.decode()) == (4, line)


# ---------------------------------------------------------------- the evaluation set


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    """The committed evaluation set."""
    found = [decode(line) for line in Retail.eval_path().read_bytes().splitlines()]
    assert all(isinstance(record, Task) for record in found)
    return [record for record in found if isinstance(record, Task)]


def test_the_evaluation_set_is_graded(tasks: list[Task]) -> None:
    """72 held-out tasks, none twice, from two calls to many; two thirds change something."""
    assert len(tasks) == len({task.id for task in tasks}) == len({task.instruction for task in tasks}) == 72
    assert {(task.split, str(task.env), len(task.failure_cases)) for task in tasks} == {("eval", "retail", 3)}
    calls = Counter(min(task.calls or 0, 5) for task in tasks)
    assert min(calls[2], calls[3], calls[4], calls[5]) >= 10
    assert sum(any(name in task.solution for name in WRITING) for task in tasks) == 51


def test_making_the_evaluation_set_again_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`python -m generators.retail.make_eval` reproduces the committed file."""
    committed = Retail.eval_path().read_bytes()
    monkeypatch.setattr(Retail, "eval_path", classmethod(lambda _cls: tmp_path / "eval.jsonl"))
    make_eval.main()
    assert (tmp_path / "eval.jsonl").read_bytes() == committed


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**4000) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(answer=ANYTHING)
@settings(max_examples=200, deadline=None)
def test_every_check_judges_every_json_answer(full: Retail, answer: Any) -> None:
    """Checks with an answer return a boolean for anything that JSON can say, and True for what is right."""
    full.reset(0)
    scene = Scene(make_eval.Random(0), full, full.who)
    for right in (12.35, "pending"):
        names: dict[str, Any] = {name: method for name, (_, method) in tools_of(full).items()}
        exec(check_of(RetailDraft("", "", ("", "", ""), answer=right), scene), names)
        assert type(names["evaluate"](answer)) is bool
        assert names["evaluate"](f" {right}") is True


@pytest.mark.sandbox
def test_gold_solutions_pass_and_failure_cases_fail(tasks: list[Task]) -> None:
    """In the sandbox every solution passes with the calls it claims; failure cases and doing nothing fail."""
    with Sandbox() as sandbox:
        for task in tasks:
            with sandbox.session(task.env, task.seed) as session:
                run = session.run(task.solution)
                assert run.answered, run.message
                assert len(run.calls) == task.calls, task.instruction
                assert session.evaluate(task.evaluate).outcome == "pass", task.instruction
            for program in ("final_answer(None)", *task.failure_cases):
                with sandbox.session(task.env, task.seed) as session:
                    assert session.run(program).answered, program
                    assert session.evaluate(task.evaluate).outcome == "fail", program
