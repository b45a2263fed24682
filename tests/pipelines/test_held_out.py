"""No stage before `sca eval` opens the file of held-out tasks: the kernel reports every open, by any process."""

import ctypes
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import environment
from loop_script import code

from sca_cli.commands.challenge import MethodName

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

PACKAGE = Path(__file__).parents[2] / "examples" / "plugin" / "sca_library"
MARKER = "the marmalade cat"
_IN_ACCESS, _IN_OPEN = 0x1, 0x20

LEND = "lend('Ada', 'Dune')\nfinal_answer(loans_of('Ada'))"
WRONG = ["final_answer([])", "lend('Cleo', 'Dune')\nfinal_answer([])", "lend('Ada', 'Emma')\nfinal_answer([])"]
LOOK = """print([copies_left(title) for title in ('Dune', 'Emma', 'Ivanhoe', 'Ulysses')])
print(loans_of('Ada'), loans_of('Ben'), loans_of('Cleo'))
print(lend('Ada', 'Dune'), lend('Cleo', 'Emma'), loans_of('Ada'))"""
TASK = (
    "<instruction>I am Ada. Please lend me Dune.</instruction>"
    "<evaluation_function>\ndef evaluate():\n    return loans_of('Ada') == ['Dune']\n</evaluation_function>"
    f"<solution>\n{LEND}\n</solution>" + "".join(f"<failure_case>\n{case}\n</failure_case>" for case in WRONG)
)
RULES: list[dict[str, Any]] = [
    {"when": "^Instruction: .*Final answer:", "replies": ["Status: success"]},
    {"when": "Replace each ... by a new", "replies": [code(LEND)]},
    {
        "when": "Values that must stand in the question",
        "replies": ["Please lend Dune to Ada. What does Ada hold then?"],
    },
    {"when": "Three wrong ones:$", "replies": ["\n".join(map(code, WRONG))]},
    {
        "when": "Must be named: ",
        "replies": [
            "How many copies of Dune, Emma, Ivanhoe and Ulysses are left, and what did Ada, Ben and Cleo lend?"
        ],
    },
    {"when": "copies of Dune, Emma", "replies": [code("final_answer(copies_left('Dune'))")]},
    {"when": "Propose a task", "replies": ["<instruction>I am Ada. Please lend me Dune.</instruction>"]},
    {"when": "evaluation.function", "anywhere": True, "replies": [TASK]},
    {"when": "lend (me )?Dune", "replies": [code(LEND)]},
    {"replies": [code(LOOK)]},
]
"""Replies for every stage and every method of `challenge`; a method that asks in other words needs its own rule."""


class Watch:
    """Tells whether a file was opened or read since it was last asked, by whichever process under whatever name."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_ACCESS | _IN_OPEN) >= 0

    def opened(self) -> bool:
        """Take in what happened."""
        try:
            return bool(os.read(self._descriptor, 1 << 16))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Stop watching."""
        os.close(self._descriptor)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Install a copy of the example plugin, with one held-out task that holds a marker; return where it is."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "sca_library", ignore=shutil.ignore_patterns("__pycache__"))
    about = site / "sca_library-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sca-library\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[sca]\nlibrary = sca_library\n")
    task = json.loads((PACKAGE / "eval.jsonl").read_text().splitlines()[0])
    task["instruction"] = f"I am Ada. Please lend me Dune, for {MARKER}."
    (site / "sca_library" / "eval.jsonl").write_text(json.dumps(task) + "\n")
    site.chmod(0o755)  # the jail's user reads it, as it reads site-packages
    return site


@pytest.fixture
def held_out(library: Path) -> Iterator[Watch]:
    """Watch the file of held-out tasks."""
    watch = Watch(library / "sca_library" / "eval.jsonl")
    yield watch
    watch.close()


type Run = Callable[[str], bytes]


