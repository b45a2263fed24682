"""Repair what a server sends before the protocol's package validates it: one odd tool or result would end a session."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any


@asynccontextmanager
async def tolerant(transport: AbstractAsyncContextManager[tuple[Any, Any]]) -> AsyncIterator[tuple[Any, Any]]:
    """Wrap a transport and repair what comes in.

    In the list of tools, null members are dropped, and schemas without a `type` get one. In the results of calls, a
    missing content is empty, and a part of an unknown kind becomes its JSON text.
    """
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


_KINDS = {"text": "text", "image": "data", "audio": "data", "resource": "resource", "resource_link": "uri"}
"""Kind of a part of a result → the member that it must have."""


def _repaired(item: Any) -> Any:
    result = getattr(getattr(item, "message", None), "result", None)
    if not isinstance(result, dict):
        return item
    if isinstance(tools := result.get("tools"), list):
        result["tools"] = [_tool(tool) if isinstance(tool, dict) else tool for tool in tools]
    elif "protocolVersion" not in result:
        content = result.get("content")
        parts = content if isinstance(content, list) else [] if content is None else [content]
        result["content"] = [_part(part) for part in parts]
    return item


def _part(part: Any) -> Any:
    """Return a part of a result; if the protocol does not know it, as text."""
    member = _KINDS.get(str(part.get("type"))) if isinstance(part, dict) else None
    if member and isinstance(part.get(member), dict if member == "resource" else str):
        return part
    return {"type": "text", "text": part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    tool = {key: value for key, value in tool.items() if value is not None}
    for key in ("inputSchema", "outputSchema"):
        schema = tool.get(key, {} if key == "inputSchema" else None)
        if isinstance(schema, dict):
            tool[key] = {"type": "object"} | {name: part for name, part in schema.items() if part is not None}
    return tool
