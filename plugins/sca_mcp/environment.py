"""The `mcp` environment: its tools are those of any Model Context Protocol server."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp  # noqa: TID253  imported only for the environment itself

from sca_cli import Environment, Tool, ToolError, UsageError
from sca_mcp.connection import Connection, is_url
from sca_mcp.described import Described

_START_S = 60.0
_CALL_S = 8.0
"""Below a turn's time limit, so that a hanging server is an error of the environment, not a timeout of the program."""
_STATE = "sca://state"
_FAULTS = {-32000, -32001, -32603}
"""The protocol's error codes for connection closed, request timed out and internal error."""


class McpEnvironment(Environment):
    """Start a new server for each session if the server is a command; sessions of a URL share one server.

    A check may call the tools that the server marks as read-only; all other tools count as writing. The server gets the
    seed in the environment variable SCA_SEED. Its state is the content of the resource `sca://state`. Sessions that
    share the server at a URL see each other's changes.
    """

    outside = True

    def __init__(self, server: str) -> None:
        """Start the server once, to read its list of tools.

        Args:
            server: the command line that starts the server, or the http(s) URL of a running one.

        Raises:
            UsageError: the server does not start or does not answer.
        """
        self._server = server
        self._connection: Connection | None = None
        try:
            connection = Connection(server, {}, _START_S)
        except OSError as error:
            raise UsageError(f"no server at '{server}': {error}") from error
        try:
            self._described = [Described(tool) for tool in connection.do(_tools, _CALL_S)]
            self._has_state = connection.do(_shows_state, _CALL_S)
            self.policy = connection.do(_instructions, _CALL_S)
        finally:
            connection.close()

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the server's tools."""
        return {one.tool.name: (one.tool, _Remote(self, one)) for one in self._described}

    def reset(self, seed: int) -> None:
        """Start the server for this session, or connect to it."""
        if self._connection:
            self._connection.close()
        self._connection = Connection(self._server, {"SCA_SEED": str(seed)}, _START_S)

    def state(self) -> Any:
        """Return the server's resource `sca://state`, or {} if it has none."""
        if not self._has_state or not self._connection:
            return {}
        return json.loads(self._connection.do(_state, _CALL_S))

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """Call a tool of this session's server.

        Raises:
            ToolError: the server or the tool refused the call.
            OSError: the server hangs, has ended, or there is no session.
            mcp.MCPError: the server failed.
        """
        if not self._connection:
            raise ConnectionError("no session has begun")
        try:
            result = self._connection.do(lambda client: client.call_tool(name, arguments), _CALL_S)
        except mcp.MCPError as error:
            if error.code in _FAULTS:
                raise
            raise ToolError(error.message) from error
        if result.is_error:
            raise ToolError(_text(result) or "the tool failed and says no more")
        return _value(result)

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Make the paths of files in the command line absolute, so that records are valid in any directory."""
        server = options["server"]
        if is_url(server):
            return [options]
        try:
            words = shlex.split(server)
        except ValueError as error:
            raise UsageError(f"cannot read the command line: {error}") from error
        if not any(map(_is_file, words)):
            return [options]
        return [{"server": shlex.join(str(Path(word).absolute()) if _is_file(word) else word for word in words)}]


class _Remote:
    """The callable of a tool: it calls the session's server."""

    def __init__(self, environment: McpEnvironment, described: Described) -> None:
        self._environment, self._described = environment, described
        self.__signature__ = described.signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._environment.call(self._described.remote, self._described.arguments(args, kwargs))


def _is_file(word: str) -> bool:
    return word[:1] != "-" and ("/" in word or bool(Path(word).suffix)) and Path(word).is_file()


async def _tools(client: mcp.Client) -> list[mcp.Tool]:
    tools: list[mcp.Tool] = []
    cursor = None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        if not (cursor := page.next_cursor):
            return tools


async def _shows_state(client: mcp.Client) -> bool:
    if not client.server_capabilities.resources:
        return False
    return _STATE in [str(resource.uri) for resource in (await client.list_resources()).resources]


async def _instructions(client: mcp.Client) -> str:
    return client.instructions or ""


async def _state(client: mcp.Client) -> str:
    return "".join(getattr(part, "text", "") for part in (await client.read_resource(_STATE)).contents)


def _text(result: mcp.types.CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def _value(result: mcp.types.CallToolResult) -> Any:
    """Return the structured result, or the text if there is none; parse text that is a JSON object or array."""
    value = result.structured_content
    if isinstance(value, dict) and value.keys() == {"result"}:  # servers wrap values that are not objects like this
        return value["result"]
    if value is not None:
        return value
    text = _text(result)
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text
