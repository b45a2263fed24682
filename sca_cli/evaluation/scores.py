"""Count rollouts, and turn the counts into score records and a table of text."""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence

import sca_cli
from sca_cli.evaluation.contamination import OverlappingTasks
from sca_cli.evaluation.estimates import AttemptCounts, estimate, interval, pass_at, pass_hat
from sca_cli.records import Interval, MadeBy, Overlap, Rollout, Score, SharedTasks, Usage

MANY_CALLS = 3
"""Tasks with at least this many calls form one group."""
_WIDTH = 44
"""Width of the first column of the table, in characters."""


class Tallies:
    """Counts of rollouts. Their size grows with the number of tasks, not of rollouts."""

    def __init__(self) -> None:
        self.outcomes: dict[str, Counter[str]] = defaultdict(Counter)
        """Task id → outcome → number of rollouts."""
        self.calls: dict[str, str] = {}
        """Task id → its group by number of calls."""
        self.envs: dict[str, str] = {}
        """Task id → its environment."""
        self.usage = Usage()
        """Tokens and turns of all rollouts."""
        self.users: set[str] = set()
        """Names of the user models."""

    def count(self, rollout: Rollout) -> None:
        """Count one rollout."""
        task = rollout.task
        self.outcomes[task.id][rollout.outcome] += 1
        if task.calls is not None:
            self.calls[task.id] = f"{MANY_CALLS}+" if task.calls >= MANY_CALLS else str(task.calls)
        self.envs[task.id] = str(task.env)
        self.usage.prompt_tokens += rollout.usage.prompt_tokens
        self.usage.completion_tokens += rollout.usage.completion_tokens
        self.usage.turns += rollout.usage.turns
        self.usage.cut_before_text += rollout.usage.cut_before_text
        self.usage.user_prompt_tokens += rollout.usage.user_prompt_tokens
        self.usage.user_completion_tokens += rollout.usage.user_completion_tokens
        self.usage.user_turns += rollout.usage.user_turns
        self.users |= {rollout.user_model} - {""}

    def of(self, ids: Iterable[str]) -> list[AttemptCounts]:
        """Return the counts of each of these tasks."""
        return [
            AttemptCounts(self.outcomes[i]["pass"], self.outcomes[i]["pass"] + self.outcomes[i]["fail"]) for i in ids
        ]

    def by(self, groups: dict[str, str]) -> dict[str, Interval]:
        """Return Pass@1 of each group of tasks; groups without a judged attempt are left out.

        Args:
            groups: task id → name of its group.
        """
        members: dict[str, list[str]] = defaultdict(list)
        for task, group in groups.items():
            members[group].append(task)
        estimates = {group: estimate(self.of(ids), pass_at, 1) for group, ids in sorted(members.items())}
        return {group: value for group, value in estimates.items() if value is not None}


def score_of(tallies: Tallies, model: str, samples: int, noop: float | None) -> Score:
    """Return the score of one model.

    Args:
        tallies: counts of its rollouts.
        model: its name, for the record.
        samples: attempts per task, the largest k.
        noop: share of the tasks that pass when nothing is done; None if not measured.
    """
    all_tasks = tallies.of(tallies.outcomes)
    score = Score(model=model, tasks=len(all_tasks), samples=samples, noop=noop, usage=tallies.usage)
    for k in sorted({1, 2, 4, 8, samples}):
        if k <= samples and (value := estimate(all_tasks, pass_at, k)) is not None:
            score.pass_at[str(k)] = value
        if 1 < k <= samples and (value := estimate(all_tasks, pass_hat, k)) is not None:
            score.pass_hat[str(k)] = value
    score.user_model = ", ".join(sorted(tallies.users))
    score.by_calls, score.by_env = tallies.by(tallies.calls), tallies.by(tallies.envs)
    score.invalid = sum(counts["invalid"] for counts in tallies.outcomes.values())
    return score


def paired_difference(ours: Tallies, theirs: Tallies, without: Container[str] = ()) -> Interval | None:
    """Return the mean difference of Pass@1 (ours minus theirs) over the tasks that both have.

    Args:
        ours: counts of the evaluated model.
        theirs: counts of the baseline model.
        without: ids of tasks to leave out.
    """
    shared = [i for i in ours.outcomes if i in theirs.outcomes and i not in without]
    pairs = zip(ours.of(shared), theirs.of(shared), strict=True)
    values = [pass_at(a, 1) - pass_at(b, 1) for a, b in pairs if a.judged and b.judged]
    return interval(values, least=-1.0) if values else None


