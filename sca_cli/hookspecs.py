"""The hooks that a plugin may implement (pluggy, entry-point group `sca`). The manual is `sca-plugins(7)`.

A plugin registers an import string `package.module:factory`. So `sca plugins` lists plugins without importing heavy
libraries.
"""

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("sca")
hookimpl = pluggy.HookimplMarker("sca")


class Register(Protocol):
    """The function that a registration hook receives."""

    def __call__(
        self,
        name: str,
        target: str,
        *,
        help: str,  # noqa: A002  the name is part of the hook
        extra: str = "",
        argument: str = "",
        outside: bool = False,
    ) -> None:
        """Register a factory.

        Args:
            name: the name that users write after `--env`, `--model` or `sca export`.
            target: `package.module:factory`; it is imported on first use.
            help: one line for `sca plugins`.
            extra: the optional dependency group of `sca-cli` that it needs, or "".
            argument: for an environment with exactly one option: that option's name. The option's value is all text
                after `NAME:`, commas and colons included.
            outside: for an environment: the same value as `Environment.outside`.
        """


@hookspec
def sca_register_environments(register: Register) -> None:
    """Register environments. The factory takes the options as keyword arguments and returns an `Environment`."""


@hookspec
def sca_register_models(register: Register) -> None:
    """Register models. The factory takes the model's name and the options as keywords and returns a `Model`."""


@hookspec
def sca_register_exporters(register: Register) -> None:
    """Register formats of `sca export`.

    The factory is a function `export(source: ExportSource, folder: Path) -> int`. It writes files into the empty
    directory `folder` and returns the number of examples.
    """


@hookspec
def sca_register_commands(app: "typer.Typer") -> None:
    """Add commands to the `sca` program."""


@hookspec(firstresult=True)
def sca_model_weights(plugin: str, name: str) -> str | None:
    """Return the directory or hub name of a model's weights, or None if they are not on this machine.

    `sca train` and `sca distill` start from these weights. The hook is called only for models of the same plugin.

    Args:
        plugin: the registered name, the part of `PLUGIN:NAME` before the colon.
        name: the part after the colon, without options; may be "".
    """
