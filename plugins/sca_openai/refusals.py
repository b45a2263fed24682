"""Understand why a server refuses a request: the conversation is too long, or a field or a feature is not supported.

Servers have no common error codes, so this reads their messages. A feature is given up only if the message names it;
any other refusal is an error of this request alone.
"""

import re
from dataclasses import dataclass
from typing import Any

LIMITS = ("max_tokens", "max_completion_tokens")
"""Requests contain both: newer OpenAI servers reject the first, and older servers of others ignore the second."""

EXTENSIONS = ("return_token_ids", "include_stop_str_in_output")
"""Fields that only vLLM defines."""

SYSTEM, UNTYPED, TEMPERATURES = "system role", "untyped parameters", "temperatures other than 1"
"""Features that are no fields: messages with the role `system`, parameters of tools without a `type`, temperatures."""

_FIELDS = (*LIMITS, *EXTENSIONS, "logprobs", "seed", "stop", "temperature", "top_p", "tools")
"""Fields that can be left out, because the reply stays usable without them."""

_NOT_SUPPORTED = (
    r"(?:\b(?:not|n't|un)[ -]?(?:be )?(?:support|permit|allow|recogni[sz]|enabl|accept|expect)|\bdeprecated|\bunknown\b"
    r"|extra[ _](?:inputs|fields|forbidden)|\bonly the default|\bcannot be (?:set|used|specified))"
)
_UNKNOWN_FIELD = (
    r"(?:unrecogni[sz]ed|unknown|unexpected|unsupported|extra|additional)\W+(?:\w+\W+){0,2}"
    r"(?:arguments?|parameters?|fields?|keys?|propert(?:y|ies)|inputs?)\b"
)

_SYSTEM_ROLE = re.compile(
    r"system\W{0,3}(?:role|message|prompt|instruction)|role.{0,60}\bsystem\b|developer instruction", re.IGNORECASE
)
_ALTERNATE = re.compile(r"roles? must alternate|alternat\w+ user/assistant|must alternate between", re.IGNORECASE)
_TEMPERATURE_1 = re.compile(
    r"\btemperature\b.{0,80}\bonly\b.{0,30}\b1(?:\.0)?\b"
    r"|\btemperature\b.{0,30}\b(?:must be|be set to|equal to) 1(?:\.0)?\b"
    r"|\bonly\b.{0,20}\b1(?:\.0)?\b.{0,40}\btemperature\b",
    re.IGNORECASE,
)
_NO_TOOLS = re.compile(
    r"enable-auto-tool-choice|\btool choice\b.{0,40}requires"
    r"|(?:not|n't) support (?:the use of )?(?:tools?|functions?)\b(?! named)"
    r"|\b(?:tools?|tool[ _-](?:use|calls?|calling|choice)|functions?|function[ _-]call(?:s|ing)?)['\"`]? "
    r"(?:is|are) (?:not|un) ?support|endpoints found that support tool use",
    re.IGNORECASE,
)

