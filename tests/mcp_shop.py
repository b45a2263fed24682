"""A server of the Model Context Protocol for the tests: a till whose tools fail in every way a tool can.

`python mcp_shop.py` speaks on standard input and output, `python mcp_shop.py PORT` over HTTP.
"""

import os
import subprocess
import sys
import time
from typing import Any, Literal

from mcp.server.mcpserver import MCPServer  # noqa: TID253  a process of its own
from mcp.server.mcpserver.exceptions import ToolError  # noqa: TID253  a process of its own
from mcp.types import ToolAnnotations  # noqa: TID253  a process of its own

server = MCPServer("till", instructions="You keep the till.")
till: dict[str, int] = {"cents": 100 + int(os.environ.get("SCA_SEED", "0"))}
READS = ToolAnnotations(read_only_hint=True)


@server.tool(annotations=READS)
def amount() -> int:
    """How many cents there are."""
    return till["cents"]


@server.tool()
def pay_out(cents: int, reason: str = "") -> dict[str, Any]:
    """Take money out."""
    if cents > till["cents"]:
        raise ToolError(f"there are {till['cents']} cents")
    till["cents"] -= cents
    return {"left": till["cents"], "reason": reason}


@server.tool(name="list-coins", annotations=READS)
def list_coins(kind: Literal["big", "small"], at_most: int | None = None) -> list[int]:
    """List coins."""
    return ([100, 200] if kind == "big" else [1, 2])[:at_most]


@server.tool(annotations=READS)
def hang(seconds: float) -> str:
    """Take that long."""
    time.sleep(seconds)
    return "done"


@server.tool(annotations=READS)
def leave() -> str:
    """End the server."""
    print("the till is broken", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
def daemon() -> int:
    """Start a process that outlives the server: in a session of its own, with nothing of ours open."""
    started = subprocess.Popen(
        ["sh", "-c", "sleep 600 & exec sleep 600"], start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return started.pid


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", port=int(sys.argv[1]))
    else:
        server.run(transport="stdio")
