"""Exploring without a model: what documentation offers, what results and refusals add, and the calls that follow."""

import asyncio
import json
import random
import re

import pytest

from sca_cli import plugins, records
from sca_cli.commands.explore import Walker
from sca_cli.interfaces import Tool, describe_tool
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.toolkit import schemas
from sca_cli.walk import documented
from sca_cli.walk.arguments import names_argument
from sca_cli.walk.explorer import Walk, walk
from sca_cli.walk.links import Links
from sca_cli.walk.memory import KEY, TEXT, Memory, value_at
from sca_cli.walk.parameters import parameters_of
from sca_cli.walk.values import Values


def ship(city: str, day: str, weight: float, *labels: str) -> str:
    """Ship a parcel: ship('Oslo', '2025-03-02', 2.5, 'fragile').

    Args:
        city: one of Oslo, Bergen, Lisbon.
        day: YYYY-MM-DD, from 2025-03-01 to 2025-03-05.
        weight: in kilograms, from 1 to 30.
        *labels: none or more of 'fragile', 'heavy', 'this side up'.
    """
    return f"{city} {day} {weight} {labels}"


def spell(code: str) -> str:
    """Spell a code.

    Args:
        code: capital letters A, C, G, T.
    """
    return code


SHIP, SPELL = describe_tool(ship), describe_tool(spell)


def test_documentation_offers_listed_and_quoted_values() -> None:
    """Enumerations and quotations of a parameter's description are its examples."""
    assert documented.offer(SHIP, "city").examples == ["Oslo", "Bergen", "Lisbon"]
    assert documented.offer(SHIP, "labels").examples == ["fragile", "heavy", "this side up"]


def test_two_dates_stand_for_the_days_between_them() -> None:
    """A first and a last day offer all days; texts that are no date offer none."""
    assert documented.offer(SHIP, "day").examples == [f"2025-03-0{day}" for day in range(1, 6)]
    assert documented.dates("2025-13-40 and 99-01-01") == []


def test_bounds_and_alphabets_are_read() -> None:
    """Numbers stay within their bounds, and texts are made of the letters that are listed."""
    weight = documented.offer(SHIP, "weight")
    assert (weight.low, weight.high) == (1, 30)
    assert documented.offer(SPELL, "code").alphabet == "ACGT"
    values = Values([SHIP, SPELL], random.Random(0))
    assert all(1 <= values.made_up(SHIP, "weight") <= 30 for _ in range(50))
    assert all(set(values.made_up(SPELL, "code")) <= set("ACGT") for _ in range(50))


def test_example_calls_give_all_arguments() -> None:
    """A call in the documentation is read with its `*args`; a list after "such as" serves a tool of `*args` alone."""
    (example,) = documented.example_calls(SHIP, SHIP.description)
    assert example == {"city": "Oslo", "day": "2025-03-02", "weight": 2.5, "labels": ["fragile"]}

    def pairs(*args: str | int) -> str:
        """Count."""
        return str(args)

    found = list(documented.example_calls(describe_tool(pairs), "in turn, such as 'A', 3, 'C', 5."))
    assert found == [{"args": ["A", 3, "C", 5]}]


@pytest.mark.parametrize("text", ["ship(open('x'))", "ship(1 + )", "ship(**{})", "ship(bogus=1)", "ship()"])
def test_calls_that_are_no_examples_are_passed_over(text: str) -> None:
    """Code that is not made of literals, or does not fit the tool, offers nothing."""
    assert list(documented.example_calls(SHIP, text)) == []


def test_refusals_offer_values_but_not_their_echo() -> None:
    """The list that a refusal ends with is kept; parts of the refused value and names of parameters are not."""
    values = Values([SHIP], random.Random(0))
    values.read("refusal", "unknown city 'Os'; city must be one of: Rome, new york, Kiel", ["city"], refused="Oslo")
    assert values.candidates(SHIP, "city", "refusal") == ["Rome", "new york", "Kiel"]


def test_results_offer_their_parts_under_their_keys() -> None:
    """A value that was returned under a key serves the parameter of that name, and one that shares a word with it."""
    values = Values([SHIP], random.Random(0))
    values.see("result", "find", [{"city": "Turin", "note": "x"}, {"city": "Kiel"}])
    assert values.candidates(SHIP, "city", "result") == ["Turin", "Kiel"]
    values.see("result", "old_labels", "urgent")
    assert values.candidates(SHIP, "labels", "result") == ["urgent"]
    assert "x" in values.typed(SHIP, "city")


