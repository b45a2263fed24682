"""The `airline` plugin: an airline's customer desk with the tool names and signatures of TauBench's airline."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `airline`."""
    register(
        "airline",
        "sca_airline.environment:Airline",
        help="an airline's customer desk (TauBench's tools); data= a directory of TauBench's or tau2's own files",
    )
