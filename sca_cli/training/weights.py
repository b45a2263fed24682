"""Load a model and its tokenizer for training, and write the trained model with its tokenizer and configuration."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca_cli import plugins
from sca_cli.errors import MissingError
from sca_cli.toolkit import model_files

if TYPE_CHECKING:
    import torch

TEXT_FILES = (
    "tokenizer*",
    "*.jinja",
    "vocab.*",
    "merges.txt",
    "*_tokens*.json",
    "*.tiktoken",
    "generation_config.json",
)
"""Files of a model directory other than its configuration and weights."""


def load_tokenizer(base_model: str, *, trust_remote_code: bool = False) -> Any:
    """Return the tokenizer of a model directory or hub name.

    Raises:
        MissingError: the train extra is not installed, or the model does not exist.
    """
    if base_model.startswith((".", "/", "~")) and not Path(base_model).is_dir():
        raise MissingError(f"no such model directory: '{base_model}'", "give a directory or a hub id OWNER/NAME")
    try:
        return model_files.load_tokenizer(base_model, base_model, trust_remote_code=trust_remote_code)
    except ImportError as error:
        raise plugins.missing_package(error, "training", "pip install 'sca-cli[train]'") from error


def load_model(base_model: str, dtype: Any, *, trust_remote_code: bool = False) -> Any:
    """Load a model with its weights in `dtype`; "auto" keeps the precision of the files.

    Raises:
        MissingError: there is no such model, or it is no causal language model.
    """
    return model_files.load_weights(base_model, base_model, dtype=dtype, trust_remote_code=trust_remote_code)


def merged_weights(trained: Any) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the weights that training changes, with their names in the base model.

    The weights of an adapter are merged: W + B A * alpha / r, in float32. The trained model is not changed.

    Args:
        trained: a model, bare or under PEFT with one LoRA adapter.
    """
    import torch
    from peft import PeftModel
    from peft.tuners.lora import Linear

    with torch.no_grad():
        if not isinstance(trained, PeftModel):
            yield from trained.state_dict().items()
            return
        for name, layer in trained.get_base_model().named_modules():
            if isinstance(layer, Linear):
                base: Any = layer.get_base_layer()
                yield f"{name}.weight", base.weight.float() + layer.get_delta_weight("default").float()


def write_model(
    trained: Any,
    base_model: str,
    adapter: Any,
    out: Path,
    *,
    beside: Sequence[Path] = (),
    trust_remote_code: bool = False,
) -> None:
    """Write the base model with the trained weights, in the base model's own precision and configuration.

    The base model is loaded again, because the trained one may have been rounded and the trainer changed it. A LoRA
    adapter is merged into the weights.

    Args:
        trained: the model after training.
        base_model: directory or hub name of the model before training.
        adapter: configuration of the trained LoRA adapter; None: all weights were trained.
        out: output directory (created). It appears only when all its files are written.
        beside: files and directories to copy into it; those that do not exist are left out.
        trust_remote_code: as for `load_weights`.
    """
    import torch
    from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

    model = load_model(base_model, "auto", trust_remote_code=trust_remote_code)
    if adapter:
        adapted = get_peft_model(model, adapter)
        set_peft_model_state_dict(adapted, get_peft_model_state_dict(trained))
        model = adapted.merge_and_unload()
    else:
        with torch.no_grad():
            model.load_state_dict(trained.state_dict())
    partial = out.with_name(out.name + ".partial")
    if partial.is_symlink():  # it is not followed
        partial.unlink()
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    load_tokenizer(base_model, trust_remote_code=trust_remote_code).save_pretrained(partial)
    # Loading and saving a tokenizer can change it, because transformers builds it from the model type. If the base
    # model is a directory, its own files are copied instead.
    for pattern in TEXT_FILES:
        for path in Path(base_model).glob(pattern):
            shutil.copyfile(path, partial / path.name)
    for path in beside:
        if path.is_dir():
            shutil.copytree(path, partial / path.name)
        elif path.exists():
            shutil.copyfile(path, partial / path.name)
    for path in [*partial.iterdir(), partial]:
        _sync(path)
    partial.rename(out)
    _sync(out.absolute().parent)


def _sync(path: Path) -> None:
    """Flush a file or directory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
