"""Which weights `--base` and `--student` name: a directory, a hub name, or the PLUGIN:NAME that runs them."""

from pathlib import Path

from sca_cli import plugins
from sca_cli.commands.shared.shell import required_model
from sca_cli.errors import UsageError


def weights_of(text: str, option: str = "--base") -> str:
    """Return the directory or the hub name that an option means.

    Args:
        text: a directory, a hub name, or PLUGIN:NAME[,k=v…] of a plugin that loads weights.
        option: name of the option, for the error message.

    Raises:
        MissingError: a package of the plugin is absent, or the weights cannot be downloaded.
        UsageError: the plugin does not load weights.
    """
    plugin, colon, _ = text.partition(":")
    if Path(text).exists() or not colon or plugin not in plugins.registry().models:
        return text
    if weights := plugins.model_weights(text):
        return weights
    raise UsageError(f"{option} is missing: '{plugin}' has no weights on this machine", f"{option} DIR_OR_HUB_NAME")


def base_of(model: str | None, base: str | None) -> str:
    """Return the weights to start from: `--base`, else those that `--model` runs.

    Raises:
        UsageError: neither names weights.
    """
    return weights_of(base or required_model(model))
