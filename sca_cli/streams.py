"""Read and write records as JSON lines, and keep the journal that `--resume` needs.

Standard input, standard output and files are covered; a file named `*.gz` is compressed. Each line is written
completely or not at all. A run that is killed at any moment leaves complete lines. `--resume` then continues after the
last finished input and ends with the same bytes. An output file is locked, so that two runs cannot write to it. Memory
use does not grow with the length of a stream.
"""

import errno
import fcntl
import gzip
import hashlib
import os
import re
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from sca_cli import lines, machine
from sca_cli.errors import MachineError, MissingError, RecordError, UsageError
from sca_cli.records import Record, decode, encode

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WRONG_FILE = 5
"""If the first lines of an input, this many, are no records, it is the wrong file. Chosen by hand."""


# ---------------------------------------------------------------- reading


def is_piped() -> bool:
    """Return whether standard input is a pipe or a file, and not a terminal or /dev/null."""
    try:
        return not os.isatty(0) and not os.path.samestat(os.fstat(0), os.stat(os.devnull))  # noqa: PTH116  compares a descriptor with a path
    except OSError:
        return False


def line_count(paths: Iterable[str]) -> int | None:
    """Return the number of lines to read, or None if it is unknown because an input is a pipe.

    Raises:
        RecordError, MissingError: an input is not text in UTF-8, or cannot be read.
    """
    paths = list(paths)
    if not all(os.path.isfile(path) for path in paths):  # noqa: PTH113  '-' is not a file
        return None
    return sum(map(lines.count, paths))


def read(
    paths: Iterable[str],
    *kinds: type[Record],
    halves: list[str] | None = None,
    left_out: Callable[[RecordError], None] | None = None,
) -> Iterator[Any]:
    """Read records from files; `-` is standard input.

    Args:
        paths: files, read one after the other.
        kinds: the accepted record classes; none means all.
        halves: a list that receives the place (`source:line`) of an incomplete line at the end of a file. Use it to
            read a file that another process is still writing. If None, an incomplete line is an error.
        left_out: receives the error of a line that is not a record; reading continues with the next line. If None, the
            error is raised.

    Raises:
        RecordError: a line is not a record of these classes; the message starts with `source:line:`. With `left_out`:
            the inputs hold no record at all, or the first lines of one of them are no records.
        MissingError: a file cannot be read.
    """
    paths = list(paths)
    lines.fail_if_unreadable(paths)
    began = False
    held: list[RecordError] = []  # errors to report as soon as it is known that the input is not the wrong file
    for path in paths:
        began_file = False
        for record in _records_of(path, kinds, halves):
            if not isinstance(record, RecordError):
                began = began_file = True
                _report(held, left_out)
                yield record
            elif left_out is None or isinstance(record, _NotLines):
                raise record
            else:
                held.append(record)
                if began_file:
                    _report(held, left_out)
                elif len(held) >= _WRONG_FILE:
                    raise held[0]
        if began:
            _report(held, left_out)
    if held:
        raise held[0]


def _report(errors: list[RecordError], left_out: Callable[[RecordError], None] | None) -> None:
    for error in errors if left_out else ():
        left_out(error)  # type: ignore[misc]  # mypy forgets the condition
    errors.clear()


class _NotLines(RecordError):
    """The file is JSON, but not one record a line."""


def _records_of(path: str, kinds: tuple[type[Record], ...], halves: list[str] | None) -> Iterator[Record | RecordError]:
    """Yield the records of a file, and an error for each line that is none."""
    is_first = True
    for number, content, ended in lines.lines_of(path):
        where = f"{lines.name_of(path)}:{number}"
        if isinstance(content, RecordError):
            yield content
        elif text := content.removeprefix(_BYTE_ORDER_MARK).strip():
            if not ended and halves is not None and _is_half(text):
                halves.append(where)
            elif is_first and (text == b"{" or text[:1] == b"["):
                cure = f"jq -c {'.' if text == b'{' else "'.[]'"} FILE"
                yield _NotLines(f"{where}: JSON over several lines or in an array", f"one record a line: {cure}")
            else:
                yield _record(text, kinds, where)
            is_first = False


def _is_half(line: bytes) -> bool:
    """Return whether a line is JSON text that was cut off before its end."""
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        return re.search("truncated|invalid number", str(error)) is not None  # `1.` and `-` are cut-off numbers
    except UnicodeDecodeError:
        return False
    return False


def _record(text: bytes, kinds: tuple[type[Record], ...], where: str) -> Record | RecordError:
    try:
        record = decode(text)
    except RecursionError:
        return RecordError(f"{where}: not a record: nested too deeply")
    except UnicodeDecodeError:
        return RecordError(f"{where}: not valid UTF-8")
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        return _line_error(where, str(error), text)
    if kinds and not isinstance(record, kinds):
        expected = " or ".join(f"'{kind_of(kind)}'" for kind in kinds)
        return RecordError(f"{where}: $.kind: '{kind_of(type(record))}' where {expected} is expected")
    return record


def kind_of(record_class: type[Record]) -> str:
    """Return the value of `kind` for a record class."""
    return str(record_class.__struct_config__.tag)


