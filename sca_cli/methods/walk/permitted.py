"""Ask an environment which writes its policy allows, see `Environment.allows`."""

import threading
from functools import cache

from sca_cli import plugins
from sca_cli.interfaces import Environment
from sca_cli.methods.walk.knowledge import Write
from sca_cli.records import EnvSpec, Exploration

_lock = threading.Lock()


def permitted(exploration: Exploration, writes: list[Write]) -> list[Write]:
    """Return the writes that the policy allows in the first state of an exploration's world.

    Raises:
        PluginError: the environment's constructor, `reset` or `allows` raises an error.
    """
    entry = plugins.environment_entry(exploration.env)
    factory = None if entry.outside else plugins.import_target(entry)
    if not isinstance(factory, type) or getattr(factory, "allows", None) is Environment.allows:
        return writes
    with _lock, plugins.naming_plugin(entry, f"allows() of environment '{exploration.env.name}'"):
        environment = _environment(exploration.env.name, tuple(sorted(exploration.env.options.items())))
        environment.reset(exploration.seed)
        return [write for write in writes if environment.allows(write.tool, write.arguments) is None]


@cache
def _environment(name: str, options: tuple[tuple[str, str], ...]) -> Environment:
    return plugins.load_environment(EnvSpec(name=name, options=dict(options)))
