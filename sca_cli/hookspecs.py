"""The hooks a plugin may implement (pluggy, entry-point group `sca`). `sca-plugins(7)` is the manual.

Registration takes an import string `package.module:factory`, so that listing plugins imports nothing heavy.
"""

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("sca")
hookimpl = pluggy.HookimplMarker("sca")


class Register(Protocol):
    """What a registration hook is given."""

    def __call__(
        self,
        name: str,
        target: str,
        *,
        help: str,  # noqa: A002  the hook's own word
        extra: str = "",
        argument: str = "",
        outside: bool = False,
    ) -> None:
        """Register a factory.

        Args:
            name: what users type after `--env` or `--model`.
            target: `package.module:factory`, imported on first use.
            help: one line for `sca plugins`.
            extra: the optional dependency group of `sca-cli` it needs, or "".
            argument: for an environment with one option that takes all that follows `NAME:` as it stands, commas and
                colons included: that option's name.
            outside: for an environment: the same as `Environment.outside`.
        """


@hookspec
def sca_register_environments(register: Register) -> None:
    """Register environments: the factory takes the options as keyword arguments and returns an `Environment`."""


@hookspec
def sca_register_models(register: Register) -> None:
    """Register models: the factory takes the model's name and the options as keywords and returns a `Model`."""


@hookspec
def sca_register_commands(app: "typer.Typer") -> None:
    """Add commands of your own to the `sca` program."""
