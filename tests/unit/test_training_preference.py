"""DPO and KTO: which rollouts are compared, the losses of TRL's own trainers, and that a model learns from them."""

from pathlib import Path
from typing import Any

import pytest
from trl_oracle import preference_losses, tiny

from sca_cli.errors import ExitCode
from sca_cli.training.data import Example
from sca_cli.training.packing import shares
from sca_cli.training.preference import (
    MOST_PAIRS,
    Compared,
    Dpo,
    Kto,
    PreferenceOptions,
    compared,
    mismatched,
    pairs,
    train_preference,
)
from sca_cli.training.trainer import NothingToTrain, TrainOptions

OPTIONS = TrainOptions(
    lora_rank=4, learning_rate=5e-3, epochs=4, batch_size=2, dtype="float32", device="cpu", threads=1
)
PROMPTS = ([5, 6, 7], [5, 6])
CHOSEN = (([8, 9, 40, 41, 10, 1], [1, 1, 0, 0, 1, 1]), ([13, 1], [1, 1]))
REJECTED = (([8, 11, 42, 12, 1], [1, 1, 0, 1, 1]), ([14, 43, 43, 15, 1], [1, 0, 0, 1, 1]))
"""Replies with tool output, and their own-token masks."""


def rollout(task: str, reply: list[int], outcome: Any, own: list[int] | None = None, prompt: Any = (1, 2)) -> Compared:
    """Return a rollout of one sequence."""
    mask = [*[0] * len(prompt), *(own or [1] * len(reply))]
    return Compared([Example([*prompt, *reply], mask, task, f"{task} {reply}", outcome)])


def two_pairs() -> list[tuple[Compared, Compared]]:
    """Return the pairs that TRL is given, too."""
    return [
        (rollout(f"t{i}", *CHOSEN[i][:1], "pass", CHOSEN[i][1], PROMPTS[i]),
         rollout(f"t{i}", *REJECTED[i][:1], "fail", REJECTED[i][1], PROMPTS[i]))
        for i in range(2)
    ]  # fmt: skip


def test_pairs_are_of_one_task_and_at_most_four() -> None:
    """A passed and a failed rollout each; nearest beginnings first; a task with one outcome gives none."""
    passed = [rollout("a", [1, 2, n], "pass") for n in (3, 4, 5)]
    near, far = rollout("a", [1, 2, 9], "fail"), rollout("a", [7], "fail")
    others = [rollout("b", [1], "pass"), rollout("c", [1], "fail")]
    result = pairs([*passed, far, near, *others])
    assert len(result) == MOST_PAIRS
    assert all(one.passed and not other.passed and one.task == other.task == "a" for one, other in result)
    assert result[0][1] is near
    assert {id(rejected) for _, rejected in result[:2]} == {id(near), id(far)}


def test_sequences_of_one_rollout_belong_together() -> None:
    """A rollout whose context changed between turns has several sequences and is compared once."""
    examples = [Example([1, n], [0, 1], "t", record, "pass") for n, record in ((1, "a"), (2, "b"), (3, "a"))]
    assert [len(one.sequences) for one in compared(examples)] == [2, 1]


def test_the_kl_is_estimated_on_replies_to_other_prompts() -> None:
    """Each prompt gets the reply before it, with that reply's own tokens."""
    one, other = two_pairs()[0][0], two_pairs()[1][1]
    first, second = (each.sequences[0] for each in mismatched([one, other]))
    assert first.input_ids == [*PROMPTS[0], *REJECTED[1][0]]
    assert second.loss_mask == [0, 0, *CHOSEN[0][1]]


@pytest.mark.torch
@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
@pytest.mark.parametrize("shared", [True, False])
def test_trl_computes_the_same_loss(tmp_path: Path, algorithm: Any, shared: bool) -> None:
    """On two pairs with tool output, with a reference that differs from the model, within 1e-5."""
    model, reference = tiny(tmp_path / "model"), tiny(tmp_path / "reference", seed=1)
    rows = two_pairs()
    expected = preference_losses(algorithm, model, reference, rows, tmp_path)
    settings = PreferenceOptions(algorithm, nll=0.0)
    everything = [rows[0][0], rows[0][1], rows[1][0], rows[1][1]]
    learner = Dpo(rows, OPTIONS, settings) if algorithm == "dpo" else Kto(everything, OPTIONS, settings)
    for each in (model, reference):
        assert not shared or shares(each, 40)
    learner.begin(reference, shared=shared)
    step = learner.batch(model, list(learner.items))
    found = sum(float(step.loss(model, layout).detach()) for layout in step.layouts)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_the_passed_replies_become_likelier(tmp_path: Path, algorithm: Any) -> None:
    """After a few steps the loss is lower; the record says what was compared."""
    from tiny_model import save_model

    base = str(save_model(tmp_path / "base"))
    examples = [sequence for pair in two_pairs() for one in pair for sequence in one.sequences]
    options = PreferenceOptions(algorithm)
    metrics = train_preference(examples, base, tmp_path / "out", OPTIONS, options)
    losses: Any = metrics["losses"]
    assert losses[-1] < losses[0]
    expected = {"pairs": 2, "pair_tasks": 2} if algorithm == "dpo" else {"passed": 2, "failed": 2}
    assert expected.items() <= metrics.items()


@pytest.mark.parametrize(("algorithm", "message"), [("dpo", "no pair to learn from"), ("kto", "all 2 rollouts passed")])
def test_equal_outcomes_are_nothing_to_compare(tmp_path: Path, algorithm: Any, message: str) -> None:
    """Exit code 1 before any weights are loaded, and nothing is written."""
    examples = [rollout("t", [n], "pass").sequences[0] for n in (1, 2)]
    with pytest.raises(NothingToTrain, match=message) as caught:
        train_preference(examples, "no such base", tmp_path / "out", OPTIONS, PreferenceOptions(algorithm))
    assert caught.value.exit_code is ExitCode.NOTHING
    assert list(tmp_path.iterdir()) == []
