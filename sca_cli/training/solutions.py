"""Make training data from solutions: each verified task's own solution is the reply to its instruction.

This is an addition to the paper. Rejection sampling trains mostly on tasks that the model already solves. A verified
task contains a correct program, whether or not the model can find it. Here that program becomes the agent's only reply
in a direct attempt at the task. Nothing is sampled.
"""

from collections.abc import Callable, Iterable, Iterator

from sca_cli.episode import chat
from sca_cli.episode.agent import opening_messages
from sca_cli.errors import RecordError, ScaError
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, Message, Rollout, Task, Usage
from sca_cli.sandbox import Description
from sca_cli.training.data import Tally


def proven_tasks(records: Iterable[Task | Rollout], tally: Tally) -> Iterator[Task]:
    """Yield each verified task that `sca verify` kept, once; count the rejected ones.

    Raises:
        RecordError: a task has no verdict of `sca verify`.
    """
    ids: set[str] = set()
    for record in records:
        task = record.task if isinstance(record, Rollout) else record
        if task.id in ids:
            continue
        ids.add(task.id)
        if task.kept is None:
            raise RecordError(
                f"task {task.id} has no verdict: its solution is not verified",
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
    """Yield one rollout for each task: a direct attempt whose only reply is the solution as code.

    A task whose solution cannot be written as one Markdown code block is counted and left out.

    Args:
        tasks: verified tasks; a task's `id` becomes the rollout's.
        describe: returns the description of an environment.
        prompts: the prompt files.
        tally: updated with the tasks that are left out.
    """
    for task in tasks:
        solution = task.solution.strip("\n")
        reply = f"```python\n{solution}\n```"
        if chat.code_blocks(reply) != [solution]:
            tally.read += 1
            tally.wordless += 1
            continue
        try:
            place = describe(task.env)
        except ScaError as error:
            if error.ends_run:
                raise
            tally.read += 1
            tally.unusable += 1
            continue
        opening = opening_messages(prompts, "code", place, task.instruction)
        yield Rollout(
            id=task.id,
            task=task,
            messages=[*opening, Message(role="assistant", content=reply)],
            calls=(task.verdict and task.verdict.solution_calls()) or [],
            outcome="pass",
            usage=Usage(turns=1),
        )
