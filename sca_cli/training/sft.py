"""Supervised fine-tuning on sampled tokens with TRL's SFTTrainer: LoRA or all weights, on a CPU or a GPU.

`train_sft` reads examples, trains, and writes a model directory that transformers and vLLM can load. During training,
checkpoints are in `OUT.work/`. The output directory appears only when it is complete.

Two parts replace TRL's: the layout of a batch (`packing` computes a shared prompt once), and the loss, which computes
logits only for tokens that carry loss. Both keep the gradient equal up to rounding.
"""

import contextlib
import json
import math
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sca_cli import plugins
from sca_cli.devices import ask_for_huge_pages, device_of, dtype_of
from sca_cli.errors import ExitCode, ModelError, ScaError, UsageError
from sca_cli.records import JSON
from sca_cli.streams import locked
from sca_cli.training.batching import AlikeFirst, alike
from sca_cli.training.data import Example
from sca_cli.training.packing import ATTENTION, Layout, layouts, surprise, tree_attention
from sca_cli.training.weights import load_model, load_tokenizer, write_model
from sca_cli.training.work import fingerprint_of, last_checkpoint

if TYPE_CHECKING:
    import torch


class NothingToTrain(ScaError):
    """There is no example to train on. The command exits with the code for an empty result."""

    exit_code = ExitCode.NOTHING


@dataclass(frozen=True, slots=True)
class SftOptions:
    """Settings of the training. The defaults suit rejection sampling on a few hundred to a few thousand rollouts."""

    lora_rank: int = 16
    """0 trains all weights."""
    lora_alpha: int = 32
    learning_rate: float | None = None
    """None: 2e-4 with LoRA, 1e-5 without."""
    epochs: int = 2
    batch_size: int = 8
    """Examples in one optimiser step."""
    batch_tokens: int = 4096
    """Most tokens in one forward pass; a larger step is split into several passes."""
    max_steps: int | None = None
    """Most optimiser steps; None: the number of epochs decides."""
    warmup: float = 0.0
    """Share of the steps during which the learning rate rises; the first step has rate 0."""
    scheduler: Literal["linear", "cosine", "constant"] = "cosine"
    seed: int = 0
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of matrix products. auto: bfloat16 if the hardware multiplies it natively, else float32."""
    device: str = "auto"
    """auto, cpu or cuda. auto: a GPU if there is one."""
    threads: int | None = None
    """Number of CPU threads; None: torch's default."""
    save_every_steps: int = 50
    """Optimiser steps between two checkpoints. 0: no checkpoints, and a killed run starts from the beginning."""
    share_prefixes: bool = True
    """Compute the common prefixes of a batch once, if the model allows it."""
    trust_remote_code: bool = False
    """Run Python code of the base model's directory."""

    @property
    def rate(self) -> float:
        """The highest learning rate of the schedule."""
        return self.learning_rate or (2e-4 if self.lora_rank else 1e-5)


