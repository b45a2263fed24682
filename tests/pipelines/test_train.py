"""`sca train` for real, on a tiny random model: on rollouts, on solutions, on both, and killed on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, environment, sca_program
from tiny_model import save_model

from sca_cli import app
from sca_cli.commands.shared.online import split
from sca_cli.commands.shared.training import Running
from sca_cli.errors import UsageError
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import Check, EnvSpec, Observation, Rollout, Segment, Task, Verdict, decode, encode
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.training.data import Tally, examples
from sca_cli.training.solutions import demonstrations

pytestmark = [pytest.mark.sandbox, pytest.mark.torch]

ENV = EnvSpec(name="calculation", options={"family": "message_decoder"})
WORDS = ("drawer", "stressed", "reknits", "repaid")
BOTH = (
    "train tasks.jsonl --on both -m transformers:base,threads=1,prefix_mb=0 --concurrency 1 -k 1 --max-tokens 8 "
    "--turns 1 --threads 1 --save made"
)
"""One attempt at a time and no cached prompt: the attempts after a kill compute the same as without it."""
ONLINE = (
    "train tasks.jsonl --algo grpo -m transformers:two,threads=1,prefix_mb=0 --concurrency 1 -k 4 --batch-size 2 "
    "--epochs 2 --max-tokens 40 --turns 1 --threads 1 --prompt prompts --learning-rate 1e-3 --save made --resume "
    "--validate 1"
)

type Sca = Callable[..., "subprocess.CompletedProcess[bytes]"]


def task(word: str, **fields: Any) -> Task:
    """Return a task as `sca verify` passes it on; its check accepts any attempt, as a random model needs."""
    solution = f"final_answer(reverse_string({word!r}))"
    check = Check(name="solution", outcome="pass", calls=[Observation(tool="reverse_string", args=[word])])
    verdict = Verdict(passed=True, stage="kept", checks=[check])
    given = {
        "env": ENV,
        "instruction": f"Write {word} backwards.",
        "solution": solution,
        "calls": 1,
        "verdict": verdict,
    }
    return Task(**{"evaluate": "def evaluate():\n    return True", **given, **fields})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a tiny random model."""
    pytest.importorskip("peft", reason="needs the train extra")
    return save_model(tmp_path_factory.mktemp("tiny") / "base", window=8192)


@pytest.fixture
def place(tmp_path: Path, base: Path) -> Path:
    """Return the directory where `sca` runs, with four proven tasks and the model in it."""
    (tmp_path / "base").symlink_to(base)
    (tmp_path / "tasks.jsonl").write_bytes(b"".join(encode(task(word)) + b"\n" for word in WORDS))
    return tmp_path


def records(output: bytes) -> list[Any]:
    """Return the records of some JSONL text."""
    return [decode(line) for line in output.splitlines()]


def test_what_is_trained_on_is_what_the_model_will_see(place: Path, sca: Sca, outside: str, counter: EnvSpec) -> None:
    """`sca rollout` of the trained model reads, token for token, the prompts that it was trained on: with prompts of
    one's own, and with a customer where the attempt is direct.
    """
    own = place / "prompts"
    own.mkdir()
    (own / "agent-code.md").write_text(
        "[user]\n$policy\n$tools\nAn example:\n[assistant]\nYes.\n[user]\n$instruction\n"
    )
    tasks = [task("drawer"), task("Eve", env=counter, solution="set_name('user_1', 'Eve')")]
    settings = {"PYTHONPATH": outside}
    given = b"".join(encode(one) + b"\n" for one in tasks)
    options = ("--prompt", own, "--threads", 1)
    trained = sca("train", "--on", "solutions", "--base", "base", "--save", "made", *options, stdin=given, env=settings)
    assert trained.returncode == 0, trained.stderr.decode()
    (checkpoint,) = records(trained.stdout)
    assert (checkpoint.algorithm, checkpoint.base_model, checkpoint.control) == ("solutions", "base", "")
    assert checkpoint.data == checkpoint.parents == [one.id for one in tasks]
    assert checkpoint.made_by.prompt == Prompts(own).fingerprint(*ATTEMPT)

    act = ("--direct", "-m", "transformers:made,threads=1", "-k", 1, "--max-tokens", 4, "--turns", 1, "--prompt", own)
    seen = records(sca("rollout", *act, stdin=given, env=settings).stdout)
    from transformers import AutoTokenizer

    with Sandbox(Limits()) as sandbox:
        put = list(demonstrations(tasks, sandbox.describe, Prompts(own), Tally()))
    learnt = list(examples(put, AutoTokenizer.from_pretrained(place / "made")))
    assert checkpoint.metrics["tokens"] == sum(len(one.input_ids) for one in learnt)
    for example, rollout in zip(learnt, seen, strict=True):
        (segment,) = rollout.segments
        prompt = segment.token_ids[: segment.loss_mask.index(1)]
        assert list(example.input_ids[: list(example.loss_mask).index(1)]) == prompt


