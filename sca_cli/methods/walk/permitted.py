"""Ask an environment which writes its policy allows, see `Environment.allows`."""

from sca_cli import plugins
from sca_cli.methods.walk.knowledge import Write
from sca_cli.records import Exploration
from sca_cli.sandbox import Sandbox


def permitted(sandbox: Sandbox, exploration: Exploration, writes: list[Write]) -> list[Write]:
    """Return the writes that the policy allows in the first state of an exploration's world.

    Raises:
        WorldError: the environment's `reset` or `allows` raises an error.
    """
    if plugins.environment_entry(exploration.env).outside:  # a server has no such method
        return writes
    with sandbox.session(exploration.env, exploration.seed) as session:
        rules = session.allows([(write.tool, write.arguments) for write in writes])
    return [write for write, rule in zip(writes, rules, strict=True) if rule is None]
