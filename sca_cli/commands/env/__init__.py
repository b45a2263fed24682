"""`sca env`: list, show, test, create and serve environments; each has its own file."""

import typer

from sca_cli.commands.env import list as env_list
from sca_cli.commands.env import new as env_new
from sca_cli.commands.env import serve as env_serve
from sca_cli.commands.env import show as env_show
from sca_cli.commands.env import test as env_test

app = typer.Typer(help="List, show, test, create and serve environments.", no_args_is_help=True, rich_markup_mode=None)
app.command("list")(env_list.command)
app.command("show")(env_show.command)
app.command("test")(env_test.command)
app.command("new")(env_new.command)
app.command("serve")(env_serve.command)