@pytest.fixture
def run(tmp_path: Path, library: Path, script: Callable[..., str]) -> Run:
    """Return a function that runs `sca` in the library with the scripted model and returns what it wrote."""
    model = script(*RULES)
    settings = {"PYTHONPATH": str(library), "SCA_MODEL": model, "OMP_NUM_THREADS": "1"}

    def run(line: str) -> bytes:
        ended = subprocess.run(
            ["sh", "-c", f"sca {line}".replace("MODEL", model)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=tmp_path,
            env=environment(settings),
            timeout=300,
            check=False,
        )
        assert ended.returncode in (0, 1), ended.stderr.decode()  # 1: `verify` keeps no task without a check
        return ended.stdout

    return run


ALWAYS = ("cat", "compose")
"""Methods that run by default: one whose model writes all of a task, and one whose model writes the question only."""


@pytest.mark.parametrize(
    "method", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in MethodName]
)
def test_no_stage_that_makes_training_data_opens_it(run: Run, held_out: Watch, tmp_path: Path, method: str) -> None:
    """Explore, challenge by each method, verify and rollout never open the file, and their output has none of its
    contents.
    """
    for made, line in (
        ("explorations", "explore -e library -n 2" + " --method walk" * (method == "walk")),
        ("candidates", f"challenge explorations --method {method} -n 9"),
        ("own", f"challenge -e library --method {method} -n 1 --all"),
        ("verified", "verify candidates --all"),
        ("agreed", "verify candidates --all --agree MODEL --attempts 2"),
        ("rollouts", "rollout candidates -k 1 --judge MODEL"),
    ):
        written = run(line)
        (tmp_path / made).write_bytes(written)
        assert not held_out.opened(), line
        assert written, f"{line}: nothing was made; RULES has no reply for it"
        assert MARKER.encode() not in written
    if method != "walk":  # the scripted model has no reply that solves a task drawn from the world
        assert b'"outcome":"pass"' in (tmp_path / "rollouts").read_bytes()


@pytest.mark.torch
def test_training_does_not_open_it(run: Run, held_out: Watch, tmp_path: Path) -> None:
    """Training on rollouts, on solutions, on a control, on attempts of its own, and distilling leave the file shut."""
    pytest.importorskip("peft", reason="needs the train extra")
    from tiny_model import save_model

    save_model(tmp_path / "base")
    (tmp_path / "tasks").write_bytes(run("challenge -e library -n 2"))
    (tmp_path / "rollouts").write_bytes(run("rollout tasks -k 1"))
    (tmp_path / "proven").write_bytes(run("verify tasks --paper"))
    small = "--epochs 1 --lora-rank 2 --device cpu --threads 1"
    for line in (
        f"train rollouts --base base --save a {small}",
        f"train tasks -k 1 --base base --save b {small}",
        f"train proven --on solutions --base base --save d {small}",
        f"train rollouts --control random-rollouts --base base --save e {small}",
        f"train proven --on both -k 1 --max-tokens 8 --model transformers:base --save f {small}",
        f"distill tasks -k 1 --teacher MODEL --student base --save c {small}",
    ):
        written = run(line)
        assert json.loads(written)["kind"] == "checkpoint"
        assert not held_out.opened(), line


def test_eval_opens_it(run: Run, held_out: Watch, tmp_path: Path) -> None:
    """The test above can fail: the watch sees `eval --env`, whose attempts hold what the file says."""
    run("eval -e library -k 1 --rollouts kept")
    assert held_out.opened()
    assert MARKER in (tmp_path / "kept").read_text()


def test_a_world_that_opens_it_is_seen(run: Run, library: Path, held_out: Watch) -> None:
    """An environment that reads its held-out tasks inside the jail, where it may, is found out by the watch."""
    with (library / "sca_library" / "environment.py").open("a") as file:
        file.write(
            "\nclass Peeking(LibraryEnvironment):\n    def reset(self, seed):\n"
            "        self.eval_path().read_text()\n        super().reset(seed)\nLibraryEnvironment = Peeking\n"
        )
    run("explore -e library -n 1")
    assert held_out.opened()
