"""Write instructions without a model: from a tool's documentation, its parameters' names and the values.

A small model often leaves out a value or asks for something else. These texts always name every value, need no model,
and vary: there are several forms of a question, of a value's name and of their order. `questions` checks these texts
with the same rules as a model's texts.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sca_cli.analysis import fits
from sca_cli.interfaces import Tool
from sca_cli.methods.compose import in_words
from sca_cli.methods.compose.steps import Argument, Literal, Step

TEXTS = 12
"""Most texts that are tried for one call; the first without a problem is used. Chosen by hand."""

_NOUNS = ("return", "get", "give", "tell", "show", "report", "fetch", "retrieve", "look up")
"""Verbs that only say that the tool has a result; the words after them name the result."""
_VERBS = frozenset(re.findall(
    r"\w+",
    "add apply approve archive ask assign attach book borrow build buy call cancel change charge check choose clean "
    "clear click close collect combine compare complete compose compute confirm connect convert copy count cut decode "
    "decrease decrypt delete deliver deposit describe detect determine divide draft draw drop edit encode encrypt end "
    "enter erase exchange execute export extract fetch fill filter find finish fix follow format generate give go "
    "group hire import increase insert invite join keep lend list load lock log look make mark measure merge move "
    "multiply name open order pack pay pick place plan play post predict press print publish pull push put rank rate "
    "read record refund register reject remind remove rename rent repair repeat replace reply request reserve reset "
    "resolve return reverse round run save scan schedule search select sell send set share ship show sign solve sort "
    "split start stop store submit subtract sum swap switch take tell test track transcribe transfer translate turn "
    "undo unlock update upgrade upload use verify view wait withdraw work write",
))  # fmt: skip
"""Verbs that documentation begins with; other first words begin a noun phrase, as in "Mean rain of a month"."""
_NAME_VERBS = ("calculate", "compute", "count", "estimate", "find", "get", "list", "search", "look", "work", "fetch")
"""If a tool's name begins with one of these verbs, the rest names the result: `estimate_final_value` gives "the final
value"."""
_SHORT = {"num": "number of", "max": "largest", "min": "smallest", "qty": "quantity", "avg": "average", "src": "source"}
_PREPOSITION = {
    "from": "from", "to": "to", "by": "by", "date": "on", "day": "on", "in": "in", "at": "at", "for": "for",
    "location": "in", "city": "in", "place": "in", "country": "in", "with": "with", "between": "between",
}  # fmt: skip
_UNIT = re.compile(
    r"(?<!not )\bin (per cent|percent|dollars|euros|metres|kilometres|degrees|days|hours|minutes|years)\b"
)
_ASK = {
    "noun": (
        "What is {}?", "What is {}?", "Find {}.", "Tell me {}.", "Give me {}.", "Work out {}.",
        "I need to know {}. Can you help?", "Can you tell me {}?", "Please give me {}.", "Could you find {}?",
        "Do you know {}?",
    ),
    "how much": (
        "How much is {}?", "Calculate {}.", "Compute {}.", "How high is {}?", "Please work out {}.", "What is {}?",
        "Can you calculate {}?",
    ),
    "how many": ("How many {}?", "How many {}?", "Tell me how many {}.", "Find out how many {}."),
    "indirect": ("Tell me {}.", "Find out {}.", "Can you tell me {}?", "Please find out {}.", "Do you know {}?"),
    "to": (
        "{}.", "{}.", "Please {}.", "Can you {}?", "Could you {}?", "{} and tell me the result.", "{}, please.",
        "I want to {}. What comes out?", "Help me {}. What is the result?", "What do I get if I {}?",
    ),
}  # fmt: skip
"""Kind of request → sentences that ask for it."""
_ASK_AFTER_FACTS = {
    "noun": ("What is {}?", "Can you tell me {}?"),
    "how much": ("How much is {}?", "What is {}?", "Can you calculate {}?"),
    "how many": ("How many {}?",),
    "indirect": ("Can you tell me {}?",),
    "to": ("Can you {}?", "I want to {}. What comes out?"),
}
_CONTEXT = (
    "I am filling in a form.", "This is for a colleague.", "I have a question.", "We want to check an old record.",
    "My teacher wants to know this.", "A friend asked me for help.", "I am not good at this.", "It is for my work.",
    "We are preparing a report.", "I need this today.", "My sister sent me this by mail.", "It came up at lunch.",
    "Our shop has been closed for a while.", "The customer called this morning.", "I found this in a drawer.",
    "My neighbour and I do not agree about it.", "The old notebook of my uncle has a page about it.",
    "We are planning something for next month.", "I promised my boss an answer.", "There was a note on my desk.",
    "Someone at the office left a message.", "I am writing a story and want it to be right.",
    "The label on the box is hard to read.", "My daughter is learning this at school.", "We had a long meeting.",
    "The person before me did not finish the work.", "I am in a hurry, sorry.", "It is raining and I am bored.",
    "Nobody in the team could tell me.", "I tried it by hand and got lost.", "Last time I made a mistake.",
    "The computer at home is broken.", "I will print the answer on a card.", "It goes into the yearly summary.",
    "We keep such things in a blue folder.", "My grandmother used to do this for me.", "I only have my phone here.",
    "The museum asked us about it.", "This is part of a puzzle.", "Our new partner wants to see it in writing.",
)  # fmt: skip
"""Sentences that say nothing about the task. People write such sentences, and a model must learn to ignore them."""
_CONTEXT_SENTENCES = {1: (0, 1, 1, 2, 2, 3), 2: (0, 0, 1, 1, 2), 3: (0, 0, 0, 1)}
"""Calls of a program → numbers of such sentences to draw from. Short programs get more of them, so that the length of
an instruction does not show the number of calls: without them a 135M model made two calls for a long question that
needs one. The numbers are chosen by hand. Measured on the 64 tasks of `dev-calculation.jsonl`, one run each
(`examples/experiments/RESULTS.md`): without such sentences the model solved none of the tasks with one call, with them
25 %; the number of training tasks and the learning rate differed too."""
_SYNONYMS = {
    "smallest": ("lowest", "least", "minimum"), "largest": ("highest", "biggest", "greatest", "maximum"),
    "cost": ("price", "cost"), "convert": ("change", "turn", "exchange"), "decode": ("decipher", "read"),
    "translate": ("turn", "translate"), "count": ("count up", "count"), "calculate": ("compute", "work out"),
    "compute": ("calculate", "work out"), "estimate": ("compute", "estimate"), "list": ("show", "list"),
    "string": ("text", "string", "line"), "strings": ("texts", "strings"), "message": ("text", "message", "note"),
    "characters": ("letters", "characters"), "sequence": ("strand", "sequence"), "numbers": ("values", "numbers"),
    "reverse": ("backward", "reverse"), "sum": ("total", "sum"), "tariff": ("duty", "tariff", "charge"),
    "trip": ("journey", "trip"), "flights": ("connections", "flights"), "hotels": ("places to stay", "hotels"),
    "goods": ("products", "goods"), "user": ("customer", "user"), "item": ("article", "item"), "delete": ("remove",),
    "update": ("change",), "create": ("make", "add"), "details": ("data", "details"),
}  # fmt: skip
"""Common word in documentation → words that people use instead."""
_SYNONYM_SHARE = 0.3
"""Share of these words that are replaced. Chosen by hand; not measured."""
_FACT = (
    "The {noun} is {value}.", "The {noun} is {value}.", "I have {value} as the {noun}.", "Take {value} as the {noun}.",
    "My {noun} is {value}.", "They gave me {value} as the {noun}.", "The {noun} that I have is {value}.",
)  # fmt: skip
# The next two are chosen by hand; not measured.
_DESCRIBED_SHARE = 0.4
_FACTS_FIRST_SHARE = 0.35
_HEAD = re.compile(
    r"(?:the |a |an |one or more |none or more )?([a-zA-Z][\w -]*?)(?: (?:to|of|in|for|that|as|is|on)\b|[,.;:(]|$)"
)
"""The noun at the beginning of a parameter's description."""
_QUOTES = ("'{}'", '"{}"', "{}")


