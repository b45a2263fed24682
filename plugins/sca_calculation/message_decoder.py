"""Tools that decode messages. Stateless."""

import re

from sca_cli import Environment, ToolError, tool
from sca_cli.toolkit.arguments import numbers, text, whole


class MessageDecoder(Environment):
    """The message_decoder family."""

    policy = (
        "You decode short messages: hexadecimal text, Caesar shifts and reversed strings. "
        "Upper and lower case, spaces and punctuation count exactly as they are given."
    )

    @tool
    def convert_hex_to_ascii(self, hex_string: str) -> str:
        """Decode hexadecimal digits to ASCII text, two digits a character.

        Args:
            hex_string: digits 0-9, a-f or A-F, such as '48 69'; spaces between bytes are ignored.
        """
        digits = text("hex_string", hex_string).replace(" ", "")
        if bad := re.search(r"[^0-9a-fA-F]", digits):
            raise ToolError(f"hex_string holds {bad.group()!r}, which is no hexadecimal digit")
        if len(digits) % 2:
            raise ToolError(f"hex_string has {len(digits)} digits; a character takes two")
        data = bytes.fromhex(digits)
        if not data.isascii():
            raise ToolError("hex_string holds a byte above 7F, which is not ASCII")
        return data.decode("ascii")

    @tool
    def reverse_string(self, s: str) -> str:
        """Return the characters of a string in reverse order.

        Args:
            s: the string to reverse.
        """
        return text("s", s)[::-1]

    @tool
    def caesar_decode(self, message: str, shift: int) -> str:
        """Decode a Caesar cipher: move each letter `shift` places back in the alphabet, wrapping from A to Z.

        Case is kept; characters other than A-Z and a-z stay as they are.

        Args:
            message: the encoded text.
            shift: how many places the text was moved forward when it was encoded; a whole number.
        """
        back = whole("shift", shift, -1_000_000, 1_000_000) % 26
        return "".join(_moved_back(character, back) for character in text("message", message))

    @tool
    def string_length(self, s: str) -> int:
        """Return the number of characters of a string, spaces included.

        Args:
            s: the string to measure.
        """
        return len(text("s", s))

    @tool
    def minimum_value(self, *args: float) -> float:
        """Return the smallest of the numbers given one by one: minimum_value(3, 1, 2) is 1.

        Args:
            *args: one or more numbers.
        """
        return min(numbers(args))

    @tool
    def maximum_value(self, *args: float) -> float:
        """Return the largest of the numbers given one by one: maximum_value(3, 1, 2) is 3.

        Args:
            *args: one or more numbers.
        """
        return max(numbers(args))


def _moved_back(character: str, places: int) -> str:
    if not ("a" <= character <= "z" or "A" <= character <= "Z"):
        return character
    first = ord("a" if character >= "a" else "A")
    return chr((ord(character) - first - places) % 26 + first)