def overlap_of(shared: OverlappingTasks | None, ours: Tallies, theirs: Tallies | None = None) -> Overlap | None:
    """Return a model's score without the tasks that overlap with its training data, by kind of overlap.

    Args:
        shared: the overlap; None returns None.
        ours: counts of the evaluated model.
        theirs: counts of the baseline model. If given, the difference to it is computed on the same tasks.
    """
    if shared is None:
        return None

    def without(ids: set[str]) -> SharedTasks:
        remaining = ours.of(i for i in ours.outcomes if i not in ids)
        difference = paired_difference(ours, theirs, ids) if theirs else None
        return SharedTasks(
            tasks=len(ids & ours.outcomes.keys()), pass_at_1=estimate(remaining, pass_at, 1), difference=difference
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
    """Return the counts of rollouts."""
    tallies = Tallies()
    for rollout in rollouts:
        tallies.count(rollout)
    return tallies


def scores_by_model(rollouts: Sequence[Rollout], shared: OverlappingTasks | None) -> list[Score]:
    """Return the score of each model that made some of the rollouts, sorted by the model's name.

    Args:
        rollouts: attempts of any number of models.
        shared: the overlap with the training data, or None.
    """
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
    """Return scores as a table of text."""
    lines = []
    for score in scores:
        lines.append(f"sca eval: {score.model}: {score.tasks} tasks, {score.samples} attempts each")
        rows = [(f"Pass@{k}", value) for k, value in score.pass_at.items()]
        rows += [(f"pass^{k}", value) for k, value in score.pass_hat.items()]
        rows += [
            (f"Pass@1, {calls} call{'' if calls == '1' else 's'}", value) for calls, value in score.by_calls.items()
        ]
        if len(score.by_env) > 1:
            rows += zip(_distinct_names("Pass@1, ", list(score.by_env)), score.by_env.values(), strict=True)
        if score.difference:
            rows.append((f"minus {score.against}", score.difference))
        lines += map(_row, rows)
        if score.noop is not None:
            lines.append(f"  {'doing nothing':<{_WIDTH}} {score.noop:6.1%}")
        if score.invalid:
            lines.append(f"  {'invalid attempts, in no estimate':<{_WIDTH}} {score.invalid:6d}")
        lines += _overlap_lines(score.overlap, score.against) if score.overlap else []
    return "\n".join(lines)


def _distinct_names(prefix: str, envs: Sequence[str]) -> list[str]:
    """Return a short, distinct row name for each environment.

    Options that all environments of the same name share are left out. The rest is shortened to the width of the column,
    unless two names would then be equal.

    Args:
        prefix: begins each row name.
        envs: the environments, as `name:options`.
    """
    options = {env: env.partition(":")[2].split(",") for env in envs}
    names = {env: env.partition(":")[0] for env in envs}
    brief = []
    for env in envs:
        others = [options[other] for other in envs if other != env and names[other] == names[env]]
        own = [option for option in options[env] if not others or not all(option in other for other in others)]
        brief.append(":".join(filter(None, (names[env], ",".join(own)))))
    shortened = [_shortened(prefix, name) for name in brief]
    return [
        name if shortened.count(name) == 1 else f"{prefix}{env}" for name, env in zip(shortened, brief, strict=True)
    ]


def _shortened(prefix: str, env: str) -> str:
    """Return a row name that fits the column. Long options keep their end, which differs most in paths and commands."""
    name, colon, options = env.partition(":")
    room = _WIDTH - len(f"{prefix}{name}{colon}")
    return f"{prefix}{name}{colon}{options if len(options) <= room else f'…{options[1 - room :]}'}"


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
    for kind, part in parts.items():
        name = f"Pass@1 without {part.tasks} that share {kind}"
        yield _row((name, part.pass_at_1)) if part.pass_at_1 else f"  {name:<{_WIDTH}}   none is left"
        if part.difference:
            yield _row((f"  minus {against}", part.difference))
