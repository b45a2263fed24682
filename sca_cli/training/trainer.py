"""The trainer of all algorithms: LoRA or all weights, on a CPU or a GPU, with transformers' Trainer as its base.

`train` lets a `Learner` learn, and writes a model directory that transformers and vLLM can load. During training,
checkpoints are in `OUT.work/`. The output directory appears only when it is complete.

A learner says what one optimiser step is: forward passes laid out by `packing`, and the loss of each. Everything else
is the same for all algorithms: optimiser, schedule, clipping, checkpoints, resume, reports.
"""

import contextlib
import json
import math
import shutil
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sca_cli import plugins
from sca_cli.devices import ask_for_huge_pages, device_of, dtype_of
from sca_cli.errors import ExitCode, ModelError, ScaError, UsageError
from sca_cli.records import JSON
from sca_cli.streams import locked
from sca_cli.training.memory import free_bytes, kept_bytes, set_recomputing
from sca_cli.training.packing import Layout, shares
from sca_cli.training.weights import load_model, write_model
from sca_cli.training.work import last_checkpoint

if TYPE_CHECKING:
    import torch


class NothingToTrain(ScaError):
    """There is no example to train on. The command exits with the code for an empty result."""

    exit_code = ExitCode.NOTHING


@dataclass(frozen=True, slots=True)
class TrainOptions:
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


@dataclass(frozen=True, slots=True)
class Batch:
    """One optimiser step: its forward passes, whose losses are summed."""

    layouts: Sequence[Layout]
    loss: "Callable[[Any, Layout], torch.Tensor]"
    """(model, layout on the model's device) → the layout's share of the loss, differentiable."""


NO_UPDATE = Batch((), lambda *_: NotImplemented)
"""A step that changes nothing."""


class Learner(ABC):
    """An algorithm. It defines the optimiser steps that the trainer takes."""

    items: Sequence[int]
    """The items of an epoch; each step gets `batch_size` of them."""
    longest: int
    """Tokens of the longest sequence."""
    highest: int
    """Highest token id in the data."""
    metrics: dict[str, float]
    """Figures of the last step, for the log."""

    @abstractmethod
    def begin(self, model: Any, *, shared: bool) -> None:
        """Prepare for training; called once, with the model before its first step, also when a run is resumed.

        Args:
            model: the model on its device, under PEFT if an adapter is trained.
            shared: the model computes trees.
        """

    def sampler(self) -> Any:
        """Return the sampler of an epoch's items; None: in order."""
        return None

    @abstractmethod
    def batch(self, model: Any, items: Sequence[int]) -> Batch:
        """Return the optimiser step that trains on these items."""

    def end_of_step(self) -> str:
        """Return the reason to stop training now, or "" to continue."""
        return ""

    def save(self, directory: Path) -> None:
        """Write the learner's own state, if it has one, into a checkpoint."""
        del directory

    def load(self, directory: Path) -> None:
        """Read what `save` wrote."""
        del directory


