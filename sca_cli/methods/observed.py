"""Checks made from observations: an `evaluate` that compares the answer, or the results of the reading tools."""

import json
from collections.abc import Iterator

from sca_cli.analysis.calls import call_text
from sca_cli.errors import WorldError
from sca_cli.methods.questions import worth_asking
from sca_cli.records import JSON, Exploration, Observation
from sca_cli.sandbox import Sandbox, Session

_NUMBER = """\
def evaluate(answer):
    expected = {expected!r}
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return False
    return abs(answer - expected) <= 1e-6 * max(1.0, abs(expected))
"""

_TEXT = """\
def evaluate(answer):
    return isinstance(answer, str) and answer.strip() == {expected!r}
"""

_VALUE = """\
def evaluate(answer):
    return bool(answer == {expected!r})
"""

_STATE = """\
def look(value, *path):
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def evaluate():
    return bool(
        {conditions}
    )
"""

_MAX_CONDITIONS = 8
"""Most conditions in one check; the others are left out. Chosen by hand."""


class NothingObserved(ValueError):
    """The program writes, but no reading tool shows a change."""


def check_of(
    sandbox: Sandbox, session: Session, exploration: Exploration, calls: list[Observation], answer: JSON, program: str
) -> str:
    """Return an `evaluate` for a program that ran: it checks the changes if the program wrote, else the answer.

    Args:
        sandbox: starts a fresh world to compare with.
        session: the world after the program.
        exploration: the environment, the seed, and calls to make again.
        calls: the calls of the program.
        answer: the answer of the program.
        program: its text. An answer that the text already contains is not worth asking for.

    Raises:
        NothingObserved: the program wrote, and no reading call shows a change.
        NotWorthAsking: the answer is trivial, too long, or already in the program.
    """
    if any(call.writes for call in calls):
        return state_check(sandbox, session, exploration, calls)
    return answer_check(worth_asking(answer, program))


def answer_check(expected: JSON) -> str:
    """Return an `evaluate` that is True for this answer.

    A number may differ from the expected one by 1e-6 times its magnitude, or by 1e-6 if the magnitude is less than 1.
    Blanks around a text are ignored.
    """
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return _NUMBER.format(expected=expected)
    if isinstance(expected, str):
        return _TEXT.format(expected=expected.strip())
    return _VALUE.format(expected=expected)


def is_answer(expected: JSON, answer: JSON) -> bool:
    """Tell whether the `answer_check` of `expected` is True for this answer, without running it."""
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        number = not isinstance(answer, bool) and isinstance(answer, int | float)
        return number and abs(answer - expected) <= 1e-6 * max(1.0, abs(expected))
    if isinstance(expected, str):
        return isinstance(answer, str) and answer.strip() == expected.strip()
    return bool(answer == expected)


def state_check(sandbox: Sandbox, session: Session, exploration: Exploration, calls: list[Observation]) -> str:
    """Return an `evaluate` that is True if the reading tools show the changes that the program made.

    Every successful reading call of the exploration and of the program is repeated twice: in the world after the
    program, and in a fresh world. Each value that differs between the two becomes a condition, `_MAX_CONDITIONS` at
    most.

    Args:
        sandbox: starts the fresh world.
        session: the world after the program.
        exploration: the environment, the seed, and calls to make again.
        calls: the calls of the program.

    Raises:
        NothingObserved: no reading call shows a change.
    """
    reads = {
        json.dumps(call.asked()): call
        for call in [*exploration.observations, *calls]
        if not call.writes and not call.error
    }
    conditions = []
    with sandbox.session(exploration.env, exploration.seed) as fresh:
        for call in reads.values():
            before, after = _repeated(fresh, call), _repeated(session, call)
            for path, value in _changed(before, after):
                keys = "".join(f", {key!r}" for key in path)
                conditions.append(f"look({call_text(call.tool, call.args, call.kwargs)}{keys}) == {value!r}")
    if not conditions:
        raise NothingObserved("no change that the tools show")
    return _STATE.format(conditions="\n        and ".join(conditions[:_MAX_CONDITIONS]))


def _repeated(session: Session, call: Observation) -> JSON:
    try:
        return session.call(call.tool, call.args, call.kwargs).result
    except WorldError:
        return None


def _changed(
    before: JSON, after: JSON, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], JSON]]:
    """Yield (path, new value) for every leaf of `after` that differs in `before`."""
    if isinstance(after, dict) and isinstance(before, dict):
        for key in [*after, *(key for key in before if key not in after)]:
            yield from _changed(before.get(key), after.get(key), (*path, key))
    elif isinstance(after, list) and isinstance(before, list) and len(after) == len(before):
        for index, value in enumerate(after):
            yield from _changed(before[index], value, (*path, index))
    elif before != after:
        yield path, after
