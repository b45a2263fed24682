"""The prompts: prose in Markdown files that a researcher edits without touching Python.

A file is a conversation: a line `[system]`, `[user]` or `[assistant]` begins a message, so that examples can be shown
as turns. `$name` marks what is filled in (string.Template). `--prompt DIR` replaces any by a file of the same name.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

from sca_cli.errors import UsageError
from sca_cli.records import Message

ATTEMPT = ("agent", "user", "judge")
"""Kinds of prompts, by the beginning of their names, that an attempt at a task is made with."""
CHALLENGE = ("challenge", "compose", "solution-first")
EXPLORE = ("explore",)

_MESSAGE = re.compile(
    r"^\[(system|user|assistant)\]\n(.*?)(?=^\[(?:system|user|assistant)\]$|\Z)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompt files in force.

    Args:
        directory: replaces built-in prompts by its own files of the same name; None for the built-in ones.
    """

    directory: Path | None = None

    @classmethod
    def from_option(cls, directory: str | None) -> "Prompts":
        """Check that a `--prompt` directory replaces at least one prompt.

        Raises:
            UsageError: it does not exist, or none of its files is a prompt's.
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
        """Return the prompt as messages, its `$names` filled in.

        Raises:
            UsageError: a replaced prompt uses a name that is not given here, or holds no message.
        """
        messages = []
        for role, text in re.findall(_MESSAGE, _text(name, self.directory)):
            try:
                filled = Template(text).substitute(values).strip()
            except (KeyError, ValueError) as error:
                known = ", ".join("$" + key for key in values)
                raise UsageError(f"prompt {name}.md: cannot fill {error}", f"it may use: {known}") from error
            messages.append(Message(role=role, content=filled))
        if not messages:
            raise UsageError(f"prompt {name}.md holds no message", "a line [system], [user] or [assistant] begins one")
        return messages

    def fingerprint(self, *kinds: str) -> str:
        """Return a hash over the prompt texts in force of which the names begin with one of `kinds`: 12 hex digits."""
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
        return own.read_text(encoding="utf-8")
    return resources.files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8")
