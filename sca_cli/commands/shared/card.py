"""What describes a trained model to people: the model card and the picture of its curves."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sca_cli.commands.shared.shell import say
from sca_cli.records import JSON, Checkpoint
from sca_cli.training import metrics

CARD = "README.md"
"""The model card, as the Hugging Face hub reads it."""

_MOST_IDS = 20
"""Most ids of data that the card lists; chosen by hand."""

_FIGURES = ("examples", "pairs", "tokens", "loss_tokens", "steps", "first_loss", "last_loss", "stopped", "seconds")
"""The metrics of the record that the card shows."""

_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{path}")
model = AutoModelForCausalLM.from_pretrained("{path}")
```

`sca eval --env ENV --model transformers:{path}` measures it on the held-out tasks of an environment.
"""


def describe(checkpoint: Checkpoint, directory: Path, files: Sequence[str], *, quiet: bool) -> None:
    """Draw the curves and write the model card into the directory of a trained model; the card is written last.

    Args:
        checkpoint: the record of the model.
        directory: holds the weights, and `metrics.jsonl`.
        files: the input files.
        quiet: do not report that the picture is missing.
    """
    verb = checkpoint.made_by.command if checkpoint.made_by else "train"
    path = directory / metrics.FILE
    if path.exists():
        with path.open("rb") as lines:
            curves = metrics.read_curves(lines)
        try:
            metrics.draw(curves, f"sca {verb}: {checkpoint.algorithm}", directory / metrics.PICTURE)
        except ImportError:
            say(f"sca {verb}: no picture of the curves: it needs pip install 'sca-cli[plot]'", quiet=quiet)
    (directory / CARD).write_text(card(checkpoint, files, picture=(directory / metrics.PICTURE).exists()))


def card(checkpoint: Checkpoint, files: Sequence[str], *, picture: bool) -> str:
    """Return the model card: YAML that the hub reads, and the text.

    Args:
        checkpoint: the record of the model.
        files: the input files.
        picture: show the picture of the curves.
    """
    from huggingface_hub import ModelCardData

    base = checkpoint.base_model
    on_hub = re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", base) is not None and not Path(base).exists()
    data = ModelCardData(
        base_model=base if on_hub else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["sca", checkpoint.algorithm],
    )
    version = f" {checkpoint.made_by.version}" if checkpoint.made_by and checkpoint.made_by.version else ""
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {Path(checkpoint.path).name}\n",
        f"A model that sca{version} trained. `sca-checkpoint.json` is the complete record of the training.\n",
        "## Training\n",
        _table(_about(checkpoint, files)),
        "## Results\n",
        _table(_results(checkpoint)),
        "A score on held-out tasks is not known at the end of a training; `sca eval` measures it.\n",
        *([f"![Curves of the training]({metrics.PICTURE})\n"] if picture else []),
        "## Use\n",
        _USE.format(path=checkpoint.path),
    ]
    return "\n".join(parts)


def _about(checkpoint: Checkpoint, files: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield "base model", f"`{checkpoint.base_model}`"
    yield "algorithm", checkpoint.algorithm
    if checkpoint.control:
        yield "control arm", checkpoint.control
    if checkpoint.made_by and checkpoint.made_by.model:
        yield "attempts by", f"`{checkpoint.made_by.model}`"
    yield "files", ", ".join(f"`{name}`" if name != "-" else "standard input" for name in files)
    ids = checkpoint.data
    listed = ", ".join(f"`{each}`" for each in ids) if len(ids) <= _MOST_IDS else ""
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    yield "data", f"{len(ids)} records{f': {listed}' if listed else ''}; SHA-256 of the ids, one a line: `{digest}`"
    for name, value in checkpoint.settings.items():
        if value is not None:
            yield name.replace("_", " "), _shown(value)


def _results(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    for name in _FIGURES:
        if name in checkpoint.metrics:
            yield name.replace("_", " "), _shown(checkpoint.metrics[name])
    rounds: Any = checkpoint.metrics.get("rounds")
    if isinstance(rounds, dict) and (rewards := rounds.get("reward")):
        yield "reward, first and last round", f"{rewards[0]:.1%}, {rewards[-1]:.1%}"


def _shown(value: JSON) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: Iterator[tuple[str, str]]) -> str:
    lines = [f"| {name} | {value.replace('|', chr(92) + '|')} |" for name, value in rows]
    return "\n".join(["| | |", "|---|---|", *lines, ""])
