"""Programs that try to get out, to get in, to stay or to win: none does, and honest work beside and after is right.

`tests/hostile.jsonl` holds them, one a line, as `sca_cli.doctor.corpus.Hostile`. The same programs are run under
set-ups that do not hold (`tests/controls.py`), to see that they bite.
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
"""Those of others, where there are any beside the checkout."""
GROUPS = {
    "resources", "files", "network", "processes", "kernel", "forging", "nondeterminism", "check", "pairs",
}  # fmt: skip
BITES = 4
"""Programs of each group that are run under a set-up that does not hold."""


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    """Give a place to run the corpus in."""
    with Arena(layers.environment()) as opened:
        yield opened


def test_the_corpus_is_whole() -> None:
    """Nine groups of ten programs or more, each with an id of its own, what it tries and how it would show."""
    groups = Counter(program.group for program in PROGRAMS)
    assert set(groups) == GROUPS
    assert min(groups.values()) >= 10 and groups.total() >= 130
    assert len({program.id for program in PROGRAMS}) == groups.total()
    assert not [program.id for program in PROGRAMS if not program.tries or not program.breach]
    assert not [program.id for program in PROGRAMS if (program.group == "pairs") != bool(program.second)]


@pytest.mark.sandbox
@pytest.mark.parametrize("program", [*PROGRAMS, *BESIDE], ids=lambda program: program.id)
def test_a_hostile_program_gets_nothing(arena: Arena, program: Hostile) -> None:
    """No sign of a breach: marker, secret, verdict, listener, file, process, memory, or an honest check gone wrong."""
    assert arena.signs(program) == []


@pytest.mark.sandbox
def test_nobody_needs_to_be_root(tmp_path: Path) -> None:
    """Run by nobody, in a user namespace, all layers hold."""
    if reason := unprivileged.why_not(tmp_path):
        pytest.skip(reason)
    report = as_nobody(["-m", "sca_cli.app", "doctor", "--json"], tmp_path)
    assert [layer for layer in report["layers"] if not layer["ok"]] == []


@pytest.mark.sandbox
@pytest.mark.slow
def test_nobody_is_as_safe_as_root(tmp_path: Path) -> None:
    """Run by nobody, all layers hold and the same programs as for root get nothing."""
    if reason := unprivileged.why_not(tmp_path):
        pytest.skip(reason)
    report = as_nobody(["-m", "sca_cli.app", "doctor", "--corpus", FILE, "--json"], tmp_path)
    assert [layer for layer in report["layers"] if not layer["ok"]] == []
    assert sum(group["run"] for group in report["corpus"].values()) == len(PROGRAMS)
    assert [name for group in report["corpus"].values() for name in group["through"]] == []


@pytest.mark.sandbox
@pytest.mark.parametrize("kind", ["subprocess", "weak-nsjail"])
def test_the_corpus_bites(kind: str, tmp_path: Path) -> None:
    """Where nothing holds them, programs of every group get through, and it is noticed."""
    report = as_nobody([str(TESTS / "controls.py"), kind, FILE, str(BITES)], tmp_path)
    assert report.keys() == GROUPS
    assert not [name for name, group in report.items() if not group["through"]]
    assert sum(len(group["through"]) for group in report.values()) > BITES * len(GROUPS) // 3


def as_nobody(arguments: list[str], aside: Path) -> dict[str, Any]:
    """Run Python as nobody, or as who we are if nobody cannot, and return the JSON it prints."""
    command = [sys.executable, *arguments] if unprivileged.why_not(aside) else unprivileged.python(arguments, aside)
    ended = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=300, check=False)
    assert ended.stdout, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    return report
