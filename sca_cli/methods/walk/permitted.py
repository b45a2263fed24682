"""Ask an environment which writes its policy allows, see `Environment.allows`."""

from sca_cli import plugins
from sca_cli.methods.walk.knowledge import Write
from sca_cli.records import Exploration
from sca_cli.sandbox import Sandbox


def rules_of(sandbox: Sandbox, exploration: Exploration, writes: list[Write]) -> list[str | None]:
    """Return for each write the rule that forbids it in the first state of an exploration's world, or None.

    Raises:
        WorldError: the environment's `reset` or `allows` raises an error.
    """
    if plugins.environment_entry(exploration.env).outside:  # a server has no such method
        return [None] * len(writes)
    with sandbox.session(exploration.env, exploration.seed) as session:
        return session.allows([(write.tool, write.arguments) for write in writes])
