"""Fixtures shared by all tests: a registered shop, a sandbox, scripted models, and `sca` as a process."""

import atexit
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sca_cli import plugins
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox

settings.register_profile("all", derandomize=True, deadline=None, max_examples=200)
settings.register_profile("default", derandomize=True, deadline=None, max_examples=40)

BIN = Path(sys.prefix) / "bin"
_PR_SET_CHILD_SUBREAPER = 36

SHOP = EnvSpec(name="shop")
collect_ignore = ["fixtures"]  # benchmarks in small, with files named tasks_test.py


LEFT_OUT = ("slow", "weights", "vllm")
"""Marks of the tests that run with `--all` only, or where `-m` asks for them."""
_WARM = Path(__file__).with_name("warm")
_everything = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all`."""
    parser.addoption(
        "--all",
        action="store_true",
        help="run the slow tests too, start every sca as a new interpreter, and try 200 examples of each property",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose what `--all` chooses."""
    global _everything
    _everything = config.getoption("--all")
    settings.load_profile("all" if _everything else "default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that run with `--all` only."""
    if _everything or config.getoption("-m"):
        return
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in LEFT_OUT)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


# A shell without job control starts background jobs with Ctrl-C ignored, and their children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shop() -> EnvSpec:
    """Register the shop of `tests/worlds.py` and return its specification."""
    plugins.registry().environments["shop"] = plugins.Entry("shop", "worlds:Shop", "a shop", "", "tests")
    return SHOP


@pytest.fixture
def counter() -> EnvSpec:
    """Register the shop's counter, where an agent serves a customer, and return its specification."""
    plugins.registry().environments["counter"] = plugins.Entry("counter", "worlds:Counter", "a counter", "", "tests")
    return EnvSpec(name="counter")


@pytest.fixture
def add_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Return a function that installs a plugin: its entry point and its module's source."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)

    def write(name: str, source: str) -> None:
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[sca]\n{name} = {name}\n")
        (tmp_path / f"{name}.py").write_text(source)
        forget()

    def forget() -> None:
        plugins.registry.cache_clear()
        plugins.add_commands.cache_clear()

    saved = plugins.registry()
    yield write
    forget()
    plugins.registry().environments.update(saved.environments)
    for module in set(sys.modules) - modules:
        del sys.modules[module]


@pytest.fixture(scope="session")
def sandbox(shop: EnvSpec) -> Iterator[Sandbox]:  # noqa: ARG001  its tests use the shop
    """Give a real sandbox; its short limits make the tests of limits short."""
    with Sandbox(Limits(wall_s=2.0, cpu_s=5, memory_mb=128, output_bytes=4096, calls=20)) as opened:
        yield opened


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes the rules of a scripted model and returns what `--model` takes."""

    def write(*rules: dict[str, Any], name: str = "script", **options: object) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
        return ",".join([f"scripted:{path}", *(f"{key}={value}" for key, value in options.items())])

    return write


@pytest.fixture
def sca(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Return a function that runs `sca` in a process of its own."""

    def run(*arguments: object, stdin: bytes | None = None, env: dict[str, str] | None = None, **options: Any) -> Any:
        command = [sca_program(), *map(str, arguments)]
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        return subprocess.run(
            command,
            capture_output=True,
            timeout=300,  # the first call that trains waits for imports
            cwd=options.pop("cwd", tmp_path),
            env=environment(env),
            check=False,
            **given,
            **options,
        )

    return run


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment variables of a test's process: nothing of the user's settings for `sca`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SCA_") or key == "SCA_NSJAIL"}
    return kept | {"PATH": f"{path_of_sca()}:{os.environ['PATH']}", "NO_COLOR": "1"} | (more or {})


def path_of_sca() -> str:
    """Return the part of $PATH where processes find `sca` and `python`."""
    return str(BIN) if _everything else f"{_warm_server()}:{BIN}"


def sca_program() -> str:
    """Return the path of `sca`: the installed one with `--all`, else a client of the warm server."""
    return str((BIN if _everything else _warm_server()) / "sca")


@cache
def _warm_server() -> Path:
    """Start `tests/warm/server.py`, which ends with this process, and return the directory of its client `sca`.

    The server removes the directory when it ends.
    """
    directory = Path(tempfile.mkdtemp(prefix="sca-warm-"))
    client = directory / "sca"
    client.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {_WARM / "client.py"} {directory} "$@"\n')
    client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, "-P", str(_WARM / "server.py"), str(directory), str(BIN)],
        stdin=subprocess.PIPE,  # it reads the end of this process from it
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert server.stdin and server.stdout
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    return directory


@pytest.fixture
def outside(tmp_path: Path) -> str:
    """Install `tests/worlds.py` as a third-party package and return the PYTHONPATH with which processes find it."""
    folder = tmp_path / "outside"
    about = folder / "outside_shop-1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("worlds.py"), folder / "outside_shop.py")
    with (folder / "outside_shop.py").open("a") as file:
        file.write(
            "from sca_cli import hookimpl\n@hookimpl\ndef sca_register_environments(register):\n"
            "    register('corner-shop', 'outside_shop:Shop', help='a shop')\n"
            "    register('counter', 'outside_shop:Counter', help='a counter')\n"
        )
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-shop\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sca]\nshop = outside_shop\n")
    return str(folder)


@pytest.fixture
def no_strays() -> Iterator[None]:
    """Fail a test that leaves processes behind: this process becomes the parent of orphans and looks for them."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(descendants(os.getpid()))
    yield
    deadline = time.monotonic() + 10
    while left := {
        pid: name for pid, name in descendants(os.getpid()).items() if pid not in before and name != "sca-warm"
    }:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.02)


def install(plugin: Path, site: Path) -> None:
    """Do what `pip install` does without an index: build the wheel and unpack it."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(site.parent / "dist")]
    subprocess.run(build, cwd=plugin, check=True, capture_output=True)
    (wheel,) = (site.parent / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    site.chmod(0o755)  # the jail's user reads it, as it reads site-packages


def descendants(root: int) -> dict[int, str]:
    """Return pid → name of the living descendants of a process; our own dead ones are reaped."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = entry.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid, _, name = head.partition(" (")
        state, parent = tail.split()[:2]
        if state == "Z" and int(parent) == os.getpid():
            _reap(int(pid))
        elif state != "Z":
            parents[int(pid)], names[int(pid)] = int(parent), name
    found: dict[int, str] = {}
    level = {root}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found.keys()
        found |= {pid: names[pid] for pid in level}
    return found


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
