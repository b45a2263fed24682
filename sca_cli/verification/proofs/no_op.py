"""The proof `no-op`: a task must not pass if nothing is done."""

import re
from collections.abc import Iterator

from sca_cli.analysis import source
from sca_cli.records import Finding
from sca_cli.verification.trial import Trial

_NONE = r"\b(none|null)\b"
_NONE_IS_RIGHT = (
    "doing nothing passes: the right answer is None, which is also the answer of a program that gives none; let the "
    "instruction ask for a text such as 'none' instead"
)


def no_op(trial: Trial) -> Iterator[Finding]:
    """Reject a task that passes when no program runs.

    If the solution changes the state and the check reads it, also reject a task that passes with the answer alone.
    """
    if trial.run_recorded("", "no-op").outcome == "pass":
        if trial.solution.answer is None and trial.judges_answers and trial.gives_answer:
            asks_for_none = re.search(_NONE, trial.task.instruction, re.IGNORECASE) is not None
            yield Finding("no-op", _NONE_IS_RIGHT, rejects=not asks_for_none)
        else:
            yield Finding("no-op", "doing nothing passes")
        return
    changes_state = any(call.changed() for call in trial.calls)
    if changes_state and trial.solution.answer is not None and _check_uses_tools(trial):
        program = f"final_answer({trial.solution.answer!r})"
        if trial.run_recorded(program, "answer-only").outcome == "pass":
            yield Finding("no-op", "the answer alone passes: the check ignores what the solution changes")


def _check_uses_tools(trial: Trial) -> bool:
    names = {tool.name for tool in trial.tools}
    return any(name in names for name in source.names(source.parse(trial.task.evaluate)))
