"""The loop in real processes and pipes, explore | challenge | verify | rollout, and what Unix expects of a filter."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BIN, environment
from loop_script import WORDS, rules

from sca_cli.records import Exploration, Rollout, Task, decode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

ENV = "calculation:family=message_decoder"


@pytest.fixture
def shell(tmp_path: Path, script: Callable[..., str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Return a function that runs a line of bash with a scripted model in SCA_MODEL."""

    def run(line: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        more = {"SCA_MODEL": script(*rules()), "SCA_ENV": ENV} | settings
        return subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(more),
            timeout=120,  # the first sca of a setting starts a warm process, which imports all
            check=False,
        )

    return run


def records(text: str) -> list[object]:
    """Return the records of some JSONL text."""
    return [decode(line) for line in text.splitlines()]


def test_the_whole_loop_in_one_pipe(shell, tmp_path: Path) -> None:
    """Four commands joined by pipes write rollouts of proven tasks only, and each stage writes records of its own
    kind.
    """
    ended = shell(
        "sca explore -n 8 | tee explorations | sca challenge -n 30 --rejected unreadable | tee candidates"
        " | sca verify --rejected fallen | tee tasks | sca rollout -k 2; echo ${PIPESTATUS[@]} >&2"
    )
    assert ended.stderr.splitlines()[-1] == "0 0 0 0 0 0 0", (ended.returncode, ended.stderr)
    made = {
        name: records((tmp_path / name).read_text())
        for name in ("explorations", "candidates", "unreadable", "tasks", "fallen")
    }
    rollouts = records(ended.stdout)
    assert all(type(record) is Exploration and record.observations for record in made["explorations"])
    assert len(made["explorations"]) == 8
    assert len(made["candidates"]) + len(made["unreadable"]) == 30
    assert len(made["tasks"]) + len(made["fallen"]) == len(made["candidates"])
    assert min(map(len, made.values())) >= 1
    for task in made["tasks"]:
        assert isinstance(task, Task)
        assert task.verdict is not None
        assert (task.verdict.passed, task.verdict.stage, task.calls) == (True, "kept", 1)
        names = [check.name for check in task.verdict.checks]
        assert names[:5] == ["solution", *(f"failure_case[{n}]" for n in range(3)), "no-op"]
        assert any(word in task.instruction for word in WORDS)
    stages = {task.verdict.stage for task in made["fallen"] if isinstance(task, Task) and task.verdict}
    assert "solution" in stages and stages <= {"solution", "duplicate"}
    assert len(rollouts) == 2 * len(made["tasks"])
    for rollout in rollouts:
        assert isinstance(rollout, Rollout)
        right = rollout.answer in [word[::-1] for word in WORDS]
        assert (rollout.outcome, rollout.reward) == (("pass", 1.0) if right else ("fail", 0.0))
    assert {rollout.outcome for rollout in rollouts if isinstance(rollout, Rollout)} == {"pass", "fail"}


def test_parents_lead_back_to_the_exploration(shell, tmp_path: Path) -> None:
    """Every record names its parent, by an id that the file of the previous stage holds."""
    shell("sca explore -n 3 > e; sca challenge e > c; sca verify c > t; sca rollout t -k 1 > r")
    before: set[str] = set()
    for name in ("e", "c", "t", "r"):
        made = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        if name in ("c", "r"):
            assert made
            assert all(set(record["parents"]) <= before for record in made)
        before = {record["id"] for record in made}


def test_the_same_seed_gives_the_same_bytes_at_any_concurrency(shell) -> None:
    """The output is the same for every concurrency, and another seed gives another output."""
    line = "sca explore -n 4 {0} | sca challenge -n 12 {0} | sca verify {1} | sca rollout -k 2 {0}"
    one, many, other = (
        shell(line.format(*options)).stdout
        for options in (("--concurrency 1", "--concurrency 1"), ("--concurrency 32", ""), ("--seed 1", ""))
    )
    assert one == many != other
    assert one.count("\n") >= 4


def test_challenge_explores_by_itself(shell, tmp_path: Path) -> None:
    """`challenge --env` without input explores first, and its tasks name the explorations that `explore` makes with
    that seed.
    """
    ended = shell("sca explore -n 2 > e; sca challenge -n 10 | sca verify")
    tasks, explored = records(ended.stdout), records((tmp_path / "e").read_text())
    assert len(tasks) >= 2
    assert {parent for task in tasks for parent in task.parents} <= {exploration.id for exploration in explored}
    assert "10 replies are tasks" in ended.stderr
    assert re.search(r"^  failures +\d+ +\d+\.\d%$", ended.stderr, re.MULTILINE)


