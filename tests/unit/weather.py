"""An environment for the tests of composing: tools whose results go into each other, and two that write."""

from typing import Any, Literal

from sca_cli import Environment, tool
from sca_cli.interfaces import Tool
from sca_cli.methods.compose.material import Material
from sca_cli.records import EnvSpec, Exploration, Observation

ENV = EnvSpec(name="weather")


class Weather(Environment):
    """Stations and their rain."""

    @tool
    def nearest(self, city: str) -> str:
        """Find the weather station nearest to a city. Always the same."""
        return f"{city} Airport"

    @tool
    def mean_rain(self, station: str, month: Literal["May", "June"]) -> float:
        """Mean rain of a month at a station, in millimetres."""
        return len(station) * 1.5 + len(month)

    @tool
    def largest(self, *numbers: float) -> float:
        """Return the largest of some numbers."""
        return max(numbers)

    @tool
    def report(self, station: str, day: int = 1) -> dict[str, Any]:
        """Return what was measured on a day."""
        return {"station": station, "rain": 3.5 + day, "it's": "x", "hours": [1, 2]}

    @tool(writes=True)
    def rename(self, station: str, name: str) -> str:
        """Give a station another name."""
        return f"{station}, now {name}"

    @tool(writes=True)
    def close(self, station: str) -> bool:
        """Close a station."""
        return bool(station)


TOOLS: dict[str, Tool] = {name: tool for name, (tool, _) in Weather().tools().items()}

CALLS = [
    Observation(tool="nearest", args=["Bergen"], result="Bergen Airport"),
    Observation(tool="mean_rain", args=["Bergen Airport", "May"], result=24.0),
    Observation(tool="largest", args=[12.5, 7, 40], result=40),
    Observation(tool="report", args=["Oslo"], kwargs={"day": 3}, result=Weather().report("Oslo", 3)),
    Observation(tool="rename", args=["Oslo", "Blindern"], result="Blindern", writes=True),
    Observation(tool="close", args=["Oslo"], result=True, writes=True),
]


def walk(*calls: Observation, seed: int = 0) -> Exploration:
    """Return an exploration that made these calls."""
    return Exploration(id=f"e{seed}", env=ENV, seed=seed, observations=list(calls))


def material(*records: Exploration) -> Material:
    """Return what these explorations saw, by default one that made all calls."""
    made = Material(ENV, list(TOOLS.values()))
    for record in records or (walk(*CALLS),):
        made.add(record)
    return made
