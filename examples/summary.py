"""Print what a run of `quickstart.sh` achieved: the scores before and after, and three tasks that are solved now.

    python examples/summary.py RUN

Reads RUN/scores.jsonl and RUN/attempts.jsonl (and .b, the trained model's), and draws RUN/scores.png.
"""

import contextlib
import sys
from pathlib import Path

from sca_cli import streams
from sca_cli.records import Interval, Rollout, Score

TASKS_SHOWN = 3


def main(run: Path) -> None:
    """Print the summary of a run and draw its picture."""
    before, after = streams.read([str(run / "scores.jsonl")], Score)
    rows = [("all", before.pass_at["1"], after.pass_at["1"])]
    for calls, interval in before.by_calls.items():
        rows.append((f"{calls} call{'s' * (calls != '1')}", interval, after.by_calls[calls]))
    print(f"\nHeld-out tasks solved ({before.tasks} tasks, one attempt each, 95 % intervals)\n")
    print(f"  {'':10} {'before':>24} {'after':>24}")
    for name, old, new in rows:
        print(f"  {name:10} {_text(old):>24} {_text(new):>24}")
    if difference := after.difference:
        low, high = 100 * difference.low, 100 * difference.high
        print(f"\n  difference in pairs: {100 * difference.value:+.1f} points [{low:.1f}, {high:.1f}]")
    if after.overlap is not None and (alone := after.overlap.calls.pass_at_1) is not None:
        print(
            f"  on the {after.tasks - after.overlap.calls.tasks} tasks whose calls no taught task makes: {_text(alone)}"
        )
    _print_solved(run)
    picture, report = run / "scores.png", run / "report.html"
    _draw(rows, picture)
    print(f"\nPicture: {picture}\nReport:  {report}\nModel:   {run / 'trained'}")


def _text(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _print_solved(run: Path) -> None:
    """Print tasks whose attempt failed before and passes now, with both replies; those of most calls first."""
    before = streams.read([str(run / "attempts.jsonl")], Rollout)
    replies = {rollout.task.id: _reply(rollout) for rollout in before if rollout.outcome == "fail"}
    solved = [
        rollout
        for rollout in streams.read([str(run / "attempts.jsonl.b")], Rollout)
        if rollout.outcome == "pass" and rollout.task.id in replies
    ]
    # A pass with fewer calls than the solution can be luck: those come last.
    solved.sort(key=lambda rollout: (len(rollout.calls) < (rollout.task.calls or 0), -(rollout.task.calls or 0)))
    if not solved:
        print("\nNo task is solved that was not solved before.")
    for rollout in solved[:TASKS_SHOWN]:
        print(f"\nTask:    {rollout.task.instruction}")
        print(f"Before:  {replies[rollout.task.id]}")
        print(f"Now:     {_reply(rollout)}")


def _reply(rollout: Rollout) -> str:
    """Return the model's last reply on one line, and how it ended."""
    text = next((message.content for message in reversed(rollout.messages) if message.role == "assistant"), "")
    code = text.replace("```python", "").replace("```", "").strip()
    line = "; ".join(part.strip() for part in code.splitlines() if part.strip())
    return f"{line[:160]}{'…' * (len(line) > 160)}  ({rollout.outcome})"


def _draw(rows: list[tuple[str, Interval, Interval]], path: Path) -> None:
    """Draw the scores with their intervals as a bar chart."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    for offset, place, label, colour in ((-0.2, 1, "before", "#9aa5b1"), (0.2, 2, "after", "#2563a8")):
        intervals = [row[place] for row in rows]
        heights = [100 * interval.value for interval in intervals]
        errors = [
            [100 * (interval.value - interval.low) for interval in intervals],
            [100 * (interval.high - interval.value) for interval in intervals],
        ]
        positions = [index + offset for index in range(len(rows))]
        axes.bar(positions, heights, 0.4, yerr=errors, capsize=3, label=label, color=colour)
    axes.set_xticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylabel("held-out tasks solved, %")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # `| head` is no error
        main(Path(sys.argv[1]))
        sys.stdout.flush()
