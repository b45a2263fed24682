"""A record starts no code of its choice: which environments may start, and that every verb asks."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_model

import sca_cli
from sca_cli import app, plugins
from sca_cli.commands.shared.verb import split_envs
from sca_cli.errors import ExitCode, NotAllowedError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import AllowedEnvs

TOOLS = '''"""Numbers."""


def double(x: int) -> int:
    """Return twice x."""
    return 2 * x
'''


def env(name: str, **options: str) -> EnvSpec:
    """Return a specification as a record holds it."""
    return EnvSpec(name=name, options=options)


@pytest.mark.parametrize(
    "named",
    [
        env("mcp", server="/bin/sh -c id"),
        env("mcp", server="http://127.0.0.1:1/mcp"),
        env("python", target="/srv/tools.py"),
        env("python", target="json"),
        env("taubench", path="/srv/tau-bench", domain="retail"),
        env("m3tooleval", path="/srv"),
        env("calculation", family="/etc"),
    ],
    ids=str,
)
def test_a_record_cannot_choose_code(named: EnvSpec) -> None:
    """Commands, URLs, files, modules and absolute paths need the user's word; another environment's is not enough."""
    for allowed in (AllowedEnvs(), AllowedEnvs(["mcp:/bin/true", "python:other.py", "calculation"])):
        with pytest.raises(NotAllowedError, match=re.escape(str(named))):
            allowed.resolve(named)


def test_a_jailed_environment_without_files_may_start() -> None:
    """A record of an environment that is jailed and names no file starts without more ado."""
    named = env("calculation", family="trade_calculator")
    assert AllowedEnvs().resolve(named) == named


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("python:tools.py", "{here}/tools.py"),
        ("python:./tools.py", "{here}/../{name}/tools.py"),
        ("python:{here}/link.py", "{here}/tools.py"),
        ("python:target=tools.py:Box", "{here}/tools.py:Box"),
        ("python:json", "json"),
    ],
)
def test_the_same_environment_is_found_by_its_path(
    typed: str, recorded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are compared after links and dots; what starts is what the user named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools.py").write_text(TOOLS)
    (tmp_path / "link.py").symlink_to("tools.py")
    places = {"here": tmp_path, "name": tmp_path.name}
    typed = typed.format(**places)
    resolved = AllowedEnvs([typed]).resolve(env("python", target=recorded.format(**places)))
    assert [resolved] == plugins.expand_env(plugins.parse_env(typed))


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        ("python:tools.py", env("python", target="/elsewhere/tools.py")),
        ("python:tools.py:Box", env("python", target="{here}/tools.py")),
        ("mcp:python server.py", env("mcp", server="python server.py --more")),
        ("mcp:python server.py", env("mcp", server="python server.py", **{"env.LD_PRELOAD": "evil"})),
        ("taubench:path={here}", env("taubench", path="{here}", extra="/etc")),
        ("taubench:path={here},domain=retail", env("taubench", path="{here}", domain="airline")),
    ],
)
def test_a_similar_environment_is_another_one(
    typed: str, recorded: EnvSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file, class, argument, variable or option than the user's is refused."""
    monkeypatch.chdir(tmp_path)
    options = {key: value.format(here=tmp_path) for key, value in recorded.options.items()}
    with pytest.raises(NotAllowedError):
        AllowedEnvs([typed.format(here=tmp_path)]).resolve(env(recorded.name, **options))


def test_an_option_selects_a_part_of_the_users_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user names a checkout once; its records name one of its domains each."""
    monkeypatch.chdir(tmp_path)
    recorded = env("taubench", path=str(tmp_path), domain="airline")
    for typed in (f"taubench:path={tmp_path}", "taubench:path=."):
        assert AllowedEnvs([typed]).resolve(recorded) == recorded


def test_the_tasks_of_a_suite_read_its_files_only() -> None:
    """A suite's own tasks may name other options than the user, and no other path."""
    allowed = AllowedEnvs.of_suite(env("m3tooleval", path="/srv/code", families="a+b", oracle="no"))
    for recorded in (
        env("m3tooleval", path="/srv/code", family="a"),
        env("m3tooleval", path="/srv/code", listing="yes"),
    ):
        assert allowed.resolve(recorded) == recorded
    with pytest.raises(NotAllowedError):
        allowed.resolve(env("m3tooleval", path="/etc", family="a"))


def test_sca_env_holds_command_lines() -> None:
    """SCA_ENV is split before a registered name only, so a command line with blanks stays whole."""
    assert split_envs("mcp:npx -y server calculation:family=x python:a.py") == [
        "mcp:npx -y server",
        "calculation:family=x",
        "python:a.py",
    ]


# ---------------------------------------------------------------- every verb

EVIL = "/bin/sh -c 'touch {mark}' \x1b]0;owned\x07 \u202e"

