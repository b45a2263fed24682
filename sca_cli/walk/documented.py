"""Values that a tool's documentation offers: examples, listed words, alphabets, dates and bounds.

The documentation is free text, so this reads the forms in which people write such values. Every value found here is
only a suggestion: the explorer calls the tool and keeps what the tool accepts.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from sca_cli.interfaces import Tool
from sca_cli.records import JSON

_QUOTED = re.compile(r"(?<!\w)(?:'([^'\n]{1,80})'|\"([^\"\n]{1,80})\")(?!\w)")
_WORD = r"[A-Z][\w.&/-]*(?: [A-Z][\w.&/-]*){0,3}"
_LISTED = re.compile(rf"(?<![\w.&/-])(?:{_WORD}, ){{2,}}(?:(?:and|or) )?{_WORD}")
_LETTERS = re.compile(r"\b(\w(?:, \w)+(?:,? (?:and|or) \w)?)\b")
_RANGE = re.compile(r"\b(\w)-(\w)\b")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.-]*\w)")
_AT_LEAST = re.compile(r"(?:at least|minimum(?: of)?|from|between) (-?\d[\d,]*(?:\.\d+)?)")
_AT_MOST = re.compile(r"(?:at most|maximum(?: of)?|up to|to|and) (-?\d[\d,]*(?:\.\d+)?)")
_MOST_DATES = 60  # chosen by hand


@dataclass(slots=True)
class Offer:
    """What the documentation says about the values of one parameter."""

    examples: list[JSON] = field(default_factory=list)
    """Values in the text: quoted texts, list entries, dates, and arguments of example calls."""
    alphabet: str = ""
    """Allowed characters, if the documentation lists them; otherwise ""."""
    low: float | None = None
    """Smallest number allowed."""
    high: float | None = None
    """Largest number allowed."""


def offer(tool: Tool, parameter: str) -> Offer:
    """Read what a tool's documentation offers for one parameter.

    Args:
        tool: its description and its parameters' descriptions are read.
        parameter: name of the parameter.
    """
    described = str(tool.parameters["properties"][parameter].get("description", ""))
    text = described or tool.description
    result = Offer(examples=quoted(text) + listed(text) + dates(text), alphabet=_alphabet(described))
    if least := _AT_LEAST.search(described):
        result.low = float(least[1].replace(",", ""))
    if most := _AT_MOST.search(described):
        result.high = float(most[1].replace(",", ""))
    return result


def quoted(text: str) -> list[JSON]:
    """Return the texts in quotation marks."""
    return [single or double for single, double in _QUOTED.findall(text)]


def listed(text: str) -> list[JSON]:
    """Return the items of the enumerations in a text: three or more capitalised words or names, separated by commas."""
    flat = re.sub(r"\s+", " ", text)
    lists = [re.split(r", (?:and |or )?", match[0]) for match in _LISTED.finditer(flat)]
    return [word.rstrip(".-/") for words in lists for word in words if len(word) > 1]


def dates(text: str) -> list[JSON]:
    """Return the ISO dates in a text. If there are exactly two, return all days between them too, 61 days at most."""
    days = sorted({date.fromisoformat(day) for day in _DATE.findall(text) if _is_date(day)})
    if len(days) == 2:
        span = min((days[1] - days[0]).days, _MOST_DATES)
        days = [days[0] + timedelta(days=number) for number in range(span + 1)]
    return [day.isoformat() for day in days]


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def numbers(text: str) -> list[JSON]:
    """Return the numbers in a text that are not part of a word."""
    return [float(number) if "." in number else int(number) for number in _NUMBER.findall(text)]


def _alphabet(text: str) -> str:
    """Return the characters of an enumeration such as "letters A, C, G, T" or "digits 0-9, a-f"; "" for none."""
    letters = "".join(re.findall(r"\b\w\b", " ".join(_LETTERS.findall(text))))
    ranges = ["".join(map(chr, range(ord(low), ord(high) + 1))) for low, high in _RANGE.findall(text)]
    return "".join(dict.fromkeys(itertools.chain(letters, *ranges)))


def example_calls(tool: Tool, text: str) -> Iterator[dict[str, JSON]]:
    """Yield the arguments of the example calls in a text, by parameter; those of `*args` as a list.

    Args:
        tool: the called tool.
        text: its documentation, or a refusal. A list of values after "such as" counts as a call of a tool whose only
            parameter is `*args`.
    """
    names = list(tool.parameters["properties"])
    star = tool.variadic()
    call_texts = re.findall(rf"\b{re.escape(tool.name)}\([^()\n]*\)", text)
    if names == [star]:
        call_texts += [f"{tool.name}({values})" for values in re.findall(r"such as ([^\n]*,[^\n.;]*)", text)]
    for call_text in call_texts:
        try:
            call = ast.parse(call_text, mode="eval").body
            assert isinstance(call, ast.Call)
            values = [ast.literal_eval(argument) for argument in call.args]
            named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
        except (SyntaxError, ValueError):
            continue
        plain = [name for name in names if name != star]
        arguments = dict(zip(plain, values, strict=False)) | named
        if star:
            arguments[star] = values[len(plain) :]
        if (values or named) and set(arguments) <= set(names):
            yield arguments
