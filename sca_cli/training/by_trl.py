"""Train with TRL's own trainers, on the same token ids and own-token masks: `sca train --trainer trl`.

SFT, DPO and KTO learn from examples; GRPO makes its rollouts with the loop of `sca`. TRL pads rows, so that this is
slower where examples share a prefix; it is the familiar way, and what the tests compare with. Differences to our
trainer:

1. The negative log-likelihood of DPO is the mean over the tokens of all chosen rollouts of a step; ours is the mean of
   each rollout's mean.
2. A rollout is one token sequence. Those of several sequences are left out and counted.
3. GRPO keeps groups without variance in the number of tokens that divides the loss.
4. There are no checkpoints: a run that was killed starts again.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from sca_cli import plugins
from sca_cli.devices import device_of, dtype_of
from sca_cli.errors import UsageError
from sca_cli.records import JSON, Rollout
from sca_cli.training import metrics, ranks
from sca_cli.training.data import Example
from sca_cli.training.policy import PolicyOptions
from sca_cli.training.preference import Compared, PreferenceOptions, compared, kto_weights, mismatched, pairs
from sca_cli.training.trainer import (
    NothingToTrain,
    TrainOptions,
    fail_if_diverged,
    fail_if_in_the_way,
    libraries,
    lora_of,
    losses_of,
    reports_to,
    results_in,
    work_of,
)
from sca_cli.training.weights import load_model, load_tokenizer, write_model

Algorithm = Literal["sft", "dpo", "kto", "grpo"]

type Progress = Callable[[dict[str, float]], None]


def train_by_trl(
    algorithm: Algorithm,
    data: Sequence[Example],
    base_model: str,
    out: Path,
    options: TrainOptions,
    progress: Progress = lambda _: None,
) -> dict[str, JSON]:
    """Train a model on examples with TRL's SFTTrainer, DPOTrainer or KTOTrainer, and write it to `out`.

    Args:
        algorithm: sft, dpo or kto.
        data: the examples; for dpo and kto the sequences of passed and failed rollouts.
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created).
        options: settings of the training.
        progress: called after every step.

    Returns:
        as `train_sft` and `train_preference`.

    Raises:
        MissingError: TRL, the train extra, the base model or the device is missing.
        NothingToTrain: there is nothing to learn from.
        UsageError: `out` exists.
    """
    make = {"sft": sft_trainer, "dpo": dpo_trainer, "kto": kto_trainer}[algorithm]
    if not data:
        raise NothingToTrain("no examples to train on", "only passed attempts and verified solutions are used")
    return _trained(lambda: make(data, base_model, work_of(out), options), base_model, out, options, progress)


def train_grpo_by_trl(
    tasks: Sequence[str],
    attempt: Callable[[list[str], Any], list[Rollout]],
    base_model: str,
    out: Path,
    options: TrainOptions,
    policy: PolicyOptions,
    attempts: int,
    progress: Progress = lambda _: None,
) -> dict[str, JSON]:
    """Train a model with TRL's GRPOTrainer on rollouts of the current weights, and write it to `out`.

    Args:
        tasks: ids of the tasks.
        attempt: (id of the task of each attempt, the trained model) → their rollouts, in the same order.
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created).
        options: settings of the training; a step has `batch_size` tasks.
        policy: settings of the loss.
        attempts: attempts at each task.
        progress: called after every step.

    Raises:
        MissingError, UsageError: as `train_by_trl`.
    """

    def make() -> Any:
        return grpo_trainer(tasks, attempt, base_model, work_of(out), options, policy, attempts)

    return _trained(make, base_model, out, options, progress)


def _trained(
    make: Callable[[], Any], base_model: str, out: Path, options: TrainOptions, progress: Progress
) -> dict[str, JSON]:
    began = time.monotonic()
    fail_if_in_the_way(out, resume=True)
    with libraries(options):
        _fail_without_trl()
        trainer = make()
        work_of(out).mkdir(parents=True, exist_ok=True)
        _add_report(trainer, work_of(out), progress)
        with reports_to(options.report_to):
            trainer.train()
        model = trainer.accelerator.unwrap_model(trainer.model)
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if trainer.is_world_process_zero():
            write_model(
                model,
                base_model,
                lora_of(options),
                out,
                beside=results_in(work_of(out)),
                trust_remote_code=options.trust_remote_code,
            )
        trainer.accelerator.wait_for_everyone()
    shutil.rmtree(work_of(out), ignore_errors=True)
    return {
        "steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        **losses_of(trainer.state.log_history),
        "seconds": time.monotonic() - began,
    }


def _fail_without_trl() -> None:
    """Import TRL.

    Raises:
        MissingError: it is not installed, or its version is not one that was tested.
    """
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func warns
    try:
        import trl
    except ImportError as error:
        raise plugins.missing_package(error, "--trainer trl", "pip install 'trl>=1.16,<2'") from error
    if not trl.__version__.startswith("1."):
        raise UsageError(
            f"--trainer trl: TRL {trl.__version__} is installed, and its trainers take other arguments than those of 1",
            "pip install 'trl>=1.16,<2', or leave out --trainer",
        )


def _add_report(trainer: Any, work: Path, progress: Progress) -> None:
    """Let the first process write each step, with TRL's own figures, into the metrics file."""
    from transformers import PrinterCallback, TrainerCallback

    lines = metrics.MetricsFile(work / metrics.FILE)

    class ToMetrics(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            logs = kwargs["logs"]
            if "loss" not in logs:
                return
            if state.is_world_process_zero:
                figures = {name: float(value) for name, value in logs.items() if isinstance(value, int | float)}
                lines.add({"step": state.global_step, **figures})
            fail_if_diverged(state.global_step, logs["loss"])
            progress({"step": state.global_step, "steps": state.max_steps, "loss": float(logs["loss"])})

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ToMetrics())
    if trainer.is_world_process_zero():
        lines.begin([])


