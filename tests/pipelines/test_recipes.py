"""The recipes in `examples` run whole, with a tiny model that is trained for real and plays its part."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import environment
from tiny_model import save_model

from sca_cli.records import Checkpoint, Score, Task, decode

pytestmark = [pytest.mark.sandbox, pytest.mark.torch]

EXAMPLES = Path(__file__).parents[2] / "examples"
SELF_IMPROVE = EXAMPLES / "self-improve.sh"
TINY = {
    "SCA_ENV": "calculation:family=message_decoder",
    "SCA_METHOD": "compose",
    "SCA_EXPLORATIONS": "4",
    "SCA_CANDIDATES": "9",
    "SCA_SAMPLES": "2",
    "SCA_EVAL": "2",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment variables of a recipe: the player as a third-party plugin, and small numbers."""
    pytest.importorskip("peft", reason="needs the train extra")
    site = tmp_path_factory.mktemp("site")
    about = site / "player-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: player\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sca]\nplayer = player\n")
    shutil.copy(Path(__file__).with_name("player.py"), site)
    base = save_model(tmp_path_factory.mktemp("tiny") / "base", window=8192)
    return environment(TINY | {"PYTHONPATH": str(site), "SCA_MODEL": f"player:{base}"})


@pytest.fixture(scope="module")
def recipe(settings: dict[str, str]) -> Callable[..., "subprocess.Popen[str]"]:
    """Return a function that starts a recipe; `more` are further environment variables."""

    def begin(script: Path, run: Path, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", str(script)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=run.parent,
            env=settings | {"SCA_RUN": run.name} | more,
            start_new_session=True,
        )

    return begin


def ended(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """Wait for a recipe, assert its exit code and return its output."""
    said, _ = process.communicate(timeout=1800)
    assert process.returncode == code, said
    return said


def made(run: Path) -> dict[str, bytes]:
    """Return the contents of a run's files: records, weights and the report."""
    kinds = ("*.jsonl", "*.jsonl.b", "*.safetensors", "*.html", "*.txt")
    return {str(path.relative_to(run)): path.read_bytes() for kind in kinds for path in sorted(run.rglob(kind))}


def records(path: Path) -> list[Any]:
    """Return the records of a file."""
    return [decode(line) for line in path.read_bytes().splitlines()]


def checkpoints(path: Path) -> list[Checkpoint]:
    """Return the checkpoints in a file."""
    return [record for record in records(path) if isinstance(record, Checkpoint)]


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a self-improvement of one round with a control, killed in its first training."""
    place = tmp_path_factory.mktemp("self-improve") / "run"
    with recipe(SELF_IMPROVE, place, SCA_CONTROLS="random-rollouts") as process:
        while not (place / "seed-0/round-1/trained.work/run.json").exists():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    ended(recipe(SELF_IMPROVE, place, SCA_CONTROLS="random-rollouts"))
    return place


def test_a_round_of_self_improvement_is_compared_with_its_control(run: Path) -> None:
    """The control is trained on the same number of examples, and both are scored against the baseline."""
    here = run / "seed-0/round-1"
    control = here / "controls/random-rollouts"
    (trained,), (other,) = (checkpoints(folder / "trained.jsonl") for folder in (here, control))
    assert (trained.algorithm, other.algorithm, other.control) == ("solutions", "rft", "random-rollouts")
    assert other.metrics["examples"] == trained.metrics["examples"]
    tasks = records(here / "tasks.jsonl")
    for folder in (here, control):
        before, after = (record for record in records(folder / "trained-score.jsonl") if isinstance(record, Score))
        assert after.against == before.model and after.difference is not None
        assert after.overlap is not None and after.overlap.trained == len(tasks)
    assert "controls/random-rollouts" in (run / "report.html").read_text()


def test_run_again_nothing_is_done_again(recipe, run: Path) -> None:
    """The same bytes, and weights that were not written a second time."""
    before = made(run)
    times = {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")}
    ended(recipe(SELF_IMPROVE, run, SCA_CONTROLS="random-rollouts"))
    assert made(run) == before
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors")} == times


@pytest.mark.slow
def test_a_second_round_goes_on_from_the_first(recipe, run: Path, tmp_path: Path) -> None:
    """The trained model writes new tasks and attempts them; what it agreed on and its attempts are trained on again."""
    place = tmp_path / "run"
    shutil.copytree(run, place)
    ended(recipe(SELF_IMPROVE, place, SCA_ROUNDS="2", SCA_CONTROLS=""))
    first, second = (place / f"seed-0/round-{number}" for number in (1, 2))
    tasks: list[list[Task]] = [records(folder / "tasks.jsonl") for folder in (first, second)]
    assert not {task.solution for task in tasks[0]} & {task.solution for task in tasks[1]}
    assert {task.made_by.model for task in tasks[1] if task.made_by} == {"player:run/seed-0/round-1/trained"}
    known = records(second / "known.jsonl")
    assert known == [*tasks[0], *records(second / "agreed.jsonl")]
    assert records(second / "trained-score.jsonl")[1].overlap.trained == len(known)
    (solutions,), (trained,) = (checkpoints(second / name) for name in ("solutions.jsonl", "trained.jsonl"))
    assert (solutions.algorithm, trained.algorithm) == ("solutions", "rft")
    assert trained.base_model == solutions.path
    attempted = {attempt.task.id for attempt in records(second / "rollouts.jsonl")}
    assert {task.id for task in records(second / "agreed.jsonl")} <= attempted <= {task.id for task in tasks[1]}


@pytest.mark.parametrize(
    ("manner", "rounds", "said"),
    [
        ("mute", "1", "round 1: no new task proved itself"),
        pytest.param(
            "stubborn", "2", "round 2: the updated model reads every task differently", marks=pytest.mark.slow
        ),
    ],
)
def test_a_round_without_tasks_says_so(recipe, tmp_path: Path, manner: str, rounds: str, said: str) -> None:
    """It ends the script with exit code 1, and one line is the last."""
    told = ended(recipe(SELF_IMPROVE, tmp_path / "run", SCA_OPTIONS=f"manner={manner}", SCA_ROUNDS=rounds), code=1)
    assert told.splitlines()[-1] == f"{SELF_IMPROVE}: {said}; a larger model or more candidates may do"


@pytest.mark.parametrize(
    "script",
    ["distill-1.5b.sh", "filter-stages.sh", "tasks-vs-rollouts.sh"],
)
@pytest.mark.slow
def test_an_experiment_runs_to_its_report_and_once_more(
    recipe, settings: dict[str, str], tmp_path: Path, script: str
) -> None:
    """It scores what it trained; run again it does nothing again."""
    run = tmp_path / "run"
    model = settings["SCA_MODEL"]
    more = {
        "SCA_RUN": str(run),
        "SCA_BASE": model.removeprefix("player:"),
        "SCA_AUDITOR": model,
        "SCA_TEACHER": model,
        "SCA_OTHER": TINY["SCA_ENV"],
        "SCA_FACTOR": "2",
    }
    ended(recipe(EXAMPLES / "experiments" / script, run, **more))
    assert len(list(run.rglob("model.safetensors"))) == 2
    for path in run.glob("*-scores.jsonl"):
        assert records(path)[1].difference is not None
    before = made(run)
    ended(recipe(EXAMPLES / "experiments" / script, run, **more))
    assert made(run) == before
    assert "<h2>Scores" in (run / "report.html").read_text()
