"""Frames between host, jail and world: four bytes of length (little-endian), then JSON text in UTF-8.

JSON types only, never pickle. NaN and infinities are not JSON and are refused by the sender (`dumps`) and by
the receiver (`loads`); so are lone surrogates, which UTF-8 cannot hold. A value nested deeper than MAX_DEPTH
is refused, so that no later reader of a record can be made to overflow its stack. Only the standard library
is imported: this module runs inside the jail.
"""

import json
import math
import os
import struct
from typing import Any

MAX_DEPTH = 100
CHUNK = 65536  # bytes read at once
_HEADER = struct.Struct("<I")


class FrameError(Exception):
    """The other side sent something that is not a frame within the limits."""


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    if (value := float(text)) in (math.inf, -math.inf):
        raise ValueError(f"{text} is beyond the range of a float")
    return value


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def check_depth(value: Any, brackets: int) -> None:
    """Refuse a value that is nested deeper than MAX_DEPTH.

    Args:
        value: made of JSON types.
        brackets: how many opening brackets its text has; with few there is nothing to look for.

    Raises:
        ValueError: it is.
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
        TypeError: a part of it is not of a JSON type.
        ValueError: of JSON types, but not finite, circular, nested too deeply or with a lone surrogate.
    """
    try:
        text = _encode(value)
        check_depth(value, text.count("[") + text.count("{"))
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    return text.encode()


def loads(data: bytes | bytearray) -> Any:
    """Read JSON text that a stranger wrote.

    Raises:
        FrameError: it is not JSON, or nested too deeply.
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
    """One end of a stream of frames over a descriptor, which the caller owns."""

    __slots__ = ("buffer", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.buffer = bytearray()

    def feed(self) -> bool:
        """Read once into the buffer. False when the other side is gone."""
        try:
            data = os.read(self.fd, CHUNK)
        except ConnectionError:
            return False
        self.buffer += data
        return bool(data)

    def next(self, limit: int) -> bytes | None:
        """Take a frame out of the buffer, None if it is not whole yet.

        Raises:
            FrameError: the frame is longer than `limit` bytes; nothing was allocated for it.
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
        """Wait for a frame.

        Raises:
            EOFError: the other side is gone.
            FrameError: the frame is longer than `limit` bytes.
        """
        while (payload := self.next(limit)) is None:
            if not self.feed():
                raise EOFError
        return payload

    def send(self, payload: bytes) -> None:
        """Write one frame, waiting for room.

        Raises:
            OSError: the other side is gone.
        """
        data = frame(payload)
        sent = os.write(self.fd, data)
        while sent < len(data):
            sent += os.write(self.fd, memoryview(data)[sent:])
