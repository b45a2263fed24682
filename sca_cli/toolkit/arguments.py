"""Check the arguments that a model sends to a tool: return a value of the right type, or raise a helpful `ToolError`.

Bounds keep every call fast and every result finite. Messages do not contain a number that is out of bounds, because
Python does not convert an integer of thousands of digits to text.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from sca_cli.errors import ToolError

MAX_TEXT = 10_000
"""Maximum number of characters in a text argument; chosen by hand."""
MAX_NUMBER = 1e15
"""Largest magnitude of a number argument; floats represent all whole numbers up to it exactly."""
MAX_VALUES = 1_000
"""Maximum number of arguments of a tool with `*args`; chosen by hand."""

_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def kind(value: object) -> str:
    """Return the JSON name of a value's type, with its article."""
    return _KINDS.get(type(value), type(value).__name__)


def text(name: str, value: Any, most: int = MAX_TEXT) -> str:
    """Return a string argument of at most `most` characters.

    Raises:
        ToolError: not a string, too long, or it contains half a surrogate pair, which JSON readers reject.
    """
    if not isinstance(value, str):
        raise ToolError(f"{name} must be a string, not {kind(value)}")
    if len(value) > most:
        raise ToolError(f"{name} has {len(value)} characters; at most {most} are taken")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ToolError(f"{name} holds half a surrogate pair, which is no character")
    return value


def number(name: str, value: Any, least: float | None = None) -> float:
    """Return a finite number argument unchanged.

    Raises:
        ToolError: not a number (a boolean does not count), below `least`, or its magnitude exceeds `MAX_NUMBER`.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"{name} must be a number, not {kind(value)}")
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # NaN fails this too
        raise ToolError(f"{name} must be a finite number between -1e15 and 1e15")
    if least is not None and value < least:
        raise ToolError(f"{name} must be at least {least:g}, not {value}")
    return value


def whole(name: str, value: Any, least: int, most: int) -> int:
    """Return a whole-number argument in `least..most`.

    Raises:
        ToolError: not a whole number, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ToolError(f"{name} must be a whole number, not {kind(value)}")
    if not least <= value <= most:
        raise ToolError(f"{name} must be between {least} and {most}")
    return value


def numbers(values: Sequence[Any]) -> list[float]:
    """Return a list of 1 to `MAX_VALUES` numbers.

    Raises:
        ToolError: no value, too many values, or one of them is not a number.
    """
    if not values:
        raise ToolError("give at least one number")
    if len(values) > MAX_VALUES:
        raise ToolError(f"at most {MAX_VALUES} numbers are taken")
    if isinstance(values[0], list):
        raise ToolError("give the numbers one by one, separated by commas, not as a list")
    return [number(f"argument {place}", value) for place, value in enumerate(values, start=1)]


def one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return the known word that equals a string argument; case and outer spaces do not matter.

    Raises:
        ToolError: not a string, or unknown; the message lists the most similar word and all known words.
    """
    words = {word.casefold(): word for word in known}
    word = text(name, value, most=100).strip()
    if word.casefold() in words:
        return words[word.casefold()]
    near = difflib.get_close_matches(word.casefold(), words, n=1)
    guess = f"did you mean '{words[near[0]]}'? " if near else ""
    raise ToolError(f"unknown {name} '{word}'; {guess}known: {', '.join(words.values())}")
