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
from itertools import islice

from sca_cli import conditions, probes, source
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Check, Finding, Observation, Task

_RANDOM_PROGRAMS = 3
_TWINS = 4
"""Other surroundings that a task which names chance or time is run in; one is enough for the rest."""
_MUTANTS = 12
_ENTROPY = {
    "random", "time", "datetime", "uuid", "secrets", "id", "hash", "urandom", "getpid", "monotonic", "perf_counter",
    "set", "frozenset",
}  # fmt: skip
_GIVEN_AWAY = r"(answer|result|correct|solution|output|should (be|equal|return|get|give)|expect\w*|namely|i\.e\.|that is|which is|equals?|makes|hint|=|→)"  # noqa: E501  one pattern


@dataclass(frozen=True, slots=True)
class Trial:
    """One task on trial.

    Args:
        tools: of its environment.
        calls: what its solution called, with results.
        run: runs a program and judges it, given its source, a name, a twin of the jail, and a check in place of
            the task's own (else "").
    """

    task: Task
    tools: Sequence[Tool]
    solution: Check
    calls: Sequence[Observation]
    run: Callable[[str, str, int, str], Check]
    checks: list[Check] = field(default_factory=list)
    """Evidence that the stages add to the verdict."""

    def seen(self, program: str, name: str, twin: int = 0) -> Check:
        """Run a program and keep its check as evidence."""
        self.checks.append(self.run(program, name, twin, ""))
        return self.checks[-1]


def no_op(trial: Trial) -> Iterator[Finding]:
    """Doing nothing must not pass; nor the answer alone, where the check looks at a state that the solution changes."""
    if trial.seen("", "no-op").outcome == "pass":
        yield Finding("no-op", "doing nothing passes")
        return
    changes = any(call.writes and not call.error for call in trial.calls)
    if changes and trial.solution.answer is not None and _reads(trial):
        program = f"final_answer({trial.solution.answer!r})"
        if trial.seen(program, "answer-only").outcome == "pass":
            yield Finding("no-op", "the answer alone passes: what the solution changes is not checked")


def _reads(trial: Trial) -> bool:
    names = {tool.name for tool in trial.tools}
    return any(name in names for name in _names(source.parse(trial.task.evaluate)))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
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
        program = probes.random_program(trial.tools, trial.solution.answer, seed, near=index == 0)
        if trial.seen(program, f"random[{index}]").outcome == "pass":
            last = program.splitlines()[-1][:200]
            yield Finding("random", f"a program that knows nothing of the task passes: {last}")
            return


def deterministic(trial: Trial) -> Iterator[Finding]:
    """The same programs must fare the same under another hash seed, other random numbers and another date."""
    programs = [("solution", trial.task.solution, "pass")]
    programs += [(f"failure_case[{n}]", text, "fail") for n, text in enumerate(trial.task.failure_cases)]
    random.Random(trial.task.id).shuffle(programs)
    texts = [trial.task.evaluate, trial.task.solution, *trial.task.failure_cases]
    chancy = any(_ENTROPY & set(_names(source.parse(text))) for text in texts)
    for twin in range(1, _TWINS + 1 if chancy else 2):
        for name, text, outcome in programs:
            check = trial.seen(text, f"{name}@{twin}", twin)
            if check.outcome != outcome or (name == "solution" and check.answer != trial.solution.answer):
                yield Finding("deterministic", f"run again, {name} comes out differently: {check.outcome}")
                return


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
    texts = _texts(trial.solution.answer)
    brought = {_plain(text) for call in trial.calls for text in _texts([call.args, call.kwargs])}
    brought |= {_plain(text) for text in _texts(source.literals(source.parse(trial.task.solution)))}
    if not texts or any(_plain(text) in brought for text in texts):
        return
    if all(_mentions(instruction, text) for text in texts):
        patterns = [rf"{_GIVEN_AWAY}\W*(\w+\W+){{0,4}}{_pattern(text)}" for text in texts]
        told = any(re.search(pattern, instruction, re.IGNORECASE) for pattern in patterns)
        yield Finding("leak", f"the instruction holds the answer {', '.join(texts)[:100]}", rejects=told)


def _texts(value: JSON) -> list[str]:
    """Return the texts of a value's parts that somebody could recognise; nothing for truths and single digits."""
    match value:
        case bool() | None:
            return []
        case int() | float():
            whole = isinstance(value, int) or value.is_integer()
            return [str(int(value))] if whole and abs(value) >= 10 else [] if whole else [str(value)]
        case str():
            return [value.strip()] if len(value.strip()) >= 3 else []
        case list():
            return [text for part in value for text in _texts(part)]
        case dict():
            return [text for part in value.values() for text in _texts(part)]
    return []


def _plain(text: str) -> str:
    return re.sub(r"[\s,$]+", " ", text).strip().lower()


def _pattern(text: str) -> str:
    number = re.fullmatch(r"-?\d+(\.\d+)?", text)
    body = re.escape(text)
    if number and abs(float(text)) >= 1000 and "." not in text:
        body = rf"({body}|{re.escape(f'{int(text):,}')})"
    return rf"(?<![\w.]){body}(?!\w|\.\d)"


def _mentions(instruction: str, text: str) -> bool:
    return re.search(_pattern(text), instruction, re.IGNORECASE) is not None


def literals_known(trial: Trial) -> Iterator[Finding]:
    """What the check compares with, and what the solution brings along, must be told or be found with the tools."""
    told = _plain(trial.task.instruction)
    numbers = {float(text.replace(",", "")) for text in re.findall(r"-?\d[\d,]*\.?\d*", trial.task.instruction)}
    numbers |= {n / 100 for n in numbers} | {n * 100 for n in numbers}
    numbers |= {_WORDS[word] for word in re.findall(r"\w+", told) if word in _WORDS}
    found = _plain(" ".join(map(str, ([call.result, call.error] for call in trial.calls))))
    found += _plain(" ".join(map(str, [tool.description for tool in trial.tools])))
    answer = _plain(" ".join([str(trial.solution.answer), *_texts(trial.solution.answer)]))
    for where, text in (("solution", trial.task.solution), ("check", trial.task.evaluate)):
        # The check may know the answer; the solution may not.
        known = f"{told} {found} {answer if where == 'check' else ''}"
        for value in conditions.demanded(text):
            if not _is_known(value, known, numbers):
                yield Finding("literals", f"the {where} needs {value!r}, which nobody told", rejects=False)


_WORDS = {
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "dozen": 12, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100,
    "thousand": 1000, "half": 0.5, "quarter": 0.25, "week": 7, "third": 3,
}  # fmt: skip


def _is_known(value: JSON, known: str, numbers: set[float]) -> bool:
    if isinstance(value, str):
        return _plain(value) in known
    assert isinstance(value, int | float)
    if any(abs(value - number) <= 1e-9 * max(1.0, abs(value)) for number in numbers):
        return True
    figures = [float(text) for text in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", known)]
    # A check may hold the answer rounded.
    return any(abs(value - figure) <= 0.005 + 1e-6 * abs(value) for figure in figures)


STAGES: dict[str, Callable[[Trial], Iterator[Finding]]] = {
    "no-op": no_op,
    "random": random_calls,
    "deterministic": deterministic,
    "tools": tools_used,
    "conditions": conditions_tried,
    "leak": no_leak,
    "literals": literals_known,
}
"""Name → stage, in the order of the funnel."""
