"""Streams: JSONL in, JSONL out, and runs that resume where they were killed."""

import contextlib
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sca_cli import streams
from sca_cli.errors import MissingError, RecordError, UsageError
from sca_cli.records import EnvSpec, Exploration, Task, encode
from sca_cli.streams import Output

SETTINGS = {"command": "test", "seed": 0}


def task(number: int, *, size: int = 0) -> Task:
    """Return a task with this number in its instruction, and `size` more characters."""
    return Task(env=EnvSpec(name="e"), instruction=f"task {number} " + "x" * size, evaluate="é")


LINE = encode(task(0))


@pytest.fixture
def piped() -> Iterator[Callable[[bytes], None]]:
    """Return a function that puts bytes on this process's standard input."""
    saved = os.dup(0)
    threads: list[threading.Thread] = []

    def put(data: bytes) -> None:
        ours, theirs = os.pipe()
        os.dup2(ours, 0)
        os.close(ours)

        def write() -> None:
            with os.fdopen(theirs, "wb") as file, contextlib.suppress(BrokenPipeError):
                file.write(data)

        threads.append(threading.Thread(target=write))
        threads[-1].start()

    yield put
    os.dup2(saved, 0)
    os.close(saved)
    for thread in threads:
        thread.join()


def read_all(*paths: str) -> list[Task]:
    """Return all tasks of the files, or of standard input."""
    return list(streams.read(paths or ["-"], Task))


# ---------------------------------------------------------------- reading


def test_blank_lines_are_skipped_and_a_last_line_needs_no_newline(piped) -> None:
    """Empty lines, lines of blanks and CR LF are neither records nor errors."""
    piped(b"\n" + LINE + b"\r\n\n  \t\n" + LINE)
    assert [encode(each) for each in read_all()] == [LINE, LINE]


def test_files_are_read_one_after_the_other(tmp_path: Path, piped) -> None:
    """Named files and standard input are read in the order they are given."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(encode(task(1)) + b"\n")
    piped(encode(task(2)))
    assert [t.instruction for t in read_all(str(path), "-", str(path))] == ["task 1 ", "task 2 ", "task 1 "]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (LINE[: len(LINE) // 2], "line is cut short"),
        (b'{"kind":"task","instruction":"\xff\xfe"}', "not valid UTF-8"),
        (b'{"kind":"exploration","env":{"name":"e"}}', r"\$\.kind: 'exploration' where 'task' is expected"),
        (LINE[:-1] + b',"colour":1}', r"\$\.colour: unknown field"),
        (
            LINE.replace(b'"instruction":"task 0 "', b'"instruction":7'),
            r"\$\.instruction: expected 'str', got 'int'",
        ),
        (b'{"kind":"task","env":{"name":"e"},"evaluate":""}', r"\$\.instruction: missing"),
        (
            b'{"kind":"task","env":{"name":"e","size":1},"instruction":"","evaluate":""}',
            r"\$\.env\.size: unknown field",
        ),
        (b'{"kind":"tusk"}', r"\$\.kind: invalid value 'tusk'"),
        (b"hello", "not a record: "),
        (b"[1]", "not a record: expected 'object', got 'array'"),
        (
            b'{"kind":"task","env":{"name":"e"},"extra":{"a":' + b"[" * 100_000,
            "not a record: nested too deeply",
        ),
        (LINE + LINE, "not a record: "),
    ],
    ids=[
        "half",
        "utf8",
        "kind",
        "unknown",
        "type",
        "missing",
        "nested",
        "tag",
        "text",
        "array",
        "deep",
        "two",
    ],
)
def test_a_bad_line_is_named_by_its_number_after_what_came_before(piped, bad: bytes, said: str) -> None:
    """A fault of any kind in line 5 is reported after the records of lines 1 and 4, and blank lines count."""
    piped(LINE + b"\n\n \n" + LINE + b"\n" + bad + b"\n" + LINE + b"\n")
    reader = streams.read(["-"], Task)
    assert [next(reader).instruction, next(reader).instruction] == ["task 0 "] * 2
    with pytest.raises(RecordError, match=rf"^stdin:5: ({said})") as raised:
        next(reader)
    assert len(raised.value.message) < 300
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("end", range(1, len(LINE)))
def test_half_a_last_line_is_left_out_where_it_is_asked_for(tmp_path: Path, end: int) -> None:
    """A last line that is cut anywhere is left out on request: the records before it are read, and its place is
    reported.
    """
    path = tmp_path / "growing.jsonl"
    path.write_bytes(LINE + b"\n" + LINE[:end])
    halves: list[str] = []
    assert [each.instruction for each in streams.read([str(path)], Task, halves=halves)] == ["task 0 "]
    assert halves == [f"{path}:2"]


@pytest.mark.parametrize("last", [b"hello", b'{"kind":"tusk"}', b"{}x", LINE + b"\n" + LINE[:9] + b"\n"])
def test_what_is_wrong_and_no_half_line_stays_an_error(tmp_path: Path, last: bytes) -> None:
    """A last line that cannot be the beginning of a record, or that ends with a newline, is an error."""
    path = tmp_path / "wrong.jsonl"
    path.write_bytes(LINE + b"\n" + last)
    with pytest.raises(RecordError, match=f"^{path}:[23]: "):
        list(streams.read([str(path)], Task, halves=[]))


def test_half_a_last_line_is_an_error_too(piped) -> None:
    """A stream that ends in the middle of a line is an error."""
    piped(LINE + b"\n" + LINE[:-5])
    reader = streams.read(["-"], Task)
    next(reader)
    with pytest.raises(RecordError, match="stdin:2: line is cut short") as raised:
        next(reader)
    assert "stopped in the middle" in raised.value.hint


def test_a_file_is_named_by_its_path(tmp_path: Path) -> None:
    """Errors in a file say which file."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\nx\n")
    with pytest.raises(RecordError, match=rf"^{path}:2: not a record"):
        read_all(str(path))


