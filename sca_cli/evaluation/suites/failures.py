"""Make failure cases for a suite's tasks: wrong variants of the reference solution that the task's check rejects.

A variant does nothing, leaves out a writing call, gives no answer, uses an argument of another task, or makes a writing
call of another task on this task's records. Where the answer decides, a variant gives the answer of another task.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from sca_cli.evaluation.suites.programs import program
from sca_cli.evaluation.suites.scoring import Suite
from sca_cli.records import JSON, Observation, Task
from sca_cli.verification import paper_filter

_TRIES = 40
"""Most programs that are tried for one task. Chosen by hand."""


def failure_cases(suite: Suite, task: Task) -> list[str]:
    """Return up to three programs that run to their end and fail the task's check."""
    failing: list[str] = []
    for code in islice(dict.fromkeys(_candidates(suite, task)), _TRIES):
        if paper_filter.run_check(suite.sandbox, task, code, "failure case").outcome == "fail":
            failing.append(code)
        if len(failing) == paper_filter.FAILURE_CASES:
            break
    return failing


def _candidates(suite: Suite, task: Task) -> Iterator[str]:
    yield "final_answer(None)"
    reference = suite.references.get(task.id)
    others = [other for other in suite.tasks if other.id != task.id and other.env == task.env]
    if reference is None:
        yield from (other.solution for other in others)
        return
    calls, outputs = reference.calls, reference.outputs
    foreign = [call for other in others for call in suite.references[other.id].calls if call.changed()]
    for place, call in enumerate(calls):
        if call.writes:
            yield program([*calls[:place], *calls[place + 1 :]], outputs)
    if outputs:
        yield program(calls, [])
    yield from (program(changed, outputs) for changed in _with_foreign_arguments(calls, foreign))
    yield from (program([*calls, call], outputs) for call in _on_own_records(calls, foreign))


def _with_foreign_arguments(
    calls: Sequence[Observation], foreign: Sequence[Observation]
) -> Iterator[list[Observation]]:
    """Yield the calls with one argument of a writing call replaced by that of another task's call of the same tool."""
    for place, call in enumerate(calls):
        for other in foreign if call.writes else ():
            for key, value in call.kwargs.items():
                if other.tool == call.tool and other.kwargs.get(key, value) != value:
                    yield [*calls[:place], _with(call, key, other.kwargs[key]), *calls[place + 1 :]]


def _on_own_records(calls: Sequence[Observation], foreign: Sequence[Observation]) -> Iterator[Observation]:
    """Yield writing calls of other tasks with one id replaced by the id that this task's calls use."""
    for other in foreign:
        for call in calls:
            shared = [key for key, value in call.kwargs.items() if key in other.kwargs and key.endswith("_id")]
            if shared:
                yield _with(other, shared[0], call.kwargs[shared[0]])


def _with(call: Observation, key: str, value: JSON) -> Observation:
    return msgspec.structs.replace(call, kwargs=call.kwargs | {key: value})
