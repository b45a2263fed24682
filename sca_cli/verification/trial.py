"""The input of a proof: a task that passed the paper's filter, its evidence, and functions that run more programs."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sca_cli.analysis import source
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, Check, Observation, Task
from sca_cli.verification import wrong_programs


@dataclass(frozen=True, slots=True)
class Trial:
    """A task that passed the paper's filter, with the evidence that the proofs examine.

    Args:
        task: the candidate.
        tools: the tools of its environment.
        solution: the check of the solution.
        calls: the solution's calls, with results.
        reads: the calls that the check made to judge the solution, with results.
        run: runs and judges a program. It takes the source, a name, the number of a twin, and the source of a check
            ("" is the task's own).
        checks: evidence for the verdict; the proofs add to it.
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
        """Whether the solution calls `final_answer`; None as its argument counts too."""
        return "final_answer" in source.names(source.parse(self.task.solution))

    def run_recorded(self, program: str, name: str, twin: int = 0) -> Check:
        """Run a program and add its check to the evidence."""
        self.checks.append(self.run(program, name, twin, ""))
        return self.checks[-1]

    def accepts(self, answer: JSON, name: str) -> bool:
        """Run the solution with another answer, add its check to the evidence, and tell whether it passes."""
        program = wrong_programs.with_answer(self.task.solution, answer)
        return self.run_recorded(program, name).outcome == "pass"

    def accepted(self, answers: Sequence[JSON]) -> Iterator[JSON]:
        """Run the solution with each of many wrong answers, and yield those that the check accepts.

        Hardly any check accepts one, so a single run judges all answers together first. Each answer gets a run of its
        own only if that run does not fail.
        """
        if not answers:
            return
        evaluate = wrong_programs.accepts_any(self.task.evaluate, answers)
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
