"""`sca plugins`: what is installed, read without importing anything heavy."""

import sys

from sca_cli import plugins


def command() -> None:
    """List environments and models that the installed plugins offer.

    \b
    Example:
      sca plugins

    One line each: kind, name, what it is, the plugin it comes from. Broken plugins are named on stderr with the cure.
    """
    found = plugins.registry()
    rows = [("environment", entry) for entry in found.environments.values()]
    rows += [("model", entry) for entry in found.models.values()]
    for kind, entry in rows:
        need = f" [needs sca-cli[{entry.extra}]]" if entry.extra else ""
        print(f"{kind:<12}{entry.name:<16}{entry.help} ({entry.plugin}){need}")
    for text in found.broken.values():
        print(f"sca plugins: {text}", file=sys.stderr)
