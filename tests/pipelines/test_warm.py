"""A `sca` that the warm server forks (`tests/warm`) behaves as a new interpreter does, and ends as it does."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, environment, sca_program
from loop_script import rules

from sca_cli.records import decode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

ENV = "calculation:family=message_decoder"


def run(program: str | Path, line: str, place: Path, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a line of shell in which $SCA is a program."""
    return subprocess.run(
        ["sh", "-c", line],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=place,
        env=environment({"SCA": str(program)} | variables),
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "line",
    [
        '"$SCA" --help',
        '"$SCA" explore -n 2 --seed 3 && pwd',
        '"$SCA" verify -o nowhere/t; echo $?',
        '"$SCA" verify <&-; echo $?; echo \'{}\' | "$SCA" verify; echo $?',
        '"$SCA" plugins | head -1',
    ],
)
def test_output_and_exit_code_are_those_of_a_new_interpreter(
    tmp_path: Path, script: Callable[..., str], outside: str, line: str
) -> None:
    """Arguments, directory, environment variables, import path and the three streams are the client's."""
    variables = {"SCA_MODEL": script(*rules()), "SCA_ENV": ENV, "PYTHONPATH": outside}
    warm, cold = (run(program, line, tmp_path, **variables) for program in (sca_program(), BIN / "sca"))
    assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)])
def test_a_signal_reaches_it(tmp_path: Path, script: Callable[..., str], number: int, code: int) -> None:
    """It is interrupted, terminated or killed with its client; the lines it wrote are whole, and no process is left."""
    out = tmp_path / "out"
    options: dict[str, Any] = {"delay_s": 0.05}
    line = ["explore", "-n", "100000", "-q", "--env", ENV, "--model", script(*rules(), **options), "-o", str(out)]
    with subprocess.Popen(
        [sca_program(), *line], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as process:
        while not out.exists() or not out.read_bytes():
            assert process.poll() is None
            time.sleep(0.005)
        os.kill(process.pid, number)
        process.wait(30)
    assert process.returncode == code
    assert all(decode(each) for each in out.read_bytes().splitlines())