VERBS: dict[str, list[str]] = {
    "verify": ["verify"],
    "rollout": ["rollout", "--model", "scripted:{script}"],
    "eval": ["eval", "--model", "scripted:{script}"],
    "challenge": ["challenge", "--method", "cat", "-n", "1", "--model", "scripted:{script}"],
    "compose": ["challenge", "--method", "compose", "-n", "1"],
    "train on solutions": ["train", "--on", "solutions", "--base", "{weights}", "--save", "{save}"],
    "train on tasks": ["train", "--model", "scripted:{script}", "--base", "{weights}", "--save", "{save}"],
    "train online": ["train", "--algo", "grpo", "--model", "transformers:{weights}", "--save", "{save}"],
    "distill": ["distill", "--teacher", "scripted:{script}", "--student", "{weights}", "--save", "{save}"],
}


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny model, whose tokenizer the training verbs load first."""
    return save_model(tmp_path_factory.mktemp("weights"))


def record(kind: str, options: dict[str, str]) -> dict[str, Any]:
    """Return an exploration, or a task that `verify` kept, of an MCP server."""
    head: dict[str, Any] = {"kind": kind, "env": {"name": "mcp", "options": options}, "seed": 0}
    if kind == "exploration":
        return head
    verdict = {"passed": True, "stage": "kept"}
    body = {"instruction": "Add 1.", "evaluate": "def evaluate():\n    return True", "solution": "pass"}
    return head | body | {"method": "cat", "failure_cases": ["1", "2", "3"], "verdict": verdict}


@pytest.mark.sandbox
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_runs_a_records_command(
    verb: str, tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A command in a record is not run by any verb: exit 2, and the command is named without its control characters."""
    mark, data, script = tmp_path / "mark", tmp_path / "data.jsonl", tmp_path / "script.jsonl"
    script.write_text("")
    kind = "exploration" if "challenge" in VERBS[verb] else "task"
    data.write_text(json.dumps(record(kind, {"server": EVIL.format(mark=mark)})) + "\n")
    places = {"script": script, "weights": weights, "save": tmp_path / "save"}
    code = app.run([*(word.format(**places) for word in VERBS[verb]), str(data)])
    _, err = capfd.readouterr()
    assert code == ExitCode.USAGE
    assert f"not started: mcp:server=/bin/sh -c 'touch {mark}' ⟨U+001B⟩]0;owned⟨U+0007⟩ ⟨U+202E⟩" in err
    assert "hint: if you trust it" in err
    assert not mark.exists()


def test_every_verb_tells_its_sandbox_what_the_user_named() -> None:
    """A verb of records cannot forget the question: each of its sandboxes is given the allowed environments."""
    for path in sorted((Path(sca_cli.__file__).parent / "commands").rglob("*.py")):
        for call in re.findall(r"\bSandbox(?:es)?\((?!self\b)(.*)", path.read_text()):
            assert "allowed" in call.lower() or "env" in path.parts, f"{path}: {call}"


@pytest.mark.sandbox
@pytest.mark.parametrize("way", ["--allow-env", "SCA_ENV", "--config"])
def test_the_user_allows_own_tools(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Tasks of `python:tools.py` are verified after `--allow-env`, with SCA_ENV, and with a configuration file."""
    monkeypatch.chdir(tmp_path)
    Path("tools.py").write_text(TOOLS)
    Path("sca.toml").write_text('[verify]\nallow-env = "python:tools.py"\n')
    body = record("task", {}) | {"env": {"name": "python", "options": {"target": str(tmp_path / "tools.py")}}}
    del body["verdict"]
    body["evaluate"] = "def evaluate(answer):\n    return answer == double(21)"
    body["solution"] = "final_answer(double(21))"
    body["failure_cases"] = ["final_answer(1)", "final_answer(double(1))", "final_answer('no')"]
    Path("data.jsonl").write_text(json.dumps(body) + "\n")
    words = {"--allow-env": ["--allow-env", "python:tools.py"], "--config": ["--config", "sca.toml"]}.get(way, [])
    if way == "SCA_ENV":
        monkeypatch.setenv("SCA_ENV", "python:tools.py")
    code = app.run(["verify", "--paper", "-q", "data.jsonl", *words])
    out, err = capfd.readouterr()
    assert (code, err) == (ExitCode.OK, "")
    assert json.loads(out)["verdict"]["passed"]


@pytest.mark.parametrize("options", ['["a"]', '{"server": ["a"]}', '{"server": {"x": "y"}}', '{"server": null}'])
def test_options_of_an_environment_are_text(options: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Options that are lists, nested or null make a bad record, with its line."""
    data = tmp_path / "data.jsonl"
    data.write_text(f'{{"kind": "exploration", "env": {{"name": "mcp", "options": {options}}}, "seed": 0}}\n')
    assert app.run(["challenge", "--method", "compose", str(data)]) == ExitCode.RECORD
    assert f"{data}:1: $.env.options" in capfd.readouterr().err
