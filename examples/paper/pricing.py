"""What one command of a recipe costs: counts from its own -n and -k and from the files handed on, lengths as measured.

`Pricing.price` takes the commands in the order in which they would run and starts none of them.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lengths import Lengths, Prompt
from speed import Work, billions, conversation, gpu_seconds, gpus_needed, nearest, train_seconds

PASSES = {8: 0.12, 70: 0.30}
"""Share of attempts that pass, by size. 8B: the paper's zero-shot average, for want of its share on its own tasks; 70B:
a guess.
"""
YIELD = 0.052
"""Candidates that the paper's filter keeps (its Retail figure; it gives none for the others)."""

# Of 40 explorations and 484 rollouts made with `sca` (Calculation, a 0.5B model): examples/experiments/RESULTS.md
EXPLORE_REPLY = 148
STUCK = 0.5
"""Of the attempts that do not pass, those that run to the limit of turns: 168 of 340."""
SEGMENT_BYTES = 11.6
"""Of a rollout's record for each token in its segments: id, mask, log-probability."""
TEXT_BYTES = 4.4
"""Of a message for each of its tokens, in JSON."""
VERDICT_BYTES = 700
CALL_BYTES = 120

PROSE, FENCE = 40, 8
"""Tokens of a reply beside its code: what an 8B model says first (a guess), and the marks around code."""
TALK_TURNS, WORDS, USER_WORDS = 4, 50, 25
"""With a customer: turns of the agent in words, their length, and the customer's (21 measured with a 0.5B model)."""
JUDGE_REPLY, PROPOSAL = 40, 15
"""Written by a judge; written around a proposed instruction."""
DEFAULTS = {"explore": 2, "rollout": 4, "eval": 4}
"""--turns; -k is 4 throughout."""

SUITE_TASKS = {"calculation": 48, "web_browsing": 34, "retail": 115, "airline": 50}
"""Of the benchmarks, for --suite; without it the held-out tasks are counted."""


@dataclass(frozen=True, slots=True)
class Made:
    """A file that a stage leaves: where its records come from, how many, and of rollouts what training will see."""

    env: str
    records: float
    passed_tokens: float = 0
    """Of one that passed."""
    tokens: float = 0
    """Of one, passed or not."""
    passes: float = 0


@dataclass(frozen=True, slots=True)
class Stage:
    """A row of the table."""

    env: str
    phase: str
    command: str
    read: float = 0
    written: float = 0
    gpu_s: float = 0
    alone_gpu_s: float = 0
    """The same with one conversation at a time on each copy of the model."""
    disk: float = 0
    paper: bool = False
    """The paper states hours for this."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a task."""

    agent: Work
    user: Work
    passed: float
    """Tokens of the whole conversation, where it passed."""
    mean: float
    """The same over all attempts."""


def _episode(size: Lengths, turns: float, said: float) -> Attempt:
    """Return an attempt of so many turns, `said` of them in words to a customer."""
    acts = turns - said
    reply = (acts * (FENCE + PROSE + size.call) + said * WORDS) / turns
    heard = (acts * size.observed + said * USER_WORDS) / turns
    user = conversation(size.user, said + 1, USER_WORDS, WORDS) if said else Work()
    whole = size.agent.tokens + turns * (reply + heard)
    return Attempt(conversation(size.agent, turns, reply, heard), user, whole, whole)


@dataclass(slots=True)
class Pricing:
    """Prices commands one after another; knows the files that those before have made."""

    gpus: int
    measured: Callable[[str], Lengths]
    files: dict[str, Made] = field(default_factory=dict)

    def price(self, line: str) -> Stage:
        """Return the row of one command.

        Raises:
            ValueError: it is not a command of `sca` that a recipe uses, or reads a file that no stage makes.
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
        raise ValueError(f"no stage before makes what '{command.verb} {' '.join(command.files)}' reads")

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
            raise ValueError(f"no stage before makes what 'first {count} {source}' reads")
        kept = replace(made, records=min(made.records, float(count)))
        self.files[target] = kept
        disk = kept.records * (self.measured(made.env).task_bytes + VERDICT_BYTES)
        return Stage(made.env, "generation", "", disk=disk)

    def _attempt(self, command: "Command", env: str, model: str) -> "Attempt":
        """Return the mean attempt of a model: those that go well, and those that run to the limit of turns."""
        size = self.measured(env)
        talks = size.customer and "--direct" not in command.options
        limit = command.number("--user-turns", 30) if talks else command.number("--turns", DEFAULTS["rollout"])
        said = TALK_TURNS if talks else 0
        needed = min(limit, size.calls + 1 + said)
        stuck = STUCK * (1 - nearest(PASSES, billions(model)))
        short, long = (_episode(size, turns, turns * said / needed) for turns in (needed, limit))
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
            asked = size.judge + min(length - size.agent.tokens, 8000 / 3.6)
            others.append((conversation(Prompt(asked, asked), 1, JUDGE_REPLY, 0), judge))
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
        learnt = rollouts.tokens if "--keep-failures" in command.options else passed
        tokens = rollouts.records * learnt * command.number("--epochs", 2)
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


class Command:
    """The words of a command: options with their values, and files."""

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
            ValueError: it is not given, and there is no default.
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
    """Return a row with the tokens, GPU seconds and bytes of another added."""
    return replace(
        row,
        read=row.read + more.read,
        written=row.written + more.written,
        gpu_s=row.gpu_s + more.gpu_s,
        alone_gpu_s=row.alone_gpu_s + more.alone_gpu_s,
        disk=row.disk + more.disk,
    )
