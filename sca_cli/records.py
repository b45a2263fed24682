"""The records that commands exchange. This module is the only definition of the wire format.

One record is one JSON line; its field `kind` names the type. The format grows by adding fields. An unknown field is an
error; users put their own fields under `extra`. The manual is `sca-records(5)`. Times are written only with `--times`,
so that the same seed and the same model write the same bytes.
"""

import hashlib
from typing import Annotated, Any, Literal

import msgspec

type JSON = Any
"""A value made of JSON types only: null, boolean, number, string, array, object."""

type Outcome = Literal["pass", "fail", "invalid"]
"""`invalid`: there is no verdict, because of our time-out, a crashed engine or a broken environment. It never counts as
reward 0.
"""


class _Part(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A part of a record."""


class MadeBy(_Part):
    """The command that wrote a record, and its settings."""

    command: str
    """The verb that wrote the record."""
    model: str = ""
    """The model specification, as passed to `--model`."""
    seed: int | None = None
    """The seed of this record, derived from `--seed` and the record's position."""
    version: str = ""
    """The version of sca."""
    prompt: str = ""
    """Hash of the prompt files that were used."""


class ErrorNote(_Part):
    """The error that made this record incomplete or empty."""

    boundary: str
    """The part that failed: record, plugin, model, sandbox, world, task, or sca (an internal error)."""
    message: str
    """The error message."""


class EnvSpec(_Part, frozen=True):  # type: ignore[misc]  # msgspec allows it; mypy treats the class as a dataclass
    """An environment and its options."""

    name: str
    """The name that a plugin registered."""
    options: dict[str, str] = {}
    """Keyword arguments for the environment."""

    def __str__(self) -> str:
        """Return the text that `--env` accepts: NAME or NAME:k=v,…"""
        pairs = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}:{pairs}" if pairs else self.name


class FunctionCall(_Part):
    """The function of a tool call, in OpenAI chat form."""

    name: str
    """Name of the tool."""
    arguments: str
    """The arguments: JSON text of an object."""


class ToolCall(_Part):
    """A tool call in OpenAI chat form."""

    id: str
    """Id of the call; the tool message that answers it has the same id."""
    function: FunctionCall
    """The tool and its arguments."""
    type: Literal["function"] = "function"
    """Always `function`."""


class Message(_Part):
    """A chat message in OpenAI form."""

    role: Literal["system", "user", "assistant", "tool"]
    """The author of the message."""
    content: str = ""
    """The text of the message."""
    tool_calls: list[ToolCall] = []
    """The tool calls that the assistant makes."""
    tool_call_id: str = ""
    """Id of the call that a tool message answers."""
    name: str = ""
    """Name of the tool that answers."""
    reasoning_content: str = ""
    """The reasoning of the assistant, if the server returns it apart from the text; it is not sent again."""


class Observation(_Part):
    """One tool call and its result."""

    tool: str
    """Name of the tool."""
    args: list[JSON] = []
    """Positional arguments."""
    kwargs: dict[str, JSON] = {}
    """Named arguments."""
    result: JSON = None
    """The value that the tool returned."""
    text: str = ""
    """Text that the model read instead of the result's own text, if the environment has one (suites)."""
    error: str = ""
    """The tool's refusal, or ""; after a refusal, `result` has no meaning."""
    writes: bool = False
    """The tool can change the state."""
    refused: bool = False
    """The call was blocked and not executed: it is a call of a writing tool during a check (a blocked write)."""

    def changed(self) -> bool:
        """Return whether the call may have changed the state: its tool writes and returned no error."""
        return self.writes and not self.error

    def asked(self) -> "list[JSON]":
        """Return the tool and its arguments. They are equal for calls that do the same."""
        return [self.tool, self.args, self.kwargs]


