"""Make the held-out evaluation set.

`python -m generators.retail.make_eval` writes `eval.jsonl` anew; same code, same bytes. Look-ups come first, then
requests of one change, then those of several. Every task is tried out on the way: its solution must pass its check; its
failure cases must run to their end and fail it, and doing nothing must fail it. The programs run here are the ones
written in the `eval_*` modules; what a model wrote never comes here.
"""

from random import Random

from sca_retail.environment import Retail

from generators.calculation.make_eval import tried
from generators.retail import eval_changes, eval_lookups, eval_plans
from generators.retail.drafts import Scene, Template, Unfit, check_of
from sca_cli import ToolError
from sca_cli.records import EnvSpec, Task, encode

_TEMPLATES = (*eval_lookups.TEMPLATES, *eval_changes.TEMPLATES, *eval_plans.TEMPLATES)
_LAPS = 3
"""Tasks of each template."""
_DRAWS = 200
"""Tries to draw a customer and facts that a template can use."""


def make() -> list[Task]:
    """Return the tasks.

    Raises:
        ValueError: a template whose solution fails, or which no customer suits.
    """
    world = Retail()
    return [_task(world, template, lap) for template in _TEMPLATES for lap in range(_LAPS)]


def _task(world: Retail, template: Template, lap: int) -> Task:
    for attempt in range(_DRAWS):
        random = Random(f"{template.__name__} {lap} {attempt}")
        seed = random.randrange(1_000_000)
        world.reset(seed)
        scene = Scene(random, world, world.who)
        try:
            draft = template(scene)
        except Unfit:
            continue
        task = Task(
            env=EnvSpec(name="retail"),
            seed=seed,
            split="eval",
            instruction=f"{scene.hello()} {draft.request}",
            evaluate=check_of(draft, scene),
            solution=scene.login() + draft.solution,
            failure_cases=[scene.login() + program for program in draft.wrong],
        )
        passed, task.calls = tried(world, task, task.solution)
        if not passed:
            raise ValueError(f"{template.__name__}: the solution of seed {seed} fails")
        try:
            if not any(tried(world, task, program)[0] for program in ("final_answer(None)", *task.failure_cases)):
                return task
        except ToolError:
            continue  # what is to be a wrong way cannot be gone with this customer
    raise ValueError(f"{template.__name__}: no customer suits it")


def main() -> None:
    """Write the file."""
    Retail.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
