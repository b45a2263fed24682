"""The PAE baseline in real processes and pipes: tasks without a check, and a model that judges the attempts."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import environment
from loop_script import WORDS, code
from loop_script import rules as loop_rules

from sca_cli.records import Exploration, Rollout, Task, decode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

ENV = "calculation:family=message_decoder"
ROOT = Path(__file__).parents[2]


def rules() -> list[dict[str, Any]]:
    """Return the rules: proposer (three tasks, one reply that is none), judge, solver (right, wrong); no explorer."""
    tasks = [f"<instruction>Write the word {word} backwards.</instruction>" for word in WORDS]
    right = "|".join(word[::-1] for word in WORDS)
    solver = [
        {
            "when": f"the word {word} backwards",
            "replies": [[code(f"final_answer(reverse_string('{word}'))"), code("final_answer('?')")]],
        }
        for word in WORDS
    ]
    return [
        {"when": "Propose a task", "replies": [[*tasks, "I would rather not."]]},
        {"when": rf"^Instruction: .*Final answer: '({right})'$", "replies": ["It was done.\nStatus: success"]},
        {"when": "^Instruction: .*Final answer:", "replies": ["Status: success? No.\n**Status: FAILURE**"]},
        *solver,
    ]


@pytest.fixture
def shell(tmp_path: Path, script: Callable[..., str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Return a function that runs a line of bash with a scripted model in SCA_MODEL and $MODEL."""

    def run(line: str, *, model: str = "", env: str = ENV) -> "subprocess.CompletedProcess[str]":
        name = model or script(*rules())
        return subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment({"SCA_MODEL": name, "MODEL": name, "SCA_ENV": env}),
            timeout=60,
            check=False,
        )

    return run


def tasks_in(text: str) -> list[Task]:
    """Return the tasks of some JSONL text."""
    records = [decode(line) for line in text.splitlines()]
    assert all(isinstance(record, Task) for record in records)
    return [record for record in records if isinstance(record, Task)]


def rollouts_in(text: str) -> list[Rollout]:
    """Return the rollouts of some JSONL text."""
    records = [decode(line) for line in text.splitlines()]
    assert all(isinstance(record, Rollout) for record in records)
    return [record for record in records if isinstance(record, Rollout)]


# ---------------------------------------------------------------- challenge


def test_a_proposed_task_says_that_it_is_unverified(shell) -> None:
    """`--method pae` explores nothing, and writes instructions without check, solution or failure cases, so marked."""
    ended = shell("sca challenge --method pae -n 12 --rejected no.jsonl; wc -l < no.jsonl")
    *lines, rejected = ended.stdout.splitlines()
    made = tasks_in("\n".join(lines))
    assert len(made) + int(rejected) == 12
    assert min(len(made), int(rejected)) >= 1
    assert all(json.loads(line)["unverified"] is True for line in lines)
    for task in made:
        assert (task.method, task.evaluate, task.solution, task.failure_cases) == ("pae", "", "", [])
        assert any(word in task.instruction for word in WORDS)
        assert task.parents == []
    assert len({task.seed for task in made}) == len(made)
    assert "unparsable: 0 <instruction> instead of one" in ended.stderr
    assert [task.parents for task in tasks_in(shell("cat no.jsonl").stdout)] == [[]] * int(rejected)


def test_the_proposer_reads_the_documentation_and_the_first_observation_alone(shell, script) -> None:
    """The prompt holds the start page and every tool, and nothing of the explorations whose worlds are used."""
    seen = r"click_url\(url: str\).*What is seen first:\n/ \(lines 1 to 5 of .*\[Shops\]\(/shops\)"
    model = script(
        {"when": "parking costs", "anywhere": True, "replies": ["it read what was explored"]},
        {"when": seen, "replies": ["<instruction>Find the oldest shop.</instruction>"]},
        {"when": "Try: ", "replies": [code("print(click_url('/faq'), 'parking costs')")]},
        {"replies": ["something is missing"]},
    )
    ended = shell("sca explore -n 2 | tee e | sca challenge --method pae", model=model, env="web_browsing")
    made = tasks_in(ended.stdout)
    assert [task.instruction for task in made] == ["Find the oldest shop."] * 2, ended.stderr
    explored = [decode(line) for line in shell("cat e").stdout.splitlines()]
    assert [(task.seed, task.parents) for task in made] == [
        (walk.seed, [walk.id]) for walk in explored if isinstance(walk, Exploration)
    ]


