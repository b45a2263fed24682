"""Convert conversations to the server's JSON, and the server's JSON to completions."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sca_cli import Completion, FunctionCall, Message, ModelError, Sampling, Tool, ToolCall


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Reply(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Token(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Token] | None = None


class _Choice(msgspec.Struct):
    message: _Reply
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Response(msgspec.Struct):
    """The fields of a response that we read; a server may send more."""

    choices: list[_Choice]
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None


def request_of(
    name: str, messages: Sequence[Message], sampling: Sampling, seed: int, tools: Sequence[Tool]
) -> dict[str, Any]:
    """Return the body of a chat request, with all optional fields that a server may support."""
    request: dict[str, Any] = {
        "model": name,
        "messages": [_plain(message) for message in messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "max_completion_tokens": sampling.max_tokens,
        "seed": seed,
        "logprobs": True,
        "return_token_ids": True,
    }
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


def completion_of(response: object) -> Completion:
    """Convert a response, which is decoded JSON, to a completion.

    Raises:
        ModelError: the response is not a chat completion.
    """
    try:
        parsed = msgspec.convert(response, _Response)
        choice = parsed.choices[0]
    except (msgspec.ValidationError, IndexError) as error:
        raise ModelError(f"the server's reply is not a chat completion: {error}") from error
    text = choice.message.content or ""
    if isinstance(choice.stop_reason, str) and not text.endswith(choice.stop_reason):
        text += choice.stop_reason  # vLLM reports the stop text that matched
    calls = [
        ToolCall(
            id=call.id or f"call_{index}",
            function=FunctionCall(name=call.function.name, arguments=call.function.arguments),
        )
        for index, call in enumerate(choice.message.tool_calls or [])
    ]
    usage = parsed.usage or _Usage()
    logprobs = [token.logprob for token in (choice.logprobs and choice.logprobs.content) or []]
    return Completion(
        text,
        "tool_calls" if calls else "length" if choice.finish_reason == "length" else "stop",
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        tool_calls=calls,
        prompt_ids=parsed.prompt_token_ids,
        token_ids=choice.token_ids,
        logprobs=logprobs if choice.token_ids and len(logprobs) == len(choice.token_ids) else None,
    )


def _plain(message: Message) -> dict[str, Any]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": call.id,
                "type": call.type,
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
    return plain | {key: value for key in ("tool_call_id", "name") if (value := getattr(message, key))}
