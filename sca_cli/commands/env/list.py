"""`sca env list`: list the environments of all plugins."""

from sca_cli import messages, plugins


def command() -> None:
    """List the environments.

    \b
    Example:
      sca env list
    """
    for entry in plugins.registry().environments.values():
        messages.show(f"{entry.name:<16}{entry.help}")
