"""Write an instruction without a model: who the customer is, and sentences for each write.

The words come from the names of tools, parameters and fields, and from the values. The text contains every value that
the check needs, except those that a look-up determines. A model may paraphrase the text; `paraphrase.problem_of`
decides whether the paraphrase still says the same facts.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

_FIRST = ("I would like to {}.", "I want to {}.", "I need to {}.", "Please {}.", "Could you please {}?")
_NEXT = (
    "I also want to {}.",
    "I would like to {}, too.",
    "Also, please {}.",
    "And please {}.",
    "After that, please {}.",
)
_ORDERS = ("Please {}.", "Could you please {}?", "I would like you to {}.")
_NEXT_ORDERS = ("Also, please {}.", "And please {}.", "After that, please {}.", "I would also like you to {}.")
_USES: tuple[str, ...] = ("For the {label}, please use {words}.", "Please use {words} for the {label}.")
_CHANGED = ("The {label} should be {words}.", "I want the {label} to be {words}.")
_STATED: tuple[str, ...] = ("The {label} is {words}.",)
_EMPTY = {"id", "ids", "user", "customer", "all", "the"}
_PARTICLES = {"back", "up", "out", "off", "in", "on", "away", "down", "over"}
"""Words after a verb that are no noun: take back."""
_GIVES = {"send", "give", "issue", "grant", "offer"}
"""Verbs of what the desk does for the customer, not she herself."""
_MAKES = _GIVES | {"book", "buy", "create", "make", "open", "add", "write", "start", "register", "schedule", "place"}
"""Verbs whose object does not exist before."""
CHANGES = {"modify": "change", "update": "change", "edit": "change", "set": "set", "change": "change"}
"""Verbs after which "to" and the new value follow → a word that customers use."""
_JOINED = " and "
_ONE = re.compile(r"^the ((?:[\w-]+ )*?)one\b(.*)$", re.DOTALL)
ONLY = "the only one I have"
UNCHANGED = "stay as they are"


class Kind(StrEnum):
    """What the words of a detail are."""

    ID = "an id"
    RECORD = "a record, named by its facts"
    NAME = "the name of a record, which a look-up takes"
    NUMBER = "a number"
    VALUE = "another value, or the fields of an object"


@dataclass(frozen=True, slots=True)
class Detail:
    """What the customer says of one parameter."""

    label: str
    words: str
    kind: Kind = Kind.VALUE


@dataclass(slots=True)
class Request:
    """What the customer asks for with one write."""

    tool: str
    details: list[Detail] = field(default_factory=list)
    """In the order of the parameters."""
    does: str = ""
    """The first sentence of the tool's documentation."""

    @property
    def verb(self) -> str:
        """The first word of the tool's name."""
        return _parts(self.tool)[0]


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


def joined(words: Sequence[str]) -> str:
    """Join the words that lead to one value: a kind, and the facts of one of that kind."""
    if len(words) > 1 and not words[-2].startswith("the ") and (match := _ONE.match(words[-1])):
        words = [*words[:-2], f"the {match[1]}{words[-2]}{match[2]}"]
    return ", ".join(words)


def instruction(
    introduction: str, requests: Sequence[Request], draw: random.Random, *, customer: bool, last: str = ""
) -> str:
    """Return the instruction.

    Args:
        introduction: the sentence in which the customer says who she is, or "".
        requests: what she wants, in order.
        draw: draws the forms of the sentences.
        customer: the records are the customer's own.
        last: the sentence at the end, or "".
    """
    sentences = [introduction] if introduction else []
    for place, request in enumerate(requests):
        speaker = _Speaker(draw, "my" if customer else "the")
        asks_desk = not customer or request.verb in _GIVES
        forms = (_NEXT_ORDERS if asks_desk else _NEXT) if place else (_ORDERS if asks_desk else _FIRST)
        main, others = speaker.said(request)
        sentences += [draw.choice(forms).format(main), *others]
    return " ".join([*sentences, *([last] if last else [])])


def _parts(tool: str) -> tuple[str, list[str]]:
    """Return the verb of a tool's name, with its particles, and the nouns."""
    verb, *rest = [word for word in re.split(r"[_\W]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", tool).lower()) if word]
    while rest and rest[0] in _PARTICLES:
        verb = f"{verb} {rest.pop(0)}"
    return verb, [word for word in rest if word not in _EMPTY]


