"""What a task has to prove beyond the paper's filter: one function a stage, each returns what it found.

The paper keeps a task whose check tells its solution from three failure cases. That does not show that the check would
refuse nothing at all, another answer, or the same answer tomorrow; that the solution needed the tools; that every
condition of the check is tried; or that the instruction holds what the check asks for and no more.
"""

import ast
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from sca_cli.analysis import answer_format, conditions, source, text_values
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Check, Finding, Observation, Task
from sca_cli.verification import wrong_programs as candidates

_RANDOM_PROGRAMS = 3
_TWINS = 4
"""Other surroundings for a task that makes sets, whose order may decide; one is enough for the rest."""
_MUTANTS = 12
_WRONG_PROGRAMS = 10
_ALTERED = 12
_CHANCE = {
    "random", "time", "time_ns", "now", "today", "utcnow", "uuid1", "uuid4", "secrets", "id", "hash", "urandom",
    "getpid", "getppid", "gettid", "get_native_id", "getrandom", "monotonic", "perf_counter", "process_time", "times",
    "clock_gettime", "tempfile", "fstat", "/dev/urandom", "/dev/random",
}  # fmt: skip
"""Names of clocks and chance; what uses them comes out differently one day."""
_SETS = {"set", "frozenset"}
_HINTS = (
    "answer|result|correct|solution|output|should be|expect|namely|that is|which is|hint|believe|think|guess|confirm|"
    "about|approximately|already|seen|told|got|show|last time"
)
_HINTS_AT_SHORT = "e\\.g\\.|for example|says?|there are|counted|usually"
_SHORT = 2
_SHORTEST = 3
"""Letters that a text has at least in which one more is a slip, and not another text."""
_MARKS = ";/|%&+*=<>()[]{}#@_~^"
_CHOICE = r"\b(which|whether|or|between|among|either|compare)\b"


@dataclass(frozen=True, slots=True)
class Trial:
    """One task on trial.

    Args:
        tools: of its environment.
        calls: what its solution called, with results.
        reads: what the check called to judge the solution, with results.
        run: runs a program and judges it, given its source, a name, a twin of the jail, and a check in place of
            the task's own (else "").
    """

    task: Task
    tools: Sequence[Tool]
    solution: Check
    calls: Sequence[Observation]
    reads: Sequence[Observation]
    run: Callable[[str, str, int, str], Check]
    checks: list[Check] = field(default_factory=list)
    """Evidence that the stages add to the verdict."""

    def seen(self, program: str, name: str, twin: int = 0) -> Check:
        """Run a program and keep its check as evidence."""
        self.checks.append(self.run(program, name, twin, ""))
        return self.checks[-1]


def programs(task: Task) -> list[tuple[str, str]]:
    """Return name and text of the solution and the failure cases."""
    return [("solution", task.solution), *((f"failure_case[{n}]", text) for n, text in enumerate(task.failure_cases))]


def in_secret_order[T](task: Task, run: Callable[[str, str], T]) -> dict[str, T]:
    """Run the solution and the failure cases in an order that nobody can foresee, whoever wrote the task.

    Args:
        task: whose programs they are.
        run: runs one, given its name and text.

    Returns:
        Name → what came of it, in the order of `programs`.
    """
    order = programs(task)
    random.SystemRandom().shuffle(order)
    done = {name: run(name, text) for name, text in order}
    return {name: done[name] for name, _ in programs(task)}


def no_op(trial: Trial) -> Iterator[Finding]:
    """Doing nothing must not pass; nor the answer alone, where the check looks at a state that the solution changes."""
    if trial.seen("", "no-op").outcome == "pass":
        yield Finding("no-op", "doing nothing passes")
        return
    changes = any(call.changed() for call in trial.calls)
    if changes and trial.solution.answer is not None and _reads(trial):
        program = f"final_answer({trial.solution.answer!r})"
        if trial.seen(program, "answer-only").outcome == "pass":
            yield Finding("no-op", "the answer alone passes: what the solution changes is not checked")


