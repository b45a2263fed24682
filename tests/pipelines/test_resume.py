"""Runs that are killed, or run out of disk, and are resumed write the same bytes as undisturbed ones."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BIN, environment, sca_program
from loop_script import rules

from sca_cli.records import decode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

ENV = "calculation:family=message_decoder"


@pytest.fixture
def command(tmp_path: Path, script: Callable[..., str]) -> Callable[[str], list[str]]:
    """Return a function that builds the command line of a verb with a slow model; the inputs are made once."""
    model = script(*rules(), delay_s=0.02)
    quick = {"SCA_MODEL": model, "SCA_ENV": ENV}

    def build(verb: str) -> list[str]:
        if verb != "explore" and not (tmp_path / "explorations").exists():
            line = "sca explore -n 12 -q > explorations; sca challenge explorations -n 24 --all -q > candidates"
            subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment(quick), check=True, timeout=60)
        lines = {
            "explore": f"explore -n 40 --concurrency 3 --env {ENV} --model {model}",
            "challenge": f"challenge explorations -n 40 --concurrency 3 --rejected fallen --model {model}",
            "verify": "verify candidates --skip duplicate --rejected fallen --concurrency 2",
            "rollout": f"rollout candidates -k 2 --concurrency 3 --model {model}",
        }
        return [str(BIN / "sca"), *lines[verb].split(), "-q"]

    return build


def finished(tmp_path: Path, line: list[str]) -> "subprocess.CompletedProcess[bytes]":
    """Run a command line to its end: a process that nothing disturbs may be a fork of the warm server."""
    return subprocess.run(
        [sca_program() if line[0] == str(BIN / "sca") else line[0], *line[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=tmp_path,
        env=environment(),
        check=False,
        timeout=60,
    )


def reference(tmp_path: Path, line: list[str]) -> tuple[bytes, bytes]:
    """Return the output of an undisturbed run: kept and rejected records."""
    fallen = [word.replace("fallen", "fallen.reference") for word in line]
    ended = finished(tmp_path, [*fallen, "-o", "reference"])
    assert ended.returncode == 0, ended.stderr
    return contents(tmp_path, "reference", "fallen.reference")


def contents(tmp_path: Path, *names: str) -> tuple[bytes, ...]:
    """Return the contents of files; a missing file is empty."""
    return tuple((tmp_path / name).read_bytes() if (tmp_path / name).exists() else b"" for name in names)


@pytest.mark.parametrize("verb", ["explore", "challenge", "verify", "rollout"])
def test_killed_runs_end_with_the_same_bytes(tmp_path: Path, command, verb: str) -> None:
    """A run that is killed twice with kill -9 and resumed loses, repeats and changes no record, and leaves no process
    behind.
    """
    line = command(verb)
    expected = reference(tmp_path, line)
    whole = expected[0].count(b"\n") + expected[1].count(b"\n")
    draw = random.Random(verb)
    for attempt in range(2):
        with subprocess.Popen(
            [*line, "-o", "out", "--resume"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(),
        ) as process:
            aim = whole * (attempt + draw.random()) / 3
            while (
                process.poll() is None and sum(part.count(b"\n") for part in contents(tmp_path, "out", "fallen")) < aim
            ):
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it could be killed"
            process.kill()
        for part in contents(tmp_path, "out", "fallen"):
            for each in part.splitlines():
                decode(each)
    assert contents(tmp_path, "out") != expected[:1]
    ended = finished(tmp_path, [*line, "-o", "out", "--resume"])
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path, "out", "fallen") == expected
    ended = finished(tmp_path, [*line, "-o", "out", "--resume"])
    assert (ended.returncode, contents(tmp_path, "out", "fallen")) == (0, expected)


def test_a_full_disk_is_told_and_gone_on_from(tmp_path: Path, command) -> None:
    """A file that cannot grow ends the run with code 4, whole lines and a hint; with more space, --resume writes the
    same bytes.
    """
    line = command("explore")
    expected = reference(tmp_path, line)
    room = len(expected[0]) // 1024 // 2
    limited = ["bash", "-c", f'ulimit -S -f {room}; exec "$@"', "bash", *line, "-o", "out"]
    for extra in ([], ["--resume"]):
        ended = finished(tmp_path, [*limited, *extra])
        assert ended.returncode == 4
        assert ended.stderr.decode().splitlines() == [
            "sca explore: cannot write out: File too large",
            "hint: the lines before are complete; raise 'ulimit -f', then use --resume",
        ]
        (written,) = contents(tmp_path, "out")
        assert written.endswith(b"\n")
        assert expected[0].startswith(written)
        assert 0 < len(written) <= room * 1024
    ended = finished(tmp_path, [*line, "-o", "out", "--resume"])
    assert (ended.returncode, contents(tmp_path, "out")) == (0, expected[:1])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system of 64 KiB needs root")
def test_a_file_system_without_room_is_gone_on_from(tmp_path: Path, command) -> None:
    """A run whose output and journal share a full file system ends with code 4, and --resume writes the same bytes."""
    line = command("explore")
    expected = reference(tmp_path, line)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        ended = finished(tmp_path, [*line, "-o", "disk/out"])
        assert ended.returncode == 4
        assert b"No space left on device\nhint: " in ended.stderr
        (written,) = contents(tmp_path, "disk/out")
        assert written.endswith(b"\n")
        assert expected[0].startswith(written)
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        ended = finished(tmp_path, [*line, "-o", "disk/out", "--resume"])
        assert (ended.returncode, contents(tmp_path, "disk/out")) == (0, expected[:1]), ended.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_interrupted_run_is_gone_on_from(tmp_path: Path, command) -> None:
    """A run that Ctrl-C interrupted writes the same bytes after --resume."""
    line = command("explore")
    expected = reference(tmp_path, line)
    with subprocess.Popen(
        [*line, "-o", "out"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    ) as process:
        while contents(tmp_path, "out")[0].count(b"\n") < 5:
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[0] == b"sca explore: interrupted; all lines written so far are complete"
    ended = finished(tmp_path, [*line, "-o", "out"])
    assert ended.returncode == 2
    assert b"sca explore: out holds an unfinished run\nhint: continue with --resume" in ended.stderr
    ended = finished(tmp_path, [*line, "-o", "out", "--resume"])
    assert (ended.returncode, contents(tmp_path, "out")) == (0, expected[:1])


def test_a_run_is_not_gone_on_with_other_settings(tmp_path: Path, command) -> None:
    """--resume refuses another seed or another input by name, and leaves the file unchanged."""
    line = command("rollout")
    assert finished(tmp_path, [*line, "-o", "out"]).returncode == 0
    before = contents(tmp_path, "out", "out.journal")
    ended = finished(tmp_path, [*line, "-o", "out", "--resume", "--seed", "1"])
    assert (ended.returncode, ended.stderr) == (
        2,
        b"sca rollout: --resume: out was started with other settings: seed\n",
    )
    lines = (tmp_path / "candidates").read_bytes().splitlines(keepends=True)
    (tmp_path / "candidates").write_bytes(b"".join(reversed(lines)))
    ended = finished(tmp_path, [*line, "-o", "out", "--resume"])
    assert ended.returncode == 2
    assert b"--resume: the input differs from that of the earlier run" in ended.stderr
    assert contents(tmp_path, "out") == before[:1]


def test_resume_gets_past_a_bad_line(tmp_path: Path, command) -> None:
    """A bad line is left out with code 3, and --resume leaves it out again; the mended file is another input."""
    line = command("verify")
    good = (tmp_path / "candidates").read_bytes()
    lines = good.splitlines(keepends=True)
    (tmp_path / "candidates").write_bytes(b"".join([*lines[:12], b"oops\n", *lines[13:]]))
    for extra in ([], ["--resume"]):
        ended = finished(tmp_path, [*line, "-o", "out", *extra])
        assert ended.returncode == 3
        assert b"sca verify: candidates:13: not a record" in ended.stderr
    (tmp_path / "candidates").write_bytes(b"".join([*lines[:12], *lines[13:]]))
    assert contents(tmp_path, "out", "fallen") == reference(tmp_path, line)


def test_a_comparison_killed_at_the_second_model_goes_on(tmp_path: Path, script) -> None:
    """A comparison that is killed while the second model runs writes the same bytes after --resume as an undisturbed
    one.
    """
    quick = {"SCA_MODEL": script(*rules()), "SCA_ENV": ENV, "OMP_NUM_THREADS": "1"}
    line = "sca explore -n 4 -q > explorations; sca challenge explorations -n 6 -q > tasks"
    subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment(quick), check=True, timeout=60)
    models = [script(*rules(), name="a"), script(*rules(), name="b", delay_s=0.2)]
    compare = [str(BIN / "sca"), "eval", "tasks", "-k", "2", "-q", "--concurrency", "1", "--compare", *models]
    names = ["rollouts", "rollouts.b", "scores"]
    calm = ["calm", "calm.b", "calm.scores"]
    ended = finished(tmp_path, [*compare, "--rollouts", calm[0], "-o", calm[2]])
    assert ended.returncode == 0, ended.stderr
    expected = contents(tmp_path, *calm)
    resumed = [*compare, "--rollouts", names[0], "--resume", "-o", names[2]]
    with subprocess.Popen(
        resumed, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as process:
        while process.poll() is None and not contents(tmp_path, names[1])[0]:
            time.sleep(0.005)
        assert process.poll() is None, "it ended before it could be killed"
        process.kill()
    assert 0 < contents(tmp_path, names[1])[0].count(b"\n") < expected[1].count(b"\n")
    ended = finished(tmp_path, resumed)
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path, *names) == expected
