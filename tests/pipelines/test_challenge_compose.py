"""`sca challenge --method compose` in real pipes: explorations → programs → words → verified tasks."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, environment

from sca_cli.records import EnvSpec, Exploration, Observation, Record, encode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

DECODER = EnvSpec(name="calculation", options={"family": "message_decoder"})
DNA = EnvSpec(name="calculation", options={"family": "dna_sequencer"})
GENES = [
    Observation(tool="transcribe_dna_to_mrna", args=["ATGGCC"], result="AUGGCC"),
    Observation(tool="reverse_transcribe_mrna_to_dna", args=["AUGCAU"], result="ATGCAT"),
    Observation(tool="translate_mrna_to_amino_acid", args=["AUGCAU"], result="MH"),
]
WORDS = ("drawer", "stressed")
REVERSED = [Observation(tool="reverse_string", args=[word], result=word[::-1]) for word in WORDS]
MEASURED = [Observation(tool="string_length", args=[word], result=len(word)) for word in WORDS]

WITH_VALUES = (
    "Take that result, the first result or the texts drawer, stressed, drawerdrawer, drawerstressed, stresseddrawer or "
    "stressedstressed; reverse them, tell their length, convert or decode them, or find the minimum or the maximum. "
    "The sequences ATGGCC, ATGGCCATGGCC, AUGCAU and AUGCAUAUGCAU are to be transcribed or translated."
)
"""Says more than any sentence has to, but no figure, no tool and no result."""


def write(path: Path, *records: Record) -> Path:
    """Write records to a file."""
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records))
    return path


@pytest.fixture
def explored(tmp_path: Path) -> Path:
    """Return a file of explorations of the message decoder."""
    walks = [Exploration(env=DECODER, seed=seed, observations=[*REVERSED, *MEASURED]) for seed in range(3)]
    return write(tmp_path / "explored", *walks)


@pytest.fixture
def settings(script) -> dict[str, str]:
    """Return the environment variables that choose the scripted model."""
    return {"SCA_MODEL": script({"replies": [WITH_VALUES]}, delay_s=0.05), "OMP_NUM_THREADS": "1"}


def compose(sca, *arguments: object, **options: Any) -> Any:
    """Run the command."""
    return sca("challenge", "--method", "compose", *arguments, **options)


def test_from_explorations_to_tasks_and_on_from_tasks(sca, tmp_path: Path, settings) -> None:
    """Candidates of one and two calls verify; the tasks that were kept are material for more."""
    explored = write(tmp_path / "genes", Exploration(env=DNA, observations=GENES))
    ended = compose(sca, explored, "-n", 10, "--calls", 2, env=settings)
    candidates = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, ended.stderr
    assert {task["calls"] for task in candidates} == {1, 2}
    for task in candidates:
        by = task["extra"]["written_by"]["instruction"]
        assert by.startswith("machine" if "model_wording" in task["extra"] else "model")
        assert by.endswith(", put together in fixed words") == (" + " in task["solution"] or " - " in task["solution"])
    assert any(task["extra"]["pairs"] for task in candidates)
    said = ended.stderr.decode()
    assert "sca challenge --method compose: " in said
    assert "programs were dropped" in said
    assert "drawn before" in said
    assert "pairs of tools fit, " in said
    kept = sca("verify", stdin=ended.stdout)
    assert kept.stdout.count(b"\n") >= 2
    (tmp_path / "tasks").write_bytes(kept.stdout)
    again = compose(sca, "tasks", "-n", 2, "--seed", 1, "--all", env=settings)
    assert again.stdout.count(b"\n") == 2, again.stderr
    ids = {json.loads(line)["id"] for line in kept.stdout.splitlines()}
    assert all(set(json.loads(line)["parents"]) <= ids for line in again.stdout.splitlines())
    unproven = compose(sca, stdin=ended.stdout, env=settings)
    assert (unproven.returncode, unproven.stdout) == (1, b"")
    assert f"  {len(candidates)} tasks were left out: sca verify rejected them" in unproven.stderr.decode()


def test_instructions_name_tools_only_where_they_may(sca, explored: Path, script) -> None:
    """The machine writes instead of the model where the model names a tool; with --tool-names the model's text is the
    instruction. Method cat, whose replies are whole tasks, rejects the option.
    """
    model = {"SCA_MODEL": script({"replies": [f"{WITH_VALUES} Call reverse_string, or get_string_length."]})}
    line = [explored, "-n", 8, "--calls", 1]
    refused = compose(sca, *line, env=model)
    assert refused.returncode == 0, refused.stderr
    tasks = [json.loads(line) for line in refused.stdout.splitlines()]
    assert "instruction: names a tool" in [task["extra"]["model_wording"] for task in tasks]
    for task in tasks:
        assert task["extra"]["written_by"]["instruction"].startswith("machine")
        assert "reverse_string" not in task["instruction"]
    allowed = compose(sca, *line, "--tool-names", env=model)
    assert allowed.returncode == 0, allowed.stderr
    assert b"names a tool" not in allowed.stderr
    tasks = [json.loads(line) for line in allowed.stdout.splitlines()]
    by_model = [task for task in tasks if "model_wording" not in task["extra"]]
    assert by_model
    for task in by_model:
        assert "Call reverse_string" in task["instruction"]
        assert task["extra"]["may_name_tools"]
    ended = sca("challenge", explored, "--tool-names", env=model)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"--tool-names is an option of --method solution-first and compose" in ended.stderr


def test_a_killed_run_goes_on_with_the_same_programs(sca, tmp_path: Path, explored: Path, settings) -> None:
    """kill -9 after the first record, --resume: the same bytes as without."""
    line = ["challenge", explored, "--method", "compose", "-n", 8, "--calls", 2, "--all", "--concurrency", 1]
    assert sca(*line, "-o", "reference", env=settings).returncode == 0
    out = tmp_path / "out"
    command = list(map(str, [BIN / "sca", *line, "-q", "-o", out]))
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=tmp_path, env=environment(settings)) as process:
        deadline = time.monotonic() + 60
        while not out.exists() or not out.read_bytes():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    reference = (tmp_path / "reference").read_bytes()
    assert 0 < out.read_bytes().count(b"\n") < reference.count(b"\n")
    ended = sca(*line, "-o", out, "--resume", env=settings)
    assert ended.returncode == 0, ended.stderr
    assert out.read_bytes() == reference


def test_nothing_to_compose_of_is_code_1(sca, tmp_path: Path, settings) -> None:
    """An empty file, and explorations of refused calls only, end without a record."""
    refused = [Observation(tool="reverse_string", args=["drawer"], error="no")]
    (tmp_path / "empty").touch()
    write(tmp_path / "refused", Exploration(env=DECODER, observations=refused))
    for name in ("empty", "refused"):
        ended = compose(sca, name, "-n", 3, env=settings)
        assert (ended.returncode, ended.stdout) == (1, b""), ended.stderr
    assert "a value is needed and no similar one is recorded" in ended.stderr.decode()


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (encode(Exploration(env=EnvSpec(name="nowhere"), observations=REVERSED)), 4, "unknown environment 'nowhere'"),
        (encode(Exploration(env=DECODER, observations=REVERSED))[:-20], 3, "stdin:1: "),
    ],
)
def test_bad_input_is_told_in_a_line(sca, settings, line: bytes, code: int, said: str) -> None:
    """An unknown environment and half a line each end the run with a one-line message."""
    ended = compose(sca, stdin=line + b"\n", env=settings)
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert said in ended.stderr.decode()
    assert b"Traceback" not in ended.stderr
