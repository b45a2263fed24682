"""The first plugin of sca-plugins(7): its steps, done as they are written there."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import environment, install

pytest.importorskip("hatchling", reason="builds the plugin; hatchling is in the dev group")
pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]


def steps(file: str) -> list[str]:
    """Return the commands of a first plugin: of the manual's section on it, or of the README's."""
    block = {
        "man/sca-plugins.7": r"(?ms)^\.SH YOUR FIRST PLUGIN\n.*?^\.EX\n(.*?)^\.EE",
        "README.md": r"(?ms)^```sh\n(.*?)^```",
    }[file]
    (found,) = re.findall(block, (ROOT / file).read_text())
    return [line.partition(" #")[0].strip().replace("\\-", "-") for line in found.splitlines()]


@pytest.fixture
def processes(tmp_path: Path) -> dict[str, str]:
    """Return the variables of the steps' processes: the plugin's place on the path, and no model."""
    path = ":".join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    return environment({"PYTHONPATH": path})


@pytest.mark.parametrize("file", ["man/sca-plugins.7"])
def test_the_steps_that_are_written_lead_to_tasks(tmp_path: Path, processes: dict[str, str], file: str) -> None:
    """Each line succeeds in turn; at the end there are verified tasks in the new environment."""
    lines = steps(file)
    assert [line.split()[:3] for line in lines[:2]] == [["sca", "env", "new"], ["pip", "install", "-e"]]
    for line in lines:
        if line.startswith("pip install -e "):
            install(tmp_path / line.split()[-1], tmp_path / "site")
            continue
        ran = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, env=processes, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    tasks = [json.loads(row) for row in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    assert tasks
    assert {task["env"]["name"] for task in tasks} == {"bakery"}


@pytest.mark.parametrize("name", ["corner_shop", "path"])
def test_the_new_package_passes_its_own_tests(tmp_path: Path, processes: dict[str, str], name: str) -> None:
    """A name of several words too, and one that the template itself has for something else; pytest in the new
    directory passes as it is.
    """
    subprocess.run(["sca", "env", "new", name], cwd=tmp_path, env=processes, check=True, capture_output=True)
    install(tmp_path / name, tmp_path / "site")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / name, env=processes, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout


def test_the_wheel_of_sca_brings_the_template(tmp_path: Path) -> None:
    """`sca env new` works where sca was installed without its source tree."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = "import sys; sys.path.insert(0, 'site'); from sca_cli.commands.env import new; print(new.template())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    template = Path(ran.stdout.strip())
    assert template == tmp_path / "site" / "sca_cli" / "template"
    source = ROOT / "examples" / "plugin"
    names = {path.relative_to(template) for path in template.rglob("*") if path.is_file()}
    assert {path.relative_to(source) for path in source.rglob("*.py")} <= names
