"""`sca distill --correct` for real: a scripted student fails, a scripted teacher continues, a tiny model learns."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model

from sca_cli.records import EnvSpec, Task, decode, encode

pytestmark = [pytest.mark.sandbox, pytest.mark.torch]

TASK = Task(
    env=EnvSpec(name="calculation", options={"family": "message_decoder"}),
    instruction="Write drawer backwards.",
    evaluate="def evaluate(answer):\n    return answer == 'reward'",
)
FIRST, WRONG, RIGHT = (
    f"```python\n{line}\n```"
    for line in ("word = reverse_string('drawer')\nprint(word)", "final_answer('drawer')", "final_answer(word)")
)


def test_the_teacher_continues_the_students_own_states(
    tmp_path: Path, sca: Callable[..., Any], script: Callable[..., str]
) -> None:
    """The teacher's answer uses a variable that the student's reply defined; loss is on the teacher's reply only. The
    second correction repeats one reply less: there the teacher has no variable, and fails. A dry run counts the failed
    attempts and writes nothing.
    """
    pytest.importorskip("peft", reason="needs the train extra")
    save_model(tmp_path / "base", window=8192)
    student = script({"replies": ["", FIRST, WRONG]}, name="student")
    failed = sca("rollout", "-m", student, "-k", 1, stdin=encode(TASK) + b"\n")
    (attempt,) = map(decode, failed.stdout.splitlines())
    assert (attempt.outcome, attempt.usage.turns) == ("fail", 2), attempt.messages
    teacher = script({"replies": [RIGHT]}, name="teacher")
    options = ("--student", "base", "--save", "made", "--threads", 1, "--rollouts", "kept.jsonl", "--turns", 1)
    learnt = "distill", "--correct", "--teacher", teacher, "-k", 2, *options
    dry = sca(*learnt, "--dry-run", stdin=failed.stdout)
    assert dry.returncode == 0, dry.stderr.decode()
    assert re.search(rb"\nattempts: about \d+\.\d s for 1 failed attempts, 2 each\n", b"\n" + dry.stdout), dry.stdout
    assert not (tmp_path / "kept.jsonl").exists()
    ended = sca(*learnt, stdin=failed.stdout)
    assert ended.returncode == 0, ended.stderr.decode()
    good, bad = map(decode, (tmp_path / "kept.jsonl").read_bytes().splitlines())
    assert (good.outcome, good.usage.turns, good.parents) == ("pass", 1, [attempt.task.id, attempt.id])
    assert good.messages[:-1] == attempt.messages[:-1]
    assert good.messages[-1].content == RIGHT
    assert bad.outcome == "fail"
    (checkpoint,) = map(decode, ended.stdout.splitlines())
    assert checkpoint.data == [good.id]
    assert checkpoint.metrics["loss_tokens"] == len(RIGHT) + 1  # one a byte, and the end of the turn


def test_an_attempt_that_cannot_be_repeated_is_left_out(
    tmp_path: Path, sca: Callable[..., Any], script: Callable[..., str]
) -> None:
    """The recorded output of the student's call differs from what the call returns now: nothing is learnt from it.
    Tasks, which have no attempts, are one clear line.
    """
    save_model(tmp_path / "base", window=8192)
    student = script({"replies": ["", FIRST, WRONG]}, name="student")
    attempt: Any = decode(sca("rollout", "-m", student, "-k", 1, stdin=encode(TASK) + b"\n").stdout)
    attempt.messages[-2].content = "another output"
    options = ("--correct", "--teacher", script({"replies": [RIGHT]}, name="teacher"), "--student", "base", "-k", 1)
    ended = sca("distill", *options, "--save", "made", stdin=encode(attempt) + b"\n")
    assert ended.returncode == 1
    assert "the attempt cannot be repeated: message" in ended.stderr.decode()
    ended = sca("distill", *options, "--save", "made", stdin=encode(TASK) + b"\n")
    assert ended.returncode == 3
    assert "--correct reads a student's rollouts" in ended.stderr.decode()