class Check(_Part):
    """One program that ran in one fresh world, and the result of `evaluate` afterwards."""

    name: str
    """`solution` or `failure_case[i]`; then `no-op`, `answer-only`, `random[i]` (random calls and a random answer),
    `answer[i]`, `cheap[i]`, `reordered`, `reformatted` (the solution with another answer), and the twins `solution@n`
    and `failure_case[i]@n` (the same program run again with another hash seed, random seed and clock offset).
    """
    outcome: Outcome
    """pass: `evaluate` returned exactly True; fail: it returned exactly False; invalid: any other result, or the
    program did not finish.
    """
    reason: str = ""
    """The reason if it is invalid, else empty: exception, syntax, timeout, cpu, memory, output, reply, calls, crash,
    blocked-syscall, not-bool, no-evaluate, world, sandbox.
    """
    message: str = ""
    """The exception, or the limit that was exceeded."""
    where: str = ""
    """The part that failed: `program` or `evaluate`; else empty."""
    answer: JSON = None
    """The value that the program passed to `final_answer`."""
    calls: list[Observation] = []
    """The tool calls of the program, in order, without their results."""
    seconds: float | None = None
    """Wall time in seconds, with `--times`."""


class Finding(_Part):
    """A defect that one stage found in a task."""

    stage: str
    """The stage of the funnel."""
    message: str
    """A description of the defect."""
    rejects: bool = True
    """True: the task is rejected. False: the defect is reported, and the task is rejected only with `--strict`."""


class Agreement(_Part):
    """Results of independent attempts at the instruction (`verify --agree`)."""

    attempts: int
    """Number of attempts that were judged."""
    passed: int
    """Number of attempts that the check accepted."""
    majority: int = 0
    """Number of attempts with the most frequent result."""
    answer: JSON = None
    """The answer of the most frequent result."""


class TaskLimits(_Part, frozen=True):  # type: ignore[misc]  # msgspec allows it, mypy takes it for a dataclass
    """Limits under which a task was verified; later verbs judge and attempt it under the same limits."""

    check_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 10.0
    """Wall time of a program, and of the check after it, in seconds."""
    cpu_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 5
    """CPU time of a program, and of a check, in seconds."""
    memory_mb: Annotated[int, msgspec.Meta(ge=64, le=65536)] = 512
    """Memory of a program in MiB."""
    output_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 26)] = 65536
    """Bytes that a program may print."""
    reply_bytes: Annotated[int, msgspec.Meta(ge=256, le=1 << 26)] = 1 << 20
    """Bytes of an answer or of a tool call."""
    tool_calls: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 200
    """Tool calls of a program, and of a check."""
    turns: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """Turns of an attempt; absent means the default of the verb."""


class Sense(_Part):
    """A model's review of a task, with `--sense`."""

    by: str
    """The model specification."""
    said: bool | None = None
    """A real user would ask for this; absent if the reply does not say."""
    complete: bool | None = None
    """The instruction says all that the solution needs and does not look up."""
    allowed: bool | None = None
    """The policy allows the solution's changes."""
    rule: str = ""
    """The sentence of the policy that decides `allowed`."""
    problem: str = ""
    """Why the review cannot be used as a whole, or ""."""


class Verdict(_Part):
    """The result of `sca verify`."""

    passed: bool
    """The task passed every stage."""
    stage: str
    """The stage of the funnel that rejected the task, or `kept`."""
    checks: list[Check] = []
    """The programs that were run and their results."""
    findings: list[Finding] = []
    """The defects that were found, in the order of the funnel."""
    agreement: Agreement | None = None
    """Results of attempts at the instruction, with `--agree`."""
    sense: Sense | None = None
    """A model's review of the task, with `--sense`. It rejects nothing."""
    limits: TaskLimits | None = None
    """Limits that the programs ran under; absent if all are the defaults."""

    def solution_calls(self) -> list[Observation] | None:
        """Return the calls that the solution made, or None if it was not run."""
        return next((check.calls for check in self.checks if check.name == "solution"), None)


class Segment(_Part):
    """Tokens of consecutive turns, exactly as the engine processed and sampled them: three lists of the same length."""

    token_ids: list[int]
    """Token ids in the vocabulary of the model that sampled them."""
    loss_mask: list[int]
    """1 if the model sampled the token, 0 if the token is part of the prompt."""
    logprobs: list[float]
    """Natural-log probability of each sampled token under the sampling policy; 0.0 for tokens of the prompt."""