@dataclass(frozen=True, slots=True)
class _Request:
    """Words that ask for what a tool returns or does, taken from its documentation or its name."""

    text: str
    kind: str
    """noun: names the result; how much: names a number; how many: names the counted things; indirect: begins with what,
    how or whether; to: begins with a verb."""


@dataclass(frozen=True, slots=True)
class _MissingValue:
    """A value that is not yet in the text for its call."""

    noun: str
    value: str
    name: str
    literal: bool
    """False: the value is an earlier result."""


def question(steps: Sequence[Step], place: int, draw: random.Random) -> str:
    """Return a user's question that this call answers."""
    request = _as_question(draw.choice(_requests(steps[place].tool)), steps[place].tool, draw)
    facts_first = draw.random() < _FACTS_FIRST_SHARE
    text, rest = _filled(request.text, steps, place, draw, leave=facts_first)
    before = []
    if facts_first and rest:
        before = [_fact(steps[place].tool, left, draw) for left in rest]
    else:
        text += _appended(rest, draw)
    frames = (_ASK_AFTER_FACTS if before else _ASK)[request.kind]
    question_text = _capital(draw.choice(frames).format(text))
    if re.match(r"What is the \w*[^s\W]s\b", question_text):
        question_text = question_text.replace("What is", "What are", 1)
    return " ".join([*before, question_text])


