"""The proof `random`: a task must not pass with random tool calls and a wrong answer."""

import random
from collections.abc import Iterator

from sca_cli.records import Finding
from sca_cli.verification import wrong_programs
from sca_cli.verification.trial import Trial

_RANDOM_PROGRAMS = 3
"""Random programs that are tried. Chosen by hand; not measured."""


def random_calls(trial: Trial) -> Iterator[Finding]:
    """Reject a task that passes with random tool calls and a wrong answer of the same shape."""
    for index in range(_RANDOM_PROGRAMS):
        seed = random.Random(f"{trial.task.id} {index}").getrandbits(32)
        answers = trial.judges_answers and trial.gives_answer
        program = wrong_programs.random_program(trial.tools, trial.solution.answer, seed, answers=answers)
        if trial.run_recorded(program, f"random[{index}]").outcome == "pass":
            yield Finding("random", f"a random program passes: {_last_line(program)}")
            return


def _last_line(program: str) -> str:
    return program.splitlines()[-1][:200]
