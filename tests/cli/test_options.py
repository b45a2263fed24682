"""The command line of all verbs: short tables, `--help-all`, `--config`, replaced names, settings of `--resume`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sca_cli import app
from sca_cli.commands.shared import options, training, verb
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.weights import weights_of
from sca_cli.commands.verify import SKIPPABLE
from sca_cli.errors import ExitCode, RecordError, UsageError
from sca_cli.records import Checkpoint, EnvSpec, Task, TaskLimits, Verdict
from sca_cli.sandbox import AllowedEnvs, Limits
from sca_cli.training.selection import Rules
from sca_cli.verification import paper_filter

LOOP = ["explore", "challenge", "verify", "rollout", "train", "distill", "eval"]
MOST_ROWS = 18


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the user's settings, and work in an empty directory."""
    for name in ("SCA_ENV", "SCA_MODEL", "SCA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")


def ran(capfd: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    """Run one command line in this process and return code, stdout and stderr."""
    code = app.run(line.split())
    out, err = capfd.readouterr()
    return code, out, err


def rows(text: str) -> list[str]:
    """Return the first word of each row of the option tables in a help text."""
    return re.findall(r"(?m)^  (-\S+|\[FILE\]\.\.\.)", text[re.search(r"(?m)^[A-Z][a-z ]+:$", text).start() :])


def parameters(name: str) -> list[Any]:
    """Return the parameters of a verb."""
    return list(app.every_command()[name].params)


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("name", LOOP)
def test_a_short_table_has_at_most_18_rows(capfd, name: str) -> None:
    """`--help` fits on a screen, and says how many options are left out; `--help-all` shows all of them."""
    _, short, _ = ran(capfd, f"{name} --help")
    _, long, _ = ran(capfd, f"{name} --help-all")
    assert len(rows(short)) <= MOST_ROWS
    (left_out,) = re.findall(r"(?m)^(\d+) more options: 'sca \w+ --help-all'$", short)
    assert len(rows(long)) == len(rows(short)) + int(left_out)
    assert {f"--{options.option_name(p)}" for p in parameters(name) if p.param_type_name == "option"} - {
        "--help-all"
    } == {option for option in re.findall(r"(?m)^  (?:-\w, )?(--[\w-]+)", long) if option != "--help"}


@pytest.mark.parametrize("name", LOOP)
def test_every_option_has_a_panel(name: str) -> None:
    """Each parameter names one of the panels; an option is in the same panel under every verb that shares it."""
    assert [p.name for p in parameters(name) if p.rich_help_panel not in options.PANELS] == []


def test_seldom_options_exist() -> None:
    """The table of options that `--help` leaves out names no option that was removed."""
    everywhere = {p.name for name in LOOP for p in parameters(name)}
    assert set(verb.SELDOM[""].split()) <= everywhere
    for name, left_out in verb.SELDOM.items():
        assert not name or set(left_out.split()) <= {p.name for p in parameters(name)}


# ---------------------------------------------------------------- names that were replaced


@pytest.mark.parametrize(
    ("line", "now"),
    [
        ("rollout tasks.jsonl --samples 3", "--samples is now --attempts"),
        ("eval --samples=3", "--samples is now --attempts"),
        ("train --save x --samples 3", "--samples is now --attempts"),
        ("distill --save x --student y --samples 3", "--samples is now --attempts"),
        ("verify --no-wrong", "--no-wrong is now --skip wrong"),
        ("verify --no-no-op", "--no-no-op is now --skip no-op"),
        ("verify --leak", "--leak is now the default; --skip leak leaves the stage out"),
        ("eval --suite tau2 --gold", "--gold is now 'sca suite gold NAME'"),
        ("eval --suite tau2 --export x", "--export is now 'sca suite export NAME -o FILE'"),
    ],
)
def test_a_replaced_option_says_what_to_type_now(capfd, line: str, now: str) -> None:
    """An option of an earlier version ends with exit code 2 and its new name."""
    code, out, err = ran(capfd, line)
    assert (code, out, err) == (ExitCode.USAGE, "", f"sca {line.split()[0]}: {now}\n")


@pytest.mark.parametrize("line", ["suite gold tau2 -k 4", "suite gold tau2 --model embedded", "suite gold tau2 --gold"])
def test_a_reference_run_takes_no_options_of_a_model(capfd, line: str) -> None:
    """Attempts and models are rejected where the reference runs, not ignored."""
    code, out, err = ran(capfd, line)
    assert (code, out) == (ExitCode.USAGE, "")
    assert "no such option" in err


def test_skip_knows_every_stage() -> None:
    """Exactly the stages after the paper's filter can be skipped."""
    proofs = [stage for stage in paper_filter.STAGES if stage not in paper_filter.PAPER_STAGES]
    assert sorted(SKIPPABLE) == sorted({*proofs} - {"agreement"})


# ---------------------------------------------------------------- --config


def configured(text: str) -> str:
    """Write a configuration file and return its name."""
    Path("sca.toml").write_text(text)
    return "sca.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[explore]\ncuont = 3", "'explore' has no option 'cuont'\nhint: did you mean 'count'?"),
        ("[explore]\nconfig = 'x'", "'explore' has no option 'config'"),
        ("[rollout]\nsamples = 3", "[rollout] samples is now --attempts"),
        ("[explor]\ncount = 3", "there is no verb 'explor'\nhint: did you mean 'explore'?"),
        ("explore = 3", "'explore' is not a table"),
        ("[explore]\nresume = 'yes'", "[explore] resume: not true or false"),
        ("[explore]\ncount = true", "[explore] count: neither text nor a number"),
        ("[explore]\ncount = 'many'", "invalid value for '--count' / '-n'"),
        ("[explore", "sca.toml: not TOML"),
    ],
)
def test_a_wrong_configuration_is_a_usage_error(capfd, text: str, said: str) -> None:
    """Unknown keys name the nearest option; values of a wrong type name the key and the file."""
    line = "rollout" if "rollout" in text else "explore"
    code, out, err = ran(capfd, f"{line} --config {configured(text)}")
    assert (code, out) == (ExitCode.USAGE, ""), err
    assert said in err and "sca.toml" in err


