"""The README's transcript is what happens."""

import re
import subprocess
from pathlib import Path

import pytest
from conftest import environment

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[2]


def test_the_transcript_is_what_happens(tmp_path: Path):
    """Every command of the README's transcript prints what the README shows, byte for byte."""
    (shown,) = re.findall(r"(?ms)^```console\n(.*?)^```", (ROOT / "README.md").read_text())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = ["exec 2>&1"]
    for command in re.findall(r"(?m)^\$ (.*)", shown):
        script += [f"cat <<'END'\n$ {command}\nEND", command]
    happened = subprocess.run(
        ["sh", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert happened.stdout == shown, f"what happens now:\n{happened.stdout}"
