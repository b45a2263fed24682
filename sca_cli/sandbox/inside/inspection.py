"""Inspect an environment for `sca env test`. This runs inside the world, because only the world imports its code.

Each inspection returns a value made of JSON types.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca_cli.interfaces import Environment
from sca_cli.sandbox.inside.audit import evaluators

_RESETS = 8


def evaluations(environment: Environment) -> dict[str, Any]:
    """Return whether the environment is isolated, and the places where its tools may run their arguments as code."""
    places = [f"{name}: {place}" for name, (_, method) in environment.tools().items() for place in evaluators(method)]
    return {"isolated": bool(environment.isolated), "places": places}


def plain_state(environment: Environment) -> dict[str, Any]:
    """Return the number of characters of the state as JSON, and its fault, or "" if it has none.

    A state has a fault if JSON cannot represent it, or if it changes when it is written as JSON and read again.
    """
    state = environment.state()
    try:
        text = json.dumps(state, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return {"characters": 0, "fault": f"state(): {error}"}
    again = json.loads(text)
    fault = "" if is_same(state, again) else f"the state changes when it is written as JSON: {difference(state, again)}"
    return {"characters": len(text), "fault": fault}


def reset_ms(environment: Environment) -> float:
    """Return the median time of a reset, in milliseconds."""
    times = []
    for seed in range(_RESETS):
        started = time.perf_counter()
        environment.reset(seed)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def temporary_files(_: Environment) -> list[str]:
    """Make a temporary file that stays, and return the names of all temporary files; none if no place is writable."""
    import tempfile

    try:
        descriptor, name = tempfile.mkstemp()
    except FileNotFoundError:
        return []
    os.close(descriptor)
    return sorted(file.name for file in Path(name).parent.iterdir())


INSPECTIONS: dict[str, Callable[[Environment], Any]] = {
    "evaluations": evaluations,
    "plain state": plain_state,
    "reset ms": reset_ms,
    "temporary files": temporary_files,
}
"""Name on the wire → the inspection."""


def is_same(one: Any, other: Any) -> bool:
    """Compare two values and their types: a tuple is not a list, and 1 is not True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def difference(one: Any, other: Any, path: str = "$") -> str:
    """Return the path of the first difference between two states, and both values there."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        key = next((key for key in one if not is_same(one[key], other[key])), None)
        return path if key is None else difference(one[key], other[key], f"{path}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        place = next((i for i, pair in enumerate(zip(one, other, strict=True)) if not is_same(*pair)), None)
        return path if place is None else difference(one[place], other[place], f"{path}[{place}]")
    return f"{path}: {short_repr(one)}, then {short_repr(other)}"


def short_repr(value: Any) -> str:
    """Return the value as Python text, cut after 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
