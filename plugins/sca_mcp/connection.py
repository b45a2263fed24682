"""A connection to a Model Context Protocol server, for code that waits for each reply: no thread is left running."""

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client, StdioServerParameters  # noqa: TID253  imported only for the environment itself

from sca_cli import UsageError

_STOP_S = 10.0

type Work[T] = Callable[[Client], Awaitable[T]]


class Connection:
    """One client, and for a command line one server process, until `close`.

    The client lives in one task of a loop of its own, which runs only while somebody waits for a reply.

    Args:
        server: a command line, or a URL that starts with http:// or https://.
        environment: variables that the command gets besides those of this process.
        timeout_s: for the start.

    Raises:
        OSError: the command cannot be run.
        TimeoutError: the server did not answer in time.
        ConnectionError: it ended, or does not speak the protocol.
    """

    def __init__(self, server: str, environment: dict[str, str], timeout_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Queue[tuple[Work[Any], asyncio.Future[Any]] | None] = asyncio.Queue()
        self._task = self._loop.create_task(self._live(Client(_target(server, environment), cache=None)))
        try:
            self.do(_nothing, timeout_s)
        except BaseException:
            self.close()
            raise

    def do[T](self, work: Work[T], timeout_s: float) -> T:
        """Do something with the client and return what comes of it.

        Raises:
            TimeoutError: it took too long.
            ConnectionError: the server is gone.
            mcp.MCPError: the server's own error.
        """
        return self._loop.run_until_complete(self._do(work, timeout_s))

    async def _do[T](self, work: Work[T], timeout_s: float) -> T:
        reply: asyncio.Future[T] = self._loop.create_future()
        self._work.put_nowait((work, reply))
        waiting: set[asyncio.Future[Any]] = {reply, self._task}
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if reply.done():
            return reply.result()
        if self._task.done():
            why = self._task.exception()
            raise why if isinstance(why, OSError) else ConnectionError(f"the server is gone: {_first(why)}")
        raise TimeoutError(f"the server gave no reply within {timeout_s:g} s")

    async def _live(self, client: Client) -> None:
        async with client:
            while (item := await self._work.get()) is not None:
                work, reply = item
                try:
                    reply.set_result(await work(client))
                except Exception as error:  # noqa: BLE001  it is the caller's
                    reply.set_exception(error)

    def close(self) -> None:
        """Stop the server and the loop."""
        self._work.put_nowait(None)
        if not self._task.done():
            self._loop.run_until_complete(asyncio.wait({self._task}, timeout=_STOP_S))
        self._task.cancel()
        self._loop.run_until_complete(asyncio.wait({self._task}, timeout=_STOP_S))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


async def _nothing(_: Client) -> None:
    pass


def _target(server: str, environment: dict[str, str]) -> str | StdioServerParameters:
    if is_url(server):
        return server
    try:
        command, *arguments = shlex.split(server)
    except ValueError as error:
        raise UsageError(f"cannot read the command line: {error}") from error
    return StdioServerParameters(command=command, args=arguments, env=dict(os.environ) | environment)


def is_url(server: str) -> bool:
    """Tell whether a server is named by its address."""
    return server.startswith(("http://", "https://"))


def _first(error: BaseException | None) -> str:
    """Return the innermost of a group of errors in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if error else "it ended"