def _reads(trial: Trial) -> bool:
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
    """Tool calls drawn at random, with an answer of the right shape and another value, must not pass."""
    for index in range(_RANDOM_PROGRAMS):
        seed = random.Random(f"{trial.task.id} {index}").getrandbits(32)
        program = candidates.random_program(trial.tools, trial.solution.answer, seed)
        if trial.seen(program, f"random[{index}]").outcome == "pass":
            yield Finding("random", f"a program that knows nothing of the task passes: {_last_line(program)}")
            return


def wrong_programs(trial: Trial) -> Iterator[Finding]:
    """The solution with another answer, or with one value or step changed, must not pass if it comes to something else.

    Other answers are close to the right one, or stand beside it in what the tools returned.
    """
    drawn = random.Random(trial.task.id)
    judges_answers = source.takes_argument(trial.task.evaluate, "evaluate")
    answer = trial.solution.answer if judges_answers else None
    others = candidates.other_answers(answer, trial.calls, drawn)
    for index, other in enumerate([*others, *candidates.loose_answers(answer, drawn)]):
        program = candidates.with_answer(trial.task.solution, other)
        if trial.seen(program, f"answer[{index}]").outcome == "pass":
            rejects = index < len(others)
            yield Finding("wrong", f"the check accepts the answer {str(other)[:200]!r} as well", rejects=rejects)
            if rejects:
                return
            break
    changed = islice(source.mutants(trial.task.solution, drawn.getrandbits(32)), _WRONG_PROGRAMS)
    replays = candidates.replays(trial.calls, trial.tools, answer) if trial.reads else ()
    for program in chain(changed, islice(replays, _WRONG_PROGRAMS)):
        check = trial.run(program, "", 0, "")
        if check.outcome == "pass" and not _comes_to(check, trial.solution, judges_answers):
            # Where the answer is all that is judged, the way to it may be free: pages that need not be opened.
            rejects = bool(trial.reads) or not _holds(check.answer, trial.solution.answer)
            yield Finding("wrong", f"the check accepts a changed solution: {program[:400]}", rejects=rejects)
            return
    if not trial.reads:
        return
    own = [call.asked() for call in trial.calls]
    for program, told in islice(candidates.altered(trial.calls, trial.reads, answer, drawn), _ALTERED):
        check = trial.run(program, "", 0, "")
        if check.outcome == "pass" and any(call.changed() and call.asked() not in own for call in check.calls):
            yield Finding("wrong", f"the check passes with another call as well: {told[:200]}", rejects=False)
            return


def _holds(answer: JSON, right: JSON) -> bool:
    """Tell whether an answer says the right one, or, as a text, that and more, or that with a letter more."""
    if not (isinstance(answer, str) and isinstance(right, str) and right.strip()):
        return text_values.alike(answer, right)
    more = len(right) >= _SHORTEST and right.lower() in answer.lower() and len(answer) == len(right) + 1
    return more or text_values.alike(answer, right) or text_values.mentions(answer, right.strip())


def _comes_to(check: Check, solution: Check, judges_answers: bool) -> bool:
    """Tell whether a program gave the solution's answer and made its changes."""
    if judges_answers and not text_values.alike(check.answer, solution.answer):
        return False
    one, other = ([call.asked() for call in each.calls if call.changed()] for each in (check, solution))
    return text_values.alike(one, other)


def _last_line(program: str) -> str:
    return program.splitlines()[-1][:200]


