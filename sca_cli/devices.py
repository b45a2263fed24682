"""Which device and which precision torch is to use: one answer for training and for models that run here."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sca_cli.errors import MissingError

if TYPE_CHECKING:
    import torch


def ask_for_huge_pages() -> None:
    """Let large tensors on the CPU lie in pages of 2 MiB, unless the user said otherwise.

    A step of training takes gigabytes anew, a fault a page. torch reads this at its first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def device_of(wanted: str) -> str:
    """Return the torch device that is meant: `auto` is a GPU where there is one.

    On a GPU cuDNN's attention is switched off: it plans anew for every shape, and ours are never alike.

    Raises:
        MissingError: a GPU is wanted and there is none.
    """
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        if not torch.cuda.is_available():
            raise MissingError(f"device {wanted}: torch finds no GPU", "use the device cpu")
        torch.backends.cuda.enable_cudnn_sdp(False)
    return wanted


def dtype_of(wanted: str, device: str) -> "torch.dtype":
    """Return a torch type by its name; `auto` is bfloat16 where the hardware multiplies it, else float32.

    Raises:
        ValueError: torch has no such type.
    """
    import torch

    if wanted == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    if not isinstance(kind := getattr(torch, wanted, None), torch.dtype):
        raise ValueError(f"dtype={wanted} is not a torch type")
    return kind


def _multiplies_bfloat16(device: str) -> bool:
    """Tell it by the processor's flags: with them it takes half of float32's time, without them five times that."""
    if device != "cpu":
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
