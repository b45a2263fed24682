"""Find a model's files and load them. A hub that does not answer causes an error after some seconds, not a hang."""

from pathlib import Path
from typing import Any

from sca_cli import MissingError, device_of, dtype_of

_HUB_ANSWER_S = 4.0
"""Seconds to wait for the hub's first response; chosen by hand."""

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]


def locate(name: str) -> str:
    """Return the directory of a model; download the model from the hub if necessary.

    Args:
        name: a directory, or a hub id `OWNER/NAME`.

    Raises:
        MissingError: the directory does not exist, the hub does not have the model, or the hub does not answer and
            the model is not in the local cache.
    """
    path = Path(name).expanduser()
    if name and path.is_dir():
        return str(path)
    if not name or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise MissingError(f"no such model directory: '{name}'", "give a directory or a hub id OWNER/NAME")
    return _from_hub(name)


def _from_hub(name: str) -> str:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT)
    try:
        return str(snapshot_download(name, allow_patterns=_FILES, local_files_only=offline))
    except LocalEntryNotFoundError as error:
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        raise MissingError(
            f"'{name}' is neither a directory nor in the local cache, and {reason}", "give a model directory"
        ) from error
    except HfHubHTTPError as error:
        raise MissingError(f"cannot fetch '{name}': {str(error).splitlines()[0]}") from error


def _answers(endpoint: str) -> bool:
    import httpx

    try:
        httpx.head(endpoint, timeout=_HUB_ANSWER_S)
    except httpx.HTTPError:
        return False
    return True


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
