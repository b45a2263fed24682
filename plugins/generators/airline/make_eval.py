"""Generate the held-out evaluation set: four tasks of each template, with one to five calls.

`python -m generators.airline.make_eval` writes `eval.jsonl`; the same code gives the same bytes. Every task is tested:
its solution must pass the check, and its failure cases and the empty program must fail. These programs run without a
jail, because they are written in `eval_small` and `eval_large`; programs of a model never run here.
"""

from random import Random

from sca_airline.environment import Airline

from generators.airline import eval_large, eval_small
from generators.airline.drafts import AirlineSampler, Template
from generators.calculation.make_eval import run_and_check
from sca_cli import ToolError
from sca_cli.records import EnvSpec, Task, encode

_TASKS = 4
"""Number of tasks of each template."""
_DRAWS = 50
"""Maximum number of attempts to draw facts for which no failure case is accidentally right."""


def make() -> list[Task]:
    """Generate the tasks, ordered by template.

    Raises:
        ValueError: a template's solution is wrong, or in every draw one of its failure cases is right.
    """
    world = Airline()
    return [_task(world, each, lap) for each in (*eval_small.TEMPLATES, *eval_large.TEMPLATES) for lap in range(_TASKS)]


def _task(world: Airline, template: Template, lap: int) -> Task:
    for attempt in range(_DRAWS):
        random = Random(f"{template.__name__} {lap} {attempt}")
        seed = random.randrange(1_000_000)
        world.reset(seed)
        draft = template(AirlineSampler(random, world))
        task = Task(
            env=EnvSpec(name="airline"),
            seed=seed,
            split="eval",
            instruction=draft.wordings[lap % 2],
            evaluate=draft.evaluate,
            solution=draft.solution,
            failure_cases=list(draft.wrong),
        )
        passed, task.calls = run_and_check(world, task, task.solution)
        if not passed:
            raise ValueError(f"{template.__name__}: the solution fails: {task.instruction}")
        if _all_fail(world, task):
            return task
    raise ValueError(f"{template.__name__}: a failure case is right")


def _all_fail(world: Airline, task: Task) -> bool:
    """Return whether the empty program and every failure case finish and fail the check."""
    try:
        return not any(run_and_check(world, task, program)[0] for program in ("", *task.failure_cases))
    except ToolError:  # there are too few seats or too little money for this mistake
        return False


def main() -> None:
    """Write the file."""
    Airline.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
