"""The proof `conditions`: each condition of the check should be tried by a failure case."""

from collections.abc import Iterator
from itertools import islice

from sca_cli.analysis import conditions
from sca_cli.records import Finding
from sca_cli.verification.trial import Trial

_WEAKENED_CHECKS = 12
"""Most weakened checks that are tried. Chosen by hand; not measured."""


def conditions_tried(trial: Trial) -> Iterator[Finding]:
    """Report each condition of the check that no failure case tries.

    A variant of the check has a constant in place of the condition, and still accepts the solution. A failure case
    tries the condition if this variant does not reject the failure case.
    """
    tried: set[str] = set()
    survivors: dict[str, None] = {}
    for condition, variant in islice(conditions.weakened(trial.task.evaluate), _WEAKENED_CHECKS):
        if condition in tried or trial.run(trial.task.solution, "", 0, variant).outcome != "pass":
            continue
        if all(trial.run(text, "", 0, variant).outcome == "fail" for text in trial.task.failure_cases):
            survivors[condition] = None
        else:
            tried.add(condition)
    for condition in survivors:
        if condition not in tried:
            yield Finding("conditions", f"no failure case tries the condition: {condition[:200]}", rejects=False)
