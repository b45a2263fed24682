"""The arms of a run that have scores: the baseline, the main arm, its rounds, and the controls."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import msgspec

from sca_cli.records import Interval, Score, content_id
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import NOTHING, cell, estimate, share, text
from sca_cli.report.places import Place

type Estimates = Callable[[Score], dict[str, Interval]]
"""Returns some estimates of a score by name, such as Pass@1 by number of calls."""


@dataclass(slots=True)
class Arm:
    """The scores of one arm, one for each seed."""

    label: str
    tone: Literal["base", "main", "other"]
    """The role of the arm: baseline, main arm or control. It sets the colour in charts."""
    name: str
    """The name of the arm; all its rounds have the same name."""
    round: int | None
    where: str
    """The directory of its records, as in `Place.arm`."""
    scores: dict[int | None, Score] = field(default_factory=dict)

    def rows(self, of: Estimates, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield (label, cells) of a table row for each seed, and a row for their mean if there are several seeds."""
        for seed, score in self.scores.items():
            label = text(self.label) + (f", seed {seed}" if seed is not None else "")
            estimates = of(score)
            yield label, [cell(estimate(estimates[name]) if name in estimates else NOTHING) for name in names]
        if len(self.scores) > 1:
            means = [
                self._mean([of(score)[name] for score in self.scores.values() if name in of(score)]) for name in names
            ]
            yield (
                f"<strong>{text(self.label)}, mean of {len(self.scores)} seeds</strong>",
                [cell(mean) for mean in means],
            )

    def _mean(self, estimates: list[Interval]) -> str:
        if len(estimates) < len(self.scores):
            return NOTHING
        values = [each.value for each in estimates]
        span = f'<span class="ci">{100 * min(values):.1f} to {100 * max(values):.1f}</span>'
        return f"<strong>{share(sum(values) / len(values))}</strong> {span}"


def arms(gathered: Gathered) -> list[Arm]:
    """Return the arms that have scores, in this order: baselines, the main arm and its rounds, the controls.

    The same measurement of a baseline can be recorded next to several arms; it is used once.
    """
    compared = {score.against for _, score in gathered.scores} - {""}
    stems = defaultdict(set)
    for place, _ in gathered.scores:
        stems[place.arm].add(_stem(place))
    arm_by_rank: dict[tuple[int, str, int, int, str], Arm] = {}
    baselines: set[tuple[int | None, str]] = set()
    for place, score in sorted(gathered.scores, key=lambda pair: order(pair[0])):
        arm_name = _name(place, alone=len(stems[place.arm] - {"before"}) == 1)
        base = not score.against and (score.model in compared or arm_name == "before")
        # without the overlap, which differs between arms: each arm has its own --against
        measured = place.seed, content_id(msgspec.structs.replace(score, overlap=None))
        if base and measured in baselines:
            continue  # the same measurement, recorded again next to another arm
        baselines |= {measured} if base else set()
        tone: Literal["base", "main", "other"] = "base" if base else "other" if place.arm else "main"
        name = arm_name if arm_name == "before" or not base else "baseline"
        number_of_round = None if base else place.round
        label = name if number_of_round is None else f"{name}, round {number_of_round}"
        rank = (("base", "main", "other").index(tone), name, -1 if number_of_round is None else number_of_round)
        for again, suffix in enumerate(_suffixes(score)):
            fresh = Arm(label + suffix, tone, name + suffix, number_of_round, place.arm)
            arm = arm_by_rank.setdefault((*rank, again, suffix), fresh)
            if place.seed not in arm.scores:
                arm.scores[place.seed] = score
                break
    return [arm for _, arm in sorted(arm_by_rank.items())]


def _suffixes(score: Score) -> Iterator[str]:
    """Yield label suffixes that distinguish scores of one arm, round and seed: none, the model, model and number."""
    yield from ("", f" · {score.model}")
    yield from (f" · {score.model} ({number})" for number in count(2))


def order(place: Place) -> tuple[str, int, int, str]:
    """Return the sort key of a place: arm, round, seed, file."""
    return (place.arm, -1 if place.round is None else place.round, -1 if place.seed is None else place.seed, place.stem)


def _stem(place: Place) -> str:
    """Return the name of a file of scores without the word `score` or `scores` at its beginning or end."""
    return re.sub(r"^scores?(?:[-_.]|$)|[-_.]scores?$", "", place.stem)


def _name(place: Place, *, alone: bool) -> str:
    """Return the name of an arm: its directory, and the file's name if the directory has other files of scores."""
    stem = _stem(place)
    file_name = "" if alone and stem != "before" else stem
    return "/".join(filter(None, (place.arm or ("" if file_name else "main"), file_name)))