def _line_error(where: str, message: str, text: bytes) -> RecordError:
    if "truncated" in message:
        return RecordError(f"{where}: line is cut short", "the program that wrote it was stopped in the middle")
    if unknown := re.search(r"unknown field `(.+?)`(?: - at `(.+?)`)?", message):
        return RecordError(
            f"{where}: {unknown[2] or '$'}.{unknown[1]}: unknown field", "fields of your own go under 'extra'"
        )
    if located := re.fullmatch(r"(.*) - at `(.+?)`", message):
        return RecordError(f"{where}: {located[2]}: {_plain(located[1])}")
    if missing := re.search(r"missing required field `(.+?)`", message):
        return RecordError(f"{where}: $.{missing[1]}: missing")
    hint = ""
    if b"\0" in text:
        hint = "it contains NUL bytes: it is not text, or the machine stopped while the file was written"
    elif re.search(rb"[:,\[]\s*-?(NaN|Infinity)\b", text):
        hint = "NaN and Infinity are not JSON; write null"
    return RecordError(f"{where}: not a record: {_plain(message)}", hint)


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


class _File:
    """An open output. If the disk is full, it removes a half-written line.

    Args:
        descriptor: where to write.
        name: for messages.
        is_regular: it has a length and a position; otherwise it is a pipe or a device.
    """

    def __init__(self, descriptor: int, name: str, *, is_regular: bool) -> None:
        self._descriptor, self._name, self.is_regular = descriptor, name, is_regular

    def cut(self, length: int) -> None:
        """Remove all bytes after the first `length`, and continue there."""
        if self.is_regular:
            os.ftruncate(self._descriptor, length)
            os.lseek(self._descriptor, length, os.SEEK_SET)

    def write(self, data: bytes) -> None:
        """Write all bytes or none. In a file named `*.gz` they become one member of their own.

        Raises:
            BrokenPipeError: standard output was closed by its reader.
            MachineError: the disk is full, or another reason.
        """
        if self._name.endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        rest, start = memoryview(data), self.position()
        try:
            with _uninterrupted():
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            if not self.is_regular and error.errno == errno.EPIPE:
                raise BrokenPipeError(errno.EPIPE, "closed pipe") from error
            self.cut(start)
            hint = f"the lines before are complete; {_cure(error)}, then use --resume" if self.is_regular else ""
            raise MachineError(f"cannot write {self._name}: {error.strerror}", hint) from error

    def position(self) -> int:
        """Return the number of bytes before the next one; 0 for a pipe or a device."""
        return os.lseek(self._descriptor, 0, os.SEEK_CUR) if self.is_regular else 0


def _cure(error: OSError) -> str:
    return "raise 'ulimit -f'" if error.errno == errno.EFBIG else "free disk space"


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
        MissingError: a file cannot be written, or another process is writing it.
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
        journal = f"{path}.journal"
        for name in (*files.values(), *([journal] if os.path.exists(journal) else [])):  # noqa: PTH110  a name as written
            _reject_overwriting(name, inputs)
        for option, name in files.items():
            if name == journal:
                raise UsageError(f"{option} {name} is the journal of -o {path}", "write to another file")
        journalled = path != "-" and (os.path.isfile(path) or not os.path.exists(path))  # noqa: PTH110, PTH113  neither /dev/full nor a named pipe
        if resume and not journalled:
            raise UsageError("--resume needs -o FILE", "it continues from the output file")
        for (one, name), (other, same) in combinations(files.items(), 2):
            if name == same:
                raise UsageError(f"{one} and {other} name the same file")
        with ExitStack() as closing:
            self._files = {option: _opened(name, closing) for option, name in files.items()}
            self._journal = _Journal(files, settings, resume) if journalled else None
            offsets = self._journal.offsets if self._journal and self._journal.offsets else [0] * len(files)
            for file, offset in zip(self._files.values(), offsets, strict=True):
                file.cut(offset)
            self._closing = closing.pop_all()
        self.begun_at = self.finished = self._journal.finished if self._journal else 0
        """Number of inputs that an earlier run finished; they are skipped."""
        self.kept = lines.count(path, offsets[0]) if offsets[0] else 0
        """Number of records in `path`, including those of an earlier run."""

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
        """Write the records of one input, then add it to the journal as finished.

        Raises:
            RecordError: a record cannot be encoded; nothing was written.
            MachineError: a file cannot be written.
        """
        outputs = {"-o": kept, "--rejected": rejected, "--rollouts": rollouts}
        data = {option: b"".join(map(_line_of, outputs[option])) for option in self._files}
        for option, file in self._files.items():
            if data[option]:
                file.write(data[option])
        self.kept += len(kept)
        if self._journal:
            self.finished += 1
            self._journal.note(self.finished, identity, [file.position() for file in self._files.values()])

    def close(self, *, complete: bool) -> None:
        """Close the files.

        Args:
            complete: all inputs were processed.
        """
        if self._journal:
            self._journal.close(complete=complete)
        self._closing.close()