def test_rollouts_or_tasks_lead_to_the_same_model(place: Path, sca: Sca) -> None:
    """`sca train` on tasks is `sca train` on the rollouts it makes of them: the same examples and the same weights."""
    fit = ("--base", "base", "--threads", 1, "--seed", 3)
    act = ("-m", "transformers:base,threads=1", "-k", 2, "--max-tokens", 8, "--turns", 1, "--rollouts", "kept.jsonl")
    two = sca("train", "tasks.jsonl", *fit, *act, "--save", "two")
    one = sca("train", "kept.jsonl", *fit, "--save", "one")
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert b"4 examples of 8 rollouts (left out: 4 of tasks that every attempt solved)\n" in one.stderr
    assert (place / "one/model.safetensors").read_bytes() == (place / "two/model.safetensors").read_bytes()
    (first,), (second,) = records(one.stdout), records(two.stdout)
    assert (first.algorithm, first.data, first.metrics) == ("rft", second.data, second.metrics)
    assert (first.metrics["examples"], first.metrics["solved"]) == (4, 4)


def test_a_control_arm_takes_as_many_steps(place: Path, sca: Sca) -> None:
    """Balanced or shuffled, both are said in the record and on stderr."""
    fit = ("train", "tasks.jsonl", "--on", "solutions", "--balance", "calls", "--batch-size", 2, "--base", "base")
    real = sca(*fit, "--threads", 1, "--save", "real")
    shuffled = sca(*fit, "--threads", 1, "--save", "shuffled", "--control", "shuffled-solutions")
    (one,), (other,) = records(real.stdout), records(shuffled.stdout)
    assert one.metrics["balance"] == {"1": [4, 4]}
    assert b"sca train: balanced by calls: 1: 4 \xe2\x86\x92 4\n" in real.stderr
    assert (other.control, other.metrics["drawn_from"]) == ("shuffled-solutions", 4)
    assert b"control shuffled-solutions: 4 examples drawn from 4\n" in shuffled.stderr
    assert one.metrics["steps"] == other.metrics["steps"] == 4
    assert (place / "real/model.safetensors").read_bytes() != (place / "shuffled/model.safetensors").read_bytes()
    again = sca(*fit, "--threads", 1, "--save", "real", "--control", "shuffled-solutions", "--resume")
    said = "--resume: real holds a model that was trained with other settings: control"
    assert (again.returncode, said in again.stderr.decode()) == (2, True)


