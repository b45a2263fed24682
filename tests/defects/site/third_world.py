"""A harbour for yachts, the world of the third set of planted defects: `PYTHONPATH=tests/defects/site sca env list`."""

import random
from typing import Any

from sca_cli import Environment, Register, ToolError, hookimpl, tool

_OWNERS = ("Ingrid Solberg", "Marek Dvorak", "Nuala Byrne", "Tomas Pereira", "Hedda Lund", "Giulio Ferrante")
_BOATS = (
    ("Albatross", "sail"), ("Bluefin", "motor"), ("Cormorant", "sail"), ("Dunlin", "sail"), ("Eider", "motor"),
    ("Fulmar", "sail"), ("Gannet", "motor"), ("Halcyon", "sail"), ("Ibis", "motor"), ("Jackdaw", "sail"),
)  # fmt: skip
_WORK = ("wash", "engine", "rigging", "paint")
_LITRE, _HOUR = 2.0, 45.0


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `marina`."""
    register("marina", "third_world:Marina", help="berths, yachts, their owners, and work on them")


class Marina(Environment):
    """Berths on three piers, ten yachts, some of them moored, and jobs in the yard."""

    policy = (
        "You run the office of a yacht harbour. Lengths and depths are in metres, money is in euros. A yacht needs a "
        "free berth that is at least as long as the yacht and deeper than its draught. Fuel costs 2 euros a litre, "
        "the yard 45 euros an hour."
    )

    def __init__(self) -> None:
        """Put the state of seed 0 in place."""
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Draw berths, yachts, owners, jobs and the tide."""
        draw = random.Random(f"marina {seed}")
        owners = {
            name: {
                "name": name,
                "phone": f"+00 {draw.randrange(100, 1000)} {draw.randrange(1000, 10000)}",
                "member": draw.random() < 0.5,
                "due": draw.randrange(0, 40000) / 100,
                "lines": [],
            }
            for name in _OWNERS
        }
        berths = {
            f"{pier}{number}": {
                "berth_id": f"{pier}{number}",
                "pier": pier,
                "length": draw.randrange(8, 19),
                "depth": draw.randrange(18, 46) / 10,
                "price": draw.randrange(18, 75),
                "power": draw.random() < 0.6,
                "yacht": "",
            }
            for pier in "ABC"
            for number in range(1, 6)
        }
        yachts = {}
        for place, (name, kind) in enumerate(_BOATS):
            tank = draw.randrange(6, 41) * 10
            yachts[name] = {
                "name": name,
                "owner": _OWNERS[(place + seed) % len(_OWNERS)],
                "kind": kind,
                "length": draw.randrange(70, 150) / 10,
                "draught": draw.randrange(11, 26) / 10,
                "tank": tank,
                "fuel": draw.randrange(0, tank),
                "berth": "",
                "nights": 0,
            }
        self._state: dict[str, Any] = {"owners": owners, "berths": berths, "yachts": yachts, "jobs": {}}
        for name in draw.sample(sorted(yachts), 7):
            if fitting := [key for key in berths if not self._hindrance(yachts[name], berths[key])]:
                self._moor(yachts[name], berths[draw.choice(fitting)], draw.randrange(1, 15))
        for number in range(1, 10):
            self._state["jobs"][f"J{number:02}"] = {
                "job_id": f"J{number:02}",
                "yacht": draw.choice(sorted(yachts)),
                "work": draw.choice(_WORK),
                "hours": draw.randrange(1, 12),
                "status": draw.choice(("waiting", "waiting", "done")),
            }
        self._state["tide"] = [round(draw.uniform(0.4, 3.9), 1) for _ in range(24)]

    def state(self) -> dict[str, Any]:
        """Return everything."""
        return self._state

    def _entry(self, table: str, key: str) -> Any:
        if key not in self._state[table]:
            raise ToolError(f"no '{key}' in {table}; there are: {', '.join(self._state[table])}")
        return self._state[table][key]

    @staticmethod
    def _hindrance(yacht: dict[str, Any], berth: dict[str, Any]) -> str:
        """Return why the yacht cannot lie there, or ''."""
        if berth["yacht"]:
            return f"{berth['yacht']} lies there"
        if berth["length"] < yacht["length"]:
            return f"it is {berth['length']} m long, the yacht {yacht['length']} m"
        if berth["depth"] <= yacht["draught"]:
            return f"it is {berth['depth']} m deep, the yacht needs more than {yacht['draught']} m"
        return ""

    @staticmethod
    def _moor(yacht: dict[str, Any], berth: dict[str, Any], nights: int) -> None:
        berth["yacht"] = yacht["name"]
        yacht["berth"], yacht["nights"] = berth["berth_id"], nights

    def _charge(self, owner: str, text: str, amount: float) -> None:
        entry = self._entry("owners", owner)
        entry["due"] = round(entry["due"] + amount, 2)
        entry["lines"].append({"text": text, "amount": amount})

    @tool
    def list_berths(self, pier: str = "") -> list[str]:
        """List the ids of all berths, or of those of pier A, B or C."""
        return [key for key, berth in self._state["berths"].items() if pier in ("", berth["pier"])]

    @tool
    def get_berth(self, berth_id: str) -> dict[str, Any]:
        """Return {'berth_id', 'pier', 'length', 'depth', 'price', 'power', 'yacht'}; price is for a night, yacht ''
        if the berth is free."""
        return dict(self._entry("berths", berth_id))

    @tool
    def list_yachts(self, kind: str = "") -> list[str]:
        """List the names of all yachts, or of those of a kind: sail or motor."""
        return [name for name, yacht in self._state["yachts"].items() if kind in ("", yacht["kind"])]

    @tool
    def get_yacht(self, name: str) -> dict[str, Any]:
        """Return {'name', 'owner', 'kind', 'length', 'draught', 'tank', 'fuel', 'berth', 'nights'}; tank and fuel are
        in litres, berth is '' for a yacht at sea."""
        return dict(self._entry("yachts", name))

    @tool
    def get_owner(self, name: str) -> dict[str, Any]:
        """Return {'name', 'phone', 'member', 'due', 'lines': [{'text', 'amount'}]}; due is what is still to be paid."""
        owner: dict[str, Any] = self._entry("owners", name)
        return owner | {"lines": [dict(line) for line in owner["lines"]]}

    @tool
    def list_jobs(self, status: str = "") -> list[str]:
        """List the ids of all jobs of the yard, or of those that are waiting or done."""
        return [key for key, job in self._state["jobs"].items() if status in ("", job["status"])]

    @tool
    def get_job(self, job_id: str) -> dict[str, Any]:
        """Return {'job_id', 'yacht', 'work', 'hours', 'status'} of a job."""
        return dict(self._entry("jobs", job_id))

    @tool
    def tide_at(self, hour: int) -> float:
        """Return the height of the water over the sill at a full hour of the day, 0 to 23."""
        if not 0 <= hour <= 23:
            raise ToolError("an hour is from 0 to 23")
        return float(self._state["tide"][hour])

    @tool(writes=True)
    def moor(self, yacht: str, berth_id: str, nights: int) -> float:
        """Give a yacht at sea a free berth that fits, charge its owner, and return what was charged."""
        guest, berth = self._entry("yachts", yacht), self._entry("berths", berth_id)
        if guest["berth"]:
            raise ToolError(f"{yacht} lies at {guest['berth']}; let it cast off first")
        if nights < 1:
            raise ToolError("a stay is of one night or more")
        if hindrance := self._hindrance(guest, berth):
            raise ToolError(f"{berth_id} will not do: {hindrance}")
        self._moor(guest, berth, nights)
        self._charge(guest["owner"], f"berth {berth_id}", float(berth["price"] * nights))
        return float(berth["price"] * nights)

    @tool(writes=True)
    def cast_off(self, yacht: str) -> str:
        """Let a yacht leave; return the id of the berth that is free then."""
        guest = self._entry("yachts", yacht)
        if not guest["berth"]:
            raise ToolError(f"{yacht} is at sea")
        left = str(guest["berth"])
        self._state["berths"][left]["yacht"] = ""
        guest["berth"], guest["nights"] = "", 0
        return left

    @tool(writes=True)
    def refuel(self, yacht: str, litres: int) -> int:
        """Fill fuel into a yacht's tank, charge its owner 2 euros a litre, and return the litres it holds then."""
        guest = self._entry("yachts", yacht)
        if litres < 1 or guest["fuel"] + litres > guest["tank"]:
            raise ToolError(f"{yacht} takes from 1 to {guest['tank'] - guest['fuel']} litres")
        guest["fuel"] += litres
        self._charge(guest["owner"], f"fuel {yacht}", litres * _LITRE)
        return int(guest["fuel"])

    @tool(writes=True)
    def take_payment(self, owner: str, amount: float) -> float:
        """Book what an owner pays; return what is still due."""
        entry = self._entry("owners", owner)
        if not 0 < amount <= entry["due"]:
            raise ToolError(f"{owner} owes {entry['due']}; the amount must be above 0 and no more than that")
        self._charge(owner, "payment", -amount)
        return float(entry["due"])

    @tool(writes=True)
    def book_job(self, yacht: str, work: str, hours: int) -> str:
        """Put a job on the yard's list; return its id. Work is wash, engine, rigging or paint."""
        self._entry("yachts", yacht)
        if work not in _WORK or hours < 1:
            raise ToolError(f"work is one of {', '.join(_WORK)}, for 1 hour or more")
        key = f"J{len(self._state['jobs']) + 1:02}"
        job = {"job_id": key, "yacht": yacht, "work": work, "hours": hours, "status": "waiting"}
        self._state["jobs"][key] = job
        return key

    @tool(writes=True)
    def finish_job(self, job_id: str) -> float:
        """Mark a waiting job as done and charge the yacht's owner 45 euros an hour; return what was charged."""
        job = self._entry("jobs", job_id)
        if job["status"] != "waiting":
            raise ToolError(f"job {job_id} is {job['status']}")
        job["status"] = "done"
        amount = job["hours"] * _HOUR
        self._charge(self._state["yachts"][job["yacht"]]["owner"], f"yard {job['work']}", amount)
        return float(amount)

    @tool(writes=True)
    def set_price(self, berth_id: str, price: int) -> int:
        """Set what a berth costs a night, in full euros; return it."""
        if price < 1:
            raise ToolError("a price is 1 or more")
        self._entry("berths", berth_id)["price"] = price
        return price
