"""`examples/paper`: what its scripts would cost is worked out from their own commands, and nothing is started."""

import asyncio
import importlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from conftest import environment

from sca_cli.episode.agent import opening_messages
from sca_cli.interfaces import Sampling
from sca_cli.methods import Workshop, cat
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, Exploration, Message, Rollout, Segment, Task, encode

PAPER = Path(__file__).parents[2] / "examples" / "paper"
SCRIPTS = ("self-improve.sh", "distill.sh", "pae.sh")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Return a function that imports a file of the directory."""
    monkeypatch.syspath_prepend(PAPER)
    return importlib.import_module


@pytest.fixture
def lengths(module):
    """Return round lengths, to work out by hand."""
    kind = module("lengths")
    prompt = kind.Prompt(1000.0, 100.0)
    return kind.Lengths(
        explore=prompt, challenge=prompt, propose=prompt, agent=prompt, user=prompt, judge=400.0, task_reply=500.0,
        instruction=50.0, call=12.0, calls=3.0, observed=40.0, customer=False, held_out=10, task_bytes=2000.0,
    )  # fmt: skip


def run(script: str, *options: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a script of the directory without GPU, model and network."""
    command = ["sh", str(PAPER / script), *options]
    env = environment({"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "SCA_ENVS": "calculation"} | settings)
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


def figures(lines: Sequence[str]) -> list[list[float]]:
    """Return the four figures of each line of the first table."""
    return [[float(word) for word in line[13:].split()[:4]] for line in lines]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_dry_run_prices_every_command_and_makes_nothing(script: str, tmp_path: Path) -> None:
    """A dry run prints a row for each command and their sum, and creates no file."""
    place = tmp_path / "run"
    commands = run(script, "--commands", SCA_RUN=str(place)).stdout.splitlines()
    ended = run(script, "--dry-run", SCA_RUN=str(place))
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    table = lines[lines.index("") + 2 : lines.index("", lines.index("") + 2)]
    stages = [line for line in commands if not line.startswith("vllm serve")]
    assert [line[54:] for line in table[:-1]] == stages
    assert len(stages) >= 5
    sums = [sum(column) for column in zip(*figures(table[:-1]), strict=True)]
    assert figures(table[-1:])[0] == pytest.approx(sums, abs=0.005 * len(stages))
    assert not place.exists()


def test_the_papers_sizes_are_the_scripts_defaults() -> None:
    """Four environments, 800 tasks, 12,000 rollouts each, candidates by the paper's yield."""
    lines = run("self-improve.sh", "--commands", SCA_ENVS="").stdout.splitlines()
    assert sum(" rollout " in line and " -k 15 " in line for line in lines) == 4
    assert sum(line.startswith("first 800 ") for line in lines) == 4
    assert sum(" challenge -n 15385 " in line for line in lines) == 4


@pytest.mark.parametrize("script", SCRIPTS)
def test_unknown_options_are_named(script: str) -> None:
    """An option that is none ends with exit code 2 and says which there are."""
    ended = run(script, "--dryrun")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "unknown option '--dryrun'" in ended.stderr and "--dry-run" in ended.stderr
    assert run(script, "--dry-run", "--fast").returncode == 2


def test_a_model_without_a_size_and_an_unknown_environment_are_named() -> None:
    """What cannot be priced is said in one line."""
    for settings, named in (({"SCA_BASE": "a/b"}, "'openai:a/b,"), ({"SCA_ENVS": "calculatoin"}, "'calculatoin'")):
        ended = run("self-improve.sh", "--dry-run", **settings)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert named in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize("script", [*SCRIPTS, "stages.sh"])
def test_the_scripts_are_posix_shell(script: str) -> None:
    """`sh -n` reads them."""
    ended = subprocess.run(["sh", "-n", str(PAPER / script)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_conversation_reads_its_past_again_every_turn(module) -> None:
    """Three turns of 10 written and 20 heard on an opening of 1000, 100 of it fresh: 3000 and what grew is read."""
    kind = module("lengths")
    work = module("speed").conversation(kind.Prompt(1000.0, 100.0), 3, 10, 20)
    assert (work.requests, work.read, work.fresh, work.written) == (3, 3000 + 30 + 60, 100 + 40, 30)


def test_speed_is_the_hardwares(module) -> None:
    """Alone, an 8B model writes a token in the time in which its weights are read; a batch costs less a token, by at
    most its size; a 70B model takes more GPUs and more time.
    """
    speed = module("speed")
    work = speed.Work(requests=1, read=0.0, fresh=0.0, written=1000.0)
    small, large = "x/Llama-3.1-8B", "x/Llama-3.1-70B"
    alone = speed.gpu_seconds(work, small, 1)
    assert alone == pytest.approx(1000 * 16e9 / (speed.MEMORY_BYTES_S * speed.DECODE_SHARE), rel=0.01)
    assert alone / 64 <= speed.gpu_seconds(work, small, 64) < alone / 10
    assert speed.gpu_seconds(work, small, 1e9) == speed.gpu_seconds(work, small, 1e8), "memory bounds the batch"
    assert (speed.gpus_needed(8), speed.gpus_needed(70)) == (1, 4)
    assert speed.gpu_seconds(work, large, 1) == pytest.approx(alone * 70 / 8, rel=0.02)


@pytest.mark.parametrize(("name", "size"), [("meta-llama/Llama-3.1-8B-Instruct", 8), ("Qwen2.5-Coder-0.5B", 0.5)])
def test_a_models_name_tells_its_size(module, name: str, size: float) -> None:
    """The figure before the B, not the version's."""
    assert module("speed").billions(name) == size


def test_training_is_six_operations_a_weight_and_token(module) -> None:
    """A million tokens on an 8B model are 4.8e16 operations."""
    speed = module("speed")
    assert speed.train_seconds("8B", 1e6) * speed.PEAK_FLOPS * speed.TRAIN_SHARE == pytest.approx(4.8e16)


def test_counts_follow_from_the_commands(module, lengths) -> None:
    """Candidates times yield, cut to the tasks wanted, times attempts, times passes: what reaches training."""
    pricing = module("pricing")
    model = "openai:x/8B"
    made = pricing.Pricing(8, lambda _: lengths)
    commands = [
        f"sca explore --env calculation -n 10 --model {model} -o e",
        f"sca challenge e -n 1000 --model {model} -o c --resume",
        "sca verify --paper c -o v",
        "first 40 v t",
        f"sca rollout t -k 5 --turns 4 --model {model} -o r",
        "sca train r --base x/8B --epochs 3 --save s",
    ]
    rows = [made.price(command) for command in commands]
    assert rows[1].written == 1000 * lengths.task_reply and rows[1].read == 1000 * lengths.challenge.tokens
    assert (made.files["v"].records, made.files["t"].records) == (1000 * pricing.YIELD, 40)
    assert made.files["r"].records == 200
    # four turns are both what is needed and the limit: 4 * (12 + code's surroundings) written
    reply = pricing.FENCE + pricing.PROSE + lengths.call
    assert rows[4].written == pytest.approx(200 * 4 * reply)
    whole = 1000 + 4 * reply + 4 * (3 / 4 * 40 + 10)
    assert rows[5].read == pytest.approx(200 * pricing.PASSES[8] * 3 * whole)
    assert rows[5].disk == 16e9
    with_customers = pricing.Pricing(8, lambda _: replace(lengths, customer=True))
    assert sum(with_customers.price(command).written for command in commands) > sum(row.written for row in rows)


def test_failures_kept_train_longer(module, lengths) -> None:
    """`distill --keep-failures` learns from all attempts, not from the share that passed."""
    made = module("pricing").Pricing(8, lambda _: lengths)
    made.files["t"] = module("pricing").Made("calculation", 10)
    made.price("sca rollout t --model openai:x/70B -o r")
    passed, everything = (made.price(f"sca distill r --student 8B --save s {more}") for more in ("", "--keep-failures"))
    assert everything.read > passed.read / module("pricing").PASSES[70] * 0.99


def test_what_cannot_be_priced_is_refused(module, lengths) -> None:
    """An unknown program, a file that no command makes, and a missing option are each named."""
    made = module("pricing").Pricing(8, lambda _: lengths)
    for command, named in (("rm -r x", "rm -r x"), ("sca verify c -o t", "verify c"), ("sca explore -o e", "--env")):
        with pytest.raises(ValueError, match=named):
            made.price(command)


class Asked(Exception):
    """What a model was asked."""


class Listener:
    """A model that hears one conversation, and no more."""

    async def generate(self, conversations, *_):
        """Raise the conversation."""
        raise Asked("\n".join(message.content for message in conversations[0]))

    async def close(self) -> None:
        """Close nothing."""


@pytest.mark.sandbox
def test_prompts_are_as_long_as_those_that_commands_use(module, sandbox) -> None:
    """What agent and challenger are asked in web_browsing, by the code that asks a model, has the measured length."""
    measured = module("lengths").lengths("web_browsing", lambda text: float(len(text)))
    spec = EnvSpec(name="web_browsing")
    place = sandbox.describe(spec)
    agent = "\n".join(message.content for message in opening_messages(Prompts(), "code", place, ""))
    # less than a held-out instruction has
    assert 0 < measured.agent.tokens - len(agent) < 200
    workshop = Workshop(Listener(), Sampling(), Prompts(), sandbox, place.tools, place.policy)
    with sandbox.session(spec, 0) as session:
        exploration = Exploration(env=spec, first_observation=session.first_observation())
    with pytest.raises(Asked) as asked:
        asyncio.run(cat.make(workshop, exploration, 0))
    shown = 8 * min(67, measured.observed + 15)
    assert len(str(asked.value)) == pytest.approx(measured.challenge.tokens - shown, abs=40)


def test_a_rollouts_bytes_are_those_of_a_record(module) -> None:
    """A rollout of some turns, encoded, has within a fifth the bytes that are reckoned for it."""
    pricing = module("pricing")
    task = Task(env=EnvSpec(name="shop"), instruction="i" * 200, evaluate="e" * 300, solution="s" * 100)
    prompt, sampled = 1200, 60
    segment = Segment(
        token_ids=[1000 + 97 * i % 127000 for i in range(prompt + sampled)],
        loss_mask=[0] * prompt + [1] * sampled,
        logprobs=[0.0] * prompt + [-0.123456789012 * (i % 7 + 1) for i in range(sampled)],
    )
    words = "w" * round(3.9 * (prompt + sampled))
    record = Rollout(task=task, messages=[Message(role="user", content=words)], segments=[segment])
    tokens = prompt + sampled
    reckoned = len(encode(task)) + tokens * (pricing.SEGMENT_BYTES + pricing.TEXT_BYTES)
    assert len(encode(record)) == pytest.approx(reckoned, rel=0.2)


def test_ratios_are_to_the_nearer_end_of_the_papers_range(module) -> None:
    """Within the stated range the ratio is one; below and above it counts from the end that is nearer."""
    cost = module("cost")
    ratios = [
        cost.Comparison("", "", cost.Stage("", "", "", gpu_s=hours * 3600), (4.0, 16.0)).ratio for hours in (2, 8, 32)
    ]
    assert ratios == [0.5, 1.0, 2.0]
    assert cost.Comparison("", "", cost.Stage("", "", ""), None).ratio is None


def test_tokens_are_counted_without_a_tokenizer(module, tmp_path: Path) -> None:
    """Tokens are counted with the model's tokenizer, or estimated from characters if there is none; the method is
    named.
    """
    kind: ModuleType = module("lengths")
    count, how = kind.counter("nobody/nothing")
    assert (count("x" * 36), "characters / 3.6" in how) == (10.0, True)
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    made = tokenizers.Tokenizer(WordLevel({"a": 0, "?": 1}, unk_token="?"))
    made.pre_tokenizer = Whitespace()
    made.save(os.fspath(tmp_path / "tokenizer.json"))
    count, how = kind.counter(str(tmp_path))
    assert (count("a b c"), how) == (3.0, f"the tokenizer of {tmp_path}")
