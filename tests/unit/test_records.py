"""Records: the wire format."""

from typing import Any

import msgspec
import pytest

from sca_cli.records import (
    KINDS,
    Check,
    Checkpoint,
    EnvSpec,
    ErrorNote,
    Exploration,
    FunctionCall,
    Interval,
    MadeBy,
    Message,
    Observation,
    Overlap,
    Protocol,
    Record,
    Rollout,
    Score,
    Segment,
    SharedTasks,
    Task,
    ToolCall,
    Usage,
    Verdict,
    content_id,
    decode,
    encode,
    sealed,
)

ENV = EnvSpec(name="shop", options={"size": "2", "kind": "toy"})
CALL = Observation(tool="add", args=[1, 2.5], kwargs={"x": None}, result={"a": [True]}, writes=True)
MESSAGES = [
    Message(role="system", content="policy — “quoted” \u2028 line"),
    Message(role="assistant", tool_calls=[ToolCall(id="c0", function=FunctionCall(name="add", arguments="{}"))]),
    Message(role="tool", content="3", tool_call_id="c0", name="add"),
]
COMMON: dict[str, Any] = {
    "made_by": MadeBy(command="explore", model="scripted:x", seed=1, version="0", prompt="p"),
    "parents": ["0123456789abcdef"],
    "error": ErrorNote(boundary="model", message="it broke"),
    "extra": {"mine": [1, {"deep": None}]},
}
VERDICT = Verdict(
    passed=False, stage="runs", checks=[Check(name="solution", outcome="invalid", reason="cpu", calls=[CALL])]
)


def full_task() -> Task:
    """Return a task with every field set."""
    return Task(
        env=ENV,
        seed=3,
        method="cat",
        split="eval",
        instruction="do it",
        evaluate="def evaluate(): return True",
        solution="pass",
        failure_cases=["a", "b", "c"],
        unverified=True,
        calls=2,
        verdict=VERDICT,
        usage=Usage(prompt_tokens=9, completion_tokens=8, turns=7),
        **COMMON,
    )


SHARED = SharedTasks(
    tasks=2, pass_at_1=Interval(value=0.5, low=0.1, high=0.9), difference=Interval(value=0.0, low=-0.1, high=0.1)
)


def full_records() -> list[Record]:
    """Return one record of each kind with every field set."""
    return [
        Exploration(
            env=ENV,
            seed=1,
            first_observation="a door",
            messages=MESSAGES,
            observations=[CALL],
            usage=Usage(turns=2),
            **COMMON,
        ),
        full_task(),
        Rollout(
            task=sealed(full_task()),
            sample=2,
            messages=MESSAGES,
            calls=[CALL],
            answer={"x": [1, None]},
            outcome="pass",
            judged_by="scripted:y",
            segments=[Segment(token_ids=[1, 2], loss_mask=[0, 1], logprobs=[0.0, -0.25])],
            reward=1.0,
            reason="r",
            stop="answer",
            user_model="scripted:y",
            usage=Usage(prompt_tokens=1, completion_tokens=2, turns=3, user_turns=2, seconds=0.5),
            **COMMON,
        ),
        Checkpoint(
            path="p",
            base_model="b",
            algorithm="rft",
            control="one-call-only",
            data=["x"],
            metrics={"loss": 0.5},
            **COMMON,
        ),
        Score(
            model="m",
            user_model="scripted:y",
            tasks=1,
            samples=4,
            pass_at={"1": Interval(value=0.5, low=0.1, high=0.9)},
            pass_hat={"2": Interval(value=0.5, low=0.1, high=0.9)},
            by_calls={"3+": Interval(value=0.5, low=0.0, high=1.0)},
            by_env={"shop": Interval(value=0.5, low=0.0, high=1.0)},
            noop=0.0,
            invalid=1,
            against="n",
            difference=Interval(value=0.5, low=-0.1, high=0.9),
            overlap=Overlap(trained=9, same=1, instruction=SHARED, program=SHARED, either=SHARED, calls=SHARED),
            protocol=Protocol(
                actions="json",
                temperature=0.5,
                top_p=0.9,
                max_tokens=300,
                tokens=1500,
                turns=5,
                user_temperature=0.25,
                user_max_tokens=200,
                direct=True,
                observation_chars=900,
            ),
            usage=Usage(turns=1),
            **COMMON,
        ),
    ]


@pytest.mark.parametrize("record", full_records(), ids=lambda record: type(record).__name__)
def test_round_trip_keeps_every_field(record: Record) -> None:
    """A record that is written and read again is equal, field by field, and gives the same bytes."""
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record
    assert encode(decode(line)) == line


def test_every_kind_is_tried() -> None:
    """The round trip above covers every kind of record there is, and each sets every field."""
    assert {type(record) for record in full_records()} == set(KINDS.values())
    for record in full_records():
        unset = [
            f.name for f in msgspec.structs.fields(record) if f.name != "id" and getattr(record, f.name) == f.default
        ]
        assert unset == []


