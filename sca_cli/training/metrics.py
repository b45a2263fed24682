"""The metrics of a training: the file with one line a step, and the picture of its curves."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

FILE = "metrics.jsonl"
"""Name of the file, in the work directory and in the directory of the trained model."""

PICTURE = "curves.png"
"""Name of the picture, in the directory of the trained model."""

CURVES = {
    "loss": "Training loss",
    "reward": "Reward (mean of the round)",
    "validation": "Reward on the validation tasks",
    "accuracy": "Share of pairs in the right order",
    "margin": "Margin of the pairs, nats",
    "entropy": "Entropy, nats a token",
    "kl": "Divergence from the model before training, nats",
    "drift": "Difference between trainer and sampler, nats a token",
    "length": "Own tokens of a rollout",
    "dropped": "Tasks without variance in a round",
    "invalid": "Invalid share of the rollouts",
}
"""Name of a metric → heading of its curve; the curves are drawn in this order."""

type Curves = dict[str, list[tuple[float, float]]]
"""Name of a metric → (step, value) of each step that has the metric."""


class MetricsFile:
    """A file with one JSON object a step; each line is complete as soon as the step ends.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, history: Iterable[Mapping[str, Any]]) -> None:
        """Replace the file by the steps that the checkpoint contains; the other steps are computed again.

        Args:
            history: what the trainer logged up to the checkpoint.
        """
        fresh = self._path.with_name(f"{FILE}.new")
        fresh.write_text("".join(_line(entry) for entry in history if "loss" in entry))
        fresh.replace(self._path)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Append the line of one step."""
        with self._path.open("a") as file:
            file.write(_line(entry))


def _line(entry: Mapping[str, Any]) -> str:
    """Return the line of a step; a number that JSON cannot hold becomes null.

    The other names are sorted, because a checkpoint does not keep their order.
    """
    finite = {name: value if math.isfinite(value) else None for name, value in sorted(entry.items())}
    first = {name: finite[name] for name in ("step", "epoch", "loss", "learning_rate")}
    return json.dumps(first | finite) + "\n"


def read_curves(lines: Iterable[bytes]) -> Curves:
    """Return the curves of a metrics file, in the order of `CURVES`; an incomplete last line is left out.

    Raises:
        ValueError: another line is not an object with the number of a step.
    """
    curves: Curves = {name: [] for name in CURVES}
    for line in lines:
        if not line.endswith(b"\n"):
            break
        entry = msgspec.json.decode(line, type=dict[str, float | None])
        if (step := entry.get("step")) is None:
            raise ValueError("no metrics of a training: a line without the number of its step")
        for name, points in curves.items():
            if (value := entry.get(name)) is not None:
                points.append((step, value))
    return {name: points for name, points in curves.items() if points}


def draw(curves: Curves, title: str, path: Path) -> None:
    """Draw one panel for each curve.

    Args:
        curves: at least one curve.
        title: heading of the picture.
        path: the PNG file to write.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(4.2 * columns, 2.8 * rows), layout="constrained")
    panels: Sequence[Any] = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for panel, (name, points) in zip(panels, curves.items(), strict=False):
        panel.plot([step for step, _ in points], [value for _, value in points], linewidth=1.2)
        panel.set_title(CURVES[name], fontsize=9)
        panel.set_xlabel("step", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    figure.suptitle(title, fontsize=10)
    # without the program's version, the same curves give the same bytes
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})
