"""Run coroutines and asynchronous generators in a jail, where a process has neither sockets nor pipes to wait on."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any


class _Clock:
    """In place of a selector: no descriptor is ever ready, so it only waits for the next timer."""

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("a coroutine waits for something that never happens: the jail has no network")
        time.sleep(timeout)
        return []

    def close(self) -> None:
        pass


class _Loop(asyncio.BaseEventLoop):
    """An event loop with tasks and timers, without input and output."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Clock()

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


_loop = _Loop()
"""One loop for all calls of a session, so that locks and tasks of one call are usable in the next."""


def run(value: Any, most: int) -> Any:
    """Return the result of a coroutine, or the first `most + 1` values of an asynchronous generator."""
    if isinstance(value, AsyncIterator):
        value = _listed(value, most)
    return _loop.run_until_complete(value)


async def _listed(values: AsyncIterator[Any], most: int) -> Any:
    listed: list[Any] = []
    async for value in values:
        listed.append(value)
        if len(listed) > most:
            break
    return itertools.chain(listed)
