"""Broken bytes: whatever reads what a stranger wrote fails in its own way, and soon. Longer: `benchmarks/fuzz.py`."""

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import fuzz

_number = st.integers(0, 2**16 - 1)
_edits = st.lists(st.tuples(st.sampled_from(fuzz.EDITS), _number, _number, _number), min_size=1, max_size=8)


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_what_is_whole_is_taken(target: str) -> None:
    """The examples that are broken up below are valid before; a stream of frames then ends."""
    function, _ = fuzz.TARGETS[target]
    for data in fuzz.examples(target):
        if target == "channel":
            with pytest.raises(EOFError):
                function(data)
        else:
            function(data)


@pytest.mark.parametrize("target", [target for target in fuzz.TARGETS if target != "finite"])
@settings(max_examples=300)
@given(start=_number, edits=_edits)
def test_broken_bytes_are_errors_of_its_own_kind(target: str, start: int, edits: list[fuzz.Edit]) -> None:
    """A reader of edited frames or records takes them, or raises what its docstring says, and nothing else."""
    function, own = fuzz.TARGETS[target]
    seeds = fuzz.examples(target)
    with suppress(own):
        function(fuzz.edited(seeds[start % len(seeds)], edits, seeds))


def test_numbers_beyond_the_floats_are_refused() -> None:
    """A frame cannot bring an infinity in by way of an exponent."""
    with pytest.raises(fuzz.TARGETS["finite"][1]):
        fuzz.finite(b"[1e999]")


def test_edits_reach_every_byte() -> None:
    """Each kind of edit makes its change at the chosen place of an example."""
    data, others = b"abcdef", [b"uvwxyz"]
    made = {kind: fuzz.edited(data, [(kind, 2, 1, 2)], others) for kind in fuzz.EDITS}
    assert made == {
        "flip": b"abadef",
        "cut": b"ab",
        "delete": b"abef",
        "double": b"abcdcdef",
        "insert": b"ab\x00cdef",
        "splice": b"abvwxyz",
    }
