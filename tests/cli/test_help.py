"""The help of every verb, and the message of each when something is missing."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sca_cli
from sca_cli import app
from sca_cli.errors import ExitCode

VERBS = [
    "explore",
    "challenge",
    "verify",
    "rollout",
    "train",
    "distill",
    "eval",
    "suite list",
    "suite gold",
    "suite export",
    "report",
    "export",
    "plugins",
    "env list",
    "env show",
    "env test",
    "env new",
    "env serve",
    "doctor",
]
NEED_MODEL = [
    "explore --env calculation --method model",
    "challenge --env calculation",
    "rollout tasks.jsonl",
    "eval --env calculation",
]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Remove the user's settings, and change to an empty directory without piped input."""
    for name in ("SCA_ENV", "SCA_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    yield


def ran(capfd: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    """Run one command line in this process and return code, stdout and stderr."""
    code = app.run(line.split())
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize("verb", VERBS)
def test_help_leads_with_an_example(capfd, verb: str) -> None:
    """After the first sentence, the help of every verb shows an example of that verb, before its options."""
    code, out, err = ran(capfd, f"{verb} --help")
    assert (code, err) == (0, "")
    example = out.index("Example:\n")
    assert re.search(rf"^ +.*sca {verb}\b", out[example:], re.MULTILINE)
    assert example < re.search(r"(?m)^(Input and output|Tasks|Run|Options|Arguments):$", out).start()
    first = out.split("\n\n")[1].strip()
    assert first.endswith((".", "models see them."))


def test_every_verb_is_tried(capfd) -> None:
    """The list above holds all the verbs that the program has."""
    _, out, _ = ran(capfd, "--help")
    listed = re.findall(r"^  ([a-z]+)  ", out[out.index("Commands:") :], re.MULTILINE)
    assert set(listed) - {"serve"} == {verb.split()[0] for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_described(verb: str) -> None:
    """No argument or option of any verb is without a sentence on what it does."""
    first, *rest = verb.split()
    command: Any = app.every_command()[first]
    for word in rest:
        command = command.commands[word]
    assert [parameter.name for parameter in command.params if not (parameter.help or "").strip().endswith(".")] == []


def test_the_program_leads_with_an_example_too(capfd) -> None:
    """`sca --help` shows the whole loop in one line before it lists the verbs."""
    code, out, _ = ran(capfd, "--help")
    assert code == 0
    assert 0 < out.index("| sca verify |") < out.index("Commands:")


def test_version(capfd) -> None:
    """--version prints the program's name and version, and nothing else."""
    assert ran(capfd, "--version") == (0, f"sca {sca_cli.__version__}\n", "")


@pytest.mark.parametrize("line", ["", "env"])
def test_a_bare_command_shows_its_help(capfd, line: str) -> None:
    """Who gives no verb is shown the verbs, on stderr, as a usage error."""
    code, out, err = ran(capfd, line)
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith(f"Usage: sca {line}".rstrip())
    assert "Commands:" in err


@pytest.mark.parametrize(
    ("line", "err"),
    [
        ("verfy", "sca: no such command 'verfy'"),
        ("env lst", "sca env: no such command 'lst'"),
        ("verify --bogus", "sca verify: no such option: --bogus"),
        ("plugins extra", "sca plugins: got unexpected extra argument"),
        ("explore -n none", "sca explore: invalid value for '--count' / '-n'"),
        ("explore -n 0", "sca explore: invalid value for '--count' / '-n'"),
        ("challenge --method magic", "sca challenge: invalid value for '--method'"),
        ("train", "sca train: missing option '--save'"),
        ("env serve calculation --http 0", "sca env serve: invalid value for '--http'"),
        ("rollout --actions dance", "sca rollout: invalid value for '--actions'"),
    ],
)
def test_usage_errors_are_one_line_and_a_hint(capfd, line: str, err: str) -> None:
    """A usage error is one line that begins with the command, and a hint to its help."""
    code, out, said = ran(capfd, line)
    assert (code, out) == (ExitCode.USAGE, "")
    lines = said.splitlines()
    command = err.partition(":")[0]
    assert lines[0].startswith(err)
    assert lines[-1] == f"hint: see '{command} --help'"


@pytest.mark.parametrize("line", NEED_MODEL)
def test_a_missing_model_is_asked_for_with_an_example(capfd, line: str) -> None:
    """Verbs that need a model say how to give one."""
    code, out, err = ran(capfd, line)
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith(f"sca {line.split()[0]}: --model is missing\nhint: for example --model ")
    assert "SCA_MODEL" in err


def test_a_missing_environment_is_asked_for_with_an_example(capfd, script) -> None:
    """`explore` says how to name an environment and where to see them."""
    code, _, err = ran(capfd, f"explore --model {script({'replies': ['x']})}")
    assert code == ExitCode.USAGE
    assert err.startswith("sca explore: --env is missing\nhint: for example --env calculation")


def test_settings_come_from_the_environment_variables(capfd, script, monkeypatch: pytest.MonkeyPatch) -> None:
    """SCA_MODEL and SCA_ENV replace the options."""
    monkeypatch.setenv("SCA_MODEL", script({"replies": ["```python\nreverse_string('ab')\n```"]}))
    monkeypatch.setenv("SCA_ENV", "calculation:family=message_decoder")
    code, out, err = ran(capfd, "explore -n 2")
    assert (code, out.count("\n")) == (0, 2)
    assert err == "sca explore: 2 explorations, 4 tool calls, 0 of them refused\n"


@pytest.mark.parametrize(
    ("line", "err"),
    [
        (
            "explore --env calcluation --model scripted:x",
            "sca explore: unknown environment 'calcluation'\nhint: did you mean 'calculation'?\n",
        ),
        (
            "explore --env calculation --model scrpted:x",
            "sca explore: unknown model plugin 'scrpted'\nhint: did you mean 'scripted'?\n",
        ),
        (
            "explore --env calculation --model scripted:nowhere",
            "sca explore: cannot read the script 'nowhere': No such file or directory\n",
        ),
        ("rollout x.jsonl --model scrpted:x", "sca rollout: unknown model plugin 'scrpted'"),
        (
            "env show calculatio",
            "sca env: unknown environment 'calculatio'\nhint: did you mean 'calculation'?",
        ),
        ("verify nowhere.jsonl", "sca verify: cannot read nowhere.jsonl: No such file or directory"),
        ("verify nowhere.jsonl -o no/such/dir/out", "sca verify: cannot write no/such/dir/out"),
    ],
)
def test_what_is_not_there_is_named(capfd, line: str, err: str) -> None:
    """Unknown names suggest the nearest, missing files are named; nothing is written."""
    code, out, said = ran(capfd, line)
    assert (code, out) == (ExitCode.MISSING, "")
    assert said.startswith(err)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("line", "err"),
    [
        (
            "explore --env calculation:colour=red --model scripted:SCRIPT",
            "environment 'calculation' has no option 'colour'",
        ),
        ("explore --env calculation:family=poetry --model scripted:SCRIPT", "no family 'poetry'"),
        (
            "explore --env calculation --model scripted:SCRIPT,colour=red",
            "model plugin 'scripted' has no option 'colour'",
        ),
        ("explore --env calculation:family --model scripted:SCRIPT", "is not of the form key=value"),
        (
            "explore --env calculation --model scripted:SCRIPT --prompt nowhere",
            "--prompt nowhere: not a directory",
        ),
        ("explore --env calculation --model scripted:SCRIPT --resume", "--resume needs -o FILE"),
        ("env serve calculation", "give either --mcp or --http PORT"),
        ("env serve calculation --mcp --http 8000", "give either --mcp or --http PORT"),
        ("env new Bakery", "'Bakery' is not a valid name for an environment"),
        ("env new calculation", "the environment 'calculation' exists already"),
        ("env show python:", "'python' needs a target"),
        ("env show mcp:'", "cannot read the command line: No closing quotation"),
        ("eval --model scripted:SCRIPT", "nothing to evaluate"),
        ("eval --env calculation --model scripted:SCRIPT --resume", "--resume needs --rollouts FILE"),
    ],
)
def test_contradictions_are_usage_errors(capfd, script, line: str, err: str) -> None:
    """Options that nothing takes and that cannot be meant are refused with exit code 2."""
    model = script({"replies": ["x"]})
    code, out, said = ran(capfd, line.replace("scripted:SCRIPT", model))
    assert (code, out) == (ExitCode.USAGE, ""), said
    assert err in said
    assert "Traceback" not in said


def test_a_prompt_directory_must_replace_something(capfd, script, tmp_path: Path) -> None:
    """A directory without a prompt's file is refused with the names there are; a prompt with an unknown $name
    too.
    """
    folder = tmp_path / "prompts"
    folder.mkdir()
    line = f"explore --env calculation --model {script({'replies': ['x']})} --prompt {folder}"
    code, _, err = ran(capfd, line)
    assert code == ExitCode.USAGE
    assert "replaces no prompt\nhint: prompts: agent-code, " in err
    (folder / "explore.md").write_text("[user]\nlook at $colour")
    code, _, err = ran(capfd, line)
    assert code == ExitCode.USAGE
    assert "prompt explore.md: cannot fill 'colour'" in err


def test_a_bug_is_a_bug(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception ends with code 5 and its traceback, and the message calls it an internal error."""
    monkeypatch.setattr("sca_cli.plugins.registry", lambda: 1 / 0)
    code, out, err = ran(capfd, "plugins")
    assert (code, out) == (ExitCode.BUG, "")
    assert "Traceback" in err
    assert "sca plugins: internal error: ZeroDivisionError" in err


def test_exit_codes_are_documented() -> None:
    """The table in the program's own docstring names every code."""
    for code in ExitCode:
        assert re.search(rf"\b{int(code)} ", app.__doc__ or ""), code


@pytest.mark.sandbox
def test_an_environment_is_shown_as_a_model_sees_it(capfd) -> None:
    """`sca env show` prints policy, signatures and documentation of every variant."""
    code, out, _ = ran(capfd, "env show calculation:family=trade_calculator")
    assert code == 0
    assert out.startswith("# calculation:family=trade_calculator\n\nYou price traded goods")
    assert "convert_currency(base_price: float, conversion_rate: float) -> float" in out
    assert ran(capfd, "env show calculation")[1].count("# calculation:family=") == 4


def test_environments_are_listed(capfd) -> None:
    """`sca env list` prints a line for each."""
    code, out, _ = ran(capfd, "env list")
    assert code == 0
    assert any(line.startswith("calculation ") for line in out.splitlines())


@pytest.mark.parametrize("verb", app.VERBS)
def test_the_list_of_verbs_says_what_each_help_says(verb: str) -> None:
    """`sca --help` imports no verb; its line for a verb is still the first of that verb's own help."""
    assert app.every_command()[verb].help.strip().splitlines()[0] == app.VERBS[verb]