def _line_of(record: Record) -> bytes:
    """Return a record as a line.

    Raises:
        RecordError: it holds something that JSON cannot hold.
    """
    try:
        return encode(record) + b"\n"
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RecordError(f"the record cannot be written as JSON: {type(error).__name__}: {error}") from error


def _opened(name: str, closing: ExitStack) -> _File:
    """Open an output file and lock it; `-` is standard output. Nothing is removed from the file yet.

    Raises:
        UsageError: another process is writing it.
        MissingError: it cannot be written.
    """
    if name == "-":
        machine.fail_if_stdout_is_closed()
        sys.stdout.flush()
        return _File(1, "stdout", is_regular=False)
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise MissingError(f"cannot write {name}: {error.strerror}") from error
    closing.callback(os.close, descriptor)
    is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    if is_regular:
        _lock(descriptor, name)
    return _File(descriptor, name, is_regular=is_regular)


def _lock(descriptor: int, name: str) -> None:
    """Lock an open file or directory until it is closed.

    The kernel removes the lock when this process ends, also after kill -9. Programs that this process starts do not
    inherit it: the descriptor is closed on exec.

    Raises:
        UsageError: another process holds the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"{name} is being written by another process", "wait until it ends, or write to another file"
        ) from None
    except OSError:
        pass  # a file system without locks


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Context manager: lock a directory, so that two runs cannot write to it.

    Raises:
        UsageError: another process holds the lock.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, str(directory))
        yield
    finally:
        os.close(descriptor)


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


def _no_link(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UsageError(
                f"{path} is a symbolic link, which is not followed", "remove it, or name another output"
            ) from None
        raise


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
        head, entries = self._read()
        if resume and head:
            if head["fingerprint"] != fingerprint:
                earlier = head["settings"]
                changed = sorted(k for k in settings | earlier if settings.get(k) != earlier.get(k))
                raise UsageError(f"--resume: {output} was started with other settings: {', '.join(changed)}")
            if entries:
                self._restore_progress(entries, head.get("files", list(files)), files)
        elif head and output.exists() and output.stat().st_size and not (entries and entries[-1].complete):
            raise UsageError(
                f"{output} holds an unfinished run", f"continue with --resume, or remove {output} and {self._path.name}"
            )
        elif resume and output.exists() and output.stat().st_size:
            raise UsageError(
                f"--resume: {output} has no journal", f"{self._path.name} is missing; remove {output} to start again"
            )
        self._head = msgspec.json.encode({"fingerprint": fingerprint, "settings": settings, "files": list(files)})
        self._rewrite(complete=False)

    def _read(self) -> "tuple[dict[str, Any], list[_Progress]]":
        """Return the settings and the entries; {} and [] if there is no journal.

        Raises:
            UsageError: the first line is damaged. Damaged lines after it are left out: a machine that goes down may
                leave zeros at the end of a file.
            MissingError: the file cannot be read.
        """
        try:
            with open(self._path, "rb", opener=_no_link) as file:
                complete, _, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return {}, []
        except OSError as error:
            raise MissingError(f"cannot read {self._path}: {error.strerror}") from error
        first, *rest = complete.splitlines() or [b""]
        if not first:
            return {}, []
        try:
            head = msgspec.json.decode(first, type=dict[str, Any])
            _ = head["fingerprint"], head["settings"].items()
        except (ValueError, KeyError, AttributeError):
            raise UsageError(
                f"{self._path} is damaged", f"remove it and {self._path.with_suffix('')} to start again"
            ) from None
        entries = []
        for line in rest:
            with suppress(ValueError):
                entries.append(msgspec.json.decode(line, type=_Progress))
        return head, entries

    def _restore_progress(self, entries: list[_Progress], earlier_options: list[str], files: dict[str, str]) -> None:
        """Continue from the last entry whose output is on disk: a machine crash may have lost later output."""
        names = list(files.values())
        for option in sorted({*earlier_options} ^ {*files}):
            raise UsageError(
                f"--resume: {names[0]} was started {'with' if option in earlier_options else 'without'} {option}"
            )
        sizes = [os.path.getsize(name) if os.path.exists(name) else 0 for name in names]  # noqa: PTH110, PTH202  '-' is not a path
        for progress in reversed(entries):
            if all(offset <= size for offset, size in zip(progress.offsets, sizes, strict=True)):
                self.finished, self.last, self.offsets = progress.finished, progress.last, progress.offsets
                return
        raise UsageError(
            f"--resume: {' or '.join(names)} is shorter than {self._path.name} says",
            f"restore it, or remove {self._path.name} and the output to start again",
        )

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
            raise MachineError(
                f"cannot write {self._path}: {error.strerror}", f"{_cure(error)}, then use --resume"
            ) from error

    def note(self, finished: int, last: str, offsets: list[int], *, complete: bool = False) -> None:
        self.finished, self.last, self.offsets = finished, last, offsets
        self._append(msgspec.json.encode(_Progress(finished, last, offsets, complete)))

    def close(self, *, complete: bool) -> None:
        if complete:
            self._rewrite(complete=True)
        os.close(self._descriptor)
