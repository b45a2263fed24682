"""The stages after the paper's filter: one function per stage; each yields its findings.

The paper keeps a task if its check accepts the solution and rejects three failure cases. Such a check may still accept
a program that does nothing, or another answer. It may reject the same answer tomorrow. The solution may not need the
tools. No failure case may try a condition of the check. The instruction may leave out what the check asks for, or give
the answer away. Each stage looks for one of these faults.
"""

import ast
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from sca_cli.analysis import answer_format, conditions, source, text_values
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Check, Finding, Observation, Task
from sca_cli.verification import wrong_programs as candidates

# How many programs a stage tries. All are chosen by hand.
_RANDOM_PROGRAMS = 3
_TWINS = 4
"""Twins that run a task with sets, because the order of a set changes with the hash seed. One twin runs other tasks."""
_WEAKENED_CHECKS = 12
_WRONG_PROGRAMS = 10
_ALTERED_PROGRAMS = 12
_CHANCE = {
    "random", "time", "time_ns", "now", "today", "utcnow", "uuid1", "uuid4", "secrets", "id", "hash", "urandom",
    "getpid", "getppid", "gettid", "get_native_id", "getrandom", "monotonic", "perf_counter", "process_time", "times",
    "clock_gettime", "tempfile", "fstat", "/dev/urandom", "/dev/random", "environ", "environb", "getenv",
}  # fmt: skip
"""Names of clocks, sources of randomness and the process environment. A program that uses one can behave differently on
another day.
"""
_SETS = {"set", "frozenset"}
# Words that suggest that an instruction names the answer. All lists and lengths below are chosen by hand.
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
"""Smallest number to which another number of an instruction can be near by more than chance."""
_SHORTEST_WITH_TYPO = 3
"""Shortest text in which one extra letter counts as a typo, not as another text."""
_MARKS = ";/|%&+*=<>()[]{}#@_~^"
"""Marks that an answer should use only if the instruction or a tool result does."""
_CHOICE = r"\b(which|whether|or|between|among|either|compare)\b"
"""Words of an instruction that asks to choose between things it names."""
_ROUGHLY = r"\b(rough|approximat|estimat|toleran|ballpark|within|give or take|nearest (ten|hundred|thousand|million))"
"""Words of an instruction that lets a number be inexact."""
_FREE_TEXT = r"\b(sentence|message|paragraph|letter|essay|explain|describe|summar\w+|reply|words of your own)\b"
"""Words of an instruction that lets the agent choose the words of its answer."""
_CODE_WORDS = r"\b(json|repr|python|literal)\b"
"""Words of an instruction that says how to write a list or an object as text."""
_NONE_IS_RIGHT = (
    "doing nothing passes: the right answer is None, which is also the answer of a program that gives none; let the "
    "instruction ask for a text such as 'none' instead"
)
_NONE = r"\b(none|null)\b"
_ANY_ORDER = (
    r"\border (of [\w ]+ )?(does not|doesn't|do not|don't|need not|is not|isn't|will not|won't) "
    r"(matter|count|important|relevant|play)|\border (of [\w ]+ )?(is|makes) (irrelevant|unimportant|arbitrary|free|no "
    r"difference|not (important|relevant))|\bin (any|whatever|whichever|arbitrary|random|no particular) order\b|"
    r"\bany order (is|will|would|works|you)\b|\b(regardless|irrespective) of (the |their )?order\b|\bunordered\b|"
    r"\b(ignore|ignoring) (the |their )?order\b|\bno matter (the|which|what) order\b|\bwhatever the order\b"
)
"""An instruction that says that the order of the answer does not matter."""
_UNSTATED = "which neither the instruction nor a tool states"


