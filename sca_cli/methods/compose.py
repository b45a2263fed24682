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
from typing import Any

from sca_cli import source
from sca_cli.methods import Dropped, Workshop, in_words, rejected
from sca_cli.methods.plan import Composed
from sca_cli.methods.questions import first_sentence, instruction_problem, step_problem, written
from sca_cli.methods.steps import pairs, program
from sca_cli.records import Task

INSTRUCTION_CANDIDATES = 6
"""At most, of the question of a single call, or of the sentence of each of several."""
ASKED_AT_ONCE = 2
"""As many are asked for until one will do: the first or second mostly does."""
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
    places = range(len(composed.steps))
    asked = await asyncio.gather(*(_sentence(workshop, composed, place, seed) for place in places))
    for texts, _ in asked:
        replies += texts
    for _, problem in asked:
        if problem:
            raise Dropped(f"instruction: {problem}")
    return " ".join([*(texts[-1] for texts, _ in asked), *in_words.part(composed.answer)])


async def _sentence(workshop: Workshop, composed: Composed, place: int, seed: int) -> tuple[list[str], str]:
    """Ask for a text that says what a step does, all of it and nothing else, until one does.

    Returns:
        The texts, the one that will do last; what is wrong with most of them, or "".
    """
    steps, step = composed.steps, composed.steps[place]
    alone = len(steps) == 1
    facts = source.literals(source.parse(program([step.alone()])))
    names = [tool.name for tool in workshop.tools]
    texts: list[str] = []
    problems: Counter[str] = Counter()
    while len(texts) < INSTRUCTION_CANDIDATES:
        completions = await workshop.ask(
            "compose-question" if alone else "compose-step",
            seed + INSTRUCTION_CANDIDATES * place + len(texts),
            count=ASKED_AT_ONCE,
            most=INSTRUCTION_TOKENS,
            call=in_words.call(steps, place),
            meaning=first_sentence(step.tool.description) + ".",
            values=", ".join(map(str, [*facts, *in_words.mentioned(steps, place)])) or "nothing",
            request=workshop.request(composed.world) if alone else "",
        )
        for text in (written(completion.text) for completion in completions):
            problem = step_problem(
                text, in_words.call(steps, place), facts, in_words.references(steps, place), step.tool
            )
            problem = problem or instruction_problem(text, facts, composed.result, names)
            texts.append(text)
            if not problem:
                whole = text if text[-1] in ".?!" else f"{text}."
                texts[-1] = re.sub("['\"]((?:that|the \\w+) result)['\"]", r"\1", whole)
                return texts, ""
            problems[problem] += 1
    return texts, problems.most_common(1)[0][0]


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
