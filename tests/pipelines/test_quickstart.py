"""`examples/quickstart.sh` as a newcomer types it, with a tiny model, and the set-up that every script shares."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import environment, sca_program
from tiny_model import save_model

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart.sh"
REQUIREMENTS = "--editable .[train,embedded,plot]"
"""What quickstart.sh asks `sca_environment` to install."""
PYTHONS = ("python3.12", "python3.13", "python3.14", "python3", "python")
SMALL = {"SCA_ENV": "calculation:family=message_decoder", "SCA_TASKS": "12", "SCA_EVAL": "2", "OMP_NUM_THREADS": "1"}

type Start = Callable[..., "subprocess.Popen[str]"]


def installed(directory: Path, *, python: str = f'exec {sys.executable} "$@"', stamp: bool = True) -> Path:
    """Make a directory that looks to `sca_environment` like an environment.

    Args:
        directory: created.
        python: shell code of its `python`; by default this Python.
        stamp: say that the packages are installed, so that nothing is installed again.
    """
    programs = directory / "bin"
    programs.mkdir(parents=True)
    fake(programs / "python", python)
    fake(programs / "sca", f'exec {sca_program()} "$@"')
    if stamp:
        files = [(ROOT / name).read_text() for name in ("pyproject.toml", "constraints.txt")]
        (directory / "sca-installed").write_text("".join([*files, f"{ROOT} {REQUIREMENTS} "]))
    return directory


def fake(path: Path, code: str) -> None:
    """Write a shell script."""
    path.write_text(f"#!/bin/sh\n{code}\n")
    path.chmod(0o755)


def finished(process: "subprocess.Popen[str]", code: int = 0) -> tuple[str, str]:
    """Wait for a process, check its exit code and return its stdout and stderr."""
    out, err = process.communicate(timeout=900)
    assert process.returncode == code, err
    return out, err


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory for the runs."""
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def start(place: Path) -> Start:
    """Return a function that starts the quickstart in `place/run`, with a tiny model instead of the embedded one."""
    pytest.importorskip("peft", reason="needs the train extra")
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    save_model(place / "cache/sca/models/smollm2-135m-instruct", window=8192)
    variables = environment(SMALL) | {
        "SCA_VENV": str(installed(place / "venv")),
        "SCA_RUN": str(place / "run"),
        "XDG_CACHE_HOME": str(place / "cache"),
        "MPLCONFIGDIR": str(place / "cache"),
    }

    def start(**more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", str(QUICKSTART)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=place,
            env=variables | more,
            start_new_session=True,
        )

    return start


def results(run: Path) -> dict[str, bytes]:
    """Return name → content of the records, the weights and the report of a run.

    Of an attempt, only the task, the seed and the outcome count: logits are rounded differently if other attempts
    share the batch, and with the random weights of the tiny model this changes which token is the most likely.
    """
    kinds = ("*.jsonl", "*.jsonl.b", "*.safetensors", "*.html")
    contents = {str(path.relative_to(run)): path.read_bytes() for kind in kinds for path in sorted(run.rglob(kind))}
    return {name: _outcomes(content) if "attempts" in name else content for name, content in contents.items()}


def _outcomes(attempts: bytes) -> bytes:
    records = (json.loads(line) for line in attempts.splitlines())
    outcomes = [[record["parents"], record["made_by"]["seed"], record["outcome"]] for record in records]
    return json.dumps(outcomes).encode()


@pytest.fixture(scope="module")
def whole(start: Start, place: Path) -> tuple[str, str, dict[str, bytes]]:
    """Run the quickstart without interruption; return its stdout, its stderr and its results."""
    out, err = finished(start())
    (place / "run").rename(place / "whole")
    return out, err, results(place / "whole")


@pytest.mark.sandbox
@pytest.mark.torch
def test_it_prints_the_scores_and_where_everything_is(whole: tuple[str, str, dict[str, bytes]], place: Path) -> None:
    """All seven stages run; the table holds both scores, and the three paths that are printed last exist."""
    out, err, made = whole
    assert [f"[{number}/7]" in err for number in range(1, 8)] == [True] * 7
    assert "Held-out tasks solved (2 tasks, one attempt each, 95 % intervals)" in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("  all ")] == [["all", "0.0"]]
    paths = [line.split()[1] for line in out.splitlines() if line.startswith(("Picture:", "Report:", "Model:"))]
    assert paths == [str(place / "run" / name) for name in ("scores.png", "report.html", "trained")]
    assert all((place / "whole" / Path(path).name).exists() for path in paths)
    assert made["trained/model.safetensors"] and made["tasks.jsonl"].count(b"\n") >= 2


