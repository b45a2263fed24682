"""Read and write records as JSON lines, and keep the journal that `--resume` needs.

Standard input, standard output and files are covered. Each line is written completely or not at all. A run that is
killed at any moment leaves complete lines. `--resume` then continues after the last finished input and ends with the
same bytes. Memory use does not grow with the length of a stream.
"""

import errno
import hashlib
import io
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonlines
import msgspec

from sca_cli.errors import MissingError, RecordError, UsageError
from sca_cli.records import Record, decode, sealed

MAX_LINE_BYTES = 32 << 20
"""A longer line is an error, because the input must not decide how much memory is used. Chosen by hand."""

_CHUNK_BYTES = 1 << 16


# ---------------------------------------------------------------- reading


def is_piped() -> bool:
    """Return whether standard input is a pipe or a file, and not a terminal or /dev/null."""
    try:
        return not os.isatty(0) and not os.path.samestat(os.fstat(0), os.stat(os.devnull))  # noqa: PTH116  compares a descriptor with a path
    except OSError:
        return False


def line_count(paths: Iterable[str]) -> int | None:
    """Return the number of lines to read, or None if it is unknown because an input is a pipe."""
    paths = list(paths)
    if not all(os.path.isfile(path) for path in paths):  # noqa: PTH113  '-' is not a file
        return None
    return sum(_lines_within(path, os.path.getsize(path)) for path in paths)  # noqa: PTH202  file names as the user wrote them


def read(paths: Iterable[str], *kinds: type[Record], halves: list[str] | None = None) -> Iterator[Any]:
    """Read records from files; `-` is standard input.

    Args:
        paths: files, read one after the other.
        kinds: the accepted record classes; none means all.
        halves: a list that receives the place (`source:line`) of an incomplete line at the end of a file. Use it to
            read a file that another process is still writing. If None, an incomplete line is an error.

    Raises:
        RecordError: a line is not a record of these classes; the message starts with `source:line:`.
        MissingError: a file cannot be read.
    """
    for path in paths:
        name = "stdin" if path == "-" else path
        with _opened(path) as descriptor:
            reader = jsonlines.Reader(_lines(descriptor, name, halves), loads=partial(_loads, kinds))
            try:
                yield from reader.iter(skip_empty=True)
            except jsonlines.InvalidLineError as error:
                raise _line_error(error, name) from error


@contextmanager
def _opened(path: str) -> Iterator[int]:
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


def _lines(descriptor: int, name: str, halves: list[str] | None) -> Iterator[bytes]:
    """Split the bytes of a descriptor into lines, and keep only one line in memory.

    It reads the descriptor directly: at exit, Python cannot stop a thread that blocks in a buffered stdin.
    """
    pending = bytearray()
    number = 0
    while True:
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except OSError as error:
            raise MissingError(f"cannot read {name}: {error.strerror}") from error
        searched = len(pending)
        pending += chunk
        start = 0
        while (end := pending.find(b"\n", max(start, searched))) >= 0:
            number += 1
            yield bytes(pending[start:end])
            start = end + 1
        del pending[:start]
        if len(pending) > MAX_LINE_BYTES:
            raise RecordError(f"{name}:{number + 1}: line is longer than {MAX_LINE_BYTES >> 20} MiB")
        if not chunk:
            if pending and halves is not None and _is_half(pending):
                halves.append(f"{name}:{number + 1}")
            elif pending:
                yield bytes(pending)
            return


def _is_half(line: bytearray) -> bool:
    """Return whether a line is JSON text that was cut off before its end."""
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return re.search("truncated|invalid number", str(error)) is not None  # `1.` and `-` are cut-off numbers
    return False


def _loads(kinds: tuple[type[Record], ...], text: str) -> Record:
    try:
        record = decode(text)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if kinds and not isinstance(record, kinds):
        expected = " or ".join(f"'{kind_of(kind)}'" for kind in kinds)
        raise ValueError(f"'{kind_of(type(record))}' where {expected} is expected - at `$.kind`")
    return record


