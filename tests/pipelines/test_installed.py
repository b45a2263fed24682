"""sca after `pip install .`: in a virtual environment with other packages and the held-out tasks."""

import json
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import environment, install

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]
CHEAT = "import json\nsolved = json.loads(open({held_out!r}).readline())\nexec(solved['solution'])"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a virtual environment in which sca is installed, and not from its sources."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    install(ROOT, site)
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))  # what sca needs
    for path in (place.parent, place):
        path.chmod(0o755)
    return place / "bin" / "python"


def sca(python: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the installed sca."""
    code = "import sys; from sca_cli.app import main; sys.argv[0] = 'sca'; main()"
    command = [str(python), "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment({}), timeout=300)


def test_programs_see_no_installed_package(python: Path) -> None:
    """The doctor looks, from inside."""
    ended = sca(python, "doctor", "--json")
    layers = {layer["layer"]: layer for layer in json.loads(ended.stdout)["layers"]}
    assert layers["files"]["ok"], layers["files"]["seen"]
    assert "no packages" in layers["files"]["seen"]


def test_held_out_solutions_cannot_be_read(python: Path, tmp_path: Path) -> None:
    """An attempt that opens the installed file of held-out tasks fails."""
    (held_out,) = python.parent.parent.glob("lib/python*/site-packages/sca_airline/eval.jsonl")
    assert json.loads(held_out.read_text().splitlines()[0])["solution"]
    reply = f"```python\n{CHEAT.format(held_out=str(held_out))}\n```"
    (tmp_path / "cheat.jsonl").write_text(json.dumps({"replies": [reply]}) + "\n")
    model = f"scripted:{tmp_path / 'cheat.jsonl'}"
    ended = sca(python, "eval", "--env", "airline", "--direct", "-n", 1, "-k", 1, "-m", model)
    assert ended.returncode in (0, 1), ended.stderr
    (score,) = map(json.loads, ended.stdout.splitlines())
    assert score["pass_at"]["1"]["value"] == 0
