"""The proof `wrong`: the check must not accept a wrong answer or a wrong variant of the solution."""

import random
import re
from collections.abc import Iterator
from itertools import chain, islice

from sca_cli.analysis import answer_format, conditions, source, text_values
from sca_cli.records import JSON, Check, Finding
from sca_cli.verification import wrong_programs
from sca_cli.verification.trial import Trial

_WRONG_PROGRAMS = 10
"""Most mutants, and most replays, that are tried. Chosen by hand; not measured."""
_ALTERED_PROGRAMS = 12
"""Most programs with an additional or altered change that are tried. Chosen by hand; not measured."""
_SHORTEST_WITH_TYPO = 3
"""Shortest text in which one extra letter counts as a typo, not as another text. Chosen by hand; not measured."""
_ROUGHLY = r"\b(rough|approximat|estimat|toleran|ballpark|within|give or take|nearest (ten|hundred|thousand|million))"
"""Words of an instruction that lets a number be inexact."""
_FREE_TEXT = r"\b(sentence|message|paragraph|letter|essay|explain|describe|summar\w+|reply|words of your own)\b"
"""Words of an instruction that lets the agent choose the words of its answer."""
_ANY_ORDER = (
    r"\border (of [\w ]+ )?(does not|doesn't|do not|don't|need not|is not|isn't|will not|won't) "
    r"(matter|count|important|relevant|play)|\border (of [\w ]+ )?(is|makes) (irrelevant|unimportant|arbitrary|free|no "
    r"difference|not (important|relevant))|\bin (any|whatever|whichever|arbitrary|random|no particular) order\b|"
    r"\bany order (is|will|would|works|you)\b|\b(regardless|irrespective) of (the |their )?order\b|\bunordered\b|"
    r"\b(ignore|ignoring) (the |their )?order\b|\bno matter (the|which|what) order\b|\bwhatever the order\b"
)
"""An instruction that says that the order of the answer does not matter."""


def wrong_accepted(trial: Trial) -> Iterator[Finding]:
    """Reject or report a task whose check accepts a wrong answer or a wrong variant of the solution.

    First runs the solution with other answers, see `_wrong_answers`. Then runs mutants of the solution and replays of
    its changes. A mutant counts as wrong if its answer or its changes differ from the solution's. If the check reads
    the state, last runs programs that make an additional or altered change.
    """
    rng = random.Random(trial.task.id)
    for finding in _wrong_answers(trial, rng):
        yield finding
        if finding.rejects:
            return
    answer = trial.solution.answer if trial.judges_answers else None
    mutants = islice(source.mutants(trial.task.solution, rng.getrandbits(32)), _WRONG_PROGRAMS)
    replays = wrong_programs.replays(trial.calls, trial.tools, answer) if trial.reads else ()
    for program in chain(mutants, islice(replays, _WRONG_PROGRAMS)):
        check = trial.run(program, "", 0, "")
        if check.outcome == "pass" and not _has_same_result(check, trial.solution, trial.judges_answers):
            if _is_left_open(trial, check.answer):
                continue
            # If the check judges only the answer, other steps may be allowed, such as leaving a page unopened.
            rejects = bool(trial.reads) or not _contains(check.answer, trial.solution.answer)
            yield Finding("wrong", f"the check accepts a changed solution: {program[:400]}", rejects=rejects)
            return
    if not trial.reads:
        return
    if (excluded := conditions.only_excluded(trial.task.evaluate)) and any(call.changed() for call in trial.calls):
        yield Finding("wrong", f"the check only says what must not be: {excluded[:200]}", rejects=False)
    solution_calls = [call.asked() for call in trial.calls]
    altered = wrong_programs.altered(trial.calls, trial.reads, answer, rng)
    for program, call_text in islice(altered, _ALTERED_PROGRAMS):
        check = trial.run(program, "", 0, "")
        if check.outcome == "pass" and any(
            call.changed() and call.asked() not in solution_calls for call in check.calls
        ):
            yield Finding("wrong", f"the check passes with another call as well: {call_text[:200]}", rejects=False)
            return


