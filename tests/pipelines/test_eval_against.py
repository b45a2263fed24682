"""`sca eval --against` as a process: held-out tasks that were trained on, scores without them, and what goes wrong."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from loop_script import code

from sca_cli.records import EnvSpec, Rollout, Task, encode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

TAU_BENCH = Path(__file__).parent.parent / "fixtures" / "tau-bench"
ENV = EnvSpec(name="calculation", options={"family": "message_decoder"})


def reversal(word: str, split: Any = "eval") -> Task:
    """Return the task to write a word backwards."""
    answer = f"reverse_string('{word}')"
    return Task(
        env=ENV,
        split=split,
        instruction=f"Write {word} backwards.",
        evaluate=f"def evaluate(answer):\n    return answer == {answer}",
        solution=f"final_answer({answer})",
    )


LENGTH = Task(
    env=ENV,
    instruction="How long is the word lamp?",
    evaluate="def evaluate(answer):\n    return answer == 4",
    solution="size = string_length('lamp')\nfinal_answer(size)",
)
HELD_OUT = [reversal("drawer"), reversal("stressed"), LENGTH]
RIGHT, WRONG = code("final_answer(reverse_string('drawer'))"), code("final_answer('?')")


def write(path: Path, records: Iterable[Task | Rollout]) -> str:
    """Write records to a file and return its name."""
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return str(path)


@pytest.fixture
def held_out(tmp_path: Path) -> str:
    """Return the file of the tasks to evaluate on."""
    return write(tmp_path / "held_out.jsonl", HELD_OUT)


@pytest.fixture
def good(script) -> str:
    """Return a model that writes one word backwards and knows one length."""
    return script(
        {"when": "drawer", "replies": [RIGHT]},
        {"when": "lamp", "replies": [code("final_answer(4)")]},
        {"replies": [WRONG]},
        name="good",
    )


@pytest.fixture
def bad(script) -> str:
    """Return a model that is always wrong."""
    return script({"replies": [WRONG]}, name="bad")


def figures(score: dict[str, Any]) -> dict[str, tuple[int, float | None, float | None]]:
    """Return class → (tasks, Pass@1 and difference without them)."""
    parts = {name: part for name, part in score["overlap"].items() if isinstance(part, dict)}
    return {
        name: (part["tasks"], *(part[key]["value"] if key in part else None for key in ("pass_at_1", "difference")))
        for name, part in parts.items()
    }


def test_both_models_are_scored_without_what_was_trained_on(sca, tmp_path: Path, held_out, good, bad) -> None:
    """Tasks and rollouts of several files count; scores and their difference leave out what is shared."""
    tasks = write(tmp_path / "tasks.jsonl", [reversal("repaid", "train")])
    attempt = Rollout(task=Task(env=ENV, instruction="HOW long is\nthe word 'lamp'?", evaluate="e"), outcome="fail")
    rollouts = write(tmp_path / "rollouts.jsonl", [attempt] * 3)
    against = ("--against", tasks, "--against", rollouts)
    ended = sca("eval", held_out, "-k", 1, "--compare", bad, good, *against)
    before, after = map(json.loads, ended.stdout.splitlines())
    assert (after["overlap"]["trained"], after["overlap"]["same"]) == (2, 0)
    assert after["pass_at"]["1"]["value"] == after["difference"]["value"] == pytest.approx(2 / 3)
    assert figures(before) == {
        "instruction": (1, 0.0, None),
        "program": (2, 0.0, None),
        "either": (3, None, None),
        "calls": (2, 0.0, None),
    }
    assert figures(after) == {
        "instruction": (1, 0.5, 0.5),
        "program": (2, 1.0, 1.0),
        "either": (3, None, None),
        "calls": (2, 1.0, 1.0),
    }
    said = ended.stderr.decode()
    assert "WARNING" not in said
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert rows.count("Pass@1 without 3 that share either none is left") == 2
    assert [row for row in rows if row.startswith("Pass@1 without 2 that share a program")] == [
        "Pass@1 without 2 that share a program 0.0% [0.0%, 97.5%]",
        "Pass@1 without 2 that share a program 100.0% [2.5%, 100.0%]",
    ]


def test_held_out_tasks_that_were_trained_on_are_told_loudly(sca, tmp_path: Path, held_out, good) -> None:
    """The same tasks in training are a warning, even with --quiet, whether rollouts or tasks are evaluated."""
    attempts = [Rollout(task=task, sample=sample, outcome="pass") for task in HELD_OUT[:2] for sample in (0, 1)]
    trained = write(tmp_path / "trained.jsonl", attempts)
    said = [
        "sca eval: WARNING: 2 of these 3 tasks are in the training data unchanged",
        "sca eval: WARNING: 2 of 2 training tasks are marked as held out for evaluation",
    ]
    ended = sca("eval", held_out, "-q", "-k", 1, "-m", good, "--rollouts", "kept", "--against", trained)
    assert ended.stderr.decode().splitlines() == said
    again = sca("eval", "-q", "--against", trained, stdin=(tmp_path / "kept").read_bytes())
    assert again.stderr.decode().splitlines() == said
    scores = [json.loads(one.stdout) for one in (ended, again)]
    assert scores[0]["overlap"] == scores[1]["overlap"]
    assert figures(scores[0])["instruction"] == (2, 1.0, None)


def test_a_suite_is_compared_too(sca, tmp_path: Path) -> None:
    """The tasks of a benchmark are found in a file that they were written to, with the reference and with a model."""
    suite = f"taubench:{TAU_BENCH}"
    assert sca("suite", "export", suite, "-o", "t").returncode == 0
    lines = (tmp_path / "t").read_bytes().splitlines(keepends=True)
    (tmp_path / "some").write_bytes(b"".join(lines[:3]))
    ended = sca("suite", "gold", suite, "--against", "some")
    overlap = json.loads(ended.stdout)["overlap"]
    assert (overlap["trained"], overlap["instruction"]["tasks"]) == (3, 3), ended.stderr
    assert overlap["instruction"]["pass_at_1"]["value"] == 1.0
    assert b"WARNING: 3 of 3 training tasks are marked as held out" in ended.stderr


def test_without_against_nothing_is_said(sca, held_out, good) -> None:
    """The record has no such field."""
    ended = sca("eval", held_out, "-k", 1, "-m", good)
    assert "overlap" not in json.loads(ended.stdout)
    assert b"share" not in ended.stderr


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"", 3, ["trained: no tasks and no rollouts", "hint: --against takes the training data"]),
        (b"\n\n", 3, ["trained: no tasks and no rollouts", "hint: --against takes the training data"]),
        (
            b'{"kind":"exploration","env":{"name":"e"}}',
            3,
            ["trained:1: $.kind: 'exploration' where 'task' or 'rollout' is expected"],
        ),
        (
            encode(LENGTH) + b"\n" + encode(LENGTH)[:50],
            3,
            ["trained:2: line is cut short", "hint: the program that wrote it was stopped in the middle"],
        ),
        (None, 4, ["cannot read trained: No such file or directory"]),
    ],
    ids=["empty", "blank", "kind", "half", "absent"],
)
def test_a_bad_file_ends_before_any_attempt(
    sca, tmp_path: Path, held_out, good, content: bytes | None, code: int, said: list[str]
) -> None:
    """One line and its exit code; no attempt is made, and no file of attempts begun."""
    if content is not None:
        (tmp_path / "trained").write_bytes(content)
    ended = sca("eval", held_out, "-m", good, "--rollouts", "kept", "--against", "trained")
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert ended.stderr.decode().splitlines() == [f"sca eval: {said[0]}", *said[1:]]
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "-"], "standard input already holds the tasks"),
        (["held_out.jsonl", "--against", "t", "-o", "t"], "t is also an input: writing would overwrite it"),
        (["held_out.jsonl", "--against", "t", "--rollouts", "t"], "t is also an input: writing would overwrite it"),
    ],
)
def test_contradictions_are_told(sca, tmp_path: Path, held_out, good, arguments: list[str], said: str) -> None:
    """Code 2 and a hint; the file of what was trained on is as it was."""
    content = Path(write(tmp_path / "t", [reversal("repaid")])).read_bytes()
    ended = sca("eval", "-m", good, *arguments, stdin=Path(held_out).read_bytes())
    lines = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (2, b""), lines
    assert said in lines[-2]
    assert lines[-1].startswith("hint: ")
    assert (tmp_path / "t").read_bytes() == content


def test_what_was_trained_on_may_be_piped_in(sca, good) -> None:
    """`--against -` reads standard input if the evaluated tasks come from the environment."""
    ended = sca("eval", "-e", str(ENV), "-n", 1, "-k", 1, "-m", good, "--against", "-", stdin=encode(LENGTH))
    assert json.loads(ended.stdout)["overlap"]["trained"] == 1, ended.stderr
