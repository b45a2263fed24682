"""Write an instruction without a model: who the customer is, and a sentence for each write.

The text contains every value that the check needs, except those that a look-up determines. A model may paraphrase the
text; `paraphrase_problem` decides whether the paraphrase still says the same facts.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_FIRST = ("Please {}.", "I would like you to {}.", "I want you to {}.", "Could you please {}?")
_NEXT = ("Also, please {}.", "And please {}.", "I also want you to {}.", "After that, please {}.")
_EMPTY = {"id", "ids", "user", "all"}
_PARTICLES = {"back", "up", "out", "off", "in", "on", "away", "down", "over"}
"""Words after a verb that are no noun: take back."""
_JOINED = " and "
_FACT = re.compile(r"[#\w@.'/-]*[\d@#][#\w@.'/-]*\w|\d")


@dataclass(slots=True)
class Request:
    """What the customer asks for with one write."""

    tool: str
    details: list[tuple[str, str]] = field(default_factory=list)
    """(label, words) of what she says, in the order of the parameters."""


def label_of(parameter: str, *, several: bool = False) -> str:
    """Return a parameter's name in words, without "id"."""
    words = [word for word in re.split(r"[_\W]+", parameter.lower()) if word not in ("id", "ids", "")]
    label = " ".join(words) or parameter
    if several and not label.endswith("s"):
        return f"{label}s"
    return label


def listed(words: Sequence[str]) -> str:
    """Join the words of the items of a list."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + _JOINED + words[-1]


def instruction(introduction: str, requests: Sequence[Request], draw: random.Random, *, customer: bool) -> str:
    """Return the instruction.

    Args:
        introduction: the sentence in which the customer says who she is, or "".
        requests: what she wants, in order.
        draw: draws the forms of the sentences.
        customer: the records are the customer's own.
    """
    sentences = [introduction] if introduction else []
    for place, request in enumerate(requests):
        verb, _, rest = request.tool.lower().replace("-", "_").partition("_")
        noun = " ".join(word for word in rest.split("_") if word not in _EMPTY)
        of_whom = "" if not noun or noun in _PARTICLES else "my " if customer else "the "
        text = f"{verb} {of_whom}{noun}".strip()
        if request.details:
            text += ": " + "; ".join(f"{label}: {words}" if label else words for label, words in request.details)
        sentences.append(draw.choice(_NEXT if place else _FIRST).format(text))
    return " ".join(sentences)


def facts_of(text: str) -> set[str]:
    """Return the words of a text that must be the same in a paraphrase: names, and words with a digit, @ or #."""
    names = re.findall(r"(?<![.!?:] )(?<!^)\b[A-Z][\w'-]+", text)
    return {fact.lower() for fact in (*_FACT.findall(text), *names)}


def paraphrase_problem(text: str, original: str, requests: Sequence[Request]) -> str:
    """Return why a paraphrase does not say the same facts, or ""."""
    lower = re.sub(r"\s+", " ", text.lower())
    for request in requests:
        for _, words in request.details:
            for part in re.split(r", | and |; ", words):
                if part.lower() not in lower:
                    return f"leaves out {part[:40]!r}"
    if missing := sorted(facts_of(original) - facts_of(text)):
        missing = [fact for fact in missing if fact not in lower]
        if missing:
            return f"leaves out {missing[0]!r}"
    if added := sorted(fact for fact in facts_of(text) if fact not in original.lower()):
        return f"adds {added[0]!r}"
    if "_" in re.sub(r"\S*\d\S*", "", text):
        return "names a tool"
    return ""