def kind_of(record_class: type[Record]) -> str:
    """Return the value of `kind` for a record class."""
    return str(record_class.__struct_config__.tag)


def _line_error(error: jsonlines.InvalidLineError, name: str) -> RecordError:
    where = f"{name}:{error.lineno}:"
    message = re.sub(r" \(line \d+\)$", "", str(error)).removeprefix("line contains invalid json: ")
    if "not valid utf-8" in message:
        return RecordError(f"{where} not valid UTF-8")
    if "truncated" in message:
        return RecordError(f"{where} line is cut short", "the program that wrote it was stopped in the middle")
    if unknown := re.search(r"unknown field `(.+?)`(?: - at `(.+?)`)?", message):
        return RecordError(
            f"{where} {unknown[2] or '$'}.{unknown[1]}: unknown field", "fields of your own go under 'extra'"
        )
    if located := re.fullmatch(r"(.*) - at `(.+?)`", message):
        return RecordError(f"{where} {located[2]}: {_plain(located[1])}")
    if missing := re.search(r"missing required field `(.+?)`", message):
        return RecordError(f"{where} $.{missing[1]}: missing")
    return RecordError(f"{where} not a record: {_plain(message)}")


def _plain(message: str) -> str:
    head = message[:1] if message[:4] == "JSON" else message[:1].lower()
    return head + message[1:].replace("`", "'")


# ---------------------------------------------------------------- writing


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the block ends, so that it cannot leave half a line in a pipe.

    Blocking the signal with a mask would not work: another thread may receive it, and Python still raises
    KeyboardInterrupt in this one.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupts: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupts:
        raise KeyboardInterrupt


