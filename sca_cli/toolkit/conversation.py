"""Change a conversation into one that a chat template or a strict server accepts."""

from collections.abc import Sequence

import msgspec

from sca_cli.records import Message

EMPTY_REPLY = "(no text)"
"""Text in place of a reply without text and without calls, because many servers reject an empty reply."""


def alternating(messages: Sequence[Message]) -> list[Message]:
    """Join user messages, or assistant messages, that follow each other, and leave no message empty.

    An empty reply gets the text `EMPTY_REPLY`; other empty messages are left out. Tool messages stay as they are: each
    answers one call.
    """
    joined: list[Message] = []
    for message in messages:
        if not message.content.strip() and not message.tool_calls and message.role != "tool":
            if message.role != "assistant":
                continue
            message = msgspec.structs.replace(message, content=EMPTY_REPLY)
        last = joined[-1] if joined else None
        if last and last.role == message.role != "tool" and not last.tool_calls:
            content = "\n\n".join(filter(None, [last.content, message.content]))
            joined[-1] = msgspec.structs.replace(last, content=content, tool_calls=message.tool_calls)
        else:
            joined.append(message)
    return joined


def without_system(messages: Sequence[Message]) -> list[Message]:
    """Move the system message to the beginning of the first user message, for models that have no system role."""
    as_user = [msgspec.structs.replace(m, role="user") if m.role == "system" else m for m in messages]
    return alternating(as_user)