# ---------------------------------------------------------------- in real worlds


def walked(sandbox: Sandbox, env: EnvSpec, seed: int, calls: int = 40) -> Walk:
    """Explore a world."""
    tools: list[Tool] = sandbox.describe(env).tools
    with sandbox.session(env, seed) as session:
        return walk(session, tools, session.first_observation(), seed, calls)


@pytest.mark.sandbox
def test_every_tool_of_calculation_is_reached() -> None:
    """Every tool of every family is called with success, by at least 300 distinct calls of 24 explorations."""
    distinct: set[str] = set()
    with Sandbox(Limits()) as sandbox:
        for env in plugins.expand_env(plugins.parse_env("calculation")):
            reached: set[str] = set()
            for seed in range(6):
                for call in walked(sandbox, env, seed).observations:
                    if not call.error:
                        reached.add(call.tool)
                        distinct.add(json.dumps([str(env), call.asked()]))
            assert reached == {tool.name for tool in sandbox.describe(env).tools}
    assert len(distinct) >= 300


@pytest.mark.sandbox
def test_the_same_seed_makes_the_same_calls() -> None:
    """A walk depends on its seed and its world alone, and says of every argument where it came from."""
    env = plugins.parse_env("retail")
    with Sandbox(Limits()) as sandbox:
        first, again, other = (walked(sandbox, env, seed, 60) for seed in (3, 3, 4))
    assert first == again
    assert first.observations != other.observations
    assert len(first.observations) == len(first.sources) == 60
    assert all(source in ("documentation", "enum", "result", "refusal", "first observation", "made up")
               for sources in first.sources for source in sources.values())  # fmt: skip


@pytest.mark.sandbox
def test_a_world_that_fails_ends_the_walk_and_nothing_is_lost(sandbox: Sandbox, shop: EnvSpec) -> None:
    """A tool of the shop returns what is no JSON: the calls before it are kept, each of them once."""
    done = next(done for seed in range(20) if (done := walked(sandbox, shop, seed, 15)).observations)
    assert "not JSON serializable" in done.problem
    assert done.failed_tool == "not_json"
    assert done.observations
    keys = [json.dumps(call.asked(), sort_keys=True) for call in done.observations]
    assert len(keys) == len(set(keys))


def test_a_tool_that_fails_the_world_is_left_out_from_then_on(sandbox: Sandbox, shop: EnvSpec) -> None:
    """The exploration continues in a new world with the other tools, and the record names the failed one."""
    exploration = asyncio.run(Walker([shop], sandbox, 0, 60).explore(0))
    assert exploration.error is None
    assert "not_json" in exploration.extra["failed_tools"]
    assert len(exploration.observations) == len(exploration.extra["sources"]) == 60
    assert not {call.tool for call in exploration.observations} & set(exploration.extra["failed_tools"])


def test_values_are_made_up_for_nested_schemas() -> None:
    """Objects, tuples, tables, bounds and formats: each made-up value fits its schema, and the values vary."""
    line = {
        "type": "object",
        "properties": {"sku": {"type": "string"}, "n": {"type": "integer", "minimum": 3, "maximum": 4}},
        "required": ["sku", "n"],
    }
    schema = {
        "type": "object",
        "properties": {
            "lines": {"type": "array", "items": line},
            "at": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"enum": ["a"]}],
                "minItems": 2,
                "maxItems": 2,
            },
            "day": {"type": "string", "format": "date"},
            "stock": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "required": ["lines", "at", "day", "stock"],
    }
    parameters = {"type": "object", "properties": {"order": schema}, "required": ["order"]}
    tool = Tool("place", "Place an order.", parameters, "place(order: dict) -> int", "int")
    values = Values([tool], random.Random(1))
    orders = [values.made_up(tool, "order") for _ in range(20)]
    assert all(schemas.fits(schema, order) for order in orders)
    assert {line["n"] for order in orders for line in order["lines"]} == {3, 4}
    assert all(re.fullmatch(r"202\d-\d\d-\d\d", order["day"]) and order["stock"] for order in orders)
    assert len({json.dumps(order) for order in orders}) == 20


# ---------------------------------------------------------------- worlds with state


