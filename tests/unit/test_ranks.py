"""Several processes of one training: how the passes of a step are divided."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import save_model

from sca_cli.commands.shared.training import Running
from sca_cli.errors import UsageError
from sca_cli.training import ranks
from sca_cli.training.data import Example
from sca_cli.training.packing import layouts
from sca_cli.training.trainer import Batch, _own_passes

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("examples", "processes"), [(5, 2), (1, 2), (8, 3)])
def test_every_pass_counts_once_and_all_processes_have_as_many(
    monkeypatch: pytest.MonkeyPatch, examples: int, processes: int
) -> None:
    """The mean over the processes of their weighted passes is the sum over all passes, as DDP averages gradients."""
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    batch = [Example([1, 2, 3, 10 + n], [0, 0, 1, 1], "t", str(n), "pass") for n in range(examples)]
    passes = list(layouts(batch, 1000, shared=True))
    assert len(passes) >= min(examples, processes)
    assert sorted(place for one in passes for place in set(one.owners.tolist())) == list(range(examples))
    shares = []
    for number in range(processes):
        monkeypatch.setenv("RANK", str(number))
        shares.append(_own_passes(Batch(passes, lambda *_: NotImplemented)))
    assert len({len(share) for share in shares}) == 1
    weight = {id(one): 0.0 for one in passes}
    for share in shares:
        for layout, part in share:
            weight[id(layout)] += part / processes
    assert list(weight.values()) == pytest.approx([1.0] * len(passes))


def test_one_process_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a launcher nothing is exchanged; a follower ends with the exit code of its error, and says nothing."""
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (ranks.count(), ranks.number(), ranks.follows()) == (1, 0, False)
    assert ranks.from_first(lambda: 7) == 7
    assert ranks.summed({"a": 1.0}) == {"a": 1.0}
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as ended, ranks.silent_followers():
        raise UsageError("wrong")
    assert ended.value.code == 2


def test_a_dry_run_needs_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its estimate is of one process; with several the command ends before any work."""
    dry = Running(dry_run=True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    dry.fail_if_dry_run_cannot()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="--dry-run needs one process"):
        dry.fail_if_dry_run_cannot()


TRAINING = """
import json, sys
from pathlib import Path
from sca_cli.training import ranks
from sca_cli.training.data import Example
from sca_cli.training.sft import train_sft
from sca_cli.training.trainer import TrainOptions
options = TrainOptions(
    lora_rank=4, learning_rate=1e-2, epochs=5, batch_size=4, dtype="float32", device="cpu", threads=1
)
data = [Example([1, 2, 3, 10 + n, 20 + n * n], [0, 0, 1, 1, 1], "t", str(n), "pass") for n in range(8)]
metrics = train_sft(data, sys.argv[1], Path(sys.argv[2]), options)
if not ranks.follows():
    print(json.dumps(metrics["losses"]))
"""


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path: Path) -> None:
    """Ten steps by torchrun with two processes: each loss is that of one process, to rounding; one model is written."""
    pytest.importorskip("peft", reason="needs the train extra")
    base = save_model(tmp_path / "base")
    (tmp_path / "train.py").write_text(TRAINING)

    def losses(out: str, *launcher: str) -> list[float]:
        command = [sys.executable, *launcher, "train.py", str(base), out]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr
        curve: list[float] = json.loads(ended.stdout.splitlines()[-1])
        return curve

    one = losses("one")
    two = losses("two", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29511")
    assert len(one) == len(two) == 10
    assert two == pytest.approx(one, abs=2e-3)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "train.py", "one", "two"}
