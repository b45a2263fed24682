"""The arms of a run that were scored: what the others are compared with, the main arm, its rounds, the controls."""

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


@dataclass(slots=True)
class Arm:
    """The scores of one arm, a score for each seed."""

    label: str
    tone: Literal["base", "main", "other"]
    name: str
    """The arm's own name, which its rounds share."""
    round: int | None
    where: str
    """The directory of its records, as `Place.arm` has it."""
    scores: dict[int | None, Score] = field(default_factory=dict)

    def rows(self, of: Estimates, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Yield a row for each seed, and one for their mean where there are several."""
        for seed, score in self.scores.items():
            told = text(self.label) + (f", seed {seed}" if seed is not None else "")
            found = of(score)
            yield told, [cell(estimate(found[name]) if name in found else NOTHING) for name in names]
        if len(self.scores) > 1:
            means = [
                self._mean([of(score)[name] for score in self.scores.values() if name in of(score)]) for name in names
            ]
            yield (
                f"<strong>{text(self.label)}, mean of {len(self.scores)} seeds</strong>",
                [cell(mean) for mean in means],
            )

    def _mean(self, found: list[Interval]) -> str:
        if len(found) < len(self.scores):
            return NOTHING
        values = [each.value for each in found]
        span = f'<span class="ci">{100 * min(values):.1f} to {100 * max(values):.1f}</span>'
        return f"<strong>{share(sum(values) / len(values))}</strong> {span}"


def arms(gathered: Gathered) -> list[Arm]:
    """Return the arms that were scored: what the others are compared with, the main arm, its rounds, the controls."""
    compared = {score.against for _, score in gathered.scores} - {""}
    stems = defaultdict(set)
    for place, _ in gathered.scores:
        stems[place.arm].add(_stem(place))
    made: dict[tuple[int, str, int, int, str], Arm] = {}
    baselines: set[tuple[int | None, str]] = set()
    for place, score in sorted(gathered.scores, key=lambda pair: order(pair[0])):
        named = _name(place, alone=len(stems[place.arm] - {"before"}) == 1)
        base = not score.against and (score.model in compared or named == "before")
        measured = place.seed, content_id(msgspec.structs.replace(score, overlap=None))  # each arm has an --against
        if base and measured in baselines:
            continue  # the same measurement, kept beside each arm that is compared with it
        baselines |= {measured} if base else set()
        tone: Literal["base", "main", "other"] = "base" if base else "other" if place.arm else "main"
        name = named if named == "before" or not base else "baseline"
        number_of_round = None if base else place.round
        label = name if number_of_round is None else f"{name}, round {number_of_round}"
        rank = (("base", "main", "other").index(tone), name, -1 if number_of_round is None else number_of_round)
        for again, suffix in enumerate(_suffixes(score)):
            fresh = Arm(label + suffix, tone, name + suffix, number_of_round, place.arm)
            arm = made.setdefault((*rank, again, suffix), fresh)
            if place.seed not in arm.scores:
                arm.scores[place.seed] = score
                break
    return [arm for _, arm in sorted(made.items())]


def _suffixes(score: Score) -> Iterator[str]:
    """Yield what tells a score from others of its arm, round and seed: nothing, its model, a number."""
    yield from ("", f" · {score.model}")
    yield from (f" · {score.model} ({number})" for number in count(2))


def order(place: Place) -> tuple[str, int, int, str]:
    """Return by what records of several places are sorted: arm, round, seed, file."""
    return (place.arm, -1 if place.round is None else place.round, -1 if place.seed is None else place.seed, place.stem)


def _stem(place: Place) -> str:
    """Return what the name of a file of scores says beside that it holds scores."""
    return re.sub(r"^scores?(?:[-_.]|$)|[-_.]scores?$", "", place.stem)


def _name(place: Place, *, alone: bool) -> str:
    """Return what an arm is called: its directory, and the file's name where others stand beside it."""
    stem = _stem(place)
    told = "" if alone and stem != "before" else stem
    return "/".join(filter(None, (place.arm or ("" if told else "main"), told)))
