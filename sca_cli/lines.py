"""Read files as lines of bytes, plain or gzip. Only one line is in memory, and its length is limited.

A file that is not text in UTF-8 (UTF-16, another compression, a table) is rejected with the command that converts it.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

from sca_cli.errors import MissingError, RecordError

MAX_LINE_BYTES = 32 << 20
"""A longer line is an error, because the input must not decide how much memory is used. Chosen by hand."""

_CHUNK_BYTES = 1 << 16
_GZIP = b"\x1f\x8b"
_CUT = "the program that wrote it was stopped in the middle"
_NOT_LINES = (
    # pattern at the beginning of a file, what the file is, how to convert it
    (rb"\xff\xfe|\xfe\xff|[\s{\[]\0|\0[\s{\[]", "UTF-16 text", "iconv -f UTF-16 -t UTF-8 FILE"),
    (rb"\x28\xb5\x2f\xfd", "a zstd file", "zstd -dc FILE"),
    (rb"BZh[1-9]", "a bzip2 file", "bzip2 -dc FILE"),
    (rb"\xfd7zX", "an xz file", "xz -dc FILE"),
    (rb"PK\x03\x04", "a zip file", "unzip -p FILE"),
    (rb"PAR1", "a Parquet file", "write its rows as JSON, one record a line"),
)


class Line(NamedTuple):
    """One line of a file."""

    number: int
    """Counts from 1."""
    content: bytes | RecordError
    """The line without its line end, or the error if it cannot be read; the error's message contains the place."""
    ended: bool = True
    """False for a last line without a newline."""


def name_of(path: str) -> str:
    """Return the name of an input for messages; `-` is standard input."""
    return "stdin" if path == "-" else path


def fail_if_unreadable(paths: Iterable[str]) -> None:
    """Check before any work that all inputs are there.

    Raises:
        MissingError: one of them is absent, a directory, or may not be read.
    """
    for path in paths:
        if path != "-" and (os.path.isdir(path) or not os.access(path, os.R_OK)):  # noqa: PTH112  names as the user wrote them
            with opened(path) as descriptor:
                _read(descriptor, path)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """Context manager: open an input; `-` is standard input.

    Raises:
        MissingError: it cannot be opened.
    """
    if path == "-":
        yield 0
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise MissingError(f"cannot read {path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lines_of(path: str) -> Iterator[Line]:
    """Yield the lines of a file; `-` is standard input.

    It reads the descriptor directly: at exit, Python cannot stop a thread that blocks in a buffered stdin.

    Raises:
        RecordError: the file is not text in UTF-8.
        MissingError: it cannot be read.
    """
    name = name_of(path)
    with opened(path) as descriptor:
        pending = bytearray()
        number, skipping = 1, False
        try:
            for chunk in _text(_chunks(descriptor, name), name):
                searched = len(pending)
                pending += chunk
                start = 0
                while (end := pending.find(b"\n", max(start, searched))) >= 0:
                    if not skipping:
                        yield Line(number, bytes(pending[start:end]))
                    number, skipping, start = number + 1, False, end + 1
                del pending[:start]
                if len(pending) > MAX_LINE_BYTES and not skipping:
                    skipping = True
                    message = f"{name}:{number}: line is longer than {MAX_LINE_BYTES >> 20} MiB"
                    yield Line(number, RecordError(message))
                if skipping:
                    pending.clear()
        except (EOFError, zlib.error) as error:
            problem = "the gzip data is cut short" if isinstance(error, EOFError) else f"not valid gzip data: {error}"
            yield Line(number, RecordError(f"{name}:{number}: {problem}", _CUT), ended=False)
            return
        if pending:
            yield Line(number, bytes(pending), ended=False)


def count(path: str, size: int | None = None) -> int:
    """Return the number of lines in the first `size` bytes of a file; None means all.

    Raises:
        RecordError, MissingError: as `lines_of`.
    """
    if size == 0:
        return 0
    with opened(path) as descriptor:
        try:
            return sum(chunk.count(b"\n") for chunk in _text(_chunks(descriptor, path, size), path))
        except (EOFError, zlib.error):
            return 0  # the number is for the progress only; reading the lines reports the error


def _chunks(descriptor: int, name: str, size: int | None = None) -> Iterator[bytes]:
    left = size
    while chunk := _read(descriptor, name, _CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES)):
        yield chunk
        left = None if left is None else left - len(chunk)


def _read(descriptor: int, name: str, size: int = 1) -> bytes:
    try:
        return os.read(descriptor, size)
    except OSError as error:
        raise MissingError(f"cannot read {name}: {error.strerror}") from error


def _text(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Yield the text of a file from its bytes: decompress gzip, and reject what is not UTF-8."""
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= 4:
            break
    for pattern, kind, cure in _NOT_LINES:
        if re.match(pattern, first):
            raise RecordError(f"{name}: {kind}, where JSON lines in UTF-8 are expected", f"convert it: {cure}")
    chunks = chain([first], chunks)
    return _inflated(chunks) if first.startswith(_GZIP) else chunks


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip data of one or more members, at most `_CHUNK_BYTES` at a time.

    Raises:
        EOFError: the data ends within a member.
        zlib.error: it is not gzip data.
    """
    member, is_new = zlib.decompressobj(wbits=31), True
    for chunk in chunks:
        data = chunk.lstrip(b"\0") if is_new else chunk  # some programs fill up a file with zeros
        while True:
            text = member.decompress(data, _CHUNK_BYTES)
            is_new = is_new and not data
            data = member.unconsumed_tail
            if text:
                yield text
            if member.eof:
                data = member.unused_data.lstrip(b"\0")
                member, is_new = zlib.decompressobj(wbits=31), True
            if not data and len(text) < _CHUNK_BYTES:
                break
    if not is_new:
        raise EOFError
