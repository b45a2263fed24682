"""The `mcp` environment: its tools are those of any Model Context Protocol server."""

import fnmatch
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mcp  # noqa: TID253  imported only for the environment itself

from sca_cli import Environment, Tool, ToolError, UsageError
from sca_mcp.connection import Connection, is_url
from sca_mcp.described import Described, python_names

_START_S = 60.0
_CALL_S = 8.0
"""Below a turn's time limit, so that a hanging server is an error of the environment, not a timeout of the program."""
_STATE = "sca://state"
_FAULTS = {mcp.types.REQUEST_TIMEOUT, mcp.types.INTERNAL_ERROR}
"""Codes of errors of the server, not refusals; a closed connection is a ConnectionError."""
_MOST_PAGES = 100
"""Most pages of a list of tools; chosen by hand."""
_NAMED_OPTION = re.compile(r"(env|header)\.([\w-]+)")
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


class McpEnvironment(Environment):
    """Start a new server for each session if the server is a command; sessions of a URL share one server.

    A check may call the tools that the server marks as read-only; all other tools count as writing. The server gets the
    seed in the environment variable SCA_SEED. Its state is the content of the resource `sca://state`. Sessions that
    share the server at a URL see each other's changes.
    """

    outside = True

    def __init__(self, server: str, reads: str = "", call_s: str = "", **named: str) -> None:
        """Start the server once, to read its list of tools.

        Args:
            server: the command line that starts the server, or the http(s) URL of a running one.
            reads: names of tools that only read, as the server spells them, separated by blanks; `*` matches any
                characters. By default those that the server marks as read-only.
            call_s: seconds that one call may take. More than the limit of a program has no effect without a longer
                limit for programs.
            named: `env.NAME`, a variable for the server's command; `header.NAME`, a header for each request to a URL.
                `$NAME` in a value is replaced by that variable of sca's own environment, so that records hold no
                secret.

        Raises:
            UsageError: an option is not valid, or the server does not start or does not answer.
        """
        self._server = server
        self._connection: Connection | None = None
        self._call_s = _seconds(call_s) if call_s else _CALL_S
        self._variables, self._headers = _named_options(named)
        if self._headers and not is_url(server):
            raise UsageError("headers are for a server at a URL", "env.NAME=VALUE gives a command a variable")
        try:
            connection = self._connect({})
        except OSError as error:
            raise UsageError(f"no server at '{server}': {error}") from error
        try:
            self._described = _described(connection.do(_tools, self._call_s), reads.split())
            self._has_state = connection.do(_shows_state, self._call_s)
            self.policy = connection.do(_instructions, self._call_s)
        except (OSError, ValueError, mcp.MCPError) as error:
            words = " ".join(str(error).split())
            raise UsageError(f"the server at '{server}' does not list its tools: {words}") from error
        finally:
            connection.close()

    def _connect(self, variables: dict[str, str]) -> Connection:
        return Connection(self._server, self._variables | variables, self._headers, _START_S)

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the server's tools."""
        return {one.tool.name: (one.tool, _Remote(self, one)) for one in self._described}

    def reset(self, seed: int) -> None:
        """Start the server for this session, or connect to it."""
        if self._connection:
            self._connection.close()
        self._connection = self._connect({"SCA_SEED": str(seed)})

    def state(self) -> Any:
        """Return the server's resource `sca://state`, or {} if it has none."""
        if not self._has_state or not self._connection:
            return {}
        return json.loads(self._connection.do(_state, self._call_s))

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
            result = self._connection.do(lambda client: client.call_tool(name, arguments), self._call_s)
        except mcp.MCPError as error:
            if error.code in _FAULTS:
                raise
            raise ToolError(error.message) from error
        if result.is_error:
            raise ToolError(_text(result) or "the tool failed without a message")
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
        return [
            options | {"server": shlex.join(str(Path(word).absolute()) if _is_file(word) else word for word in words)}
        ]


class _Remote:
    """The callable of a tool: it calls the session's server."""

    def __init__(self, environment: McpEnvironment, described: Described) -> None:
        self._environment, self._described = environment, described
        self.__signature__ = described.signature

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:  # a tool may have a parameter `self`
        return self._environment.call(self._described.remote, self._described.arguments(args, kwargs))


def _is_file(word: str) -> bool:
    return word[:1] != "-" and ("/" in word or bool(Path(word).suffix)) and Path(word).is_file()


def _described(tools: list[mcp.Tool], reads: list[str]) -> list[Described]:
    """Describe the server's tools, each under a name of its own.

    Raises:
        UsageError: two tools have the same name at the server, so that no call can tell them apart; or an entry of
            `reads` matches no tool.
    """
    names = [tool.name for tool in tools]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the server lists two tools of the name '{twice[0]}'", "the server must rename one of them")
    if unknown := [pattern for pattern in reads if not fnmatch.filter(names, pattern)]:
        raise UsageError(f"reads={unknown[0]}: the server has no such tool", f"its tools: {', '.join(names)}")
    return [
        Described(tool, name, reads=_only_reads(tool, reads))
        for tool, name in zip(tools, python_names(names), strict=True)
    ]


def _only_reads(tool: mcp.Tool, reads: list[str]) -> bool:
    if reads:
        return any(fnmatch.fnmatchcase(tool.name, pattern) for pattern in reads)
    return bool(tool.annotations and tool.annotations.read_only_hint)


def _named_options(named: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables and the headers among the options, with `$NAME` replaced.

    Raises:
        UsageError: an option has another name, or a variable is not set.
    """
    kinds: dict[str, dict[str, str]] = {"env": {}, "header": {}}
    for option, value in named.items():
        if not (match := _NAMED_OPTION.fullmatch(option)):
            raise UsageError(f"no option '{option}'", "options: reads, call_s, env.NAME, header.NAME")
        kinds[match[1]][match[2]] = _VARIABLE.sub(lambda part: _variable(part[1] or part[2]), value)
    return kinds["env"], kinds["header"]


def _variable(name: str) -> str:
    if name not in os.environ:
        raise UsageError(f"the variable {name} is not set", f"export {name}=…")
    return os.environ[name]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 86_400:
        raise UsageError(f"call_s={text}: not a number of seconds", "for example call_s=30")
    return seconds


async def _tools(client: mcp.Client) -> list[mcp.Tool]:
    tools: list[mcp.Tool] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        if not (cursor := page.next_cursor):
            return tools
    raise ValueError(f"its list has more than {_MOST_PAGES} pages, or never ends")


async def _shows_state(client: mcp.Client) -> bool:
    if not client.server_capabilities.resources:
        return False
    return _STATE in [str(resource.uri) for resource in (await client.list_resources()).resources]


async def _instructions(client: mcp.Client) -> str:
    return client.instructions or ""


async def _state(client: mcp.Client) -> str:
    return "".join(getattr(part, "text", "") for part in (await client.read_resource(_STATE)).contents)


def _text(result: mcp.types.CallToolResult) -> str:
    return "\n".join(map(_words, result.content))


def _words(part: mcp.types.ContentBlock) -> str:
    """Return a part of a result as text; what is no text is described."""
    match part:
        case mcp.types.TextContent():
            return part.text
        case mcp.types.ImageContent() | mcp.types.AudioContent():
            return f"[{part.type}: {part.mime_type}, {len(part.data) * 3 // 4} bytes, not shown]"
        case mcp.types.EmbeddedResource(resource=mcp.types.TextResourceContents() as resource):
            return resource.text
        case mcp.types.EmbeddedResource():
            return f"[resource: {part.resource.uri}, not shown]"
        case _:
            return f"[link to a resource: {part.uri}]"


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
