"""Bad input in real pipes: one line says what is wrong, and what came before it is whole on stdout."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import environment
from loop_script import rules
from sca_calculation.environment import Calculation
from sca_retail.data import OWN

from sca_cli.records import decode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

GOOD = Calculation.eval_path().read_bytes().splitlines()[:3]

BAD: dict[str, tuple[bytes, str, str]] = {
    "half": (GOOD[0][:100], "line is cut short", "hint: the program that wrote it was stopped in the middle"),
    "utf8": (GOOD[0].replace(b"radio", b"rad\xef\xbf"), "not valid UTF-8", ""),
    "kind": (
        b'{"kind":"exploration","env":{"name":"e"}}',
        "$.kind: 'exploration' where 'task' is expected",
        "",
    ),
    "unknown": (
        GOOD[0][:-1] + b',"colour":1}',
        "$.colour: unknown field",
        "hint: fields of your own go under 'extra'",
    ),
    "type": (GOOD[0].replace(b'"seed":347338', b'"seed":"x"'), "$.seed: expected 'int', got 'str'", ""),
    "missing": (b'{"kind":"task","env":{"name":"calculation"},"evaluate":"x"}', "$.instruction: missing", ""),
    "json": (b"hello", "not a record: JSON is malformed: invalid character (byte 0)", ""),
    "long": (
        GOOD[0][:-1] + b',"extra":{"x":"' + b"x" * 50_000_000 + b'"}}',
        "line is longer than 32 MiB",
        "",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_one_line_on_stderr_and_code_3(sca, name: str) -> None:
    """Line 4 is bad (a blank line counts): it is reported, and the tasks before and after it are verified."""
    bad, said, hint = BAD[name]
    ended = sca("verify", "--quiet", stdin=b"\n".join([GOOD[0], b"", GOOD[1], bad, GOOD[2], b""]))
    err = ended.stderr.decode().splitlines()
    assert ended.returncode == 3, err
    assert err[0] == f"sca verify: stdin:4: {said}"
    assert err[1:-1] == ([hint] if hint else [])
    assert err[-1] == "sca verify: 1 line of the input left out; all other records were processed"
    out = ended.stdout.splitlines(keepends=True)
    assert [json.loads(line)["id"] for line in out] == [json.loads(line)["id"] for line in GOOD[:3]]
    assert all(line.endswith(b"\n") for line in out)


@pytest.mark.parametrize(
    ("verb", "kind"), [("challenge", "exploration"), ("rollout", "task"), ("eval", "task' or 'rollout")]
)
def test_every_filter_names_what_it_expects(sca, script, verb: str, kind: str) -> None:
    """A stage given the wrong records says which it wants."""
    wrong = b'{"kind":"checkpoint","path":"p","base_model":"b","algorithm":"a"}\n'
    ended = sca(verb, "--model", script(*rules()), stdin=wrong)
    assert (ended.returncode, ended.stdout) == (3, b"")
    assert ended.stderr.decode() == f"sca {verb}: stdin:1: $.kind: 'checkpoint' where '{kind}' is expected\n"


WORLD = "from pathlib import Path\nfrom sca_cli import Environment\nclass Broken(Environment):\n    pass\n"
TASKS = "Broken.eval_path = classmethod(lambda cls: Path('/dev/null'))\n"
BROKEN = {
    "AttributeError": "Broken.eval_path = classmethod(lambda cls: cls.no_such)\n",
    "ZeroDivisionError": TASKS + "Broken.variants = classmethod(lambda cls, options: 1 / 0)\n",
    "KeyError": TASKS + "Broken.__init__ = lambda self: {}['x\\ny']\n",
    "RuntimeError": "raise RuntimeError\n",
}


@pytest.mark.parametrize("command", [("env", "test", "broken"), ("eval", "-e", "broken", "-m", "scripted:none")])
@pytest.mark.parametrize("error", BROKEN)
def test_a_plugin_that_raises_is_named_in_one_line(
    sca, outside: str, tmp_path: Path, error: str, command: tuple[str, ...]
) -> None:
    """Whatever its class or module raises: exit code 4 and a line with the plugin's name, or a check that failed."""
    (tmp_path / "outside" / "broken.py").write_text(WORLD + BROKEN[error])
    with (tmp_path / "outside" / "outside_shop.py").open("a") as file:
        file.write("    register('broken', 'broken:Broken', help='')\n")
    ended = sca(*command, env={"PYTHONPATH": outside})
    told = ended.stderr.decode().splitlines()
    if (command[0], error) == ("env", "KeyError"):
        assert (ended.returncode, told) == (1, [])
        assert "fail     a world starts " in ended.stdout.decode()
    else:
        assert (ended.returncode, len(told)) == (4, 1), told
        assert told[0].startswith(f"sca {command[0]}: plugin 'shop': ") and f": {error}" in told[0]


