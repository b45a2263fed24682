"""Load a model and its tokenizer for this plugin's engine."""

from typing import Any

from sca_cli import MissingError, device_of, dtype_of
from sca_cli.toolkit.model_files import locate


def load(name: str, dtype: str, device: str) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer from their files.

    Args:
        name: see `locate`.
        dtype: a torch type: `bfloat16`, `float16`, `float32`; or `auto`, see `dtype_of`.
        device: a torch device; or `auto`, which is the GPU if there is one, else the CPU.

    Returns:
        The model, in evaluation mode on its device, and the tokenizer.

    Raises:
        ImportError: torch or transformers is not installed.
        MissingError: the files do not exist, are not a model, or have layers that the plugin cannot batch.
        ValueError: the type or the device does not exist.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from sca_transformers import attention
    from sca_transformers.packed import pack

    device = device_of(device)
    kind = dtype_of(dtype, device)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no types here
    attention.register()
    path = locate(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=kind, attn_implementation=attention.NAME, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise MissingError(f"cannot load the model '{name}': {str(error).strip().splitlines()[0]}") from error
    layer_types = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
    if not layer_types <= {"full_attention", "sliding_attention"}:
        unsupported = ", ".join(sorted(layer_types - {"full_attention", "sliding_attention"}))
        raise MissingError(f"'{name}' has layers this plugin cannot batch: {unsupported}", f"--model vllm:{name}")
    try:
        model = model.eval().requires_grad_(False).to(device)  # type: ignore[no-untyped-call]  # as above
    except RuntimeError as error:
        raise ValueError(f"device={device}: {str(error).splitlines()[0]}") from error
    if model.device.type == "cpu":
        pack(model)
    return model, tokenizer
