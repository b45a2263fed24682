"""Files beside an output, whose names others can guess, follow no symbolic link."""

from pathlib import Path

import pytest

from sca_cli import app
from sca_cli.errors import ExitCode, UsageError
from sca_cli.streams import Output
from sca_cli.training.trainer import fail_if_in_the_way


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Write the file that a link would have overwritten."""
    path = tmp_path / "victim"
    path.write_text("mine\n")
    return path


def test_a_new_journal_replaces_a_link(tmp_path: Path, victim: Path) -> None:
    """`OUT.journal.new` that is a link is removed, and the file that it names stays as it is."""
    (tmp_path / "out.jsonl.journal.new").symlink_to(victim)
    Output(str(tmp_path / "out.jsonl"), rejected=None, resume=False, settings={}).close(complete=True)
    assert victim.read_text() == "mine\n"
    assert (tmp_path / "out.jsonl.journal").is_file()
    assert not (tmp_path / "out.jsonl.journal").is_symlink()


def test_a_journal_that_is_a_link_is_not_read(tmp_path: Path, victim: Path) -> None:
    """`OUT.journal` that is a link is an error that names it and says what to do."""
    (tmp_path / "out.jsonl.journal").symlink_to(victim)
    with pytest.raises(UsageError, match=r"out\.jsonl\.journal is a symbolic link") as raised:
        Output(str(tmp_path / "out.jsonl"), rejected=None, resume=True, settings={})
    assert "remove it" in raised.value.hint
    assert victim.read_text() == "mine\n"


def test_work_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """`SAVE.work` that is a link, also one to nowhere, is an error before any work."""
    (tmp_path / "save.work").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a symbolic link"):
        fail_if_in_the_way(tmp_path / "save", resume=True)


def test_a_file_name_is_shown_without_control_characters(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file name with an escape sequence and a reversed direction reaches the terminal as code points."""
    assert app.run(["verify", str(tmp_path / "a\x1b[2J\u202eb[bold].jsonl")]) == ExitCode.MISSING
    _, err = capfd.readouterr()
    assert "a⟨U+001B⟩[2J⟨U+202E⟩b[bold].jsonl" in err
    assert "\x1b" not in err