class Usage(_Part):
    """Cost of an episode, or of writing a candidate."""

    prompt_tokens: int = 0
    """Prompt tokens, summed over all turns."""
    completion_tokens: int = 0
    """Sampled tokens, summed over all turns."""
    turns: int = 0
    """Number of replies of the model."""
    user_prompt_tokens: int = 0
    """Prompt tokens of the model that plays the customer; not included in `prompt_tokens`."""
    user_completion_tokens: int = 0
    """Sampled tokens of the model that plays the customer; not included in `completion_tokens`."""
    user_turns: int = 0
    """Number of messages of the customer."""
    cut_before_text: int = 0
    """Number of replies that the limit of tokens cut before any text or tool call, for example in the reasoning."""
    seconds: float | None = None
    """Wall time in seconds, with `--times`."""

    def reply(self, prompt_tokens: int, completion_tokens: int, *, cut_before_text: bool = False) -> None:
        """Add one reply of the model."""
        self.turns += 1
        self.cut_before_text += cut_before_text
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


class Record(_Part):
    """Fields that all records have."""

    id: str = ""
    """Hash of the content. If it is absent, reading or writing the record fills it in."""
    made_by: MadeBy | None = None
    """The command that wrote the record."""
    parents: list[str] = []
    """Ids of the records from which this one was made."""
    error: ErrorNote | None = None
    """The error that made this record incomplete or empty; absent if there was none."""
    extra: dict[str, JSON] = {}
    """The user's own fields; sca copies them unchanged."""


class Exploration(Record, tag_field="kind", tag="exploration", kw_only=True):
    """A model's or a program's tool calls in an environment, without a task."""

    env: EnvSpec
    """The environment."""
    seed: int = 0
    """Seed of the world and of all random choices."""
    first_observation: str = ""
    """The environment's text about this seed's state, shown before any call."""
    messages: list[Message] = []
    """The full conversation."""
    observations: list[Observation] = []
    """All tool calls, in order."""
    usage: Usage | None = None
    """Cost of the exploration; absent if it was not counted."""


class Task(Record, tag_field="kind", tag="task", kw_only=True):
    """A Code-as-Task (paper, section 3): instruction, check, solution, failure cases."""

    env: EnvSpec
    """The environment of the task."""
    seed: int = 0
    """Seed of the world of the task."""
    method: str = ""
    """The method that made it: cat, solution-first, …; empty if a person wrote it."""
    split: Literal["train", "eval"] = "train"
    """`eval` marks held-out tasks; `train` and `distill` reject them."""
    instruction: str
    """The text that asks the agent to do the task."""
    evaluate: str
    """The check: Python source that defines `evaluate()` or `evaluate(answer)`."""
    solution: str = ""
    """Python program that does the task with the tools and ends with `final_answer(…)`."""
    failure_cases: list[str] = []
    """Python programs that each do the task wrong."""
    unverified: bool = False
    """The task has no check (`evaluate` is empty): nothing proves it, and only a judge model can decide whether an
    attempt succeeded.
    """
    calls: int | None = None
    """Number of tool calls that the solution makes."""
    verdict: Verdict | None = None
    """The result of `sca verify`; absent before."""
    usage: Usage | None = None
    """Cost of writing the task with `sca challenge`, without the exploration; absent if it was not counted."""

    @property
    def kept(self) -> bool | None:
        """Whether `sca verify` kept the task; None if it was not verified."""
        if self.error is not None:
            return False
        return self.verdict.passed if self.verdict else None