def deterministic(trial: Trial) -> Iterator[Finding]:
    """The same programs must fare the same under another hash seed, other random numbers and another date."""
    trees = {"check": source.parse(trial.task.evaluate), "solution": source.parse(trial.task.solution)}
    for name, tree in trees.items():
        if named := sorted(_CHANCE & set(_foreign(tree))):
            yield Finding("deterministic", f"the {name} depends on {', '.join(named)}")
            return
    chancy = any(isinstance(node, ast.Set | ast.SetComp) for tree in trees.values() for node in ast.walk(tree))
    chancy = chancy or any(_SETS & set(_names(tree)) for tree in trees.values())
    for twin in range(1, _TWINS + 1 if chancy else 2):
        again = in_secret_order(trial.task, lambda name, text: trial.run(text, f"{name}@{twin}", twin, ""))  # noqa: B023
        trial.checks.extend(again.values())
        for name, check in again.items():
            if check.outcome != ("pass" if name == "solution" else "fail") or (
                name == "solution" and check.answer != trial.solution.answer
            ):
                yield Finding("deterministic", f"run again, {name} comes out differently: {check.outcome}")
                return
    for name, tree in trees.items():
        if source.orders_a_set(tree):
            yield Finding("deterministic", f"the {name} reads the order of a set", rejects=False)


