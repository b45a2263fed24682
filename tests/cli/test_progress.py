"""What a log shows of a run that takes long."""

import pytest

from sca_cli.commands.shared import shell


def test_a_log_has_a_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If stderr is no terminal, a line a minute shows the progress, with the records of an earlier run included."""
    now = 0.0
    monkeypatch.setattr(shell.time, "monotonic", lambda: now)
    with shell.Meter("rollout", 9, quiet=False) as meter, shell.Meter("rollout", 9, quiet=True) as silent:
        meter.begin_at(2)
        for second in (10, 59, 61, 100, 125):
            now = float(second)
            meter.advance(1 if second == 61 else 0)
            silent.advance(1)
    assert capsys.readouterr().err.splitlines() == [
        "sca rollout: 5 of 9, kept 1 (33%)",
        "sca rollout: 7 of 9, kept 1 (20%)",
    ]


def test_a_log_of_training_names_the_step(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Training has steps for a count."""
    now = 0.0
    monkeypatch.setattr(shell.time, "monotonic", lambda: now)
    with shell.Meter("train", None, quiet=False) as meter:
        meter.status("step 1/42, loss 0.300")
        now = 61.0
        meter.status("step 9/42, loss 0.200")
    assert capsys.readouterr().err == "sca train: step 9/42, loss 0.200\n"
