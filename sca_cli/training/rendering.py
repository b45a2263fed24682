"""Turn messages into tokens with the student's own chat template, and mark the tokens of its own replies."""

import json
from collections.abc import Sequence
from typing import Any

from sca_cli.errors import ModelError
from sca_cli.records import Message
from sca_cli.toolkit.chat_format import render
from sca_cli.toolkit.control_tokens import Shield, control_tokens

type Tokens = tuple[list[int], list[int]]
"""Token ids, and for each 1 if it belongs to the model's own reply, else 0."""

type Pieces = list[tuple[str, bool]]
"""Consecutive texts of one rendering; True marks the model's own replies."""


def rendered(messages: Sequence[Message], replies: int, tokenizer: Any) -> tuple[list[Tokens], int]:
    """Render a conversation as one sequence, or as one sequence for each turn if the template changes earlier turns.

    Args:
        messages: the complete conversation, with the example turns in its prompt.
        replies: the last `replies` assistant messages are the model's own; 0: all are.
        tokenizer: a transformers tokenizer with a chat template.

    Returns:
        the sequences, and the number of replies left out because the template does not reproduce them.
    """
    places = [i for i, message in enumerate(messages) if message.role == "assistant"][-replies:]
    shield = Shield(tokenizer, [_plain(message) for message in messages])
    turns = [_turn(messages[: i + 1], shield) for i in places]
    rendered_turns = [turn for turn in turns if turn is not None]
    sequences = [_encoded(pieces, shield) for pieces in _sequences(rendered_turns)]
    return sequences, len(turns) - len(rendered_turns)


def _sequences(turns: list[tuple[str, str]]) -> list[Pieces]:
    """Join the (prompt, reply) pairs of all turns into one sequence if each prompt begins with the text before it.

    Otherwise return one sequence for each turn.
    """
    pieces: Pieces = []
    past = ""
    for prompt, reply in turns:
        if not prompt.startswith(past):  # e.g. the template removes reasoning from earlier turns
            return [[(turn_prompt, False), (turn_reply, True)] for turn_prompt, turn_reply in turns]
        pieces += [(prompt[len(past) :], False), (reply, True)]
        past = prompt + reply
    return [pieces] if pieces else []


def _turn(messages: Sequence[Message], shield: Shield) -> tuple[str, str] | None:
    """Return the prompt of the last message, and that reply up to its end-of-turn token.

    None: the template rejects the messages, or does not reproduce a reply with tool calls.
    """
    try:
        prompt = _render(messages[:-1], shield, add_generation_prompt=True)
        complete = _render(messages, shield)
    except ModelError:  # the template rejects a role or an order of roles
        return None
    content = shield.hide(messages[-1].content)
    if complete.startswith(prompt):
        reply = _until_end_of_turn(complete[len(prompt) :], shield)
        if content.strip() in reply:
            return prompt, reply
    # The template renders the finished turn differently from what the model wrote after this prompt: the prompt opens
    # a <think> that the turn lacks, or reasoning is removed. The turn is then the message and an end-of-turn token.
    return None if messages[-1].tool_calls else (prompt, content + _end_of_turn(shield))


def _end_of_turn(shield: Shield) -> str:
    """Return the text that the template adds after a reply, up to its last special token."""
    probe = "sca-end-of-turn"
    conversation = [Message(role="user", content="?"), Message(role="assistant", content=probe)]
    return _until_end_of_turn(_render(conversation, shield).partition(probe)[2], shield)


def _until_end_of_turn(text: str, shield: Shield) -> str:
    """Cut the text after the last control token: the model never samples it."""
    ends = [text.rfind(token) + len(token) for token in control_tokens(shield.tokenizer) if token in text]
    return text[: max(ends)] if ends else text


def _render(messages: Sequence[Message], shield: Shield, add_generation_prompt: bool = False) -> str:
    plain = [shield.hide(_plain(message)) for message in messages]
    return render(shield.tokenizer, plain, add_generation_prompt=add_generation_prompt)


def _plain(message: Message) -> dict[str, Any]:
    """Return the message as templates expect it: arguments are objects, which the template writes as JSON."""
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
    except json.JSONDecodeError:  # the model wrote no valid JSON: its text is kept unchanged
        return text


def _encoded(pieces: Pieces, shield: Shield) -> Tokens:
    """Tokenise each piece alone: a sampled reply starts at a token boundary, and the training data must too."""
    input_ids: list[int] = []
    loss_mask: list[int] = []
    for text, own in pieces:
        ids = shield.encode(text)
        input_ids += ids
        loss_mask += [int(own)] * len(ids)
    return input_ids, loss_mask
