"""A server of the Model Context Protocol for the tests: a shelf of parts, whose prices and stock can change."""

from typing import Any

from mcp.server.mcpserver import MCPServer  # noqa: TID253  a process of its own
from mcp.server.mcpserver.exceptions import ToolError  # noqa: TID253  a process of its own
from mcp.types import ToolAnnotations  # noqa: TID253  a process of its own

server = MCPServer("shelf", instructions="You keep the shelf.")
PRICES = {"nails": 3, "screws": 5, "bolts": 9, "nuts": 2}
READS = ToolAnnotations(read_only_hint=True)


def _known(name: str) -> str:
    if name not in PRICES:
        raise ToolError(f"no part {name!r}")
    return name


@server.tool(annotations=READS)
def list_parts() -> list[str]:
    """List the names of all parts."""
    return sorted(PRICES)


@server.tool(annotations=READS)
def get_part(name: str) -> dict[str, Any]:
    """Get the price of a part."""
    return {"name": _known(name), "price": PRICES[name]}


@server.tool()
def set_price(name: str, price: int) -> dict[str, Any]:
    """Set the price of a part, in cents."""
    PRICES[_known(name)] = price
    return {"name": name, "price": price}


if __name__ == "__main__":
    server.run(transport="stdio")
