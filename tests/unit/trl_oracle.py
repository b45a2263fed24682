"""TRL's own trainers on fixed completions: what they compute is what ours must compute."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_model import save_model

PROMPT = [10, 11, 12]
COMPLETIONS = ([20, 21, 40, 41, 22, 256], [20, 23, 42, 41, 24, 256])
"""Two completions of equal length; further rollouts repeat them."""
OWN = [1, 1, 0, 0, 1, 1]
"""The two tokens in the middle are a tool's."""


def tiny(directory: Path) -> Any:
    """Return a tiny random model in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(save_model(directory))


def grpo_batch(directory: Path, rewards: Sequence[float | None], *, scaled: bool = False, beta: float = 0.0) -> Any:
    """Return the batch that TRL's GRPOTrainer makes of rollouts with these rewards, its advantages among it."""
    return _batch(grpo_trainer(directory, rewards, scaled=scaled, beta=beta), rewards)


def grpo_trainer(directory: Path, rewards: Sequence[float | None], *, scaled: bool = False, beta: float = 0.0) -> Any:
    """Return TRL's GRPOTrainer, whose rollouts are the fixed completions."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"  # rollout_func warns
    from trl import GRPOConfig, GRPOTrainer

    def rollout(prompts: list[str], *_: Any) -> dict[str, Any]:
        return {
            "prompt_ids": [PROMPT] * len(prompts),
            "completion_ids": [COMPLETIONS[i % 2] for i in range(len(prompts))],
            "logprobs": [[-1.0] * len(OWN)] * len(prompts),
            "env_mask": [OWN] * len(prompts),
        }

    settings = {"scale_rewards": scaled, "loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28}
    arguments = GRPOConfig(**_common(directory, len(rewards)), beta=beta, **settings)
    return GRPOTrainer(**_inputs(directory, rewards), args=arguments, rollout_func=rollout)


def rloo_batch(directory: Path, rewards: Sequence[float | None]) -> Any:
    """Return the batch that TRL's RLOOTrainer makes of rollouts with these rewards, its advantages among it."""
    return _batch(rloo_trainer(directory, rewards), rewards)


def rloo_trainer(directory: Path, rewards: Sequence[float | None]) -> Any:
    """Return TRL's RLOOTrainer, whose completions are the fixed ones; it knows no tools."""
    from trl import RLOOConfig, RLOOTrainer

    class Fixed(RLOOTrainer):
        def _generate(self, prompts: list[str]) -> Any:
            completions = [list(COMPLETIONS[i % 2]) for i in range(len(prompts))]
            return [PROMPT] * len(prompts), completions, ["text"] * len(prompts)

    arguments = RLOOConfig(**_common(directory, len(rewards)), beta=0.0)
    return Fixed(**_inputs(directory, rewards), args=arguments)


def _common(directory: Path, rollouts: int) -> dict[str, Any]:
    return {
        "output_dir": str(directory / "out"),
        "per_device_train_batch_size": rollouts,
        "num_generations": rollouts,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "max_completion_length": 8,
    }


def _inputs(directory: Path, rewards: Sequence[float | None]) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import AutoTokenizer

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        return list(rewards[: len(completions)])

    model = tiny(directory)
    return {
        "model": model,
        "reward_funcs": reward,
        "train_dataset": Dataset.from_dict({"prompt": ["a"]}),
        "processing_class": AutoTokenizer.from_pretrained(directory),
    }


def _batch(trainer: Any, rewards: Sequence[float | None]) -> Any:
    trainer.model.train()
    return trainer._generate_and_score_completions([{"prompt": "a"} for _ in rewards])
