"""The `calculation` plugin: four families of small tools with the names and signatures of M3ToolEval."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `calculation`."""
    register(
        "calculation",
        "sca_calculation.environment:Calculation",
        help="messages, DNA, trade and travel arithmetic (M3ToolEval's tools); family= picks one",
    )