class Rollout(Record, tag_field="kind", tag="rollout", kw_only=True):
    """One attempt at a task."""

    task: Task
    """The full task."""
    sample: int = 0
    """Index of the attempt among the k attempts at the task, from 0."""
    messages: list[Message] = []
    """The full conversation."""
    segments: list[Segment] = []
    """Token ids, loss mask and log-probabilities, if the engine reports them. Training reads these."""
    calls: list[Observation] = []
    """Tool calls of the agent, in order, without their results."""
    answer: JSON = None
    """The value that the agent passed to `final_answer`; null if it did not call it, even if its text contains an
    answer.
    """
    outcome: Outcome = "invalid"
    """The result of the check, or of the judge named in `judged_by`."""
    judged_by: str = ""
    """The model that judged the attempt, if the task has no check; empty if the check decided."""
    reward: float | None = None
    """1.0 for pass, 0.0 for fail, absent for invalid."""
    reason: str = ""
    """The reason why it is invalid, or why the check could not return True."""
    stop: str = ""
    """What ended the attempt: answer, user (the customer ended the conversation, and the agent was then asked for its
    answer), tool (a tool that ends attempts was called), turns, tokens, time, context, error.
    """
    user_model: str = ""
    """The model that played the customer; empty if the agent received the instruction directly."""
    usage: Usage = msgspec.field(default_factory=Usage)
    """Cost of the attempt."""


class Checkpoint(Record, tag_field="kind", tag="checkpoint", kw_only=True):
    """A trained model."""

    path: str
    """Directory of the model, in a format that every model plugin can load."""
    base_model: str
    """The weights that training started from."""
    algorithm: str
    """The training algorithm: rft (on own successful rollouts), solutions (on the tasks' proven solutions: self-made
    supervision, an addition to the paper), solutions+rft (one after the other), dpo or kto (on passed and failed
    rollouts), reinforce, rloo, grpo or ppo (reinforcement learning on tasks), or distill.
    """
    control: str = ""
    """The control arm whose data replaced the selected data: shuffled-solutions, random-rollouts or one-call-only."""
    data: list[str] = []
    """Ids of the rollouts used for training, or of the tasks whose solutions were used."""
    settings: dict[str, JSON] = {}
    """Settings that decide the weights, with the values that were chosen: trainer (sca or trl), lora_rank (0: all
    weights), learning_rate, epochs, batch_size, seed, dtype, device; for preferences and reinforcement learning also
    those of the algorithm and of the curriculum.
    """
    metrics: dict[str, JSON] = {}
    """Examples, tokens, steps, losses (`losses`: one per step); `solved`: examples left out because every attempt at
    their task passed; `balance`: group → number of examples before and after balancing; `drawn_from`: number of
    examples from which the control arm was sampled; `rounds`: name → figures of reinforcement learning, one a round
    (reward, invalid, length, groups, dropped, kept, entropy, kl, drift, clipped; with a curriculum attempts, saved,
    below and above the band, level, replayed); `validation`: rewards on tasks that were not trained on, and the round
    whose weights were kept; `stopped`: why it ended early.
    """


CHECKPOINT_FILE = "sca-checkpoint.json"
"""Name of the file with the checkpoint record, in the directory of the trained model."""


class Interval(_Part):
    """An estimate with its 95 % interval."""

    value: float
    """The estimate."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""


class SharedTasks(_Part):
    """Evaluated tasks that overlap with training tasks, and the score without them."""

    tasks: int
    """Number of overlapping tasks."""
    pass_at_1: Interval | None = None
    """Pass@1 of the other tasks; absent if there are none."""
    difference: Interval | None = None
    """Paired difference of Pass@1 on the other tasks, if two models are compared."""


class Overlap(_Part):
    """Overlap between the evaluated tasks and the training tasks (`eval --against`)."""

    trained: int
    """Number of different training tasks."""
    same: int
    """Number of evaluated tasks that are identical to a training task."""
    instruction: SharedTasks
    """Tasks with the same instruction as a training task, ignoring case, white space and punctuation."""
    program: SharedTasks
    """Tasks with the same solution as a training task, ignoring literals, variable names and unused steps."""
    either: SharedTasks
    """Tasks with the same instruction or the same solution as a training task."""
    calls: SharedTasks
    """Tasks whose solution calls the same tools in the same order as a training task of the same environment."""


class Protocol(_Part):
    """How the attempts of a score were made."""

    actions: str
    """Form of the model's actions: code, json or text."""
    temperature: float
    """Sampling temperature."""
    top_p: float
    """Probability mass of nucleus sampling, also of the model that plays customers."""
    max_tokens: int
    """Limit of tokens in one reply."""
    tokens: int
    """Limit of tokens that the model samples in an attempt."""
    turns: int | None = None
    """Limit of turns in an attempt; absent: each task's own, else that of the verb."""
    user_temperature: float | None = None
    """Sampling temperature of the model that plays customers; absent: there were none."""
    user_max_tokens: int | None = None
    """Limit of tokens in one message of a customer; absent: there were none."""
    direct: bool = False
    """The model received the instruction itself; there was no simulated customer."""
    observation_chars: int | None = None
    """Longest output that the model saw whole; absent: it saw all."""


