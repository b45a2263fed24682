"""The prompts: Markdown files that a researcher can edit without changing Python code.

A file contains a conversation. A line `[system]`, `[user]` or `[assistant]` begins a message, so that a prompt can
contain examples as turns. `$name` is replaced by a value (string.Template). A file of the same name in the directory of
`--prompt DIR` replaces a built-in prompt.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

from sca_cli.errors import PromptError, UsageError
from sca_cli.records import Message

ATTEMPT = ("agent", "user", "judge")
"""Beginnings of the names of the prompts that attempts at tasks use."""
CHALLENGE = ("challenge", "compose", "solution-first")
"""The same for `sca challenge`, without its method `walk`."""
WALK = ("walk",)
"""The same for the method `walk` of `sca challenge`."""
SENSE = ("sense",)
"""The same for `sca verify --sense`."""
EXPLORE = ("explore",)
"""The same for `sca explore`."""

_MESSAGE = re.compile(
    r"^\[(system|user|assistant)\]\n(.*?)(?=^\[(?:system|user|assistant)\]$|\Z)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of a run: the built-in ones, or files that replace them.

    Args:
        directory: its files replace the built-in prompts of the same name. None: built-in prompts only.
    """

    directory: Path | None = None

    @classmethod
    def from_option(cls, directory: str | None) -> "Prompts":
        """Return the prompts for the option `--prompt`; its directory must replace at least one prompt.

        Raises:
            UsageError: the directory does not exist, or none of its files has the name of a prompt.
        """
        if directory is None:
            return cls()
        path = Path(directory)
        known = names()
        if not path.is_dir():
            raise UsageError(f"--prompt {directory}: not a directory")
        if not any((path / f"{name}.md").exists() for name in known):
            raise UsageError(f"--prompt {directory}: replaces no prompt", f"prompts: {', '.join(known)}")
        return cls(path)

    def fill(self, name: str, **values: str) -> list[Message]:
        """Return the prompt as messages, with values in place of its `$names`.

        Args:
            name: name of the prompt file, without `.md`.
            values: the value of each `$name`.

        Raises:
            PromptError: a file of `--prompt` uses a `$name` without a value, or contains no message.
        """
        messages = []
        for role, text in re.findall(_MESSAGE, _text(name, self.directory)):
            try:
                filled = Template(text).substitute(values).strip()
            except (KeyError, ValueError) as error:
                known = ", ".join("$" + key for key in values)
                raise PromptError(f"prompt {name}.md: cannot fill {error}", f"it may use: {known}") from error
            messages.append(Message(role=role, content=filled))
        if not messages:
            raise PromptError(
                f"prompt {name}.md contains no message", "a line [system], [user] or [assistant] begins one"
            )
        return messages

    def fingerprint(self, *kinds: str) -> str:
        """Return a hash (12 hex digits) of the texts of all prompts whose names begin with one of `kinds`."""
        texts = "\x00".join(_text(name, self.directory) for name in names() if name.startswith(kinds))
        return hashlib.sha256(texts.encode()).hexdigest()[:12]


@cache
def names() -> tuple[str, ...]:
    """Return the names of the built-in prompts."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".md") for file in files if file.name.endswith(".md")))


@cache
def _text(name: str, directory: Path | None) -> str:
    if directory is not None and (own := directory / f"{name}.md").exists():
        try:
            return own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
            raise UsageError(f"--prompt {directory}: cannot read {own.name}: {reason}") from error
    return resources.files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8")
