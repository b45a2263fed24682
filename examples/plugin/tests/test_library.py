"""Test the environment `library`: its tools, its state, and everything that `sca env test` checks."""

import subprocess
import sys

import pytest
from sca_library.environment import LibraryEnvironment

from sca_cli import ToolError


@pytest.fixture
def world() -> LibraryEnvironment:
    """Return the environment in the state of seed 1."""
    environment = LibraryEnvironment(limit="1")
    environment.reset(1)
    return environment


def test_a_loan_and_a_return_cancel_out(world: LibraryEnvironment) -> None:
    """A book that is lent and taken back leaves the state unchanged."""
    before = world.copies_left("Dune")
    assert world.lend("Ada", "Dune") == 1
    assert (world.copies_left("Dune"), world.loans_of("Ada")) == (before - 1, ["Dune"])
    assert world.take_back("Ada", "Dune") == 0
    assert (world.copies_left("Dune"), world.loans_of("Ada")) == (before, [])


def test_rules_are_refusals(world: LibraryEnvironment) -> None:
    """A call above the limit, of a book that the member does not hold, or of an unknown name raises `ToolError`."""
    with pytest.raises(ToolError, match="as many books as allowed"):
        world.lend("Ben", "Emma")
    with pytest.raises(ToolError, match="Ada does not hold 'Emma'"):
        world.take_back("Ada", "Emma")
    with pytest.raises(ToolError, match="no book 'Moby'"):
        world.copies_left("Moby")
    with pytest.raises(ToolError, match="no member 'Dan'"):
        world.loans_of("Dan")


def test_it_keeps_what_every_environment_promises() -> None:
    """`sca env test` finds no error in state, tools, sessions and held-out tasks."""
    result = subprocess.run(
        [sys.executable, "-m", "sca_cli.app", "env", "test", "library"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