_TOO_LONG = re.compile(
    r"context[ _-]*(?:length|window|size|limit|overflow)|(?:exceeds?|outside|beyond).{0,30}\bcontext\b"
    r"|context.{0,20}\bexceed|max_model_len|max_seq_len|max_num_tokens"
    r"|max(?:imum)? (?:model|prompt|sequence|input) length"
    r"|(?:prompt|input|request|messages?|conversation)s?\b.{0,80}?"
    r"(?:too long|too large|longer than|larger than|exceeds? the|must have less than)"
    r"|too many (?:input |prompt )?tokens|input token(?: count|s)?.{0,30}exceed|reduce the length|range of input length"
    r"|max(?:_completion|_new)?_tokens.{0,20}must be (?:at least 1|greater than 0|positive)|`inputs` tokens \+",
    re.IGNORECASE,
)
_WINDOW = re.compile(
    r"(?:context|model|prompt|sequence)[ _-]*(?:length|window|size|limit|len)\D{0,30}?(\d+)"
    r"|(\d+) maximum context|> (\d+) maximum|must be <= (\d+)|maximum number of tokens allowed \((\d+)",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"(\d+) (?:tokens )?(?:in the messages|in your prompt|in the prompt|(?:input|prompt) tokens|`inputs` tokens)"
    r"|(?:prompt|input|messages)\b[^.\d]{0,30}?(\d+)(?! (?:output|maximum))",
    re.IGNORECASE,
)
_REQUESTED = re.compile(r"requested (?:about )?(\d+) tokens", re.IGNORECASE)
_UNTOLD_SHARE = 4
"""If a message does not say how much room is left, the second request asks for this share (1/4) of the limit, or of the
window if that is smaller.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's refusal of one request."""

    status: int
    words: str
    """The server's message, on one line."""
    field: str = ""
    """The field that the error object names, if it names one."""
    code: str = ""
    """The error object's code, if it has one."""

    def is_moderation(self) -> bool:
        """Return whether the server rejects the content of the conversation."""
        return re.search(r"moderation|flagged|content.(?:policy|filter)|safety", self.words, re.IGNORECASE) is not None

    def is_unknown_model(self) -> bool:
        """Return whether the server does not have the model."""
        return (
            self.code == "model_not_found"
            or re.search(r"\bmodel\b.{0,80}\bnot (?:found|exist)", self.words) is not None
        )

    def is_too_long(self) -> bool:
        """Return whether prompt and reply limit do not fit in the model's context window."""
        return self.status in (400, 413, 422, 500) and _TOO_LONG.search(self._plain()) is not None

    def room(self, limit: int) -> int:
        """Return how many tokens a second request may ask for; 0 if the prompt alone does not fit.

        Args:
            limit: the tokens that the refused request asked for.
        """
        words = self._plain()
        window, prompt = _number(_WINDOW, words), _number(_PROMPT, words)
        if not prompt and (requested := _number(_REQUESTED, words)):
            prompt = requested - limit
        if re.search(r"at least 1|greater than 0|positive", words) or (window and prompt >= window):
            return 0
        if window and prompt:
            return min(window - prompt, limit - 1)
        return min(limit, window or limit) // _UNTOLD_SHARE

    def given_up(self, body: dict[str, Any], *, answered: bool) -> set[str]:
        """Return which fields and features the next request must leave out; empty if the refusal has another cause.

        Args:
            body: the request that was refused.
            answered: the server has answered an earlier request. Then a field that it does not name is not the cause.
        """
        words = self.words
        unsupported = re.search(_NOT_SUPPORTED, words, re.IGNORECASE) is not None
        if re.search(r"\boffsets?\b", words) and "enerator" in words and "seed" in body:
            return {"seed"}  # vLLM for CPUs, see the seed= option
        if "tools" in body and self.status in (400, 404, 422, 500, 501) and _NO_TOOLS.search(words):
            return {"tools"}
        if self.status not in (400, 422):
            return set()
        if any(message["role"] == "system" for message in body["messages"]) and (
            _ALTERNATE.search(words) or (unsupported and _SYSTEM_ROLE.search(words))
        ):
            return {SYSTEM}
        if {"temperature", "top_p"} <= body.keys() and "temperature" in words and "top_p" in words:
            return {"top_p"}
        if body.get("temperature", 1) != 1 and _TEMPERATURE_1.search(words):
            return {TEMPERATURES}
        if "tools" in body and re.search(r"\btype\b", words) and re.search(r"schema|propert|parameters", words):
            return {UNTYPED}
        return self._fields(body, unsupported) or self._unnamed(body, answered)

    def _fields(self, body: dict[str, Any], unsupported: bool) -> set[str]:
        """Return the field of the body that the message names first as rejected."""
        optional = [field for field in _FIELDS if field in body]
        if not body.keys() >= set(LIMITS):  # at least one limit must remain
            optional = [field for field in optional if field not in LIMITS]
        if self.field in optional and unsupported:
            return {self.field}
        named = []
        for field in optional:
            sure = _ANY_MENTION if "_" in field else _UNKNOWN if field == "tools" else _IS_REJECTED
            if match := re.search(sure.replace("FIELD", field), self.words, re.IGNORECASE):
                named.append((match.start(), field))
        return {min(named)[1]} if named else set()

    def _unnamed(self, body: dict[str, Any], answered: bool) -> set[str]:
        """Return the fields to leave out if the server rejects an unknown field without its name: first vLLM's own."""
        if answered or not re.search(rf"{_UNKNOWN_FIELD}|\bextra fields", self.words, re.IGNORECASE):
            return set()
        return set(EXTENSIONS) & body.keys() or {"logprobs", "seed", "max_completion_tokens"} & body.keys()

    def _plain(self) -> str:
        return re.sub(r"(?<=\d)[,_](?=\d{3})", "", self.words)


# How a message names a rejected field, in place of FIELD. Some names are everyday words, which a message about the
# conversation may contain.
_ANY_MENTION = r"\bFIELD\b"
_UNKNOWN = rf"{_UNKNOWN_FIELD}[^.]{{0,40}}\bFIELD\b"
_IS_REJECTED = (
    rf"{_UNKNOWN}|invalid FIELD\b.{{0,20}}\bonly\b"
    rf"|\bFIELD\b['\"`]?(?: (?:parameter|argument|field|option|value))?(?: (?:is|are|was|may|does|do|can))?"
    rf"[^.,]{{0,12}}(?:{_NOT_SUPPORTED}|\bonly\b)"
)


def _number(pattern: re.Pattern[str], words: str) -> int:
    """Return the last number that a pattern finds, or 0."""
    match = pattern.search(words)
    return int(match[match.lastindex or 0]) if match else 0
