"""`examples/experiments`: the audit's table and the arms of an ablation, from records; the scripts are POSIX shell."""

import importlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import environment

from sca_cli import plugins, streams
from sca_cli.evaluation.contamination import TrainedOn
from sca_cli.records import Agreement, EnvSpec, Finding, Rollout, Task, Usage, Verdict, decode, encode
from sca_cli.sandbox import Sandbox
from sca_cli.verification import paper_filter

EXPERIMENTS = Path(__file__).parents[2] / "examples" / "experiments"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Return a function that imports a file of the directory."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module


def task(n: int, passed: int | None = None, *, majority_refused: bool = False) -> Task:
    """Return a task; with `passed`, as an audit of five attempts left it."""
    made = Task(env=EnvSpec(name="shop"), instruction=f"task {n}", evaluate="def evaluate(): return True")
    if passed is not None:
        findings = [Finding("agreement", "mislabelled")] if majority_refused else []
        findings += [] if passed or majority_refused else [Finding("agreement", "unsolved", rejects=False)]
        made.verdict = Verdict(not majority_refused, "kept", findings=findings, agreement=Agreement(5, passed))
    return made


def rollout(of: Task, sample: int, tokens: int, outcome: str = "fail") -> Rollout:
    """Return an attempt that wrote `tokens` tokens."""
    return Rollout(task=of, sample=sample, outcome=outcome, usage=Usage(completion_tokens=tokens))


def written(path: Path, records: list) -> Path:
    """Write records to a file."""
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return path


def python(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run a file of the directory."""
    command = [sys.executable, str(EXPERIMENTS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)


def test_the_audit_counts_what_each_filter_keeps(tmp_path: Path) -> None:
    """Each filter's share of mislabelled and unsolved tasks is counted over the audited tasks that it keeps."""
    audited = [task(0, 5), task(1, 0, majority_refused=True), task(2, 0), task(3, 2)]
    every = written(tmp_path / "audited.jsonl", audited)
    arms = [
        f"paper={written(tmp_path / 'paper.jsonl', [task(n) for n in range(5)])}",
        f"all={written(tmp_path / 'all.jsonl', [task(0), task(2)])}",
        f"none={written(tmp_path / 'none.jsonl', [])}",
    ]
    ended = python("audit.py", every, *arms, "--draw", 2)
    assert ended.returncode == 0
    assert [line.split() for line in ended.stderr.splitlines()[1:]] == [
        ["paper", "5", "4", "1", "(25.0%)", "2", "(50.0%)"],
        ["all", "2", "2", "0", "(0.0%)", "1", "(50.0%)"],
        ["none", "0", "0", "0", "0"],
    ]
    assert ended.stdout.count("by eye: [ ] right") == 2
    assert sum(f"task {n}" in ended.stdout for n in range(4)) == 2
    assert ended.stdout == python("audit.py", every, *arms, "--draw", 2).stdout


def test_a_task_to_read_says_who_keeps_it(module) -> None:
    """Instruction, check, the audit's outcome and the filters that keep it are there."""
    text = module("audit").to_read(task(7, 3), ["paper", "all"])
    assert "kept by: paper, all" in text and "task 7" in text and "3 of 5 attempts pass" in text


def test_rollouts_of_some_tasks(tmp_path: Path) -> None:
    """The rollouts of the tasks in a file are written in the order of the rollouts, whatever the tasks' verdicts."""
    rollouts = [rollout(task(n), sample, 1) for n in range(3) for sample in range(2)]
    source = written(tmp_path / "r.jsonl", rollouts)
    wanted = written(tmp_path / "t.jsonl", [task(0, 5), task(2)])
    ended = python("arms.py", "of", wanted, source)
    kept = [decode(line) for line in ended.stdout.splitlines()]
    assert [(record.task.instruction, record.sample) for record in kept] == [
        (f"task {n}", sample) for n in (0, 2) for sample in range(2)
    ]


def test_arms_are_cut_to_the_same_tokens(tmp_path: Path) -> None:
    """The arm with fewest tokens stays whole, the other loses attempts at any of its tasks until it is no longer."""
    few = [rollout(task(n), 0, 10, "pass") for n in range(6)]
    many = [rollout(task(n), sample, 10) for n in range(5) for sample in range(6)]
    paths = [written(tmp_path / "a.jsonl", few), written(tmp_path / "b.jsonl", many)]
    ended = python("arms.py", "equal", *paths)
    assert "6 of 6 rollouts of 6 tasks, 6 passed, 60 of at most 60 tokens" in ended.stderr
    cut = [decode(line) for line in (tmp_path / "b.equal.jsonl").read_bytes().splitlines()]
    assert len(cut) == 6 and len({record.task.id for record in cut}) > 1
    assert {record.id for record in cut} <= {decode(encode(record)).id for record in many}


def test_a_cut_never_goes_beyond_the_tokens(module) -> None:
    """Customers' tokens count too, and the attempt that would exceed is left out."""
    talk = Rollout(task=task(0), usage=Usage(completion_tokens=30, user_completion_tokens=30))
    assert module("arms").sampled([talk]) == 60
    assert module("arms").cut([talk], 59) == []
    assert module("arms").cut([talk], 60) == [talk]


def test_wrong_words_are_answered_with_the_usage() -> None:
    """`arms.py` without a known word ends with its usage."""
    ended = python("arms.py", "same", "x")
    assert ended.returncode == 1 and ended.stderr.startswith("usage: arms.py of")


@pytest.mark.parametrize("script", ["filter-stages.sh", "tasks-vs-rollouts.sh", "distill-1.5b.sh"])
def test_a_script_says_what_it_needs(script: str, tmp_path: Path) -> None:
    """A script without a model names the variable and writes no file; it has at most sixty lines."""
    path = EXPERIMENTS / script
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    env = environment({"SCA_RUN": str(tmp_path / "run")})
    ended = subprocess.run(["sh", str(path)], capture_output=True, text=True, env=env, timeout=60, check=False)
    assert ended.returncode == 2 and "SCA_MODEL" in ended.stderr
    assert not (tmp_path / "run").exists()
    assert len(path.read_text().splitlines()) <= 60


# ---------------------------------------------------------------- the development tasks


@pytest.fixture(scope="module")
def development() -> list[Task]:
    """Return the tasks that recipes are chosen by."""
    return list(streams.read([str(EXPERIMENTS / "dev-calculation.jsonl")], Task))


def test_development_tasks_are_balanced_and_never_trained_on(development: list[Task]) -> None:
    """Each family has four tasks of one call, of two, of three and of more, all marked as held out."""
    groups = Counter((each.env.options["family"], min(each.calls or 0, 4)) for each in development)
    assert len(groups) == 16
    assert set(groups.values()) == {4}
    assert {each.split for each in development} == {"eval"}


def test_development_tasks_are_not_the_evaluation_set(development: list[Task]) -> None:
    """The sets share no instruction and no task. (They share short programs: a family has only six tools.)"""
    path = plugins.load_environment(EnvSpec(name="calculation")).eval_path()
    held_out = TrainedOn()
    for each in streams.read([str(path)], Task):
        held_out.add(each)
    shared = held_out.shared_by(development)
    assert not shared.same | shared.instruction


@pytest.mark.sandbox
def test_development_tasks_hold(development: list[Task], sandbox: Sandbox) -> None:
    """The solution passes with the calls it claims, each failure case fails."""
    for each in development:
        verdict = paper_filter.verify(sandbox, each, frozenset())
        assert verdict.passed, (each.instruction, verdict.stage)
        assert len(verdict.solution_calls() or []) == each.calls, each.instruction
