"""Exploring without a model: what documentation offers, what results and refusals add, and the calls that follow."""

import asyncio
import json
import random
import re

import pytest

from sca_cli import plugins
from sca_cli.commands.explore import Walker
from sca_cli.interfaces import Tool, describe_tool
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.toolkit import schemas
from sca_cli.walk import documented
from sca_cli.walk.explorer import Walk, walk
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
    exploration = asyncio.run(Walker([shop], sandbox, 0, 12).explore(0))
    assert exploration.error is None
    assert "not_json" in exploration.extra["failed_tools"]
    assert len(exploration.observations) == len(exploration.extra["sources"]) == 12
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