def test_a_missing_configuration_is_named(capfd) -> None:
    """Exit code 4, as for every file that cannot be read."""
    assert ran(capfd, "explore --config no.toml")[::2] == (
        4,
        "sca explore: cannot read no.toml: No such file or directory\n",
    )


@pytest.mark.sandbox
def test_command_line_wins_over_environment_wins_over_configuration(capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of precedence, shown by the number of records and by their environment."""
    configured('[explore]\ncount = 1\ncalls = 1\nenv = ["calculation:family=dna_sequencer"]\nquiet = true\n')
    monkeypatch.setenv("SCA_CONFIG", "sca.toml")
    code, out, err = ran(capfd, "explore")
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert "dna_sequencer" in out
    monkeypatch.setenv("SCA_ENV", "calculation:family=message_decoder")
    code, out, _ = ran(capfd, "explore --count 2")
    assert (code, out.count("\n")) == (0, 2)
    assert "message_decoder" in out and "dna_sequencer" not in out


@pytest.mark.sandbox
def test_required_options_may_be_configured(capfd) -> None:
    """`--save` counts as given; tables of other verbs are ignored."""
    configured('[train]\nsave = "runs/a,b"\non = "both"\nbase = "nowhere"\n[eval]\nattempts = 2\n')
    code, _, err = ran(capfd, "train nowhere.jsonl --config sca.toml")
    assert (code, "--save runs/a,b: a comma separates options of a model" in err) == (2, True), err


def test_a_group_of_verbs_has_nested_tables(capfd) -> None:
    """`[suite.gold]` configures `sca suite gold`; the tables of other verbs are ignored."""
    configured("[explore]\ncount = 3\n[suite.gold]\ncount = 0\n")
    code, _, err = ran(capfd, "suite gold tau2 --config sca.toml")
    assert (code, "invalid value for '--count' / '-n'" in err, "(in sca.toml)" in err) == (2, True, True), err
    configured("[suite.glod]\ncount = 1\n")
    assert "there is no verb 'glod'\nhint: did you mean 'gold'?" in ran(capfd, "suite gold tau2 --config sca.toml")[2]


# ---------------------------------------------------------------- limits of a task

TASK = (
    b'{"kind":"task","id":"a","env":{"name":"calculation"},"seed":0,"instruction":"Reverse ab.",'
    b'"evaluate":"def evaluate(answer):\\n    return answer == \'ba\'",'
    b'"solution":"final_answer(reverse_string(\'ab\'))","failure_cases":["final_answer(1)","final_answer(2)","final_answer(3)"]}\n'
)


@pytest.mark.sandbox
def test_limits_travel_with_the_task(capfd, script) -> None:
    """A task that was verified with one tool call is attempted with one; verified again, it keeps its limits."""
    Path("candidates").write_bytes(TASK)
    model = script({"replies": ["```python\nreverse_string('ab')\nfinal_answer(reverse_string('ab'))\n```"]})
    outcomes, limits = [], []
    for options_of_verify in ("", " --tool-calls 1", ""):
        code, out, err = ran(capfd, f"verify candidates --paper -q{options_of_verify}")
        assert code == 0, err
        Path("candidates").write_text(out)
        limits.append(json.loads(out)["verdict"].get("limits"))
        _, out, err = ran(capfd, f"rollout candidates -k 1 -q --model {model}")
        outcomes.append(json.loads(out)["outcome"])
    assert limits == [None, {"tool_calls": 1}, {"tool_calls": 1}]
    assert outcomes == ["pass", "fail", "fail"] or outcomes == ["pass", "invalid", "invalid"]


def test_each_set_of_limits_has_a_sandbox() -> None:
    """Tasks with equal limits share a sandbox; typed limits replace recorded ones; too many different are an error."""

    def task(**limits: Any) -> Task:
        recorded = TaskLimits(**limits) if limits else None
        verdict = Verdict(passed=True, stage="kept", limits=recorded)
        return Task(env=EnvSpec(name="e"), instruction="i", evaluate="e", verdict=verdict)

    with Sandboxes(AllowedEnvs()) as sandboxes:
        assert sandboxes.sandbox_of(task()) is sandboxes.sandbox_of()
        assert sandboxes.sandbox_of(task(check_seconds=60.0)).limits == Limits(wall_s=60.0)
        assert sandboxes.sandbox_of(task(turns=8)) is sandboxes.sandbox_of()
        with pytest.raises(RecordError, match="more than 8 different limits"):
            for calls in range(1, 9):
                sandboxes.sandbox_of(task(tool_calls=calls))
    with Sandboxes(AllowedEnvs(), TaskLimits(check_seconds=30.0), {"memory_mb": 64}) as typed:
        assert typed.limits_of(task()) == TaskLimits(check_seconds=30.0, memory_mb=64)
        assert typed.limits_of(task(memory_mb=128)) == TaskLimits(memory_mb=64)


# ---------------------------------------------------------------- settings of --resume


def settings(line: str) -> dict[str, Any]:
    """Parse a command line and return its settings."""
    name, *words = line.split()
    return options.settings_of(app.every_command()[name].make_context(name, words))


def test_settings_are_the_options_that_can_change_a_record() -> None:
    """All options are settings, except those marked in one place; names are those of the command line."""
    found = settings("explore --env calculation --max-tokens 5 --quiet --concurrency 3 -o x --resume")
    assert found["command"] == "explore" and found["max-tokens"] == 5
    assert {*found} == {options.option_name(p) for p in parameters("explore")} - options.WITHOUT_EFFECT - {
        "config",
        "help-all",
    } | {"command"}
    assert found == settings("explore --env calculation --max-tokens 5")


def test_a_finished_training_is_accepted_only_with_its_settings(tmp_path: Path) -> None:
    """The settings are kept with the model; another value of any of them names the option."""
    pytest.importorskip("huggingface_hub", reason="needs the train extra")
    checkpoint = Checkpoint(path="p", base_model="b", algorithm="rft")
    settings = {"command": "train", "epochs": 2}
    done = training.Training("train", None, Rules(), training.Recipe(), training.Running(), settings=settings)
    training.keep_checkpoint(checkpoint, tmp_path, done)
    found = training.trained_before(tmp_path, {"command": "train", "epochs": 2})
    assert found is not None and found.path == "p"
    with pytest.raises(UsageError, match="trained with other settings: epochs, lora-rank"):
        training.trained_before(tmp_path, {"command": "train", "epochs": 3, "lora-rank": 8})


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("Qwen/Qwen2.5", "Qwen/Qwen2.5"),
        ("runs/trained", "runs/trained"),
        ("transformers:runs/trained,threads=2", "runs/trained"),
        ("vllm:org/name", "org/name"),
        ("C:weights", "C:weights"),
    ],
)
def test_weights_are_a_directory_a_hub_name_or_a_model_that_loads_them(text: str, weights: str) -> None:
    """`--base` and `--student` follow one rule."""
    assert weights_of(text) == weights
    with pytest.raises(UsageError, match="--student is missing: 'openai' has no weights on this machine"):
        weights_of("openai:big", "--student")


def test_options_without_effect_exist() -> None:
    """The list of options that cannot change a record names no option that was removed."""
    assert {p.name for name in LOOP for p in parameters(name)} >= options.WITHOUT_EFFECT


# ---------------------------------------------------------------- shared code


def test_shared_code_imports_no_verb() -> None:
    """Nothing in commands/shared imports from a verb's file."""
    folder = Path(options.__file__).parent
    for path in folder.glob("*.py"):
        assert not re.search(
            r"(?m)^\s*from sca_cli\.commands\.(?!shared)|^\s*import sca_cli\.commands", path.read_text()
        ), path
