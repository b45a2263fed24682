"""The proof `leak`: the instruction must not give away the answer or the calls."""

import re
from collections.abc import Iterator

from sca_cli.analysis import source, text_values
from sca_cli.records import JSON, Finding
from sca_cli.verification import wrong_programs
from sca_cli.verification.trial import Trial

# All lists, lengths and distances of this module are chosen by hand; not measured.
# Words that suggest that an instruction names the answer:
_HINTS = (
    "answer|result|correct|solution|output|should be|expect|namely|that is|which is|hint|believe|think|guess|confirm|"
    "about|approximately|already|seen|told|got|show|last time"
)
_HINTS_AT_SHORT = "e\\.g\\.|for example|says?|there are|counted|usually"
"""Further hints, which count only for a short answer."""
_SHORT = 2
"""Longest answer that is short, in characters."""
_SHORTEST_BACKWARDS = 4
"""Shortest text that is searched backwards."""
_SMALLEST_NEAR = 10
"""Smallest answer for which a number within 1 per cent is a hint. Numbers near smaller answers are there by chance."""
_CHOICE = r"\b(which|whether|or|between|among|either|compare)\b"
"""Words of an instruction that asks to choose between things it names."""
_ONE_OF_TWO = {"true", "false", "yes", "no"}


def no_leak(trial: Trial) -> Iterator[Finding]:
    """Reject or report a task whose instruction contains a tool call, the answer, or a value the solution looks up.

    Also reports an answer that is one of two, such as yes or no, if nothing else is asked for: a guess may pass.
    A value that the solution holds itself, or passes to a tool before any tool returned it, is no leak: the instruction
    has to state it.
    """
    instruction = trial.task.instruction
    for tool in trial.tools:
        if re.search(rf"\b{re.escape(tool.name)}\(", instruction):
            yield Finding("leak", f"the instruction contains a call of {tool.name}()")
            return
    answer = trial.solution.answer
    if str(answer).lower() in _ONE_OF_TWO and not any(call.writes for call in trial.calls):
        yield Finding("leak", f"the answer is {answer!r}, one of two: a guess passes half of the time", rejects=False)
    in_figures = text_values.in_figures(instruction)
    literals = source.literals(source.parse(trial.task.solution))
    answer_texts = text_values.texts(answer)
    inputs = {text_values.plain(text) for text in _inputs(trial)}
    stated = f"{instruction} {in_figures}"
    if looked_up := [text for text in _looked_up(trial, inputs) if text_values.mentions(stated, text)]:
        message = f"the instruction contains {looked_up[0][:100]!r}, which the solution looks up"
        yield Finding("leak", message, rejects=False)
    is_listed = text_values.lists(stated, answer) and not text_values.lists(repr(literals), answer)
    is_input = any(text_values.plain(text) in inputs for text in answer_texts)
    if is_listed or (
        answer_texts and not is_input and all(text_values.mentions(stated, text) for text in answer_texts)
    ):
        # An instruction that asks to choose between things must name them all, the answer too.
        is_given_away = not re.search(_CHOICE, instruction, re.IGNORECASE) or re.search(
            rf"\b({_HINTS})\b", instruction, re.IGNORECASE
        )
        yield Finding(
            "leak",
            f"the instruction contains the answer {', '.join(answer_texts or [repr(answer)])[:100]}",
            rejects=bool(is_given_away) and not is_input,
        )
    elif answer not in literals and _hints_at(in_figures, answer):
        yield Finding("leak", f"the instruction hints at the answer {answer}", rejects=False)
    elif not is_input and (hint := _near_answer(stated, answer, [*literals, *(call.args for call in trial.calls)])):
        yield Finding("leak", f"the instruction contains {hint}, which hints at the answer {answer}", rejects=False)


def _near_answer(stated: str, answer: JSON, inputs: list[JSON]) -> str:
    """Return the part of an instruction that is the answer in another form, or "".

    Such a part is a number within 1 per cent of the answer, the day and month of a date, or the answer spelled
    backwards. A value that the solution uses as an input does not count.
    """
    if isinstance(answer, str):
        is_date = re.fullmatch(r"\d{4}-\d\d-\d\d", answer) is not None
        if is_date and text_values.KnownValues(stated, []).holds(answer):
            return "the day and the month"
        backwards = answer[::-1]
        is_input = any(backwards in str(value) for value in wrong_programs.leaves(inputs))
        is_long = len(answer) >= _SHORTEST_BACKWARDS and backwards.lower() != answer.lower()
        return backwards if is_long and not is_input and text_values.mentions(stated, backwards) else ""
    if not isinstance(answer, int | float) or isinstance(answer, bool) or abs(answer) < _SMALLEST_NEAR:
        return ""
    used = {
        abs(text_values.as_float(value)) for value in wrong_programs.leaves(inputs) if isinstance(value, int | float)
    }
    size = abs(text_values.as_float(answer))
    figures = [abs(figure) for figure in text_values.numbers(stated)]
    return next((f"{figure:g}" for figure in figures if abs(figure - size) <= 0.01 * size and figure not in used), "")


def _hints_at(instruction: str, answer: JSON) -> bool:
    """Tell whether an instruction names a short answer closely after a word that hints at an answer.

    A short text or number occurs in most instructions by chance, so that it counts only after such a word.
    """
    if not isinstance(answer, int | str) or isinstance(answer, bool):
        return False
    near = rf"\b(?:{_HINTS}|{_HINTS_AT_SHORT})[^.?!]{{0,30}}(?<![\w.])"
    is_short = 0 < len(str(answer)) <= _SHORT
    pattern = rf"{near}{re.escape(str(answer))}(?![\w.]\d)\b"
    return is_short and re.search(pattern, instruction, re.IGNORECASE) is not None


def _looked_up(trial: Trial, inputs: set[str]) -> Iterator[str]:
    """Yield the arguments of the solution's changes, as texts, that the solution got from tool results."""
    for call in trial.calls:
        if call.changed():
            yield from (
                text for text in text_values.texts([call.args, call.kwargs]) if text_values.plain(text) not in inputs
            )


def _inputs(trial: Trial) -> Iterator[str]:
    """Yield the texts that the solution did not get from tools: arguments that no result held before, and literals."""
    returned: set[str] = set()
    for call in trial.calls:
        yield from (
            text for text in text_values.texts([call.args, call.kwargs]) if text_values.plain(text) not in returned
        )
        returned |= {text_values.plain(text) for text in text_values.texts(call.result)}
    yield from text_values.texts(source.literals(source.parse(trial.task.solution)))
