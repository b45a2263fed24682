"""Keep the text of control tokens in data from becoming control tokens.

A task, a tool's result or a program's output may hold the text `<|im_end|>`. Tokenised with the rest of a rendered
conversation, it would end the turn and let the data write turns of its own. So before the chat template sees a message,
each such text is replaced by a mark, and when the rendered conversation is tokenised, each mark becomes the tokens of
the text's characters.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_MARK = "scaControlToken"


class Shield:
    """Replaces control tokens in the data of one conversation by marks.

    Args:
        tokenizer: a transformers tokenizer.
        data: everything that the template will see: made of JSON types.
    """

    def __init__(self, tokenizer: Any, data: Any) -> None:
        self.tokenizer = tokenizer
        self._tokens = sorted(control_tokens(tokenizer), key=len, reverse=True)
        self._mark = _MARK
        texts = list(_texts(data))
        while any(self._mark in text for text in texts):
            self._mark += "x"
        self._numbers = {token: number for number, token in enumerate(self._tokens)}
        self._token = re.compile("|".join(map(re.escape, self._tokens)) or r"(?!)")
        self._marks = re.compile(rf"{self._mark}(\d+)_")

    def hide(self, value: Any) -> Any:
        """Return the value with a mark in place of each control token in its texts."""
        if isinstance(value, str):
            return self._token.sub(lambda match: f"{self._mark}{self._numbers[match[0]]}_", value)
        if isinstance(value, dict):
            return {self.hide(key): self.hide(inner) for key, inner in value.items()}
        return [self.hide(inner) for inner in value] if isinstance(value, list) else value

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a rendered text. Only what the template itself wrote becomes control tokens."""
        ids: list[int] = []
        for place, part in enumerate(self._marks.split(text)):  # texts and numbers of marks in turn
            if place % 2:
                ids += self.tokenizer(self._tokens[int(part)], add_special_tokens=False, split_special_tokens=True)[
                    "input_ids"
                ]
            elif part:
                ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        return ids


@lru_cache(maxsize=4)
def control_tokens(tokenizer: Any) -> frozenset[str]:
    """Return the texts of the control tokens: those declared special, and those added to the vocabulary as special."""
    added = tokenizer.added_tokens_decoder.values()
    return frozenset({token.content for token in added if token.special} | set(tokenizer.all_special_tokens))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
