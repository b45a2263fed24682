"""The sections on results: a table of the scores of all arms, and curves of the training."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from sca_cli.analysis.text_values import as_float
from sca_cli.records import Checkpoint, Interval, Score
from sca_cli.report import charts, paired
from sca_cli.report.arms import Arm, Estimates, arms, order
from sca_cli.report.charts import Curve, Dots
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import (
    NOTHING,
    cell,
    figure,
    minutes,
    note,
    number,
    points,
    section,
    share,
    table,
    text,
)
from sca_cli.report.places import Place
from sca_cli.training.metrics import CURVES, Curves

# ---------------------------------------------------------------- scores


def scores(gathered: Gathered) -> str:
    """Return the section on scores; "" if there are none."""
    scored = arms(gathered)
    if not scored:
        return ""
    by_calls = _names(scored, lambda score: score.by_calls)
    return section(
        "scores",
        "Scores on held-out tasks",
        note(
            "Pass@1 with 95&nbsp;% intervals (tasks resampled). <em>Baseline</em> is the model with which the others "
            "are compared, on the same tasks. A mean over seeds is followed by the values of its lowest and "
            "highest seed: this is a range, not a confidence interval."
        ),
        _chart(scored, by_calls),
        table(
            ["Pass@1", "all tasks", *(f"{text(name)} {_calls(name)}" for name in by_calls), "minus baseline, points"],
            _with_differences(scored, by_calls),
        ),
        paired.differences(gathered, scored, by_calls),
        _table_of(scored, "Pass@k: at least one of k attempts passes", lambda score: score.pass_at, "Pass@"),
        _table_of(scored, "pass^k: all of k attempts pass", lambda score: score.pass_hat, "pass^"),
        _table_of(scored, "Pass@1 by environment", lambda score: score.by_env, ""),
        paired.overlaps(scored),
        _evaluations(scored),
    )


def _names(scored: Sequence[Arm], of: Estimates) -> list[str]:
    """Return the names of all estimates, sorted by the number at their beginning."""
    names = {name for arm in scored for score in arm.scores.values() for name in of(score)}
    return sorted(names, key=lambda name: (int(digits[0]) if (digits := re.match(r"[0-9]{1,9}", name)) else 0, name))


def _calls(name: str) -> str:
    return "call" if name == "1" else "calls"


def _all_and_by_calls(score: Score) -> dict[str, Interval]:
    every = {"all": score.pass_at["1"]} if "1" in score.pass_at else {}
    return every | score.by_calls


def _with_differences(scored: Sequence[Arm], by_calls: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for arm in scored:
        differences = [score.difference for score in arm.scores.values() if score.difference]
        last_cells = [points(each.difference) if each.difference else NOTHING for each in arm.scores.values()]
        if len(arm.scores) > 1:
            mean = sum(each.value for each in differences) / len(differences) if differences else 0.0
            last_cells.append(f"<strong>{100 * mean:+.1f}</strong>" if len(differences) == len(arm.scores) else NOTHING)
        rows = arm.rows(_all_and_by_calls, ["all", *by_calls])
        yield from ((name, [*cells, cell(last)]) for (name, cells), last in zip(rows, last_cells, strict=True))


def _chart(scored: Sequence[Arm], by_calls: Sequence[str]) -> str:
    panels = []
    for name in ["all", *by_calls]:
        rows = [Dots(arm.label, arm.tone, each) for arm in scored if (each := _estimates(arm, name))]
        if rows:
            panels.append(("all tasks" if name == "all" else f"{name} {_calls(name)}", rows))
    if not panels:
        return ""
    chart = charts.dots("Pass@1 of every arm with 95 % intervals, all tasks and by number of calls", panels)
    return figure(chart, "Pass@1, one line for each seed; the vertical stroke is the mean.")


def _estimates(arm: Arm, name: str) -> list[Interval]:
    by_seed = (_all_and_by_calls(score) for score in arm.scores.values())
    return [each[name] for each in by_seed if name in each]


def _table_of(scored: Sequence[Arm], caption: str, of: Estimates, prefix: str) -> str:
    names = _names(scored, of)
    if not names:
        return ""
    rows = (
        list(arm.rows(of, names))[-1] for arm in scored
    )  # only the mean of several seeds: each seed is in the table above
    head = [text(prefix + name).replace(":", ":<wbr>") for name in names]
    return table(["", *head], rows, caption=text(caption))


def _evaluations(scored: Sequence[Arm]) -> str:
    rows = [
        (
            text(arm.label) + (f", seed {seed}" if seed is not None else ""),
            [
                cell(text(score.model), kind="words"),
                cell(text(score.against) or NOTHING, kind="words"),
                cell(number(score.tasks)),
                cell(number(score.samples)),
                cell(number(score.invalid)),
                cell(NOTHING if score.noop is None else share(score.noop)),
            ],
        )
        for arm in scored
        for seed, score in arm.scores.items()
    ]
    head = ["", "model", "compared with", "tasks", "attempts each", "invalid attempts", "doing nothing passes"]
    return table(head, rows, caption="Evaluations")


# ---------------------------------------------------------------- curves


def learning(gathered: Gathered) -> str:
    """Return the section on training: the curves of each metric by step, and Pass@1 by round."""
    checkpoints = sorted(gathered.checkpoints, key=lambda pair: order(pair[0]))
    named = [(_run_name(place), checkpoint) for place, checkpoint in checkpoints]
    curves_of = {identity: curves for _, identity, curves in gathered.trainings if identity}
    trainings = [
        (place, each.algorithm, curves_of.get(each.id) or _curves_of_record(each)) for place, each in checkpoints
    ]
    # the others are still running, or their records are not among the files
    known = {each.id for _, each in checkpoints}
    trainings += [(place, "", curves) for place, identity, curves in gathered.trainings if identity not in known]
    trainings.sort(key=lambda training: order(training[0]))
    figures: list[str] = []
    for _, group in groupby(trainings, lambda training: (training[0].arm, training[0].round)):
        members = list(group)
        for metric, heading in CURVES.items():
            lines = [
                Curve(": ".join(filter(None, (_run_name(place), algorithm))), curves[metric])
                for place, algorithm, curves in members
                if len(curves.get(metric, ())) > 1
            ]
            figures += _figures(f"{heading} by step", lines, "step", f"{text(heading)}.")
    return section("learning", "Learning", _rounds(gathered), *figures, _trainings(named))


def _curves_of_record(checkpoint: Checkpoint) -> Curves:
    """Return the curves that a record contains: the losses, and the figures of the rounds."""
    curves: Curves = {}
    rounds, losses = checkpoint.metrics.get("rounds"), checkpoint.metrics.get("losses")
    for name, values in {**(rounds if isinstance(rounds, dict) else {}), "loss": losses}.items():
        if isinstance(values, list) and all(isinstance(value, int | float | None) for value in values):
            steps = max(len(losses) // len(values), 1) if isinstance(losses, list) and values else 1  # of a round
            points = [(step * steps, as_float(value)) for step, value in enumerate(values, 1) if value is not None]
            curves[name] = [(step, max(-1e6, min(value, 1e6))) for step, value in points]
    return curves


def _figures(title: str, lines: Sequence[Curve], x_name: str, caption: str, *, shares: bool = False) -> Iterator[str]:
    for start in range(0, len(lines), charts.MOST_CURVES):
        chart = charts.curves(title, lines[start : start + charts.MOST_CURVES], x_name, shares=shares)
        yield figure(chart, caption)


def _run_name(place: Place) -> str:
    parts = [place.arm or "main", place.round is not None and f"round {place.round}"]
    parts += [place.seed is not None and f"seed {place.seed}"]
    return ", ".join(str(part) for part in parts if part)


def _trainings(named: Sequence[tuple[str, Checkpoint]]) -> str:
    if not named:
        return ""
    columns = ("examples", "tokens", "loss_tokens", "steps", "first_loss", "last_loss")
    rows = []
    for name, checkpoint in named:
        metrics, seconds = checkpoint.metrics, checkpoint.metrics.get("seconds")
        cells = [cell(text(checkpoint.base_model), kind="words"), cell(text(checkpoint.algorithm))]
        cells += [cell(number(metrics.get(column))) for column in columns]
        cells.append(cell(minutes(seconds) if isinstance(seconds, float) else NOTHING))
        rows.append((text(name), cells))
    head = ["", "base model", "algorithm", *(column.replace("_", " ") for column in columns), "minutes"]
    return table(head, rows, caption="Training runs")


def _rounds(gathered: Gathered) -> str:
    scored = arms(gathered)
    names = dict.fromkeys(arm.name for arm in scored if arm.round is not None)
    lines = []
    for name in names:
        rounds = [arm for arm in scored if arm.name == name and arm.round is not None]
        for seed in dict.fromkeys(seed for arm in rounds for seed in arm.scores):
            before = [(0, arm.scores[seed]) for arm in scored if arm.tone == "base" and seed in arm.scores][:1]
            after = [(arm.round or 0, arm.scores[seed]) for arm in rounds if seed in arm.scores]
            at = [(number, score.pass_at["1"]) for number, score in [*before, *after] if "1" in score.pass_at]
            label = name if seed is None else f"{name}, seed {seed}"
            if at:
                lines.append(Curve(label, [(x, each.value) for x, each in at], [each for _, each in at]))
    caption = "Pass@1 by round, 95&nbsp;% intervals; round 0 is the baseline."
    return "\n".join(_figures("Pass@1 by round", lines, "round", caption, shares=True))
