"""The work directory of a training run: which run it belongs to, and the checkpoint from which that run resumes."""

import hashlib
import json
import shutil
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sca_cli.errors import UsageError
from sca_cli.training.data import Example


def fingerprint_of(data: Sequence[Example], base_model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal to resume a run: the tokens and loss masks, the options, the base model."""
    digest = hashlib.sha256()
    for example in data:
        digest.update(array("q", [len(example.input_ids), *example.input_ids]).tobytes() + bytes(example.loss_mask))
    # these options do not change the trained model
    ignored = {"save_every_steps", "threads", "report_to"}
    settings = {name: value for name, value in options.items() if name not in ignored}
    return {"data": digest.hexdigest(), "base model": base_fingerprint(base_model), "options": settings}


def base_fingerprint(base_model: str) -> str:
    """Return the name of a base model, and a hash of its configuration if it is a directory."""
    config = Path(base_model) / "config.json"
    digest = hashlib.sha256(config.read_bytes()).hexdigest()[:16] if config.is_file() else ""
    return f"{base_model} {digest}".strip()


def last_checkpoint(work: Path, fingerprint: dict[str, Any]) -> Path | None:
    """Return the newest complete checkpoint in `work`, or None; delete incomplete ones.

    Raises:
        UsageError: `work` belongs to a run with other data, options or base model.
    """
    note = work / "run.json"
    if not note.exists():
        return None
    try:
        before = json.loads(note.read_text())
    except json.JSONDecodeError:  # the process was killed while it wrote the file: there is no checkpoint yet
        before = fingerprint
    differing = [name for name in fingerprint if fingerprint[name] != before.get(name)]
    if "options" in differing:
        differing[differing.index("options")] = ", ".join(
            name for name, value in fingerprint["options"].items() if value != before["options"].get(name)
        )
    if differing:
        raise UsageError(
            f"{work} belongs to another run: different {', '.join(differing)}",
            "repeat the settings of that run, or remove the directory",
        )
    complete = []
    for checkpoint in work.glob("checkpoint-*"):
        if _is_complete(checkpoint):
            complete.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(complete, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _is_complete(checkpoint: Path) -> bool:
    """Tell whether a checkpoint is complete: the trainer writes its state as the last file."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, json.JSONDecodeError):
        return False
    return True
