"""The metrics file and the picture of a training."""

import json
import sys
from pathlib import Path

import pytest

from sca_cli.training.metrics import FILE, MetricsFile, draw, read_curves

STEPS = [{"step": n, "epoch": n / 4, "loss": 1 / n, "learning_rate": 0.1, "reward": n / 10} for n in range(1, 5)]


def test_a_resumed_file_has_each_step_once(tmp_path: Path) -> None:
    """The steps after the checkpoint, and the line that a kill cut, are replaced by those that are computed again."""
    file = MetricsFile(tmp_path / FILE)
    file.begin([])
    for step in STEPS[:3]:
        file.add(step)
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"step": 4, "ep')
    with (tmp_path / FILE).open("rb") as stream:
        assert [step for step, _ in read_curves(stream)["loss"]] == [1, 2, 3]
    file.begin([*STEPS[:2], {"train_runtime": 1.0, "step": 2}])
    for step in STEPS[2:]:
        file.add(step)
    assert [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()] == STEPS
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_number_that_json_cannot_hold_is_null(tmp_path: Path) -> None:
    """Strict readers accept the file of a training that diverges; the curve has a gap there."""
    file = MetricsFile(tmp_path / FILE)
    for loss in (1.0, float("nan"), float("inf")):
        file.add(STEPS[0] | {"loss": loss})
    lines = (tmp_path / FILE).read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["loss"] for line in lines] == [1.0, None, None]
    with (tmp_path / FILE).open("rb") as stream:
        assert read_curves(stream) == {"loss": [(1, 1.0)], "reward": 3 * [(1, 0.1)]}


@pytest.mark.parametrize("line", [b'{"kind": "task"}\n', b'{"loss": 1.0}\n', b"[]\n", b"text\n"])
def test_another_file_is_no_metrics_file(line: bytes) -> None:
    """Records, and lines without a step, are rejected."""
    with pytest.raises(ValueError, match=r"line|JSON|Expected"):
        read_curves([line])


def test_the_same_curves_give_the_same_picture(tmp_path: Path) -> None:
    """A PNG with a panel for each curve; its bytes depend on the curves only."""
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    curves = read_curves((json.dumps(step) + "\n").encode() for step in STEPS)
    for name, some in (("one", curves), ("two", curves), ("loss", {"loss": curves["loss"]})):
        draw(some, "sca train: grpo", tmp_path / name)
    one, two, loss = ((tmp_path / name).read_bytes() for name in ("one", "two", "loss"))
    assert one.startswith(b"\x89PNG") and one == two
    width = {name: int.from_bytes(data[16:20], "big") for name, data in (("one", one), ("loss", loss))}
    assert width["one"] == 2 * width["loss"]


def test_drawing_does_not_load_a_window_system(tmp_path: Path) -> None:
    """pyplot, which chooses a window system, is not imported."""
    pytest.importorskip("matplotlib", reason="needs the plot extra")
    before = "matplotlib.pyplot" in sys.modules
    draw({"loss": [(1, 1.0), (2, 0.5)]}, "title", tmp_path / "picture.png")
    assert ("matplotlib.pyplot" in sys.modules) is before
