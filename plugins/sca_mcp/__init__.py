"""The `mcp` plugin: use any Model Context Protocol server as an environment."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `mcp`."""
    register(
        "mcp",
        "sca_mcp.environment:McpEnvironment",
        help="the tools of a Model Context Protocol server: COMMAND_LINE or http(s)://URL",
        extra="mcp",
        argument="server",
        outside=True,
    )