@pytest.mark.sandbox
@pytest.mark.parametrize("name", ["retail", pytest.param("airline", marks=pytest.mark.slow)])
def test_every_writing_tool_of_a_desk_is_reached(name: str) -> None:
    """Four explorations of 250 calls reach every writing tool of a customer desk, and calls before a reset repeat."""
    env = plugins.parse_env(name)
    with Sandbox(Limits()) as sandbox:
        writing = {tool.name for tool in sandbox.describe(env).tools if tool.writes}
        explorations = [asyncio.run(Walker([env], sandbox, 0).explore(index)) for index in range(4)]
        again = asyncio.run(Walker([env], sandbox, 0).explore(0))
    assert records.encode(again) == records.encode(explorations[0])
    assert {call.tool for each in explorations for call in each.observations if call.changed()} == writing


@pytest.mark.sandbox
def test_places_of_arguments_lead_to_their_values() -> None:
    """A place of an argument names an earlier call and a path in its result, where the value is."""
    env = plugins.parse_env("retail")
    with Sandbox(Limits()) as sandbox:
        exploration = asyncio.run(Walker([env], sandbox, 1).explore(0))
    checked = 0
    for number, (call, places) in enumerate(zip(exploration.observations, exploration.extra["sources"], strict=True)):
        for name, place in places.items():
            if isinstance(place, dict) and "call" in place and TEXT not in place["path"]:
                path = tuple(place["path"])
                result = exploration.observations[place["call"]].result
                value = path[-2] if path[-1:] == (KEY,) else value_at(result, path)
                assert place["call"] < number
                assert value == call.kwargs[name]
                checked += 1
    assert checked > 100


def test_links_learn_which_values_a_parameter_takes() -> None:
    """An accepted link is rated above an untried one, a refused one below; counts of other tools count less."""
    links = Links()
    links.count("cancel", "order_id", "find.order", accepted=True)
    links.count("cancel", "order_id", "find.user", accepted=False)
    assert links.rate("cancel", "order_id", "find.order") > links.rate("other", "order_id", "find.order") > 0.5
    assert links.rate("cancel", "order_id", "find.user") < 0.5 == links.rate("cancel", "order_id", "untried")


def test_a_refusal_blames_the_arguments_that_it_names() -> None:
    """A parameter is named by its name, by all words of its name, or by its value."""
    assert names_argument("order_id is unknown", "order_id", "x")
    assert names_argument("the payment method is not theirs", "payment_method_id", "x")
    assert names_argument("no order '#W12'", "order", "#W12")
    assert not names_argument("the date has passed", "order_id", "#W12")


def test_values_of_texts_have_the_words_before_them() -> None:
    """An id in a first observation is stored with the nouns before it, and a long text of a result likewise."""
    memory = Memory()
    memory.read_text("My user id is ada_moss_4821. It is about my order #W77 of 2024-05-16.", -1, "first observation")
    words = {
        seen.value: seen.words for by_call in memory.by_link.values() for seens in by_call.values() for seen in seens
    }
    assert words["ada_moss_4821"] == {"user", "id"}
    assert "order" in words["#W77"]
    assert "2024-05-16" in words


def test_near_calls_follow_records() -> None:
    """The variants of an item's product are near the item; those of another product are not."""
    memory = Memory()
    memory.add(0, "get_order", {"order_id": "#W1"}, {"items": [{"item_id": "11", "product_id": "901"}]})
    memory.add(1, "get_product", {"product_id": "901"}, {"variants": {"12": {"item_id": "12"}}})
    memory.add(2, "get_product", {"product_id": "902"}, {"variants": {"22": {"item_id": "22"}}})
    (item,) = [seen for seen in memory.places("11")]
    near = memory.near_calls([item])
    assert near[1] > 0.8
    assert 2 not in near


def test_listed_words_are_choices_and_examples_are_shapes() -> None:
    """A list in a description is closed; a value after "for example" only shows the form."""

    def cancel(order_id: str, reason: str, day: str) -> None:
        """Cancel.

        Args:
            order_id: for example '#W1234567'.
            reason: 'no longer needed' or 'ordered by mistake'.
            day: of the order, YYYY-MM-DD.
        """

    order_id, reason, day = parameters_of(describe_tool(cancel))
    assert (order_id.choices, order_id.shapes) == ((), {"#A"})
    assert reason.choices == ("no longer needed", "ordered by mistake")
    assert day.shapes == {"9999-99-99"}
