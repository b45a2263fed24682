"""Ask an environment which writes its policy allows, see `Environment.allows`."""

from sca_cli import plugins
from sca_cli.errors import WorldError
from sca_cli.methods.walk.knowledge import Write
from sca_cli.records import Exploration
from sca_cli.sandbox import Sandbox

_CHANGES = (-2, -1, 1, 2)
"""Changes of a number after which a forbidden write may be allowed. Chosen by hand."""


def rules_of(sandbox: Sandbox, exploration: Exploration, writes: list[Write]) -> list[str | None]:
    """Return for each write the rule that forbids it in the first state of an exploration's world, "" or None.

    Raises:
        WorldError: the environment's `reset` or `allows` raises an error.
    """
    if plugins.environment_entry(exploration.env).outside:  # a server has no such method
        return [None] * len(writes)
    with sandbox.session(exploration.env, exploration.seed) as session:
        return session.allows([(write.tool, write.arguments) for write in writes])


def firm(sandbox: Sandbox, exploration: Exploration, refused: list[tuple[Write, str]]) -> list[tuple[Write, str]]:
    """Return the forbidden writes that stay forbidden when one of their numbers is slightly different.

    If another number is allowed, an agent may offer it to the customer, so it is not certain that nothing changes. The
    environment may be unable to judge the other numbers, because no tool accepted these calls before. Then the list is
    empty.
    """
    variants = [
        (place, Write(write.tool, write.arguments | {name: value + change}, {}))
        for place, (write, _) in enumerate(refused)
        for name, value in write.arguments.items()
        if isinstance(value, int) and not isinstance(value, bool)
        for change in _CHANGES
        if value + change >= 0
    ]
    try:
        rules = rules_of(sandbox, exploration, [variant for _, variant in variants]) if variants else []
    except WorldError:
        return []
    mended = {place for (place, _), rule in zip(variants, rules, strict=True) if not rule}
    return [each for place, each in enumerate(refused) if place not in mended]
