"""Load a model and its tokenizer for this plugin's engine."""

from typing import Any

from sca_cli import MissingError, device_of, dtype_of
from sca_cli.toolkit.model_files import load_tokenizer, load_weights, locate


def load(name: str, dtype: str, device: str, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer from their files.

    Args:
        name: see `locate`.
        dtype: a torch type: `bfloat16`, `float16`, `float32`; or `auto`, see `dtype_of`.
        device: a torch device; or `auto`, which is the GPU if there is one, else the CPU.
        trust_remote_code: run Python code of the model's directory.

    Returns:
        The model, in evaluation mode on its device, and the tokenizer.

    Raises:
        ImportError: torch or transformers is not installed.
        MissingError: the files do not exist, are not a model, or have layers that the plugin cannot batch.
        ValueError: the type or the device does not exist.
    """
    from transformers.utils import logging

    from sca_transformers import attention
    from sca_transformers.packed import pack

    device = device_of(device)
    torch_dtype = dtype_of(dtype, device)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no types here
    attention.register()
    path = locate(name)
    tokenizer = load_tokenizer(path, name, trust_remote_code=trust_remote_code)
    model = load_weights(
        path,
        name,
        trust_remote_code=trust_remote_code,
        dtype=torch_dtype,
        attn_implementation=attention.NAME,
        local_files_only=True,
    )
    layer_types = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
    if not layer_types <= {"full_attention", "sliding_attention"}:
        unsupported = ", ".join(sorted(layer_types - {"full_attention", "sliding_attention"}))
        raise MissingError(f"'{name}' has layers this plugin cannot batch: {unsupported}", f"--model vllm:{name}")
    try:
        model = model.eval().requires_grad_(False).to(device)
    except RuntimeError as error:
        raise ValueError(f"device={device}: {str(error).splitlines()[0]}") from error
    if model.device.type == "cpu":
        pack(model)
    return model, tokenizer
