"""A connection to a Model Context Protocol server, for code that waits for each reply: no thread is left running."""

import asyncio
import fcntl
import os
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client, StdioServerParameters, stdio_client  # noqa: TID253  imported only for the environment itself

from sca_cli import UsageError

_STOP_S = 10.0
_SAID_LINES = 3
_SAID_BYTES = 1000

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
        ConnectionError: it ended, or does not speak the protocol; with the last lines of the command's stderr.
    """

    def __init__(self, server: str, environment: dict[str, str], timeout_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Queue[tuple[Work[Any], asyncio.Future[Any]] | None] = asyncio.Queue()
        target = _target(server, environment)
        self._stderr = os.fdopen(os.memfd_create("mcp-stderr"), "w+")
        fcntl.fcntl(self._stderr, fcntl.F_SETFL, os.O_APPEND)  # it is emptied while the server writes to it
        transport = target if isinstance(target, str) else stdio_client(target, self._stderr)
        self._task = self._loop.create_task(self._live(Client(transport, cache=None)))
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
            os.ftruncate(self._stderr.fileno(), 0)
            return reply.result()
        if self._task.done():
            why = self._task.exception()
            if isinstance(why, OSError):
                raise why
            raise ConnectionError(f"the server is gone: {_first(why)}{self._said()}")
        raise TimeoutError(f"the server gave no reply within {timeout_s:g} s{self._said()}")

    def _said(self) -> str:
        """Return the last lines that the command has written to its stderr since its last reply, or ""."""
        written = self._stderr.fileno()
        begin = max(0, os.fstat(written).st_size - _SAID_BYTES)
        text = os.pread(written, _SAID_BYTES, begin).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()][-_SAID_LINES:]
        return f"; stderr: {' | '.join(lines)}" if lines else ""

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
        self._stderr.close()


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
