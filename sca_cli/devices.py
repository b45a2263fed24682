"""Choose the device and the precision for torch, in one place for training and for models that run in this process."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sca_cli.errors import MissingError

if TYPE_CHECKING:
    import torch


def ask_for_huge_pages() -> None:
    """Let torch allocate large CPU tensors in pages of 2 MiB, unless the user has set the variable.

    A training step allocates gigabytes again and again, and each new page costs a page fault. torch reads the variable
    when it allocates its first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def device_of(requested: str) -> str:
    """Return the torch device to use; `auto` means a GPU if there is one. On a GPU, also switch cuDNN's attention off.

    cuDNN's attention makes a new plan for every tensor shape, and the shapes here are almost never equal.

    Args:
        requested: `auto`, or the name of a torch device.

    Raises:
        MissingError: a GPU is requested but torch finds none.
    """
    import torch

    if requested == "auto":
        requested = "cuda" if torch.cuda.is_available() else "cpu"
    if requested.startswith("cuda"):
        if not torch.cuda.is_available():
            raise MissingError(f"device {requested}: torch finds no GPU", "use the device cpu")
        torch.backends.cuda.enable_cudnn_sdp(False)
    return requested


def dtype_of(requested: str, device: str) -> "torch.dtype":
    """Return the torch type with this name; `auto` means bfloat16 where the hardware multiplies it, else float32.

    Args:
        requested: `auto`, or the name of a torch type.
        device: the device the type is for.

    Raises:
        ValueError: torch has no such type.
    """
    import torch

    if requested == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if not isinstance(dtype := getattr(torch, requested, None), torch.dtype):
        raise ValueError(f"dtype={requested} is not a torch type")
    return dtype


def _multiplies_bfloat16(device: str) -> bool:
    """Return whether the device has instructions that multiply bfloat16.

    On a CPU, its flags say so. With these instructions a product in bfloat16 takes half the time of float32; without
    them it takes five times as long.
    """
    if device != "cpu":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