def _fact(tool: Tool, left: _MissingValue, draw: random.Random) -> str:
    """Return a sentence that states the value of one parameter, with its description or its noun."""
    described = str(tool.parameters["properties"][left.name].get("description", "")).split(";")[0].rstrip(".")
    if draw.random() < _DESCRIBED_SHARE and 10 < len(described) < 70 and re.match(r"[a-z][\w ]+$", described):
        return _capital(draw.choice(("{value} is {text}.", "I have {value}, {text}.")).format(
            value=left.value, text=re.sub(r"^(?=number|units|city|price)", "the ", described)
        ))  # fmt: skip
    return _capital(draw.choice(_FACT).format(noun=left.noun, value=left.value))


def in_context(instruction: str, calls: int, seed: int) -> str:
    """Return an instruction with sentences around it that say nothing about the task."""
    draw = random.Random(f"context {seed}")
    sentences = draw.sample(_CONTEXT, draw.choice(_CONTEXT_SENTENCES[min(calls, max(_CONTEXT_SENTENCES))]))
    place = draw.choice((0, len(sentences), len(sentences)))
    return " ".join([*sentences[:place], instruction, *sentences[place:]])


def sentence(steps: Sequence[Step], place: int, draw: random.Random) -> str:
    """Return a sentence that asks for a call which may use earlier results."""
    request = draw.choice(_requests(steps[place].tool))
    text, rest = _filled(request.text, steps, place, draw)
    text += _appended(rest, draw)
    verbs = {"noun": ("find {}", "work out {}", "get {}"), "indirect": ("find out {}", "work out {}"), "to": ("{}",)}
    clause = draw.choice(verbs[request.kind]).format(text)
    return _capital(f"{'then ' if place and draw.random() < 0.4 else ''}{clause}.")


def phrase(steps: Sequence[Step], place: int, draw: random.Random) -> str:
    """Return a noun phrase that names what a call returns."""
    request = draw.choice(_requests(steps[place].tool))
    text, rest = _filled(request.text, steps, place, draw)
    text += _appended(rest, draw)
    if request.kind == "to":
        verb, _, after = text.partition(" ")
        return f"the result of {_gerund(verb)} {after}"
    return text if text.startswith("the ") else f"the {text}" if request.kind == "noun" else f"the answer to {text}"


