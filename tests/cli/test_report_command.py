"""`sca report` as a command: what it reads, what it refuses, and that a page is whole or as it was."""

import gzip
import os
from pathlib import Path

import pytest

from sca_cli import app
from sca_cli.errors import ExitCode
from sca_cli.records import EnvSpec, Task, encode

LINE = encode(Task(env=EnvSpec(name="e"), instruction="say é", evaluate="e")) + b"\n"


@pytest.fixture
def run_directory(tmp_path: Path) -> Path:
    """Return the directory of a small run."""
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "a.jsonl").write_bytes(LINE)
    (tmp_path / "run" / "deep" / "b.jsonl").write_bytes(LINE)
    return tmp_path / "run"


def report(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command in this process and return code, stdout and stderr."""
    code = app.run(["report", *map(str, arguments)])
    out, err = capfd.readouterr()
    return code, out, err


def test_the_same_input_gives_the_same_page(capfd, run_directory: Path, tmp_path: Path) -> None:
    """A directory means the files below it; stdout and file get the same bytes, twice."""
    pages = [tmp_path / name for name in ("one.html", "two.html")]
    for path in pages:
        code, out, err = report(capfd, run_directory, "-o", path)
        assert (code, out, err) == (0, "", "sca report: 2 records of 2 files\n")
    assert pages[0].read_bytes() == pages[1].read_bytes()
    code, out, _ = report(capfd, run_directory)
    assert (code, out) == (0, pages[0].read_text())


def test_a_run_that_goes_on_can_be_looked_at(capfd, run_directory: Path) -> None:
    """Half a line at the end of a file is left out; stderr and the page report it."""
    with (run_directory / "a.jsonl").open("ab") as file:
        file.write(LINE[: len(LINE) // 2])
    code, out, err = report(capfd, run_directory)
    assert code == 0
    assert f"{run_directory}/a.jsonl:2: half a line at the end of the file is left out" in err
    assert "a half line at the end of 1 file, still being written" in out


def test_other_files_of_a_directory_are_left_out(capfd, run_directory: Path) -> None:
    """A file of a directory that holds no records is skipped with a warning; named on the command line, it is an
    error.
    """
    foreign = run_directory / "foreign.jsonl"
    foreign.write_text('{"prompt": "hello"}\n')
    code, _, err = report(capfd, run_directory)
    assert (code, err.count("the file is left out")) == (0, 1)
    assert f"{foreign}:1:" in err
    assert report(capfd, foreign)[0] == ExitCode.RECORD


def test_what_cannot_be_read_costs_a_line_or_a_file(capfd, run_directory: Path) -> None:
    """A line that is no record, a dangling link and a named pipe in a directory leave a page of everything else."""
    (run_directory / "odd.jsonl.gz").write_bytes(gzip.compress(LINE + b"hello\n" + LINE))
    (run_directory / "dangling.jsonl").symlink_to("/nowhere")
    os.mkfifo(run_directory / "pipe.jsonl")
    code, page, err = report(capfd, run_directory)
    assert (code, page[:9]) == (ExitCode.RECORD, "<!DOCTYPE")
    assert f"{run_directory}/odd.jsonl.gz:2: not a record" in err
    assert f"cannot read {run_directory}/dangling.jsonl: No such file or directory: the file is left out" in err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["broken.jsonl"], ExitCode.RECORD, "sca report: broken.jsonl:1: not a record"),
        (["run", "nowhere.jsonl"], ExitCode.MISSING, "cannot read nowhere.jsonl: No such file or directory"),
        (["empty"], ExitCode.NOTHING, "no records, nothing to report"),
        ([], ExitCode.USAGE, "nothing to read"),
    ],
)
def test_what_cannot_be_reported_leaves_the_page_as_it_was(
    capfd, monkeypatch: pytest.MonkeyPatch, run_directory: Path, arguments: list[str], code: int, told: str
) -> None:
    """A bad line, a missing file and an empty input each give an error, and the old page stays."""
    home = run_directory.parent
    monkeypatch.chdir(home)
    (home / "broken.jsonl").write_bytes(b"hello\n")
    (home / "empty").mkdir()
    (home / "old.html").write_text("old")
    ended, out, err = report(capfd, *arguments, "-o", "old.html")
    assert (ended, out) == (code, "")
    assert told in err
    assert (home / "old.html").read_text() == "old"
    assert sorted(path.name for path in home.glob("*.html*")) == ["old.html"]


def test_the_page_does_not_replace_what_is_read(capfd, run_directory: Path) -> None:
    """-o on a file that was named as input is a usage error."""
    code, _, err = report(capfd, run_directory / "a.jsonl", "-o", run_directory / "a.jsonl")
    assert code == ExitCode.USAGE
    assert "writing would overwrite it" in err
    assert (run_directory / "a.jsonl").read_bytes() == LINE


def test_a_page_is_written_where_a_link_leads_and_to_what_is_no_file(
    capfd, run_directory: Path, tmp_path: Path
) -> None:
    """A symbolic link stays a link, devices can be written to, and a missing directory is an error."""
    target, link = tmp_path / "target.html", tmp_path / "link.html"
    target.write_text("old")
    link.symlink_to(target)
    assert report(capfd, run_directory, "-o", link)[0] == 0
    assert link.is_symlink() and target.read_text().startswith("<!DOCTYPE html>")
    assert report(capfd, run_directory, "-o", "/dev/null")[0] == 0
    code, _, err = report(capfd, run_directory, "-o", "/dev/full")
    assert (code, "cannot write /dev/full: No space left on device" in err) == (ExitCode.MISSING, True)
    code, _, err = report(capfd, run_directory, "-o", tmp_path / "no" / "page.html")
    assert (code, "cannot write" in err) == (ExitCode.MISSING, True)
