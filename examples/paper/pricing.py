"""Estimate the cost of a recipe's commands from measured lengths, -n and -k, and the files of earlier commands.

`Pricing.price` gets the commands in the order in which they would run. It does not run them.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lengths import Lengths, Prompt
from speed import Work, billions, conversation, gpu_seconds, gpus_needed, nearest, train_seconds

PASSES = {8: 0.12, 70: 0.30}
"""Size of the model in billions of weights → share of attempts that pass.

8B: the paper's zero-shot average, because the paper does not state the share on its own tasks. 70B: a guess.
"""
YIELD = 0.052
"""Share of candidates that the paper's filter keeps. This is its figure for Retail; it states no other."""

# Measured on 40 explorations and 484 rollouts of `sca` (Calculation, a 0.5B model): examples/experiments/RESULTS.md
EXPLORE_REPLY = 148
"""Tokens of an explorer's reply."""
STUCK = 0.5
"""Share of the failed attempts that reach the limit of turns: 168 of 340."""
SEGMENT_BYTES = 11.6
"""Bytes of a rollout's record for each token of its segments: id, mask, log-probability."""
TEXT_BYTES = 4.4
"""Bytes of a message in JSON for each of its tokens."""
VERDICT_BYTES = 700
"""Bytes of a verdict in a task's record."""
CALL_BYTES = 120
"""Bytes of a rollout's record for each tool call."""

PROSE, FENCE = 40, 8
"""Tokens of a reply in addition to its code: an 8B model's text before the code (a guess), and the code fence."""
TALK_TURNS, WORDS, USER_WORDS = 4, 50, 25
"""If there is a customer: number of the agent's turns in words, and the tokens of an agent's and a customer's message.

A 0.5B model as customer wrote 21 tokens a message.
"""
JUDGE_REPLY, PROPOSAL = 40, 15
"""Tokens of a judge's reply, and tokens around a proposed instruction."""
DEFAULTS = {"explore": 2, "rollout": 4, "eval": 4}
"""Default of --turns; the default of -k is always 4."""

SUITE_TASKS = {"calculation": 48, "web_browsing": 34, "retail": 115, "airline": 50}
"""Number of tasks of the benchmarks, for --suite; without it the held-out tasks are counted."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file that a stage writes: its environment and number of records; for rollouts also what training will read."""

    env: str
    records: float
    passed_tokens: float = 0
    """Tokens of a rollout that passed."""
    tokens: float = 0
    """Mean tokens of a rollout, passed or not."""
    passes: float = 0
    """Share of the rollouts that passed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of the table: the cost of one command."""

    env: str
    phase: str
    command: str
    read: float = 0
    """Tokens that models read."""
    written: float = 0
    """Tokens that models write."""
    gpu_s: float = 0
    alone_gpu_s: float = 0
    """GPU seconds with only one conversation at a time on each copy of the model."""
    disk: float = 0
    """Bytes."""
    paper: bool = False
    """Whether the paper states hours for this."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The models' work in one attempt at a task."""

    agent: Work
    user: Work
    passed: float
    """Mean tokens of the whole conversation of attempts that pass."""
    mean: float
    """Mean tokens of the whole conversation of all attempts."""


def _episode(size: Lengths, turns: float, talk_turns: float) -> Attempt:
    """Return the work of an attempt.

    Args:
        size: the environment's lengths.
        turns: number of turns.
        talk_turns: number of these turns that are words to a customer; the others are code.
    """
    code_turns = turns - talk_turns
    reply = (code_turns * (FENCE + PROSE + size.call) + talk_turns * WORDS) / turns
    answer = (code_turns * size.observed + talk_turns * USER_WORDS) / turns
    user = conversation(size.user, talk_turns + 1, USER_WORDS, WORDS) if talk_turns else Work()
    tokens = size.agent.tokens + turns * (reply + answer)
    return Attempt(conversation(size.agent, turns, reply, answer), user, tokens, tokens)


