"""Paired differences of arms on the same tasks, and scores of arms without the tasks that overlap with training
data."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from sca_cli.evaluation.estimates import interval, pass_at, ratio
from sca_cli.records import Overlap, Score, SharedTasks
from sca_cli.report.arms import Arm
from sca_cli.report.counts import HeldOutAttempts
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import NOTHING, cell, estimate, factor, note, number, points, table, text

# ---------------------------------------------------------------- differences


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two arms to compare: for each seed the attempts of both."""

    label: str
    seeds: dict[int | None, tuple[HeldOutAttempts, HeldOutAttempts]]

    def rows(self, by_calls: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield (label, cells) of a table row for each seed, and a row for all seeds if there are several."""
        for seed, pair in self.seeds.items():
            label = text(self.label) + (f", seed {seed}" if seed is not None else "")
            yield label, self._cells([pair], by_calls)
        if len(self.seeds) > 1:
            label = f"<strong>{text(self.label)}, {len(self.seeds)} seeds</strong>"
            yield label, self._cells(list(self.seeds.values()), by_calls)

    def _cells(self, pairs: Sequence[tuple[HeldOutAttempts, HeldOutAttempts]], by_calls: Sequence[str]) -> list[str]:
        every, *others = [_in_pairs(pairs, name) for name in ("", *by_calls)]
        times = ratio([(theirs, ours) for ours, theirs in every])
        contents = [_difference(every), NOTHING if times is None else factor(times), *map(_difference, others)]
        return [cell(each) for each in contents]


def differences(gathered: Gathered, scored: Sequence[Arm], by_calls: Sequence[str]) -> str:
    """Return a table of paired differences: the main arm's last round minus the others, the others minus the baseline.

    Args:
        gathered: contains the attempts of the arms.
        scored: the arms that have scores.
        by_calls: numbers of calls as scores name them, such as `2` or `3+`.
    """
    base = [arm for arm in scored if arm.tone == "base"][:1]
    last = [arm for arm in scored if arm.tone == "main"][-1:]
    controls = [arm for arm in scored if arm.tone == "other"]
    rest = [arm for arm in scored if arm.tone != "base" and arm not in last]
    compared_arms = [*product(last, [*base, *controls]), *product(rest, base)]
    pairs = [_pair(gathered, one, other) for one, other in compared_arms]
    rows = [row for pair in pairs for row in pair.rows(by_calls)]
    if not rows:
        return ""
    head = [
        "paired difference, points",
        "all tasks",
        "ratio",
        *(f"{text(name)} {'call' if name == '1' else 'calls'}" for name in by_calls),
    ]
    remark = note(
        "One arm minus another, on the same tasks, with 95&nbsp;% intervals (tasks resampled). For several seeds, each "
        "task's mean over the seeds is taken first, so the interval is valid for these seeds. <em>Ratio</em> is the "
        "first arm's Pass@1 on all tasks divided by the second's."
    )
    return table(head, rows, caption="Differences of Pass@1") + remark


def _pair(gathered: Gathered, one: Arm, other: Arm) -> _Pair:
    seeds = {}
    for seed in one.scores:
        pair = _attempts(gathered, one, seed), _attempts(gathered, other, seed)
        if pair[0] and pair[1]:
            seeds[seed] = (pair[0], pair[1])
    return _Pair(f"{one.label} minus {other.label}", seeds)


def _attempts(gathered: Gathered, arm: Arm, seed: int | None) -> HeldOutAttempts | None:
    """Return the attempts from which a score was computed, or None if no recorded attempts give this score.

    They are the attempts of all files together, or of one file.
    """
    score = arm.scores.get(seed)
    if score is None or "1" not in score.pass_at:
        return None
    recorded = gathered.evaluated.get((arm.where, seed, score.model), [])
    return next((attempts for attempts in recorded if _gives_score(attempts, score)), None)


def _gives_score(attempts: HeldOutAttempts, score: Score) -> bool:
    judged = [tally for tally in map(attempts.tally, attempts.outcomes) if tally.judged]
    mean = sum(pass_at(tally, 1) for tally in judged) / max(len(judged), 1)
    return abs(mean - score.pass_at["1"].value) < 1e-9


def _in_pairs(pairs: Sequence[tuple[HeldOutAttempts, HeldOutAttempts]], calls: str) -> list[tuple[float, float]]:
    """Return Pass@1 of both arms for each task that both judged under every seed, as means over the seeds.

    Args:
        pairs: the attempts of both arms, for each seed.
        calls: only tasks with this number of calls, as a score names it; "" for all tasks.
    """
    by_task: dict[str, list[tuple[float, float]]] = {}
    for ours, theirs in pairs:
        for task in ours.outcomes:
            if task in theirs.outcomes and (not calls or _has(ours.calls.get(task), calls)):
                one, other = ours.tally(task), theirs.tally(task)
                if one.judged and other.judged:
                    by_task.setdefault(task, []).append((pass_at(one, 1), pass_at(other, 1)))
    every = [each for each in by_task.values() if len(each) == len(pairs)]
    return [(sum(one for one, _ in each) / len(each), sum(other for _, other in each) / len(each)) for each in every]


def _difference(pairs: Sequence[tuple[float, float]]) -> str:
    return points(interval([ours - theirs for ours, theirs in pairs], least=-1.0)) if pairs else NOTHING


def _has(calls: int | None, name: str) -> bool:
    """Tell whether a number of calls matches a name in a score: `2` is exactly 2, `3+` is 3 or more."""
    if calls is None or not name.removesuffix("+").isdecimal():
        return False
    return calls >= int(name[:-1]) if name.endswith("+") else calls == int(name)


# ---------------------------------------------------------------- overlap


def overlaps(scored: Sequence[Arm]) -> str:
    """Return a table of the scores without the tasks that overlap with training data (`eval --against`)."""
    rows = [
        (text(arm.label) + (f", seed {seed}" if seed is not None else ""), _overlap(score.overlap))
        for arm in scored
        for seed, score in arm.scores.items()
        if score.overlap
    ]
    if not rows:
        return ""
    head = ["Pass@1 without tasks that share", "trained on", "held-out of these", "an instruction"]
    head += ["a program", "either", "the calls"]
    remark = note(
        "Number of held-out tasks that share something with training tasks, Pass@1 of the other held-out tasks, and "
        "the difference to the baseline, in points. <em>Trained on</em> is the number of training tasks. "
        "<em>A program</em> ignores literals and names; <em>the calls</em> are the tools in order."
    )
    return table(head, rows, caption="Overlap with training tasks") + remark


def _overlap(overlap: Overlap) -> list[str]:
    shared = (overlap.instruction, overlap.program, overlap.either, overlap.calls)
    return [cell(number(overlap.trained)), cell(number(overlap.same)), *(cell(_without(part)) for part in shared)]


def _without(part: SharedTasks) -> str:
    if not part.tasks:
        return number(0)
    lines = [f"{number(part.tasks)} share", estimate(part.pass_at_1) if part.pass_at_1 else "none is left"]
    lines += [points(part.difference)] if part.difference else []
    return "<br>".join(lines)