@dataclass(slots=True)
class _Speaker:
    """Says requests.

    Args:
        draw: draws the forms of the sentences.
        whose: "my" or "the".
    """

    draw: random.Random
    whose: str

    def said(self, request: Request) -> tuple[str, list[str]]:
        """Return a request as the end of a main sentence, "cancel my order #W12", and the sentences after it."""
        verb, nouns = _parts(request.tool)
        left = list(request.details)
        record = self._taken(left, nouns, {Kind.ID, Kind.RECORD})
        place = _place(nouns, record) if record else -1
        tail = nouns[place + 1 :] if record else nouns
        if any(detail.words == UNCHANGED and _place(tail, detail) >= 0 for detail in left):
            tail, nouns = [], nouns[: place + 1]
        if record and not tail:
            thing = self._named(nouns, record)
        elif record:
            part = self._taken(left, tail, {Kind.RECORD})
            inner = part.words if part and not _ONE.match(part.words) else " ".join(tail)
            inner = inner if inner.startswith("the ") else f"the {inner}"
            thing = f"{inner} {'from' if part else 'of'} {self._named(nouns[: place + 1], record)}"
        elif nouns and verb in CHANGES and (name := next((each for each in left if each.kind == Kind.NAME), None)):
            left.remove(name)
            thing = f"the {' '.join(nouns)} of {name.words}"
        elif nouns:
            thing = f"{'a' if verb in _MAKES else self.whose} {' '.join(nouns)}"
        elif clause := _clause(verb, request.does):
            return clause, self._sentences(verb, left)
        else:
            first = next((detail for detail in left if detail.kind != Kind.NUMBER), None)
            if first:
                left.remove(first)
            thing = self._named([first.label], first) if first else ""
        if record and verb in CHANGES and (method := self._method(left, tail)):
            left.remove(method)
            words = re.sub(r"^the (?!only|one\b)", f"{self.whose} ", method.words)
            thing = f"the {method.label} of {self._named(nouns[: place + 1], record)} to {words}"
        elif verb in CHANGES and (target := self._taken(left, tail[-1:], {Kind.VALUE, Kind.NUMBER})):
            thing = f"{thing} to {target.words}"
        main = f"{self.draw.choice([verb, CHANGES.get(verb, verb)])} {'me ' if verb in _GIVES else ''}{thing}"
        return main.strip(), self._sentences(verb, left)

    @staticmethod
    def _method(details: list[Detail], nouns: list[str]) -> Detail | None:
        """Return the detail whose label begins with these nouns, such as "payment method" for "payment"."""
        begin = " ".join(nouns)
        for detail in details:
            says_it = detail.kind in (Kind.ID, Kind.RECORD) and detail.words != ONLY
            if begin and says_it and detail.label.startswith(begin) and not detail.words.startswith("as in"):
                return detail
        return None

    @staticmethod
    def _taken(details: list[Detail], nouns: list[str], kinds: set[Kind]) -> Detail | None:
        """Remove and return the first detail whose label is one of these nouns."""
        for detail in details:
            if detail.kind in kinds and _place(nouns, detail) >= 0:
                details.remove(detail)
                return detail
        return None

    def _named(self, nouns: list[str], detail: Detail) -> str:
        """Return a record as a noun with what names it."""
        noun, words = " ".join(nouns), detail.words
        if detail.kind == Kind.ID:
            return f"{self.whose} {noun} {words}"
        if words == ONLY:
            return f"the only {noun} I have"
        if match := _ONE.match(words):
            adjectives = " ".join(word for word in match[1].split() if word not in nouns)
            return f"{self.whose} {adjectives} {noun}{match[2]}".replace("  ", " ")
        if words.startswith("the "):
            return words
        return f"the {noun} {words}" if detail.kind == Kind.RECORD else f"the {noun} {words!r}"

    def _sentences(self, verb: str, details: Sequence[Detail]) -> list[str]:
        counts = [detail for detail in details if detail.kind == Kind.NUMBER and detail.label.endswith("s")]
        sentences = []
        if counts:
            sentences.append(f"I want {listed([_counted(detail) for detail in counts])}.")
        for detail in details:
            if detail in counts:
                continue
            words = detail.words
            if words == UNCHANGED:
                sentences.append(f"The {detail.label} should {UNCHANGED}.")
                continue
            if words.startswith("as in "):
                sentences.append(f"Please use the same {detail.label} {words}.")
                continue
            if detail.kind in (Kind.ID, Kind.RECORD) and not detail.label.startswith("new "):
                forms = _USES
                words = re.sub(r"^the (?!only|one\b)", f"{self.whose} ", words)
            else:
                changed = detail.label.startswith("new ") or verb in CHANGES or verb in _MAKES
                is_stated = detail.kind != Kind.NUMBER and (not changed or detail.label == "reason")
                forms = _STATED if is_stated else _CHANGED
                words = f'"{words}"' if is_stated and " " in words else words
            sentences.append(self.draw.choice(forms).format(label=detail.label, words=words))
        return sentences


def _clause(verb: str, does: str) -> str:
    """Return the first clause of a documentation, "lend a book to a member", if it begins with the verb."""
    clause = re.split(r"[.;:]", does.strip())[0].strip()
    first = clause.split()[:1]
    return f"{first[0].lower()}{clause[len(first[0]) :]}" if first and first[0].lower() == verb.split()[0] else ""


def _counted(detail: Detail) -> str:
    label = detail.label.removesuffix("s") if detail.words == "1" else detail.label
    return f"{detail.words} {label}"


def _place(nouns: Sequence[str], detail: Detail) -> int:
    """Return the index of the last word of a detail's label in the nouns, if they contain all its words; else -1."""
    singular = [word.removesuffix("s") for word in nouns]
    label = [word.removesuffix("s") for word in detail.label.split()]
    return singular.index(label[-1]) if label and set(label) <= set(singular) else -1
