"""Generate the held-out evaluation set.

`python -m generators.retail.make_eval` writes `eval.jsonl`; the same code gives the same bytes. Look-ups are first,
then requests with one change, then requests with several. Every task is tested: its solution must pass the check; its
failure cases must finish and fail, and a program that only answers None must fail. These programs run without a jail,
because they are written in the `eval_*` modules; programs of a model never run here.
"""

from random import Random

from sca_retail.environment import Retail

from generators.calculation.make_eval import run_and_check
from generators.retail import eval_changes, eval_lookups, eval_plans
from generators.retail.drafts import Scene, Template, UnfitDraft, check_of
from sca_cli import ToolError
from sca_cli.records import EnvSpec, Task, encode

_TEMPLATES = (*eval_lookups.TEMPLATES, *eval_changes.TEMPLATES, *eval_plans.TEMPLATES)
_LAPS = 3
"""Number of tasks of each template."""
_DRAWS = 200
"""Maximum number of attempts to draw a customer and facts that a template can use."""


def make() -> list[Task]:
    """Generate the tasks.

    Raises:
        ValueError: a template's solution fails, or no drawn customer fits the template.
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
        except UnfitDraft:
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
        passed, task.calls = run_and_check(world, task, task.solution)
        if not passed:
            raise ValueError(f"{template.__name__}: the solution of seed {seed} fails")
        try:
            programs = ("final_answer(None)", *task.failure_cases)
            if not any(run_and_check(world, task, program)[0] for program in programs):
                return task
        except ToolError:
            continue  # a failure case cannot run to its end with this customer
    raise ValueError(f"{template.__name__}: no drawn customer fits the template")


def main() -> None:
    """Write the file."""
    Retail.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
