"""`sca plugins`: list what is installed, without importing anything heavy."""

from sca_cli import messages, plugins


def command() -> None:
    """List the environments, models and export formats of the installed plugins.

    \b
    Example:
      sca plugins

    Each line holds kind, name, description and plugin. Mistakes in plugins are reported on standard error, with a cure.
    """
    installed = plugins.registry()
    rows = [("environment", entry) for entry in installed.environments.values()]
    rows += [("model", entry) for entry in installed.models.values()]
    rows += [("export", entry) for entry in installed.exporters.values()]
    for kind, entry in rows:
        need = f" [needs sca-cli[{entry.extra}]]" if entry.extra else ""
        messages.show(f"{kind:<12}{entry.name:<16}{entry.help} ({entry.plugin}){need}")
    for text in installed.warnings():
        messages.write(f"sca plugins: {text}")