def test_a_bad_file_is_named_by_its_path(sca, tmp_path: Path) -> None:
    """The message about a bad line of a file begins with the file's name instead of `stdin`."""
    (tmp_path / "bad.jsonl").write_bytes(b"\n\n{}\n")
    ended = sca("verify", "bad.jsonl")
    assert (ended.returncode, ended.stderr) == (3, b"sca verify: bad.jsonl:3: $.kind: missing\n")


@pytest.mark.parametrize(
    ("arguments", "first", "hint"),
    [
        (
            ["explore", "--env", "calcluation", "--model", "scripted:SCRIPT"],
            "unknown environment 'calcluation'",
            "did you mean 'calculation'?",
        ),
        (
            ["explore", "--env", "calculation", "--model", "scripeted:x"],
            "unknown model plugin 'scripeted'",
            "did you mean 'scripted'?",
        ),
        (
            ["challenge", "--env", "calculaton", "--model", "scripted:SCRIPT"],
            "unknown environment 'calculaton'",
            "did you mean 'calculation'?",
        ),
    ],
)
def test_unknown_names_end_before_any_work(
    sca, script, tmp_path: Path, arguments: list[str], first: str, hint: str
) -> None:
    """Code 4 and the nearest name, and no output file is begun."""
    model = script(*rules())
    ended = sca(*[model if word == "scripted:SCRIPT" else word for word in arguments], "-o", "out.jsonl")
    assert (ended.returncode, ended.stdout) == (4, b"")
    assert ended.stderr.decode().splitlines() == [f"sca {arguments[0]}: {first}", f"hint: {hint}"]
    assert not (tmp_path / "out.jsonl").exists()


def test_a_task_of_an_unknown_environment_costs_this_task(sca, tmp_path: Path) -> None:
    """A task whose environment is not installed here gets an error with the nearest name; the others are verified."""
    task = GOOD[0].replace(b'"name":"calculation"', b'"name":"calculatio"')
    ended = sca("verify", "--paper", "--rejected", "rejected", stdin=task + b"\n" + GOOD[1] + b"\n")
    assert ended.returncode == 0
    assert b"1  unknown environment 'calculatio'; did you mean 'calculation'?" in ended.stderr
    assert ended.stdout.count(b"\n") == 1
    error = decode((tmp_path / "rejected").read_bytes()).error
    assert error and error.boundary == "record"


def test_fields_of_the_users_own_are_kept(sca) -> None:
    """The user's own fields under `extra` are written unchanged."""
    extra: dict[str, Any] = {"mine": {"deep": [1, 2.5, None, "ü"]}}
    task = json.dumps(json.loads(GOOD[0]) | {"extra": extra}).encode()
    ended = sca("verify", "-q", stdin=task)
    assert ended.returncode == 0
    assert decode(ended.stdout).extra == extra


