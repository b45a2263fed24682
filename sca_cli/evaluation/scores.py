"""Rollouts counted, and what is said of them: the score record, and the table that people read."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence

import sca_cli
from sca_cli.evaluation.contamination import Shared
from sca_cli.evaluation.estimates import Tally, estimate, interval, pass_at, pass_hat
from sca_cli.records import Interval, MadeBy, Overlap, Rollout, Score, SharedTasks, Usage

MANY_CALLS = 3
"""Tasks with so many calls or more are counted together."""
_WIDTH = 44
"""Of the names in the table."""


class Tallies:
    """What is counted of rollouts, in memory that grows with the tasks only."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        self.calls: dict[str, str] = {}
        self.envs: dict[str, str] = {}
        self.usage = Usage()
        self.users: set[str] = set()

    def count(self, rollout: Rollout) -> None:
        """Count one attempt."""
        task = rollout.task
        self.outcomes[task.id][rollout.outcome] += 1
        if task.calls is not None:
            self.calls[task.id] = f"{MANY_CALLS}+" if task.calls >= MANY_CALLS else str(task.calls)
        self.envs[task.id] = str(task.env)
        self.usage.prompt_tokens += rollout.usage.prompt_tokens
        self.usage.completion_tokens += rollout.usage.completion_tokens
        self.usage.turns += rollout.usage.turns
        self.usage.user_prompt_tokens += rollout.usage.user_prompt_tokens
        self.usage.user_completion_tokens += rollout.usage.user_completion_tokens
        self.usage.user_turns += rollout.usage.user_turns
        self.users |= {rollout.user_model} - {""}

    def of(self, ids: Iterable[str]) -> list[Tally]:
        """Return the tallies of some tasks."""
        return [Tally(self.outcomes[i]["pass"], self.outcomes[i]["pass"] + self.outcomes[i]["fail"]) for i in ids]

    def by(self, groups: dict[str, str]) -> dict[str, Interval]:
        """Return Pass@1 of each group of tasks."""
        members: dict[str, list[str]] = defaultdict(list)
        for task, group in groups.items():
            members[group].append(task)
        found = {group: estimate(self.of(ids), pass_at, 1) for group, ids in sorted(members.items())}
        return {group: value for group, value in found.items() if value is not None}


def score_of(tallies: Tallies, model: str, samples: int, noop: float | None) -> Score:
    """Return the score of one model."""
    every = tallies.of(tallies.outcomes)
    score = Score(model=model, tasks=len(every), samples=samples, noop=noop, usage=tallies.usage)
    for k in sorted({1, 2, 4, 8, samples}):
        if k <= samples and (found := estimate(every, pass_at, k)) is not None:
            score.pass_at[str(k)] = found
        if 1 < k <= samples and (found := estimate(every, pass_hat, k)) is not None:
            score.pass_hat[str(k)] = found
    score.user_model = ", ".join(sorted(tallies.users))
    score.by_calls, score.by_env = tallies.by(tallies.calls), tallies.by(tallies.envs)
    score.invalid = sum(counts["invalid"] for counts in tallies.outcomes.values())
    return score


def paired_difference(ours: Tallies, theirs: Tallies, without: Container[str] = ()) -> Interval | None:
    """Return the difference of Pass@1, task by task, over tasks that both have, without those of the ids given."""
    shared = [i for i in ours.outcomes if i in theirs.outcomes and i not in without]
    pairs = zip(ours.of(shared), theirs.of(shared), strict=True)
    values = [pass_at(a, 1) - pass_at(b, 1) for a, b in pairs if a.judged and b.judged]
    return interval(values, least=-1.0) if values else None


def overlap_of(shared: Shared | None, ours: Tallies, theirs: Tallies | None = None) -> Overlap | None:
    """Return what one model scores without the tasks that were trained on, and its difference to another there."""
    if shared is None:
        return None

    def without(ids: set[str]) -> SharedTasks:
        others = ours.of(i for i in ours.outcomes if i not in ids)
        difference = paired_difference(ours, theirs, ids) if theirs else None
        return SharedTasks(
            tasks=len(ids & ours.outcomes.keys()), pass_at_1=estimate(others, pass_at, 1), difference=difference
        )

    return Overlap(
        trained=shared.trained,
        same=len(shared.same & ours.outcomes.keys()),
        instruction=without(shared.instruction),
        program=without(shared.program),
        either=without(shared.either),
        calls=without(shared.calls),
    )


