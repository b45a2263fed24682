"""Measure how fast fine-tuning steps are, against TRL's own SFTTrainer on the same examples in the same run.

    python tests/benchmarks/train.py --model DIR [--examples 24] [--threads 1] [--seed 0]

Examples share a system prompt of about 400 tokens and end in a short program to be learnt. Both sides train
LoRA on all linear layers, eight examples a step, in the same precision, without recomputing activations; the
plain one pads batches grouped by length. The first step of each side is not counted: it warms up. CPU seconds
are those of the process and hold when other work shares the machine. Progress on stderr; one JSON object as
the last line on stdout.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca_cli.records import EnvSpec, Message, Rollout, Task, sealed
from sca_cli.training.data import Example, Tally, examples
from sca_cli.training.packing import layouts
from sca_cli.training.sft import train_sft
from sca_cli.training.trainer import TrainOptions

SYSTEM = "You solve tasks by writing Python that calls tools. " + " ".join(
    f"Tool {n}: tool_{n}(amount: float, rate: float) -> float returns the amount at rate {n}." for n in range(1, 15)
)


def rollouts(count: int) -> list[Rollout]:
    """Return rollouts that passed and differ in question and program, in length by up to half."""
    made = []
    for n in range(count):
        lines = "\n".join(f"value_{i} = tool_{(n + i) % 14 + 1}({n * 7 + i}, {i}.5)" for i in range(1 + n % 3))
        talk = [
            Message(role="system", content=SYSTEM),
            Message(
                role="user",
                content=f"A shop sells {n + 3} pens at {n * 7 + 11} cents each. What do they cost?",
            ),
            Message(role="assistant", content=f"```python\n{lines}\nfinal_answer(value_0)\n```"),
        ]
        task = sealed(Task(env=EnvSpec(name="benchmark"), instruction=talk[1].content, evaluate=""))
        made.append(sealed(Rollout(task=task, messages=talk, outcome="pass")))
    return made


class Clock:
    """Wall and CPU seconds of each step but the first."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def step(self, loss: float) -> None:
        """Note the end of a step."""
        self.marks.append((time.perf_counter(), time.process_time()))
        self.losses.append(loss)
        print(f"{self.name}: step {len(self.marks)}, loss {loss:.4f}", file=sys.stderr)

    def seconds(self) -> tuple[float, float]:
        """Return mean wall and CPU seconds of a step."""
        (wall, cpu), (wall_end, cpu_end) = self.marks[0], self.marks[-1]
        steps = len(self.marks) - 1
        return (wall_end - wall) / steps, (cpu_end - cpu) / steps


def plain(data: list[Example], model: str, options: TrainOptions, report: Callable[[float], None]) -> None:
    """Train with TRL's SFTTrainer as it comes, on the same tokens and masks."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class Report(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if "loss" in kwargs["logs"]:
                report(kwargs["logs"]["loss"])

    class Trainer(SFTTrainer):
        def _send_telemetry(self) -> None:
            pass

    rows = [
        {
            "input_ids": list(e.input_ids),
            "labels": [t if m else -100 for t, m in zip(e.input_ids, e.loss_mask, strict=True)],
        }
        for e in data
    ]
    on_gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(
            model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16),
            args=SFTConfig(
                output_dir=directory,
                per_device_train_batch_size=options.batch_size,
                num_train_epochs=1,
                learning_rate=options.rate,
                train_sampling_strategy="group_by_length",
                gradient_checkpointing=False,
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
                bf16=True,
                use_cpu=not on_gpu,
                dataloader_pin_memory=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=options.seed,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(model),
            peft_config=LoraConfig(
                r=options.lora_rank,
                lora_alpha=options.lora_alpha,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
            callbacks=[Report()],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def main() -> None:
    """Run both sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="Hugging Face directory")
    parser.add_argument("--examples", type=int, default=24, help="eight a step; the first step is not counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    import torch
    from transformers import AutoTokenizer

    torch.set_num_threads(args.threads)
    tally = Tally()
    data = list(examples(rollouts(args.examples), AutoTokenizer.from_pretrained(args.model), tally=tally))
    options = TrainOptions(epochs=1, threads=args.threads, dtype="bfloat16", seed=args.seed, save_every_steps=0)
    ours, theirs = Clock("sca"), Clock("plain")
    with tempfile.TemporaryDirectory() as directory:
        train_sft(data, args.model, Path(directory) / "out", options, lambda entry: ours.step(entry["loss"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    plain(data, args.model, options, theirs.step)
    batch = data[: options.batch_size]
    (wall, cpu), (plain_wall, plain_cpu) = ours.seconds(), theirs.seconds()
    figures = {
        "model": args.model,
        "examples": tally.examples,
        "tokens_per_example": tally.tokens / tally.examples,
        "loss_tokens_per_example": tally.loss_tokens / tally.examples,
        "threads": args.threads,
        "tokens_computed_per_step": sum(layout.tokens for layout in layouts(batch, options.batch_tokens, shared=True)),
        "step_seconds": wall,
        "step_cpu_seconds": cpu,
        "plain_step_seconds": plain_wall,
        "plain_step_cpu_seconds": plain_cpu,
        "speedup_ratio": plain_wall / wall,
        "speedup_cpu_ratio": plain_cpu / cpu,
        "peak_memory_gb": peak,
        "first_step_loss": ours.losses[0],
        "plain_first_step_loss": theirs.losses[0],
    }
    print(json.dumps({name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}))


if __name__ == "__main__":
    main()
