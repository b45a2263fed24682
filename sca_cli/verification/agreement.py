"""The round trip: do independent attempts at the instruction come to what the solution came to?

About a quarter of a small model's tasks that pass the filter are mislabelled: instruction and check ask for different
things, and each proves itself against the other's author only. Whoever reads the instruction afresh tells them apart.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from sca_cli.analysis.text_values import as_float
from sca_cli.records import JSON, Agreement, Finding, Rollout


def agreement(rollouts: Sequence[Rollout]) -> tuple[Agreement, list[Finding]]:
    """Return what came of the attempts at one task, and what that says against it.

    Two attempts come to the same outcome if they give the same answer and make the same changes. A task of which more
    than half the attempts that came to anything reach one outcome, which the check refuses, is mislabelled. One that
    nobody solves is not called hard but unsolved.
    """
    judged = [rollout for rollout in rollouts if rollout.outcome != "invalid"]
    outcomes = {rollout.sample: _outcome(rollout) for rollout in judged if _came_to_something(rollout)}
    passed = sum(rollout.outcome == "pass" for rollout in judged)
    found = Agreement(attempts=len(judged), passed=passed)
    for outcome, count in Counter(outcomes.values()).most_common(1):
        same = [rollout for rollout in judged if outcomes.get(rollout.sample) == outcome]
        found.majority, found.answer = count, same[0].answer
        if 2 * count > len(outcomes) and count > 1 and all(rollout.outcome == "fail" for rollout in same):
            message = (
                f"mislabelled: {count} of {len(judged)} attempts come to {found.answer!r}, which the check refuses"
            )
            return found, [Finding("agreement", message)]
    if not passed and judged:
        return found, [Finding("agreement", f"unsolved: none of {len(judged)} attempts passes", rejects=False)]
    return found, []


def _came_to_something(rollout: Rollout) -> bool:
    return rollout.answer is not None or any(call.changed() for call in rollout.calls)


def _outcome(rollout: Rollout) -> bytes:
    changes = [call.asked() for call in rollout.calls if call.changed()]
    return msgspec.json.encode([_canonical(rollout.answer), changes])


def _canonical(value: JSON) -> JSON:
    """Return a value in which numbers are rounded and texts differ by their words only."""
    match value:
        case bool():
            return value
        case int() | float():
            return float(f"{as_float(value):.6g}")
        case str():
            return " ".join(value.lower().split())
        case list():
            return [_canonical(part) for part in value]
        case dict():
            return {key: _canonical(part) for key, part in sorted(value.items())}
    return value
