"""Arms in pairs of attempts at the same tasks, and their scores without tasks like those that were trained on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from sca_cli.evaluation.estimates import interval, pass_at, ratio
from sca_cli.records import Overlap, Score, SharedTasks
from sca_cli.report.arms import Arm
from sca_cli.report.counts import Evaluated
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import NOTHING, cell, estimate, factor, note, number, points, table, text

# ---------------------------------------------------------------- differences


@dataclass(frozen=True, slots=True)
class _Pair:
    """One arm minus another: for each seed the attempts of both."""

    label: str
    seeds: dict[int | None, tuple[Evaluated, Evaluated]]

    def rows(self, by_calls: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield a row for each seed, and one for all where there are several."""
        for seed, pair in self.seeds.items():
            told = text(self.label) + (f", seed {seed}" if seed is not None else "")
            yield told, self._cells([pair], by_calls)
        if len(self.seeds) > 1:
            told = f"<strong>{text(self.label)}, {len(self.seeds)} seeds</strong>"
            yield told, self._cells(list(self.seeds.values()), by_calls)

    def _cells(self, pairs: Sequence[tuple[Evaluated, Evaluated]], by_calls: Sequence[str]) -> list[str]:
        every, *others = [_in_pairs(pairs, name) for name in ("", *by_calls)]
        times = ratio([(theirs, ours) for ours, theirs in every])
        told = [_difference(every), NOTHING if times is None else factor(times), *map(_difference, others)]
        return [cell(each) for each in told]


def differences(gathered: Gathered, found: Sequence[Arm], by_calls: Sequence[str]) -> str:
    """Return a table of what arms differ by: the main arm's last round minus all others, the others minus the baseline.

    Args:
        found: the arms.
        by_calls: numbers of calls, as scores name them.
    """
    base = [arm for arm in found if arm.tone == "base"][:1]
    last = [arm for arm in found if arm.tone == "main"][-1:]
    controls = [arm for arm in found if arm.tone == "other"]
    rest = [arm for arm in found if arm.tone != "base" and arm not in last]
    against = [*product(last, [*base, *controls]), *product(rest, base)]
    pairs = [_pair(gathered, one, other) for one, other in against]
    rows = [row for pair in pairs for row in pair.rows(by_calls)]
    if not rows:
        return ""
    head = [
        "in pairs, points",
        "all tasks",
        "times",
        *(f"{text(name)} {'call' if name == '1' else 'calls'}" for name in by_calls),
    ]
    told = note(
        "One arm minus another, attempts at the same tasks in pairs, 95&nbsp;% intervals (tasks resampled; of several "
        "seeds the mean of each task, so that the interval is for these seeds). <em>Times</em> is the one's Pass@1 on "
        "all tasks over the other's."
    )
    return table(head, rows, caption="Differences of Pass@1") + told


def _pair(gathered: Gathered, one: Arm, other: Arm) -> _Pair:
    seeds = {}
    for seed in one.scores:
        pair = _attempts(gathered, one, seed), _attempts(gathered, other, seed)
        if pair[0] and pair[1]:
            seeds[seed] = (pair[0], pair[1])
    return _Pair(f"{one.label} minus {other.label}", seeds)


def _attempts(gathered: Gathered, arm: Arm, seed: int | None) -> Evaluated | None:
    """Return the attempts behind a score, of one file or of all; none where what was kept is not what was scored."""
    score = arm.scores.get(seed)
    if score is None or "1" not in score.pass_at:
        return None
    kept = gathered.evaluated.get((arm.where, seed, score.model), [])
    return next((found for found in kept if _is_behind(found, score)), None)


def _is_behind(found: Evaluated, score: Score) -> bool:
    judged = [tally for tally in map(found.tally, found.outcomes) if tally.judged]
    mean = sum(pass_at(tally, 1) for tally in judged) / max(len(judged), 1)
    return abs(mean - score.pass_at["1"].value) < 1e-9


def _in_pairs(pairs: Sequence[tuple[Evaluated, Evaluated]], calls: str) -> list[tuple[float, float]]:
    """Return Pass@1 of both at each task that all have, of a number of calls where one is given: means over seeds."""
    by_task: dict[str, list[tuple[float, float]]] = {}
    for ours, theirs in pairs:
        for task in ours.outcomes:
            if task in theirs.outcomes and (not calls or _has(ours.calls.get(task), calls)):
                one, other = ours.tally(task), theirs.tally(task)
                if one.judged and other.judged:
                    by_task.setdefault(task, []).append((pass_at(one, 1), pass_at(other, 1)))
    every = [each for each in by_task.values() if len(each) == len(pairs)]
    return [(sum(one for one, _ in each) / len(each), sum(other for _, other in each) / len(each)) for each in every]


def _difference(found: Sequence[tuple[float, float]]) -> str:
    return points(interval([ours - theirs for ours, theirs in found], least=-1.0)) if found else NOTHING


def _has(calls: int | None, name: str) -> bool:
    """Tell whether so many calls are what a score names `2`, or `3+`."""
    if calls is None or not name.removesuffix("+").isdecimal():
        return False
    return calls >= int(name[:-1]) if name.endswith("+") else calls == int(name)


# ---------------------------------------------------------------- overlap


def overlaps(found: Sequence[Arm]) -> str:
    """Return a table of what arms score without the tasks that are like those trained on (`eval --against`)."""
    rows = [
        (text(arm.label) + (f", seed {seed}" if seed is not None else ""), _overlap(score.overlap))
        for arm in found
        for seed, score in arm.scores.items()
        if score.overlap
    ]
    if not rows:
        return ""
    head = ["Pass@1 without tasks that share", "trained on", "held-out of these", "an instruction"]
    head += ["a program", "either", "the calls"]
    told = note(
        "How many held-out tasks share something with tasks trained on, Pass@1 of the others, and below it the "
        "difference to what was compared with, in points. <em>Trained on</em> counts tasks; <em>a program</em> leaves "
        "literals and names aside, <em>the calls</em> are tools in order."
    )
    return table(head, rows, caption="Overlap with what was trained on") + told


def _overlap(overlap: Overlap) -> list[str]:
    shared = (overlap.instruction, overlap.program, overlap.either, overlap.calls)
    return [cell(number(overlap.trained)), cell(number(overlap.same)), *(cell(_without(part)) for part in shared)]


def _without(part: SharedTasks) -> str:
    if not part.tasks:
        return number(0)
    told = [f"{number(part.tasks)} share", estimate(part.pass_at_1) if part.pass_at_1 else "none is left"]
    told += [points(part.difference)] if part.difference else []
    return "<br>".join(told)
