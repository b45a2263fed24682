"""Checks of a question's text: it must contain every fact, and it must not contain the answer. No model is used."""

import re
from collections.abc import Iterable

from sca_cli.analysis import source
from sca_cli.interfaces import Tool
from sca_cli.records import JSON

FACTS_TO_CHOOSE_FROM = 3
"""If a program has at least this many literals, its answer may be one of them: the minimum of three numbers, for
example, is still a question. Chosen by hand."""

_MAX_ANSWER_CHARS = 300
"""Longest `repr` of an answer, in characters; chosen by hand."""
_INSTRUCTION_CHARS = (20, 800)
"""Shortest and longest instruction, in characters; chosen by hand."""
_STATEMENT = r"(the|a|an|it|this|that|these|those|there|your|my|we|i|if|given|in|on|for|with|of|among)\b|\W*\d"
"""The beginning of a text without a question mark that states something instead of requesting it. A request begins with
a verb."""

_PREDICATE = r"(?<!that)(?<!which)(?<!who)(?<!what) (is|are|was|were) "
"""A verb that makes a phrase a sentence: it then states something about a thing instead of naming the thing."""

_STEM_LETTERS = 4
"""Two words are treated as forms of one word if this many first letters are equal: convert, conversion. Chosen by
hand."""
_COMMON_WORDS = {
    *("all", "and", "are", "can", "each", "for", "from", "given", "has", "have", "into", "its", "list", "not", "one"),
    *("return", "such", "tell", "that", "the", "they", "this", "two", "what", "which", "with", "you", "your"),
}
"""Words that occur in the documentation of most tools: they do not show which tool a text asks for. Chosen by hand."""


class NotWorthAsking(ValueError):
    """The answer is trivial, too long, or already in the program; the message says which."""


def written(reply: str) -> str:
    """Return a reply without the blanks and quotation marks around it."""
    return reply.strip().strip('"').strip()


def worth_asking(answer: JSON, program: str) -> JSON:
    """Return the answer unchanged if a question for it makes sense.

    Args:
        answer: the answer of the program.
        program: its text.

    Raises:
        NotWorthAsking: the answer is trivial, too long, or already in the program.
    """
    if answer in (None, "", 0, [], {}) or isinstance(answer, bool):
        raise NotWorthAsking("trivial answer")
    facts = source.literals(source.parse(program))
    in_program = answer in facts or str(answer) in map(str, facts)  # calculator('15.0') is 15.0
    if in_program and len(facts) < FACTS_TO_CHOOSE_FROM:
        raise NotWorthAsking("the program contains the answer")
    if len(repr(answer)) > _MAX_ANSWER_CHARS:
        raise NotWorthAsking("answer too long")
    return answer


def instruction_problem(text: str, facts: list[JSON], answer: JSON, tool_names: list[str]) -> str:
    """Return the problem of an instruction, or "" if it has none.

    Args:
        text: the instruction.
        facts: the literals of the program. The text must contain each.
        answer: the answer of the program. The text must not contain it, unless it is one of the facts.
        tool_names: names that the text must not contain. Only names with an underscore are checked: others are
            everyday words.
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
    if not all(_occurs_in(fact, text) for fact in facts):
        return "leaves a fact out"
    if answer not in facts and _can_occur_in_text(answer) and _occurs_in(answer, text):
        return "gives the answer away"
    return ""


def _can_occur_in_text(answer: JSON) -> bool:
    return isinstance(answer, str | int | float) and not isinstance(answer, bool)


def _occurs_in(value: JSON, text: str) -> bool:
    if isinstance(value, str):
        return bool(re.search(_whole_word(value.strip()), text, re.IGNORECASE))
    return any(abs(number) == abs(value) for number in _numbers_in(text))


def _numbers_in(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)]


def _whole_word(value: str) -> str:
    """Return a pattern that matches a value as a whole word: 'C' does not match in "Count"."""
    before, after = (r"(?<!\w)" if value[:1].isalnum() else ""), (r"(?!\w)" if value[-1:].isalnum() else "")
    return f"{before}{re.escape(value)}{after}"


def step_problem(text: str, call: str, facts: list[JSON], references: Iterable[str], tool: Tool) -> str:
    """Return the problem of a sentence that asks for one call, or "" if it has none.

    Args:
        text: the sentence.
        call: the call as the prompt showed it. It must contain every word that the text quotes.
        facts: the call's literals. The text must contain each fact, and a number at least as often as the facts do. It
            must not contain other digits.
        references: the words that name the earlier results used by the call. The text must contain each.
        tool: the tool that is called. The text must contain a word of its name or of the first sentence of its
            documentation.
    """
    if _leaves_out(facts, text):
        return "leaves a fact out"
    if not all(reference in text for reference in references):
        return "leaves out the earlier result"
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
    """Tell whether a text lacks a fact, or contains a number less often than the facts do."""
    numbers = [abs(fact) for fact in facts if not isinstance(fact, str)]
    in_text = [abs(number) for number in _numbers_in(text)]
    return any(in_text.count(number) < numbers.count(number) for number in numbers) or not all(
        _occurs_in(fact, text) for fact in facts
    )


def phrase_problem(text: str, call: str, facts: list[JSON], references: Iterable[str], tool: Tool) -> str:
    """Return the problem of a noun phrase that names the result of a call, or "" if it has none.

    The arguments are those of `step_problem`.
    """
    references = list(references)
    if not re.match(r"(the|all) ", text) or text[-1] in ".?!:" or ". " in text or re.search(_PREDICATE, text):
        return "is no noun phrase"
    if any(text.count(reference) > 1 for reference in references):
        return "names an earlier result twice"
    return step_problem(text, call, facts, references, tool)


def first_sentence(text: str) -> str:
    """Return the first sentence of a documentation text, on one line, without its final full stop."""
    return re.split(r"[.:](?:\s|$)|\n\n", text.strip())[0].replace("\n", " ")


def _stems(text: str) -> set[str]:
    return {word[:_STEM_LETTERS] for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in _COMMON_WORDS}