@pytest.fixture(scope="module")
def whole(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory where `--on both` ran to its end."""
    place = tmp_path_factory.mktemp("whole")
    (place / "base").symlink_to(base)
    (place / "tasks.jsonl").write_bytes(b"".join(encode(task(word)) + b"\n" for word in WORDS))
    subprocess.run(
        [sca_program(), *BOTH.split()], cwd=place, env=environment(), check=True, capture_output=True, timeout=120
    )
    return place / "made"


def test_both_learns_from_solutions_and_then_from_its_own_attempts(whole: Path) -> None:
    """The record leads back to the first stage; its model made the attempts with the options of --model."""
    final, first = (decode((path / "sca-checkpoint.json").read_bytes()) for path in (whole, whole / "solutions"))
    assert (final.algorithm, final.path, final.base_model) == ("solutions+rft", "made", "made/solutions")
    assert (first.algorithm, first.path, first.base_model) == ("solutions", "made/solutions", "base")
    rollouts = records((whole / "rollouts.jsonl").read_bytes())
    assert {one.made_by.model for one in rollouts} == {"transformers:made/solutions,threads=1,prefix_mb=0"}
    assert final.parents == [first.id, *(one.id for one in rollouts)]
    written = {"config.json", "model.safetensors", "solutions", "metrics.jsonl", "README.md"}
    assert {path.name for path in whole.iterdir()} >= written
    assert (final.settings["lora_rank"], final.settings["learning_rate"]) == (16, 2e-4)
    assert "| algorithm | solutions+rft |\n" in (whole / "README.md").read_text()
    assert not [*whole.glob("*.work"), *whole.glob("rft*"), *whole.glob("*/*.work")]


def test_both_goes_on_where_it_was_killed(place: Path, sca: Sca, whole: Path, pytestconfig: pytest.Config) -> None:
    """Killed while it attempts the tasks, it ends with the same weights, rollouts and record.

    With `--all` it is killed in each of its stages in turn. Only the log-probabilities may differ, by rounding: the
    attempts that remain share a batch with others.
    """
    signs = ["rollouts.jsonl.journal"]
    if pytestconfig.getoption("--all"):
        signs = ["solutions.work/run.json", *signs, "rft.work/run.json"]
    for sign in signs:
        with subprocess.Popen(
            [BIN / "sca", *BOTH.split(), "--resume"],
            cwd=place,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            while not (place / "made" / sign).exists():
                assert process.poll() is None
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
    ended = sca(*BOTH.split(), "--resume")
    assert ended.returncode == 0, ended.stderr.decode()
    for name in ("model.safetensors", "sca-checkpoint.json", "metrics.jsonl", "README.md", "solutions/metrics.jsonl"):
        assert (place / "made" / name).read_bytes() == (whole / name).read_bytes(), name
    resumed, uninterrupted = (records((path / "rollouts.jsonl").read_bytes()) for path in (place / "made", whole))
    for one, other in zip(resumed, uninterrupted, strict=True):
        for segment, same in zip(one.segments, other.segments, strict=True):
            assert segment.logprobs == pytest.approx(same.logprobs, abs=0.1)
            segment.logprobs = same.logprobs
        assert one == other
    assert ended.stdout == (whole / "sca-checkpoint.json").read_bytes() + b"\n"


def test_a_move_into_place_that_was_killed_is_ended(place: Path, sca: Sca, whole: Path) -> None:
    """The last stage was finished, and some of its files were moved: nothing is trained again."""
    shutil.copytree(whole, place / "made")
    (place / "made/rft").mkdir()
    for name in ("model.safetensors", "config.json", "sca-checkpoint.json"):
        (place / "made" / name).rename(place / "made/rft" / name)
    ended = sca(*BOTH.split(), "--resume")
    assert ended.stdout == (whole / "sca-checkpoint.json").read_bytes() + b"\n", ended.stderr.decode()
    assert {path.name for path in (place / "made").iterdir()} == {path.name for path in whole.iterdir()}


def test_without_a_success_the_model_after_the_solutions_is_the_result(place: Path, sca: Sca) -> None:
    """If no rollout succeeds, the model trained on solutions is the result: a message and the record say this, and
    --resume writes the same record.
    """
    hopeless = task("drawer", evaluate="def evaluate():\n    return False")
    (place / "tasks.jsonl").write_bytes(encode(hopeless) + b"\n")
    ended = sca(*BOTH.split())
    assert b"the model after the solutions is the result" in ended.stderr
    (checkpoint,) = records(ended.stdout)
    assert (checkpoint.algorithm, checkpoint.path, checkpoint.base_model) == ("solutions", "made", "base")
    weights = [(place / "made" / where / "model.safetensors").read_bytes() for where in (".", "solutions")]
    assert weights[0] == weights[1]
    assert sca(*BOTH.split(), "--resume").stdout == ended.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--on solutions --actions json", "--on solutions and --actions json exclude each other"),
        ("--on both --actions text", "--on both and --actions text exclude each other"),
        ("--on both --control one-call-only", "--control and --on both exclude each other"),
        ("--control shuffled-solutions", "--control shuffled-solutions needs --on solutions"),
        ("--on solutions --control random-rollouts", "--control random-rollouts needs --on rollouts"),
        ("--on solutions --rollouts kept", "--on solutions makes no rollouts to keep"),
        ("--algo sft --on rollouts", "--algo sft and --on rollouts exclude each other"),
        ("--algo grpo --on solutions", "--algo grpo and --on solutions exclude each other"),
        ("--algo dpo --on both", "--algo dpo and --on both exclude each other"),
        ("--algo ppo --temperature 0.7", "--algo ppo needs samples of the policy itself"),
        ("--algo grpo --kl 0.1 --lora-rank 0", "--kl needs LoRA"),
        ("--kl 0.1", "--kl needs an algorithm of reinforcement learning"),
        ("--band 0.2,0.8", "--band, --promote, --replay and --mix need an algorithm of reinforcement learning"),
        ("--algo grpo --band 0.8,0.2", "--band 0.8,0.2: not two pass rates"),
        ("--algo grpo --mix calculation=0", "--mix calculation=0: 'calculation=0' is no weight"),
        ("--algo ppo --trainer trl", "--trainer trl: TRL has no PPO trainer"),
        ("--algo rloo --trainer trl", "--trainer trl: TRL's trainers have no hook for our rollouts"),
        ("--algo grpo --trainer trl --replay", "--trainer trl excludes a curriculum"),
        ("--algo grpo --trainer trl --validate 2", "--trainer trl excludes --validate"),
        ("--algo dpo --trainer trl --dry-run", "--trainer trl excludes --dry-run"),
        ("--validate 2", "--validate needs an algorithm of reinforcement learning"),
        ("--algo kto --control random-rollouts", "--algo kto excludes --control and --balance"),
        ("--on both --save a,b", "--save a,b: a comma separates options of a model"),
    ],
)
def test_options_that_do_not_go_together_are_told_apart(
    capsys: pytest.CaptureFixture[str], options: str, said: str
) -> None:
    """Options that exclude each other end with code 2 before any file is opened."""
    assert app.run(["train", "nowhere.jsonl", "--base", "nowhere", "--save", "made", *options.split()]) == 2
    assert f"sca train: {said}" in capsys.readouterr().err


def test_a_dry_run_trains_nothing_and_writes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It prints two examples with marked own tokens, the counts, and an estimated time.

    Bad data ends as the training itself: exit code 1 without examples. With --resume it is a usage error.
    """
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    run = ["train", "tasks.jsonl", "--base", "base", "--save", "made", "--threads", "1", "-o", "out", "--dry-run"]
    assert app.run([*run, "--on", "solutions"]) == 0
    out, err = capfd.readouterr()
    for word in WORDS[:2]:
        reply = f"```python\nfinal_answer(reverse_string({word!r}))\n```<|im_end|>"
        left, right = "\N{MATHEMATICAL LEFT WHITE SQUARE BRACKET}", "\N{MATHEMATICAL RIGHT WHITE SQUARE BRACKET}"
        assert f"Write {word} backwards.<|im_end|>\n<|im_start|>assistant\n{left}{reply}{right}" in out
    assert "\nexamples: 4, with 9814 tokens, 215 of them own; 97.8% masked\n" in out
    assert "\nsteps: 2 in 2 epochs; one took " in out and "\nestimated time of the training: " in out
    assert "sca train: solutions: LoRA of rank 16, learning rate 0.0002 (cosine), 8 examples a step, 2 epochs, " in err
    assert app.run([*run, "--on", "solutions", "--max-length", "100"]) == 1
    assert "(left out: 4 too long)\n" in capfd.readouterr().err
    assert app.run([*run, "--resume"]) == 2
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(("algo", "line"), [("dpo", "pairs: 2, pair tasks: 2"), ("kto", "passed: 2, failed: 2")])
def test_a_dry_run_counts_what_is_compared(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], algo: str, line: str
) -> None:
    """DPO: the pairs; KTO: passed and failed rollouts. Without a pair the exit code is 1, as without --dry-run."""
    monkeypatch.chdir(place)
    segment = {"token_ids": [1, 2, 3, 4], "loss_mask": [0, 0, 1, 1], "logprobs": [0.0] * 4}
    rollouts = []
    for word in WORDS[:2]:
        for token, outcome in ((ord(word[1]), "pass"), (7, "fail")):
            own = Segment(**{**segment, "token_ids": [1, 2, ord(word[0]), token]})
            rollouts.append(Rollout(id=f"{word} {token}", task=task(word), outcome=outcome, segments=[own]))
    run = ["train", "r.jsonl", "--base", "base", "--save", "made", "--threads", "1", "--algo", algo, "--dry-run"]
    Path("r.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in rollouts))
    assert app.run(run) == 0
    assert f"\n{line}\n" in capfd.readouterr().out
    Path("r.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in rollouts[::2]))
    assert app.run(run) == 1
    assert not Path("made").exists()


def test_an_unverified_task_is_sent_through_verify(place: Path, sca: Sca) -> None:
    """Exit code 3, the task's id, and the pipe that cures it; nothing is made."""
    unproven = task("drawer", verdict=None)
    ended = sca("train", "--on", "solutions", "--base", "base", "--save", "made", stdin=encode(unproven) + b"\n")
    assert ended.returncode == 3
    assert ended.stderr.decode().splitlines() == [
        f"sca train: task {unproven.id} has no verdict: its solution is not verified",
        "hint: sca verify tasks.jsonl | sca train --on solutions --save DIR",
    ]
    assert not (place / "made").exists()


# ---------------------------------------------------------------- online


@pytest.fixture(scope="module")
def gambler(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a model that answers 1 or 2 by chance, and tasks whose answer is 1."""
    from sca_cli.training.sft import train_sft
    from sca_cli.training.trainer import TrainOptions

    place = tmp_path_factory.mktemp("gambler")
    (place / "prompts").mkdir()
    (place / "prompts" / "agent-code.md").write_text("[user]\n$instruction\n")
    tasks = [task(word, evaluate="def evaluate(answer):\n    return answer == 1") for word in WORDS]
    (place / "tasks.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in tasks))
    replies = [task(word, solution=f"final_answer({answer})") for word in WORDS for answer in (1, 2)]
    with Sandbox(Limits()) as sandbox:
        rollouts = list(demonstrations(replies, sandbox.describe, Prompts(place / "prompts"), Tally()))
    from transformers import AutoTokenizer

    learnt = examples(rollouts, AutoTokenizer.from_pretrained(base))
    options = TrainOptions(lora_rank=0, learning_rate=1e-2, epochs=60, dtype="float32", device="cpu", threads=1)
    train_sft(learnt, str(base), place / "two", options)
    return place


def test_validation_tasks_are_self_made_tasks() -> None:
    """A tenth of the tasks, at most 16, none of few; the seed draws them, and they are not trained on. Where held-out
    tasks are let in, none is drawn.
    """
    for count, wanted, expected in ((39, None, 0), (40, None, 4), (300, None, 16), (40, 0, 0), (8, 3, 3)):
        tasks = [task(str(number)) for number in range(count)]
        rest, held = split(tasks, wanted, Running())
        assert (len(held), len(rest)) == (expected, count - expected)
        assert sorted(map(id, [*rest, *held])) == sorted(map(id, tasks))
        assert split(tasks, wanted, Running())[1] == held
        assert split(tasks, None, Running(allow_eval=True)) == (tasks, [])
    with pytest.raises(UsageError, match="leaves none of the 2 tasks"):
        split(tasks[:2], 2, Running())
    with pytest.raises(UsageError, match="--validate and --allow-eval exclude each other"):
        split(tasks, 2, Running(allow_eval=True))


@pytest.mark.slow
@pytest.mark.parametrize("parts", [[], ["--band", "0.2,0.8", "--promote", "0.9", "--replay", "--mix", "calculation=2"]])
def test_online_training_that_was_killed_ends_with_the_same_weights(
    gambler: Path, sca: Sca, tmp_path: Path, parts: list[str]
) -> None:
    """Killed with -9 in its rounds, it reads what was rolled out and ends like an undisturbed run; it has learnt. A
    curriculum repeats its decisions.
    """
    whole, killed = (shutil.copytree(gambler, tmp_path / name) for name in ("whole", "killed"))
    ended = sca(*ONLINE.split(), *parts, cwd=whole)
    assert ended.returncode == 0, ended.stderr.decode()
    (checkpoint,) = records(ended.stdout)
    rewards = checkpoint.metrics["rounds"]["reward"]
    assert (checkpoint.algorithm, len(rewards)) == ("grpo", 3)
    assert b"sca train: round 1/3: " in ended.stderr
    assert (b"sca train: the band: " in ended.stderr) == ("saved" in checkpoint.metrics["rounds"]) == bool(parts)
    assert b"sca train: validation: " in ended.stderr
    validation = checkpoint.metrics["validation"]
    assert (len(validation["tasks"]), validation["rounds"]) == (1, [0, 3])
    assert not {*validation["tasks"]} & {*checkpoint.parents}
    with subprocess.Popen(
        [BIN / "sca", *ONLINE.split(), *parts],
        cwd=killed,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        journal = killed / "made.work" / "rollouts.jsonl"
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 11):
            assert process.poll() is None
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
    again = sca(*ONLINE.split(), *parts, cwd=killed)
    assert again.returncode == 0, again.stderr.decode()
    for name in ("model.safetensors", "sca-checkpoint.json", "metrics.jsonl"):
        assert (killed / "made" / name).read_bytes() == (whole / "made" / name).read_bytes(), name
    assert again.stdout == ended.stdout
    assert not (killed / "made.work").exists()


def test_a_dry_run_of_rounds_counts_attempts_and_validations(gambler: Path, sca: Sca, tmp_path: Path) -> None:
    """The tasks kept for validation are in no round; rounds and validations have the numbers of the training itself."""
    place = shutil.copytree(gambler, tmp_path / "place")
    before = sorted(place.rglob("*"))
    ended = sca(*ONLINE.replace("--resume", "--dry-run --band 0.2,0.8").split(), cwd=place)
    assert ended.returncode == 0, ended.stderr.decode()
    for line in (
        b"rounds: 3, with 8 attempts each, at 3 tasks",
        b"--band: a round attempts up to 4 times as many tasks; this is not in the estimate",
        b"validations: 2, with 4 attempts each, at 1 tasks",
    ):
        assert line in ended.stdout.splitlines()
    assert sorted(place.rglob("*")) == before


@pytest.mark.slow
def test_two_processes_train_online_as_one_does(gambler: Path, sca: Sca, tmp_path: Path) -> None:
    """Started by torchrun, the first process attempts, validates and writes every file; the rewards are those of one
    process, and so is each loss, to rounding. A dry run is refused.
    """
    alone, both = (shutil.copytree(gambler, tmp_path / name) for name in ("alone", "both"))
    (one,) = records(sca(*ONLINE.split(), cwd=alone).stdout)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29512"]

    def launched(options: str) -> "subprocess.CompletedProcess[bytes]":
        command = [*launcher, "-m", "sca_cli", *options.split()]
        return subprocess.run(command, cwd=both, env=environment(), capture_output=True, timeout=300, check=False)

    ended = launched(ONLINE)
    assert ended.returncode == 0, ended.stderr.decode()
    (two,) = records(ended.stdout)
    assert (two.data, two.settings, two.metrics["validation"]) == (one.data, one.settings, one.metrics["validation"])
    assert two.metrics["rounds"]["reward"] == one.metrics["rounds"]["reward"]
    assert two.metrics["losses"] == pytest.approx(one.metrics["losses"], abs=2e-3)
    assert ended.stderr.count(b"sca train: validation: ") == 1
    steps = [json.loads(line)["step"] for line in (both / "made" / "metrics.jsonl").read_bytes().splitlines()]
    assert steps == [1, 2, 3]
    assert {path.name for path in (both / "made").iterdir()} == {path.name for path in (alone / "made").iterdir()}
    refused = launched(ONLINE.replace("--resume", "--dry-run"))
    assert refused.returncode != 0
    assert refused.stderr.count(b"sca train: --dry-run needs one process") == 1


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"evaluate": "def evaluate():\n    return False"}, 1, "nothing to learn from: "),
        ({"split": "eval"}, 3, "is held out for evaluation"),
    ],
)
def test_tasks_that_teach_nothing_are_one_line(
    gambler: Path, sca: Sca, tmp_path: Path, change: dict[str, Any], code: int, said: str
) -> None:
    """Tasks that always fail, and held-out tasks: the exit code, one line with its hint, and no model."""
    place = shutil.copytree(gambler, tmp_path / "place")
    changed = [task(word, **change) for word in WORDS]
    (place / "tasks.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in changed))
    ended = sca(*ONLINE.split(), "--epochs", 3, "-q", cwd=place)
    assert ended.returncode == code
    (line, hint) = ended.stderr.decode().splitlines()[-2:]
    assert said in line
    assert hint.startswith("hint: ")
    assert not [*place.glob("made*")]


def test_rollouts_are_rejected_by_online_training(gambler: Path, sca: Sca) -> None:
    """Exit code 3, and the algorithms that learn from rollouts."""
    one = Rollout(id="r", task=task("drawer"), outcome="pass")
    ended = sca("train", "--algo", "ppo", "--base", "two", "--save", "other", cwd=gambler, stdin=encode(one) + b"\n")
    assert ended.returncode == 3
    assert "record r is a rollout: --algo ppo reads tasks" in ended.stderr.decode()
