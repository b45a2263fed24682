"""Decide which environments may start. A data file is data: a record alone cannot start a program of its choice.

An environment that a record names starts if it is jailed and its options name no file and no command, or if the user
named the same environment on the command line.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path

from sca_cli import plugins
from sca_cli.errors import NotAllowedError, ScaError
from sca_cli.records import EnvSpec

_SHOWN_CHARACTERS = 300


class AllowedEnvs:
    """The environments that the user named.

    Args:
        texts: values of `--env` and `--allow-env`: NAME[:k=v,…].

    Raises:
        UsageError: a text is not of that form.
        MissingError: no plugin registered a name.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._specs = [plugins.parse_env(text) for text in texts]
        plugins.fail_if_unknown(self._specs, [])

    @classmethod
    def of(cls, *specs: EnvSpec) -> "AllowedEnvs":
        """Return the permission for exactly these environments."""
        allowed = cls()
        allowed._specs = list(specs)
        return allowed

    @classmethod
    def of_suite(cls, spec: EnvSpec) -> "AllowedEnvs":
        """Return the permission for a benchmark: for every environment of its tasks that reads the same files."""
        paths = {key: value for key, value in spec.options.items() if Path(value).is_absolute()}
        return cls.of(EnvSpec(name=spec.name, options=paths))

    def resolve(self, env: EnvSpec) -> EnvSpec:
        """Return the environment to start for a record that names `env`: in case of doubt the one that the user named.

        Raises:
            NotAllowedError: the user has not allowed it. No part of it was started.
            MissingError: no plugin registered the name.
        """
        entry = plugins.environment_entry(env)
        is_plain = not entry.outside and not entry.argument
        if is_plain and not _names_files(env):
            return env
        for named in self._named(env.name):
            further = EnvSpec(name=env.name, options=_without(env.options, named.options))
            # A further option of a jailed environment selects a part of the same code, such as one family of a suite.
            # A further option of an unjailed one could be a variable such as LD_PRELOAD.
            if further.options and not (is_plain and not _names_files(further)):
                continue
            if _normal(named.options) == _normal(_without(env.options, further.options)):
                return EnvSpec(name=env.name, options=further.options | _absolute(named.options, env.options))
        text = str(env)
        text = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        hint = "if you trust it, name it yourself: --allow-env SPEC, or SCA_ENV=SPEC"
        if text == str(env) and text.isprintable():
            hint = f"if you trust it, add --allow-env {shlex.quote(_argument(entry, env))}, or set SCA_ENV to it"
        where = "outside the jail" if entry.outside else "from files of this machine"
        raise NotAllowedError(f"a record names an environment that would run code {where}, not started: {text}", hint)

    def _named(self, name: str) -> list[EnvSpec]:
        """Return what the user named, in the form in which the records of earlier verbs name it."""
        return [variant for spec in self._specs if spec.name == name for variant in plugins.expand_env(spec)]


def _absolute(options: dict[str, str], recorded: dict[str, str]) -> dict[str, str]:
    """Return the user's options; a path is absolute if it is absolute in the record."""
    return {
        key: str(Path(value).resolve())
        if Path(recorded[key]).is_absolute() and not Path(value).is_absolute()
        else value
        for key, value in options.items()
    }


def _without(options: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in options.items() if key not in others}


def _argument(entry: plugins.Entry, env: EnvSpec) -> str:
    """Return the text that names an environment on a command line."""
    if entry.argument and env.options.keys() == {entry.argument}:
        return f"{env.name}:{env.options[entry.argument]}"
    return str(env)


def _names_files(env: EnvSpec) -> bool:
    """Return whether the options of an environment name files: absolute paths, or files that it would read."""
    if any(Path(value).is_absolute() for value in env.options.values()):
        return True
    try:
        return bool(env.options) and plugins.files_read(env) != plugins.files_read(EnvSpec(name=env.name))
    except ScaError:
        return True


def _normal(options: dict[str, str]) -> dict[str, list[str]]:
    """Return the options as words in which each path is absolute and without links and dots."""
    return {key: [_normal_word(word) for word in _words(value)] for key, value in options.items()}


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return [value]


def _normal_word(word: str) -> str:
    head, colon, name = word.rpartition(":")  # `FILE:CLASS`
    if not colon or not name.isidentifier():
        head, colon, name = word, "", ""
    is_text = head[:1] == "-" or "://" in head or "\0" in head
    if is_text or not ("/" in head or Path(head).exists()):
        return word
    return f"{Path(head).resolve()}{colon}{name}"