# ---------------------------------------------------------------- what a tool does


def _requests(tool: Tool) -> list[_Request]:
    """Return descriptions of a tool's task; never empty."""
    requests = []
    clause = re.split(r"[.:;,(]| as \[| such as | given one ", tool.description.strip().replace("\n", " "))[0].strip()
    verb, _, rest = clause.partition(" ")
    verb = _base_form(verb)
    if verb.lower() in _NOUNS and rest:
        kind = "indirect" if re.match(r"(what|how|whether|which|who|when|where)\b", rest) else "noun"
        requests.append(_Request(rest, kind))
    elif rest and (verb.lower() in _VERBS or re.search(r"(ate|ify|ise|ize)$", verb)):
        requests.append(_Request(f"{verb.lower()} {rest}", "to"))
    elif rest:
        noun = clause[:1].lower() + clause[1:] if verb[1:].islower() else clause
        requests.append(_Request(noun if re.match(r"(the|a|an)\b", noun) else f"the {noun}", "noun"))
    verb, *others = tool.name.lower().split("_")
    if others and verb in _NAME_VERBS:
        requests.append(_Request(f"the {' '.join(_SHORT.get(word, word) for word in others)}", "noun"))
    return requests or [_Request(f"the {' '.join([verb, *others])}", "noun")]


def _base_form(verb: str) -> str:
    """Return "convert" for "Converts", as documentation in the third person has it; other words as they are."""
    lower = verb.lower()
    known = (lower.removesuffix("s"), lower.removesuffix("es"), re.sub("ies$", "y", lower))
    return next((form for form in known if form != lower and form in (*_VERBS, *_NOUNS)), verb)


def _as_question(request: _Request, tool: Tool, draw: random.Random) -> _Request:
    """Return a request in the words of a question: "how much" and "how many" for numbers, common synonyms for words."""
    text, kind = request.text, request.kind
    if counted := re.fullmatch(r"the number of (\w+) (?:of|in) (.+)", text):
        text, kind = f"{counted[1]} are in {counted[2]}", "how many"
    elif kind == "noun" and tool.returns in ("int", "float"):
        kind = "how much"
    words = re.split(r"(\W+)", text)
    changed = [
        draw.choice(_SYNONYMS[word]) if word in _SYNONYMS and draw.random() < _SYNONYM_SHARE else word for word in words
    ]
    return _Request("".join(changed), kind)


# ---------------------------------------------------------------- values


def _filled(
    text: str, steps: Sequence[Step], place: int, draw: random.Random, *, leave: bool = False
) -> tuple[str, list[_MissingValue]]:
    """Insert the values of a call into a text, next to the words that name their parameters.

    Args:
        text: describes the tool's task.
        steps, place: the call.
        draw: random generator.
        leave: insert only one value; separate sentences state the others.

    Returns:
        The text, and the values that are not in it.
    """
    step, rest, filled = steps[place], [], 0
    used: list[tuple[int, int]] = []  # spans of the text that hold values
    for name, arguments in step.arguments.items():
        if not arguments:
            continue
        value = _listed([_value(steps, place, step.tool, name, argument, draw) for argument in arguments])
        nouns = _nouns_of(step.tool, name)
        spot = None if leave and filled else _spot(text, nouns, used)
        if spot is None:
            rest.append(
                _MissingValue(nouns[0], value, name, all(isinstance(argument, Literal) for argument in arguments))
            )
            continue
        start, end, article, noun = spot
        if not all(isinstance(argument, Literal) for argument in arguments):
            new = value
        elif not article or len(arguments) > 1 or noun.endswith("s"):
            new = f"{'the ' if article else ''}{noun} {value}"
        elif isinstance(arguments[0], Literal) and isinstance(arguments[0].value, str):
            new = f"the {noun} {value}"
        else:
            new = draw.choice([f"a {noun} of {value}", f"the {noun} {value}", f"a {noun} of {value}"])
        text = text[:start] + new + text[end:]
        grown = len(new) - (end - start)
        used = [(a + grown, b + grown) if a >= end else (a, b) for a, b in used] + [(start, start + len(new))]
        filled += 1
    return text, rest


