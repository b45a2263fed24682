"""A server of the Model Context Protocol with odd tools, in plain JSON-RPC on standard input and output."""

import json
import os
import sys
from typing import Any

NESTED = {
    "type": "object",
    "$defs": {"Address": {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}},
    "properties": {"to": {"$ref": "#/$defs/Address"}, "n": {"type": "integer", "minimum": 1, "default": 2}},
    "required": ["to"],
}
ODD = {"type": "object", "properties": {name: {"type": "string"} for name in ("self", "from", "$filter", "a b", "a_b")}}
TOOLS: list[dict[str, Any]] = [
    {"name": "nested", "description": "Take an address.", "inputSchema": NESTED},
    {"name": "odd", "description": None, "inputSchema": ODD, "annotations": None, "outputSchema": None},
    *({"name": name, "inputSchema": {}} for name in ("read-file", "read_file", "final_answer", "image")),
    {"name": "null", "inputSchema": {"type": "object", "properties": None, "required": None}},
    {"name": "lies", "inputSchema": {}, "outputSchema": {"type": "object", "required": ["x"]}},
]
RESULTS: dict[str, dict[str, Any]] = {
    "bare_error": {"isError": True},
    "bare": {},
    "null": {"content": None},
    "text": {"content": "hi"},
    "unknown": {"content": [{"type": "hologram", "data": 5}, {"type": "text", "text": "!"}]},
}
"""The results of the tools of `mcp_odd.py results`; its tool `fails` is answered with an error of the protocol."""
if "results" in sys.argv:
    TOOLS = [{"name": name, "inputSchema": {}} for name in (*RESULTS, "fails")]


def reply(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a request."""
    if method == "initialize":
        return {
            "protocolVersion": parameters["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS[:1], "nextCursor": "more"} if "endless" in sys.argv else {"tools": TOOLS}
    if "results" in sys.argv:
        return RESULTS[parameters["name"]]
    if parameters["name"] == "image":
        return {"content": [{"type": "image", "data": "aGk=", "mimeType": "image/png"}, {"type": "text", "text": "!"}]}
    if parameters["name"] == "lies":
        return {"content": [], "structuredContent": {"y": os.environ.get("TOKEN", "")}}
    return {"content": [{"type": "text", "text": json.dumps([parameters["name"], parameters.get("arguments", {})])}]}


for line in sys.stdin:
    request = json.loads(line)
    if "id" in request:
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "tools/call" and request["params"]["name"] == "fails":
            answer["error"] = {"code": -32000, "message": "boom"}
        elif request["method"] in ("initialize", "tools/list", "tools/call"):
            answer["result"] = reply(request["method"], request.get("params") or {})
        else:
            answer["error"] = {"code": -32601, "message": "no such method"}
        print(json.dumps(answer), flush=True)
