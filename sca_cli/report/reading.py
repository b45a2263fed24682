"""The section of tasks to read: instruction, check, solution, failure cases and attempts of each."""

from collections.abc import Iterator

from sca_cli.report.draw import MOST_CALLS, SelectedTask
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import code, note, section, text


def tasks(gathered: Gathered) -> str:
    """Return the section with a sample of verified tasks."""
    readings = gathered.draw.readings()
    if not readings:
        return ""
    remark = (
        f"{len(readings)} verified tasks, drawn at random with the seed, evenly over the numbers of calls "
        f"({MOST_CALLS} or more calls are one group). Does each question ask for the answer or change that its "
        "check tests?"
    )
    return section(
        "tasks", "Tasks to read", note(remark), *(_task(place, each) for place, each in enumerate(readings, 1))
    )


def _task(place: int, task: SelectedTask) -> str:
    calls = f"{task.calls} call{'' if task.calls == 1 else 's'}"
    about = " · ".join(filter(None, (calls, task.env, task.method, task.identity)))
    parts = "\n".join(_parts(task))
    return (
        f'<details class="task" open><summary>{place}. {text(about)}</summary>\n'
        f'<p class="said">{text(task.instruction)}</p>\n{parts}\n</details>'
    )


def _parts(task: SelectedTask) -> Iterator[str]:
    yield _program("Check", task.evaluate)
    yield _program("Solution", task.solution)
    for place, program in enumerate(task.failure_cases, 1):
        yield _program(f"Failure case {place}", program)
    for outcome, name in (("pass", "An attempt that passed"), ("fail", "An attempt that failed")):
        if outcome in task.attempts:
            yield _program(name, task.attempts[outcome])
    if task.written_by:
        who = "; ".join(f"{name}: {author}" for name, author in sorted(task.written_by.items()))
        yield note(f"Written by: {text(who)}")
    for finding in task.findings:
        yield note(f"Reported: {text(finding)}")


def _program(name: str, program: str) -> str:
    return f"<h4>{name}</h4>\n{code(program)}"
