"""The proof `literals`: an agent must be able to know every value and form that the check demands."""

import ast
import json
import re
from collections.abc import Iterator

from sca_cli.analysis import answer_format, conditions, source, text_values
from sca_cli.records import JSON, Finding
from sca_cli.verification import wrong_programs
from sca_cli.verification.trial import Trial

_MARKS = ";/|%&+*=<>()[]{}#@_~^"
"""Marks that an answer should use only if the instruction or a tool result does."""
_CODE_WORDS = r"\b(json|repr|python|literal)\b"
"""Words of an instruction that says how to write a list or an object as text."""
_UNSTATED = "which neither the instruction nor a tool states"


def literals_known(trial: Trial) -> Iterator[Finding]:
    """Report literals of the check or the solution that an agent cannot know from the instruction or the tools.

    Also reports punctuation marks and forms of the answer that the instruction does not ask for, if answers are judged.
    """
    documented = [tool.description for tool in trial.tools]
    read = [[call.result, call.args] for call in trial.reads]
    returned = [[call.result, call.error] for call in trial.calls]
    instruction = trial.task.instruction
    known = text_values.KnownValues(instruction, [returned, read, trial.solution.answer], documented)
    for value in conditions.demanded(trial.task.evaluate):
        if not known.holds(value):
            yield Finding("literals", f"the check needs {value!r}, {_UNSTATED}", rejects=False)
    arguments = [list(wrong_programs.leaves([call.args, call.kwargs])) for call in trial.calls]
    known_after: dict[int, text_values.KnownValues] = {}  # number of calls → values known after them
    judges_answers = source.takes_argument(trial.task.evaluate, "evaluate")
    solution = trial.task.solution if judges_answers else source.without_answer(trial.task.solution)
    for value in conditions.demanded(solution):
        # Only results of calls before the first use count: later ones may just repeat the argument.
        count = next((place for place, values in enumerate(arguments) if value in values), len(arguments))
        if count not in known_after:
            known_after[count] = text_values.KnownValues(instruction, returned[:count], documented)
        if not known_after[count].holds(value):
            yield Finding("literals", f"the solution needs {value!r}, {_UNSTATED}", rejects=False)
    if judges_answers:
        answer_text = "".join(text for text in wrong_programs.leaves(trial.solution.answer) if isinstance(text, str))
        for mark in sorted(set(answer_text) & set(_MARKS) - set(f"{instruction} {returned}")):
            yield Finding("literals", f"the answer needs {mark!r}, {_UNSTATED}", rejects=False)
        yield from _form_requested(trial)
        yield from _container_as_text(trial)


def _container_as_text(trial: Trial) -> Iterator[Finding]:
    """Report an answer that is the text of a list or an object: the instruction leaves its spaces and quotes open."""
    answer = trial.solution.answer
    if not isinstance(answer, str) or not re.match(r"\s*[\[{(]", answer):
        return
    if re.search(_CODE_WORDS, trial.task.instruction, re.IGNORECASE) or answer in _returned(trial):
        return
    try:
        value = ast.literal_eval(answer.strip())
        other = json.dumps(value, sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError):  # not the text of a value
        return
    if not trial.accepts(other, "reformatted"):
        text = f"the answer is {answer[:100]!r}, the text of a value: the check accepts only one way to write it"
        yield Finding("literals", text, rejects=False)


def _returned(trial: Trial) -> list[JSON]:
    return [value for call in trial.calls for value in wrong_programs.leaves(call.result)]


def _form_requested(trial: Trial) -> Iterator[Finding]:
    """Report a form of the answer that the check requires and the instruction does not ask for."""
    program, forms = answer_format.without_form(trial.task.solution)
    unrequested = [form for form in forms if not answer_format.is_requested(form, trial.task.instruction)]
    check = trial.run(program, "", 0, "") if unrequested else None
    if check and check.where != "program" and (check.outcome == "fail" or check.reason in {"exception", "not-bool"}):
        wanted, unformatted = (repr(answer)[:100] for answer in (trial.solution.answer, check.answer))
        message = (
            f"the check wants {wanted} but the solution found {unformatted}: "
            f"the instruction does not ask for {unrequested[0]!r}"
        )
        yield Finding("literals", message, rejects=False)
