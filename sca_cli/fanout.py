"""Ordered, bounded concurrency: many records at work at once, results in the order of the input; and derived seeds.

One event loop on a thread of its own runs the asynchronous work (models); blocking work (the sandbox) goes through
`asyncio.to_thread`. The caller's thread only waits, so Ctrl-C reaches it at once.
"""

import asyncio
import hashlib
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def derived_seed(*parts: object) -> int:
    """Return a seed in [0, 2^31) that depends on all parts and on nothing else."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


class Fanout:
    """An event loop on a thread of its own, and ordered work on it.

    Args:
        width: how many inputs are at work at once, which also bounds memory.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_default_executor(ThreadPoolExecutor(max_workers=width, thread_name_prefix="sca-work"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="sca-loop", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Fanout":
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        # what comes of work that is broken off is nobody's business
        self._loop.set_exception_handler(lambda *_: None)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_default_executor(timeout=5)

    def call[R](self, work: Coroutine[Any, Any, R]) -> R:
        """Run one coroutine on the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def ordered[T, R](self, items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> Iterator[R]:
        """Yield `work(item)` for each item, in order, as soon as it and all before it are there.

        An error while reading the items is raised after the results of the items before it; an error in `work` at
        its place.
        """
        events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        slots = threading.Semaphore(self.width)
        stopped = threading.Event()

        def read() -> None:
            try:
                for item in items:
                    slots.acquire()
                    if stopped.is_set():
                        return
                    events.put(("item", item))
                events.put(("end", None))
            except BaseException as error:  # noqa: BLE001  it is raised again, in the thread that asked
                events.put(("error", error))

        async def started(item: T) -> R:
            return await work(item)

        threading.Thread(target=read, name="sca-read", daemon=True).start()
        waiting: list[Future[R]] = []
        ended = False
        failure: BaseException | None = None
        try:
            while not ended or waiting:
                if waiting and waiting[0].done():
                    result = waiting.pop(0).result()
                    slots.release()
                    yield result
                    continue
                event, value = events.get()
                if event == "item":
                    future = asyncio.run_coroutine_threadsafe(started(value), self._loop)
                    waiting.append(future)
                    future.add_done_callback(lambda _: events.put(("done", None)))
                elif event in ("end", "error"):
                    ended, failure = True, value
            if failure is not None:
                raise failure
        finally:
            stopped.set()
            slots.release()
            if not self._loop.is_closed():  # else all is cancelled, and this generator was only forgotten
                for future in waiting:
                    future.cancel()
