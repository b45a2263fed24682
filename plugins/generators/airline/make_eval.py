"""Make the held-out evaluation set: four tasks of each template, from one call to five.

`python -m generators.airline.make_eval` writes `eval.jsonl` anew; the same code gives the same bytes. Every task is
tried out on the way: its solution must pass its check, its failure cases and doing nothing must not. The programs run
here are the ones written in `eval_small` and `eval_large`; what a model wrote never comes here.
"""

from random import Random

from sca_airline.environment import Airline

from generators.airline import eval_large, eval_small
from generators.airline.drafts import Draw, Template
from generators.calculation.make_eval import tried
from sca_cli import ToolError
from sca_cli.records import EnvSpec, Task, encode

_TASKS = 4
"""Of each template."""
_DRAWS = 50
"""Tries to draw facts for which no failure case happens to be right."""


def make() -> list[Task]:
    """Return the tasks, by template.

    Raises:
        ValueError: a template whose solution is wrong, or whose failure cases are always right.
    """
    world = Airline()
    return [_task(world, each, lap) for each in (*eval_small.TEMPLATES, *eval_large.TEMPLATES) for lap in range(_TASKS)]


def _task(world: Airline, template: Template, lap: int) -> Task:
    for attempt in range(_DRAWS):
        random = Random(f"{template.__name__} {lap} {attempt}")
        seed = random.randrange(1_000_000)
        world.reset(seed)
        draft = template(Draw(random, world))
        task = Task(
            env=EnvSpec(name="airline"),
            seed=seed,
            split="eval",
            instruction=draft.wordings[lap % 2],
            evaluate=draft.evaluate,
            solution=draft.solution,
            failure_cases=list(draft.wrong),
        )
        passed, task.calls = tried(world, task, task.solution)
        if not passed:
            raise ValueError(f"{template.__name__}: the solution fails: {task.instruction}")
        if _all_fail(world, task):
            return task
    raise ValueError(f"{template.__name__}: a failure case is right")


def _all_fail(world: Airline, task: Task) -> bool:
    """Return whether doing nothing and every failure case run to their end and fail."""
    try:
        return not any(tried(world, task, program)[0] for program in ("", *task.failure_cases))
    except ToolError:  # no seat or no money was left for this mistake
        return False


def main() -> None:
    """Write the file."""
    Airline.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
