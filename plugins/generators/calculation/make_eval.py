"""Generate the held-out evaluation set: 120 tasks, for each of 4 families 10 with one call, 10 with two, 10 with more.

`python -m generators.calculation.make_eval` writes `eval.jsonl`; the same code gives the same bytes. Every task is
tested: its solution must pass the check, and its failure cases and the empty program must fail. These programs run
without a jail, because they are written in the `eval_*` modules; programs of a model never run here.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from sca_calculation.environment import Calculation

from generators.calculation import eval_dna, eval_message, eval_trade, eval_travel
from generators.calculation.drafts import CalculationDraft, CalculationSampler, Template, check_of
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
"""Number of tasks for each family and number of calls."""
_DRAWS = 50
"""Maximum number of attempts to draw facts for which no failure case is accidentally right."""


def make() -> list[Task]:
    """Generate the tasks, ordered by family and number of calls.

    Raises:
        ValueError: a template's solution is wrong or has an unexpected number of calls, the empty program passes, or
            in every draw one of the template's failure cases is right.
    """
    tasks = []
    for family, templates in _TEMPLATES.items():
        for call_counts, group in (
            ({1}, templates.one),
            ({2}, templates.two),
            (set(range(3, 20)), templates.more),
        ):
            for place in range(_TASKS):
                lap, which = divmod(place, len(group))
                tasks.append(_task(family, group[which], lap, call_counts))
    return tasks


def _task(family: str, template: Template, lap: int, call_counts: set[int]) -> Task:
    for attempt in range(_DRAWS):
        random = Random(f"{family} {template.__name__} {lap} {attempt}")
        seed = random.randrange(1_000_000)
        world = Calculation(family)
        world.reset(seed)
        draft = template(CalculationSampler(random, world.state()))
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
        passed, task.calls = run_and_check(world, task, task.solution)
        if not passed or run_and_check(world, task, "")[0] or task.calls not in call_counts:
            raise ValueError(
                f"{template.__name__}: the solution does not give {draft.answer!r}, its {task.calls} calls are too "
                "many or too few, or the empty program passes"
            )
        if not any(run_and_check(world, task, program)[0] for program in task.failure_cases):
            return task
    raise ValueError(f"{template.__name__}: a failure case is right")


def _program(text: str, draft: CalculationDraft) -> str:
    return text.format(**draft.facts) + "\n"


def run_and_check(world: Environment, task: Task, program: str) -> tuple[bool, int]:
    """Run a program from the state of the task's seed; return the result of the check and the number of calls.

    Args:
        world: the task's environment; it is reset first.
        task: provides the seed and the check, which can call only tools that do not write.
        program: source of the program; "" does nothing.

    Raises:
        ToolError: a call was refused, and the program does not catch the error.
    """
    world.reset(task.seed)
    answers: list[Any] = []
    calls = 0

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            return method(*args, **kwargs)

        return call

    tools = tools_of(world)
    program_names: dict[str, Any] = {name: counting(method) for name, (_, method) in tools.items()}
    exec(program, program_names | {"final_answer": answers.append, "ToolError": ToolError})
    check_names: dict[str, Any] = {name: method for name, (tool, method) in tools.items() if not tool.writes}
    exec(task.evaluate, check_names)
    evaluate = check_names["evaluate"]
    return evaluate(*(answers or [None])[: evaluate.__code__.co_argcount]), calls


def main() -> None:
    """Write the file."""
    Calculation.eval_path().write_bytes(b"".join(encode(task) + b"\n" for task in make()))


if __name__ == "__main__":
    main()
