"""Make the held-out evaluation set: 120 tasks, 30 a family, of which 10 take one call, 10 two, 10 more.

`python -m generators.calculation.make_eval` writes `eval.jsonl` anew; the same code gives the same bytes. Every
task is tried out on the way: its solution must pass its check, its failure cases and no answer must not. The
programs run here are the ones written in the `eval_*` modules; what a model wrote never comes here.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from sca_calculation.environment import Calculation

from generators.calculation import eval_dna, eval_message, eval_trade, eval_travel
from generators.calculation.drafts import Draft, Draw, Template, check_of
from sca_cli import Environment, ToolError
from sca_cli.interfaces import tools_of
from sca_cli.records import EnvSpec, Task, encode

_TEMPLATES = {
    "message_decoder": eval_message.TEMPLATES,
    "dna_sequencer": eval_dna.TEMPLATES,
    "trade_calculator": eval_trade.TEMPLATES,
    "travel_itinerary": eval_travel.TEMPLATES,
}
_TASKS = 10
"""Of each family and number of calls."""
_DRAWS = 50
"""Tries to draw facts for which no failure case happens to be right."""


def make() -> list[Task]:
    """Return the tasks, by family and number of calls.

    Raises:
        ValueError: a template whose solution is wrong, or whose failure cases are always right.
    """
    tasks = []
    for family, templates in _TEMPLATES.items():
        for wanted, group in (
            ({1}, templates.one),
            ({2}, templates.two),
            (set(range(3, 20)), templates.more),
        ):
            for place in range(_TASKS):
                lap, which = divmod(place, len(group))
                tasks.append(_task(family, group[which], lap, wanted))
    return tasks


def _task(family: str, template: Template, lap: int, wanted: set[int]) -> Task:
    for attempt in range(_DRAWS):
        random = Random(f"{family} {template.__name__} {lap} {attempt}")
        seed = random.randrange(1_000_000)
        world = Calculation(family)
        world.reset(seed)
        draft = template(Draw(random, world.state()))
        wording = draft.wordings[lap % len(draft.wordings)]
        task = Task(
            env=EnvSpec(name="calculation", options={"family": family}),
            seed=seed,
            split="eval",
            instruction=wording.format(**draft.facts),
            evaluate=check_of(draft.answer, draft.judged),
            solution=_program(draft.solution, draft),
            failure_cases=[_program(text, draft) for text in draft.wrong],
        )
        passed, task.calls = tried(world, task, task.solution)
        if not passed or tried(world, task, "")[0] or task.calls not in wanted:
            raise ValueError(f"{template.__name__}: {task.calls} calls do not give {draft.answer!r}, or nothing does")
        if not any(tried(world, task, program)[0] for program in task.failure_cases):
            return task
    raise ValueError(f"{template.__name__}: a failure case is right")


def _program(text: str, draft: Draft) -> str:
    return text.format(**draft.facts) + "\n"


def tried(world: Environment, task: Task, program: str) -> tuple[bool, int]:
    """Run a program in the task's world; return what the check says, and the number of calls.

    Args:
        world: put into the state of the task's seed first.
        task: whose check judges, with the tools that do not write.
        program: "" for doing nothing.

    Raises:
        ToolError: a call was refused, and the program does not expect it.
    """
    world.reset(task.seed)
    answers: list[Any] = []
    calls = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return method(*args, **kwargs)

        return call

    tools = tools_of(world)
    names: dict[str, Any] = {name: counted(method) for name, (_, method) in tools.items()}
    exec(program, names | {"final_answer": answers.append, "ToolError": ToolError})
    judge: dict[str, Any] = {name: method for name, (tool, method) in tools.items() if not tool.writes}
    exec(task.evaluate, judge)
    evaluate = judge["evaluate"]
    return evaluate(*(answers or [None])[: evaluate.__code__.co_argcount]), calls


def main() -> None:
    """Write the file."""
    Calculation.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
