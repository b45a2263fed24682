"""Messages ↔ actions: what a reply asks for, and how an observation is put to the model. No I/O."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from sca_cli.interfaces import Completion, Tool
from sca_cli.records import JSON, FunctionCall, Message, Observation, ToolCall

CODE_STOP = ("\n```\n",)
"""Ends a reply that acts by code: what a model writes after its code it has not seen happen."""

TEXT_STOP = ("End Action",)
"""Ends a reply that acts by text."""

_FENCE = re.compile(r"```[ \t]*([^\s`]*)[^\n`]*\n(.*?)(?:\n?```|\Z)", re.DOTALL)
_PYTHON = ("", "python", "py", "python3")
_TAGGED_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.DOTALL)


def code_blocks(text: str) -> list[str]:
    """Return the Python code blocks of a reply; one whose end is missing counts as ended."""
    return [code.strip("\n") for language, code in _FENCE.findall(text) if code.strip() and language.lower() in _PYTHON]


@dataclass(frozen=True, slots=True)
class JsonCall:
    """A tool call as it was asked for."""

    call: ToolCall
    arguments: dict[str, JSON] | None
    """None where the text is not a JSON object."""


def json_calls(completion: Completion) -> list[JsonCall]:
    """Return the tool calls of a reply: the engine's own, else `<tool_call>` blocks in the text."""
    calls = completion.tool_calls or [
        _tagged_call(text, index) for index, text in enumerate(_TAGGED_CALL.findall(completion.text))
    ]
    return [JsonCall(call, _arguments(call.function.arguments)) for call in calls]


def _tagged_call(text: str, index: int) -> ToolCall:
    try:
        value = msgspec.json.decode(text)
        name, arguments = str(value["name"]), msgspec.json.encode(value.get("arguments", {})).decode()
    except (msgspec.MsgspecError, TypeError, KeyError, AttributeError, RecursionError):
        name, arguments = "", "null"
    return ToolCall(id=f"call_{index}", function=FunctionCall(name=name, arguments=arguments))


def _arguments(text: str) -> dict[str, JSON] | None:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, JSON])
    except (msgspec.MsgspecError, RecursionError):
        return None


def text_step(text: str) -> tuple[Literal["action", "answer", ""], str]:
    """Return what a reply in M3ToolEval's text protocol holds: the first `Action: … End Action` or `Answer: …`.

    Only what stands before the next of these words counts, as in the benchmark.
    """
    match = re.search(r"(Action|Answer):(.*?)(?=End Action|Action:|Answer:|\Z)", text, re.DOTALL)
    if match is None:
        return "", ""
    return ("answer" if match[1] == "Answer" else "action"), match[2].strip()


def text_call(text: str) -> tuple[str, list[JSON]]:
    """Return name and arguments of `name, argument, …` or `{"tool": name, "args": […]}`."""
    try:
        call = msgspec.json.decode(text, type=_TextCall)
    except (msgspec.MsgspecError, RecursionError):
        name, *arguments = (part.strip() for part in text.split(","))
        return name, [_number_or_text(argument) for argument in arguments if argument]
    return call.tool, call.args if isinstance(call.args, list) else [call.args]


class _TextCall(msgspec.Struct):
    tool: str
    args: JSON = []


def _number_or_text(text: str) -> JSON:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def positional(tool: Tool, arguments: dict[str, JSON]) -> tuple[list[JSON], dict[str, JSON]]:
    """Split named JSON arguments into positional and named ones: a `*args` parameter arrives as an array."""
    star = tool.variadic()
    if star and isinstance(values := arguments.get(star), list):
        named = {key: value for key, value in arguments.items() if key != star}
        leading = [named.pop(name) for name in tool.parameters["properties"] if name in named]
        return [*leading, *values], named
    return [], arguments


def tool_listing(tools: Sequence[Tool]) -> str:
    """Return tools as Python signatures with their documentation below, for a prompt.

    Not in the form of definitions: small models shown `def` write the functions again instead of calling them.
    """
    return "\n\n".join(f"{tool.signature}\n{_indent(tool.description)}" for tool in tools)


def tool_lines(tools: Sequence[Tool]) -> str:
    """Return tools as bare calls with the first line of their documentation, a line each.

    Without types: a signature with types looks like the head of a definition, and small models go on to write one.
    """
    return "\n".join(
        f"- {tool.name}({', '.join(tool.parameters['properties'])}): {tool.description.splitlines()[0]}"
        for tool in tools
    )


def tool_schemas(tools: Sequence[Tool]) -> str:
    """Return tools as JSON schemas, one a line, for models that call tools by JSON."""
    return "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        for tool in tools
    )


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def shortened(text: str, limit_chars: int) -> str:
    """Return the text, its middle left out and said so where it is longer than the limit."""
    if len(text) <= limit_chars:
        return text
    head, tail = limit_chars * 3 // 4, limit_chars // 4
    return f"{text[:head]}\n… [{len(text) - head - tail} characters left out] …\n{text[-tail:]}"


def observed_call(observation: Observation) -> str:
    """Return a call and its result as a line of a Python session."""
    arguments = [*map(repr, observation.args), *(f"{key}={value!r}" for key, value in observation.kwargs.items())]
    outcome = f"ToolError: {observation.error}" if observation.error else repr(observation.result)
    return f"{observation.tool}({', '.join(arguments)})  ->  {outcome}"


def code_observation(output: str, problem: str, limit_chars: int) -> Message:
    """Return what the model is told after its code ran."""
    parts = [shortened(output.rstrip("\n"), limit_chars)] if output.strip() else []
    parts += [problem] if problem else []
    return Message(role="user", content="Output:\n" + ("\n".join(parts) or "(nothing was printed)"))


NO_CODE = Message(
    role="user",
    content="Your reply holds no Python code block. Reply with one ```python block; "
    "call final_answer(value) in it when you have the answer.",
)
NO_ACTION = "Your reply holds neither 'Action: … End Action' nor 'Answer: …'. Reply with one of them."
NO_CALL = Message(
    role="user",
    content="Your reply holds no tool call. Reply with a <tool_call> block; "
    "call final_answer when you have the answer.",
)

_VALUE = "The customer has left. If the customer asked for a value, give that value alone, as you told it"
CLOSING = {
    "code": f"{_VALUE}: reply with a ```python block that calls final_answer(value).",
    "json": f"{_VALUE}: call final_answer.",
    "text": f"{_VALUE}: reply with 'Answer: …'.",
}
"""Asks an agent whose customer has left for the answer that it owes, by how it acts."""
