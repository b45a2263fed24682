"""`sca env serve`: serve an environment to clients of the Model Context Protocol; it runs in the jail."""

import asyncio
import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sca_cli
from sca_cli import messages, plugins
from sca_cli.commands.shared import options
from sca_cli.errors import UsageError, WorldError
from sca_cli.interfaces import Tool
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox, Session

if TYPE_CHECKING:
    from mcp.server import Server

STATE = "sca://state"
"""URI of the resource that holds the state."""

_CALLS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Served:
    """A tool of a session, under the name that clients see."""

    session: Session
    tool: Tool
    name: str


def run(variants: list[EnvSpec], seed: int, *, port: int | None, memory_mb: int = 512) -> None:
    """Serve one session of each variant until the client disconnects, or over HTTP until Ctrl-C.

    Raises:
        MissingError: the `mcp` package is absent.
    """
    try:
        import mcp.server.stdio
    except ImportError as error:
        raise plugins.missing_package(error, "serving", "pip install 'sca-cli[mcp]'") from error
    with Sandbox(Limits(calls=_CALLS, memory_mb=memory_mb)) as sandbox, ExitStack() as stack:
        sessions = {str(env): stack.enter_context(sandbox.session(env, seed)) for env in variants}
        for session in sessions.values():
            session.state()
        described = [sandbox.describe(env) for env in variants]
        policy = "\n\n".join(dict.fromkeys(filter(None, (each.policy for each in described))))
        server = _server(_served(sessions, [each.tools for each in described]), policy, sessions)
        if port is not None:
            _serve_http(server, port)
            return

        async def serve() -> None:
            async with mcp.server.stdio.stdio_server() as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())

        asyncio.run(serve())


def _served(sessions: dict[str, Session], tools: list[list[Tool]]) -> list[_Served]:
    """Return the tools of all variants; a tool whose name several variants have gets the variant's number."""
    counts = Counter(tool.name for each in tools for tool in each)
    return [
        _Served(session, tool, tool.name if counts[tool.name] == 1 else f"{tool.name}_{number}")
        for number, (session, each) in enumerate(zip(sessions.values(), tools, strict=True), start=1)
        for tool in each
    ]


def _serve_http(server: "Server[Any]", port: int) -> None:
    import uvicorn

    messages.write(f"sca env: http://127.0.0.1:{port}/mcp")
    uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=port, log_level="warning")


def _server(served: list[_Served], policy: str, sessions: dict[str, Session]) -> "Server[Any]":
    """Return a server whose tools call the sessions. The calls run one after another, on one thread."""
    import mcp
    import mcp.types as types
    from mcp.server import Server

    listed = [
        types.Tool(
            name=each.name,
            description=each.tool.description,
            input_schema=each.tool.parameters,
            output_schema=_wrapped(each.tool.result) if each.tool.result else None,
            annotations=types.ToolAnnotations(read_only_hint=not each.tool.writes),
        )
        for each in served
    ]
    by_name = {each.name: each for each in served}
    state = types.Resource(name="state", uri=STATE, mime_type="application/json", description="The whole state.")

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if not (called := by_name.get(params.name)):
            text = f"no tool named '{params.name}'"
            return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
        try:
            observation = called.session.call(called.tool.name, (), params.arguments or {})
        except WorldError as error:
            raise mcp.MCPError(types.INTERNAL_ERROR, f"the environment failed: {error.message}") from error
        if observation.error:
            return types.CallToolResult(content=[types.TextContent(text=observation.error)], is_error=True)
        text = (
            observation.result
            if isinstance(observation.result, str)
            else json.dumps(observation.result, ensure_ascii=False)
        )
        return types.CallToolResult(
            content=[types.TextContent(text=text)], structured_content={"result": observation.result}
        )

    async def list_resources(_context: Any, _params: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[state])

    async def read_resource(_context: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        if str(params.uri) != STATE:
            raise mcp.MCPError(types.INVALID_PARAMS, f"no resource {params.uri}; there is {STATE}")
        states = {name: session.state() for name, session in sessions.items()}
        text = json.dumps(states if len(states) > 1 else next(iter(states.values())), ensure_ascii=False)
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=STATE, mime_type="application/json", text=text)]
        )

    return Server(
        " ".join(sessions),
        version=sca_cli.__version__,
        instructions=policy,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def _wrapped(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a structured result, which the protocol requires to be an object."""
    return {"type": "object", "properties": {"result": schema}, "required": ["result"]}


def command(
    name: options.EnvArgument,
    stdio: Annotated[
        bool,
        typer.Option("--mcp", help="Serve over standard input and output.", show_default=False),
    ] = False,
    http: Annotated[
        int | None,
        typer.Option(
            "--http",
            metavar="PORT",
            min=1,
            max=65535,
            help="Serve over HTTP, on this machine only.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, envvar="SCA_SEED", help="Seed of the served state.")] = 0,
    memory_mb: options.WorldMemoryMb = 512,
) -> None:
    """Serve an environment to any client of the Model Context Protocol.

    \b
    Example:
      sca env serve calculation:family=trade_calculator --mcp

    The state is that of one seed, and it lasts as long as the server. All variants of an environment are served
    together.
    """
    if stdio == (http is not None):
        raise UsageError("give either --mcp or --http PORT", "for example sca env serve calculation --mcp")
    spec = plugins.parse_env(name)
    plugins.fail_if_unknown([spec], [])
    run(plugins.expand_env(spec), seed, port=http, memory_mb=memory_mb)
