"""Draw the results of `run.sh`: the held-out score of each algorithm, and the learning curves.

    python plot.py DIR PICTURE.png

Left: Pass@1 on the held-out tasks with its 95 % interval, one point a seed. The grey band is the model that training
started from.
Right: the share of passed attempts in each round of the online algorithms (their training tasks), the mean over seeds.
It also prints the held-out scores as a Markdown table.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from sca_cli import streams
from sca_cli.records import Checkpoint, Interval, Score

ALGORITHMS = ("sft", "rft", "dpo", "kto", "reinforce", "rloo", "grpo", "ppo")


def score(path: Path) -> Interval:
    """Return the Pass@1 of a score file."""
    (record,) = streams.read([str(path)], Score)
    return record.pass_at["1"]


def scores(place: Path, algorithm: str) -> dict[int, Interval]:
    """Return seed → Pass@1 of the models that an algorithm trained."""
    paths = place.glob(f"{algorithm}-*-score.jsonl")
    return dict(sorted((int(path.name.split("-")[1]), score(path)) for path in paths))


def rewards(place: Path, algorithm: str) -> list[list[float]]:
    """Return the rewards of each round, one list a seed."""
    checkpoints = (
        record for path in place.glob(f"{algorithm}-*.json") for record in streams.read([str(path)], Checkpoint)
    )
    return [record.metrics["rounds"]["reward"] for record in checkpoints if "rounds" in record.metrics]


def main(place: Path, picture: Path) -> None:
    """Draw the picture and print the table."""
    start = score(place / "warm-score.jsonl")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.axhspan(100 * start.low, 100 * start.high, color="0.9")
    left.axhline(100 * start.value, color="0.5", label="start")
    print(f"| algorithm | Pass@1 by seed (start: {text(start)}) |\n|---|---|")
    for number, algorithm in enumerate(ALGORITHMS):
        found = scores(place, algorithm)
        print(f"| {algorithm} | {' · '.join(text(interval) for interval in found.values())} |")
        for seed, interval in found.items():
            middle = 100 * interval.value
            ends = [[middle - 100 * interval.low], [100 * interval.high - middle]]
            left.errorbar(number + 0.15 * (seed - 1), middle, yerr=ends, fmt="o", color=f"C{number}", markersize=4)
        curves = rewards(place, algorithm)
        if curves:
            means = [100 * sum(values) / len(values) for values in zip(*curves, strict=False)]
            right.plot(smooth(means), color=f"C{number}", label=algorithm)
    left.set_xticks(range(len(ALGORITHMS)), ALGORITHMS)
    left.set_ylabel("held-out tasks: Pass@1 (%)")
    right.set_ylabel("training tasks: attempts passed (%), mean of 4 rounds")
    right.set_xlabel("round")
    for axes in (left, right):
        axes.set_ylim(0, 100)
        axes.legend()
    figure.savefig(picture, dpi=150)


def smooth(values: list[float], width: int = 4) -> list[float]:
    """Return the mean of each value and of up to `width - 1` values before it."""
    windows = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


def text(interval: Interval) -> str:
    """Return an interval in per cent."""
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
