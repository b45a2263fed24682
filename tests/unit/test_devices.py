"""The device and the precision that torch uses."""

import os
from pathlib import Path

import pytest

from sca_cli import MissingError, ask_for_huge_pages, device_of, dtype_of

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("flags", "kind"),
    [("fma avx2", torch.float32), ("avx512f avx512_bf16", torch.bfloat16), ("amx_bf16", torch.bfloat16)],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, kind: torch.dtype
) -> None:
    """`auto` is bfloat16 only on processors that multiply it; elsewhere it is emulated, and slower than float32."""
    monkeypatch.setattr(Path, "read_text", lambda _: f"flags : {flags}\n")
    assert dtype_of("auto", "cpu") is kind
    assert dtype_of("float16", "cpu") is torch.float16


def test_a_machine_that_does_not_tell_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without /proc/cpuinfo gets float32."""

    def refuse(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    assert dtype_of("auto", "cpu") is torch.float32


def test_a_type_that_torch_has_not_is_refused() -> None:
    """An unknown dtype is refused before any weights are read, and the message names it."""
    with pytest.raises(ValueError, match="dtype=float1 is not a torch type"):
        dtype_of("float1", "cpu")


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without a GPU is an error that says so; `auto` takes the CPU instead."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == "cpu"
    with pytest.raises(MissingError, match="device cuda:0: torch finds no GPU"):
        device_of("cuda:0")


def test_what_the_user_said_of_huge_pages_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Huge pages are requested only if the user did not set the variable."""
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    ask_for_huge_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    ask_for_huge_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "1"
