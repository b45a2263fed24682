"""Text for people: messages on standard error, and text in which every character can be seen.

A message may quote data: a tool's name, a server's reply, a file name. A control character in the data could clear the
terminal, hide a line or reverse the reading direction. So all text for people is printed here; plugins print what
`visible` returns.
"""

import sys
import unicodedata
from contextlib import suppress

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that are invisible or that change the direction of the text after them."""


def visible(text: str) -> str:
    """Return the text with every invisible character, except newline and tab, replaced by its code point: ⟨U+001B⟩."""
    return text if text.isprintable() else "".join(map(_named, text))


def _named(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _INVISIBLE:
        return character
    return f"⟨U+{ord(character):04X}⟩"


def show(text: str, *, end: str = "\n") -> None:
    """Print text for people on standard output, for a verb whose result is no record."""
    print(visible(text), end=end, flush=True)


def write(text: str) -> None:
    """Print a message on standard error. If it cannot be written, as to a full disk, the run continues without it."""
    with suppress(OSError):
        print(visible(text), file=sys.stderr, flush=True)
