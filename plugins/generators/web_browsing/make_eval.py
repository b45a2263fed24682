"""Generate the held-out evaluation set: 66 tasks, 22 with at most three calls, 22 with four or five, 22 with more.

`python -m generators.web_browsing.make_eval` writes `eval.jsonl`; the same code gives the same bytes. Every task is
tested: its solution must pass the check, and its failure cases and the empty program must fail. These programs run
without a jail, because they are written in the `eval_*` modules; programs of a model never run here.
"""

from random import Random

from sca_web_browsing.environment import WebBrowsing

from generators.calculation.make_eval import run_and_check
from generators.web_browsing import eval_long, eval_middle, eval_short
from generators.web_browsing.drafts import Template
from sca_cli.records import EnvSpec, Task, encode

_GROUPS = (
    (eval_short.TEMPLATES, range(1, 4)),
    (eval_middle.TEMPLATES, range(4, 6)),
    (eval_long.TEMPLATES, range(6, 60)),
)
"""Templates, and the allowed numbers of calls of their solutions."""
_TASKS = 22
"""Number of tasks of each group."""
_DRAWS = 50
"""Maximum number of attempts to draw a site on which no failure case is accidentally right."""


def make() -> list[Task]:
    """Generate the tasks, ordered by number of calls.

    Raises:
        ValueError: a template's solution is wrong, the empty program passes, or in every draw one of the template's
            failure cases is right or the number of calls is not allowed.
    """
    world = WebBrowsing()
    return [
        _task(world, templates[place % len(templates)], place // len(templates), call_counts)
        for templates, call_counts in _GROUPS
        for place in range(_TASKS)
    ]


def _task(world: WebBrowsing, template: Template, lap: int, call_counts: range) -> Task:
    for attempt in range(_DRAWS):
        random = Random(f"{template.__name__} {lap} {attempt}")
        seed = random.randrange(1_000_000)
        world.reset(seed)
        draft = template(random, world.state()["site"])
        solution, *wrong = (program.strip() + "\n" for program in (draft.solution, *draft.wrong))
        task = Task(
            env=EnvSpec(name="web_browsing"),
            seed=seed,
            split="eval",
            instruction=draft.wordings[lap % len(draft.wordings)],
            evaluate=draft.evaluate,
            solution=solution,
            failure_cases=wrong,
        )
        passed, task.calls = run_and_check(world, task, solution)
        if not passed or run_and_check(world, task, "")[0]:
            raise ValueError(f"{template.__name__}: the solution fails or the empty program passes at seed {seed}")
        if task.calls in call_counts and not any(run_and_check(world, task, program)[0] for program in wrong):
            return task
    raise ValueError(f"{template.__name__}: a failure case is right, or the number of calls is not in {call_counts}")


def main() -> None:
    """Write the file."""
    WebBrowsing.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