@dataclass(frozen=True, slots=True)
class Trial:
    """A task that passed the paper's filter, with the evidence that the stages examine.

    Args:
        task: the candidate.
        tools: the tools of its environment.
        solution: the check of the solution.
        calls: the solution's calls, with results.
        reads: the calls that the check made to judge the solution, with results.
        run: runs and judges a program. It takes the source, a name, the number of a twin, and the source of a check
            ("" is the task's own).
        checks: evidence for the verdict; the stages add to it.
    """

    task: Task
    tools: Sequence[Tool]
    solution: Check
    calls: Sequence[Observation]
    reads: Sequence[Observation]
    run: Callable[[str, str, int, str], Check]
    checks: list[Check] = field(default_factory=list)

    @property
    def judges_answers(self) -> bool:
        """Whether `evaluate` takes the answer."""
        return source.takes_argument(self.task.evaluate, "evaluate")

    @property
    def gives_answer(self) -> bool:
        """Whether the solution calls `final_answer`, be it with None."""
        return "final_answer" in _names(source.parse(self.task.solution))

    def run_recorded(self, program: str, name: str, twin: int = 0) -> Check:
        """Run a program and add its check to the evidence."""
        self.checks.append(self.run(program, name, twin, ""))
        return self.checks[-1]

    def accepts(self, answer: JSON, name: str) -> bool:
        """Run the solution with another answer, add its check to the evidence, and tell whether it passes."""
        program = candidates.with_answer(self.task.solution, answer)
        return self.run_recorded(program, name).outcome == "pass"

    def accepted(self, answers: Sequence[JSON]) -> Iterator[JSON]:
        """Yield the answers that pass, of many that hardly any check accepts.

        One run judges all of them. Only if it accepts one, or cannot decide, is there a run for each.
        """
        if not answers:
            return
        evaluate = candidates.accepts_any(self.task.evaluate, answers)
        if self.run(self.task.solution, "", 0, evaluate).outcome == "fail":
            return
        for number, answer in enumerate(answers):
            if self.accepts(answer, f"cheap[{number}]"):
                yield answer


def programs(task: Task) -> list[tuple[str, str]]:
    """Return (name, source) of the solution and of each failure case."""
    return [("solution", task.solution), *((f"failure_case[{n}]", text) for n, text in enumerate(task.failure_cases))]


def in_secret_order[T](task: Task, run: Callable[[str, str], T]) -> dict[str, T]:
    """Run the solution and the failure cases in an unpredictable order, so that no program can know which one it is.

    Args:
        task: the task whose programs are run.
        run: runs one program, given its name and source.

    Returns:
        Name → result of `run`, in the order of `programs`.
    """
    order = programs(task)
    random.SystemRandom().shuffle(order)
    results = {name: run(name, text) for name, text in order}
    return {name: results[name] for name, _ in programs(task)}


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
    return any(name in names for name in _names(source.parse(trial.task.evaluate)))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        yield from _names_of(node)


def _names_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""


def random_calls(trial: Trial) -> Iterator[Finding]:
    """Reject a task that passes with random tool calls and a wrong answer of the same shape."""
    for index in range(_RANDOM_PROGRAMS):
        seed = random.Random(f"{trial.task.id} {index}").getrandbits(32)
        answers = trial.judges_answers and trial.gives_answer
        program = candidates.random_program(trial.tools, trial.solution.answer, seed, answers=answers)
        if trial.run_recorded(program, f"random[{index}]").outcome == "pass":
            yield Finding("random", f"a random program passes: {_last_line(program)}")
            return


def wrong_programs(trial: Trial) -> Iterator[Finding]:
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
    replays = candidates.replays(trial.calls, trial.tools, answer) if trial.reads else ()
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
    altered = candidates.altered(trial.calls, trial.reads, answer, rng)
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
    others = candidates.other_answers(answer, trial.calls, rng)
    any_order = re.search(_ANY_ORDER, instruction, re.IGNORECASE) is not None
    reported = False
    for index, other in enumerate([*others, *candidates.loose_answers(answer, rng)]):
        if any_order and other == candidates.reordered(answer):
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
    for other in trial.accepted(candidates.cheap_answers(answer)):
        yield _accepted(other, rejects=True)
        return
    rounded = answer_format.is_requested("rounding", instruction)
    careless = candidates.careless_answers(answer, trial.calls, rounded=rounded)
    for other in trial.accepted([other for other in careless if not _is_left_open(trial, other)]):
        yield _accepted(other, rejects=False)
        return


def _accepted(answer: JSON, *, rejects: bool) -> Finding:
    return Finding("wrong", f"the check accepts the answer {str(answer)[:200]!r} as well", rejects=rejects)


def _is_left_open(trial: Trial, other: JSON) -> bool:
    """Tell whether the instruction lets an answer differ from the solution's: a number roughly, a text in its words."""
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
    other = candidates.reordered(answer)
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


def _last_line(program: str) -> str:
    return program.splitlines()[-1][:200]


