"""Method `cat`: the model writes all four parts of a Code-as-Task at once (paper, section 3)."""

import random
import re
from dataclasses import dataclass

from sca_cli.analysis import source
from sca_cli.episode import chat
from sca_cli.methods import Workshop, rejected
from sca_cli.methods.tags import closing_tag, tag_contents
from sca_cli.records import Exploration, Observation, Task
from sca_cli.verification.paper_filter import FAILURE_CASES

SHOWN_OBSERVATIONS = 8
"""Most calls that the prompt shows; chosen by hand."""

_OBSERVATION_CHARS = 240
"""Longest text of one shown call, in characters; chosen by hand."""


class Unparsable(ValueError):
    """A reply is not a Code-as-Task; the message says why."""


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Make one task: ask the model for the four parts and parse the reply strictly.

    A reply that cannot be parsed gives a rejected candidate.

    Raises:
        ModelError: the engine failed.
    """
    draw = random.Random(seed)
    (completion,) = await workshop.ask(
        "challenge-cat",
        seed,
        policy=workshop.setting(exploration),
        tools=chat.tool_listing(workshop.tools),
        observations=shown_observations(exploration.observations, draw),
        focus=focus(workshop, draw),
    )
    try:
        parts = parse(completion.text)
    except Unparsable as error:
        return rejected(exploration, "cat", f"unparsable: {error}", completion.text)
    return Task(
        env=exploration.env,
        seed=exploration.seed,
        method="cat",
        parents=[exploration.id],
        instruction=parts.instruction,
        evaluate=parts.evaluate,
        solution=parts.solution,
        failure_cases=parts.failure_cases,
    )


def focus(workshop: Workshop, draw: random.Random) -> str:
    """Return the names of one to three tools drawn at random.

    The prompt asks for a task about them: without this, a model uses the same few tools in most tasks.
    """
    count = min(draw.choice((1, 2, 2, 3)), len(workshop.tools))
    return ", ".join(tool.name for tool in draw.sample(workshop.tools, count))


def shown_observations(observations: list[Observation], draw: random.Random) -> str:
    """Return a random sample of the exploration's calls that succeeded, one a line."""
    successful = [call for call in observations if not call.error]
    shown = draw.sample(successful, min(SHOWN_OBSERVATIONS, len(successful)))
    return "\n".join(chat.shortened(chat.observed_call(call), _OBSERVATION_CHARS) for call in shown) or "(none)"


@dataclass(frozen=True, slots=True)
class Parts:
    """The four parts of a Code-as-Task."""

    instruction: str
    evaluate: str
    solution: str
    failure_cases: list[str]


def parse(text: str) -> Parts:
    """Parse a reply in the paper's text form into its four parts.

    Text after the third failure case is ignored: small models often continue with repetitions.

    Raises:
        Unparsable: a part is missing, empty, repeated, or not Python.
    """
    ends = [end.end() for end in closing_tag("failure_case").finditer(text)]
    text = text[: ends[FAILURE_CASES - 1]] if len(ends) >= FAILURE_CASES else text
    parts = Parts(
        instruction=_only(text, "instruction"),
        evaluate=_source(_only(text, "evaluation_function"), "evaluation_function"),
        solution=_source(_only(text, "solution"), "solution"),
        failure_cases=[_source(case, "failure_case") for case in tag_contents(text, "failure_case")],
    )
    if not re.search(r"^def evaluate\(", parts.evaluate, re.MULTILINE):
        raise Unparsable("<evaluation_function> does not define evaluate()")
    if len(parts.failure_cases) != FAILURE_CASES:
        raise Unparsable(f"{len(parts.failure_cases)} <failure_case> instead of {FAILURE_CASES}")
    return parts


def _only(text: str, tag: str) -> str:
    bodies = tag_contents(text, tag)
    if len(bodies) != 1:
        raise Unparsable(f"{len(bodies)} <{tag}> instead of one")
    return bodies[0]


def _source(text: str, tag: str) -> str:
    program = (chat.code_blocks(text) or [text])[0].strip()
    try:
        source.parse(program)
    except source.NotPython as error:
        raise Unparsable(f"<{tag}> is not Python: {error}") from error
    return program
