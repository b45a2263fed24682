"""Frames: their values, the values that they refuse, and that no memory is allocated for an illegal length."""

import math
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca_cli.sandbox import wire

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def nested(depth: int) -> Any:
    """Return lists within lists."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@given(_json)
def test_every_json_value_survives(value: Any) -> None:
    """A value of JSON types is the same after `dumps` and `loads`."""
    assert wire.loads(wire.dumps(value)) == value


@pytest.mark.parametrize("value", [{1}, b"x", object(), {"a": [1j]}, {(1, 2): 3}])
def test_other_types_are_type_errors(value: Any) -> None:
    """Sending a value that is not of JSON types raises TypeError."""
    with pytest.raises(TypeError):
        wire.dumps(value)


@pytest.mark.parametrize(
    "value",
    [math.nan, -math.inf, "\ud800", nested(101), nested(50000), 10**5000],
    ids=["nan", "infinity", "surrogate", "deep", "very-deep", "long"],
)
def test_values_no_reader_would_take_are_refused(value: Any) -> None:
    """The sender refuses a number that is not finite or too long, a text that is not UTF-8, and deep nesting."""
    with pytest.raises(ValueError):
        wire.dumps(value)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"NaN", b"[1,Infinity]", b"\xff", b"[" * 200 + b"]" * 200, b"[" * 200000, b"9" * 5000],
    ids=len,
)
def test_a_hostile_text_is_a_frame_error(text: bytes) -> None:
    """Text that is not JSON, or too deep, raises FrameError and nothing else."""
    with pytest.raises(wire.FrameError):
        wire.loads(text)


def test_frames_arrive_whole_and_in_order() -> None:
    """Frames that arrive in pieces or together come out one by one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel = wire.Channel(theirs.fileno())
        data = wire.frame(b"one") + wire.frame(b"") + wire.frame(b"three")
        ours.sendall(data[:5])
        assert channel.feed() and channel.next(10) is None
        ours.sendall(data[5:])
        assert [channel.receive(10) for _ in range(3)] == [b"one", b"", b"three"]
        ours.close()
        with pytest.raises(EOFError):
            channel.receive(10)


def test_a_claimed_length_over_the_limit_is_refused_before_it_is_read() -> None:
    """A header of four gigabytes raises FrameError at once."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"\xff\xff\xff\xff")
        with pytest.raises(wire.FrameError):
            wire.Channel(theirs.fileno()).receive(1 << 20)
