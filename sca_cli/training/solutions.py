"""Self-made supervision: each task's own proven solution as the reply to its instruction. An addition to the paper.

Rejection sampling learns most where the model is right already. A task that proved itself holds a right program
whether or not the model finds it; here that program is put as what the agent says when it attempts the task directly.
Nothing is sampled.
"""

from collections.abc import Callable, Iterable, Iterator

from sca_cli.episode import chat
from sca_cli.episode.agent import opening_messages
from sca_cli.errors import RecordError
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, Message, Rollout, Task, Usage
from sca_cli.sandbox import Description
from sca_cli.training.data import Tally


def proven_tasks(records: Iterable[Task | Rollout], tally: Tally) -> Iterator[Task]:
    """Yield the distinct tasks that proved themselves; count the others.

    Raises:
        RecordError: a task that nobody verified.
    """
    seen: set[str] = set()
    for record in records:
        task = record.task if isinstance(record, Rollout) else record
        if task.id in seen:
            continue
        seen.add(task.id)
        if task.kept is None:
            raise RecordError(
                f"task {task.id} has no verdict: nothing proves its solution",
                "sca verify tasks.jsonl | sca train --on solutions --save DIR",
            )
        if task.kept:
            yield task
        else:
            tally.read += 1
            tally.unproven += 1


def demonstrations(
    tasks: Iterable[Task], describe: Callable[[EnvSpec], Description], prompts: Prompts, tally: Tally
) -> Iterator[Rollout]:
    """Yield for each task the direct attempt by code that its solution is; count tasks that have none.

    Args:
        tasks: proven ones; their `id` becomes the rollout's.
        describe: says what an environment offers.
        prompts: the prompt files in force.
        tally: counts what is left out.
    """
    for task in tasks:
        solution = task.solution.strip("\n")
        reply = f"```python\n{solution}\n```"
        if chat.code_blocks(reply) != [solution]:
            tally.read += 1
            tally.wordless += 1
            continue
        opening = opening_messages(prompts, "code", describe(task.env), task.instruction)
        yield Rollout(
            id=task.id,
            task=task,
            messages=[*opening, Message(role="assistant", content=reply)],
            calls=(task.verdict and task.verdict.solution_calls()) or [],
            outcome="pass",
            usage=Usage(turns=1),
        )