def test_a_closed_standard_input_is_told(tmp_path: Path) -> None:
    """`sca verify <&-` is a usage error, not a crash."""
    ended = subprocess.run(
        ["bash", "-c", "sca verify <&-"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("sca verify: nothing to read")


def test_a_full_standard_output_is_told(tmp_path: Path) -> None:
    """`> /dev/full`: code 4, one line after the header of the run, no traceback."""
    (tmp_path / "t").write_bytes(GOOD[0])
    ended = subprocess.run(
        ["bash", "-c", "sca verify t > /dev/full"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
        check=False,
        timeout=30,
    )
    header, error = ended.stderr.splitlines(keepends=True)
    assert header.startswith("sca verify: jail ok (")
    assert (ended.returncode, error) == (
        4,
        "sca verify: cannot write stdout: No space left on device\n",
    )


@pytest.mark.parametrize("from_stdin", [True, False], ids=["stdin", "named"])
def test_output_over_the_input_is_refused_and_the_input_is_kept(sca, tmp_path: Path, from_stdin: bool) -> None:
    """`sca verify t.jsonl -o t.jsonl` would destroy what it reads: usage error, and not a byte is lost."""
    tasks = tmp_path / "tasks.jsonl"
    tasks.write_bytes(b"\n".join(GOOD) + b"\n")
    kept = tasks.read_bytes()
    if from_stdin:
        with tasks.open("rb") as file:
            ended = subprocess.run(
                ["sca", "verify", "-o", str(tasks)], stdin=file, capture_output=True, env=environment(), check=False
            )
    else:
        ended = sca("verify", tasks, "-o", tasks)
    assert ended.returncode == 2
    assert b"is also an input" in ended.stderr
    assert tasks.read_bytes() == kept


def test_output_into_a_missing_directory_names_the_file_asked_for(sca) -> None:
    """The message names the user's file, not the journal next to it."""
    ended = sca("verify", "-o", "nowhere/tasks.jsonl", stdin=GOOD[0])
    assert (ended.returncode, ended.stderr.splitlines()[0]) == (
        4,
        b"sca verify: cannot write nowhere/tasks.jsonl: its directory does not exist",
    )


@pytest.mark.parametrize("env", ["calculation:family=nope", "calculation:colour=red"])
def test_eval_tells_an_option_the_environment_does_not_take(sca, script, env: str) -> None:
    """An option that fits no held-out task is an error, not an empty score."""
    ended = sca("eval", "--env", env, "--model", script(*rules()))
    assert ended.returncode == 2
    assert b"'calculation'" in ended.stderr


def test_eval_tells_that_held_out_tasks_are_for_other_data(sca, script, tmp_path: Path) -> None:
    """What an environment ships is for its own records; `data=` of the user's has none."""
    tmp_path.chmod(0o755)
    shutil.copytree(OWN, tmp_path / "shop")
    ended = sca("eval", "--env", "retail:data=shop", "--model", script(*rules()))
    said = ended.stderr.decode().splitlines()
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert said[0] == f"sca eval: none of the evaluation tasks of 'retail' is for retail:data={tmp_path}/shop"
    assert said[1].startswith("hint: name a file of tasks; 'sca challenge --env retail:data=shop | sca verify'")


def test_a_suite_that_nobody_knows_is_called_one(sca, script) -> None:
    """The hint names the suites, and no other environments."""
    ended = sca("eval", "--suite", "nope", "--model", script(*rules()))
    assert ended.returncode == 4
    assert ended.stderr == b"sca eval: unknown suite 'nope'\nhint: known: m3tooleval, tau2, taubench\n"


def test_training_names_a_model_directory_that_is_not_there(sca) -> None:
    """A path is not taken for a hub's name."""
    pytest.importorskip("transformers", reason="the train extra is not installed")
    ended = sca("train", "--model", "transformers:/nowhere/x", "--save", "out", stdin=b"")
    assert ended.returncode == 4
    assert ended.stderr.startswith(b"sca train: no such model directory: '/nowhere/x'\nhint: "), ended.stderr


def test_tasks_and_rollouts_are_not_mixed(sca, script) -> None:
    """A stream of both kinds is refused: half of it would be lost without a word."""
    rollout = sca("rollout", "-k", "1", "--model", script(*rules()), stdin=GOOD[0]).stdout
    ended = sca("eval", "--model", script(*rules()), stdin=GOOD[1] + b"\n" + rollout)
    assert ended.returncode == 2
    assert b"tasks and rollouts are mixed" in ended.stderr


@pytest.mark.parametrize(
    "verb", [["train", "--model", "scripted:none", "--base"], ["distill", "--teacher", "scripted:none", "--student"]]
)
def test_held_out_tasks_are_not_trained_on(sca, verb: list[str]) -> None:
    """A task marked `eval` is refused, before any work, even that of finding the weights, and with the way out."""
    pytest.importorskip("torch", reason="the train extra is not installed")
    ended = sca(*verb, "/nowhere/x", "--save", "out", stdin=GOOD[0])
    assert ended.returncode == 3, ended.stderr
    assert b"held out for evaluation" in ended.stderr
    assert b"--allow-eval" in ended.stderr
