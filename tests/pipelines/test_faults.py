"""`sca verify` while its jails, its world, its reader and itself fail: each task once, with its own verdict."""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import faults

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

TASKS = 10
PATIENT = ["--check-seconds", "60"]
"""A limit's time runs while a jail gets ready: a busy machine must not add time-outs of its own."""


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that gives a path: of the tasks, of their verdicts without any fault, or of a new file."""
    folder = tmp_path_factory.mktemp("faults")

    def path(name: str) -> str:
        return str(folder / name)

    warehouse = [t for t in faults.tasks(200, random.Random(1)) if t["env"]["name"] == "warehouse"]
    broken = [t for t in warehouse if t["env"].get("options")]
    mixed = [*broken[:3], *[t for t in warehouse if not t["env"].get("options")][: TASKS - 3]]
    Path(path("tasks")).write_text("".join(json.dumps(task) + "\n" for task in mixed))
    faults.undisturbed([path("tasks"), *PATIENT], path("expected"))
    return path


def assert_same(stream: Callable[[str], str], name: str) -> None:
    """Compare with the verdicts without any fault, byte for byte of what is written."""
    wrong = faults.differences(stream("expected"), stream(name))
    assert not any(wrong.values()), wrong


def test_a_world_that_raises_spoils_its_own_tasks_only(stream) -> None:
    """Its tasks become invalid because of the world; those of the sound world pass or fail as ever."""
    written = [json.loads(line) for line in Path(stream("expected")).read_text().splitlines()]
    reasons = {t["id"]: {c.get("reason", "") for c in t["verdict"]["checks"]} for t in written}
    spoilt = {key for key, found in reasons.items() if "world" in found}
    assert len(written) == TASKS
    assert spoilt
    assert spoilt <= {t["id"] for t in written if t["env"].get("options")}


def test_killed_jails_and_a_killed_verify_change_nothing(stream) -> None:
    """kill -9 of zygotes, nsjails and verify itself, with --resume: the same verdicts, each once."""
    draw = random.Random(2)
    storm = faults.Storm(4, draw)
    ends = faults.to_file([stream("tasks"), *PATIENT], stream("filed"), storm, 5, draw)
    assert ends["verify"] + storm.struck.total() > 1
    assert ends["stopped"] == 0
    assert_same(stream, "filed")


def test_a_full_pipe_changes_nothing(stream) -> None:
    """A reader that rests while jails are killed gets the same verdicts, each once."""
    storm = faults.Storm(4, random.Random(3))
    assert faults.to_pipe([stream("tasks"), *PATIENT], stream("piped"), storm) == 0
    assert storm.struck.total() > 0
    assert_same(stream, "piped")


def test_differences_are_seen(stream, tmp_path: Path) -> None:
    """The comparison notices a lost task, a doubled one, another order and another verdict."""
    lines = Path(stream("expected")).read_text().splitlines()
    other = json.loads(lines[3])
    other["verdict"]["stage"] = "elsewhere"
    broken = tmp_path / "broken"
    broken.write_text("\n".join([lines[1], lines[0], lines[0], json.dumps(other), *lines[4:]]) + "\n")
    wrong = faults.differences(stream("expected"), str(broken))
    counts = {kind: len(keys) for kind, keys in wrong.items()}
    assert counts == {"missing": 1, "doubled": 1, "disordered": 1, "verdict": 1, "evidence": 0}