def counted(rollouts: Iterable[Rollout]) -> Tallies:
    """Count rollouts."""
    tallies = Tallies()
    for rollout in rollouts:
        tallies.count(rollout)
    return tallies


def scores_by_model(rollouts: Sequence[Rollout], shared: Shared | None) -> list[Score]:
    """Return the score of each model whose rollouts are given."""
    by_model: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        by_model[rollout.made_by.model if rollout.made_by else ""].append(rollout)
    scores = []
    for model, attempts in sorted(by_model.items()):
        per_task = Counter(rollout.task.id for rollout in attempts)
        tallies = counted(attempts)
        scores.append(score_of(tallies, model, min(per_task.values()), None))
        scores[-1].made_by = MadeBy(command="eval", model=model, version=sca_cli.__version__)
        scores[-1].overlap = overlap_of(shared, tallies)
    return scores


def table(scores: Sequence[Score]) -> str:
    """Return scores as text for people."""
    lines = []
    for score in scores:
        lines.append(f"sca eval: {score.model}: {score.tasks} tasks, {score.samples} attempts each")
        rows = [(f"Pass@{k}", value) for k, value in score.pass_at.items()]
        rows += [(f"pass^{k}", value) for k, value in score.pass_hat.items()]
        rows += [
            (f"Pass@1, {calls} call{'' if calls == '1' else 's'}", value) for calls, value in score.by_calls.items()
        ]
        if len(score.by_env) > 1:
            rows += zip(_told_apart("Pass@1, ", list(score.by_env)), score.by_env.values(), strict=True)
        if score.difference:
            rows.append((f"minus {score.against}", score.difference))
        lines += map(_row, rows)
        if score.noop is not None:
            lines.append(f"  {'doing nothing':<{_WIDTH}} {score.noop:6.1%}")
        if score.invalid:
            lines.append(f"  {'invalid attempts, in no estimate':<{_WIDTH}} {score.invalid:6d}")
        lines += _overlap_lines(score.overlap, score.against) if score.overlap else []
    return "\n".join(lines)


def _told_apart(what: str, envs: Sequence[str]) -> list[str]:
    """Return names that differ: without the options that all environments of a name have, in full where cut alike."""
    options = {env: env.partition(":")[2].split(",") for env in envs}
    names = {env: env.partition(":")[0] for env in envs}
    brief = []
    for env in envs:
        others = [options[other] for other in envs if other != env and names[other] == names[env]]
        own = [option for option in options[env] if not others or not all(option in other for other in others)]
        brief.append(":".join(filter(None, (names[env], ",".join(own)))))
    cut = [_shortened(what, name) for name in brief]
    return [name if cut.count(name) == 1 else f"{what}{env}" for name, env in zip(cut, brief, strict=True)]


def _shortened(what: str, env: str) -> str:
    """Return a name that fits: of an environment's options, such as a path or a command line, the end tells most."""
    name, colon, options = env.partition(":")
    room = _WIDTH - len(f"{what}{name}{colon}")
    return f"{what}{name}{colon}{options if len(options) <= room else f'…{options[1 - room :]}'}"


def _row(row: tuple[str, Interval]) -> str:
    name, value = row
    return f"  {name:<{_WIDTH}} {value.value:6.1%}   [{value.low:.1%}, {value.high:.1%}]"


def _overlap_lines(overlap: Overlap, against: str) -> Iterator[str]:
    yield f"  {'tasks trained on':<{_WIDTH}} {overlap.trained:6d}"
    parts = {
        "an instruction": overlap.instruction,
        "a program": overlap.program,
        "either": overlap.either,
        "calls": overlap.calls,
    }
    for what, part in parts.items():
        name = f"Pass@1 without {part.tasks} that share {what}"
        yield _row((name, part.pass_at_1)) if part.pass_at_1 else f"  {name:<{_WIDTH}}   none is left"
        if part.difference:
            yield _row((f"  minus {against}", part.difference))
