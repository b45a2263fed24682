"""`sca env show`: print the policy and the tools of an environment, as a model sees them."""

from sca_cli import messages, plugins
from sca_cli.commands.shared import options
from sca_cli.episode import chat
from sca_cli.sandbox import Limits, Sandbox


def command(name: options.EnvArgument, memory_mb: options.WorldMemoryMb = 512) -> None:
    """Show an environment's policy and tools, as a model sees them.

    \b
    Example:
      sca env show calculation:family=trade_calculator
    """
    spec = plugins.parse_env(name)
    plugins.fail_if_unknown([spec], [])
    with Sandbox(Limits(memory_mb=memory_mb)) as sandbox:
        for variant in plugins.expand_env(spec):
            tools, policy, _ = sandbox.describe(variant)
            parts = filter(None, [f"# {variant}", policy, chat.tool_listing(tools)])
            messages.show("\n\n".join(parts), end="\n\n")
