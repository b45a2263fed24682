"""The round trip: compare the check with independent attempts that a model makes from the instruction alone.

About a quarter of a small model's tasks that pass the filter are mislabelled: the instruction asks for one thing and
the check for another. The filter cannot notice, because the author of the check also wrote the solution and the failure
cases. An attempt that starts from the instruction shows the difference.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from sca_cli.analysis.text_values import as_float
from sca_cli.records import JSON, Agreement, Finding, Rollout


def agreement(rollouts: Sequence[Rollout]) -> tuple[Agreement, list[Finding]]:
    """Summarise the attempts at one task and report what they show against it.

    Two attempts agree if they give the same answer and make the same changes. A task is mislabelled, and rejected, if
    the check fails a group of two or more attempts that agree, and this group is more than half of the attempts with an
    answer or a change. A task is unsolved, which is only reported, if no attempt passes: it may be hard, or wrong.

    Args:
        rollouts: the attempts. Invalid ones are ignored.

    Returns:
        The summary, and at most one finding.
    """
    judged = [rollout for rollout in rollouts if rollout.outcome != "invalid"]
    result_by_sample = {rollout.sample: _result(rollout) for rollout in judged if _has_result(rollout)}
    passed = sum(rollout.outcome == "pass" for rollout in judged)
    summary = Agreement(attempts=len(judged), passed=passed)
    for result, count in Counter(result_by_sample.values()).most_common(1):
        majority = [rollout for rollout in judged if result_by_sample.get(rollout.sample) == result]
        summary.majority, summary.answer = count, majority[0].answer
        if 2 * count > len(result_by_sample) and count > 1 and all(rollout.outcome == "fail" for rollout in majority):
            message = (
                f"mislabelled: {count} of {len(judged)} attempts agree on {summary.answer!r}, which the check rejects"
            )
            return summary, [Finding("agreement", message)]
    if not passed and judged:
        return summary, [Finding("agreement", f"unsolved: none of {len(judged)} attempts passes", rejects=False)]
    return summary, []


def _has_result(rollout: Rollout) -> bool:
    return rollout.answer is not None or any(call.changed() for call in rollout.calls)


def _result(rollout: Rollout) -> bytes:
    """Return the answer and the changes of an attempt as bytes, which are equal for attempts that agree."""
    changes = [call.asked() for call in rollout.calls if call.changed()]
    return msgspec.json.encode([_canonical(rollout.answer), changes])


def _canonical(value: JSON) -> JSON:
    """Return a value with numbers rounded to six digits, strings in lower case with single spaces, keys sorted."""
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