def deterministic(trial: Trial) -> Iterator[Finding]:
    """Reject a task whose programs have other results in a twin: other hash seed, other random numbers, other date.

    Also rejects programs that name a clock or a source of randomness, and reports programs that use the order of a set.
    """
    trees = {"check": source.parse(trial.task.evaluate), "solution": source.parse(trial.task.solution)}
    for name, tree in trees.items():
        if chance_names := sorted(_CHANCE & set(_foreign_names(tree))):
            yield Finding("deterministic", f"the {name} depends on {', '.join(chance_names)}")
            return
        if computed_names := sorted(set(source.computed_access(tree))):
            text = f"the {name} reaches names that cannot be read in it, by {', '.join(computed_names)}"
            yield Finding("deterministic", text, rejects=False)
    uses_sets = any(isinstance(node, ast.Set | ast.SetComp) for tree in trees.values() for node in ast.walk(tree))
    uses_sets = uses_sets or any(_SETS & set(_names(tree)) for tree in trees.values())
    for twin in range(1, _TWINS + 1 if uses_sets else 2):
        checks = in_secret_order(trial.task, lambda name, text: trial.run(text, f"{name}@{twin}", twin, ""))  # noqa: B023
        trial.checks.extend(checks.values())
        for name, check in checks.items():
            if check.outcome != ("pass" if name == "solution" else "fail") or (
                name == "solution" and check.answer != trial.solution.answer
            ):
                yield Finding("deterministic", f"run again, {name} gives another result: {check.outcome}")
                return
    for name, tree in trees.items():
        if source.orders_a_set(tree):
            yield Finding("deterministic", f"the {name} uses the order of a set", rejects=False)


def _foreign_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a program uses but does not bind, and the paths under `/dev/` that it holds."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node.id not in bound:
            yield from _names_of(node)
        if isinstance(node, ast.Constant) and str(node.value).startswith("/dev/"):
            yield str(node.value)
    yield from source.names_as_texts(tree)


def tools_used(trial: Trial) -> Iterator[Finding]:
    """Reject a task whose solution does not need the tools: it changes nothing, and its answer uses no tool result.

    A refusal counts as a result, if the answer depends on it.

    Also reports calls of the solution that failed, and writing tools that the check called (blocked writes).
    """
    successful_calls = [call for call in trial.calls if not call.error]
    changes_state = any(call.writes for call in successful_calls)
    # A refusal is information too, such as that an order does not exist. A call with wrong arguments tells nothing.
    if all(call.error.startswith("TypeError: ") for call in trial.calls):
        yield Finding("tools", "no tool call of the solution succeeds")
    elif not changes_state and trial.solution.answer is None and not trial.gives_answer:
        yield Finding("tools", "the solution neither changes anything nor answers")
    elif not changes_state and not source.depends(trial.task.solution, {tool.name for tool in trial.tools}):
        yield Finding("tools", "the answer does not depend on what the tools return")
    if blocked := sorted({call.tool for call in trial.reads if call.refused}):
        yield Finding(
            "tools", f"the check calls {', '.join(blocked)}, which writes: the call is blocked", rejects=False
        )
    if refused := len(trial.calls) - len(successful_calls):
        yield Finding("tools", f"{refused} of the solution's calls were refused", rejects=False)


def conditions_tried(trial: Trial) -> Iterator[Finding]:
    """Report each condition of the check that no failure case tries.

    A variant of the check replaces the condition by a constant, and the solution still passes it. A failure case tries
    the condition if it does not fail the variant.
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
    """Return what an instruction contains that is the answer in another form, or ""; inputs of the solution are none.

    It is a number within 1 per cent of the answer, the day and month of a date, or the answer spelled backwards.
    """
    if isinstance(answer, str):
        is_date = re.fullmatch(r"\d{4}-\d\d-\d\d", answer) is not None
        if is_date and text_values.KnownValues(stated, []).holds(answer):
            return "the day and the month"
        backwards = answer[::-1]
        is_input = any(backwards in str(value) for value in candidates.leaves(inputs))
        is_long = len(answer) >= _SHORTEST_BACKWARDS and backwards.lower() != answer.lower()
        return backwards if is_long and not is_input and text_values.mentions(stated, backwards) else ""
    if not isinstance(answer, int | float) or isinstance(answer, bool) or abs(answer) < _SMALLEST_NEAR:
        return ""
    used = {abs(text_values.as_float(value)) for value in candidates.leaves(inputs) if isinstance(value, int | float)}
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
    arguments = [list(candidates.leaves([call.args, call.kwargs])) for call in trial.calls]
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
        answer_text = "".join(text for text in candidates.leaves(trial.solution.answer) if isinstance(text, str))
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
    return [value for call in trial.calls for value in candidates.leaves(call.result)]


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


STAGES: dict[str, Callable[[Trial], Iterator[Finding]]] = {
    "no-op": no_op,
    "random": random_calls,
    "wrong": wrong_programs,
    "deterministic": deterministic,
    "tools": tools_used,
    "conditions": conditions_tried,
    "leak": no_leak,
    "literals": literals_known,
}
"""Name → function of the stage, in the order of the funnel."""
