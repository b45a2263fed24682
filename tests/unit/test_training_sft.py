"""Fine-tuning a tiny random model for real: what is learnt, what is written, and what a killed run leaves."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model

from sca_cli.errors import ExitCode, MissingError, UsageError
from sca_cli.training.data import Example
from sca_cli.training.sft import train_sft
from sca_cli.training.trainer import NothingToTrain, TrainOptions

pytestmark = pytest.mark.torch

OPTIONS = TrainOptions(
    lora_rank=4,
    lora_alpha=8,
    learning_rate=2e-2,
    epochs=4,
    batch_size=4,
    dtype="float32",
    device="cpu",
    threads=1,
)


def data(n: int = 12) -> list[Example]:
    """Return examples with a common prompt, each ending in a fixed answer that is to be learnt."""
    draw = random.Random(0)
    prompt = [draw.randrange(256) for _ in range(20)]
    return [Example([*prompt, i, i + 1, 7, 8, 9, 258], [0] * 22 + [1] * 4, f"t{i}", f"r{i}", "pass") for i in range(n)]


def weights(directory: Path) -> dict[str, Any]:
    """Return the tensors of a model directory."""
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


def equal(a: Path, b: Path) -> bool:
    """Tell whether two model directories hold the same bits."""
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all((left[name] == right[name]).all() for name in left)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the directory of a tiny random model."""
    pytest.importorskip("peft", reason="needs the train extra")
    return str(save_model(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def trained(
    base: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, float], list[dict[str, float]]]:
    """Train once with LoRA; return the directory, the metrics and what was reported."""
    seen: list[dict[str, float]] = []
    out = tmp_path_factory.mktemp("trained") / "out"
    return out, train_sft(data(), base, out, OPTIONS, seen.append), seen


def test_the_loss_falls_and_is_reported(trained: Any) -> None:
    """Four passes over twelve examples reduce the loss; every step is reported, and is a line of metrics.jsonl."""
    out, metrics, seen = trained
    assert metrics["last_loss"] < metrics["first_loss"] / 2
    assert metrics["loss_epoch_4"] < metrics["loss_epoch_1"]
    assert [entry["step"] for entry in seen] == list(range(1, 13))
    assert {entry["steps"] for entry in seen} == {12}
    assert (metrics["examples"], metrics["tokens"], metrics["loss_tokens"], metrics["steps"]) == (
        12,
        312,
        48,
        12,
    )
    assert metrics["first_loss"] == seen[0]["loss"]
    assert metrics["losses"] == [round(entry["loss"], 4) for entry in seen]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [list(line)[:4] for line in lines] == 12 * [["step", "epoch", "loss", "learning_rate"]]
    assert [{name: line[name] for name in list(line)[:4]} for line in lines] == [
        {name: entry[name] for name in ("step", "epoch", "loss", "learning_rate")} for entry in seen
    ]
    assert 0 < metrics["trainable_parameters"] < 60_000


def test_the_result_is_a_whole_model_and_differs_from_its_base(trained: Any, base: str) -> None:
    """transformers loads it; linear layers moved, embeddings did not; the rest is kept."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out, _, _ = trained
    before, after = weights(Path(base)), weights(out)
    assert before.keys() == after.keys()
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert moved == {name for name in before if "_proj.weight" in name}
    assert AutoModelForCausalLM.from_pretrained(out).config.to_dict() == (
        AutoModelForCausalLM.from_pretrained(base).config.to_dict() | {"_name_or_path": str(out)}
    )
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        assert (out / name).read_bytes() == (Path(base) / name).read_bytes()
    prompt = "hé <|im_end|>"
    assert AutoTokenizer.from_pretrained(out)(prompt) == AutoTokenizer.from_pretrained(base)(prompt)


def test_nothing_else_is_left_behind(trained: Any) -> None:
    """Neither checkpoints nor a partial directory remain."""
    out, _, _ = trained
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_same_seed_same_weights_other_seed_others(trained: Any, base: str, tmp_path: Path) -> None:
    """Training is a function of data, base, options and seed."""
    out, _, _ = trained
    train_sft(data(), base, tmp_path / "again", OPTIONS)
    train_sft(data(), base, tmp_path / "other", replace(OPTIONS, seed=1))
    assert equal(out, tmp_path / "again")
    assert not equal(out, tmp_path / "other")


def test_only_the_models_own_tokens_are_learnt(base: str, tmp_path: Path) -> None:
    """A given token after all that is learnt changes nothing; the same token, to be learnt, does."""
    prompt = [11, 12, 13, 14, 15]
    one = [Example([*prompt, 7, 8, given], [0] * 5 + [1, 1, 0], "t", "r", "pass") for given in (99,)]
    two = [Example([*prompt, 7, 8, given], [0] * 5 + [1, 1, 0], "t", "r", "pass") for given in (42,)]
    three = [Example([*prompt, 7, 8, 99], [0] * 5 + [1, 1, 1], "t", "r", "pass")]
    for name, examples in (("one", one), ("two", two), ("three", three)):
        train_sft(examples, base, tmp_path / name, replace(OPTIONS, epochs=2))
    assert equal(tmp_path / "one", tmp_path / "two")
    assert not equal(tmp_path / "one", tmp_path / "three")


def test_all_weights_are_trained_without_lora(base: str, tmp_path: Path) -> None:
    """Rank 0 changes the embeddings too, and the loss decreases."""
    metrics = train_sft(data(), base, tmp_path / "out", replace(OPTIONS, lora_rank=0))
    before, after = weights(Path(base)), weights(tmp_path / "out")
    assert all((before[name] != after[name]).any() for name in before)
    assert metrics["last_loss"] < metrics["first_loss"] / 2


def test_bfloat16_learns_alike_and_keeps_the_bases_precision(base: str, tmp_path: Path) -> None:
    """Trained in bfloat16, the loss decreases as well and the result is float32 as its base is."""
    import torch

    metrics = train_sft(data(), base, tmp_path / "out", replace(OPTIONS, dtype="bfloat16"))
    assert metrics["last_loss"] < metrics["first_loss"] / 2
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float32}


def test_shared_prefixes_change_speed_and_not_the_result(trained: Any, base: str, tmp_path: Path) -> None:
    """The losses are the same with and without shared prefixes, and split into many passes."""
    _, metrics, _ = trained
    for name, options in (("rows", {"share_prefixes": False}), ("split", {"batch_tokens": 30})):
        plain = train_sft(data(), base, tmp_path / name, replace(OPTIONS, **options))  # type: ignore[arg-type]
        assert plain["last_loss"] == pytest.approx(metrics["last_loss"], rel=1e-2)


def test_what_memory_cannot_keep_is_computed_again(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes too large for the free memory keep less and learn the same; the others are not slowed down by them."""
    from transformers import PreTrainedModel

    from sca_cli.training import trainer

    enable, disable = PreTrainedModel.gradient_checkpointing_enable, PreTrainedModel.gradient_checkpointing_disable
    kept: list[int] = []
    recomputed: list[bool] = []
    hooks: list[Any] = []

    def told(*given: Any) -> int:
        kept.append(needed(*given))
        return kept[-1]

    def enabled(model: Any, *given: Any) -> None:
        recomputed.append(True)
        enable(model, *given)
        hooks.append(model.get_input_embeddings()._forward_hooks)

    def disabled(model: Any) -> None:
        recomputed.append(False)
        disable(model)

    needed = trainer.kept_bytes
    monkeypatch.setattr(trainer, "kept_bytes", told)
    monkeypatch.setattr(PreTrainedModel, "gradient_checkpointing_enable", enabled)
    monkeypatch.setattr(PreTrainedModel, "gradient_checkpointing_disable", disabled)
    losses = []
    for name, kinds in (("much", {False}), ("some", {True, False}), ("none", {True})):
        free = {"much": 10**12, "some": max(kept, default=0) + min(kept, default=0), "none": 0}[name]
        monkeypatch.setattr(trainer, "free_bytes", lambda _, free=free: free)
        recomputed.clear()
        losses.append(train_sft(data(11), base, tmp_path / name, OPTIONS)["losses"])
        assert set(recomputed) == kinds
    assert losses[0] == losses[1] == losses[2]
    assert not any(hooks), "the next passes would compute gradients of the embedding"


def test_nothing_is_written_to_stdout(base: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """stdout is data: training says nothing there."""
    train_sft(data(), base, tmp_path / "out", replace(OPTIONS, max_steps=1))
    assert capfd.readouterr().out == ""


# ---------------------------------------------------------------- killed and resumed

RUN = """
import json, sys
from pathlib import Path
from test_training_sft import OPTIONS, data
from dataclasses import replace
from sca_cli.training.sft import train_sft
report = lambda entry: print(int(entry["step"]), file=sys.stderr, flush=True)
base, out = sys.argv[1:]
metrics = train_sft(data(), base, Path(out), replace(OPTIONS, save_every_steps=3), report, resume=True)
print(json.dumps(metrics))
"""


def start(base: str, out: Path) -> "subprocess.Popen[str]":
    """Start a training run in a process of its own, with a checkpoint every three steps."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", RUN, base, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def steps(process: "subprocess.Popen[str]", until: Callable[[list[int]], bool] = lambda _: False) -> list[int]:
    """Read the reported steps until the run ends or `until` returns True."""
    seen: list[int] = []
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip().isdigit():
            seen.append(int(line))
            if until(seen):
                break
    return seen


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(trained: Any, base: str, tmp_path: Path) -> None:
    """kill -9 in the middle and a torn checkpoint: the second run ends with the same weights, losses and metrics."""
    out, metrics, _ = trained
    killed = start(base, tmp_path / "out")
    steps(killed, lambda seen: len(seen) == 8)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "out").exists()
    work = tmp_path / "out.work"
    whole = [path for path in work.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    assert whole
    (work / "checkpoint-99").mkdir()
    (work / "checkpoint-99" / "trainer_state.json").write_text('{"epoch"')
    resumed = start(base, tmp_path / "out")
    seen = steps(resumed)
    stdout, _ = resumed.communicate()
    assert seen[0] > 3
    assert seen[-1] == 12
    assert equal(out, tmp_path / "out")
    assert (tmp_path / "out" / "metrics.jsonl").read_bytes() == (out / "metrics.jsonl").read_bytes()
    assert json.loads(stdout) | {"seconds": 0} == metrics | {"seconds": 0}
    assert not work.exists()


def unfinished(base: str, out: Path) -> None:
    """Leave the work of a run that was stopped by what it was reported to."""

    def stop(entry: dict[str, float]) -> None:
        if entry["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_sft(data(), base, out, replace(OPTIONS, save_every_steps=3), stop)


@pytest.mark.parametrize(
    ("examples", "options", "named"),
    [(data(11), OPTIONS, "data"), (data(), replace(OPTIONS, seed=3, batch_size=2), "batch_size, seed")],
)
def test_work_of_another_run_is_refused_and_says_what_differs(
    base: str, tmp_path: Path, examples: list[Example], options: TrainOptions, named: str
) -> None:
    """Resuming with other data or options would mix two runs."""
    unfinished(base, tmp_path / "out")
    with pytest.raises(UsageError, match=f": different {named}"):
        train_sft(examples, base, tmp_path / "out", options, resume=True)


def test_work_that_was_not_asked_for_is_refused(base: str, tmp_path: Path) -> None:
    """Without `resume`, checkpoints of an unfinished run are neither used nor thrown away."""
    unfinished(base, tmp_path / "out")
    with pytest.raises(UsageError, match="did not finish"):
        train_sft(data(), base, tmp_path / "out", OPTIONS)
    assert (tmp_path / "out.work" / "checkpoint-3").is_dir()


# ---------------------------------------------------------------- refusals


def test_an_output_in_the_way_is_refused_before_any_work(base: str, tmp_path: Path) -> None:
    """A directory that holds something is left as it is; an empty one is used."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(UsageError, match="exists already"):
        train_sft(iter(()), "no such base", tmp_path / "out", OPTIONS)
    (tmp_path / "empty").mkdir()
    train_sft(data(4), base, tmp_path / "empty", replace(OPTIONS, max_steps=1))
    assert (tmp_path / "empty" / "config.json").exists()


def test_no_examples_is_nothing_to_train(base: str, tmp_path: Path) -> None:
    """It ran and produced nothing: exit code 1, and no directory."""
    with pytest.raises(NothingToTrain) as caught:
        train_sft([], base, tmp_path / "out", OPTIONS)
    assert caught.value.exit_code is ExitCode.NOTHING
    assert list(tmp_path.iterdir()) == []


def test_a_base_model_that_is_not_there_is_missing(tmp_path: Path) -> None:
    """The message names it."""
    began = time.monotonic()
    with pytest.raises(MissingError, match="no-such-model"):
        train_sft(data(), str(tmp_path / "no-such-model"), tmp_path / "out", OPTIONS)
    assert time.monotonic() - began < 60
    assert not (tmp_path / "out.work").exists()


def test_tokens_of_a_larger_vocabulary_are_refused(base: str, tmp_path: Path) -> None:
    """Token ids that the model does not have mean that another model made the rollouts."""
    with pytest.raises(UsageError, match="another model"):
        train_sft([Example([1, 70_000], [0, 1], "t", "r", "pass")], base, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out.work").exists()


def test_a_missing_extra_names_the_command_that_installs_it(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If peft is absent, the hint is the install command."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingError) as caught:
        train_sft(data(), base, tmp_path / "out", OPTIONS)
    assert caught.value.hint == "pip install 'sca-cli[train]'"
