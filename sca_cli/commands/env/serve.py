"""`sca env serve`: serve an environment to clients of the Model Context Protocol; it runs in the jail."""

import asyncio
import json
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


def run(env: EnvSpec, seed: int, *, port: int | None) -> None:
    """Serve one session of an environment until the client disconnects, or over HTTP until Ctrl-C.

    Raises:
        MissingError: the `mcp` package is absent.
    """
    try:
        import mcp.server.stdio
    except ImportError as error:
        raise plugins.missing_package(error, "serving", "pip install 'sca-cli[mcp]'") from error
    with Sandbox(Limits(calls=_CALLS)) as sandbox, sandbox.session(env, seed) as session:
        session.state()
        tools, policy, _ = sandbox.describe(env)
        server = _server(str(env), tools, policy, session)
        if port is not None:
            _serve_http(server, port)
            return

        async def serve() -> None:
            async with mcp.server.stdio.stdio_server() as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())

        asyncio.run(serve())


def _serve_http(server: "Server[Any]", port: int) -> None:
    import uvicorn

    messages.write(f"sca env: http://127.0.0.1:{port}/mcp")
    uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=port, log_level="warning")


def _server(name: str, tools: list[Tool], policy: str, session: Session) -> "Server[Any]":
    """Return a server whose tools call the session. The calls run one after another, on one thread."""
    import mcp
    import mcp.types as types
    from mcp.server import Server

    listed = [
        types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=tool.parameters,
            annotations=types.ToolAnnotations(read_only_hint=not tool.writes),
        )
        for tool in tools
    ]
    state = types.Resource(name="state", uri=STATE, mime_type="application/json", description="The whole state.")

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed)

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            observation = session.call(params.name, (), params.arguments or {})
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
        text = json.dumps(session.state(), ensure_ascii=False)
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=STATE, mime_type="application/json", text=text)]
        )

    return Server(
        name,
        version=sca_cli.__version__,
        instructions=policy,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


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
) -> None:
    """Serve an environment to any client of the Model Context Protocol.

    \b
    Example:
      sca env serve calculation:family=trade_calculator --mcp

    The state is that of one seed, and it lasts as long as the server. Of an environment with several variants, the
    first is served.
    """
    if stdio == (http is not None):
        raise UsageError("give either --mcp or --http PORT", "for example sca env serve calculation --mcp")
    spec = plugins.parse_env(name)
    plugins.fail_if_unknown([spec], [])
    run(plugins.expand_env(spec)[0], seed, port=http)
