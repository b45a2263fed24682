"""What makes a question good, as far as its text tells: every fact is named, nothing is given away."""

import re
from collections.abc import Iterable

from sca_cli.analysis import source
from sca_cli.interfaces import Tool
from sca_cli.records import JSON

FACTS_TO_CHOOSE_FROM = 3
"""An answer that is one of so many given values (a minimum) is not given away."""

_MAX_ANSWER_CHARS = 300
_INSTRUCTION_CHARS = (20, 800)
_STATEMENT = r"(the|a|an|it|this|that|these|those|there|your|my|we|i|if|given|in|on|for|with|of|among)\b|\W*\d"
"""How a text without a question mark begins that states something; a request begins with a verb."""

_PREDICATE = r"(?<!that)(?<!which)(?<!who)(?<!what) (is|are|was|were) "
"""What a phrase has that says something of a thing instead of naming it."""

_STEM = 4
"""Letters by which words are told alike: convert, conversion."""
_HOLLOW = {
    *("all", "and", "are", "can", "each", "for", "from", "given", "has", "have", "into", "its", "list", "not", "one"),
    *("return", "such", "tell", "that", "the", "they", "this", "two", "what", "which", "with", "you", "your"),
}


class NotWorthAsking(ValueError):
    """A question for this answer would be none; the message says why."""


def written(reply: str) -> str:
    """Return what a reply says, without the blanks and quotation marks around it."""
    return reply.strip().strip('"').strip()


def worth_asking(answer: JSON, program: str) -> JSON:
    """Return the answer of a program, if it is one to be asked for.

    Raises:
        NotWorthAsking: it is trivial, too long, or stands in the program.
    """
    if answer in (None, "", 0, [], {}) or isinstance(answer, bool):
        raise NotWorthAsking("trivial answer")
    facts = source.literals(source.parse(program))
    told = answer in facts or str(answer) in map(str, facts)  # calculator('15.0') is 15.0
    if told and len(facts) < FACTS_TO_CHOOSE_FROM:
        raise NotWorthAsking("answer stands in the program")
    if len(repr(answer)) > _MAX_ANSWER_CHARS:
        raise NotWorthAsking("answer too long")
    return answer


def instruction_problem(text: str, facts: list[JSON], answer: JSON, tool_names: list[str]) -> str:
    """Say what is wrong with an instruction, or return "".

    Args:
        facts: the literals of the program: each must stand in the text.
        answer: must not stand in the text.
        tool_names: those with an underscore must not stand in the text (others are everyday words).
    """
    shortest, longest = _INSTRUCTION_CHARS
    if not shortest <= len(text) <= longest:
        return "too short or too long"
    if "```" in text or "final_answer" in text or re.search(r"^\s*(def|import|from)\s", text, re.MULTILINE):
        return "holds code"
    if "?" not in text and re.match(_STATEMENT, text, re.IGNORECASE):
        return "asks nothing"
    if any("_" in name and name in text for name in tool_names):
        return "names a tool"
    if not all(_stands_in(fact, text) for fact in facts):
        return "leaves a fact out"
    if answer not in facts and _can_stand_in_text(answer) and _stands_in(answer, text):
        return "gives the answer away"
    return ""


def _can_stand_in_text(answer: JSON) -> bool:
    return isinstance(answer, str | int | float) and not isinstance(answer, bool)


def _stands_in(value: JSON, text: str) -> bool:
    if isinstance(value, str):
        return bool(re.search(_whole(value.strip()), text, re.IGNORECASE))
    return any(abs(number) == abs(value) for number in _numbers_in(text))


def _numbers_in(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]


def _whole(value: str) -> str:
    """Return a pattern for a text that is not a part of a longer word: 'C' does not stand in "Count"."""
    before, after = (r"(?<!\w)" if value[:1].isalnum() else ""), (r"(?!\w)" if value[-1:].isalnum() else "")
    return f"{before}{re.escape(value)}{after}"


def step_problem(text: str, call: str, facts: list[JSON], references: Iterable[str], tool: Tool) -> str:
    """Say what is wrong with a sentence that is to ask for one call, or return "".

    Args:
        text: the sentence.
        call: as it was shown to the model; what the text quotes must stand there.
        facts: the call's literals: each must stand in the text, numbers as often, and no other figure may.
        references: how it names the results that it takes: each must stand in the text.
        tool: one of the words of its name or of the first sentence of its documentation must stand in the text.
    """
    if _leaves_out(facts, text):
        return "leaves a fact out"
    if not all(reference in text for reference in references):
        return "leaves out what it goes on from"
    if any(figure not in str(facts) for figure in re.findall(r"\d+", text)):
        return "adds a figure"
    if any(quoted not in call for quoted in re.findall(r"\B'(\w+)'", text)):
        return "adds a name"
    if "\n" in text:
        return "more than a sentence"
    if text.count('"') % 2:
        return "leaves a quotation open"
    if not _stems(f"{tool.name.replace('_', ' ')} {first_sentence(tool.description)}") & _stems(text):
        return f"does not ask for {tool.name}"
    return ""


def _leaves_out(facts: list[JSON], text: str) -> bool:
    """Whether a fact does not stand in a text, or a number less often than among the facts."""
    numbers = [abs(fact) for fact in facts if not isinstance(fact, str)]
    said = [abs(number) for number in _numbers_in(text)]
    return any(said.count(number) < numbers.count(number) for number in numbers) or not all(
        _stands_in(fact, text) for fact in facts
    )


def phrase_problem(text: str, call: str, facts: list[JSON], references: Iterable[str], tool: Tool) -> str:
    """Say what is wrong with a phrase that is to name what a call returns, or return "".

    The arguments are those of `step_problem`.
    """
    references = list(references)
    if not re.match(r"(the|all) ", text) or text[-1] in ".?!:" or ". " in text or re.search(_PREDICATE, text):
        return "is no noun phrase"
    if any(text.count(reference) > 1 for reference in references):
        return "says twice what it goes on from"
    return step_problem(text, call, facts, references, tool)


def first_sentence(text: str) -> str:
    """Return the first sentence of a documentation, on one line, without its end."""
    return re.split(r"[.:](?:\s|$)|\n\n", text.strip())[0].replace("\n", " ")


def _stems(text: str) -> set[str]:
    return {word[:_STEM] for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in _HOLLOW}