# ---------------------------------------------------------------- the trainers


def sft_trainer(data: Sequence[Example], base_model: str, work: Path, options: TrainOptions) -> Any:
    """Return TRL's SFTTrainer on the examples."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class SilentSft(SFTTrainer):
        def _send_telemetry(self) -> None:
            pass

    rows = [
        {
            "input_ids": list(one.input_ids),
            "labels": [
                token if own and place else -100
                for place, (token, own) in enumerate(zip(one.input_ids, one.loss_mask, strict=True))
            ],
        }
        for one in data
    ]
    config = SFTConfig(
        **_common(work, options), max_length=None, dataset_kwargs={"skip_prepare_dataset": True}, packing=False
    )
    return SilentSft(**_inputs(base_model, options), args=config, train_dataset=_dataset(rows))


def dpo_trainer(data: Sequence[Example], base_model: str, work: Path, options: TrainOptions) -> Any:
    """Return TRL's DPOTrainer on pairs of rollouts.

    Raises:
        NothingToTrain: no task has both a passed and a failed rollout.
    """
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

    chosen = pairs(_of_one_sequence(compared(data)))
    if not chosen:
        raise NothingToTrain("no pair to learn from: no task has both a passed and a failed rollout", "--algo kto")

    class OwnPairs(DataCollatorForPreference):
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            prompts = [len(row["prompt_ids"]) for row in examples] * 2
            masks = [row[f"{side}_own"] for side in ("chosen", "rejected") for row in examples]
            _set_own(batch["completion_mask"], prompts, masks)
            return batch

    class PairTrainer(DPOTrainer):
        def _send_telemetry(self) -> None:
            pass

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    rows = []
    for one, other in chosen:
        prompt, ids, own = _split(one.sequences[0])
        _, rejected_ids, rejected_own = _split(other.sequences[0], len(prompt))
        row = {"prompt_ids": prompt, "chosen_ids": ids, "chosen_own": own}
        rows.append(row | {"rejected_ids": rejected_ids, "rejected_own": rejected_own})
    preference = PreferenceOptions("dpo")
    config = DPOConfig(
        **_common(work, options),
        max_length=None,
        beta=preference.beta,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, preference.nll],
    )
    inputs = _inputs(base_model, options)
    collator = OwnPairs(pad_token_id=_padding(inputs["processing_class"]), max_length=None)
    return PairTrainer(**inputs, args=config, train_dataset=_dataset(rows), data_collator=collator)


def kto_trainer(data: Sequence[Example], base_model: str, work: Path, options: TrainOptions) -> Any:
    """Return TRL's KTOTrainer on rollouts.

    Raises:
        NothingToTrain: all rollouts have one outcome.
    """
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer

    rollouts = _of_one_sequence(compared(data))
    if len({rollout.passed for rollout in rollouts}) < 2:
        raise NothingToTrain(f"nothing to compare: all {len(rollouts)} rollouts have one outcome", "add others")

    class OwnSingles(DataCollatorForUnpairedPreference):
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            prompts = [len(row["prompt_ids"]) for row in examples]
            _set_own(batch["completion_mask"], prompts, [row["own"] for row in examples])
            if "KL_completion_mask" in batch:
                _set_own(batch["KL_completion_mask"], prompts, [row["KL_own"] for row in examples])
            return batch

    class SingleTrainer(KTOTrainer):
        def _send_telemetry(self) -> None:
            pass

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    rows = []
    for rollout, other in zip(rollouts, mismatched(rollouts), strict=True):
        prompt, ids, own = _split(rollout.sequences[0])
        _, other_ids, other_own = _split(other.sequences[0], len(prompt))
        row = {"prompt_ids": prompt, "completion_ids": ids, "own": own, "label": rollout.passed}
        rows.append(row | {"KL_completion_ids": other_ids, "KL_own": other_own})
    of_passed, of_failed = kto_weights(rollouts)
    config = KTOConfig(
        **_common(work, options),
        max_length=None,
        beta=PreferenceOptions("kto").beta,
        desirable_weight=of_passed,
        undesirable_weight=of_failed,
    )
    inputs = _inputs(base_model, options)
    collator = OwnSingles(pad_token_id=_padding(inputs["processing_class"]), max_length=None)
    return SingleTrainer(**inputs, args=config, train_dataset=_dataset(rows), data_collator=collator)


def grpo_trainer(
    tasks: Sequence[str],
    attempt: Callable[[list[str], Any], list[Rollout]],
    base_model: str,
    work: Path,
    options: TrainOptions,
    policy: PolicyOptions,
    attempts: int,
) -> Any:
    """Return TRL's GRPOTrainer, whose rollouts come from `attempt`; arguments as for `train_grpo_by_trl`."""
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    inputs = _inputs(base_model, options)
    padding = _padding(inputs["processing_class"])

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        # a prompt is the id of a task; each is repeated already, once for every attempt
        rollouts = attempt(list(prompts), trainer.accelerator.unwrap_model(trainer.model))
        fields: dict[str, list[Any]] = {
            name: [] for name in ("prompt_ids", "completion_ids", "logprobs", "env_mask", "reward")
        }
        for one in rollouts:
            usable = one.error is None and len(one.segments) == 1 and one.reward is not None
            if usable:
                segment = one.segments[0]
                begun = segment.loss_mask.index(1)
                parts = (segment.token_ids, segment.loss_mask, segment.logprobs)
                (prompt, ids), (_, own), (_, logprobs) = ((part[:begun], part[begun:]) for part in parts)
            else:  # TRL gives a reward of None no advantage
                prompt, ids, own, logprobs = [padding], [padding], [1], [0.0]
            values = (prompt, ids, logprobs, own, one.reward if usable else None)
            for name, value in zip(fields, values, strict=True):
                fields[name].append(value)
        return fields

    def reward(reward: list[float | None], **_: Any) -> list[float | None]:
        return reward

    class SilentGrpo(GRPOTrainer):
        def _send_telemetry(self) -> None:
            pass

    settings = _common(work, options) | {
        "per_device_train_batch_size": attempts,
        "gradient_accumulation_steps": options.batch_size,
    }
    config = GRPOConfig(
        **settings,
        num_generations=attempts,
        temperature=1.0,
        beta=policy.kl,
        epsilon=policy.clip_low,
        epsilon_high=policy.clip_high,
        loss_type="dapo",
        scale_rewards="none",
    )
    return SilentGrpo(
        **inputs,
        args=config,
        train_dataset=_dataset([{"prompt": task} for task in tasks]),
        reward_funcs=reward,
        rollout_func=rollout,
    )