class _WholeLines(io.RawIOBase):
    """A binary file that buffers data until `flush`. If the disk is full, it removes a half-written line."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self._name, self._pending = descriptor, name, bytearray()
        self.seekable_file = name != "stdout"

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pending += data
        return len(data)

    def flush(self) -> None:
        line, self._pending = memoryview(bytes(self._pending)), bytearray()
        start = self.tell() if self.seekable_file else 0
        try:
            with _uninterrupted():
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except OSError as error:
            if not self.seekable_file and error.errno == errno.EPIPE:
                raise BrokenPipeError(errno.EPIPE, "closed pipe") from error
            if self.seekable_file:
                os.ftruncate(self._descriptor, start)
            hint = "the lines before are complete; free disk space, then use --resume" if self.seekable_file else ""
            raise MissingError(f"cannot write {self._name}: {error.strerror}", hint) from error

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)


class Output:
    """The output of a command: kept records, rejected records, rollouts, and the journal of finished inputs.

    Args:
        path: the output file, or `-` for standard output.
        rejected: a file for rejected records, or None.
        rollouts: a file for the attempts made along the way, or None.
        inputs: the input files; no output may be one of them.
        resume: continue after the last input that the journal of `path` lists as finished.
        settings: all settings that affect the output; `--resume` works only with the same settings.

    Raises:
        UsageError: `--resume` without a file or with other settings, or `path` holds an unfinished run.
        MissingError: a file cannot be written.
    """

    def __init__(
        self,
        path: str,
        *,
        rejected: str | None,
        rollouts: str | None = None,
        resume: bool,
        settings: dict[str, Any],
        inputs: Iterable[str] = (),
    ) -> None:
        files = {
            option: name for option, name in (("-o", path), ("--rejected", rejected), ("--rollouts", rollouts)) if name
        }
        for name in files.values():
            _reject_overwriting(name, inputs)
        journalled = path != "-" and (os.path.isfile(path) or not os.path.exists(path))  # noqa: PTH110, PTH113  neither /dev/full nor a named pipe
        if resume and not journalled:
            raise UsageError("--resume needs -o FILE", "it continues from the output file")
        for (one, name), (other, same) in combinations(files.items(), 2):
            if name == same:
                raise UsageError(f"{one} and {other} name the same file")
        self._files = ExitStack()
        self._journal = _Journal(files, settings, resume) if journalled else None
        self.begun_at = self.finished = self._journal.finished if self._journal else 0
        """Number of inputs that an earlier run finished; they are skipped."""
        offsets = self._journal.offsets if self._journal and self._journal.offsets else [0] * len(files)
        self.kept = _lines_within(path, offsets[0])
        """Number of records in `path`, including those of an earlier run."""
        self._raw = [self._open(name, offset) for name, offset in zip(files.values(), offsets, strict=True)]
        self._writers = {
            option: jsonlines.Writer(raw, dumps=msgspec.json.encode, flush=True)  # type: ignore[arg-type]
            for option, raw in zip(files, self._raw, strict=True)
        }

    def _open(self, name: str, offset: int) -> _WholeLines:
        if name == "-":
            sys.stdout.flush()
            return _WholeLines(1, "stdout")
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._files.callback(os.close, descriptor)
            if os.path.isfile(name):  # noqa: PTH113  /dev/full and named pipes have no length
                os.ftruncate(descriptor, offset)
                os.lseek(descriptor, offset, os.SEEK_SET)
                return _WholeLines(descriptor, name)
        except OSError as error:
            raise MissingError(f"cannot write {name}: {error.strerror}") from error
        raw = _WholeLines(descriptor, name)
        raw.seekable_file = False
        return raw

    def remaining[T](self, items: Iterable[T], identify: Callable[[T], str]) -> Iterator[T]:
        """Return an iterator over the items that an earlier run did not finish.

        Args:
            items: all inputs, from the first one.
            identify: returns the text that identifies an item.

        Raises:
            UsageError: the skipped items are not those of the earlier run.
        """
        iterator = iter(items)
        last = ""
        for _ in range(self.finished):
            try:
                last = identify(next(iterator))
            except StopIteration:
                raise UsageError("--resume: the input has fewer records than the earlier run finished") from None
        if self._journal and self.finished and last != self._journal.last:
            raise UsageError(
                "--resume: the input differs from that of the earlier run",
                "use the same input, or remove the output file",
            )
        return iterator

    def write(
        self, identity: str, kept: Sequence[Record], rejected: Sequence[Record] = (), rollouts: Sequence[Record] = ()
    ) -> None:
        """Write the records of one input, then add it to the journal as finished."""
        self.kept += len(kept)
        for option, records in (("-o", kept), ("--rejected", rejected), ("--rollouts", rollouts)):
            for record in records if option in self._writers else ():
                self._writers[option].write(sealed(record))
        if self._journal:
            self.finished += 1
            self._journal.note(self.finished, identity, [raw.tell() if raw.seekable_file else 0 for raw in self._raw])

    def close(self, *, complete: bool) -> None:
        """Close the files.

        Args:
            complete: all inputs were processed.
        """
        if self._journal:
            self._journal.close(complete=complete)
        self._files.close()


def _reject_overwriting(name: str, inputs: Iterable[str]) -> None:
    if name == "-":
        return
    if not Path(name).parent.is_dir():
        raise MissingError(f"cannot write {name}: its directory does not exist")
    for path in inputs:
        try:
            input_stat = os.fstat(0) if path == "-" else os.stat(path)  # noqa: PTH116  file names as the user wrote them
            same = stat.S_ISREG(input_stat.st_mode) and os.path.samestat(input_stat, os.stat(name))  # noqa: PTH116
        except OSError:
            continue
        if same:
            raise UsageError(f"{name} is also an input: writing would overwrite it", "write to another file")


def _lines_within(path: str, size: int) -> int:
    count = 0
    if size:
        with open(path, "rb") as file:  # noqa: PTH123  a file name as the user wrote it
            while size > 0 and (chunk := file.read(min(size, _CHUNK_BYTES))):
                count += chunk.count(b"\n")
                size -= len(chunk)
    return count


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


class _Progress(msgspec.Struct):
    """One line of a journal: the progress after an input."""

    finished: int
    last: str
    offsets: list[int]
    complete: bool = False


class _Journal:
    """The file `FILE.journal` of an output file: a line with the settings, then one line per finished input.

    Args:
        files: option → file: the output file and its additional files.
        settings: as for `Output`.
        resume: as for `Output`.
    """

    def __init__(self, files: dict[str, str], settings: dict[str, Any], resume: bool) -> None:
        output = Path(files["-o"])
        self._path = output.with_name(output.name + ".journal")
        self._descriptor = -1
        self.finished, self.last, self.offsets = 0, "", list[int]()
        fingerprint = hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:16]
        lines = self._read()
        if resume and lines:
            earlier = msgspec.json.decode(lines[0], type=dict[str, Any])
            if earlier["fingerprint"] != fingerprint:
                changed = sorted(
                    k for k in settings | earlier["settings"] if settings.get(k) != earlier["settings"].get(k)
                )
                raise UsageError(f"--resume: {output} was started with other settings: {', '.join(changed)}")
            if len(lines) > 1:
                self._restore_progress(lines[1:], earlier.get("files", list(files)), files)
        elif lines and output.exists() and output.stat().st_size and not self._is_complete(lines):
            raise UsageError(
                f"{output} holds an unfinished run", f"continue with --resume, or remove {output} and {self._path.name}"
            )
        elif resume and output.exists() and output.stat().st_size:
            raise UsageError(
                f"--resume: {output} has no journal", f"{self._path.name} is missing; remove {output} to start again"
            )
        self._head = msgspec.json.encode({"fingerprint": fingerprint, "settings": settings, "files": list(files)})
        self._rewrite(complete=False)

    def _read(self) -> list[bytes]:
        try:
            with open(self._path, "rb", opener=_no_link) as file:
                complete, _, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise MissingError(f"cannot read {self._path}: {error.strerror}", "remove it if it is not yours") from error
        return complete.splitlines()

    def _restore_progress(self, lines: list[bytes], earlier_options: list[str], files: dict[str, str]) -> None:
        """Continue from the last journal line whose output is on disk: a machine crash may have lost later output."""
        names = list(files.values())
        for option in sorted({*earlier_options} ^ {*files}):
            raise UsageError(
                f"--resume: {names[0]} was started {'with' if option in earlier_options else 'without'} {option}"
            )
        sizes = [os.path.getsize(name) if os.path.exists(name) else 0 for name in names]  # noqa: PTH110, PTH202  '-' is not a path
        for line in reversed(lines):
            progress = msgspec.json.decode(line, type=_Progress)
            if all(offset <= size for offset, size in zip(progress.offsets, sizes, strict=True)):
                self.finished, self.last, self.offsets = progress.finished, progress.last, progress.offsets
                return
        raise UsageError(
            f"--resume: {' or '.join(names)} is shorter than {self._path.name} says",
            f"restore it, or remove {self._path.name} and the output to start again",
        )

    def _is_complete(self, lines: list[bytes]) -> bool:
        return len(lines) > 1 and msgspec.json.decode(lines[-1], type=_Progress).complete

    def _rewrite(self, *, complete: bool) -> None:
        """Write the settings and the progress to a new file and rename it over the journal.

        A run that is killed here leaves either the old journal or the new one.
        """
        fresh = self._path.with_name(self._path.name + ".new")
        old = self._descriptor
        try:
            fresh.unlink(missing_ok=True)
            # O_EXCL: a link of this name, which another user may have put there, is not followed.
            self._descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            if old >= 0:
                os.close(old)
            self._append(self._head)
            if self.offsets:
                self.note(self.finished, self.last, self.offsets, complete=complete)
            fresh.replace(self._path)
        except OSError as error:
            raise MissingError(f"cannot write {self._path}: {error.strerror}") from error

    def _append(self, line: bytes) -> None:
        rest = memoryview(line + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise MissingError(
                f"cannot write {self._path}: {error.strerror}", "free disk space, then use --resume"
            ) from error

    def note(self, finished: int, last: str, offsets: list[int], *, complete: bool = False) -> None:
        self.finished, self.last, self.offsets = finished, last, offsets
        self._append(msgspec.json.encode(_Progress(finished, last, offsets, complete)))

    def close(self, *, complete: bool) -> None:
        if complete:
            self._rewrite(complete=True)
        os.close(self._descriptor)
