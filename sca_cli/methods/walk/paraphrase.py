"""Decide whether a model's paraphrase of an instruction says the same facts.

A paraphrase may lose or add words only if they are no facts. Facts are the words of the details, words with digits,
names, numbers in words, negations and conditions, and the values that results of the exploration hold.
"""

import re
from collections.abc import Sequence

from sca_cli.methods.walk.words import CHANGES, ONLY, UNCHANGED, Request

_FACT = re.compile(r"[#\w@.'/-]*[\d@#][#\w@.'/-]*\w|\d")
_BETWEEN = re.compile(r"[,;()]|\band\b|\bone\b|\bwith\b|\bthe\b|\bas in\b|\bits\b")
"""What stands between the facts in the words of a detail."""
_CHANGED_BY = frozenset((
    "not", "never", "without", "except", "unless", "if", "otherwise", "instead", "only", "all", "both", "either", "any",
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "half", "twice", "none", "nothing",
))  # fmt: skip
"""Words that change what a sentence asks for."""
_SHORTEST = 4
"""Shortest value of a result that counts as a fact; "no" and "yes" are values too. Chosen by hand."""


def facts_of(text: str) -> set[str]:
    """Return the words of a text that a paraphrase must keep and may not add, in small letters."""
    names = re.findall(r"(?<![.!?:] )(?<!^)\b[A-Z][\w'-]+", text)
    return {fact.lower() for fact in (*_FACT.findall(text), *names)}


def problem_of(text: str, original: str, requests: Sequence[Request], values: frozenset[str] = frozenset()) -> str:
    """Return why a paraphrase does not say the same facts, or "".

    Args:
        text: the paraphrase.
        original: the instruction that the machine wrote.
        requests: what it asks for.
        values: words, in small letters, that results hold, such as "paypal".
    """
    lower, before = (re.sub(r"\s+", " ", each.lower()) for each in (text, original))
    for request in requests:
        if not any(re.search(rf"\b{verb.removesuffix('e')}", lower) for verb in _verbs(request)):
            return f"leaves out {request.verb!r}"
        for part in _parts(request):
            if part not in lower:
                return f"leaves out {part[:40]!r}"
    if missing := sorted(fact for fact in facts_of(original) - facts_of(text) if fact not in lower):
        return f"leaves out {missing[0]!r}"
    if added := sorted(fact for fact in facts_of(text) if fact not in before):
        return f"adds {added[0]!r}"
    words_before, words = set(re.findall(r"[\w'-]+", before)), set(re.findall(r"[\w'-]+", lower))
    if changed := sorted((words ^ words_before) & _CHANGED_BY):
        return f"{'adds' if changed[0] in words else 'leaves out'} {changed[0]!r}"
    if known := sorted(word for word in words - words_before if len(word) >= _SHORTEST and word in values):
        return f"adds {known[0]!r}"
    if "_" in re.sub(r"\S*\d\S*", "", text):
        return "names a tool"
    return _order(lower, requests)


def _verbs(request: Request) -> set[str]:
    verb = request.verb.split()[0]
    return {verb, *CHANGES} if verb in CHANGES else {verb}


def _parts(request: Request) -> list[str]:
    """Return the words of a request's details, without those that only refer."""
    words = [detail.words.lower() for detail in request.details if detail.words not in (ONLY, UNCHANGED)]
    parts = [part.strip() for text in words for part in _BETWEEN.split(text)]
    return [part for part in parts if part]


def _order(lower: str, requests: Sequence[Request]) -> str:
    """Return a problem if facts of one request come among those of another, so that they may have been exchanged."""
    parts = [set(_parts(request)) for request in requests]
    last = -1
    for place, own in enumerate(parts):
        others = set().union(*parts[:place], *parts[place + 1 :])
        places = [lower.index(part) for part in own - others if part in lower and lower.count(part) == 1]
        if places and min(places) < last:
            return "exchanges details of two requests"
        last = max([last, *places])
    return ""
