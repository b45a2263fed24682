"""A program for `test_airline_tau2.py`: carry out calls with the airline tools of the `tau2` package.

It runs in a process of its own, in an empty directory: importing the package reads a `.env` from where it stands
and logs to standard error. Standard input holds JSON: a list of episodes, each a list of [tool, arguments]. Standard
output gets one JSON line for each episode: the outcome of each call, [true, result] or [false, message], and a digest
of the final database, "" where no call was to write.
"""

import hashlib
import json
import os
import sys
from typing import Any


def plain(value: Any) -> Any:
    """Return JSON data with absent in place of None, and whole numbers written as such."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return plain(value.model_dump(mode="json")) if hasattr(value, "model_dump") else value


def digest(tables: Any) -> str:
    """Return a hash of all records."""
    return hashlib.sha256(json.dumps(plain(tables), sort_keys=True).encode()).hexdigest()


def writes(episode: list[Any]) -> bool:
    """Return whether a call of an episode is to write."""
    return any(name.startswith(("book", "update", "cancel", "send")) for name, _ in episode)


def main() -> None:
    """Serve standard input."""
    from loguru import logger

    logger.remove()
    from tau2.domains.airline.data_model import get_db
    from tau2.domains.airline.environment import get_environment

    loaded = get_db()
    for episode in json.load(sys.stdin):
        if not (child := os.fork()):  # each episode changes a database of its own
            tools = get_environment(loaded).tools
            outcomes = []
            for name, arguments in episode:
                try:
                    outcomes.append([True, plain(tools.use_tool(name, **arguments))])
                except Exception as error:  # noqa: BLE001  it refuses by exceptions of many kinds
                    outcomes.append([False, str(error)])
            final = digest(loaded.model_dump(mode="json")) if writes(episode) else ""
            print(json.dumps({"outcomes": outcomes, "digest": final}), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
