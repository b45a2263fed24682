"""Choose what a customer asks for: a field of the record that her request is about."""

import random
import re
from dataclasses import dataclass

from sca_cli.methods.walk.knowledge import Write, is_opaque
from sca_cli.methods.walk.lookups import Program
from sca_cli.methods.walk.words import Kind, Request, label_of
from sca_cli.records import JSON
from sca_cli.walk.memory import has_data_keys

_MOST_CHARS = 40
"""Longest text that is an answer. Chosen by hand."""
_YES_OR_NO = ("yes", "no")
_UNCLEAR = {"at", "by", "on", "in", "of", "id", "status"}
"""Last words of a label that do not say what the value is, or whose value every request about a record changes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A value that the customer asks for."""

    value: JSON
    code: str
    """The value as an expression of the solution."""
    words: str
    """What it is: "the flight type of the reservation"."""


def of_record(
    program: Program, write: Write, request: Request, draw: random.Random, *, rule: str = "", result: JSON = None
) -> Answer | None:
    """Return a field of the record that a write names, as it was before; None if it has none.

    Args:
        program: the solution; it looks the record up.
        write: names the record.
        request: what the customer says; values that she says are not asked for.
        draw: draws the field.
        rule: a field whose name or value this text contains is preferred.
        result: of the write; a field that it changed is not asked for.
    """
    options: list[tuple[bool, Answer]] = []
    for call, variable in program.variables.items():
        record, arguments = program.knowledge.reads[call].result, list(program.knowledge.arguments[call].values())
        if not isinstance(record, dict) or has_data_keys(record):
            continue
        if len(arguments) != 1 or arguments[0] not in write.arguments.values():
            continue
        if program.knowledge.is_introduced(arguments[0]):
            continue
        thing = _thing(write, request, arguments[0])
        after = result if isinstance(result, dict) else {}
        for name, value in record.items():
            if is_answer(name, value) and after.get(name, value) == value and str(value).lower() not in _said(request):
                fits = bool(rule) and (str(value).lower() in rule.lower() or label_of(name) in rule.lower())
                words = f"the {label_of(name)} of {thing}{_form(value)}"
                options.append((fits, Answer(value, f"{variable}[{name!r}]", words)))
    best = [answer for fits, answer in options if fits] or [answer for _, answer in options]
    return draw.choice(best) if best else None


def _thing(write: Write, request: Request, value: JSON) -> str:
    """Return what the customer calls the record that a write names by this value."""
    label = next(label_of(name) for name, each in write.arguments.items() if each == value)
    said = next((detail for detail in request.details if detail.label == label and detail.kind == Kind.NAME), None)
    return said.words if said else f"the {label}"


def _form(value: JSON) -> str:
    """Return the form of an answer, if the question does not show it."""
    return " (yes or no)" if str(value).lower() in _YES_OR_NO else ""


def of_result(program: Program, result: JSON, write: Write, draw: random.Random) -> Answer | None:
    """Return a number that a write returned and that is in no record from before, such as a difference in price.

    The last write of the program is assigned to the variable `result`.
    """
    if not isinstance(result, dict) or has_data_keys(result):
        return None
    before = [program.knowledge.reads[call].result for call in program.variables]
    known = {name for record in before if isinstance(record, dict) for name in record}
    options = [
        Answer(value, f"result[{name!r}]", f"the {label_of(name)}")
        for name, value in result.items()
        if name not in known and name not in write.arguments and is_answer(name, value) and not isinstance(value, str)
    ]
    if not options:
        return None
    program.writes[-1] = f"result = {program.writes[-1]}"
    return draw.choice(options)


def is_answer(name: str, value: JSON) -> bool:
    """Tell whether a customer can ask for a field by its name, and get a value that means something to her."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value in ("", 0):
        return False
    if not isinstance(value, str) and value < 0:  # people say a negative difference in two ways
        return False
    if set(label_of(name).split()[-1:]) & _UNCLEAR or is_opaque(value) or len(str(value)) > _MOST_CHARS:
        return False
    return not (isinstance(value, str) and re.search(r"_|\dT\d", value))


def _said(request: Request) -> str:
    return " ".join(detail.words for detail in request.details).lower()