# ---------------------------------------------------------------- verify and rollout


def test_verify_turns_down_what_has_no_check(shell) -> None:
    """Verify rejects an unverified task at stage `runs`, with the reason in its verdict."""
    ended = shell("sca challenge --method pae -n 8 | sca verify --rejected fallen; echo $?; cat fallen")
    code, *lines = ended.stdout.splitlines()
    fallen = tasks_in("\n".join(lines))
    assert code == "1"
    assert len(fallen) >= 2
    for task in fallen:
        assert task.verdict is not None
        (check,) = task.verdict.checks
        assert (task.verdict.passed, task.verdict.stage) == (False, "runs")
        assert (check.outcome, check.reason, check.where) == ("invalid", "no-evaluate", "evaluate")
        assert "unverified" in check.message
    assert "candidates, method pae" in ended.stderr


def test_without_a_judge_an_unverified_task_is_not_attempted(shell) -> None:
    """Each rollout of an unverified task has the reason as its error and costs no tokens; one hint names --judge."""
    ended = shell("sca challenge --method pae -n 8 | sca rollout -k 2")
    made = rollouts_in(ended.stdout)
    assert len(made) >= 4
    for rollout in made:
        assert rollout.error is not None
        assert (rollout.error.boundary, rollout.outcome, rollout.reward) == ("task", "invalid", None)
        assert "it has no check, and no --judge was given" in rollout.error.message
        assert (rollout.usage.turns, rollout.messages, rollout.judged_by) == (0, [], "")
    assert f"{len(made)} attempts were not made" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "hint: --judge MODEL lets a model judge them"


def test_a_judge_rewards_and_its_rewards_are_marked(shell) -> None:
    """The judge reads instruction, transcript and answer, and decides outcome and reward; the rollout has its name."""
    ended = shell("sca challenge --method pae -n 12 | sca rollout -k 4 --judge $MODEL")
    made = rollouts_in(ended.stdout)
    for rollout in made:
        right = rollout.answer in [word[::-1] for word in WORDS]
        assert (rollout.outcome, rollout.reward) == (("pass", 1.0) if right else ("fail", 0.0))
        assert rollout.judged_by.startswith("scripted:")
        assert rollout.task.unverified
    assert {rollout.outcome for rollout in made} == {"pass", "fail"}
    assert "not made" not in ended.stderr


@pytest.mark.parametrize("reply", ["I cannot tell.", "Status: perhaps", ""])
def test_a_judge_that_says_neither_is_invalid(shell, script, reply: str) -> None:
    """An unreadable reply of the judge gives no reward, neither 0 nor 1, and is counted on stderr."""
    judge = shlex.quote(script({"replies": [reply]}, name="judge"))
    ended = shell(f"sca challenge --method pae -n 6 | sca rollout -k 1 --judge {judge}")
    (rollout, *more) = rollouts_in(ended.stdout)
    assert (rollout.outcome, rollout.reward, rollout.reason) == ("invalid", None, "judge")
    assert rollout.judged_by
    assert rollout.error is not None
    assert rollout.error.message == "judge: the reply says neither success nor failure"
    assert f"\n{1 + len(more):7d}  {rollout.error.message}\n" in ended.stderr


def test_a_judge_whose_engine_fails_is_invalid(shell, script) -> None:
    """A crash of the judge makes the outcome invalid; the record names it."""
    judge = shlex.quote(script({"when": "never said", "replies": ["Status: success"]}, name="judge"))
    (rollout, *_) = rollouts_in(shell(f"sca challenge --method pae -n 6 | sca rollout -k 1 --judge {judge}").stdout)
    assert (rollout.outcome, rollout.reward, rollout.reason) == ("invalid", None, "judge")
    assert rollout.error is not None
    assert (rollout.error.boundary, rollout.error.message[:20]) == ("model", "judge: no rule of '/")


def test_a_check_is_never_overruled_by_a_judge(shell, script) -> None:
    """A task with a check is judged by it alone, whatever the judge would say."""
    judge = shlex.quote(script({"replies": ["Status: success"]}, name="judge"))
    model = script(*loop_rules(), name="loop")
    ended = shell(f"sca challenge -n 10 | sca verify | sca rollout -k 4 --judge {judge}", model=model)
    made = rollouts_in(ended.stdout)
    assert {rollout.outcome for rollout in made} == {"pass", "fail"}
    assert {rollout.judged_by for rollout in made} == {""}


