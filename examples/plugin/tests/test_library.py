"""The environment `library`: its tools, its state, and everything that `sca env test` checks."""

import subprocess
import sys

import pytest
from sca_library.environment import LibraryEnvironment

from sca_cli import ToolError


@pytest.fixture
def world() -> LibraryEnvironment:
    """Return the environment with the state of seed 1."""
    made = LibraryEnvironment(limit="1")
    made.reset(1)
    return made


def test_a_loan_and_a_return_cancel_out(world: LibraryEnvironment) -> None:
    """What is lent and taken back leaves the state as it was."""
    before = world.copies_left("Dune")
    assert world.lend("Ada", "Dune") == 1
    assert (world.copies_left("Dune"), world.loans_of("Ada")) == (before - 1, ["Dune"])
    assert world.take_back("Ada", "Dune") == 0
    assert (world.copies_left("Dune"), world.loans_of("Ada")) == (before, [])


def test_rules_are_refusals(world: LibraryEnvironment) -> None:
    """The limit, a book nobody holds and unknown names are errors that a model can read."""
    with pytest.raises(ToolError, match="as many books as allowed"):
        world.lend("Ben", "Emma")
    with pytest.raises(ToolError, match="Ada does not hold 'Emma'"):
        world.take_back("Ada", "Emma")
    with pytest.raises(ToolError, match="no book 'Moby'"):
        world.copies_left("Moby")
    with pytest.raises(ToolError, match="no member 'Dan'"):
        world.loans_of("Dan")


def test_it_keeps_what_every_environment_promises() -> None:
    """`sca env test` finds nothing wrong: state, tools, sessions and held-out tasks."""
    tested = subprocess.run(
        [sys.executable, "-m", "sca_cli.app", "env", "test", "library"], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