def fail_if_in_the_way(out: Path, *, resume: bool) -> None:
    """Check, before any work, that a model can be written to `out`.

    Raises:
        UsageError: `out` is a file or a directory with files, or `OUT.work` is a link, or exists and `resume` is False.
    """
    work = out.with_name(out.name + ".work")
    if work.is_symlink():
        raise UsageError(f"{work} is a symbolic link, which is not followed", "remove it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "name another directory, or remove it")
    if work.exists() and not resume:
        raise UsageError(f"{work} contains checkpoints of a run that did not finish", "add --resume, or remove it")


def train_sft(
    data: Iterable[Example],
    base_model: str,
    out: Path,
    options: SftOptions,
    progress: Callable[[dict[str, float]], None] = lambda _: None,
    *,
    resume: bool = False,
) -> dict[str, JSON]:
    """Fine-tune a model on examples and write it to `out`.

    Args:
        data: the examples; all are stored in memory (token ids only).
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created). `OUT.work` and `OUT.partial` in the same folder are used during the run.
        options: settings of the training.
        progress: called after every step with step, steps, epoch, loss (nats a token), learning_rate.
        resume: continue from the last checkpoint in `OUT.work`, if there is one.

    Returns:
        examples, tokens and loss_tokens in the data; steps; trainable_parameters; first_loss, last_loss,
        loss_epoch_1, … and losses, one a step (nats a token); seconds (wall time of this call).

    Raises:
        NothingToTrain: there are no examples.
        MissingError: the train extra, the base model or the device is missing.
        UsageError: `out` exists; `OUT.work` belongs to another run, or another process writes it; a token id is
            outside the model's vocabulary.
        ModelError: the loss is not finite.
    """
    began = time.monotonic()
    work = out.with_name(out.name + ".work")
    fail_if_in_the_way(out, resume=resume)
    chosen = list(data)
    if not chosen:
        raise NothingToTrain(
            "no examples to train on", "only passed attempts and verified solutions are used for training"
        )
    with _quiet(options):
        fingerprint = fingerprint_of(chosen, base_model, asdict(options))
        checkpoint = last_checkpoint(work, fingerprint)
        trainer = _trainer(chosen, base_model, work, options, progress)
        from peft.helpers import disable_input_dtype_casting

        work.mkdir(parents=True, exist_ok=True)
        # autocast rounds the input of an adapter; PEFT would first convert it to the adapter's type: a second copy
        with locked(work), disable_input_dtype_casting(trainer.model):
            (work / "run.json").write_text(json.dumps(fingerprint))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
            write_model(trainer.model, base_model, _lora(options), out, trust_remote_code=options.trust_remote_code)
    shutil.rmtree(work)
    return {
        "examples": len(chosen),
        "tokens": sum(len(example.input_ids) for example in chosen),
        "loss_tokens": sum(sum(example.loss_mask[1:]) for example in chosen),
        "steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        **_losses(trainer.state.log_history),
        "seconds": time.monotonic() - began,
    }


def _losses(history: list[dict[str, float]]) -> dict[str, JSON]:
    """Return the first and last loss, the mean of each epoch, and the loss of every step (rounded to 4 decimals).

    The history counts epochs in fractions.
    """
    steps = [(entry["epoch"], entry["loss"]) for entry in history if "loss" in entry]
    by_epoch: dict[int, list[float]] = {}
    for epoch, loss in steps:
        # the last step of an epoch is logged with a whole number
        by_epoch.setdefault(int(epoch - 1e-6) + 1, []).append(loss)
    means = {f"loss_epoch_{epoch}": sum(losses) / len(losses) for epoch, losses in by_epoch.items()}
    every = [round(loss, 4) for _, loss in steps]
    return {"first_loss": steps[0][1], "last_loss": steps[-1][1], **means, "losses": every}


# ---------------------------------------------------------------- one quiet process


@contextlib.contextmanager
def _quiet(options: SftOptions) -> Iterator[None]:
    """Import the libraries, send their output to stderr, and restore the number of threads at the end.

    Raises:
        MissingError: a library of the train extra is not installed.
    """
    ask_for_huge_pages()
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        try:
            import datasets  # type: ignore[import-untyped,unused-ignore]
            import peft  # noqa: F401  imported here so that a missing package is reported before any work
            import torch
            import transformers
            import trl  # noqa: F401  the same
        except ImportError as error:
            raise plugins.missing_package(error, "training", "pip install 'sca-cli[train]'") from error
        transformers.logging.set_verbosity_warning()  # type: ignore[no-untyped-call,unused-ignore]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
        datasets.disable_progress_bars()
        threads = torch.get_num_threads()
        if options.threads:
            torch.set_num_threads(options.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


# ---------------------------------------------------------------- the model


def _lora(options: SftOptions) -> Any:
    """Return the configuration of the LoRA adapter; None: all weights are trained."""
    from peft import LoraConfig

    if not options.lora_rank:
        return None
    return LoraConfig(
        r=options.lora_rank, lora_alpha=options.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _shares(model: Any, longest: int) -> bool:
    """Try tree attention: keep it if the model computes a small tree like its branches alone.

    Args:
        model: the model; its attention is changed if the trial succeeds.
        longest: number of tokens in the longest example. A sliding window must not be shorter.

    Returns:
        True if the model uses tree attention now.
    """
    import torch
    from transformers import AttentionInterface

    config = model.config.get_text_config()
    window = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    if window and window < longest:
        return False
    prefix = list(range(1, 9))
    branches = [Example([*prefix, *range(i, i + 8)], [0] * 8 + [1] * 8, "", "", "pass") for i in (20, 40)]
    (tree,), (rows,) = (layouts(branches, 64, shared=shared) for shared in (True, False))
    layers = []

    def counted(module: Any, *args: Any, **kwargs: Any) -> Any:
        layers.append(module)
        return tree_attention(module, *args, **kwargs)

    AttentionInterface.register(ATTENTION, counted)
    before = model.config._attn_implementation
    model.eval()
    with torch.no_grad():
        alone = surprise(model, rows.on(model.device))
        try:
            model.set_attn_implementation(ATTENTION)
            # nats; bfloat16 rounding causes about 0.01, attention to another branch causes 1 or more
            apart = float((surprise(model, tree.on(model.device)) - alone).abs().mean())
            if apart < 0.05 and len(layers) == config.num_hidden_layers:
                AttentionInterface.register(ATTENTION, tree_attention)
                return True
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ):  # the model does not accept another attention, positions or columns of logits
            pass
    model.set_attn_implementation(before)
    return False


def _kept(model: Any, layout: Layout, dtype: "torch.dtype") -> int:
    """Return an upper estimate of the bytes that one forward pass stores for its gradient."""
    config = model.config.get_text_config()
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    # measured on Qwen2.5-0.5B (LoRA, float32): 25,300 elements a token and layer; this formula gives 29,300
    elements = layout.input_ids.numel() * (9 * config.hidden_size + 4.4 * wide)
    # each branch of a tree copies the keys and values of its complete path, for every head
    elements += sum(len(path) for path, _ in layout.branches) * 2 * config.hidden_size
    # logits, their log-probabilities in float32, and the gradients of both
    logits = layout.input_ids.shape[0] * len(layout.columns) * config.vocab_size * 2 * (dtype.itemsize + 4)
    return int(elements * config.num_hidden_layers * dtype.itemsize + logits)


def _free(model: Any) -> int:
    """Return the free memory in bytes, minus the part that gradients and the optimiser will need."""
    import psutil  # type: ignore[import-untyped,unused-ignore]
    import torch

    on_cpu = model.device.type == "cpu"
    free = psutil.virtual_memory().available if on_cpu else torch.cuda.mem_get_info(model.device)[0]
    return int(free - 3 * sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad))


def _set_recomputing(model: Any, wanted: bool) -> None:
    """Switch gradient checkpointing on or off: layers store only their inputs and recompute the rest, or store all."""
    if not wanted:
        model.gradient_checkpointing_disable()
    elif model.supports_gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.disable_input_require_grads()  # only re-entrant checkpointing needs it


def _trainer(
    data: Sequence[Example],
    base_model: str,
    work: Path,
    options: SftOptions,
    progress: Callable[[dict[str, float]], None],
) -> Any:
    """Build TRL's trainer with the batches of `packing` and its loss."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback, set_seed
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    device = device_of(options.device)
    dtype = dtype_of(options.dtype, device)
    set_seed(options.seed)
    # without LoRA the weights are trained in float32: bfloat16 would round a step of 1e-5 to nothing
    model = load_model(
        base_model,
        dtype if options.lora_rank else torch.float32,
        trust_remote_code=options.trust_remote_code,
    )
    vocabulary = model.get_input_embeddings().num_embeddings
    if max(max(example.input_ids) for example in data) >= vocabulary:
        raise UsageError(
            f"the rollouts contain tokens that '{base_model}' does not have: another model made them",
            "sca distill trains on another model's rollouts",
        )
    longest = max(len(example.input_ids) for example in data)
    shared = options.share_prefixes and _shares(model, longest)
    base = model

    def collate(rows: list[dict[str, int]]) -> dict[str, list[Layout]]:
        batch = [data[row["example"]] for row in rows]
        return {"layouts": list(layouts(batch, options.batch_tokens, shared=shared))}

    class Trainer(SFTTrainer):
        """TRL's trainer, in which one step is a batch laid out as one or more forward passes."""

        free: int | None = None

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
            return AlikeFirst(alike([example.input_ids for example in data]), options.batch_size, options.seed)

        def training_step(
            self,
            model: Any,
            inputs: Any,
            num_items_in_batch: Any = None,  # noqa: ARG002  the trainer's
        ) -> Any:
            model.train()
            if self.free is None:  # measured here because only now all weights are on the device
                self.free = _free(base)
            counted = sum(float(layout.weights.sum()) for layout in inputs["layouts"])
            total = torch.zeros((), device=self.args.device)
            for layout_on_cpu in inputs["layouts"]:
                layout = layout_on_cpu.on(self.args.device)
                _set_recomputing(base, 2 * _kept(base, layout, dtype) > self.free)
                with self.compute_loss_context_manager():
                    loss = (surprise(model, layout) * layout.weights).sum() / counted
                self.accelerator.backward(loss)
                total += loss.detach()
            return total

        def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
            return 0

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Write no model card: it would name a hub and its trackers."""

        def _send_telemetry(self) -> None:
            """Send no telemetry: no information about a run leaves the machine."""

    class _ProgressCallback(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            logs = kwargs["logs"]
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise ModelError(
                    f"training diverged: the loss of step {state.global_step} is {logs['loss']}",
                    "use a lower --learning-rate",
                )
            progress(
                {
                    "step": state.global_step,
                    "steps": state.max_steps,
                    "epoch": logs["epoch"],
                    "loss": logs["loss"],
                    "learning_rate": logs["learning_rate"],
                }
            )

    arguments = SFTConfig(
        output_dir=str(work),
        per_device_train_batch_size=options.batch_size,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps or -1,
        learning_rate=options.rate,
        warmup_steps=options.warmup,
        lr_scheduler_type="constant_with_warmup" if options.scheduler == "constant" else options.scheduler,
        weight_decay=0.0,
        seed=options.seed,
        bf16=dtype == torch.bfloat16,
        use_cpu=device == "cpu",
        gradient_checkpointing=False,  # decided for each forward pass
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="steps" if options.save_every_steps else "no",
        save_steps=options.save_every_steps or 1,
        save_total_limit=1,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )
    if device != "cpu":
        arguments._n_gpu = 1  # the trainer would use all GPUs in a way that TRL rejects
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict({"example": list(range(len(data)))}),
        data_collator=collate,
        processing_class=load_tokenizer(base_model, trust_remote_code=options.trust_remote_code),
        peft_config=_lora(options),
        callbacks=[_ProgressCallback()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.processing_class = (
        None  # with a tokenizer, the trainer would change the end-of-turn ids in the model's config
    )
    return trainer
