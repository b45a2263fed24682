"""The example plugin of sca-plugins(7), installed next to sca as a third party installs it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import environment, install

pytest.importorskip("hatchling", reason="builds the example; hatchling is in the dev group")
pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]
CANDIDATE = """\
<instruction>
I am Ada. Please lend me Dune.
</instruction>
<evaluation_function>
def evaluate():
    return loans_of("Ada") == ["Dune"]
</evaluation_function>
<solution>
if copies_left("Dune"):
    lend("Ada", "Dune")
final_answer("done")
</solution>
<failure_case>
final_answer("done")
</failure_case>
<failure_case>
lend("Cleo", "Dune")
final_answer("done")
</failure_case>
<failure_case>
lend("Ada", "Emma")
lend("Ada", "Dune")
final_answer("done")
</failure_case>"""
TAKEN_BACK = CANDIDATE.replace('lend("Cleo", "Dune")\nfinal', 'lend("Ada", "Dune")\ntake_back("Ada", "Dune")\nfinal')
FORGED = CANDIDATE.replace('return loans_of("Ada")', 'lend("Ada", "Dune")\n    return loans_of("Ada")')


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build the plugin's wheel, unpack it outside sca, and return the environment variables with which a process finds
    it.
    """
    source = tmp_path_factory.mktemp("source") / "plugin"
    shutil.copytree(ROOT / "examples" / "plugin", source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("installed") / "site"
    install(source, target)
    before = os.environ.get("PYTHONPATH")
    return environment({"PYTHONPATH": f"{target}:{before}" if before else str(target)})


def sca(installed: dict[str, str], line: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a shell line of `sca` commands with the plugin installed."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=cwd,
        env=installed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_it_is_listed_and_shown(installed: dict[str, str], tmp_path: Path):
    """`sca plugins` names it, and `sca env show` shows its policy and tools."""
    listed = sca(installed, "sca plugins", tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "environment library " in listed.stdout
    shown = sca(installed, "sca env show library:limit=1", tmp_path).stdout
    assert "clerk of a small lending desk" in shown
    assert [name in shown for name in ("copies_left", "loans_of", "lend", "take_back")] == [True] * 4


def test_a_wrong_option_is_the_users_mistake(installed: dict[str, str], tmp_path: Path):
    """An option the environment does not take, or cannot read, exits with 2."""
    for wrong in ("shelves=3", "limit=many"):
        assert sca(installed, f"sca env show library:{wrong}", tmp_path).returncode == 2


def test_tasks_are_made_and_proved_on_it(installed: dict[str, str], tmp_path: Path):
    """Tasks that change the state are verified; a check that makes the change itself is rejected."""
    rules = [
        {"when": "evaluation.function", "anywhere": True, "replies": [[CANDIDATE, TAKEN_BACK, FORGED]]},
        {"replies": ["```python\nprint(copies_left('Dune'), loans_of('Ada'))\n```"]},
    ]
    (tmp_path / "script.jsonl").write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    line = "sca explore -e library -n 2 | sca challenge -n 12 | sca verify --rejected fallen.jsonl > tasks.jsonl"
    ran = sca(installed | {"SCA_MODEL": "scripted:script.jsonl"}, line, tmp_path)
    assert ran.returncode == 0, ran.stderr
    kept, fallen = (
        [json.loads(row) for row in (tmp_path / name).read_text().splitlines()]
        for name in ("tasks.jsonl", "fallen.jsonl")
    )
    assert len(kept) + len(fallen) == 12
    assert {task["env"]["name"] for task in kept} == {"library"}
    assert {'lend("Ada", "Dune")\n    return' in task["evaluate"] for task in kept} == {False}
    forged = {'lend("Ada", "Dune")\n    return' in task["evaluate"]: task["verdict"]["stage"] for task in fallen}
    assert forged.pop(True) != "duplicate" and set(forged.values()) <= {"duplicate"}
    (calls,) = {tuple(call["tool"] for call in task["verdict"]["checks"][0]["calls"]) for task in kept}
    assert calls[:2] == ("copies_left", "lend")


def test_the_wheel_brings_one_package(installed: dict[str, str]):
    """The package is its modules, its tasks and its entry point: nothing of sca's own comes with it, and no tests."""
    site = Path(installed["PYTHONPATH"].split(":")[0])
    names = sorted(path.name for path in site.iterdir() if path.name != "__pycache__")
    assert names == ["sca_library", "sca_library-0.1.0.dist-info"]
    files = sorted(path.name for path in (site / "sca_library").iterdir() if path.name != "__pycache__")
    assert files == ["__init__.py", "environment.py", "eval.jsonl"]


def test_it_is_what_env_new_writes(tmp_path: Path):
    """`sca env new library` writes the example, byte for byte."""
    source = ROOT / "examples" / "plugin"
    ran = subprocess.run(
        ["sca", "env", "new", "library"], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    written = {path.relative_to(tmp_path / "library"): path.read_bytes() for path in _files(tmp_path / "library")}
    assert written == {path.relative_to(source): path.read_bytes() for path in _files(source)}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
