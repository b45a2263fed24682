"""A synchronous connection to a Model Context Protocol server: each call blocks until the reply, and no thread runs."""

import asyncio
import fcntl
import os
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client, MCPError, StdioServerParameters, stdio_client  # noqa: TID253  imported only for the environment itself
from mcp.client.stdio import get_default_environment  # noqa: TID253  as above
from mcp.types import CONNECTION_CLOSED  # noqa: TID253  as above

from sca_cli import UsageError
from sca_mcp.tolerant import tolerant

_LANGUAGE = frozenset({"LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"})
_STOP_S = 10.0
_STDERR_LINES = 3  # last lines of the server's stderr that an error message quotes
_STDERR_BYTES = 1000

type Work[T] = Callable[[Client], Awaitable[T]]


_CLOSED = "Connection closed"
"""The message of the protocol's package for a connection that has ended."""


class Connection:
    """One client, and one server process if the server is a command line, until `close`.

    The client runs in a task of its own event loop. The loop runs only while a call waits for a reply.

    Args:
        server: a command line, or a URL that starts with http:// or https://.
        environment: environment variables for the command, in addition to those that it needs to run, see `_variables`.
        headers: HTTP headers of each request to a URL.
        timeout_s: timeout of the start, in seconds.

    Raises:
        OSError: the command cannot be run.
        TimeoutError: the server did not answer in time.
        ConnectionError: the server ended, or does not use the protocol; the message quotes the last lines of its
            stderr.
    """

    def __init__(self, server: str, environment: dict[str, str], headers: dict[str, str], timeout_s: float) -> None:
        self._loop = asyncio.new_event_loop()
        self._work: asyncio.Queue[tuple[Work[Any], asyncio.Future[Any]] | None] = asyncio.Queue()
        target = _target(server, environment)
        self._stderr = os.fdopen(os.memfd_create("mcp-stderr"), "w+")
        fcntl.fcntl(self._stderr, fcntl.F_SETFL, os.O_APPEND)  # we truncate the file while the server writes to it
        transport = _http(target, headers) if isinstance(target, str) else stdio_client(target, self._stderr)
        self._task = self._loop.create_task(self._serve(Client(tolerant(transport), cache=None)))
        try:
            self.do(_nothing, timeout_s)
        except BaseException:
            self.close()
            raise

    def do[T](self, work: Work[T], timeout_s: float) -> T:
        """Run a coroutine function with the client and return its result.

        Args:
            work: the coroutine function; its argument is the client.
            timeout_s: maximum time to wait for the result, in seconds.

        Raises:
            TimeoutError: the call took too long.
            ConnectionError: the server has ended, or the connection broke.
            mcp.MCPError: the server returned an error.
        """
        return self._loop.run_until_complete(self._do(work, timeout_s))

    async def _do[T](self, work: Work[T], timeout_s: float) -> T:
        reply: asyncio.Future[T] = self._loop.create_future()
        self._work.put_nowait((work, reply))
        waiting: set[asyncio.Future[Any]] = {reply, self._task}
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if reply.done():
            failure = reply.exception()
            # A server may use this code for an error of its own, with other words than those of the package.
            if isinstance(failure, MCPError) and (failure.code, str(failure)) == (CONNECTION_CLOSED, _CLOSED):
                raise ConnectionError(f"{failure}{self._stderr_end()}") from failure
            os.ftruncate(self._stderr.fileno(), 0)
            return reply.result()
        if self._task.done():
            cause = self._task.exception()
            if isinstance(cause, OSError):
                raise cause
            raise ConnectionError(f"the server is gone: {_innermost(cause)}{self._stderr_end()}")
        raise TimeoutError(f"the server gave no reply within {timeout_s:g} s{self._stderr_end()}")

    def _stderr_end(self) -> str:
        """Return the last lines that the command wrote to its stderr since its last reply, or ""."""
        descriptor = self._stderr.fileno()
        begin = max(0, os.fstat(descriptor).st_size - _STDERR_BYTES)
        text = os.pread(descriptor, _STDERR_BYTES, begin).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()][-_STDERR_LINES:]
        return f"; stderr: {' | '.join(lines)}" if lines else ""

    async def _serve(self, client: Client) -> None:
        async with client:
            # A result that breaks the server's own output schema is still its answer.
            client.session.validate_tool_result = _accept  # type: ignore[assignment,method-assign]
            while (item := await self._work.get()) is not None:
                work, reply = item
                try:
                    reply.set_result(await work(client))
                except Exception as error:  # noqa: BLE001  the caller gets every exception
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


def _http(url: str, headers: dict[str, str]) -> Any:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(30, read=300)  # of the protocol's package; `do` has a shorter one
    client = httpx2.AsyncClient(headers=headers, timeout=timeout) if headers else None
    return streamable_http_client(url, http_client=client)


async def _accept(_name: str, _result: Any) -> None:
    pass


async def _nothing(_: Client) -> None:
    pass


def _target(server: str, environment: dict[str, str]) -> str | StdioServerParameters:
    if is_url(server):
        return server
    try:
        command, *arguments = shlex.split(server)
    except ValueError as error:
        raise UsageError(f"cannot read the command line: {error}") from error
    return StdioServerParameters(command=command, args=arguments, env=_variables() | environment)


def _variables() -> dict[str, str]:
    """Return the variables of this process that a command gets: where programs are, who the user is, the language.

    The others may hold keys and tokens of the user, which a server must be given by name.
    """
    inherited = {name: value for name, value in os.environ.items() if name in _LANGUAGE}
    return get_default_environment() | inherited


def is_url(server: str) -> bool:
    """Return whether the server is an http(s) URL, not a command line."""
    return server.startswith(("http://", "https://"))


def _innermost(error: BaseException | None) -> str:
    """Return the type and message of an exception, or of the innermost first exception of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if error else "it ended"
