"""Fanout: ordered, bounded concurrency."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from sca_cli.fanout import Fanout, derived_seed


@pytest.fixture
def fanout() -> Iterator[Fanout]:
    """Give a fanout of four."""
    with Fanout(4) as opened:
        yield opened


def collect(results: Iterator[int], into: list[int]) -> None:
    """Put results into a list that is kept when an error ends them."""
    for result in results:
        into.append(result)


def test_results_come_in_the_order_of_the_input(fanout: Fanout) -> None:
    """Later items that finish first wait for their turn."""

    async def work(item: int) -> int:
        await asyncio.sleep(0.002 * (7 - item % 8))
        return item * item

    assert list(fanout.ordered(range(40), work)) == [item * item for item in range(40)]


def test_no_more_than_width_are_at_work_and_read_ahead(fanout: Fanout) -> None:
    """A slow consumer leaves at most `width` items at work or waiting, and one more read."""
    read = working = most = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(60):
            read += 1
            yield item

    async def work(item: int) -> int:
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0.001)
        working -= 1
        return item

    ahead = 0
    for done, _ in enumerate(fanout.ordered(items(), work), 1):
        time.sleep(0.001)
        ahead = max(ahead, read - done)
    assert most == 4
    assert ahead <= fanout.width + 1


def test_a_result_is_given_before_the_next_item_arrives(fanout: Fanout) -> None:
    """A pipe that has gone quiet does not hold back what is finished."""
    more = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert more.wait(10)
        yield 2

    async def work(item: int) -> int:
        return item

    results = fanout.ordered(items(), work)
    assert next(results) == 1
    more.set()
    assert list(results) == [2]


def test_error_of_the_reader_comes_after_the_results_before_it(fanout: Fanout) -> None:
    """A bad line ends the stream only when all the lines before it are done."""

    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("line 4")

    async def work(item: int) -> int:
        await asyncio.sleep(0.02)
        return item

    seen: list[int] = []
    with pytest.raises(ValueError, match="line 4"):
        collect(fanout.ordered(items(), work), seen)
    assert seen == [0, 1, 2]


def test_error_in_work_comes_at_its_place(fanout: Fanout) -> None:
    """Item 2 fails at once while 0 and 1 are slow: their results come first, and nothing after it."""

    async def work(item: int) -> int:
        if item == 2:
            raise KeyError(item)
        await asyncio.sleep(0.02)
        return item

    seen: list[int] = []
    with pytest.raises(KeyError):
        collect(fanout.ordered(range(6), work), seen)
    assert seen == [0, 1]


def test_leaving_early_cancels_what_is_at_work_and_stops_reading(fanout: Fanout) -> None:
    """A consumer that closes the results cancels work in flight, and no more than was read ahead is read."""
    cancelled = threading.Semaphore(0)
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(1000):
            read += 1
            yield item

    async def work(item: int) -> int:
        if item == 0:
            await asyncio.sleep(0.1)  # until the others are at work
            return item
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.release()
            raise
        return item

    results = fanout.ordered(items(), work)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    for _ in range(3):
        assert cancelled.acquire(timeout=5)
    time.sleep(0.05)
    assert read <= fanout.width + 3


def test_closing_does_not_wait_for_work_that_was_left() -> None:
    """Leaving a fanout cancels its work: a minute's sleep does not keep the program."""
    started = time.monotonic()
    with Fanout(2) as fanout:

        async def work(item: int) -> int:
            await asyncio.sleep(60 * item)
            return item

        assert next(fanout.ordered([0, 1], work)) == 0
    assert time.monotonic() - started < 5


def test_interrupt_reaches_the_caller_at_once(fanout: Fanout) -> None:
    """Ctrl-C while waiting for slow work is a KeyboardInterrupt in the caller, not a wait."""

    async def work(item: int) -> int:
        await asyncio.sleep(60)
        return item

    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(fanout.ordered(range(3), work))
    assert time.monotonic() - started < 5
    timer.join()


def test_a_call_gives_its_result_or_its_error(fanout: Fanout) -> None:
    """One coroutine can be run to its end from outside."""

    async def work(value: int) -> int:
        return 10 // value

    assert fanout.call(work(2)) == 5
    with pytest.raises(ZeroDivisionError):
        fanout.call(work(0))


def test_derived_seeds_depend_on_all_parts_and_on_nothing_else() -> None:
    """The same parts give the same seed in any process; parts cannot run together into others."""
    assert derived_seed(0, "explore", 3) == derived_seed(0, "explore", 3) == 354651263
    seeds = [derived_seed(*parts) for parts in [(0, 1), (1, 0), (0, 11), (0, 1, 1), ("01",), (), (0,)]]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)
