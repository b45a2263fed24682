"""The `embedded` model plugin: a very small model for machines that reach no model hub."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `embedded:`."""
    register(
        "embedded",
        "sca_embedded.model:EmbeddedModel",
        help="SmolLM2-135M-Instruct from PyPI: shows the plumbing, not the gain",
        extra="embedded",
    )
