"""Frames that host, jail and world exchange: four bytes of length (little-endian), then JSON text in UTF-8.

Frames contain JSON types only, never pickle. The sender (`dumps`) and the receiver (`loads`) both reject NaN and
infinities, which are not JSON, and lone surrogates, which UTF-8 cannot encode. Both also reject a value nested deeper
than MAX_DEPTH, so that no later reader of a record overflows its stack. This module runs inside the jail and imports
only the standard library.
"""

import json
import math
import os
import struct
from typing import Any

MAX_DEPTH = 100
CHUNK = 65536  # bytes per read
_HEADER = struct.Struct("<I")


class FrameError(Exception):
    """The other side sent something that is not a frame within the limits."""


def _reject(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    if (value := float(text)) in (math.inf, -math.inf):
        raise ValueError(f"{text} is beyond the range of a float")
    return value


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_constant=_reject, parse_float=_finite).decode


def check_depth(value: Any, brackets: int) -> None:
    """Raise an error if a value is nested deeper than MAX_DEPTH.

    Args:
        value: made of JSON types.
        brackets: the number of opening brackets in its text; if it is at most MAX_DEPTH, the value is not searched.

    Raises:
        ValueError: the value is nested too deeply.
    """
    if brackets <= MAX_DEPTH:
        return
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        inner: list[Any] = []
        for outer in level:
            if isinstance(outer, dict):
                inner += outer.values()
            elif isinstance(outer, list | tuple):
                inner += outer
        level = inner


def dumps(value: Any) -> bytes:
    """Return the JSON text of a value.

    Raises:
        TypeError: a part of the value is not of a JSON type.
        ValueError: the value is not finite, circular, nested too deeply, or contains a lone surrogate.
    """
    try:
        text = _encode(value)
        check_depth(value, text.count("[") + text.count("{"))
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    return text.encode()


def loads(data: bytes | bytearray) -> Any:
    """Parse JSON text from an untrusted sender.

    Raises:
        FrameError: the text is not JSON, or is nested too deeply.
    """
    try:
        text = data.decode()
        value = _decode(text)
        check_depth(value, text.count("[") + text.count("{"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {error}") from None
    return value


def frame(payload: bytes) -> bytes:
    """Return the payload with its length in front."""
    return _HEADER.pack(len(payload)) + payload


class Channel:
    """One end of a stream of frames over a descriptor. The caller owns the descriptor."""

    __slots__ = ("buffer", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.buffer = bytearray()

    def feed(self) -> bool:
        """Read once into the buffer. Return False if the other side is closed."""
        try:
            data = os.read(self.fd, CHUNK)
        except ConnectionError:
            return False
        self.buffer += data
        return bool(data)

    def next(self, limit: int) -> bytes | None:
        """Remove one frame from the buffer and return it, or return None if no frame is complete yet.

        Raises:
            FrameError: the frame is longer than `limit` bytes; no memory was allocated for it.
        """
        if len(self.buffer) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(self.buffer)
        if size > limit:
            raise FrameError(f"a frame of {size} bytes, more than {limit}")
        end = _HEADER.size + size
        if len(self.buffer) < end:
            return None
        payload = bytes(self.buffer[_HEADER.size : end])
        del self.buffer[:end]
        return payload

    def receive(self, limit: int) -> bytes:
        """Wait for one frame and return it.

        Raises:
            EOFError: the other side is closed.
            FrameError: the frame is longer than `limit` bytes.
        """
        while (payload := self.next(limit)) is None:
            if not self.feed():
                raise EOFError
        return payload

    def send(self, payload: bytes) -> None:
        """Write one frame; wait until all of it is written.

        Raises:
            OSError: the other side is closed.
        """
        data = frame(payload)
        sent = os.write(self.fd, data)
        while sent < len(data):
            sent += os.write(self.fd, memoryview(data)[sent:])