@pytest.mark.sandbox
@pytest.mark.torch
def test_killed_and_started_again_it_ends_the_same_and_then_is_done(
    start: Start, place: Path, whole: tuple[str, str, dict[str, bytes]]
) -> None:
    """After kill -9 in the training the same records, weights and report are made. A third run shows the result again
    and makes nothing; a run with other settings in the same directory is a usage error.
    """
    run = place / "run"
    with start() as process:
        while not (run / "trained.work/run.json").exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    out, _ = finished(start())
    assert out == whole[0]
    assert results(run) == whole[2]

    times = {path: path.stat().st_mtime_ns for path in run.rglob("*.jsonl")}
    again, err = finished(start())
    assert again == whole[0]
    assert "This run is done; here is its result again. SCA_SEED=1 makes another." in err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.jsonl")} == times

    out, err = finished(start(SCA_TASKS="13"), code=2)
    assert out == ""
    *_, error, hint = err.splitlines()
    assert error.startswith(f"error: {run} holds a run with other settings: model=embedded:smollm2-135m ")
    assert hint == "hint: name another directory, SCA_RUN=DIR, or remove it"


@pytest.fixture
def hub() -> Iterator[str]:
    """Serve a model hub that knows each model and has no file of it; return its address."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.startswith("/api/models/") and "/tree/" not in self.path
            body = b'{"id": "owner/model"}' if known else b"{}"  # a hub would name the revision and the files
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.sandbox
@pytest.mark.torch
def test_with_a_gpu_and_a_hub_it_takes_the_larger_model(start: Start, tmp_path: Path, hub: str) -> None:
    """The script says so and how long it takes; here the hub cannot send the weights, which is a clear error."""
    fake(tmp_path / "nvidia-smi", "exit 0")
    more = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SCA_RUN": str(tmp_path / "run")}
    _, err = finished(start(HF_ENDPOINT=hub, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "hub"), **more), code=4)
    assert "There are a GPU and a model hub, so a larger model is used (SCA_MODEL=embedded:smollm2-135m: the" in err
    assert "sca: transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct improves itself." in err
    assert "sca challenge: 'Qwen/Qwen2.5-Coder-0.5B-Instruct' is neither" in err or "sca challenge: cannot fetch" in err


# ---------------------------------------------------------------- the set-up, examples/environment.sh


@pytest.fixture
def set_up(tmp_path: Path) -> Callable[..., list[str]]:
    """Return a function that runs the quickstart where its set-up must fail, and returns the lines of stderr after
    "installing into".
    """
    fakes = tmp_path / "fakes"
    fakes.mkdir()

    def run(venv: Path, fake_programs: dict[str, str]) -> list[str]:
        for name, code in fake_programs.items():
            fake(fakes / name, code)
        variables = {"PATH": f"{fakes}:/usr/bin:/bin", "HOME": str(tmp_path), "SCA_VENV": str(venv)}
        ended = subprocess.run(
            ["sh", str(QUICKSTART)],
            env=variables | {"SCA_RUN": str(tmp_path / "run")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (ended.returncode, ended.stdout) == (4, ""), ended.stderr
        assert not (tmp_path / "run").exists()
        lines = ended.stderr.splitlines()
        (first,) = [index for index, line in enumerate(lines) if line.startswith("error: ")]
        return lines[first:]

    return run


def test_without_a_python_of_today_it_says_what_to_install(tmp_path: Path, set_up) -> None:
    """Every Python on the PATH is too old or does not start, as a shim of pyenv: one line says so."""
    lines = set_up(tmp_path / "venv", {name: "echo 'pyenv: not installed' >&2; exit 127" for name in PYTHONS})
    assert lines == [
        f"error: no Python >= 3.12 with venv found; install one, or name it: PYTHON=/path/to/python3.12 sh {QUICKSTART}"
    ]


@pytest.mark.parametrize("fails", ["pip", "uv"])
def test_an_index_that_does_not_answer_is_one_line_and_a_hint(tmp_path: Path, set_up, fails: str) -> None:
    """The last error of pip or uv is shown, then what to check; the packages do not count as installed."""
    said = {
        "pip": "ERROR: Could not find a version that satisfies the requirement uv>=0.9",
        "uv": "  Caused by: error sending request for url (https://index.example/simple/torch/)",
    }[fails]
    failing = f"echo 'Looking for packages'; echo '{said}' >&2; echo 'try later' >&2; exit 1"
    venv = installed(tmp_path / "venv", python=failing if fails == "pip" else "exit 0", stamp=False)
    fake(venv / "bin/uv", failing)
    error, *hint = set_up(venv, {})
    assert error == f"error: {said}"
    assert hint[0].startswith("hint: check the network and the package index (pip's settings), and the disk (")
    assert hint[-1].endswith(f"The whole log: {venv}/install.log")
    assert not (venv / "sca-installed").exists()


def test_a_missing_system_library_is_named_with_its_command(tmp_path: Path, set_up) -> None:
    """nsjail's library is not there, and apt-get, which root would use, does not bring it."""
    venv = installed(tmp_path / "venv", python="exit 1")
    lines = set_up(venv, {"apt-get": "exit 100"})
    assert lines == ["error: nsjail needs a system library; run: sudo apt-get install libnl-route-3-200"]


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The exit code is 4 if the directory of the virtual environment cannot be created."""
    (tmp_path / "file").touch()
    variables = environment({"SCA_VENV": str(tmp_path / "file/venv"), "SCA_RUN": str(tmp_path / "run")})
    ended = subprocess.run(["sh", str(QUICKSTART)], env=variables, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (4, b"")
    assert shutil.which("mkdir") and b"mkdir: " in ended.stderr
