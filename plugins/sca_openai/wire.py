"""Convert conversations to the server's JSON, and the server's JSON to completions.

Servers differ in what they return, so a response is read tolerantly: a field of an unknown form counts as absent.
"""

import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from sca_cli import Completion, FunctionCall, Message, ModelError, Sampling, Tool, ToolCall
from sca_cli.toolkit.conversation import alternating, without_system
from sca_cli.toolkit.replies import MOST_CALLS, ends_in_reasoning, find_stop, read_arguments
from sca_openai.refusals import SYSTEM, TEMPERATURES, UNTYPED

REPLY_CHARS = 1 << 20
"""Longest text of a reply that is kept, in characters. Chosen by hand: limits of tokens in use allow less."""

_SEEDS = 2**31
"""Number of different seeds that every server accepts."""

_CUT = {"length", "max_tokens", "model_length", "max_output_tokens"}
_WITHHELD = {
    "content_filter",
    "safety",
    "prohibited_content",
    "recitation",
    "blocklist",
    "spii",
    "sensitive",
    "refusal",
}
_BROKEN = {"error", "abort", "aborted", "cancelled", "insufficient_system_resource"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_WORDS_CHARS = 500
"""Longest quotation of a server, in characters."""

_ANY_VALUE = [
    {"type": "string"},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "array", "items": {"type": "string"}},
    {"type": "object"},
]
"""Types of a parameter without a type, for servers that need one."""


class BrokenReplyError(ModelError):
    """The server's reply is no chat completion. Another request may get one."""


def request_of(
    name: str, messages: Sequence[Message], sampling: Sampling, seed: int, tools: Sequence[Tool]
) -> dict[str, Any]:
    """Return the body of a chat request, with all optional fields that a server may support."""
    request: dict[str, Any] = {
        "model": name,
        "messages": [_plain(message) for message in alternating(messages)],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
        "max_completion_tokens": sampling.max_tokens,
        "seed": seed % _SEEDS,
        "logprobs": True,
        "return_token_ids": True,
    }
    if sampling.top_p != 1:
        request["top_p"] = sampling.top_p
    if sampling.stop:
        request |= {"stop": list(sampling.stop), "include_stop_str_in_output": True}
    if tools:
        request["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                },
            }
            for tool in tools
        ]
    return request


def adapted(request: dict[str, Any], messages: Sequence[Message], given_up: Collection[str]) -> dict[str, Any]:
    """Return a request without the fields and features that the server rejects.

    Args:
        request: see `request_of`.
        messages: the conversation of the request.
        given_up: names of fields, or of the features that `refusals` lists.
    """
    body = {key: value for key, value in request.items() if key not in given_up}
    if "stop" not in body:
        body.pop("include_stop_str_in_output", None)
    if TEMPERATURES in given_up and "temperature" in body:
        body["temperature"] = 1
    if SYSTEM in given_up:
        body["messages"] = [_plain(message) for message in without_system(messages)]
    if UNTYPED in given_up and "tools" in body:
        body["tools"] = [_typed_tool(tool) for tool in body["tools"]]
    return body


def _typed_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    return tool | {"function": function | {"parameters": _typed(function["parameters"])}}


