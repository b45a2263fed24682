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


def tiny(directory: Path, *, seed: int = 0) -> Any:
    """Return a tiny random model in float32; another seed moves its weights a little."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(save_model(directory))
    if seed:
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.02 * torch.randn(weight.shape, generator=draw)
    return model


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


def preference_losses(algorithm: str, model: Any, reference: Any, pairs: Sequence[Any], directory: Path) -> float:
    """Return the loss of TRL's DPOTrainer or KTOTrainer on pairs of rollouts, with own-token masks."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    config, trainer_class = {"dpo": (DPOConfig, DPOTrainer), "kto": (KTOConfig, KTOTrainer)}[algorithm]
    tokenizer = AutoTokenizer.from_pretrained(directory / "model")

    class Tokens(trainer_class):  # type: ignore[misc,valid-type]
        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    arguments = config(
        output_dir=str(directory / "out"),
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
        remove_unused_columns=False,
        max_length=None,
        beta=0.1,
        per_device_train_batch_size=4,
        **({"train_sampling_strategy": "sequential"} if algorithm == "kto" else {}),
    )
    rows = _pair_rows(pairs) if algorithm == "dpo" else _single_rows(pairs)
    trainer = Tokens(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    inputs = trainer.data_collator(rows)
    if algorithm == "dpo":
        masks = [row[f"{side}_mask"] for side in ("chosen", "rejected") for row in rows]
        _set_masks(inputs["completion_mask"], [len(row["prompt_ids"]) for row in rows] * 2, masks)
    else:
        lengths = [len(row["prompt_ids"]) for row in rows]
        _set_masks(inputs["completion_mask"], lengths, [row["mask"] for row in rows])
        _set_masks(inputs["KL_completion_mask"], lengths, [row["KL_mask"] for row in rows])
    trainer.model.train()
    return float(trainer.compute_loss(trainer.model, inputs).detach())


def _split(rollout: Any) -> tuple[list[int], list[int], list[int]]:
    example = rollout.sequences[0]
    begun = list(example.loss_mask).index(1)
    return list(example.input_ids[:begun]), list(example.input_ids[begun:]), list(example.loss_mask[begun:])


def _pair_rows(pairs: Sequence[Any]) -> list[dict[str, Any]]:
    rows = []
    for chosen, rejected in pairs:
        prompt, chosen_ids, chosen_mask = _split(chosen)
        _, rejected_ids, rejected_mask = _split(rejected)
        row = {"prompt_ids": prompt, "chosen_ids": chosen_ids, "chosen_mask": chosen_mask}
        rows.append(row | {"rejected_ids": rejected_ids, "rejected_mask": rejected_mask})
    return rows


def _single_rows(pairs: Sequence[Any]) -> list[dict[str, Any]]:
    parts = [(*_split(rollout), rollout.passed) for pair in pairs for rollout in pair]
    return [
        {
            "prompt_ids": prompt,
            "completion_ids": ids,
            "mask": mask,
            "label": passed,
            "KL_completion_ids": parts[i - 1][1],
            "KL_mask": parts[i - 1][2],
        }
        for i, (prompt, ids, mask, passed) in enumerate(parts)
    ]


def _set_masks(mask: Any, prompts: Sequence[int], own: Sequence[Sequence[int]]) -> None:
    """Write own-token masks where TRL marks everything after the prompt."""
    import torch

    for row, (prompt, values) in enumerate(zip(prompts, own, strict=True)):
        mask[row] = 0
        mask[row, prompt : prompt + len(values)] = torch.tensor(values)
