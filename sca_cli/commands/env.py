"""`sca env list | show`: the environments, and what one of them shows a model."""

from typing import Annotated

import typer

from sca_cli import chat, plugins
from sca_cli.sandbox import Limits, Sandbox

app = typer.Typer(help="List environments, show one.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_environments() -> None:
    """List the environments.

    \b
    Example:
      sca env list
    """
    for entry in plugins.registry().environments.values():
        print(f"{entry.name:<16}{entry.help}")


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME[:k=v,…]", help="Environment and its options.", show_default=False)
    ],
) -> None:
    """Show an environment's policy and tools, as a model sees them.

    \b
    Example:
      sca env show calculation:family=trade_calculator
    """
    spec = plugins.parse_env(name)
    plugins.fail_if_unknown([spec], [])
    with Sandbox(Limits()) as sandbox:
        for variant in plugins.expand_env(spec):
            place = sandbox.describe(variant)
            print(f"# {variant}\n\n{place.policy}\n\n{chat.tool_listing(place.tools)}\n")
