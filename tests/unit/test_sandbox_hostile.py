"""Programs that try to leave the jail, to enter it, to outlive it or to forge a verdict.

None of them succeeds, and honest programs that run at the same time or later get the right verdict.
`tests/hostile.jsonl` holds them, one a line, as `sca_cli.doctor.corpus.Hostile`. The same programs also run under
weak set-ups (`tests/controls.py`), to prove that they do harm there.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import unprivileged

from sca_cli.doctor import corpus, layers
from sca_cli.doctor.corpus import Arena, Hostile

TESTS = Path(__file__).parents[1]
FILE = str(TESTS / "hostile.jsonl")
PROGRAMS = corpus.read([FILE])
BESIDE = corpus.read(sorted(map(str, TESTS.parent.parent.glob("*/hostile/*.jsonl"))))
"""More hostile programs, from a `hostile` folder next to the checkout if there is one."""
GROUPS = {
    "resources", "files", "network", "processes", "kernel", "forging", "nondeterminism", "check", "pairs",
}  # fmt: skip
BITES = 4
"""Number of programs of each group that run under a weak set-up."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """Return a place to run the corpus in."""
    with Arena(layers.environment()) as opened:
        yield opened


def test_the_corpus_is_whole() -> None:
    """The corpus has nine groups of at least ten programs, and each program has its own id, an aim and a sign of
    success.
    """
    groups = Counter(program.group for program in PROGRAMS)
    assert set(groups) == GROUPS
    assert min(groups.values()) >= 10 and groups.total() >= 130
    assert len({program.id for program in PROGRAMS}) == groups.total()
    assert not [program.id for program in PROGRAMS if not program.tries or not program.breach]
    assert not [program.id for program in PROGRAMS if (program.group == "pairs") != bool(program.second)]


@pytest.mark.sandbox
@pytest.mark.parametrize("program", [*PROGRAMS, *BESIDE], ids=lambda program: program.id)
def test_a_hostile_program_gets_nothing(arena: Arena, program: Hostile) -> None:
    """No hostile program leaves a sign of a breach, such as a marker, a secret, a process, or a wrong verdict
    elsewhere.
    """
    assert arena.signs(program) == []


@pytest.mark.sandbox
def test_nobody_needs_to_be_root(tmp_path: Path) -> None:
    """All layers hold for an unprivileged user, in a user namespace."""
    if reason := unprivileged.why_not(tmp_path):
        pytest.skip(reason)
    report = as_nobody(["-m", "sca_cli.app", "doctor", "--json"], tmp_path)
    assert [layer for layer in report["layers"] if not layer["ok"]] == []


@pytest.mark.sandbox
@pytest.mark.slow
def test_nobody_is_as_safe_as_root(tmp_path: Path) -> None:
    """All layers hold for an unprivileged user, and the programs that fail under root fail too."""
    if reason := unprivileged.why_not(tmp_path):
        pytest.skip(reason)
    report = as_nobody(["-m", "sca_cli.app", "doctor", "--corpus", FILE, "--json"], tmp_path)
    assert [layer for layer in report["layers"] if not layer["ok"]] == []
    assert sum(group["run"] for group in report["corpus"].values()) == len(PROGRAMS)
    assert [name for group in report["corpus"].values() for name in group["through"]] == []


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", ["subprocess", "weak-nsjail"])
def test_the_corpus_bites(kind: str, tmp_path: Path) -> None:
    """Under a weak set-up, programs of every group do harm and the harm is detected."""
    report = as_nobody([str(TESTS / "controls.py"), kind, FILE, str(BITES)], tmp_path)
    assert report.keys() == GROUPS
    assert not [name for name, group in report.items() if not group["through"]]
    assert sum(len(group["through"]) for group in report.values()) > BITES * len(GROUPS) // 3


def as_nobody(arguments: list[str], aside: Path) -> dict[str, Any]:
    """Run Python as the unprivileged user, or as the current user where that is impossible; return the JSON it
    prints.
    """
    command = [sys.executable, *arguments] if unprivileged.why_not(aside) else unprivileged.python(arguments, aside)
    ended = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=300, check=False)
    assert ended.stdout, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report