def test_long_lines_are_read_and_longer_ones_refused_early(piped) -> None:
    """A line of 31 MiB is read; a line without end is refused at 32 MiB, not when memory is full."""
    whole = encode(task(0, size=31 << 20))
    piped(whole + b"\n" + LINE)
    assert [len(t.instruction) for t in read_all()] == [
        len(task(0, size=31 << 20).instruction),
        len(task(0).instruction),
    ]
    ours, theirs = os.pipe()
    os.dup2(ours, 0)
    os.close(ours)
    written = 0

    def write() -> None:
        nonlocal written
        try:
            os.write(theirs, LINE + b"\n")
            for _ in range(100 << 4):  # 100 MiB
                written += os.write(theirs, b"x" * 65536)
        except BrokenPipeError:
            pass
        os.close(theirs)

    writer = threading.Thread(target=write)
    writer.start()
    reader = streams.read(["-"], Task)
    assert next(reader).instruction == "task 0 "
    with pytest.raises(RecordError, match="stdin:2: line is longer than 32 MiB"):
        next(reader)
    os.close(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # closes the reading end
    writer.join()
    assert written < 34 << 20


def test_records_arrive_before_the_stream_ends(piped) -> None:
    """A record is yielded when its line is complete, while the writer is still at work."""
    ours, theirs = os.pipe()
    piped(b"")
    os.dup2(ours, 0)
    reader = streams.read(["-"], Task)
    os.write(theirs, LINE + b"\n" + LINE[:10])
    assert next(reader).instruction == "task 0 "
    os.write(theirs, LINE[10:] + b"\n")
    assert next(reader).instruction == "task 0 "
    os.close(theirs)
    os.close(ours)
    assert list(reader) == []


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A file that is not there and a directory are errors with their names, not tracebacks."""
    with pytest.raises(MissingError, match="cannot read /nowhere: No such file"):
        read_all("/nowhere")
    with pytest.raises(MissingError, match=f"cannot read {tmp_path}: Is a directory"):
        read_all(str(tmp_path))


def test_byte_order_mark_of_an_editor_is_forgiven(tmp_path: Path) -> None:
    """A file saved with a UTF-8 byte order mark reads like one without."""
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + LINE + b"\n")
    assert len(read_all(str(path))) == 1


@pytest.mark.parametrize(
    "bad", [b"\0" * 9, b"\xff", b"{}", LINE[:50], b'{"kind":' + b"[" * 9999, b'{"kind":"exploration","env":{}}']
)
def test_lines_that_are_no_record_are_left_out(tmp_path: Path, bad: bytes) -> None:
    """The first line and a later one are no records: both are reported, and all records around them are read."""
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\n".join([bad, LINE, b"\xef\xbb\xbf" + LINE, bad, LINE]))
    left_out: list[RecordError] = []
    assert len(list(streams.read([str(path)], Task, left_out=left_out.append))) == 3
    assert [error.message.split(": ")[0] for error in left_out] == [f"{path}:1", f"{path}:4"]


def test_an_input_without_any_record_is_the_wrong_file(tmp_path: Path) -> None:
    """If nothing is a record, or the first five lines of a file are none, the first error ends the run."""
    short, wrong, good = (tmp_path / name for name in ("short", "wrong", "good"))
    short.write_bytes(b"a\nb\n")
    wrong.write_bytes(b"a\nb\nc\nd\ne\n" + LINE)
    good.write_bytes(LINE)
    left_out: list[RecordError] = []
    for paths in ([short], [good, wrong]):
        with pytest.raises(RecordError, match=f"^{paths[-1]}:1: not a record"):
            list(streams.read(map(str, paths), Task, left_out=left_out.append))
    assert not left_out
    assert len(list(streams.read(map(str, [short, good]), Task, left_out=left_out.append))) == 1
    assert len(left_out) == 2


@pytest.mark.parametrize(("text", "cure"), [(b"{\n ", "jq -c . FILE"), (b"[\n{", "jq -c '.[]' FILE"), (b"[{", "'.[]'")])
def test_json_over_several_lines_is_named_with_its_cure(tmp_path: Path, text: bytes, cure: str) -> None:
    """Indented JSON and an array are not taken for many bad lines."""
    path = tmp_path / "pretty.json"
    path.write_bytes(b"\n" + text + LINE)
    with pytest.raises(RecordError, match=f"{path}:2: JSON over several lines or in an array") as raised:
        list(streams.read([str(path)], Task, left_out=lambda _: None))
    assert cure in raised.value.hint


def test_nan_and_nul_bytes_are_named(tmp_path: Path) -> None:
    """The hint says what is wrong with the line."""
    path = tmp_path / "odd.jsonl"
    for bad, hint in ((LINE[:-1] + b',"extra":{"x":NaN}}', "NaN and Infinity"), (b"\0\0", "NUL bytes")):
        path.write_bytes(bad)
        with pytest.raises(RecordError) as raised:
            read_all(str(path))
        assert hint in raised.value.hint


# ---------------------------------------------------------------- writing and resuming


def opened(path: Path, *, resume: bool = False, rejected: Path | None = None, **settings: object) -> Output:
    """Open an output with the settings of these tests, some changed."""
    return Output(str(path), rejected=str(rejected) if rejected else None, resume=resume, settings=SETTINGS | settings)


def work(output: Output, upto: int, total: int = 10) -> None:
    """Process the remaining ones of `total` inputs, but stop before number `upto`: odd ones are rejected, 5 has no
    records.
    """
    numbers = list(range(total))
    for number in output.remaining(numbers, str):
        if number == upto:
            output.close(complete=False)  # a killed process leaves these bytes, and no lock
            return
        made = [] if number == 5 else [task(number, size=number)]
        output.write(str(number), made if number % 2 == 0 else [], made if number % 2 else [])
    output.close(complete=True)


@pytest.fixture
def reference(tmp_path: Path) -> tuple[bytes, bytes]:
    """Return the output of an uninterrupted run: kept and rejected records."""
    out, fallen = tmp_path / "reference", tmp_path / "reference.fallen"
    work(opened(out, rejected=fallen), -1)
    return out.read_bytes(), fallen.read_bytes()


@pytest.mark.parametrize("stop", [0, 1, 2, 5, 6, 9])
@pytest.mark.parametrize("torn", ["", "output", "rejected", "journal", "all"])
def test_resumed_run_ends_with_the_same_bytes(tmp_path: Path, reference, stop: int, torn: str) -> None:
    """A run that stopped before any input, with half a line in any file, writes the same bytes when resumed."""
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    work(opened(out, rejected=fallen), stop)
    for path, name in ((out, "output"), (fallen, "rejected"), (tmp_path / "out.journal", "journal")):
        if torn in (name, "all"):
            with path.open("ab") as file:
                file.write(b'{"finished":3,"la')
    again = opened(out, rejected=fallen, resume=True)
    assert again.finished == stop
    work(again, -1)
    assert (out.read_bytes(), fallen.read_bytes()) == reference


@pytest.mark.parametrize("stop", [0, 5, 9])
def test_a_compressed_run_resumes_and_holds_the_same_records(tmp_path: Path, reference, stop: int) -> None:
    """`-o X.gz` is gzip at every moment; resumed with half a member at the end, it ends with the same text."""
    out = tmp_path / "out.jsonl.gz"
    work(opened(out), stop)
    gzip.decompress(out.read_bytes())
    with out.open("ab") as file:
        file.write(gzip.compress(LINE)[:20])
    again = opened(out, resume=True)
    assert (again.finished, again.kept) == (stop, sum(number % 2 == 0 for number in range(stop)))
    work(again, -1)
    assert gzip.decompress(out.read_bytes()) == reference[0]
    assert [encode(each) for each in read_all(str(out))] == reference[0].splitlines()


def test_two_runs_cannot_write_to_one_file(tmp_path: Path) -> None:
    """The second is refused, with and without --resume and for every output; it changes nothing. After the end of the
    first, the file is free.
    """
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    first = opened(out, rejected=fallen)
    first.write("0", [task(0)])
    before = out.read_bytes(), (tmp_path / "out.journal").read_bytes()
    for path, rejected, resume in ((out, None, False), (out, fallen, True), (tmp_path / "other", fallen, False)):
        with pytest.raises(UsageError, match="is being written by another process"):
            opened(path, rejected=rejected, resume=resume)
    assert (out.read_bytes(), (tmp_path / "out.journal").read_bytes()) == before
    first.close(complete=False)
    opened(out, rejected=fallen, resume=True).close(complete=False)


def test_the_lock_of_a_killed_run_is_gone(tmp_path: Path) -> None:
    """kill -9 frees the file, also if a program that the run started is still alive."""
    script = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]}\n"
        "import os, subprocess; from pathlib import Path; from test_streams import opened\n"
        "output = opened(Path('out')); child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, check=False)
    try:
        opened(tmp_path / "out", resume=True).close(complete=False)
    finally:
        os.kill(int(ended.stdout), signal.SIGKILL)


@pytest.mark.parametrize("tail", [bytes(50) + b"\n", b"{}\n", b'{"finished":"x"}\n'])
def test_damaged_entries_of_a_journal_are_left_out(tmp_path: Path, reference, tail: bytes) -> None:
    """Zeros or other lines at the end of a journal do not keep a run from resuming."""
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    work(opened(out, rejected=fallen), 7)
    with (tmp_path / "out.journal").open("ab") as file:
        file.write(tail)
    work(opened(out, rejected=fallen, resume=True), -1)
    assert (out.read_bytes(), fallen.read_bytes()) == reference


@pytest.mark.parametrize("head", [b"oops\n", b"{}\n", b'{"fingerprint":1,"settings":3}\n', bytes(9) + b"\n"])
def test_a_damaged_journal_is_an_error_that_says_what_to_remove(tmp_path: Path, head: bytes) -> None:
    """A first line that is not ours is a usage error, not a traceback."""
    out = tmp_path / "out"
    work(opened(out), 7)
    (tmp_path / "out.journal").write_bytes(head)
    with pytest.raises(UsageError, match=r"out\.journal is damaged") as raised:
        opened(out, resume=True)
    assert f"remove it and {out}" in raised.value.hint


@pytest.mark.parametrize("lost", [1, 100, 300])
def test_lost_tail_of_the_output_is_made_again(tmp_path: Path, reference, lost: int) -> None:
    """If a crash of the machine lost bytes that the journal counts, the resumed run starts again from the last whole
    record.
    """
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    work(opened(out, rejected=fallen), 9)
    os.truncate(out, out.stat().st_size - lost)
    again = opened(out, rejected=fallen, resume=True)
    assert again.finished < 9
    work(again, -1)
    assert (out.read_bytes(), fallen.read_bytes()) == reference


def test_an_output_that_went_away_is_not_made_up(tmp_path: Path) -> None:
    """A journal whose files hold less than its first entry says is an error, not a file full of zeros."""
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    work(opened(out, rejected=fallen), 9)
    fallen.unlink()
    out.write_bytes(b"")
    with pytest.raises(UsageError, match=r"shorter than out\.journal says"):
        opened(out, rejected=fallen, resume=True)


def test_resuming_a_complete_run_changes_nothing(tmp_path: Path, reference) -> None:
    """A complete run can be resumed any number of times: it does nothing and still knows how many records it kept."""
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    work(opened(out, rejected=fallen), -1)
    for _ in range(2):
        again = opened(out, rejected=fallen, resume=True)
        assert (again.finished, again.kept) == (10, 5)
        work(again, -1)
    assert (out.read_bytes(), fallen.read_bytes()) == reference


def test_resume_twice_after_two_kills(tmp_path: Path, reference) -> None:
    """A resumed run that is stopped again resumes from its own progress."""
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    for stop in (2, 2, 4, 7):
        work(opened(out, rejected=fallen, resume=True), stop)
    work(opened(out, rejected=fallen, resume=True), -1)
    assert (out.read_bytes(), fallen.read_bytes()) == reference


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    """Without --resume, the output of an unfinished run is refused and left as it is; a finished one is
    replaced.
    """
    out = tmp_path / "out"
    work(opened(out), 7)
    before = out.read_bytes()
    with pytest.raises(UsageError, match="holds an unfinished run") as raised:
        opened(out)
    assert "--resume" in raised.value.hint
    assert out.read_bytes() == before
    work(opened(out, resume=True), -1)
    opened(out).close(complete=True)
    assert out.read_bytes() == b""


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    """Resuming with other settings is refused; the message names them, and no file changes."""
    out = tmp_path / "out"
    work(opened(out), 7)
    journal = (tmp_path / "out.journal").read_bytes()
    with pytest.raises(UsageError, match=r"started with other settings: seed, turns$"):
        opened(out, resume=True, seed=1, turns=3)
    assert (tmp_path / "out.journal").read_bytes() == journal


def test_rejected_comes_and_goes_with_the_run(tmp_path: Path) -> None:
    """A run must be resumed with --rejected exactly if it was started with it."""
    out, fallen = tmp_path / "out", tmp_path / "fallen"
    work(opened(out), 3)
    with pytest.raises(UsageError, match="was started without --rejected"):
        opened(out, rejected=fallen, resume=True)
    out.unlink()
    work(opened(out, rejected=fallen), 3)
    with pytest.raises(UsageError, match="was started with --rejected"):
        opened(out, resume=True)


def test_rollouts_stand_beside_what_is_kept(tmp_path: Path) -> None:
    """The --rollouts file is a file of the run: resuming cuts it to whole records, together with the other files."""
    out, tried = tmp_path / "out", tmp_path / "tried"

    def open_both(*, resume: bool, rollouts: Path | None = tried) -> Output:
        return Output(
            str(out), rejected=None, rollouts=str(rollouts) if rollouts else None, resume=resume, settings=SETTINGS
        )

    output = open_both(resume=False)
    output.write("0", [task(0)], [task(1)], [task(2), task(3)])
    output.close(complete=False)
    with tried.open("ab") as file:
        file.write(LINE + b"\n")
    with pytest.raises(UsageError, match="was started with --rollouts"):
        open_both(resume=True, rollouts=None)
    again = open_both(resume=True)
    again.write("1", [], [], [task(4)])
    again.close(complete=True)
    read = [[made.instruction for made in read_all(str(path))] for path in (out, tried)]
    assert read == [["task 0 "], ["task 2 ", "task 3 ", "task 4 "]]
    with pytest.raises(UsageError, match="-o and --rollouts name the same file"):
        open_both(resume=False, rollouts=out)


def test_another_input_is_refused(tmp_path: Path) -> None:
    """An input that is shorter, or that differs at the last finished record, is refused."""
    out = tmp_path / "out"
    work(opened(out), 4)
    for items, said in (
        ([9, 8, 7, 6, 5], "the input differs from that of the earlier run"),
        ([0, 1], "fewer records than the earlier run finished"),
    ):
        again = opened(out, resume=True)
        with pytest.raises(UsageError, match=said):
            again.remaining(items, str)
        again.close(complete=False)
    work(opened(out, resume=True), -1)


def test_resume_needs_a_file_and_its_journal(tmp_path: Path) -> None:
    """Standard output, devices and a file without a journal cannot be resumed; a missing file starts a new run."""
    for path in ("-", "/dev/null"):
        with pytest.raises(UsageError, match="--resume needs -o FILE"):
            Output(path, rejected=None, resume=True, settings=SETTINGS)
    out = tmp_path / "out"
    out.write_bytes(LINE)
    with pytest.raises(UsageError, match="has no journal"):
        opened(out, resume=True)
    out.unlink()
    assert opened(out, resume=True).finished == 0


def test_output_and_rejected_are_two_files(tmp_path: Path) -> None:
    """One file cannot be both."""
    with pytest.raises(UsageError, match="name the same file"):
        opened(tmp_path / "out", rejected=tmp_path / "out")


def test_the_journal_of_an_output_is_neither_its_input_nor_another_output(tmp_path: Path) -> None:
    """A run does not overwrite its journal with records, nor an input with its journal."""
    out, journal = tmp_path / "out", tmp_path / "out.journal"
    with pytest.raises(UsageError, match="is the journal of -o"):
        opened(out, rejected=journal)
    work(opened(out), -1)
    with pytest.raises(UsageError, match=r"out\.journal is also an input"):
        Output(str(out), rejected=None, resume=False, settings=SETTINGS, inputs=[str(journal)])


def test_an_interrupt_in_the_middle_of_a_line_waits_for_its_end() -> None:
    """Ctrl-C in the middle of a long line is raised after the whole line is written."""
    ours, theirs = os.pipe()
    saved = os.dup(1)
    os.dup2(theirs, 1)
    os.close(theirs)
    output = Output("-", rejected=None, resume=False, settings=SETTINGS)
    seen: list[bytes] = []

    def interrupt_then_read() -> None:
        time.sleep(0.1)  # the pipe is full by now
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        with os.fdopen(ours, "rb") as file:
            seen.append(file.read())

    reader = threading.Thread(target=interrupt_then_read)
    reader.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            output.write("0", [task(0, size=1 << 20)])
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        reader.join()
    assert seen == [encode(task(0, size=1 << 20)) + b"\n"]


def test_a_device_gets_no_journal() -> None:
    """A device can be written to, and gets no journal."""
    output = Output("/dev/null", rejected=None, resume=False, settings=SETTINGS)
    output.write("0", [task(0)])
    output.close(complete=True)
    assert not Path("/dev/null.journal").exists()


def test_a_named_pipe_whose_reader_left_is_a_closed_pipe(tmp_path: Path) -> None:
    """Writing to a named pipe without a reader ends as on standard output, and does not wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = Output(str(pipe), rejected=None, resume=False, settings=SETTINGS)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        output.write("0", [task(0)])
    output.close(complete=False)


def test_full_device_is_an_error_with_its_name() -> None:
    """A write that fails says which file and why."""
    output = Output("/dev/full", rejected=None, resume=False, settings=SETTINGS)
    with pytest.raises(MissingError, match="cannot write /dev/full: No space left"):
        output.write("0", [task(0)])
    output.close(complete=False)


def test_a_directory_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    """An output in a missing directory is refused before any work."""
    with pytest.raises(MissingError, match=f"cannot write {tmp_path}/no/out"):
        opened(tmp_path / "no" / "out")


_KILLED_RUNS = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_streams import opened, work

REAL = {{name: getattr(os, name) for name in ("write", "open", "ftruncate", "replace")}}

def run(deadly):
    calls = 0
    def counting(name):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == deadly:
                if name == "write":
                    REAL[name](args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), 9)
            return REAL[name](*args, **kwargs)
        return call
    for name in REAL:
        setattr(os, name, counting(name))
    work(opened(Path("out"), rejected=Path("fallen"), resume=True), -1)
    os._exit(0)