def fail_if_in_the_way(out: Path, *, resume: bool) -> None:
    """Check, before any work, that a model can be written to `out`.

    Raises:
        UsageError: `out` is a file or a directory with files, or `OUT.work` is a link, or exists and `resume` is False.
    """
    work = work_of(out)
    if work.is_symlink():
        raise UsageError(f"{work} is a symbolic link, which is not followed", "remove it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "name another directory, or remove it")
    if work.exists() and not resume:
        raise UsageError(f"{work} contains checkpoints of a run that did not finish", "add --resume, or remove it")


def work_of(out: Path) -> Path:
    """Return the directory of the checkpoints of a run whose output is `out`."""
    return out.with_name(out.name + ".work")


def train(
    learner: Learner,
    base_model: str,
    out: Path,
    options: TrainOptions,
    fingerprint: dict[str, Any],
    progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> dict[str, JSON]:
    """Train a model and write it to `out`.

    Args:
        learner: the algorithm with its data.
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created). `OUT.work` and `OUT.partial` in the same folder are used during the run.
        options: settings of the training.
        fingerprint: what must be equal to resume from the checkpoints in `OUT.work`, see `fingerprint_of`.
        progress: called after every step with step, steps, epoch, loss, learning_rate, and the learner's metrics.

    Returns:
        steps; trainable_parameters; stopped (why it ended early, if it did); first_loss, last_loss, loss_epoch_1, … and
        losses, one a step; seconds (wall time of this call).

    Raises:
        MissingError: the train extra, the base model or the device is missing.
        UsageError: `OUT.work` belongs to another run, or another process writes it; a token id is outside the model's
            vocabulary.
        ModelError: the loss is not finite.
    """
    began = time.monotonic()
    work = work_of(out)
    with _quiet(options):
        checkpoint = last_checkpoint(work, fingerprint)
        trainer, report = _trainer(learner, base_model, work, options, progress)
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
        "steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        **({"stopped": report.stopped} if report.stopped else {}),
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


@contextlib.contextmanager
def _quiet(options: TrainOptions) -> Iterator[None]:
    """Import the libraries, send their output to stderr, and restore the number of threads at the end.

    Raises:
        MissingError: a library of the train extra is not installed.
    """
    ask_for_huge_pages()
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        try:
            import peft  # noqa: F401  imported here so that a missing package is reported before any work
            import torch
            import transformers
        except ImportError as error:
            raise plugins.missing_package(error, "training", "pip install 'sca-cli[train]'") from error
        transformers.logging.set_verbosity_warning()  # type: ignore[no-untyped-call,unused-ignore]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
        threads = torch.get_num_threads()
        if options.threads:
            torch.set_num_threads(options.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _lora(options: TrainOptions) -> Any:
    """Return the configuration of the LoRA adapter; None: all weights are trained."""
    from peft import LoraConfig

    if not options.lora_rank:
        return None
    return LoraConfig(
        r=options.lora_rank, lora_alpha=options.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _model(base_model: str, options: TrainOptions, dtype: "torch.dtype") -> Any:
    """Load the model, under PEFT if an adapter is trained."""
    import torch
    from peft import get_peft_model

    # without LoRA the weights are trained in float32: bfloat16 would round a step of 1e-5 to nothing
    kept_dtype = dtype if options.lora_rank else torch.float32
    model = load_model(base_model, kept_dtype, trust_remote_code=options.trust_remote_code)
    adapter = _lora(options)
    return get_peft_model(model, adapter) if adapter else model


def _trainer(
    learner: Learner,
    base_model: str,
    work: Path,
    options: TrainOptions,
    progress: Callable[[dict[str, float]], None],
) -> tuple[Any, Any]:
    """Return transformers' trainer with the batches of the learner, and the callback that reports its steps."""
    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

    device = device_of(options.device)
    dtype = dtype_of(options.dtype, device)
    set_seed(options.seed)
    model = _model(base_model, options, dtype)
    if learner.highest >= model.get_input_embeddings().num_embeddings:
        raise UsageError(
            f"the rollouts contain tokens that '{base_model}' does not have: another model made them",
            "sca distill trains on another model's rollouts",
        )

    class LearnerTrainer(Trainer):
        """transformers' trainer, in which one step is a batch of the learner, as one or more forward passes."""

        free: int | None = None

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
            return learner.sampler() or torch.utils.data.SequentialSampler(learner.items)

        def training_step(
            self,
            model: Any,
            inputs: Any,
            num_items_in_batch: Any = None,  # noqa: ARG002  the trainer's
        ) -> Any:
            bare = self.accelerator.unwrap_model(model)
            batch = learner.batch(bare, inputs["items"])
            model.train()
            if self.free is None:  # measured here because only now all weights are on the device
                self.free = free_bytes(bare)
            total = torch.zeros((), device=self.args.device)
            for layout_on_cpu in batch.layouts:
                layout = layout_on_cpu.on(self.args.device)
                set_recomputing(bare, 2 * kept_bytes(bare, layout, dtype) > self.free)
                with self.compute_loss_context_manager():
                    loss = batch.loss(model, layout)
                self.accelerator.backward(loss)
                total += loss.detach()
            return total

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            super().log(logs | (learner.metrics if "loss" in logs else {}), *args, **kwargs)

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            super().save_model(output_dir, _internal_call)
            learner.save(Path(output_dir or work))

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            learner.load(Path(resume_from_checkpoint))

        def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
            return 0

    class Report(TrainerCallback):
        stopped = ""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if reason := learner.end_of_step():
                self.stopped, control.should_training_stop = reason, True

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            logs = kwargs["logs"]
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                raise ModelError(
                    f"training diverged: the loss of step {state.global_step} is {logs['loss']}",
                    "use a lower --learning-rate",
                )
            named = {name: logs[name] for name in ("epoch", "loss", "learning_rate")}
            progress({"step": state.global_step, "steps": state.max_steps, **named, **learner.metrics})

    arguments = TrainingArguments(
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
        arguments._n_gpu = 1  # the trainer would wrap the model for all GPUs of the machine
    report = Report()
    trainer = LearnerTrainer(
        model=model,
        args=arguments,
        train_dataset=learner.items,
        data_collator=lambda items: {"items": list(items)},
        callbacks=[report],
    )
    trainer.remove_callback(PrinterCallback)
    model.to(trainer.args.device)
    base = model.get_base_model() if options.lora_rank else model
    learner.begin(model, shared=options.share_prefixes and shares(base, learner.longest))
    return trainer, report
