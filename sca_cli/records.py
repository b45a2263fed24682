"""The records that travel between commands: the only definition of the wire format.

One record is one JSON line; `kind` says which. Records grow by adding fields; a field that is not here is an error, and
a user's own fields go under `extra`. `sca-records(5)` documents them. Timings are left out unless `--times` is given,
so that the same seed and the same model give the same bytes.
"""

import hashlib
from typing import Annotated, Any, Literal

import msgspec

type JSON = Any
"""A value made of JSON types only: null, bool, number, string, list, object."""

type Outcome = Literal["pass", "fail", "invalid"]
"""`invalid` means that nobody can tell (our time-out, a crashed engine, a broken environment); it is never reward 0."""


class _Part(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A piece of a record."""


class MadeBy(_Part):
    """Where a record comes from."""

    command: str
    """The verb that wrote it."""
    model: str = ""
    """The model specification, as given to `--model`."""
    seed: int | None = None
    """The seed of this record (derived from `--seed` and the record's place)."""
    version: str = ""
    """Version of sca."""
    prompt: str = ""
    """Hash of the prompt files used."""


class ErrorNote(_Part):
    """Why this record is not what was asked for."""

    boundary: str
    """record, plugin, model, sandbox, world or task."""
    message: str
    """What went wrong, in words."""


class EnvSpec(_Part, frozen=True):  # type: ignore[misc]  # msgspec allows it, mypy takes it for a dataclass
    """An environment and its options."""

    name: str
    """As registered by a plugin."""
    options: dict[str, str] = {}
    """Given to the environment as keyword arguments."""

    def __str__(self) -> str:
        """Return the form that `--env` takes: NAME or NAME:k=v,…"""
        pairs = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}:{pairs}" if pairs else self.name


class FunctionCall(_Part):
    """The function of a tool call, in OpenAI chat form."""

    name: str
    """Name of the tool."""
    arguments: str
    """JSON text of an object."""


class ToolCall(_Part):
    """A tool call in OpenAI chat form."""

    id: str
    """Joins the call to the message that answers it."""
    function: FunctionCall
    """What is called."""
    type: Literal["function"] = "function"
    """Always `function`."""


class Message(_Part):
    """A chat message in OpenAI form."""

    role: Literal["system", "user", "assistant", "tool"]
    """Who speaks."""
    content: str = ""
    """What is said."""
    tool_calls: list[ToolCall] = []
    """Calls an assistant asks for."""
    tool_call_id: str = ""
    """The call that a tool message answers."""
    name: str = ""
    """The tool that answers."""


class Observation(_Part):
    """One tool call that was made and what came back."""

    tool: str
    """Name of the tool."""
    args: list[JSON] = []
    """Positional arguments."""
    kwargs: dict[str, JSON] = {}
    """Named arguments."""
    result: JSON = None
    """What the tool returned."""
    error: str = ""
    """The tool's refusal; then `result` means nothing."""
    writes: bool = False
    """The tool can change state."""
    refused: bool = False
    """The call was not carried out: a writing tool during a check."""

    def changed(self) -> bool:
        """Tell whether the call may have changed the state: its tool writes, and it was not refused."""
        return self.writes and not self.error

    def asked(self) -> "list[JSON]":
        """Return the tool and its arguments, which calls that do the same have in common."""
        return [self.tool, self.args, self.kwargs]


class Check(_Part):
    """One program run against one fresh world, then judged by `evaluate`."""

    name: str
    """`solution` or `failure_case[i]`; then `no-op`, `answer-only`, `random[i]` (calls and answer drawn at random),
    `answer[i]` (the solution with another answer), and `solution@n` and `failure_case[i]@n` for those run again under
    hash seed, random numbers and clock number n."""
    outcome: Outcome
    """pass: `evaluate` returned exactly True; fail: exactly False; invalid: neither, or the program did not finish."""
    reason: str = ""
    """Empty, or why it is invalid: exception, syntax, timeout, cpu, memory, output, reply, calls, crash,
    blocked-syscall, not-bool, no-evaluate, world, sandbox."""
    message: str = ""
    """The exception or limit in words."""
    where: str = ""
    """Empty, `program` or `evaluate`: which of the two it happened in."""
    answer: JSON = None
    """What the program gave to `final_answer`."""
    calls: list[Observation] = []
    """Calls the program made, in order; results left out."""
    seconds: float | None = None
    """Wall time, with `--times`."""


class Finding(_Part):
    """Something a stage found against a task."""

    stage: str
    """Stage of the funnel."""
    message: str
    """What was found, in words."""
    rejects: bool = True
    """The task falls by it; otherwise it is reported, and the task falls with `--strict` only."""


class Agreement(_Part):
    """What came of independent attempts at the instruction (`verify --agree`)."""

    attempts: int
    """How many were judged."""
    passed: int
    """How many the check accepted."""
    majority: int = 0
    """How many came to the most frequent outcome."""
    answer: JSON = None
    """The answer of that outcome."""


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
    turns: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Turns of an attempt; absent means the default of the verb."""


class Verdict(_Part):
    """What `sca verify` found."""

    passed: bool
    """The task proved itself at every stage."""
    stage: str
    """The stage of the funnel where the task fell, or `kept`."""
    checks: list[Check] = []
    """The programs that were run, with the evidence."""
    findings: list[Finding] = []
    """What was found against it, in the order of the funnel."""
    agreement: Agreement | None = None
    """Attempts at the instruction, with `--agree`."""
    limits: TaskLimits | None = None
    """Limits that the programs ran under; absent if all are the defaults."""

    def solution_calls(self) -> list[Observation] | None:
        """Return the calls that the solution made; None: it was not run."""
        return next((check.calls for check in self.checks if check.name == "solution"), None)


class Segment(_Part):
    """Tokens of consecutive turns exactly as the engine saw and sampled them, three lists of one length."""

    token_ids: list[int]
    """Ids in the vocabulary of the model that sampled them."""
    loss_mask: list[int]
    """1 where the model sampled the token, 0 where it was given."""
    logprobs: list[float]
    """Natural-log probability of each sampled token under the sampling policy; 0.0 where the token was given."""


class Usage(_Part):
    """What an episode cost, or the writing of a candidate."""

    prompt_tokens: int = 0
    """Tokens read, over all turns."""
    completion_tokens: int = 0
    """Tokens sampled, over all turns."""
    turns: int = 0
    """Replies of the model."""
    user_prompt_tokens: int = 0
    """Tokens that the model which plays the customer read; they are not in `prompt_tokens`."""
    user_completion_tokens: int = 0
    """Tokens that the model which plays the customer sampled; they are not in `completion_tokens`."""
    user_turns: int = 0
    """Messages of the customer."""
    seconds: float | None = None
    """Wall time, with `--times`."""

    def reply(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one reply of the model."""
        self.turns += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens


class Record(_Part):
    """What all records have."""

    id: str = ""
    """Hash of the content; filled in when it is read or written without one."""
    made_by: MadeBy | None = None
    """Where it comes from."""
    parents: list[str] = []
    """Ids of the records this one was made from."""
    error: ErrorNote | None = None
    """Why it came to nothing; absent where it did not."""
    extra: dict[str, JSON] = {}
    """The user's own fields, kept as they are."""


class Exploration(Record, tag_field="kind", tag="exploration", kw_only=True):
    """A walk through an environment without a task."""

    env: EnvSpec
    """Where it went."""
    seed: int = 0
    """Seed of the world, and of all that was drawn."""
    first_observation: str = ""
    """What the environment told of this seed's state before any call."""
    messages: list[Message] = []
    """The whole conversation."""
    observations: list[Observation] = []
    """Every tool call made on the way, in order."""
    usage: Usage | None = None
    """What it cost; absent where nobody counted."""


class Task(Record, tag_field="kind", tag="task", kw_only=True):
    """A Code-as-Task (paper, section 3): instruction, check, solution, failure cases."""

    env: EnvSpec
    """The environment it is set in."""
    seed: int = 0
    """Seed of the world the task lives in."""
    method: str = ""
    """How it was made: cat, solution-first, …; empty when a person wrote it."""
    split: Literal["train", "eval"] = "train"
    """`eval` marks held-out tasks: `train` and `distill` refuse them."""
    instruction: str
    """What the agent is asked."""
    evaluate: str
    """Python source that defines `evaluate()` or `evaluate(answer)`."""
    solution: str = ""
    """Python program that does the task with the tools and ends with `final_answer(…)`."""
    failure_cases: list[str] = []
    """Python programs that each do it wrong."""
    unverified: bool = False
    """It was made without a check (`evaluate` is empty): nothing proves it, and only a judge model can say whether an
    attempt succeeded."""
    calls: int | None = None
    """Tool calls that the solution makes."""
    verdict: Verdict | None = None
    """What `sca verify` found; absent before."""
    usage: Usage | None = None
    """What it cost `sca challenge` to write it, the exploration apart; absent where nobody counted."""

    @property
    def kept(self) -> bool | None:
        """Whether `sca verify` kept it; None where nobody has verified it."""
        if self.error is not None:
            return False
        return self.verdict.passed if self.verdict else None


class Rollout(Record, tag_field="kind", tag="rollout", kw_only=True):
    """One attempt at a task."""

    task: Task
    """The whole task."""
    sample: int = 0
    """Which of the k attempts."""
    messages: list[Message] = []
    """The whole conversation."""
    segments: list[Segment] = []
    """Token ids, loss mask and log-probabilities, where the engine gives them: what training reads."""
    calls: list[Observation] = []
    """Tool calls made, in order; results left out."""
    answer: JSON = None
    """What the agent gave to `final_answer`; null where it gave nothing, whatever it said in words."""
    outcome: Outcome = "invalid"
    """What the check said of it, or the judge that `judged_by` names."""
    judged_by: str = ""
    """The model that judged it, where the task has no check; empty where the check did."""
    reward: float | None = None
    """1.0 for pass, 0.0 for fail, absent for invalid."""
    reason: str = ""
    """Why it is invalid, or why the check could not say True."""
    stop: str = ""
    """answer, user (the customer ended the conversation; an answer was asked for after that), turns, tokens, time,
    context, error."""
    user_model: str = ""
    """The model that played the customer; empty where the instruction went to the agent itself."""
    usage: Usage = msgspec.field(default_factory=Usage)
    """What it cost."""


class Checkpoint(Record, tag_field="kind", tag="checkpoint", kw_only=True):
    """A trained model."""

    path: str
    """Directory that every model plugin can load."""
    base_model: str
    """Weights it started from."""
    algorithm: str
    """How it was trained: rft (on own successful rollouts), solutions (on the tasks' own proven solutions: self-made
    supervision, an addition to the paper), solutions+rft (one, then the other) or distill."""
    control: str = ""
    """The control arm trained on in place of the selection: shuffled-solutions, random-rollouts or one-call-only."""
    data: list[str] = []
    """Ids of the rollouts trained on, or of the tasks whose solutions were."""
    metrics: dict[str, JSON] = {}
    """Examples, tokens, steps, losses (`losses`: one a step); `solved`, the examples left out because every attempt at
    their task passed; `balance`, group → examples before and after balancing; `drawn_from`, the examples a control
    arm was drawn from."""


class Interval(_Part):
    """An estimate with its interval."""

    value: float
    """The estimate."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end of the 95 % interval."""


class SharedTasks(_Part):
    """Evaluated tasks that have something in common with tasks trained on, and the score without them."""

    tasks: int
    """How many they are."""
    pass_at_1: Interval | None = None
    """Pass@1 of the other tasks; absent where there are none."""
    difference: Interval | None = None
    """Paired difference of Pass@1 over the other tasks, where two models are compared."""


class Overlap(_Part):
    """What the evaluated tasks have in common with those trained on (`eval --against`)."""

    trained: int
    """Tasks trained on, each counted once."""
    same: int
    """Evaluated tasks that were trained on as they are."""
    instruction: SharedTasks
    """Tasks with the instruction of a trained one; case, white space and punctuation aside."""
    program: SharedTasks
    """Tasks with the solution of a trained one; literals, the names of variables and unused steps aside."""
    either: SharedTasks
    """Tasks with the instruction or the program of a trained one."""
    calls: SharedTasks
    """Tasks whose solution calls the tools that a trained one of the same environment calls, in the same order."""


class Score(Record, tag_field="kind", tag="score", kw_only=True):
    """What `sca eval` measured."""

    model: str
    """The model specification, as given to `--model`."""
    user_model: str = ""
    """The model that played the customers; empty where there were none."""
    tasks: int
    """Tasks attempted."""
    samples: int
    """Attempts a task."""
    pass_at: dict[str, Interval] = {}
    """k → share of tasks solved by at least one of k attempts (unbiased estimator), with a 95 % interval."""
    pass_hat: dict[str, Interval] = {}
    """k → share of tasks solved by all of k attempts (pass^k)."""
    by_calls: dict[str, Interval] = {}
    """Number of calls → Pass@1."""
    by_env: dict[str, Interval] = {}
    """Environment → Pass@1."""
    noop: float | None = None
    """Share of tasks whose check is passed by doing nothing."""
    invalid: int = 0
    """Attempts that nobody can judge; they are in no estimate."""
    against: str = ""
    """The model compared with."""
    difference: Interval | None = None
    """Paired difference of Pass@1, this model minus `against`."""
    overlap: Overlap | None = None
    """What the tasks have in common with those trained on, with `eval --against`."""
    usage: Usage = msgspec.field(default_factory=Usage)
    """What all attempts cost together."""


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
    """Return the record's id: 16 hex digits of a hash over what it says, not over who made it or what was found.

    What was found is all that a score says: of what, by which checker, is in `extra`.
    """
    content: list[Any] = [getattr(record, name) for name in _CONTENT[type(record)]]
    if isinstance(record, Rollout):
        content.append(record.task.id)
    return hashlib.sha256(_encoder.encode([type(record).__name__, content])).hexdigest()[:16]


def sealed[R: Record](record: R) -> R:
    """Return the record with its id filled in."""
    if not record.id:
        record.id = content_id(record)
    return record


def encode(record: Record) -> bytes:
    """Return the record as one JSON line without its newline."""
    return msgspec.json.encode(sealed(record))


def decode(line: bytes | str) -> AnyRecord:
    """Read one record.

    Raises:
        msgspec.ValidationError: JSON, but not a record; the message holds the path (`$.instruction`).
        msgspec.DecodeError: not JSON.
    """
    record = _decoder.decode(line)
    if isinstance(record, Rollout):
        sealed(record.task)
    return sealed(record)
