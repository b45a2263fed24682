"""Measure the lengths of an environment's prompts and replies on the prompts that `sca` really sends.

Prompts are rendered from the environment's own policy and tools with the current prompt files. Replies are built from
the held-out tasks: their four parts in the format of `challenge`, and their solutions in the form of an agent's
replies. This needs no model, no jail and no network. It runs only the environment's own code.
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
"""Used if there is no tokenizer. Qwen2.5's tokenizer has 3.9 to 4.2 characters a token in our prompts, and 2.9 to 3.6
in replies, which are code with numbers.
"""

OBSERVED_TOKENS = {"calculation": 35, "web_browsing": 65, "retail": 303, "airline": 284}
"""Environment → length of one call's result: mean over all calls of the held-out solutions, Qwen2.5's tokenizer."""

SHOWN_OBSERVATIONS, SHOWN_TOKENS = 8, 67
"""Number of calls in the prompt of `challenge`, and maximum tokens of one (240 characters)."""

SAMPLE = 8
"""Number of evenly spaced held-out tasks to render; not all, because a retail world takes 1/6 s to set up."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Mean length of a prompt over tasks."""

    tokens: float
    fresh: float
    """Tokens after the prefix shared with another task's prompt; a prefix cache does not hold them."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Measured lengths of an environment, in tokens except for counts and bytes."""

    explore: Prompt
    challenge: Prompt
    propose: Prompt
    agent: Prompt
    user: Prompt
    judge: float
    """The judge's prompt without the transcript."""
    task_reply: float
    """A whole task in the format of the method `cat`."""
    instruction: float
    call: float
    """The solution's code for one call."""
    calls: float
    """Number of tool calls of a solution."""
    observed: float
    """The result of one call."""
    customer: bool
    """Whether the agent talks to a customer."""
    held_out: int
    """Number of held-out tasks."""
    task_bytes: float
    """Size of a task's record."""


def counter(tokenizer: str) -> tuple[Callable[[str], float], str]:
    """Return a function that counts tokens, and a description: a local tokenizer, or else characters.

    Args:
        tokenizer: a model directory, or the id of a model in the hub's cache; nothing is downloaded.
    """
    try:
        from huggingface_hub import try_to_load_from_cache
        from tokenizers import Tokenizer
    except ImportError:
        return _by_characters, f"characters / {CHARS_PER_TOKEN}"
    local = Path(tokenizer) / "tokenizer.json"
    file = local if local.is_file() else None
    if file is None and not Path(tokenizer).exists() and tokenizer.count("/") == 1:
        cached = try_to_load_from_cache(tokenizer, "tokenizer.json")
        file = Path(cached) if isinstance(cached, str) else None
    if file is None:
        return _by_characters, f"characters / {CHARS_PER_TOKEN} (no tokenizer of {tokenizer} here)"
    encoder = Tokenizer.from_file(str(file))
    return lambda text: float(len(encoder.encode(text).ids)), f"the tokenizer of {tokenizer}"


def _by_characters(text: str) -> float:
    return len(text) / CHARS_PER_TOKEN


def lengths(env: str, count: Callable[[str], float]) -> Lengths:
    """Measure an environment.

    Args:
        env: the environment, in the form of the option `--env`.
        count: returns the number of tokens of a text.

    Raises:
        MissingError: no plugin registers the environment.
        ValueError: the environment has no held-out tasks.
    """
    spec = plugins.parse_env(env)
    path = plugins.eval_path(spec)
    if path is None:
        raise ValueError(f"environment '{env}' has no held-out tasks to measure")
    lines = path.read_bytes().splitlines()
    tasks = [decode(line) for line in lines]
    sample = [task for task in tasks[:: max(1, len(tasks) // SAMPLE)] if isinstance(task, Task)]
    calls = mean(task.calls or 1 for task in sample)
    observed = OBSERVED_TOKENS.get(spec.name, max(OBSERVED_TOKENS.values()))
    shown = SHOWN_OBSERVATIONS * min(SHOWN_TOKENS, observed + 15)
    worlds = [_World.of(task) for task in sample]
    challenge = _measure(
        [world.fill("challenge-cat", policy=world.setting, observations="", focus=world.focus) for world in worlds],
        count,
    )
    return Lengths(
        explore=_measure([world.fill("explore", focus=world.focus) for world in worlds], count),
        challenge=Prompt(challenge.tokens + shown, challenge.fresh + shown),
        propose=_measure(
            [world.fill("challenge-pae", observation=world.first, focus=world.focus) for world in worlds], count
        ),
        agent=_measure(
            [
                world.fill("agent-code-customer" if world.customer else "agent-code", instruction=task.instruction)
                for world, task in zip(worlds, sample, strict=True)
            ],
            count,
        ),
        user=_measure([_text("user", instruction=task.instruction, stop="") for task in sample], count),
        judge=mean(count(_text("judge", instruction=task.instruction, transcript="", answer="")) for task in sample),
        task_reply=mean(count(_four_parts(task)) for task in sample),
        instruction=mean(count(task.instruction) for task in sample),
        call=mean(count(task.solution) for task in sample) / calls,
        calls=calls,
        observed=observed,
        customer=any(world.customer for world in worlds),
        held_out=len(tasks),
        task_bytes=mean(map(len, lines)),
    )


@dataclass(frozen=True, slots=True)
class _World:
    """The texts about a task's environment that prompts contain."""

    policy: str
    tools: str
    focus: str
    first: str
    customer: bool

    @classmethod
    def of(cls, task: Task) -> "_World":
        environment = plugins.load_environment(task.env)
        environment.reset(task.seed)
        tools = [tool for tool, _ in environment.tools().values()]
        focus = ", ".join(tool.name for tool in tools[:2])
        first = environment.first_observation()
        return cls(environment.policy, chat.tool_listing(tools), focus, first, environment.customer)

    @property
    def setting(self) -> str:
        customer_rules = _text("challenge-customer") if self.customer else ""
        return "\n\n".join(filter(None, [self.policy, self.first, customer_rules]))

    def fill(self, prompt: str, **values: str) -> str:
        return _text(prompt, **({"policy": self.policy, "tools": self.tools} | values))


def _text(prompt: str, **values: str) -> str:
    return "\n".join(message.content for message in Prompts().fill(prompt, **values))


def _measure(texts: Sequence[str], count: Callable[[str], float]) -> Prompt:
    """Return the mean length, and the mean length without the prefix that each text shares with its neighbour.

    The neighbour is the previous text in alphabetical order, which has the longest common prefix.
    """
    ordered = sorted(texts)
    tokens = mean(map(count, ordered))
    shared = [_common(*pair) for pair in pairwise(ordered)] or [""]
    return Prompt(tokens, max(0.0, tokens - mean(map(count, shared))))


def _common(one: str, other: str) -> str:
    return one[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))]


def _four_parts(task: Task) -> str:
    cases = "".join(f"<failure_case>\n{case}\n</failure_case>\n" for case in task.failure_cases[:3])
    return (
        f"<instruction>\n{task.instruction}\n</instruction>\n<evaluation_function>\n{task.evaluate}\n"
        f"</evaluation_function>\n<solution>\n{task.solution}\n</solution>\n{cases}"
    )