@dataclass(slots=True)
class Pricing:
    """Price commands one after another, and remember the files that they would write."""

    gpus: int
    measured: Callable[[str], Lengths]
    """Environment → its lengths."""
    files: dict[str, Made] = field(default_factory=dict)

    def price(self, line: str) -> Stage:
        """Return the cost of one command.

        Raises:
            ValueError: the command is not one that a recipe uses, or it reads a file that no earlier command writes.
        """
        words = shlex.split(line)
        verb = words[1] if words[:1] == ["sca"] and len(words) > 1 else "".join(words[:1])
        priced: dict[str, Callable[[Command], Stage]] = {
            "explore": self._explore,
            "challenge": self._challenge,
            "verify": self._verify,
            "first": self._first,
            "rollout": self._rollout,
            "train": self._train,
            "distill": self._train,
            "eval": self._eval,
            "report": lambda _: Stage("", "report", line),
        }
        if verb not in priced:
            raise ValueError(f"cannot price '{line}'")
        return replace(priced[verb](Command(verb, words[1 + (words[0] == "sca") :])), command=line)

    def _served(self, work: Work, model: str, command: "Command") -> Stage:
        copies = max(1, self.gpus // gpus_needed(billions(model)))
        batch = command.number("--concurrency", 64) / copies
        return Stage("", "", "", work.read, work.written, gpu_seconds(work, model, batch), gpu_seconds(work, model, 1))

    def _input(self, command: "Command") -> Made:
        for name in command.files:
            if name in self.files:
                return self.files[name]
        raise ValueError(f"no earlier command writes the input of '{command.verb} {' '.join(command.files)}'")

    def _explore(self, command: "Command") -> Stage:
        env, n = command.text("--env"), command.number("-n", 16)
        size = self.measured(env)
        turns = command.number("--turns", DEFAULTS["explore"])
        work = conversation(size.explore, turns, EXPLORE_REPLY, size.observed)
        self.files[command.text("-o")] = Made(env, n)
        disk = n * TEXT_BYTES * (size.explore.tokens + turns * (EXPLORE_REPLY + 2 * size.observed))
        return replace(self._served(work * n, command.text("--model"), command), env=env, phase="generation", disk=disk)

    def _challenge(self, command: "Command") -> Stage:
        n, pae = command.number("-n", 16), command.text("--method", "cat") == "pae"
        env = command.text("--env") if pae else self._input(command).env
        size = self.measured(env)
        prompt, reply = (size.propose, size.instruction + PROPOSAL) if pae else (size.challenge, size.task_reply)
        self.files[command.text("-o")] = Made(env, n)
        row = self._served(conversation(prompt, 1, reply, 0) * n, command.text("--model"), command)
        return replace(row, env=env, phase="generation", disk=n * size.task_bytes, paper=not pae)

    def _verify(self, command: "Command") -> Stage:
        made = self._input(command)
        self.files[command.text("-o")] = replace(made, records=made.records * YIELD)
        written = made.records if "--rejected" in command.options else made.records * YIELD
        disk = written * (self.measured(made.env).task_bytes + VERDICT_BYTES)
        return Stage(made.env, "generation", "", disk=disk)

    def _first(self, command: "Command") -> Stage:
        count, source, target = command.files
        made = self.files.get(source)
        if made is None:
            raise ValueError(f"no earlier command writes the input of 'first {count} {source}'")
        output = replace(made, records=min(made.records, float(count)))
        self.files[target] = output
        disk = output.records * (self.measured(made.env).task_bytes + VERDICT_BYTES)
        return Stage(made.env, "generation", "", disk=disk)

    def _attempt(self, command: "Command", env: str, model: str) -> "Attempt":
        """Return the mean attempt of a model: some need the turns of the solution, others reach the limit of turns."""
        size = self.measured(env)
        talks = size.customer and "--direct" not in command.options
        limit = command.number("--user-turns", 30) if talks else command.number("--turns", DEFAULTS["rollout"])
        talk_turns = TALK_TURNS if talks else 0
        needed = min(limit, size.calls + 1 + talk_turns)
        stuck = STUCK * (1 - nearest(PASSES, billions(model)))
        short, long = (_episode(size, turns, turns * talk_turns / needed) for turns in (needed, limit))
        return Attempt(
            short.agent * (1 - stuck) + long.agent * stuck,
            short.user * (1 - stuck) + long.user * stuck,
            short.passed,
            short.passed * (1 - stuck) + long.passed * stuck,
        )

    def _rollout(self, command: "Command") -> Stage:
        tasks, model = self._input(command), command.text("--model")
        n = tasks.records * command.number("-k", 4)
        size = self.measured(tasks.env)
        attempt = self._attempt(command, tasks.env, model)
        agent, length = attempt.agent, attempt.mean
        row = self._served(agent * n, model, command)
        others = [(attempt.user, command.text("--user-model", model))]
        if judge := command.text("--judge", ""):
            judge_prompt = size.judge + min(length - size.agent.tokens, 8000 / 3.6)
            others.append((conversation(Prompt(judge_prompt, judge_prompt), 1, JUDGE_REPLY, 0), judge))
        for work, name in others:
            row = added(row, self._served(work * n, name, command))
        self.files[command.text("-o")] = Made(
            tasks.env, n, attempt.passed, attempt.mean, nearest(PASSES, billions(model))
        )
        ids = 0 if ",token_ids=false" in model else agent.read + agent.written
        a_record = size.task_bytes + VERDICT_BYTES + size.calls * CALL_BYTES + ids * SEGMENT_BYTES + length * TEXT_BYTES
        own = not judge and nearest(PASSES, billions(model)) == PASSES[8]
        return replace(row, env=tasks.env, phase="rollouts", disk=n * a_record, paper=own)

    def _train(self, command: "Command") -> Stage:
        rollouts = self._input(command)
        name = command.text("--student", command.text("--base", ""))
        passed = rollouts.passes * rollouts.passed_tokens
        per_rollout = rollouts.tokens if "--keep-failures" in command.options else passed
        tokens = rollouts.records * per_rollout * command.number("--epochs", 2)
        seconds = train_seconds(name, tokens)
        disk, own = 2e9 * billions(name), command.verb == "train"
        return Stage(rollouts.env, "training", "", tokens, 0, seconds, seconds, disk, paper=own)

    def _eval(self, command: "Command") -> Stage:
        suite = command.text("--suite", "")
        where = next((name for name in SUITE_TASKS if name in suite), "calculation") if suite else command.text("--env")
        tasks = SUITE_TASKS[where] if suite else self.measured(where).held_out
        n = tasks * command.number("-k", 4)
        row = Stage(where, "evaluation", "", paper=True)
        models = command.options.get("--compare") or [command.text("--model")]
        for model in models:
            attempt = self._attempt(command, where, model)
            row = added(row, self._served(attempt.agent * n, model, command))
            row = added(row, self._served(attempt.user * n, command.text("--user-model", model), command))
            ids = (attempt.agent.read + attempt.agent.written) * SEGMENT_BYTES
            row = replace(row, disk=row.disk + n * (ids + attempt.mean * TEXT_BYTES + self.measured(where).task_bytes))
        return row


FLAGS = {"--resume", "--all", "--paper", "--keep-failures", "--direct", "--times", "--quiet", "-q", "--strict"}
"""Options without a value."""


class Command:
    """A parsed command line: options with their values, and files."""

    def __init__(self, verb: str, words: Sequence[str]) -> None:
        self.verb = verb
        self.options: dict[str, list[str]] = {}
        self.files: list[str] = []
        rest = iter(words)
        for word in rest:
            if not word.startswith("-"):
                self.files.append(word)
            else:
                self.options[word] = [] if word in FLAGS else [next(rest) for _ in range(1 + (word == "--compare"))]

    def text(self, option: str, default: str | None = None) -> str:
        """Return an option's value.

        Raises:
            ValueError: the command does not have the option, and there is no default.
        """
        if option in self.options:
            return self.options[option][0]
        if default is None:
            raise ValueError(f"'{self.verb}' without {option} cannot be priced")
        return default

    def number(self, option: str, default: float) -> float:
        """Return an option's value as a number."""
        return float(self.text(option, str(default)))


def added(row: Stage, more: Stage) -> Stage:
    """Return a row plus the tokens, GPU seconds and bytes of another row."""
    return replace(
        row,
        read=row.read + more.read,
        written=row.written + more.written,
        gpu_s=row.gpu_s + more.gpu_s,
        alone_gpu_s=row.alone_gpu_s + more.alone_gpu_s,
        disk=row.disk + more.disk,
    )
