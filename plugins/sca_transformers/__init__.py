"""The `transformers` model plugin: run any Hugging Face causal language model in this process, on CPU or GPU."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `transformers:DIR_OR_HUB_ID`."""
    register(
        "transformers",
        "sca_transformers.model:TransformersModel",
        help="a model directory or hub id, run here: transformers:DIR_OR_HUB_ID",
        extra="transformers",
    )


@hookimpl
def sca_model_weights(name: str) -> str | None:
    """Return the name itself: it is a model directory or a hub id."""
    return name or None
