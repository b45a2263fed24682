"""The work directory of a training run: whose it is, and where a killed run goes on."""

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
    """Return what must be equal for a run to go on: the tokens, the options, the base model."""
    digest = hashlib.sha256()
    for example in data:
        digest.update(array("q", [len(example.input_ids), *example.input_ids]).tobytes() + bytes(example.loss_mask))
    config = Path(base_model) / "config.json"
    base = hashlib.sha256(config.read_bytes()).hexdigest()[:16] if config.is_file() else ""
    # where and how often checkpoints are made changes nothing that is learnt
    free = {"save_every_steps", "threads"}
    settings = {name: value for name, value in options.items() if name not in free}
    return {"data": digest.hexdigest(), "base model": f"{base_model} {base}".strip(), "options": settings}


def last_checkpoint(work: Path, fingerprint: dict[str, Any]) -> Path | None:
    """Return the newest whole checkpoint in `work`, if there is one, and clear away torn ones.

    Raises:
        UsageError: `work` belongs to a run with other data, options or base model.
    """
    note = work / "run.json"
    if not note.exists():
        return None
    try:
        before = json.loads(note.read_text())
    except json.JSONDecodeError:  # killed while it was written: nothing can be in there yet
        before = fingerprint
    differing = [name for name in fingerprint if fingerprint[name] != before.get(name)]
    if "options" in differing:
        differing[differing.index("options")] = ", ".join(
            name for name, value in fingerprint["options"].items() if value != before["options"].get(name)
        )
    if differing:
        raise UsageError(
            f"{work} is of another run: {', '.join(differing)} differ",
            "train with what it was begun with, or remove it",
        )
    whole = []
    for checkpoint in work.glob("checkpoint-*"):
        if _is_whole(checkpoint):
            whole.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint was written to its end: the trainer's state is the last file."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
    except (OSError, json.JSONDecodeError):
        return False
    return True