def _spot(text: str, nouns: list[str], used: list[tuple[int, int]]) -> tuple[int, int, str, str] | None:
    """Return the place where a text names a parameter: start, end, article, noun."""
    for noun in nouns:
        pattern = rf"\b((?:a|an|the|one|another|some) )?({re.escape(noun)}s?)\b(?! of\b)"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if not any(start < match.end() and match.start() < end for start, end in used):
                return match.start(), match.end(), match[1] or "", match[2]
    return None


def _appended(rest: list[_MissingValue], draw: random.Random) -> str:
    """Return a clause with the values that are not yet in the text."""
    placed, others = "", []
    for left in rest:
        first, last = left.name.lower().split("_")[0], left.name.lower().split("_")[-1]
        if word := _PREPOSITION.get(first) or _PREPOSITION.get(last):
            placed += f" {word} {left.value}"
        else:
            others.append(left)
    if not others:
        return placed
    style = draw.randrange(4) if all(left.literal for left in others) else 3
    if style == 0:
        return f"{placed} with {_listed([f'{_article(left.noun)} of {left.value}' for left in others])}"
    if style == 1:
        return f"{placed}, {_listed([f'{left.noun} {left.value}' for left in others])}"
    if style == 2:
        return f"{placed} for {_listed([f'the {left.noun} {left.value}' for left in others])}"
    return f"{placed} with {_listed([f'{left.value} as the {left.noun}' for left in others])}"


def _value(steps: Sequence[Step], place: int, tool: Tool, name: str, argument: Argument, draw: random.Random) -> str:
    if not isinstance(argument, Literal):
        return in_words.reference(steps, place, argument)
    value = argument.value
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return str(value)
    if isinstance(value, int | float):
        text = f"{value:,}" if abs(value) >= 1000 and draw.random() < 0.4 else str(value)
        unit = _UNIT.search(str(tool.parameters["properties"][name].get("description", "")))
        if unit and "cent" in unit[1]:
            return text + draw.choice([" per cent", " %", "%", " percent"])
        return f"{text} {unit[1]}" if unit else text
    listed = "enum" in fits.element(tool, name) or re.fullmatch(r"[A-Z][\w-]*|\d{4}-\d\d-\d\d", value)
    return value if listed else draw.choice(_QUOTES if '"' not in value and "'" not in value else ("{}",)).format(value)


def _nouns_of(tool: Tool, name: str) -> list[str]:
    """Return the nouns that name a parameter, the most exact first."""
    words = [_SHORT.get(word, word) for word in re.findall(r"[a-z]+|[A-Z]+|\d+", name.lower()) if len(word) > 1]
    described = str(tool.parameters["properties"][name].get("description", ""))
    head = _HEAD.match(described)
    named = name not in ("args", "values", "items", "parts") and bool(words)
    nouns = [" ".join(words)] if named else []
    if head and len(head[1]) < 30 and not re.match(r"(at least|another|none|any|one|whether)\b", head[1]):
        nouns += [head[1]]
    nouns += [words[-1]] if named else []
    nouns += [noun.split()[-1] for noun in nouns if " " in noun]
    fallback = "value" if name == tool.variadic() else name.replace("_", " ")
    return [noun for noun in dict.fromkeys(nouns) if len(noun) > 2] or [fallback]


def _article(noun: str) -> str:
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _gerund(verb: str) -> str:
    if re.search(r"[^aeiou]e$", verb):
        return verb[:-1] + "ing"
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