def _foreign(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a program uses and does not give values itself, and the files of devices."""
    own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name) or node.id not in own:
            yield from _names_of(node)
        if isinstance(node, ast.Constant) and str(node.value).startswith("/dev/"):
            yield str(node.value)


def tools_used(trial: Trial) -> Iterator[Finding]:
    """The solution must have got something from the tools: a change it made, or a result that its answer comes from."""
    carried_out = [call for call in trial.calls if not call.error]
    if not carried_out:
        yield Finding("tools", "the solution makes no tool call that works")
    elif not any(call.writes for call in carried_out):
        if trial.solution.answer is None:
            yield Finding("tools", "the solution neither changes anything nor answers")
        elif not source.depends(trial.task.solution, {tool.name for tool in trial.tools}):
            yield Finding("tools", "the answer does not depend on what the tools return")
    if written := sorted({call.tool for call in trial.reads if call.refused}):
        yield Finding(
            "tools", f"the check calls {', '.join(written)}, which it may not: it changes things", rejects=False
        )
    if refused := len(trial.calls) - len(carried_out):
        yield Finding("tools", f"{refused} of the solution's calls were refused", rejects=False)


def conditions_tried(trial: Trial) -> Iterator[Finding]:
    """Every condition of the check must be tried: without it, some failure case would come out differently."""
    told_apart: set[str] = set()
    survivors: dict[str, None] = {}
    for condition, variant in islice(conditions.weakened(trial.task.evaluate), _MUTANTS):
        if condition in told_apart or trial.run(trial.task.solution, "", 0, variant).outcome != "pass":
            continue
        if all(trial.run(text, "", 0, variant).outcome == "fail" for text in trial.task.failure_cases):
            survivors[condition] = None
        else:
            told_apart.add(condition)
    for condition in survivors:
        if condition not in told_apart:
            yield Finding("conditions", f"no failure case tries the condition: {condition[:200]}", rejects=False)


def no_leak(trial: Trial) -> Iterator[Finding]:
    """The instruction must not give the answer away, nor the calls."""
    instruction = trial.task.instruction
    for tool in trial.tools:
        if re.search(rf"\b{re.escape(tool.name)}\(", instruction):
            yield Finding("leak", f"the instruction holds a call of {tool.name}()")
            return
    answer = trial.solution.answer
    figures = text_values.in_figures(instruction)
    own = source.literals(source.parse(trial.task.solution))
    texts = text_values.texts(answer)
    brought = {text_values.plain(text) for text in _brought(trial)}
    told = f"{instruction} {figures}"
    if looked_up := [text for text in _looked_up(trial, brought) if text_values.mentions(told, text)]:
        yield Finding("leak", f"the instruction holds {looked_up[0][:100]!r}, which the solution finds", rejects=False)
    listed = text_values.lists(told, answer) and not text_values.lists(repr(own), answer)
    is_brought = any(text_values.plain(text) in brought for text in texts)
    if listed or (texts and not is_brought and all(text_values.mentions(told, text) for text in texts)):
        # Where one of several things is asked for, all of them have to be named.
        given = not re.search(_CHOICE, instruction, re.IGNORECASE) or re.search(
            rf"\b({_HINTS})\b", instruction, re.IGNORECASE
        )
        yield Finding(
            "leak",
            f"the instruction holds the answer {', '.join(texts or [repr(answer)])[:100]}",
            rejects=bool(given) and not is_brought,
        )
    elif answer not in own and _hinted(figures, answer):
        yield Finding("leak", f"the instruction hints at the answer {answer}", rejects=False)


def _hinted(told: str, answer: JSON) -> bool:
    """Tell whether a short text or number is named as the answer: others have too many uses."""
    if not isinstance(answer, int | str) or isinstance(answer, bool):
        return False
    near = rf"\b(?:{_HINTS}|{_HINTS_AT_SHORT})[^.?!]{{0,30}}(?<![\w.])"
    short = 0 < len(str(answer)) <= _SHORT
    return short and re.search(rf"{near}{re.escape(str(answer))}(?![\w.]\d)\b", told, re.IGNORECASE) is not None


def _looked_up(trial: Trial, brought: set[str]) -> Iterator[str]:
    """Yield the texts that the solution had from the tools and changes something with."""
    for call in trial.calls:
        if call.changed():
            yield from (
                text for text in text_values.texts([call.args, call.kwargs]) if text_values.plain(text) not in brought
            )


def _brought(trial: Trial) -> Iterator[str]:
    """Yield the texts that the solution gave to the tools without having them from the tools, and its own literals."""
    returned: set[str] = set()
    for call in trial.calls:
        yield from (
            text for text in text_values.texts([call.args, call.kwargs]) if text_values.plain(text) not in returned
        )
        returned |= {text_values.plain(text) for text in text_values.texts(call.result)}
    yield from text_values.texts(source.literals(source.parse(trial.task.solution)))


def literals_known(trial: Trial) -> Iterator[Finding]:
    """What the check compares with, and what the solution brings along, must be told or be found with the tools."""
    documented = [tool.description for tool in trial.tools]
    read = [[call.result, call.args] for call in trial.reads]
    returned = [[call.result, call.error] for call in trial.calls]
    instruction = trial.task.instruction
    known = text_values.KnownValues(instruction, [returned, read, trial.solution.answer], documented)
    for value in conditions.demanded(trial.task.evaluate):
        if not known.holds(value):
            yield Finding("literals", f"the check needs {value!r}, which nobody told", rejects=False)
    given = [list(candidates.leaves([call.args, call.kwargs])) for call in trial.calls]
    after: dict[int, text_values.KnownValues] = {}  # how many calls → what is known then
    heard = source.takes_argument(trial.task.evaluate, "evaluate")
    solution = trial.task.solution if heard else source.without_answer(trial.task.solution)
    for value in conditions.demanded(solution):
        # A tool's result that repeats what it was given tells nothing.
        count = next((place for place, values in enumerate(given) if value in values), len(given))
        if count not in after:
            after[count] = text_values.KnownValues(instruction, returned[:count], documented)
        if not after[count].holds(value):
            yield Finding("literals", f"the solution needs {value!r}, which nobody told", rejects=False)
    if heard:
        written = "".join(text for text in candidates.leaves(trial.solution.answer) if isinstance(text, str))
        for mark in sorted(set(written) & set(_MARKS) - set(f"{instruction} {returned}")):
            yield Finding("literals", f"the answer needs {mark!r}, which nobody told", rejects=False)
        yield from _form_told(trial)


def _form_told(trial: Trial) -> Iterator[Finding]:
    """A form that the solution gives its answer must be told, if the check refuses the answer without it."""
    bare, taken = answer_format.without_form(trial.task.solution)
    untold = [form for form in taken if not answer_format.is_requested(form, trial.task.instruction)]
    check = trial.run(bare, "", 0, "") if untold else None
    if check and check.where != "program" and (check.outcome == "fail" or check.reason in {"exception", "not-bool"}):
        wanted, found = (repr(answer)[:100] for answer in (trial.solution.answer, check.answer))
        message = f"the check wants {wanted} where the solution found {found}: nobody told of the {untold[0]!r}"
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
"""Name → stage, in the order of the funnel."""
