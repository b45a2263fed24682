"""Make the held-out evaluation set: 66 tasks, 22 of at most three calls, 22 of four or five, 22 of more.

`python -m generators.web_browsing.make_eval` writes `eval.jsonl` anew; the same code gives the same bytes. Every task
is tried out on the way: its solution must pass its check, its failure cases and doing nothing must not. The programs
run here are the ones written in the `eval_*` modules; what a model wrote never comes here.
"""

from random import Random

from sca_web_browsing.environment import WebBrowsing

from generators.calculation.make_eval import tried
from generators.web_browsing import eval_long, eval_middle, eval_short
from generators.web_browsing.drafts import Template
from sca_cli.records import EnvSpec, Task, encode

_GROUPS = (
    (eval_short.TEMPLATES, range(1, 4)),
    (eval_middle.TEMPLATES, range(4, 6)),
    (eval_long.TEMPLATES, range(6, 60)),
)
"""Templates, and how many calls their solutions may make."""
_TASKS = 22
"""Of each group."""
_DRAWS = 50
"""Tries to draw a site on which no failure case happens to be right."""


def make() -> list[Task]:
    """Return the tasks, by number of calls.

    Raises:
        ValueError: a template whose solution is wrong, or whose failure cases are always right.
    """
    world = WebBrowsing()
    return [
        _task(world, templates[place % len(templates)], place // len(templates), wanted)
        for templates, wanted in _GROUPS
        for place in range(_TASKS)
    ]


def _task(world: WebBrowsing, template: Template, lap: int, wanted: range) -> Task:
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
        passed, task.calls = tried(world, task, solution)
        if not passed or tried(world, task, "")[0]:
            raise ValueError(f"{template.__name__}: the solution or doing nothing is misjudged at seed {seed}")
        if task.calls in wanted and not any(tried(world, task, program)[0] for program in wrong):
            return task
    raise ValueError(f"{template.__name__}: a failure case is right, or the calls are not in {wanted}")


def main() -> None:
    """Write the file."""
    WebBrowsing.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
