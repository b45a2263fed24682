"""Render messages to token ids with the model's own chat template, and parse tool calls from its replies."""

import json
import re
from collections.abc import Sequence
from typing import Any

from sca_cli.errors import MissingError, ModelError
from sca_cli.interfaces import Tool
from sca_cli.messages import write
from sca_cli.records import FunctionCall, Message, ToolCall
from sca_cli.toolkit.control_tokens import Shield
from sca_cli.toolkit.conversation import without_system
from sca_cli.toolkit.replies import read_arguments, read_call, tagged_calls, without_reasoning

_OPENED_REASONING = re.compile(r"(?:<think>|\[THINK\])\s*\Z")


class ChatFormat:
    """Encode and decode conversations in one model's chat format.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        generation_config: the model's `GenerationConfig`, which lists its end tokens; or None.
        name: the model's name, for error messages.

    Raises:
        MissingError: the tokenizer has no chat template.
        ModelError: its chat template fails.
    """

    def __init__(self, tokenizer: Any, generation_config: Any, name: str) -> None:
        if not tokenizer.chat_template:
            raise MissingError(f"'{name}' has no chat template", "name an instruction-tuned model")
        self._tokenizer, self._name, self._merges_system = tokenizer, name, False
        self.has_tools = "tools" in str(tokenizer.chat_template)
        """Whether the template renders tool definitions."""
        self.end_ids = self._end_ids(generation_config)
        """Tokens that end a reply."""
        self.opened_reasoning = self._opened_reasoning()
        """The tag with which the template opens the reasoning of each reply, or ""; the reply does not contain it."""

    def encode(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[int]:
        """Return the token ids of the prompt, which ends where the assistant's reply begins.

        Raises:
            ModelError: the template rejects the conversation.
        """
        schemas = [_schema(tool) for tool in tools] if self.has_tools else []
        plain = [_plain(message) for message in messages]
        shield = Shield(self._tokenizer, [plain, schemas])
        options = {"tools": shield.hide(schemas) or None, "add_generation_prompt": True}
        try:
            text = render(self._tokenizer, shield.hide(plain), **options)
        except ModelError as error:
            merged = [_plain(message) for message in without_system(messages)]
            try:  # many templates have no system role, or want the roles to alternate
                text = render(self._tokenizer, shield.hide(merged), **options)
            except ModelError:
                raise error from None
            if not self._merges_system:
                self._merges_system = True
                write(f"sca: {self._name}: its chat template has no system role: {error}")
                write("hint: the system message begins the first user message instead")
        return shield.encode(text)

    def _opened_reasoning(self) -> str:
        opened = _OPENED_REASONING.search(
            render(self._tokenizer, [{"role": "user", "content": "a"}], add_generation_prompt=True)[-100:]
        )
        return opened[0] if opened else ""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of sampled tokens, without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _end_ids(self, generation_config: Any) -> frozenset[int]:
        """Return the end tokens of the configuration and the tokenizer, and the one that follows a reply.

        The last one is read from the chat template. A checkpoint trained from a base model may configure only
        `<|endoftext|>`, and chat replies do not end with that token.
        """
        configured = generation_config.eos_token_id if generation_config is not None else None
        ends = {configured} if isinstance(configured, int) else set(configured or ())
        ends.add(self._tokenizer.eos_token_id)
        probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "reply"}]
        after = render(self._tokenizer, probe).rpartition("reply")[2]
        first = self._tokenizer(after, add_special_tokens=False)["input_ids"][:1]
        # all_special_ids would miss control tokens that have no role in the configuration.
        added = self._tokenizer.added_tokens_decoder
        ends.update(token for token in first if token in added and added[token].special)
        return frozenset(ends - {None})


def render(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> str:
    """Return a conversation as text, rendered by the tokenizer's chat template.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        messages: as chat templates expect them.
        options: further arguments of `apply_chat_template`.

    Raises:
        ModelError: the template rejects the conversation, or fails. It is a program that came with the model.
    """
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise ModelError(f"the chat template rejects the conversation: {reason}") from error


def parse_tool_calls(text: str) -> tuple[str, list[ToolCall]]:
    """Split a reply into its text and its `<tool_call>{"name": …, "arguments": {…}}</tool_call>` blocks.

    Blocks in the reasoning are no calls. A malformed block stays in the text; the agent loop then reports the mistake.
    """
    calls: list[ToolCall] = []
    spoken = without_reasoning(text)
    rest, place = [text[: len(text) - len(spoken)] if text.endswith(spoken) else ""], 0
    for start, end, content in tagged_calls(spoken):
        call = read_call(content)
        if call is None or call[1] is None or not spoken[:end].endswith("</tool_call>"):
            continue
        function = FunctionCall(name=call[0], arguments=json.dumps(call[1], ensure_ascii=False))
        calls.append(ToolCall(id=f"call_{len(calls)}", function=function))
        rest.append(spoken[place:start])
        place = end
    return ("".join([*rest, spoken[place:]]).strip(), calls) if calls else (text, [])


def _schema(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _plain(message: Message) -> dict[str, Any]:
    """Return the message as a dictionary for the template, which expects arguments as an object, not as JSON text."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": c.id,
                "type": c.type,
                "function": {"name": c.function.name, "arguments": _object(c.function.arguments)},
            }
            for c in message.tool_calls
        ]
    plain |= {key: value for key in ("tool_call_id", "name") if (value := getattr(message, key))}
    return plain


def _object(arguments: str) -> dict[str, Any]:
    return read_arguments(arguments) or {}  # templates iterate over the arguments
