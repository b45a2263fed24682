"""Online training of a tiny model with the real engine: each algorithm learns, and a stopped run continues equally."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model

from sca_cli.errors import ExitCode, ModelError
from sca_cli.fanout import derived_seed
from sca_cli.interfaces import Sampling, TrainableModel
from sca_cli.records import EnvSpec, Message, Rollout, Segment, Task
from sca_cli.training.curriculum import Group, Round
from sca_cli.training.online import Online, OnlineAlgorithm, OnlineOptions
from sca_cli.training.policy import PolicyOptions
from sca_cli.training.trainer import NothingToTrain, TrainOptions, train
from sca_cli.training.weights import merged_weights

pytestmark = pytest.mark.torch

TASKS = [Task(id=f"t{i}", env=EnvSpec(name="none"), instruction=str(i), evaluate="") for i in range(4)]
ROUNDS = 12


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the directory of a tiny random model."""
    pytest.importorskip("peft", reason="needs the train extra")
    return str(save_model(tmp_path_factory.mktemp("base")))


def small_tokens(tokens: list[int]) -> float:
    """Reward a reply whose first token is in the lower half of the vocabulary."""
    return float(tokens[0] < 128)


def run(
    base: str,
    out: Path,
    algorithm: OnlineAlgorithm,
    reward: Callable[[list[int]], float | None] = small_tokens,
    report: Callable[[dict[str, float]], None] = lambda _: None,
    kl: float = 0.0,
) -> tuple[Online, dict[str, Any]]:
    """Train on replies of two tokens by the engine of the transformers plugin."""
    from sca_transformers.model import TransformersModel

    model = TransformersModel(base, dtype="float32", threads="1", prefix_mb="0", batch="16")

    def roll(number: int, weights: Any) -> Round:
        asyncio.run(model.update_weights(weights))
        groups = []
        for task in TASKS:
            sampling = Sampling(1.0, 1.0, 2, seed=derived_seed("roll", number, task.id))
            messages = [Message(role="user", content=task.instruction)]
            replies = asyncio.run(model.generate([messages] * 6, sampling))
            groups.append([rolled(task, reply, reward, f"{number} {n}") for n, reply in enumerate(replies)])
        return Round([Group(group) for group in groups], [rollout for group in groups for rollout in group])

    options = OnlineOptions(algorithm, rounds=ROUNDS, policy=PolicyOptions(kl=kl))
    learner = Online(options, roll, report)
    trainer = TrainOptions(
        lora_rank=8, learning_rate=2e-2, epochs=1, batch_size=1, scheduler="constant", dtype="float32", device="cpu",
        threads=1, save_every_steps=options.passes,
    )  # fmt: skip
    try:
        return learner, train(learner, base, out, trainer, {"options": asdict(options)})
    finally:
        asyncio.run(model.close())


def rolled(task: Task, reply: Any, reward: Callable[[list[int]], float | None], name: str) -> Rollout:
    """Return a reply as the rollout of an attempt."""
    mask = [0] * len(reply.prompt_ids) + [1] * len(reply.token_ids)
    logprobs = [0.0] * len(reply.prompt_ids) + reply.logprobs
    segment = Segment(token_ids=[*reply.prompt_ids, *reply.token_ids], loss_mask=mask, logprobs=logprobs)
    value = reward(reply.token_ids)
    outcome = "invalid" if value is None else "pass" if value else "fail"
    return Rollout(id=f"{task.id} {name}", task=task, segments=[segment], outcome=outcome, reward=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["reinforce", "rloo", "grpo", "ppo"])
def test_each_algorithm_raises_the_reward(base: str, tmp_path: Path, algorithm: OnlineAlgorithm) -> None:
    """A reward that half of the replies get is nearly always got after some rounds; sampler and trainer agree."""
    learner, metrics = run(base, tmp_path / "out", algorithm)
    rounds = learner.summary()
    first, last = (sum(part) / 2 for part in (rounds["reward"][:2], rounds["reward"][-2:]))
    assert first < 0.75
    assert last > first + 0.2
    drifts = [drift for drift in rounds["drift"] if drift is not None]
    assert max(drifts) < 1e-3
    rounds_made = len(metrics["losses"]) / (2 if algorithm == "ppo" else 1)
    # how torch rounds decides whether the entropy falls enough to stop before the last round
    assert len(rounds["reward"]) == rounds_made == (rounds_made if "stopped" in metrics else ROUNDS)
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert not (tmp_path / "out.work").exists()


