"""Repair a server's list of tools before the protocol's package validates it: one odd tool would end the session."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any


@asynccontextmanager
async def tolerant(transport: AbstractAsyncContextManager[tuple[Any, Any]]) -> AsyncIterator[tuple[Any, Any]]:
    """Wrap a transport. Repair the tools that it lists: drop null members, and add a `type` to schemas without it."""
    async with transport as (incoming, outgoing):
        yield _Incoming(incoming), outgoing


class _Incoming:
    """A stream of messages, each repaired."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> "_Incoming":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)

    def __aiter__(self) -> "_Incoming":
        return self

    async def __anext__(self) -> Any:
        return _repaired(await self._stream.__anext__())


def _repaired(item: Any) -> Any:
    result = getattr(getattr(item, "message", None), "result", None)
    if isinstance(result, dict) and isinstance(tools := result.get("tools"), list):
        result["tools"] = [_tool(tool) if isinstance(tool, dict) else tool for tool in tools]
    return item


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    tool = {key: value for key, value in tool.items() if value is not None}
    for key in ("inputSchema", "outputSchema"):
        schema = tool.get(key, {} if key == "inputSchema" else None)
        if isinstance(schema, dict):
            tool[key] = {"type": "object"} | {name: part for name, part in schema.items() if part is not None}
    return tool
