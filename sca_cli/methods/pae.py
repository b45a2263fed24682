"""Method `pae`: write an instruction only, as in Proposer-Agent-Evaluator (arXiv 2412.13194). It is a baseline.

The proposer reads the tools' documentation and the first observation of the world; it does not use the calls of an
exploration. The task has no check, no solution and no failure cases, so it is marked `unverified`. Departures from that
paper: one reply proposes one task, for the tools in focus; the observation is text and not a screenshot.
"""

import asyncio
import random

from sca_cli.episode import chat
from sca_cli.methods import Workshop, rejected
from sca_cli.methods.cat import focus
from sca_cli.methods.tags import tag_contents
from sca_cli.records import Exploration, Task

OBSERVATION_CHARS = 2000
"""Longest first observation in the prompt, in characters; chosen by hand."""


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Propose one task for the world of an exploration; the exploration's calls are not used.

    Raises:
        ModelError: the engine failed.
        WorldError: the environment failed to start or to give its first observation.
    """
    observation = await asyncio.to_thread(_first_observation, workshop, exploration)
    (completion,) = await workshop.ask(
        "challenge-pae",
        seed,
        policy=workshop.policy,
        tools=chat.tool_listing(workshop.tools),
        observation=chat.shortened(observation, OBSERVATION_CHARS) or "(nothing)",
        focus=focus(workshop, random.Random(seed)),
    )
    instructions = tag_contents(completion.text, "instruction")
    if len(instructions) != 1:
        problem = f"unparsable: {len(instructions)} <instruction> instead of one"
        return rejected(exploration, "pae", problem, completion.text)
    return Task(
        env=exploration.env,
        seed=exploration.seed,
        method="pae",
        parents=[exploration.id] if exploration.id else [],
        instruction=instructions[0],
        evaluate="",
        unverified=True,
    )


def _first_observation(workshop: Workshop, exploration: Exploration) -> str:
    with workshop.sandbox.session(exploration.env, exploration.seed) as session:
        return session.first_observation()
