"""How long the prompts and replies of an environment are, measured on what `sca` would really ask.

Prompts are rendered from the environment's own policy and tools and the prompt files in force; replies are those that
the held-out tasks hold: their four parts as `challenge` wants them, their solutions as an agent would write them. No
model, no jail and no network: nothing but the environment's own code runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from statistics import mean

from sca_cli import plugins
from sca_cli.episode import chat
from sca_cli.prompts import Prompts
from sca_cli.records import Task, decode

CHARS_PER_TOKEN = 3.6
"""Where there is no tokenizer. Qwen2.5's has 3.9 to 4.2 of them in our prompts and 2.9 to 3.6 in replies, which are
code with figures.
"""

OBSERVED_TOKENS = {"calculation": 35, "web_browsing": 65, "retail": 303, "airline": 284}
"""What one call returns: mean over all calls of the held-out solutions, Qwen2.5's tokenizer."""

SHOWN_OBSERVATIONS, SHOWN_TOKENS = 8, 67
"""Calls in the prompt of `challenge`, and the most of one (240 characters)."""

SAMPLE = 8
"""Held-out tasks that are rendered, evenly drawn: a retail world takes a sixth of a second to set up."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Means over tasks."""

    tokens: float
    fresh: float
    """Of them, those after the part that it has in common with the next task's: what no prefix cache holds."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """What an environment measures; all but counts and bytes in tokens."""

    explore: Prompt
    challenge: Prompt
    propose: Prompt
    agent: Prompt
    user: Prompt
    judge: float
    """Without the transcript."""
    task_reply: float
    """A whole task, as the method `cat` wants it."""
    instruction: float
    call: float
    """The solution's code for one call."""
    calls: float
    """Tool calls of a solution."""
    observed: float
    customer: bool
    held_out: int
    task_bytes: float


def counter(tokenizer: str) -> tuple[Callable[[str], float], str]:
    """Return what counts tokens, and its name: a tokenizer that is on this machine, else characters.

    Args:
        tokenizer: a model directory, or the name of a model in the hub's cache; nothing is fetched.
    """
    try:
        from huggingface_hub import try_to_load_from_cache
        from tokenizers import Tokenizer
    except ImportError:
        return _by_characters, f"characters / {CHARS_PER_TOKEN}"
    local = Path(tokenizer) / "tokenizer.json"
    found = local if local.is_file() else None
    if found is None and not Path(tokenizer).exists() and tokenizer.count("/") == 1:
        cached = try_to_load_from_cache(tokenizer, "tokenizer.json")
        found = Path(cached) if isinstance(cached, str) else None
    if found is None:
        return _by_characters, f"characters / {CHARS_PER_TOKEN} (no tokenizer of {tokenizer} here)"
    encoder = Tokenizer.from_file(str(found))
    return lambda text: float(len(encoder.encode(text).ids)), f"the tokenizer of {tokenizer}"


def _by_characters(text: str) -> float:
    return len(text) / CHARS_PER_TOKEN


def lengths(env: str, count: Callable[[str], float]) -> Lengths:
    """Measure an environment.

    Raises:
        MissingError: nobody registered it.
        ValueError: it ships no held-out tasks to measure.
    """
    spec = plugins.parse_env(env)
    path = plugins.eval_path(spec)
    if path is None:
        raise ValueError(f"environment '{env}' ships no held-out tasks to measure")
    lines = path.read_bytes().splitlines()
    tasks = [decode(line) for line in lines]
    drawn = [task for task in tasks[:: max(1, len(tasks) // SAMPLE)] if isinstance(task, Task)]
    calls = mean(task.calls or 1 for task in drawn)
    observed = OBSERVED_TOKENS.get(spec.name, max(OBSERVED_TOKENS.values()))
    shown = SHOWN_OBSERVATIONS * min(SHOWN_TOKENS, observed + 15)
    places = [_Place.of(task) for task in drawn]
    challenge = _measured(
        [place.filled("challenge-cat", policy=place.setting, observations="", focus=place.focus) for place in places],
        count,
    )
    return Lengths(
        explore=_measured([place.filled("explore", focus=place.focus) for place in places], count),
        challenge=Prompt(challenge.tokens + shown, challenge.fresh + shown),
        propose=_measured(
            [place.filled("challenge-pae", observation=place.first, focus=place.focus) for place in places], count
        ),
        agent=_measured(
            [
                place.filled("agent-code-customer" if place.customer else "agent-code", instruction=task.instruction)
                for place, task in zip(places, drawn, strict=True)
            ],
            count,
        ),
        user=_measured([_text("user", instruction=task.instruction, stop="") for task in drawn], count),
        judge=mean(count(_text("judge", instruction=task.instruction, transcript="", answer="")) for task in drawn),
        task_reply=mean(count(_four_parts(task)) for task in drawn),
        instruction=mean(count(task.instruction) for task in drawn),
        call=mean(count(task.solution) for task in drawn) / calls,
        calls=calls,
        observed=observed,
        customer=any(place.customer for place in places),
        held_out=len(tasks),
        task_bytes=mean(map(len, lines)),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A task's environment, as a model is told of it."""

    policy: str
    tools: str
    focus: str
    first: str
    customer: bool

    @classmethod
    def of(cls, task: Task) -> "_Place":
        environment = plugins.load_environment(task.env)
        environment.reset(task.seed)
        tools = [tool for tool, _ in environment.tools().values()]
        focus = ", ".join(tool.name for tool in tools[:2])
        first = environment.first_observation()
        return cls(environment.policy, chat.tool_listing(tools), focus, first, environment.customer)

    @property
    def setting(self) -> str:
        asked = _text("challenge-customer") if self.customer else ""
        return "\n\n".join(filter(None, [self.policy, self.first, asked]))

    def filled(self, prompt: str, **values: str) -> str:
        return _text(prompt, **({"policy": self.policy, "tools": self.tools} | values))


def _text(prompt: str, **values: str) -> str:
    return "\n".join(message.content for message in Prompts().fill(prompt, **values))


def _measured(texts: Sequence[str], count: Callable[[str], float]) -> Prompt:
    """Return the mean length, and the mean of what each does not share with the nearest in order before it."""
    ordered = sorted(texts)
    whole = mean(map(count, ordered))
    shared = [_common(*pair) for pair in pairwise(ordered)] or [""]
    return Prompt(whole, max(0.0, whole - mean(map(count, shared))))


def _common(one: str, other: str) -> str:
    return one[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))]


def _four_parts(task: Task) -> str:
    cases = "".join(f"<failure_case>\n{case}\n</failure_case>\n" for case in task.failure_cases[:3])
    return (
        f"<instruction>\n{task.instruction}\n</instruction>\n<evaluation_function>\n{task.evaluate}\n"
        f"</evaluation_function>\n<solution>\n{task.solution}\n</solution>\n{cases}"
    )
