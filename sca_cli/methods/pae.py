"""Method `pae`: an instruction and nothing else, as Proposer-Agent-Evaluator has it (arXiv 2412.13194): a baseline.

The proposer reads the tools' documentation and the first observation of the world; nobody has looked further. The task
has no check, no solution and no failure cases, so it is marked `unverified`. Departures: one reply proposes one task
for the tools in focus; the observation is text, not a picture.
"""

import asyncio
import random
import re

from sca_cli.episode import chat
from sca_cli.methods import Workshop, rejected
from sca_cli.methods.cat import focus
from sca_cli.records import Exploration, Task

OBSERVATION_CHARS = 2000


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Propose one task for the world of an exploration; what was seen there is not used.

    Raises:
        ModelError: the engine failed.
        WorldError: the environment broke.
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
    found = re.findall(r"<instruction>\s*(.*?)\s*</instruction>", completion.text, re.DOTALL)
    if len(found) != 1 or not found[0]:
        return rejected(exploration, "pae", f"unparsable: {len(found)} <instruction> instead of one", completion.text)
    return Task(
        env=exploration.env,
        seed=exploration.seed,
        method="pae",
        parents=[exploration.id] if exploration.id else [],
        instruction=found[0],
        evaluate="",
        unverified=True,
    )


def _first_observation(workshop: Workshop, exploration: Exploration) -> str:
    with workshop.sandbox.session(exploration.env, exploration.seed) as session:
        return session.first_observation()
