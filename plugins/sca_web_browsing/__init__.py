"""The `web_browsing` plugin: an invented town's web site, with the browser tools of M3ToolEval."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `web_browsing`."""
    register(
        "web_browsing",
        "sca_web_browsing.environment:WebBrowsing",
        help="a browser on a small town's web site (M3ToolEval's tools), five lines a view",
    )