class Score(Record, tag_field="kind", tag="score", kw_only=True):
    """The measurements of `sca eval`."""

    model: str
    """The model specification, as passed to `--model`."""
    user_model: str = ""
    """The model that played the customers; empty if there were none."""
    tasks: int
    """Number of tasks attempted."""
    samples: int
    """Number of attempts per task."""
    pass_at: dict[str, Interval] = {}
    """k → share of tasks solved by at least one of k attempts (unbiased estimator), with a 95 % interval."""
    pass_hat: dict[str, Interval] = {}
    """k → share of tasks solved by all of k attempts (pass^k)."""
    by_calls: dict[str, Interval] = {}
    """Number of tool calls of the solution → Pass@1."""
    by_env: dict[str, Interval] = {}
    """Environment → Pass@1."""
    noop: float | None = None
    """Share of tasks whose check passes when nothing was done."""
    invalid: int = 0
    """Number of attempts without a verdict; no estimate includes them."""
    against: str = ""
    """The baseline model of the comparison."""
    difference: Interval | None = None
    """Paired difference of Pass@1: this model minus `against`."""
    overlap: Overlap | None = None
    """Overlap between the evaluated tasks and the training tasks, with `eval --against`."""
    protocol: Protocol | None = None
    """How the attempts were made; absent if `eval` read rollouts, or ran a reference."""
    usage: Usage = msgspec.field(default_factory=Usage)
    """Total cost of all attempts."""


type AnyRecord = Exploration | Task | Rollout | Checkpoint | Score

KINDS: dict[str, type[Record]] = {
    "exploration": Exploration,
    "task": Task,
    "rollout": Rollout,
    "checkpoint": Checkpoint,
    "score": Score,
}

_CONTENT: dict[type[Record], tuple[str, ...]] = {
    Exploration: ("env", "seed", "messages", "observations"),
    Task: ("env", "seed", "instruction", "evaluate", "solution", "failure_cases"),
    Rollout: ("sample", "messages", "answer"),
    Checkpoint: ("path", "base_model", "algorithm", "data"),
    Score: (*(name for name in Score.__struct_fields__ if name not in Record.__struct_fields__), "extra"),
}

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)


def content_id(record: Record) -> str:
    """Return the record's id: 16 hex digits of a hash of its content, without its origin and without later results.

    The content of a score is its measurements and its `extra`, which names the suite and its checker, if there is a
    suite. The content of a suite's task includes the name that the benchmark gives it, because a benchmark may have two
    tasks that are equal in all other fields.
    """
    content: list[Any] = [getattr(record, name) for name in _CONTENT[type(record)]]
    if isinstance(record, Task) and record.extra.keys() >= {"suite", "task"}:
        content.append([record.extra["suite"], record.extra["task"]])
    if isinstance(record, Rollout):
        content.append(record.task.id)
    return hashlib.sha256(_encoder.encode([type(record).__name__, content])).hexdigest()[:16]


def sealed[R: Record](record: R) -> R:
    """Fill in the record's id if it is empty, and return the record."""
    if not record.id:
        record.id = content_id(record)
    return record


def encode(record: Record) -> bytes:
    """Return the record as one JSON line, without the newline."""
    return msgspec.json.encode(sealed(record))


def decode(line: bytes | str) -> AnyRecord:
    """Parse one record.

    Raises:
        msgspec.ValidationError: the line is JSON but not a record; the message contains the path (`$.instruction`).
        msgspec.DecodeError: the line is not JSON.
    """
    record = _decoder.decode(line)
    if isinstance(record, Rollout):
        sealed(record.task)
    return sealed(record)
