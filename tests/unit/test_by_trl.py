"""`--trainer trl`: TRL's own trainers and ours compute the same first step, and GRPO learns with our rollouts."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model

from sca_cli.records import EnvSpec, Rollout, Segment, Task
from sca_cli.training.by_trl import train_by_trl, train_grpo_by_trl
from sca_cli.training.data import Example
from sca_cli.training.metrics import read_curves
from sca_cli.training.policy import PolicyOptions
from sca_cli.training.preference import PreferenceOptions, train_preference
from sca_cli.training.sft import train_sft
from sca_cli.training.trainer import TrainOptions

pytest.importorskip("trl", reason="TRL is the oracle")
pytestmark = pytest.mark.torch

OPTIONS = TrainOptions(
    lora_rank=4,
    learning_rate=1e-3,
    epochs=1,
    batch_size=8,
    dtype="float32",
    device="cpu",
    threads=1,
    save_every_steps=0,
)
PROMPT = [10, 11, 12]


def example(task: str, reply: list[int], outcome: Any, name: str) -> Example:
    """Return a rollout of two turns with two tokens of a tool between them."""
    ids = [*PROMPT, ord(task), *reply[:2], 40, 41, *reply[2:]]
    return Example(ids, [0, 0, 0, 0, 1, 1, 0, 0, *[1] * len(reply[2:])], task, name, outcome)


DATA = [
    example("a", [20, 21, 22, 23], "pass", "1"),
    example("a", [20, 24, 25, 26], "fail", "2"),
    example("b", [30, 31, 32, 33], "pass", "3"),
    example("b", [34, 31, 35, 36], "fail", "4"),
    example("b", [37, 31, 38, 39], "fail", "5"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the directory of a tiny random model."""
    pytest.importorskip("peft", reason="needs the train extra")
    return str(save_model(tmp_path_factory.mktemp("base")))


@pytest.mark.parametrize("algorithm", ["sft", "dpo", "kto"])
def test_the_first_step_has_the_same_loss(base: str, tmp_path: Path, algorithm: Any) -> None:
    """One step on all examples, whose own tokens lie on both sides of tool output: the losses agree."""
    theirs = train_by_trl(algorithm, DATA, base, tmp_path / "trl", OPTIONS)
    if algorithm == "sft":
        ours = train_sft(DATA, base, tmp_path / "ours", OPTIONS)
    else:
        ours = train_preference(DATA, base, tmp_path / "ours", OPTIONS, PreferenceOptions(algorithm))
    assert theirs["steps"] == ours["steps"] == 1
    assert theirs["first_loss"] == pytest.approx(ours["first_loss"], abs=2e-4)
    assert theirs["trainable_parameters"] == ours["trainable_parameters"]
    assert (tmp_path / "trl" / "model.safetensors").exists()
    (line,) = (tmp_path / "trl" / "metrics.jsonl").read_text().splitlines()
    assert (json.loads(line)["step"], json.loads(line)["loss"]) == (1, theirs["first_loss"])
    assert not (tmp_path / "trl.work").exists()


def test_grpo_trains_on_our_rollouts(base: str, tmp_path: Path) -> None:
    """Each task is attempted as often as asked. The reply that is rewarded becomes more probable; an invalid rollout
    and one of two sequences do no harm.
    """
    from transformers import AutoModelForCausalLM

    asked: list[list[str]] = []

    def attempt(names: list[str], model: Any) -> list[Rollout]:
        assert sum(p.requires_grad for p in model.parameters())
        asked.append(names)
        return [rolled(name, place % 4) for place, name in enumerate(names)]

    def rolled(name: str, place: int) -> Rollout:
        task = Task(id=name, env=EnvSpec(name="none"), instruction=name, evaluate="")
        if place == 3:
            return Rollout(task=task, outcome="invalid")
        ids = [*PROMPT, 20 + place, 30]
        segment = Segment(token_ids=ids, loss_mask=[0, 0, 0, 1, 1], logprobs=[0.0, 0.0, 0.0, -1.0, -1.0])
        segments = [segment] * (2 if place == 2 else 1)
        outcome: Any = "pass" if place == 0 else "fail"
        return Rollout(task=task, segments=segments, outcome=outcome, reward=float(place == 0))

    from dataclasses import replace

    options = replace(OPTIONS, batch_size=2, epochs=3)
    metrics = train_grpo_by_trl(["a", "b", "c", "d"], attempt, base, tmp_path / "out", options, PolicyOptions(), 4)
    assert metrics["steps"] == 6
    with (tmp_path / "out" / "metrics.jsonl").open("rb") as lines:
        curves = read_curves(lines)
    assert len(curves["loss"]) == len(curves["reward"]) == 6
    assert [len(names) for names in asked] == [8] * 6
    assert {len(set(names)) for names in asked} == {2}

    def margin(directory: str) -> float:
        import torch

        logits = AutoModelForCausalLM.from_pretrained(directory)(torch.tensor([PROMPT])).logits[0, -1]
        return float((logits[20] - logits[21]).detach())

    assert margin(str(tmp_path / "out")) > margin(base) + 0.01
