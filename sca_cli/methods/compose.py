"""Method `compose`: programs put together from calls that were seen to work; the model only writes the question.

Tasks that a small model writes one by one are mostly of one call, and teach what it can do already. These come in equal
shares by number of calls, and cover the ordered pairs of tools (an addition to the paper).

1. `Plan` draws programs of 1 … K calls (`composer`), runs each in the jail for its outcome, and drops those that are
   refused, change nothing, end in a trivial answer, or have a step that makes no difference.
2. `evaluate` is filled from what was observed: the answer, or what the read tools show to have changed.
3. The failure cases are wrong branches (`wrong_branches`): an intermediate result answered, a step left out, arguments
   swapped, another value.
4. `make` has the model write the instruction: a question for a single call, else a sentence for each, in order. Of
   several, one is taken that names every value and no other figure, says which result it goes on from, and gives away
   neither the answer nor a tool. Whole questions for several calls mostly left a step out with a 0.5B model.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sca_cli import source
from sca_cli.methods import Dropped, Workshop, in_words, rejected
from sca_cli.methods.plan import Composed
from sca_cli.methods.questions import first_sentence, instruction_problem, step_problem, written
from sca_cli.methods.steps import Step, pairs, program
from sca_cli.records import JSON, Task

INSTRUCTION_CANDIDATES = 6
"""Of the question of a single call, or of the sentence of each of several."""
INSTRUCTION_TOKENS = 96


async def make(workshop: Workshop, composed: Composed, seed: int) -> Task:
    """Have the model write the instruction of a composed program.

    Raises:
        ModelError: the engine failed.
    """
    replies: list[str] = []
    try:
        instruction = await _instruction(workshop, composed, seed, replies)
    except Dropped as problem:
        return rejected(composed.world, "compose", str(problem), "\n\n".join(replies))
    return Task(
        env=composed.world.env,
        seed=composed.world.seed,
        method="compose",
        parents=[composed.world.id],
        instruction=instruction,
        evaluate=composed.evaluate,
        solution=composed.program,
        failure_cases=[text for _, text in composed.wrong],
        calls=len(composed.calls),
        extra=_origin(composed),
    )


async def _instruction(workshop: Workshop, composed: Composed, seed: int, replies: list[str]) -> str:
    """Return the question of a single call, or a sentence for each of several.

    Raises:
        Dropped: what the model wrote will not do; it is in `replies`.
    """
    alone = len(composed.steps) == 1
    asked = [
        workshop.ask(
            "compose-question" if alone else "compose-step",
            seed + INSTRUCTION_CANDIDATES * place,
            count=INSTRUCTION_CANDIDATES,
            most=INSTRUCTION_TOKENS,
            call=in_words.call(composed.steps, place),
            meaning=first_sentence(step.tool.description) + ".",
            values=", ".join(map(str, [*_facts(step), *in_words.mentioned(composed.steps, place)])) or "nothing",
            request=workshop.request(composed.world) if alone else "",
        )
        for place, step in enumerate(composed.steps)
    ]
    sentences = []
    for place, completions in enumerate(await asyncio.gather(*asked)):
        texts = [written(completion.text) for completion in completions]
        replies += texts
        sentences.append(_sentence(texts, composed, place, [tool.name for tool in workshop.tools]))
    return " ".join([*sentences, *in_words.part(composed.answer)])


def _sentence(texts: Sequence[str], composed: Composed, place: int, tools: list[str]) -> str:
    """Return the first text that asks for what a step does, for all of it and nothing else.

    Raises:
        Dropped: none does.
    """
    step = composed.steps[place]
    facts, call = _facts(step), in_words.call(composed.steps, place)
    references = in_words.references(composed.steps, place)
    problems = []
    for text in texts:
        problem = step_problem(text, call, facts, references, step.tool)
        problem = problem or instruction_problem(text, facts, composed.result, tools)
        if not problem:
            whole = text if text[-1] in ".?!" else f"{text}."
            return re.sub("['\"]((?:that|the \\w+) result)['\"]", r"\1", whole)
        problems.append(problem)
    raise Dropped(f"instruction: {Counter(problems).most_common(1)[0][0]}")


def _facts(step: Step) -> list[JSON]:
    return source.literals(source.parse(program([step.alone()])))


def _origin(composed: Composed) -> dict[str, Any]:
    """Return what the machine composed and what the model wrote, for the record."""
    return {
        "written_by": {
            "instruction": "model" if len(composed.steps) == 1 else "model, a sentence a call",
            "solution": "composed",
            "evaluate": "observed",
            "failure_cases": [kind for kind, _ in composed.wrong],
        },
        "pairs": sorted(map(list, pairs(composed.steps))),
    }