for attempt in range(500):
    if not (child := os.fork()):
        run(deadly=1 + attempt * {stride} % 31)
    if os.waitpid(child, 0)[1] == 0:
        print(attempt)
        break
"""


@pytest.mark.parametrize("stride", [1, 5, 7, 12])
def test_killed_at_any_file_operation_and_resumed_the_bytes_are_the_same(
    tmp_path: Path, reference, stride: int
) -> None:
    """A run that is killed at any file operation and resumed each time loses and repeats no record."""
    script = _KILLED_RUNS.format(path=[str(Path(__file__).parent), *sys.path], stride=stride)
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 2, "no run was killed"
    assert ((tmp_path / "out").read_bytes(), (tmp_path / "fallen").read_bytes()) == reference


def test_terminal_and_nothing_are_not_piped(piped) -> None:
    """A pipe is something to read; /dev/null, a terminal and a closed descriptor are not."""
    piped(b"")
    assert streams.is_piped()
    saved = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    assert not streams.is_piped()
    leader, terminal = os.openpty()
    os.dup2(terminal, 0)
    assert not streams.is_piped()
    os.close(0)
    assert not streams.is_piped()
    os.dup2(saved, 0)
    for descriptor in (saved, leader, terminal):
        os.close(descriptor)


def test_records_of_other_kinds_are_read_where_they_are_expected(piped) -> None:
    """The reader takes several kinds of records, and all kinds if none is named."""
    both = LINE + b'\n{"kind":"exploration","env":{"name":"e"}}\n'
    piped(both)
    assert [type(record) for record in streams.read(["-"], Task, Exploration)] == [Task, Exploration]
    piped(both)
    assert [type(record) for record in streams.read(["-"])] == [Task, Exploration]
