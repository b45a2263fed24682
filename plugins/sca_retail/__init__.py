"""The `retail` plugin: a shop's service desk with the tool names and signatures of TauBench v1 retail."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `retail`."""
    register(
        "retail",
        "sca_retail.environment:Retail",
        help="a shop's service desk (TauBench retail's tools); data= a directory with TauBench's own files",
    )
