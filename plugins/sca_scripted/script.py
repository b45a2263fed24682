r"""`scripted:FILE[,delay_s=S]`: a model that reads its replies from a file.

FILE is JSONL with one rule a line. The first rule that matches a conversation gives the reply:

    {"when": "convert .* euro", "replies": ["```python\nfinal_answer(7)\n```", "give up"]}
    {"when": "policy", "anywhere": true, "replies": [["odd or even", "{seed}"]]}
    {"replies": [{"text": "", "tool_calls": [{"name": "add", "arguments": {"a": 1, "b": 2}}]}, "done"]}

- `when` is a Python regular expression searched (`.` matches newlines) in the last user or tool message; with
  `"anywhere": true`, in all messages joined by newlines. Without `when` the rule matches everything.
- Reply i answers a conversation with i assistant messages; the last reply answers all later turns.
- A reply is a text, an object with `text` and `tool_calls`, or a list of these. From a list, the entry
  `seed mod length` is used.
- `{seed}` in a text or in an argument is replaced by the conversation's seed.

A reply depends only on the conversation and its seed, so the order and the number of concurrent calls do not matter.
Stop texts and `max_tokens` (counted in words) are obeyed. Completions have no token ids and no log-probabilities.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from sca_cli import (
    Completion,
    FunctionCall,
    Message,
    MissingError,
    ModelError,
    Sampling,
    Tool,
    ToolCall,
    UsageError,
)


class _ScriptedCall(msgspec.Struct, forbid_unknown_fields=True):
    """A tool call in the file."""

    name: str
    arguments: dict[str, Any] = {}


class _ScriptedReply(msgspec.Struct, forbid_unknown_fields=True):
    """One reply: text, tool calls, or both."""

    text: str = ""
    tool_calls: list[_ScriptedCall] = []


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the file."""

    replies: list[str | _ScriptedReply | list[str | _ScriptedReply]]
    when: str = ""
    anywhere: bool = False


class ScriptedModel:
    """Reply according to the rules of a file.

    Args:
        name: path of the JSONL file.
        delay_s: seconds that each call takes, to simulate a slow model.

    Raises:
        MissingError: the file cannot be read.
        UsageError: no file is named, or a line is not a rule; then the message starts with `FILE:LINE:`.
    """

    def __init__(self, name: str, *, delay_s: str = "0") -> None:
        if not name:
            raise UsageError("model plugin 'scripted' needs a file", "scripted:FILE")
        self._name = name
        self._delay_s = float(delay_s)
        try:
            lines = Path(name).read_bytes().splitlines()
        except OSError as error:
            raise MissingError(f"cannot read the script '{name}': {error.strerror}") from error
        self._rules = [_rule(f"{name}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`.

        Raises:
            ModelError: no rule matches.
        """
        del tools  # the file defines which tools are called
        await asyncio.sleep(self._delay_s)
        return [
            _complete(self._reply(messages, sampling.seed + index), messages, sampling, sampling.seed + index)
            for index, messages in enumerate(conversations)
        ]

    async def close(self) -> None:
        """Do nothing, because the model holds no resources."""

    def _reply(self, messages: Sequence[Message], seed: int) -> _ScriptedReply:
        last = next((m.content for m in reversed(messages) if m.role in ("user", "tool")), "")
        conversation = "\n".join(message.content for message in messages)
        for pattern, rule in self._rules:
            if pattern.search(conversation if rule.anywhere else last):
                turn = sum(message.role == "assistant" for message in messages)
                reply = rule.replies[min(turn, len(rule.replies) - 1)]
                chosen = reply[seed % len(reply)] if isinstance(reply, list) else reply
                return chosen if isinstance(chosen, _ScriptedReply) else _ScriptedReply(text=chosen)
        raise ModelError(
            f"no rule of '{self._name}' matches {last[:80]!r}",
            "a last rule without 'when' matches everything",
        )


def _rule(where: str, line: bytes) -> tuple[re.Pattern[str], _Rule]:
    try:
        rule = msgspec.json.decode(line, type=_Rule)
        pattern = re.compile(rule.when, re.DOTALL)
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{where}: not a rule of a script: {error}", "a rule needs 'replies'; see sca-plugins(7)"
        ) from error
    except re.error as error:
        raise UsageError(f"{where}: 'when' is not a regular expression: {error}") from error
    if not rule.replies or [] in rule.replies:
        raise UsageError(f"{where}: a rule needs at least one reply")
    return pattern, rule


def _complete(reply: _ScriptedReply, messages: Sequence[Message], sampling: Sampling, seed: int) -> Completion:
    turn = sum(message.role == "assistant" for message in messages)
    text, cut = _cut(reply.text.replace("{seed}", str(seed)), sampling)
    calls = [
        ToolCall(id=f"call_{turn}_{index}", function=FunctionCall(name=call.name, arguments=_arguments(call, seed)))
        for index, call in enumerate(reply.tool_calls)
    ]
    return Completion(
        text=text,
        finish_reason="length" if cut else "tool_calls" if calls else "stop",
        prompt_tokens=sum(len(message.content.split()) for message in messages),
        completion_tokens=len(text.split()),
        tool_calls=[] if cut else calls,
    )


def _arguments(call: _ScriptedCall, seed: int) -> str:
    return msgspec.json.encode(call.arguments).decode().replace("{seed}", str(seed))


def _cut(text: str, sampling: Sampling) -> tuple[str, bool]:
    """Return the text up to its first stop text or `max_tokens` words, and whether the word limit cut it."""
    ends = [text.find(stop) + len(stop) for stop in sampling.stop if stop in text]
    text = text[: min(ends)] if ends else text
    words = [match.end() for match in re.finditer(r"\S+", text)]
    if len(words) > sampling.max_tokens:
        return text[: words[sampling.max_tokens - 1]], True
    return text, False
