"""What describes a trained model: the model card, and the picture that needs matplotlib."""

import sys
from pathlib import Path
from typing import Any

import pytest

from sca_cli import app
from sca_cli.commands.shared.card import card, describe
from sca_cli.errors import ExitCode
from sca_cli.records import Checkpoint, MadeBy
from sca_cli.training.metrics import FILE, MetricsFile

CHECKPOINT = Checkpoint(
    path="runs/trained",
    base_model="Owner/Base-0.5B",
    algorithm="grpo",
    data=["r1", "r2"],
    settings={"lora_rank": 16, "learning_rate": 2e-5, "turns": None, "band": {"low": 0.2, "high": 0.8}},
    metrics={"steps": 3, "first_loss": 0.5, "last_loss": 0.25, "losses": [], "rounds": {"reward": [0.2, 0.45]}},
    made_by=MadeBy(command="train", model="transformers:a|b", version="0.1.0"),
)


def test_the_card_says_what_the_model_was_made_of() -> None:
    """The hub reads its head; the text names base, algorithm, data, files, settings, figures and how to load it."""
    hub = pytest.importorskip("huggingface_hub", reason="needs the train extra")
    text = card(CHECKPOINT, ["tasks.jsonl", "-"], picture=True)
    assert hub.ModelCard(text).data.to_dict() == {
        "base_model": "Owner/Base-0.5B",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["sca", "grpo"],
    }
    for row in (
        "| base model | `Owner/Base-0.5B` |",
        "| algorithm | grpo |",
        "| attempts by | `transformers:a\\|b` |",
        "| files | `tasks.jsonl`, standard input |",
        "| learning rate | 2e-05 |",
        "| band | low 0.2, high 0.8 |",
        "| last loss | 0.25 |",
        "| reward, first and last round | 20.0%, 45.0% |",
    ):
        assert row in text.splitlines()
    assert "| data | 2 records: `r1`, `r2`; SHA-256 of the ids, one a line: `" in text
    assert "![Curves of the training](curves.png)" in text
    assert 'AutoModelForCausalLM.from_pretrained("runs/trained")' in text


def test_a_directory_is_no_base_model_for_the_hub(tmp_path: Path) -> None:
    """The hub accepts names of its own only; the text names the directory. Many ids are counted and hashed."""
    hub = pytest.importorskip("huggingface_hub", reason="needs the train extra")
    local = Checkpoint(path="m", base_model=str(tmp_path), algorithm="rft", data=[f"r{n}" for n in range(21)])
    text = card(local, ["-"], picture=False)
    assert "base_model" not in hub.ModelCard(text).data.to_dict()
    assert f"| base model | `{tmp_path}` |" in text
    assert "| data | 21 records; SHA-256 of the ids, one a line: `" in text
    assert "curves.png" not in text


def test_without_matplotlib_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card is written all the same, without a picture."""
    pytest.importorskip("huggingface_hub", reason="needs the train extra")
    MetricsFile(tmp_path / FILE).add({"step": 1, "epoch": 1.0, "loss": 1.0, "learning_rate": 0.1})
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    describe(CHECKPOINT, tmp_path, [], quiet=False)
    said = "sca train: no picture of the curves: it needs pip install 'sca-cli[plot]'\n"
    assert capsys.readouterr().err == said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", FILE]


@pytest.mark.parametrize("library", ["trackio", "wandb", "tensorboard"])
def test_a_missing_library_is_reported_before_any_work(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4 and the command that installs it, before the input is opened."""
    absent: Any = lambda _: None  # noqa: E731
    monkeypatch.setattr("sca_cli.commands.shared.training.find_spec", absent)
    code = app.run(["train", "nowhere.jsonl", "--base", "nowhere", "--save", "made", "--report-to", library])
    assert code == ExitCode.MISSING
    error = capsys.readouterr().err
    assert error == f"sca train: --report-to {library} needs the package '{library}'\nhint: pip install {library}\n"