@pytest.mark.parametrize("record", full_records(), ids=lambda record: type(record).__name__)
def test_id_does_not_depend_on_who_made_it_or_what_was_found(record: Record) -> None:
    """Dropping made_by, parents, error, extra, usage, verdict, outcome and metrics leaves the id as it is.

    Of a score, which is what was found, only who made it is left out.
    """
    fields: dict[str, Any] = {"made_by": None, "parents": [], "error": None}
    if not isinstance(record, Score):
        fields |= {"extra": {}}
    if isinstance(record, Exploration | Task):
        fields |= {"usage": None}
    if isinstance(record, Task):
        fields |= {"verdict": None, "calls": None, "method": "", "split": "train"}
    if isinstance(record, Rollout):
        fields |= {
            "outcome": "fail",
            "reward": 0.0,
            "reason": "",
            "usage": Usage(seconds=9.0),
            "segments": [],
        }
    if isinstance(record, Checkpoint):
        fields |= {"metrics": {}}
    assert content_id(msgspec.structs.replace(record, **fields)) == content_id(record)


@pytest.mark.parametrize(
    "change",
    [
        {"instruction": "x"},
        {"evaluate": "x"},
        {"solution": "x"},
        {"failure_cases": []},
        {"seed": 9},
        {"env": EnvSpec(name="o")},
    ],
)
def test_id_depends_on_what_a_task_says(change: dict[str, object]) -> None:
    """Another instruction, check, solution, failure case, seed or environment is another task."""
    assert content_id(msgspec.structs.replace(full_task(), **change)) != content_id(full_task())


@pytest.mark.parametrize("name", [name for name in Score.__struct_fields__ if name not in Record.__struct_fields__])
def test_id_depends_on_all_that_a_score_says(name: str) -> None:
    """Scores that differ in any field, `extra` included, have different ids."""
    score = next(record for record in full_records() if isinstance(record, Score))
    kinds = {field.name: field for field in msgspec.structs.fields(Score)}
    empty = {"model": "", "tasks": 0, "samples": 0}.get(name, kinds[name].default)
    empty = kinds[name].default_factory() if empty is msgspec.NODEFAULT else empty
    assert content_id(msgspec.structs.replace(score, **{name: empty})) != content_id(score)
    assert content_id(msgspec.structs.replace(score, extra={"suite": "other"})) != content_id(score)


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (Task, "5e0e3d5ac3189081"),
        (Exploration, "61922d13d6873de4"),
        (Rollout, "c38aac79d236faa1"),
        (Checkpoint, "bcd27cde6ac20de9"),
    ],
)
def test_ids_of_other_records_stay(kind: type[Record], known: str) -> None:
    """Files of earlier versions contain ids: except for scores, they have not changed."""
    assert content_id(next(record for record in full_records() if type(record) is kind)) == known


def test_id_of_environment_options_does_not_depend_on_their_order() -> None:
    """Options are a set: the order in which they were typed does not make another task."""
    one, two = full_task(), full_task()
    two.env = EnvSpec(name="shop", options={"kind": "toy", "size": "2"})
    assert content_id(one) == content_id(two)


def test_id_of_a_rollout_is_its_tasks_and_its_own() -> None:
    """The same messages on another task, or as another sample, are another rollout."""
    rollout = next(record for record in full_records() if isinstance(record, Rollout))
    other = msgspec.structs.replace(rollout, task=sealed(msgspec.structs.replace(full_task(), instruction="other")))
    assert len({content_id(rollout), content_id(other), content_id(msgspec.structs.replace(rollout, sample=3))}) == 3


def test_missing_ids_are_filled_in_when_read() -> None:
    """A hand-written line without ids has them after reading, the task inside a rollout too."""
    rollout = decode(b'{"kind":"rollout","task":{"kind":"task","env":{"name":"e"},"instruction":"i","evaluate":"x"}}')
    assert isinstance(rollout, Rollout)
    assert (rollout.id, rollout.task.id) == (content_id(rollout), content_id(rollout.task))


def test_an_id_that_is_there_is_kept() -> None:
    """Whoever names a record keeps the name."""
    assert sealed(Task(id="mine", env=ENV, instruction="i", evaluate="e")).id == "mine"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            '{"kind":"task","env":{"name":"e"},"instruction":"i","evaluate":"x","colour":1}',
            "unknown field `colour`",
        ),
        (
            '{"kind":"task","env":{"name":"e","x":1},"instruction":"i","evaluate":"x"}',
            r"unknown field `x`.*\$\.env",
        ),
        ('{"kind":"task","env":{"name":"e"},"instruction":"i"}', "missing required field `evaluate`"),
        (
            '{"kind":"task","env":{"name":"e"},"instruction":1,"evaluate":"x"}',
            r"Expected `str`.*\$\.instruction",
        ),
        ('{"kind":"tusk"}', "Invalid value 'tusk'"),
        ("{}", "missing required field `kind`"),
        ("[]", "Expected `object`"),
        ('{"kind":"rollout","task":{"kind":"score"}}', r"\$\.task"),
    ],
)
def test_what_is_not_a_record_is_refused(line: str, said: str) -> None:
    """Unknown fields at any depth, missing fields, wrong types and unknown kinds are errors that say
    where.
    """
    with pytest.raises(msgspec.ValidationError, match=said):
        decode(line)


def test_env_spec_prints_as_it_is_typed() -> None:
    """The text of an environment is what `--env` takes."""
    assert str(ENV) == "shop:kind=toy,size=2"
    assert str(EnvSpec(name="shop")) == "shop"
