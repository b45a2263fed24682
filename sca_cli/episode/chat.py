"""Read actions from a model's replies, and write observations as messages to the model. Nothing is run here."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from sca_cli.analysis.calls import call_text
from sca_cli.interfaces import Completion, Tool
from sca_cli.records import JSON, FunctionCall, Message, Observation, ToolCall
from sca_cli.toolkit.replies import read_arguments, read_call, tagged_calls, without_reasoning
from sca_cli.toolkit.schemas import with_descriptions

CODE_STOP = ("\n```\n",)
"""Stop texts for a reply that acts by code. Text after the code block would only guess the code's output."""

TEXT_STOP = ("End Action",)
"""Stop texts for a reply that acts by text."""

_FENCE = re.compile(r"```([^\n`]*)\n")
"""The beginning of a code block. A pattern for the whole block would take quadratic time on some replies."""
_PYTHON = ("", "python", "py", "python3")


def code_blocks(text: str) -> list[str]:
    """Return the Python code blocks of a reply. A block without an end extends to the end of the reply."""
    blocks = []
    place = 0
    while fence := _FENCE.search(text, place):
        end = text.find("```", fence.end())
        end, place = (len(text), len(text)) if end < 0 else (end, end + 3)
        code, language = text[fence.end() : end], [*fence[1].split(), ""][0].lower()
        if code.strip() and language in _PYTHON:
            blocks.append(code.strip("\n"))
    return blocks


@dataclass(frozen=True, slots=True)
class JsonCall:
    """A tool call that the model requested."""

    call: ToolCall
    arguments: dict[str, JSON] | None
    """The decoded arguments; None if their text is not a JSON object."""


def json_calls(completion: Completion) -> list[JsonCall]:
    """Return the tool calls of a reply, as the model wrote them outside its reasoning.

    They are those that the engine parsed; else the `<tool_call>` blocks; else the whole text, if it is a call.
    """
    if completion.tool_calls:
        return [JsonCall(call, read_arguments(call.function.arguments)) for call in completion.tool_calls]
    text = without_reasoning(completion.text).strip()
    contents = [content for _, _, content in tagged_calls(text)]
    if not contents:
        bare = text.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
        contents = [bare] if bare.startswith("{") and read_call(bare) else []
    return [_written_call(content, index) for index, content in enumerate(contents)]


def _written_call(text: str, index: int) -> JsonCall:
    name, arguments = read_call(text) or ("", None)
    written = "{}" if arguments is None else msgspec.json.encode(arguments).decode()
    return JsonCall(ToolCall(id=f"call_{index}", function=FunctionCall(name=name, arguments=written)), arguments)


def text_step(text: str) -> tuple[Literal["action", "answer", ""], str]:
    """Return kind and text of the first `Action: … End Action` or `Answer: …` in a reply (M3ToolEval's text protocol).

    As in the benchmark, the text ends before the next of these words. A reply with neither returns ("", "").
    """
    match = re.search(r"(Action|Answer):(.*?)(?=End Action|Action:|Answer:|\Z)", text, re.DOTALL)
    if match is None:
        return "", ""
    return ("answer" if match[1] == "Answer" else "action"), match[2].strip()


def text_call(text: str) -> tuple[str, list[JSON]]:
    """Parse an action, `name, argument, …` or `{"tool": name, "args": […]}`; return the tool's name and arguments."""
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
            number = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else text
    return text


def positional(tool: Tool, arguments: dict[str, JSON]) -> tuple[list[JSON], dict[str, JSON]]:
    """Split named JSON arguments into positional and named ones, because a `*args` parameter arrives as an array.

    Returns:
        Positional and named arguments. Without a `*args` parameter, all arguments are named.
    """
    star = tool.variadic()
    if star and isinstance(values := arguments.get(star), list):
        named = {key: value for key, value in arguments.items() if key != star}
        names = list(tool.parameters["properties"])
        leading = [named.pop(name) for name in names[: names.index(star)] if name in named]
        return [*leading, *values], named
    return [], arguments


def tool_listing(tools: Sequence[Tool]) -> str:
    """Return the tools for a prompt: Python signatures, each with its documentation below.

    The signatures have no `def`, because small models that see `def` define the functions again instead of calling
    them. Descriptions and allowed values of parameters that only the schema has are appended.
    """
    return "\n\n".join(f"{tool.signature}\n{_indent(_documentation(tool))}" for tool in tools)


def _documentation(tool: Tool) -> str:
    return with_descriptions(tool.description, tool.signature, tool.parameters["properties"])


def tool_lines(tools: Sequence[Tool]) -> str:
    """Return the tools for a prompt, one per line: a call with parameter names, and the first line of documentation.

    The calls have no types, because a signature with types looks like a definition, and small models then write one.
    """
    return "\n".join(
        f"- {tool.name}({', '.join(tool.parameters['properties'])}): {tool.description.splitlines()[0]}"
        for tool in tools
    )


def tool_schemas(tools: Sequence[Tool]) -> str:
    """Return the tools for a prompt as JSON schemas, one per line, for models that call tools by JSON."""
    return "\n".join(
        json.dumps({"name": tool.name, "description": tool.description, "parameters": tool.parameters})
        for tool in tools
    )


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def shortened(text: str, limit_chars: int | None) -> str:
    """Return the text. If it is longer than the limit, a note about the left-out characters replaces its middle."""
    if limit_chars is None or len(text) <= limit_chars:
        return text
    head, tail = limit_chars * 3 // 4, limit_chars // 4
    return f"{text[:head]}\n… [{len(text) - head - tail} characters left out] …\n{text[-tail:]}"


def observed_call(observation: Observation) -> str:
    """Return a call and its result as a line of a Python session."""
    outcome = f"ToolError: {observation.error}" if observation.error else repr(observation.result)
    return f"{call_text(observation.tool, observation.args, observation.kwargs)}  ->  {outcome}"


def code_observation(output: str, problem: str, limit_chars: int | None) -> Message:
    """Return the message to the model after its code ran.

    Args:
        output: text that the code printed.
        problem: error message; "" if the code ran to its end.
        limit_chars: longest output that is shown whole; None shows all.
    """
    parts = [shortened(output.rstrip("\n"), limit_chars)] if output.strip() else []
    parts += [problem] if problem else []
    return Message(role="user", content="Output:\n" + ("\n".join(parts) or "(nothing was printed)"))


class Words(msgspec.Struct, frozen=True):
    """Texts to a model whose reply, call or answer cannot be used. A suite may have those of its benchmark.

    `{tool}`, `{arguments}` (a tuple) and `{reason}` are replaced by the values of the call.
    """

    no_action: str = "Your reply holds neither 'Action: … End Action' nor 'Answer: …'. Reply with one of them."
    unknown_tool: str = "Error: there is no tool '{tool}'"
    refused: str = "Error: {reason}"
    wrong_answer: str = "That answer is wrong. Try again."


WORDS = Words()


NO_CODE = Message(
    role="user",
    content="Your reply holds no Python code block. Reply with one ```python block; "
    "call final_answer(value) in it when you have the answer.",
)
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
"""How a model acts → request for the answer, after the customer left."""
