"""Read the reply of a model: the text outside its reasoning, where a stop text ends it, tool calls written as JSON.

A reply is untrusted and can be long, so each function takes time linear in its length.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

MOST_CALLS = 64
"""Most tool calls of one reply that are read. Chosen by hand."""

_REASONING = re.compile(
    r"(?P<close></(?:think|thinking|thought|reasoning)>|\[/THINK\])"
    r"|^[ \t]*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\])",
    re.IGNORECASE | re.MULTILINE,
)
"""Tags around reasoning. One that opens it begins a line, so that prose may mention the tag."""


def _outside_reasoning(text: str) -> list[tuple[int, int]]:
    """Return start and end of each part of a reply that is not reasoning."""
    parts: list[tuple[int, int]] = []
    start, inside = 0, False
    for tag in _REASONING.finditer(text):
        if tag["close"]:
            if not inside:
                parts.clear()  # the chat template opened the reasoning, before the reply
            start, inside = tag.end(), False
        elif not inside:
            parts.append((start, tag.start()))
            inside = True
    return parts if inside else [*parts, (start, len(text))]


def without_reasoning(text: str) -> str:
    """Return a reply without its reasoning, `<think>…</think>`.

    Reasoning without a beginning was opened by the chat template; reasoning without an end was cut off.
    """
    return "".join(text[start:end] for start, end in _outside_reasoning(text))


def ends_in_reasoning(text: str) -> bool:
    """Return whether a reply ends before its reasoning does."""
    parts = _outside_reasoning(text)
    return not parts or parts[-1][1] != len(text)


def find_stop(text: str, stops: Sequence[str]) -> int:
    """Return where a reply ends by its earliest stop text (which is kept) outside the reasoning, or -1."""
    for start, end in _outside_reasoning(text):
        places = [place + len(stop) for stop in stops if (place := text.find(stop, start, end)) >= 0]
        if places:
            return min(places)
    return -1


def tagged_calls(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and content of the first `MOST_CALLS` blocks `<tool_call>…</tool_call>`.

    A block without an end extends to the next one.
    """
    opening, closing = "<tool_call>", "</tool_call>"
    start = text.find(opening)
    for _ in range(MOST_CALLS):
        if start < 0:
            return
        inner = start + len(opening)
        following = text.find(opening, inner)
        limit = following if following >= 0 else len(text)
        end = text.find(closing, inner, limit)
        yield start, (end + len(closing) if end >= 0 else limit), text[inner : end if end >= 0 else limit].strip()
        start = following


def read_call(text: str) -> tuple[str, dict[str, Any] | None] | None:
    """Return name and arguments of a call written as JSON, or None if the text is no such call.

    The forms that models write are accepted: `parameters` for `arguments`, and `{"function": {…}}` around both.

    Returns:
        The arguments are None if they are not an object, see `read_arguments`.
    """
    value = _decoded(text)
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    return value["name"].strip(), read_arguments(value.get("arguments", value.get("parameters")))


def read_arguments(value: Any) -> dict[str, Any] | None:
    """Return the arguments of a call as an object; None if they are not one.

    Absent arguments are an empty object. JSON text is decoded, also if it was encoded twice.
    """
    for _ in range(3):
        if value in (None, "", "null"):
            return {}
        if not isinstance(value, str):
            break
        value = _decoded(value) or 0
    return value if isinstance(value, dict) else None


def _decoded(text: str) -> Any:
    """Return the value of JSON text; None if it is not JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return None
