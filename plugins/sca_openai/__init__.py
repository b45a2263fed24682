"""The `openai` model plugin: any server that speaks the OpenAI chat API, `vllm serve` included."""

from sca_cli import Register, hookimpl


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `openai:NAME`."""
    register(
        "openai",
        "sca_openai.client:OpenAIModel",
        help="a model behind an OpenAI-compatible server: openai:NAME[,base_url=URL]",
        extra="openai",
    )
