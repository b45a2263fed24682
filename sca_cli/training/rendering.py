"""From messages to tokens with the student's own chat template, and which of them its own replies are."""

import json
from collections.abc import Sequence
from typing import Any

from sca_cli.records import Message

type Tokens = tuple[list[int], list[int]]
"""Token ids, and 1 for each that is the model's own; of one length."""

type Pieces = list[tuple[str, bool]]
"""Consecutive texts of one rendering; True: the model's own."""


def rendered(messages: Sequence[Message], replies: int, tokenizer: Any) -> tuple[list[Tokens], int]:
    """Render a conversation as one sequence; where the template rewrites the past, as one sequence a turn.

    Args:
        messages: the whole conversation, replies shown as examples in its opening included.
        replies: how many assistant messages, counted from the end, the model said itself; 0: all.
        tokenizer: a transformers tokenizer with a chat template.

    Returns:
        the sequences, and how many replies the template does not render as they were said.
    """
    places = [i for i, message in enumerate(messages) if message.role == "assistant"][-replies:]
    turns = [_turn(messages[: i + 1], tokenizer) for i in places]
    said = [turn for turn in turns if turn is not None]
    return [_encoded(pieces, tokenizer) for pieces in _sequences(said)], len(turns) - len(said)


def _sequences(said: list[tuple[str, str]]) -> list[Pieces]:
    """Join (prompt, reply) of consecutive turns, as long as each prompt extends what went before."""
    pieces: Pieces = []
    past = ""
    for prompt, reply in said:
        if not prompt.startswith(past):  # e.g. reasoning is dropped from earlier turns
            return [[(alone[0], False), (alone[1], True)] for alone in said]
        pieces += [(prompt[len(past) :], False), (reply, True)]
        past = prompt + reply
    return [pieces] if pieces else []


def _turn(messages: Sequence[Message], tokenizer: Any) -> tuple[str, str] | None:
    """Return the prompt as the model sees it and its reply up to its end-of-turn token; None: no fit."""
    from jinja2 import TemplateError

    try:
        prompt = _render(messages[:-1], tokenizer, add_generation_prompt=True)
        whole = _render(messages, tokenizer)
    except TemplateError:  # the template refuses a role or an order
        return None
    said = messages[-1].content
    if whole.startswith(prompt) and said.strip() in (reply := _until_end_of_turn(whole[len(prompt) :], tokenizer)):
        return prompt, reply
    # The finished turn is not what the model said after this prompt (the prompt opens a <think> that the turn
    # lacks, or reasoning is dropped): it read the prompt, it said the message, and a turn ends as turns end.
    return None if messages[-1].tool_calls else (prompt, said + _end_of_turn(tokenizer))


def _end_of_turn(tokenizer: Any) -> str:
    """Return what the template puts behind a reply, up to its last special token."""
    probe = "sca-end-of-turn"
    whole = _render([Message(role="user", content="?"), Message(role="assistant", content=probe)], tokenizer)
    return _until_end_of_turn(whole.partition(probe)[2], tokenizer)


def _until_end_of_turn(text: str, tokenizer: Any) -> str:
    """Cut what the template puts behind the last special token: the model never samples it."""
    ends = [text.rfind(token) + len(token) for token in _special(tokenizer) if token in text]
    return text[: max(ends)] if ends else text


def _special(tokenizer: Any) -> set[str]:
    """Return the texts of the control tokens, declared special or only added to the vocabulary as such."""
    added = tokenizer.added_tokens_decoder.values()
    return {token.content for token in added if token.special} | set(tokenizer.all_special_tokens)


def _render(messages: Sequence[Message], tokenizer: Any, add_generation_prompt: bool = False) -> str:
    plain = [_plain(message) for message in messages]
    text: str = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=add_generation_prompt)
    return text


def _plain(message: Message) -> dict[str, Any]:
    """Return the message as templates expect it: arguments as objects, to be written as JSON by them."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": c.id,
                "type": "function",
                "function": {"name": c.function.name, "arguments": _object(c.function.arguments)},
            }
            for c in message.tool_calls
        ]
    return plain | {name: value for name in ("tool_call_id", "name") if (value := getattr(message, name))}


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:  # the model wrote something else; it stays as it was said
        return text


def _encoded(pieces: Pieces, tokenizer: Any) -> Tokens:
    """Tokenise piece by piece: sampling starts at a token boundary, so training must have one there too."""
    input_ids: list[int] = []
    loss_mask: list[int] = []
    for text, own in pieces:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        input_ids += ids
        loss_mask += [int(own)] * len(ids)
    return input_ids, loss_mask