def _typed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which every property has a type."""
    typed = dict(schema)
    if isinstance(properties := schema.get("properties"), dict):
        typed["properties"] = {key: _typed(value) for key, value in properties.items()}
    if isinstance(items := schema.get("items"), dict):
        typed["items"] = _typed(items)
    if not typed.keys() & {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"}:
        typed["anyOf"] = _ANY_VALUE
    return typed


def decoded(body: bytes) -> Any:
    """Decode the body of a response: JSON, also with NaN, or an event stream of parts.

    Raises:
        BrokenReplyError: it is neither; the message quotes it.
    """
    text = body.decode(errors="replace").strip().lstrip("\ufeff")
    try:
        if text.startswith(("data:", "event:", ":")):
            return _joined([json.loads(part) for part in _events(text)])
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_a_completion(text or "it is empty") from error


def _events(text: str) -> list[str]:
    parts = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    return [part for part in parts if part and part != "[DONE]"]


def _joined(parts: list[Any]) -> Any:
    """Join the parts of a streamed response into a response."""
    if not parts:
        raise _not_a_completion("an event stream without data")
    whole: dict[str, Any] = {}
    message: dict[str, Any] = {}
    calls: dict[Any, dict[str, Any]] = {}
    finish = None
    for part in parts:
        choice = _first(part.get("choices")) if isinstance(part, dict) else None
        whole |= {key: value for key, value in part.items() if value} if isinstance(part, dict) else {}
        if choice is None:
            continue
        finish = choice.get("finish_reason") or finish
        delta = choice.get("delta") or choice.get("message")
        for key, value in delta.items() if isinstance(delta, dict) else ():
            if isinstance(value, str):
                message[key] = message.get(key, "") + value
        for call in _list(delta.get("tool_calls")) if isinstance(delta, dict) else ():
            if isinstance(call, dict) and isinstance(call.get("function"), dict):
                joined = calls.setdefault(call.get("index", len(calls)), {"id": call.get("id"), "function": {}})
                for key, value in call["function"].items():
                    joined["function"][key] = joined["function"].get(key, "") + value if value else value
    if message or calls or finish:
        whole["choices"] = [{"message": message | {"tool_calls": list(calls.values())}, "finish_reason": finish}]
    return whole


def completion_of(response: Any, stops: Sequence[str]) -> Completion:
    """Convert a response, which is decoded JSON, to a completion.

    Args:
        response: the response.
        stops: texts that end the reply.

    Raises:
        BrokenReplyError: the response is not a chat completion, or the server broke the reply off.
        ModelError: the server withheld the reply.
    """
    response = _first(response) or response
    choice = _first(response.get("choices")) if isinstance(response, dict) else None
    if choice is None:
        raise _not_a_completion(words_of(response))
    finish = str(choice.get("finish_reason") or "").lower()
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    if not isinstance(message, dict):
        raise _not_a_completion(words_of(response))
    if finish in _WITHHELD:
        raise ModelError(f"the server withheld the reply: finish_reason '{finish}'")
    text, reasoning = _texts(message)
    calls = _calls(message)
    error = choice.get("error") or response.get("error")
    if finish in _BROKEN or (error and not text and not calls):
        raise BrokenReplyError(f"the server broke the reply off: {words_of({'error': error or finish})}")
    stop_reason = choice.get("stop_reason")
    if isinstance(stop_reason, str) and stop_reason in stops and not text.endswith(stop_reason):
        text += stop_reason  # vLLM reports the stop text that matched
    end = find_stop(text, stops)
    is_cut = 0 <= end < len(text)  # the server did not know the stop text
    text = text[:end] if is_cut else text
    token_ids, logprobs = _integers(choice.get("token_ids")), _logprobs(choice.get("logprobs"))
    usage = response.get("usage")
    return Completion(
        text,
        "tool_calls" if calls else "length" if finish in _CUT or len(text) >= REPLY_CHARS else "stop",
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens") or len(token_ids or ()),
        tool_calls=calls,
        prompt_ids=_integers(response.get("prompt_token_ids")),
        token_ids=None if is_cut else token_ids,
        logprobs=logprobs if token_ids and not is_cut and len(logprobs) == len(token_ids) else None,
        reasoning=reasoning,
    )


def stopped_in_reasoning(completion: Completion, stops: Sequence[str]) -> bool:
    """Return whether a stop text in the reasoning may have ended the reply before its text."""
    if not stops or completion.finish_reason != "stop":
        return False
    return ends_in_reasoning(completion.text) or (bool(completion.reasoning) and not completion.text.strip())


def words_of(value: Any) -> str:
    """Return the message of an error object, else the value itself as text, on one line."""
    for _ in range(3):
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            inner = value.get("error") or value.get("message") or value.get("detail") or value.get("msg")
            value = inner if inner else json.dumps(value, ensure_ascii=False)
    return _clean(" ".join(str(value).split()))[:_WORDS_CHARS]


def _not_a_completion(words: str) -> BrokenReplyError:
    return BrokenReplyError(f"the server's reply is not a chat completion: {words_of(words)}")


def _first(value: Any) -> dict[str, Any] | None:
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, dict) and value else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


def _clean(text: str) -> str:
    """Return a text that can be written as UTF-8, of bounded length."""
    return _SURROGATE.sub("\ufffd", text[:REPLY_CHARS])


def _texts(message: dict[str, Any]) -> tuple[str, str]:
    """Return text and reasoning of a message. Both may be texts or lists of parts."""
    spoken: list[str] = []
    thought = [_flat(message.get("reasoning_content") or message.get("reasoning"))]
    content = message.get("content") or message.get("refusal")
    for part in content if isinstance(content, list) else [content]:
        kind = str(part.get("type", "")) if isinstance(part, dict) else ""
        (thought if "thinking" in kind or "reasoning" in kind else spoken).append(_flat(part))
    return _clean("".join(spoken)), _clean("".join(thought))


def _flat(part: Any, depth: int = 0) -> str:
    """Return the text of a part of a message: a text, a list, or an object with a text in one of some fields."""
    if isinstance(part, str):
        return part
    if isinstance(part, list) and depth < 4:
        return "".join(_flat(inner, depth + 1) for inner in part)
    if isinstance(part, dict) and depth < 4:
        fields = ("text", "thinking", "reasoning", "content", "refusal", "value")
        return next((_flat(part[key], depth + 1) for key in fields if part.get(key)), "")
    return ""


def _calls(message: dict[str, Any]) -> list[ToolCall]:
    """Return the tool calls of a message; the older form `function_call` is one."""
    calls: list[ToolCall] = []
    written = _list(message.get("tool_calls")) or _list(message.get("function_call"))
    for call in written[:MOST_CALLS]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        arguments = function.get("arguments", function.get("parameters"))
        if not isinstance(arguments, str):
            arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        calls.append(
            ToolCall(
                id=_clean(str(call.get("id") or f"call_{len(calls)}")),
                function=FunctionCall(
                    name=_clean(str(function.get("name") or "")).strip(), arguments=_clean(arguments)
                ),
            )
        )
    return calls


def _count(usage: Any, field: str) -> int:
    value = usage.get(field) if isinstance(usage, dict) else None
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return max(int(value), 0) if is_number and value is not None else 0


def _integers(value: Any) -> list[int] | None:
    is_list = isinstance(value, list) and all(type(item) is int for item in value)
    return value if is_list and value else None


def _logprobs(value: Any) -> list[float]:
    """Return the log-probabilities of the tokens; empty if one of them is absent or not finite."""
    content = value.get("content") if isinstance(value, dict) else None
    numbers = [token.get("logprob") for token in _list(content) if isinstance(token, dict)]
    finite = all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)
    return [float(number) for number in numbers if number is not None] if finite else []


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": call.type,
                "function": {"name": call.function.name, "arguments": _object_text(call.function.arguments)},
            }
            for call in message.tool_calls
        ]
    return plain | {key: value for key in ("tool_call_id", "name") if (value := getattr(message, key))}


def _object_text(arguments: str) -> str:
    """Return the JSON text of an object: strict servers decode the arguments of earlier calls."""
    value = read_arguments(arguments)
    return "{}" if value is None else arguments if arguments.lstrip().startswith("{") else json.dumps(value)
