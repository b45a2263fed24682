"""One odd record costs one record, whatever its work raises."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sca_cli import machine
from sca_cli.commands.shared.error_note import error_note
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import Done, LeftOut, Meter, exit_code, most_frequent, pump
from sca_cli.commands.shared.training import RECORD, trained_before
from sca_cli.doctor import corpus
from sca_cli.errors import ExitCode, MachineError, MissingError, RecordError, SandboxError, UsageError, WorldError
from sca_cli.fanout import Fanout
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, ErrorNote, Task, TaskLimits, Verdict
from sca_cli.sandbox import AllowedEnvs
from sca_cli.streams import Output

RAISED: list[Exception] = [
    RecursionError("maximum recursion depth exceeded"),
    MemoryError(),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    KeyError("\ud800"),
    MissingError("unknown environment 'x'", "did you mean 'y'?"),
    RecordError("odd"),
    WorldError("it broke"),
]


def task(number: int) -> Task:
    """Return a task with a number."""
    return Task(env=EnvSpec(name="e"), instruction=str(number), evaluate="")


@pytest.fixture
def fanout() -> Iterator[Fanout]:
    """Give a fanout of four."""
    with Fanout(4) as opened:
        yield opened


def pumped(path: Path, fanout: Fanout, odd: Any, *, resume: bool = False, settle: Any = lambda _: None) -> list[Any]:
    """Run ten items, of which number 3 does `odd`, and return the records that are written."""

    async def work(number: int) -> Done:
        return Done(str(number), [odd() if number == 3 else task(number)])

    def failed(number: int, note: ErrorNote) -> Done:
        record = task(number)
        record.error = note
        return Done(str(number), [record])

    output = Output(str(path), rejected=None, resume=resume, settings={})
    meter = Meter("test", None, quiet=True)
    list(pump(range(10), work, failed=failed, identify=str, output=output, fanout=fanout, meter=meter, settle=settle))
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def raising(error: Exception) -> Any:
    """Return a function that raises an error."""

    def odd() -> Any:
        raise error

    return odd


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_exception_in_the_work_on_a_record_becomes_its_error(
    tmp_path: Path, fanout: Fanout, error: Exception
) -> None:
    """The other nine records are as ever, and --resume has nothing left to do."""
    records = pumped(tmp_path / "out", fanout, raising(error))
    assert [record["instruction"] for record in records] == [str(number) for number in range(10)]
    assert ["error" in record for record in records] == [number == 3 for number in range(10)]
    assert pumped(tmp_path / "out", fanout, raising(ValueError("not called")), resume=True) == records


@pytest.mark.parametrize("extra", [{"x": "\ud800"}, {"x": {1, 2}, "y": object()}, {"x": 10**5000}])
def test_a_result_that_is_not_json_becomes_an_error(tmp_path: Path, fanout: Fanout, extra: dict[str, Any]) -> None:
    """A lone surrogate or another value that cannot be written costs its record, and leaves no half line."""

    def odd() -> Task:
        record = task(3)
        record.extra = extra
        return record

    records = pumped(tmp_path / "out", fanout, odd)
    assert records[3]["error"]["message"].startswith("the record cannot be written as JSON: ")
    assert len(records) == 10


def test_an_exception_while_results_are_compared_becomes_an_error(tmp_path: Path, fanout: Fanout) -> None:
    """Also the part of the work that sees results in their order cannot end the run."""

    def settle(done: Done) -> None:
        if done.identity == "3":
            raise RecursionError

    records = pumped(tmp_path / "out", fanout, lambda: task(3), settle=settle)
    assert records[3]["error"]["message"].startswith("internal error: RecursionError")
    assert len(records) == 10


@pytest.mark.parametrize("error", [SandboxError("no jail"), MachineError("full"), OSError(24, "Too many open files")])
def test_what_concerns_every_record_ends_the_run(tmp_path: Path, fanout: Fanout, error: Exception) -> None:
    """A jail that does not start, or a limit of the machine, is not an error of one record."""
    with pytest.raises(MissingError):
        pumped(tmp_path / "out", fanout, raising(error))
    assert (tmp_path / "out").read_bytes().count(b"\n") == 3


def test_an_internal_error_names_its_place() -> None:
    """A record holds no traceback, so its error has the innermost place in our code."""
    try:
        Output("-", rejected=None, resume=True, settings={})
    except Exception as error:  # noqa: BLE001  any exception with a traceback in our code
        note = error_note(ValueError("odd").with_traceback(error.__traceback__))
    assert note.boundary == "sca"
    assert note.message.startswith("internal error: ValueError: odd (sca_cli/streams.py:")


def test_left_out_lines_are_reported_and_change_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """The first five are reported one by one, then their number; the exit code is that of a bad record."""
    left_out = LeftOut("verify")
    assert exit_code(1, left_out) is ExitCode.OK
    for number in range(7):
        left_out(RecordError(f"stdin:{number}: odd", "mend it"))
    assert exit_code(1, left_out) is ExitCode.RECORD
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["sca verify: stdin:0: odd", "hint: mend it"]
    assert said[10:] == ["sca verify: 7 lines of the input left out; all other records were processed"]


def test_a_reason_of_several_lines_is_one_line_of_the_summary() -> None:
    """A reason quotes data. So data cannot add a line to the summary that looks as if sca had written it."""
    assert most_frequent(Counter(["no family 'x\nsca verify: all is well'"])) == [
        "      1  no family 'x sca verify: all is well'"
    ]


def test_programs_share_the_memory_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more programs run at once than fit into the memory, each at its limit; one with a larger limit runs alone."""
    monkeypatch.setattr(machine, "programs_mb", lambda: 1100)
    sandboxes = Sandboxes(AllowedEnvs())
    large = task(0)
    large.verdict = Verdict(passed=True, stage="kept", limits=TaskLimits(memory_mb=65536))
    running: list[int] = []
    most = 0

    async def one(which: Task, size: int) -> None:
        nonlocal most
        async with sandboxes.room_for(which):
            running.append(size)
            most = max(most, len(running))
            assert size < 65536 or running == [65536]
            await asyncio.sleep(0)
            running.remove(size)

    async def several() -> None:
        await asyncio.gather(*(one(large, 65536) if place == 7 else one(task(place), 512) for place in range(20)))

    asyncio.run(several())
    assert most == 2


@pytest.mark.parametrize("data", [b"\xff\xc0", b"[" * 100_000, b"hello", b"3\n"])
def test_files_that_the_user_names_may_hold_anything(tmp_path: Path, data: bytes) -> None:
    """A corpus, a prompt and the record of a model that are no text or no JSON are errors that name the file."""
    for name in ("corpus", "explore.md", RECORD):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(RecordError, match="corpus:1: not a hostile program"):
        corpus.read([str(tmp_path / "corpus")])
    with pytest.raises(UsageError, match="the record of "):
        trained_before(tmp_path, {})
    if data[0] == 0xFF:
        with pytest.raises(UsageError, match=r"cannot read explore\.md: not valid UTF-8"):
            Prompts(tmp_path).fingerprint("explore")