def test_challenge_all_keeps_what_is_no_task(shell) -> None:
    """With --all, replies that are no tasks are written with their error, and verify counts them as not parsed."""
    ended = shell("sca challenge -n 10 --all | sca verify --all")
    made = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(made) == 10
    assert {record["error"]["message"] for record in made if "error" in record} == {
        "unparsable: 0 <instruction> instead of one"
    }
    assert "sca verify: 10 candidates, method cat" in ended.stderr


def test_eval_scores_what_was_rolled_out(shell) -> None:
    """`rollout | eval` scores rollouts without running them again, and `eval` on the same tasks runs them itself."""
    first = shell("sca challenge -n 10 | sca verify > t; sca rollout t -k 4 | sca eval -")
    score = json.loads(first.stdout)
    assert (score["kind"], score["samples"], set(score["pass_at"])) == ("score", 4, {"1", "2", "4"})
    again = json.loads(shell("sca eval t -k 4 --temperature 0.8").stdout)
    assert again["tasks"] == score["tasks"]
    assert again["noop"] == 0.0
    assert 0 < again["pass_at"]["1"]["value"] < 1


def test_a_reader_that_has_enough_is_success(shell) -> None:
    """`| head -1` ends every command before it quietly with exit code 0, however many records remain."""
    for line in (
        "sca explore -n 200 | head -1",
        "sca challenge -n 200 | sca verify | head -1",
        "sca plugins | head -1",
        "sca --help | true",
    ):
        ended = shell(f"{line}; echo ${{PIPESTATUS[@]}}")
        assert set(ended.stdout.splitlines()[-1].split()) == {"0"}, line
        assert "Traceback" not in ended.stderr
        assert "Broken" not in ended.stderr


def test_empty_input_is_worth_telling(shell) -> None:
    """A filter with empty input writes no record, says so in one line and exits with 1."""
    for line, said in (
        ("verify", "sca verify: no candidates"),
        ("challenge", "0 of 0 replies"),
        ("rollout", "0 attempts"),
    ):
        ended = shell(f"printf '' | sca {line}")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert said in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_quiet_says_nothing(shell) -> None:
    """With --quiet stderr stays empty where all is well."""
    ended = shell("sca challenge -n 5 -q | sca verify -q")
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_nothing_but_records_on_stdout_and_no_colour_in_a_pipe(shell) -> None:
    """Messages go to stderr, without escape codes if it is no terminal."""
    ended = shell("sca challenge -n 5 --all | sca verify --all")
    assert len(records(ended.stdout)) == 5
    assert "\x1b" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "verb", ["verify", "rollout", "challenge", "eval", "train --save x", "distill --save x --student y"]
)
def test_a_terminal_where_a_pipe_is_expected_is_a_usage_error(tmp_path: Path, script, verb: str) -> None:
    """A filter that is started in a terminal without input says what it needs instead of waiting."""
    leader, terminal = pty.openpty()
    settings = {"SCA_MODEL": script(*rules())}
    try:
        ended = subprocess.run(
            [str(BIN / "sca"), *verb.split()],
            stdin=terminal,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(settings),
            timeout=30,
            check=False,
        )
    finally:
        os.close(leader)
        os.close(terminal)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert re.match(rf"sca {verb.split()[0]}: nothing to (read|evaluate)", ended.stderr)
    assert "\nhint: " in ended.stderr


def test_progress_is_shown_on_a_terminal_only(tmp_path: Path, script) -> None:
    """A progress line is shown if stderr is a terminal; stdout holds only records."""
    leader, terminal = pty.openpty()
    command = [str(BIN / "sca"), "explore", "--env", ENV, "-n", "3", "--model", script(*rules(), delay_s=0.1)]
    shown = b""
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=terminal,
            cwd=tmp_path,
            env=environment({"TERM": "xterm"}),
        )
    os.close(terminal)
    try:
        while piece := os.read(leader, 4096):
            shown += piece
    except OSError:
        pass  # the other side is gone
    os.close(leader)
    assert process.wait() == 0
    assert len(records((tmp_path / "out").read_text())) == 3
    assert b"sca explore" in shown
    assert b"/3" in shown