def test_a_stopped_run_continues_to_the_same_weights(base: str, tmp_path: Path) -> None:
    """PPO is stopped in its seventh round: policy, critic and optimisers continue as if nothing had happened."""

    def stop(figures: dict[str, float]) -> None:
        if figures["round"] == 6:
            raise KeyboardInterrupt

    whole, _ = run(base, tmp_path / "whole", "ppo")
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "out", "ppo", report=stop)
    resumed, _ = run(base, tmp_path / "out", "ppo")
    assert resumed.summary() == whole.summary()
    assert resumed.data == whole.data
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out")]
    assert weights[0] == weights[1]


def test_a_penalty_keeps_the_policy_near_the_reference(base: str, tmp_path: Path) -> None:
    """With a large weight of the KL, the policy stays near its start, and so does its reward."""
    largest, rewards = [], []
    for kl in (1e-4, 10.0):
        learner, _ = run(base, tmp_path / str(kl), "grpo", kl=kl)
        rounds = learner.summary()
        largest.append(max(value for value in rounds["kl"] if value is not None))
        rewards.append(sum(rounds["reward"][-4:]) / 4)
    assert 0 < largest[1] < largest[0] / 2
    assert rewards[1] < rewards[0] - 0.2


@pytest.mark.parametrize(("reward", "hint"), [(0.0, "easier tasks"), (1.0, "harder tasks"), (None, "easier tasks")])
def test_groups_without_variance_end_the_run(base: str, tmp_path: Path, reward: float | None, hint: str) -> None:
    """All fail, all pass or all invalid: after five rounds it stops with exit code 1, and writes no model."""
    with pytest.raises(NothingToTrain, match="5 rounds in a row had no task with both passes and fails") as caught:
        run(base, tmp_path / "out", "grpo", lambda _: reward)
    assert caught.value.exit_code is ExitCode.NOTHING
    assert hint in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_the_engine_answers_with_the_new_weights(base: str, tmp_path: Path) -> None:
    """Weights replaced in a loaded model give the replies of a model loaded with them, also after cached prompts; the
    log-probabilities too. While replies are generated, the change is refused.
    """
    import torch
    from sca_transformers.model import TransformersModel
    from transformers import AutoModelForCausalLM

    other = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    other.save_pretrained(tmp_path / "other")
    for path in Path(base).glob("*token*"):
        (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    for name in ("chat_template.jinja", "generation_config.json"):
        (tmp_path / "other" / name).write_bytes((Path(base) / name).read_bytes())
    conversations = [[Message(role="user", content=text)] for text in ("one", "one two")]
    sampling = Sampling(0.0, 1.0, 6, seed=0)

    async def replies() -> list[Any]:
        old = TransformersModel(base, dtype="float32", threads="1")
        new = TransformersModel(str(tmp_path / "other"), dtype="float32", threads="1")
        assert isinstance(old, TrainableModel)
        try:
            before = await old.generate(conversations, sampling)
            slow = asyncio.create_task(old.generate(conversations, replace(sampling, max_tokens=400)))
            await asyncio.sleep(0.05)
            with pytest.raises(ModelError, match="while replies are generated"):
                await old.update_weights(iter(()))
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)
            await asyncio.sleep(0.05)
            await old.update_weights(merged_weights(other))
            return [before, await old.generate(conversations, sampling), await new.generate(conversations, sampling)]
        finally:
            await old.close()
            await new.close()

    before, after, expected = asyncio.run(replies())
    assert [one.token_ids for one in after] == [one.token_ids for one in expected]
    assert [one.token_ids for one in after] != [one.token_ids for one in before]
    for one, two in zip(after, expected, strict=True):
        assert one.logprobs == pytest.approx(two.logprobs, abs=1e-4)
