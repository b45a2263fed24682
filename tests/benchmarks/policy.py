"""Measure training steps beside TRL's: GRPO on the same rollouts, and SFT without a common prefix.

    python tests/benchmarks/policy.py [--model DIR] [--steps 3] [--tasks 2] [--attempts 8] [--prompt 400] [--threads 1]

Four sides run one after the other, each in a fork of this process, so that the memory of each is known: a GRPO step by
`sca` and by TRL's GRPOTrainer on the same rollouts, whose prompts have a common prefix, and an SFT step by `sca` and by
the bare SFTTrainer on examples that have none. All train LoRA on all linear layers, without recomputing activations.
The first step of each side is not counted: it warms up. CPU seconds are those of the process and hold when other work
shares the machine. Without --model, a random model of 4 layers of width 512 is used. Progress on stderr; one JSON
object as the last line on stdout: tokens are those of the rollouts or examples, the same for both sides.
"""

import argparse
import importlib
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sca_cli.records import EnvSpec, Rollout, Segment, Task
from sca_cli.training.by_trl import train_by_trl, train_grpo_by_trl
from sca_cli.training.curriculum import Group, Round
from sca_cli.training.data import Example
from sca_cli.training.online import Online, OnlineOptions
from sca_cli.training.policy import PolicyOptions
from sca_cli.training.sft import train_sft
from sca_cli.training.trainer import TrainOptions, train

SIDES = ("grpo-sca", "grpo-trl", "sft-sca", "sft-trl")
VOCABULARY = 8000


def groups(tasks: int, attempts: int, prompt: int) -> list[list[Rollout]]:
    """Return rollouts of two turns with tool output between them; half of each group passed."""
    draw = random.Random(1)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(5, VOCABULARY) for _ in range(count)]

    system = tokens(prompt)
    made = []
    for number in range(tasks):
        task = Task(id=f"t{number}", env=EnvSpec(name="none"), instruction="", evaluate="")
        instruction = tokens(50)
        group = []
        for place in range(attempts):
            ids = [*system, *instruction, *tokens(45), *tokens(40), *tokens(35)]
            mask = [0] * (prompt + 50) + [1] * 45 + [0] * 40 + [1] * 35
            segment = Segment(token_ids=ids, loss_mask=mask, logprobs=[-9.0 * own for own in mask])
            outcome: Any = "pass" if place % 2 else "fail"
            name = f"t{number} {place}"
            group.append(Rollout(id=name, task=task, segments=[segment], outcome=outcome, reward=float(place % 2)))
        made.append(group)
    return made


def separate(count: int, length: int) -> list[Example]:
    """Return examples that differ from their first token on."""
    draw = random.Random(2)
    mask = [0] * (length // 2) + [1] * (length - length // 2)
    return [
        Example([draw.randrange(5, VOCABULARY) for _ in range(length)], mask, str(n), str(n), "pass")
        for n in range(count)
    ]


def random_model(directory: Path) -> Path:
    """Save a random model with the byte tokenizer of the tests, and return its directory."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    import torch
    import transformers
    from tiny_model import save_tokenizer

    save_tokenizer(directory)
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=256,
        bos_token_id=None,
        pad_token_id=256,
    )
    torch.manual_seed(0)
    transformers.Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


def side(name: str, args: argparse.Namespace) -> dict[str, float]:
    """Run one side and return its figures."""
    marks: list[tuple[float, float]] = []

    def step(figures: dict[str, float]) -> None:
        marks.append((time.perf_counter(), time.process_time()))
        print(f"{name}: step {len(marks)}, loss {figures['loss']:.4f}", file=sys.stderr)

    count = args.tasks * args.attempts
    rollouts = groups(args.tasks, args.attempts, args.prompt)
    examples = separate(count, len(rollouts[0][0].segments[0].token_ids))
    options = {"dtype": "float32", "threads": args.threads, "save_every_steps": 0}
    many = TrainOptions(**options, epochs=args.steps + 1, scheduler="constant")  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        if name == "grpo-sca":
            flat = [rollout for group in rollouts for rollout in group]
            once = TrainOptions(**options, epochs=1, batch_size=1, scheduler="constant")  # type: ignore[arg-type]
            learner = Online(
                OnlineOptions("grpo", rounds=args.steps + 1), lambda *_: Round([Group(one) for one in rollouts], flat)
            )
            train(learner, args.model, out, once, {}, step)
        elif name == "grpo-trl":
            by_name = {group[0].task.id: group for group in rollouts}

            def attempt(names: list[str], _: Any) -> list[Rollout]:
                return [by_name[one][place % args.attempts] for place, one in enumerate(names)]

            every = replace(many, batch_size=args.tasks)
            train_grpo_by_trl(list(by_name), attempt, args.model, out, every, PolicyOptions(), args.attempts, step)
        else:
            fit = train_sft if name == "sft-sca" else lambda data, *rest: train_by_trl("sft", list(data), *rest)
            fit(examples, args.model, out, replace(many, batch_size=count), step)
    (wall, cpu), (wall_end, cpu_end) = marks[0], marks[-1]
    steps = len(marks) - 1
    tokens = count * len(examples[0].input_ids)
    return {
        "step_seconds": (wall_end - wall) / steps,
        "step_cpu_seconds": (cpu_end - cpu) / steps,
        "tokens_per_second": tokens * steps / (wall_end - wall),
        "tokens_per_cpu_second": tokens * steps / (cpu_end - cpu),
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def in_fork[T](work: Callable[[], T]) -> T:
    """Run a function in a fork of this process, which has imported the libraries, and return its result."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=lambda: sender.send(work()))
    child.start()
    sender.close()  # so that a child that fails ends the wait
    result: T = receiver.recv()
    child.join()
    return result


def main() -> None:
    """Run all sides and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Hugging Face directory")
    parser.add_argument("--steps", type=int, default=3, help="steps of each side after the first")
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--attempts", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=400, help="tokens that all rollouts begin with")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    for name in ("torch", "peft", "transformers.trainer", "trl.trainer.grpo_trainer", "trl.trainer.sft_trainer"):
        importlib.import_module(name)
    figures: dict[str, Any] = dict(vars(args)) | {"model": args.model or "random, 4 layers of width 512"}
    with tempfile.TemporaryDirectory() as directory:
        args.model = args.model or str(in_fork(lambda: random_model(Path(directory))))
        for name in SIDES:
            made = in_fork(lambda name=name: side(name, args))  # type: ignore[misc]
            figures[name] = {key: round(value, 4) for key, value in made.items()}
            print(f"{name}: {figures[name]}", file=sys.stderr, flush=True)
    for kind in ("grpo", "sft"):
        ours, theirs = (figures[f"{kind}-{who}"]["tokens_per_cpu_second"] for who in ("sca", "trl"))
        figures[f"{kind}_cpu_ratio"] = round(ours / theirs, 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