# ---------------------------------------------------------------- what they share


def _common(work: Path, options: TrainOptions) -> dict[str, Any]:
    """Return the settings that all configurations have in common."""
    import torch

    device = device_of(options.device)
    return {
        "output_dir": str(work),
        "per_device_train_batch_size": options.batch_size,
        "num_train_epochs": options.epochs,
        "max_steps": options.max_steps or -1,
        "learning_rate": options.rate,
        "lr_scheduler_type": "constant_with_warmup" if options.scheduler == "constant" else options.scheduler,
        "warmup_steps": options.warmup,
        "weight_decay": 0.0,
        "seed": options.seed,
        "bf16": dtype_of(options.dtype, device) == torch.bfloat16,
        "use_cpu": device == "cpu",
        "gradient_checkpointing": device != "cpu",
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none" if ranks.follows() else options.report_to,
        "run_name": str(work.with_suffix("")),
        "project": "sca",
        "disable_tqdm": True,
    }


def _inputs(base_model: str, options: TrainOptions) -> dict[str, Any]:
    """Return the model, the tokenizer and the adapter for a trainer."""
    import torch
    from transformers import set_seed

    set_seed(options.seed)
    # without LoRA the weights are trained in float32: bfloat16 would round a step of 1e-5 to nothing
    dtype = dtype_of(options.dtype, device_of(options.device)) if options.lora_rank else torch.float32
    return {
        "model": load_model(base_model, dtype, trust_remote_code=options.trust_remote_code),
        "processing_class": load_tokenizer(base_model, trust_remote_code=options.trust_remote_code),
        "peft_config": lora_of(options),
    }


def _dataset(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def _padding(tokenizer: Any) -> int:
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def _of_one_sequence(rollouts: Sequence[Compared]) -> list[Compared]:
    return [rollout for rollout in rollouts if len(rollout.sequences) == 1]


def _split(example: Example, prompt: int | None = None) -> tuple[list[int], list[int], list[int]]:
    """Return the prompt, the tokens after it, and which of these are the model's own."""
    begun = list(example.loss_mask).index(1) if prompt is None else prompt
    return list(example.input_ids[:begun]), list(example.input_ids[begun:]), list(example.loss_mask[begun:])


def _set_own(mask: Any, prompts: Sequence[int], own: Sequence[Sequence[int]]) -> None:
    """Write own-token masks where TRL marks everything after the prompt."""
    import torch

    for row, (prompt, values) in enumerate(zip(prompts, own, strict=True)):
        mask[row] = 0
        mask[row, prompt : prompt + len(values)] = torch.tensor(values)