def test_a_judged_run_resumes_under_the_same_judge_only(shell, tmp_path: Path) -> None:
    """The same line again finds all done; another judge is another run."""
    shell("sca challenge --method pae -n 8 > t; sca rollout t -k 2 --judge $MODEL -o r")
    whole = (tmp_path / "r").read_bytes()
    again = shell("sca rollout t -k 2 --judge $MODEL -o r --resume")
    refused = shell("sca rollout t -k 2 -o r --resume")
    assert (again.returncode, refused.returncode) == (0, 2)
    assert "judge" in refused.stderr
    assert (tmp_path / "r").read_bytes() == whole


def test_an_unknown_judge_ends_before_any_work(shell) -> None:
    """The judge's plugin must be there: code 4, nearest name."""
    ended = shell("printf '' | sca rollout --judge scriptet:x")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "did you mean 'scripted'" in ended.stderr


# ---------------------------------------------------------------- train and eval


@pytest.fixture
def mixed(shell, script, tmp_path: Path) -> Path:
    """A file of verified and of judged rollouts."""
    shell("sca challenge --method pae -n 6 | sca rollout -k 1 --judge $MODEL > judged")
    shell("sca challenge -n 6 | sca verify | sca rollout -k 1 > checked", model=script(*loop_rules(), name="loop"))
    lines = [(tmp_path / name).read_bytes() for name in ("checked", "judged")]
    assert all(lines)
    (tmp_path / "mixed").write_bytes(b"".join(lines))
    return tmp_path / "mixed"


@pytest.mark.torch
def test_train_refuses_judged_beside_verified_rollouts(mixed: Path, shell) -> None:
    """Code 3, both kinds named and how to pick one; nothing is trained."""
    pytest.importorskip("torch", reason="the train extra is not installed")
    from tiny_model import save_tokenizer

    (mixed.parent / "base").mkdir()
    save_tokenizer(mixed.parent / "base")
    ended = shell("sca train mixed --base base --save out")
    assert (ended.returncode, ended.stdout) == (3, ""), ended.stderr
    assert "was judged by a model, rollout " in ended.stderr
    assert "jq -c 'select(.judged_by)'" in ended.stderr
    assert not (mixed.parent / "out").exists()


@pytest.mark.usefixtures("mixed")
def test_eval_scores_what_checks_say_only(shell) -> None:
    """A judged rollout in a score is a usage error; without it the others are scored."""
    ended = shell("sca eval mixed")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "a score counts only checks" in ended.stderr
    assert json.loads(shell("sca eval checked").stdout)["kind"] == "score"


@pytest.mark.torch
def test_the_comparison_goes_through(tmp_path: Path, script) -> None:
    """The script ends in three scores even where neither arm has anything to learn from; run again, it
    finds all done.
    """
    pytest.importorskip("torch", reason="the train extra is not installed")
    from tiny_model import save_tokenizer

    save_tokenizer(tmp_path / "base")
    settings = {"SCA_BASE": "base", "SCA_RUN": "run", "SCA_CANDIDATES": "6", "SCA_SAMPLES": "1", "SCA_EVAL": "2"}
    rules_of_both = [*(rule for rule in rules() if "backwards" not in rule["when"]), *loop_rules()]
    solver = {"when": "The task: ", "replies": [code("final_answer('?')")]}
    settings |= {"SCA_MODEL": script(solver, *rules_of_both), "SCA_ENV": ENV}
    written = []
    for _ in range(2):
        ended = subprocess.run(
            ["sh", str(ROOT / "examples" / "experiments" / "sca-vs-pae.sh")],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(settings),
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.count("no examples to train on") == 2
        written.append({path.name: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*.jsonl"))})
    assert written[0] == written[1]
    assert written[0]["before.jsonl"]
    scores = (written[0]["score-before.jsonl"] + written[0]["scores.jsonl"]).splitlines()
    assert [json.loads(line)["tasks"] for line in scores] == [2, 2, 2]
    assert {rollout.outcome for rollout in rollouts_in((tmp_path / "run/pae/rollouts.jsonl").read_text())} == {"fail"}


def test_the_comparison_is_short() -> None:
    """It is an example to read: 60 lines at most, and a shell takes it."""
    script = ROOT / "examples" / "experiments" / "sca-vs-pae.sh"
    assert len(script.read_text().splitlines()) <= 60
    assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
