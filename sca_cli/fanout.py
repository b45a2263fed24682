"""Run work on many records concurrently, with bounded memory and results in input order. Also derive seeds.

One event loop in its own thread runs the asynchronous work (models). Blocking work (the sandbox) runs in threads,
through `asyncio.to_thread`. The caller's thread only waits, so Ctrl-C takes effect at once.
"""

import asyncio
import hashlib
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def derived_seed(*parts: object) -> int:
    """Return a seed in [0, 2^31) that depends on all parts, their order, and nothing else."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


class Fanout:
    """An event loop in its own thread that processes inputs concurrently and in order.

    Args:
        width: how many inputs are processed at once. This also bounds memory.
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
        # ignore errors of the tasks that are cancelled here
        self._loop.set_exception_handler(lambda *_: None)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_default_executor(timeout=5)

    def call[R](self, work: Coroutine[Any, Any, R]) -> R:
        """Run one coroutine on the loop, wait for it, and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def ordered[T, R](self, items: Iterable[T], work: Callable[[T], Awaitable[R]]) -> Iterator[R]:
        """Yield `work(item)` for each item, in input order, as soon as it and all results before it are ready.

        An error while reading the items is raised after the results of the items before it. An error in `work` is
        raised in place of that item's result.
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
            except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
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
            if not self._loop.is_closed():  # if the loop is closed, all work is cancelled already
                for future in waiting:
                    future.cancel()
