"""The `vllm` model plugin: run a model with vLLM's engine, started by this process."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `vllm:DIR_OR_HUB_ID`."""
    register(
        "vllm",
        "sca_vllm.engine:VLLMModel",
        help="a model directory or hub id, run here by vLLM: vllm:DIR_OR_HUB_ID",
        extra="vllm",
    )


@hookimpl
def sca_model_weights(name: str) -> str | None:
    """Return the name itself: it is a model directory or a hub id."""
    return name or None
