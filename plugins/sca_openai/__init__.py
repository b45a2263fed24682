"""The `openai` model plugin: use any server with the OpenAI chat API, for example `vllm serve`."""

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