def _wrong_answers(trial: Trial, rng: random.Random) -> Iterator[Finding]:
    """Reject or report a task whose check accepts another answer, or takes none although the solution gives one.

    Tries values near the right answer and values that the tools returned together with it, then answers that need no
    work, then careless ones. An answer that the instruction leaves open is only reported.
    """
    answer, instruction = trial.solution.answer, trial.task.instruction
    if not trial.judges_answers:
        if answer is not None:
            text = f"evaluate() takes no answer, so nothing judges the answer {str(answer)[:200]!r}"
            yield Finding("wrong", text, rejects=False)
        return
    others = wrong_programs.other_answers(answer, trial.calls, rng)
    any_order = re.search(_ANY_ORDER, instruction, re.IGNORECASE) is not None
    reported = False
    for index, other in enumerate([*others, *wrong_programs.loose_answers(answer, rng)]):
        if any_order and other == wrong_programs.reordered(answer):
            continue
        if trial.accepts(other, f"answer[{index}]"):
            rejects = index < len(others) and not _is_left_open(trial, other)
            if rejects or not reported:
                yield _accepted(other, rejects=rejects)
            if rejects or index >= len(others):
                break
            reported = True
    yield from _order_heard(trial)
    if answer is None and (not trial.gives_answer or any(call.changed() for call in trial.calls)):
        return
    for other in trial.accepted(wrong_programs.cheap_answers(answer)):
        yield _accepted(other, rejects=True)
        return
    rounded = answer_format.is_requested("rounding", instruction)
    careless = wrong_programs.careless_answers(answer, trial.calls, rounded=rounded)
    for other in trial.accepted([other for other in careless if not _is_left_open(trial, other)]):
        yield _accepted(other, rejects=False)
        return


def _accepted(answer: JSON, *, rejects: bool) -> Finding:
    return Finding("wrong", f"the check accepts the answer {str(answer)[:200]!r} as well", rejects=rejects)


def _is_left_open(trial: Trial, other: JSON) -> bool:
    """Tell whether the instruction lets an answer differ from the solution's: a number roughly, a text in its words.

    A rough number may differ by 10 % plus 1.5; both are chosen by hand and not measured.
    """
    right, instruction = trial.solution.answer, trial.task.instruction
    if isinstance(right, str) and isinstance(other, str):
        return re.search(_FREE_TEXT, instruction, re.IGNORECASE) is not None
    numbers = [value for value in (right, other) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2 or not re.search(_ROUGHLY, instruction, re.IGNORECASE):
        return False
    one, two = map(text_values.as_float, numbers)
    return abs(one - two) <= 0.1 * abs(one) + 1.5


def _order_heard(trial: Trial) -> Iterator[Finding]:
    """Report a check that demands an order although the instruction says that the order does not matter."""
    answer = trial.solution.answer
    other = wrong_programs.reordered(answer)
    if other == answer or not re.search(_ANY_ORDER, trial.task.instruction, re.IGNORECASE):
        return
    if not trial.accepts(other, "reordered"):
        text = f"the instruction says that the order does not matter, but the check fails {str(other)[:200]!r}"
        yield Finding("wrong", text, rejects=False)


def _contains(answer: JSON, right: JSON) -> bool:
    """Tell whether an answer means the same as the right one, contains it as text, or has one extra letter (a typo)."""
    if not (isinstance(answer, str) and isinstance(right, str) and right.strip()):
        return text_values.alike(answer, right)
    has_typo = len(right) >= _SHORTEST_WITH_TYPO and right.lower() in answer.lower() and len(answer) == len(right) + 1
    return has_typo or text_values.alike(answer, right) or text_values.mentions(answer, right.strip())


def _has_same_result(check: Check, solution: Check, judges_answers: bool) -> bool:
    """Tell whether a program made the solution's changes and, if answers are judged, gave the solution's answer."""
    if judges_answers and not text_values.alike(check.answer, solution.answer):
        return False
    changes, solution_changes = ([call.asked() for call in each.calls if call.changed()] for each in (check, solution))
    return text_values.alike(changes, solution_changes)