@pytest.mark.parametrize("verb", ["explore -n 100000", "verify -"])
def test_interrupt_ends_with_130_and_whole_lines(tmp_path: Path, script, verb: str) -> None:
    """Ctrl-C stops a command within seconds with code 130, whole lines, no traceback and no process left behind."""
    command = [str(BIN / "sca"), *verb.split()]
    settings = {"SCA_MODEL": script(*rules(), delay_s=0.01), "SCA_ENV": ENV}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=tmp_path, env=environment(settings), bufsize=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if verb.startswith("verify"):
            process.stdin.write(shipped_task() + b"\n" + shipped_task()[:20])
            process.stdin.flush()  # and then the pipe goes quiet
        first = process.stdout.readline()
        time.sleep(1)  # until the pipe is full: half a line may be written when the signal comes
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        rest, err = process.communicate(timeout=30)
    assert time.monotonic() - started < 15
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert (first + rest).endswith(b"\n")
    assert all(records((first + rest).decode()))


def shipped_task() -> bytes:
    """Return the line of a hand-written task."""
    from sca_calculation.environment import Calculation

    path = Calculation.eval_path()
    return path.read_bytes().splitlines()[0]


def test_interrupt_of_a_whole_pipe_leaves_nobody(tmp_path: Path, script) -> None:
    """Ctrl-C at a terminal reaches all stages at once; all end, and so do their jails."""
    with subprocess.Popen(
        ["bash", "-c", "sca explore -n 100000 | sca challenge | sca verify | sca rollout -k 1 > rollouts"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        start_new_session=True,
        env=environment({"SCA_MODEL": script(*rules(), delay_s=0.01), "SCA_ENV": ENV}),
    ) as process:
        deadline = time.monotonic() + 40
        while not (tmp_path / "rollouts").exists() or not (tmp_path / "rollouts").stat().st_size:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=40)
    assert b"Traceback" not in err
    text = (tmp_path / "rollouts").read_text()
    assert text.endswith("\n")
    assert all(records(text))


def test_a_missing_extra_names_the_command_that_installs_it(tmp_path: Path) -> None:
    """A model plugin without its libraries ends with code 4 and the exact pip command, before any work and without a
    traceback.
    """
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "transformers"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
        """)
    )
    ended = subprocess.run(
        [str(BIN / "sca"), "explore", "--env", ENV, "--model", f"transformers:{tmp_path}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment({"PYTHONPATH": str(tmp_path)}),
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (4, ""), ended.stderr
    assert re.match(
        r"sca explore: 'transformers' needs the package '(torch|transformers)'\n"
        r"hint: pip install 'sca-cli\[transformers\]'\n",
        ended.stderr,
    )


def test_an_environment_from_outside_goes_through_the_whole_loop(shell, outside: str, script) -> None:
    """An environment of a third-party package is explored, and tasks in it are made and verified, like our own."""
    task = (
        "<instruction>Call user_1 Eve from now on.</instruction><evaluation_function>\ndef evaluate():\n"
        "    return get_user('user_1')['name'] == 'Eve'\n</evaluation_function>"
        "<solution>set_name('user_1', 'Eve')</solution>"
        + "".join(
            f"<failure_case>{wrong}</failure_case>"
            for wrong in ("pass", "set_name('user_2', 'Eve')", "set_name('user_1', 'eve')")
        )
    )
    model = script(
        {"when": "Write (a|ONE) new task", "replies": [task]},
        {"replies": ["```python\nprint(get_user('user_1'))\n```"]},
        name="outside",
    )
    settings = {"SCA_MODEL": model, "SCA_ENV": "corner-shop", "PYTHONPATH": outside}
    ended = shell("sca env list; sca explore -n 2 | sca challenge | sca verify --skip duplicate", **settings)
    *listed, _, _ = lines = ended.stdout.splitlines()
    assert [line for line in listed if line.startswith("corner-shop")]
    assert [json.loads(line)["verdict"]["stage"] for line in lines[-2:]] == ["kept", "kept"], ended.stderr


def test_python_m_is_the_same_program(tmp_path: Path) -> None:
    """`python -m sca_cli.app` is `sca`."""
    ended = subprocess.run(
        [sys.executable, "-m", "sca_cli.app", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert ended.stdout.startswith("sca ")
