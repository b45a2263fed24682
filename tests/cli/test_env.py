"""`sca env`: what its verbs print, and how they end."""

import json
from pathlib import Path

import pytest

from sca_cli import app, plugins
from sca_cli.errors import ExitCode


def ran(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run one command line in this process and return code, stdout and stderr."""
    code = app.run(list(words))
    out, err = capfd.readouterr()
    return code, out, err


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register one environment that keeps its promises, and one that does not."""
    for name in ("Counter", "Sneaky", "Mistaken"):
        entry = plugins.Entry(name.lower(), f"misbehaving:{name}", "a counter", "", "tests")
        monkeypatch.setitem(plugins.registry().environments, name.lower(), entry)


@pytest.fixture(autouse=True)
def unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worlds of the unit tests be imported."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "unit")


@pytest.mark.sandbox
@pytest.mark.usefixtures("worlds")
def test_a_sound_environment_ends_with_0(capfd) -> None:
    """One line a check under the environment's name, in columns."""
    code, out, err = ran(capfd, "env", "test", "counter")
    assert (code, err) == (ExitCode.OK, "")
    head, *rows = out.splitlines()
    assert head == "# counter"
    assert "ok       same seed, same state       in two sessions and in a newly built world" in rows
    assert {row.split()[0] for row in rows} == {"ok", "skipped"}


@pytest.mark.sandbox
@pytest.mark.usefixtures("worlds")
@pytest.mark.parametrize(("name", "check"), [("sneaky", "readers change nothing"), ("mistaken", "held-out tasks hold")])
def test_a_broken_promise_ends_with_1(capfd, name: str, check: str) -> None:
    """All checks are run all the same; `--json` writes an object for each."""
    code, out, _ = ran(capfd, "env", "test", name, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == ExitCode.NOTHING
    assert check in [row["check"] for row in rows if row["outcome"] == "fail"]
    assert {row["env"] for row in rows} == {name}
    assert rows[-1]["check"] == "held-out tasks hold"
    (latency,) = [row["figures"] for row in rows if row["check"] == "latency"]
    assert {"reset()", "count", "add"} <= latency.keys()


def test_the_environment_to_test_must_be_known(capfd) -> None:
    """An unknown name is something missing, as everywhere."""
    code, out, err = ran(capfd, "env", "test", "calcluation")
    assert (code, out) == (ExitCode.MISSING, "")
    assert err.startswith("sca env: unknown environment 'calcluation'\nhint: did you mean 'calculation'?")


def test_new_writes_a_package_and_overwrites_nothing(capfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are named on stdout; a second time is refused, and what is there stays."""
    monkeypatch.chdir(tmp_path)
    code, out, err = ran(capfd, "env", "new", "corner_shop")
    assert code == ExitCode.OK
    assert "corner_shop/sca_corner_shop/environment.py" in out.splitlines()
    assert all((tmp_path / line).is_file() for line in out.splitlines())
    assert err == "next: pip install -e ./corner_shop, then sca env test corner_shop\n"
    texts = "".join((tmp_path / line).read_text() for line in out.splitlines())
    assert "class CornerShopEnvironment(Environment)" in texts
    assert "library" not in texts.lower()
    (tmp_path / "corner_shop" / "README.md").write_text("mine")
    code, out, err = ran(capfd, "env", "new", "corner_shop")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "corner_shop exists already" in err
    assert (tmp_path / "corner_shop" / "README.md").read_text() == "mine"


def test_new_refuses_a_name_whose_package_is_there(capfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own package and those of models are not to be taken for an environment's."""
    monkeypatch.chdir(tmp_path)
    for name in ("cli", "scripted"):
        code, out, err = ran(capfd, "env", "new", name)
        assert (code, out) == (ExitCode.USAGE, "")
        assert err.splitlines()[0] == f"sca env: the package sca_{name} exists already"
    assert not list(tmp_path.iterdir())


@pytest.mark.sandbox
def test_a_python_file_is_shown_as_an_environment(capfd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its heading can be given to --env again."""
    tmp_path.chmod(0o755)
    (tmp_path / "tools.py").write_text("def double(x: int) -> int:\n    'Twice as much.'\n    return 2 * x\n")
    monkeypatch.chdir(tmp_path)
    code, out, _ = ran(capfd, "env", "show", "python:tools.py")
    assert code == ExitCode.OK
    assert out == f"# python:target={tmp_path}/tools.py\n\ndouble(x: int) -> int\n    Twice as much.\n\n"
    monkeypatch.chdir("/")
    assert ran(capfd, "env", "show", out.split()[1])[1] == out


@pytest.mark.parametrize("words", [("env", "list"), ("plugins",), ("suite", "list")])
def test_a_list_shows_control_characters_by_name(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """A plugin's description cannot clear the terminal or hide what follows it."""
    entry = plugins.Entry("sly", "sca_suites.tau2:Tau2", "good\x1b[2J\x9b8m\u202etools", "", "tests")
    monkeypatch.setitem(plugins.registry().environments, "sly", entry)
    monkeypatch.setattr(plugins, "is_suite", lambda _: True)
    _, out, _ = ran(capfd, *words)
    assert "good⟨U+001B⟩[2J⟨U+009B⟩8m⟨U+202E⟩tools" in out
    assert not {"\x1b", "\x9b", "\u202e"} & set(out)


@pytest.mark.sandbox
def test_explore_names_a_tool_that_lacks_its_mark(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A function that changes the state without `@tool(writes=True)` is named once, with what to write."""
    file = tmp_path / "notes.py"
    file.write_text(
        'NOTES = []\n\ndef add(text: str) -> int:\n    """Add a note."""\n    NOTES.append(text)\n    return 1\n'
        '\ndef count() -> int:\n    """Count the notes."""\n    return len(NOTES)\n'
    )
    code, _, err = ran(capfd, "explore", "--env", f"python:{file}", "-n", "6", "-o", str(tmp_path / "explorations"))
    assert code == ExitCode.OK
    assert err.count("is not marked as writing") == 1
    assert "warning: 'add' changes the state and is not marked as writing: write @tool(writes=True) above it" in err
    file.write_text("from sca_cli import tool\n" + file.read_text().replace("def add", "@tool(writes=True)\ndef add"))
    _, _, err = ran(capfd, "explore", "--env", f"python:{file}", "-n", "6", "-o", str(tmp_path / "explorations"))
    assert "marked" not in err
