"""The manual and the README say what the program is: all of it, as it is, and every example parses."""

import asyncio
import importlib.metadata
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main
from typer.exceptions import TyperException

import sca_cli
from sca_cli import errors, hookspecs, plugins, records
from sca_cli.app import app, every_command

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("man/*.[157]"))
README = (ROOT / "README.md").read_text()
GROUP: Any = typer.main.get_command(app)
PARTS = [
    cls
    for cls in vars(records).values()
    if isinstance(cls, type) and issubclass(cls, msgspec.Struct) and cls.__name__[0] != "_"
]


def plain(roff: str) -> str:
    """Return the source of a page without comments and fonts, escapes resolved."""
    text = re.sub(r'(?m)^\.\\".*\n', "", roff)
    text = re.sub(r"\\f[BIR]|\\&", "", text)
    for escape, character in (
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(ga", "`"),
        ("\\(lq", "“"),
        ("\\(rq", "”"),
        ("\\e", "\\"),
    ):
        text = text.replace(escape, character)
    return text


def manual(name: str) -> str:
    """Return the text of a page."""
    return plain((ROOT / "man" / name).read_text())


def leaves(group: Any = GROUP, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words, command) for every command that can be run."""
    for name, command in (every_command() if group is GROUP else group.commands).items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*words, name))
        else:
            yield (*words, name), command


def parameters(command: Any) -> list[Any]:
    """Return the options and arguments of a command, `--help` included."""
    return list(command.get_params(command.make_context(command.name, [], resilient_parsing=True)))


# ---------------------------------------------------------------- complete


@pytest.mark.parametrize(
    "words, command", list(leaves()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_and_option_is_in_its_page(words: tuple[str, ...], command: Any):
    """A command has a page; the page names it, every option by all its names, and every argument."""
    page = manual(f"sca-{words[0]}.1")
    assert f"sca {' '.join(words)}" in page
    for parameter in parameters(command):
        for name in parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]:
            assert re.search(rf"(?m)^(?:-\w, )?{re.escape(name)}(?![\w-])", page), name


@pytest.mark.parametrize(
    "words, command", list(leaves()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_default_in_words_is_whole_in_its_page(words: tuple[str, ...], command: Any):
    """A default that an option describes in words, semicolons included, is in the page."""
    page = " ".join(manual(f"sca-{words[0]}.1").split())
    for parameter in parameters(command):
        if isinstance(default := getattr(parameter, "show_default", None), str):
            assert f"Default: {default}." in page, parameter.name


def test_every_environment_variable_is_in_the_manual():
    """What options read from the environment, and every SCA_ variable of the source, is in sca(1)."""
    named = {p.envvar for _, command in leaves() for p in parameters(command) if p.envvar}
    for path in ROOT.glob("sca_cli/**/*.py"):
        named |= set(re.findall(r"environ\S*\(?[\"'](SCA_\w+)", path.read_text()))
    assert {"SCA_ENV", "SCA_MODEL", "SCA_NSJAIL"} <= named
    assert not {name for name in named | {"NO_COLOR"} if f".B {name}\n" not in manual("sca.1")}


@pytest.mark.parametrize("page", sorted(path.name for path in ROOT.glob("man/*.1")))
def test_every_exit_code_is_in_every_command_page(page: str):
    """Each page of section 1 has the whole table of exit codes."""
    (_, table) = manual(page).split(".SH EXIT STATUS")
    assert re.findall(r"\.TP\n(\d+)\n\S", table) == [str(int(code)) for code in errors.ExitCode]


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.__name__)
def test_every_record_field_is_in_the_manual(cls: type[msgspec.Struct]):
    """sca-records(5) has a section for each record and part, with every field it adds."""
    page = manual("sca-records.5")
    tag = cls.__struct_config__.tag
    heading = "Every record" if cls is records.Record else f"kind {tag}" if tag else cls.__name__
    (section,) = re.findall(rf'(?ms)^\.SS "?{heading}"?\n(.*?)(?=^\.S[SH])', page)
    inherited = {name for base in cls.__bases__ for name in getattr(base, "__struct_fields__", ())}
    told = set(re.findall(r"(?m)^\.TP\n(\w+) \(", section))
    assert told == set(cls.__struct_fields__) - inherited


def test_every_hook_and_plugin_name_is_in_the_manual():
    """sca-plugins(7) names every hook with its arguments, and every name a plugin may import."""
    page = manual("sca-plugins.7")
    hooks = [name for name in vars(hookspecs) if name.startswith("sca_")]
    assert hooks
    assert not [name for name in hooks if f"\n{name}(" not in page]
    assert not [name for name in sca_cli.__all__ if not re.search(rf"\b{name}\b", page)]


def test_every_shipped_plugin_is_in_the_manual():
    """sca(1) describes each environment and model that comes with sca; the README names each model."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["sca"]
    found = plugins.registry()
    entries = [entry for entry in (*found.environments.values(), *found.models.values()) if entry.plugin in ours]
    assert {"calculation", "scripted"} <= {entry.name for entry in entries}
    assert not [entry.name for entry in entries if f".TP\n{entry.name}\n" not in manual("sca.1")]
    assert not [entry.name for entry in entries if entry.name in found.models and f"`{entry.name}:" not in README]


# ---------------------------------------------------------------- true


def examples() -> list[str]:
    """Return every command line in the help, the manual and the README that holds `sca`."""
    texts = [block for path in PAGES for block in re.findall(r"(?ms)^\.EX\n(.*?)^\.EE", plain(path.read_text()))]
    texts += [str(command.help) for _, command in leaves()] + [str(GROUP.help)]
    texts += re.findall(r"(?ms)^```sh\n(.*?)^```", README) + re.findall(r"`(sca [^\s`]+ [^`]+)`", README)
    texts += re.findall(r"(?m)^\$ (.*)", README)
    lines = [line.strip() for text in texts for line in text.replace("\\\n", " ").splitlines()]
    return sorted({line for line in lines if re.match(r"(sca|jq|head) ", line) and "sca " in line and "->" not in line})


def invocations(line: str) -> list[list[str]]:
    """Return the arguments of each `sca` in a shell line, redirections left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.wordchars += "$:,="
    found: list[list[str]] = []
    words = iter([*lexer, "|"])
    current: list[str] = []
    for word in words:
        if set(word) <= set("|&;"):
            found += [current[1:]] if current[:1] == ["sca"] else []
            current = []
        elif set(word) <= set("<>"):
            next(words)
        else:
            current.append(word)
    return found


def resolve(arguments: list[str]) -> None:
    """Parse a command line as the program does, without running it.

    Raises:
        TyperException: it is no command line of sca.
    """
    command, context = GROUP, GROUP.make_context("sca", ["--", *arguments])
    while hasattr(command, "commands"):
        if arguments and arguments[0] in ("--help", "--version"):
            return
        name, command, arguments = command.resolve_command(context, arguments)
    command.make_context(name, [argument for argument in arguments if argument != "--help"], parent=context)


@pytest.mark.parametrize("line", examples())
def test_every_example_parses(line: str):
    """Each `sca …` in README, manual and help names a command, options it has, and values they take."""
    called = invocations(line)
    assert called
    for arguments in called:
        resolve(arguments)


def test_an_example_that_is_wrong_is_found():
    """The test above can fail: an unknown verb, an unknown option and a bad value are refused."""
    assert len(examples()) > 20
    assert invocations("sca explore -n 4 | jq . | sca verify --all < x > y") == [
        ["explore", "-n", "4"],
        ["verify", "--all"],
    ]
    for wrong in (["exploer"], ["verify", "--al"], ["explore", "-n", "some"], ["train", "x.jsonl"]):
        with pytest.raises(TyperException):
            resolve(wrong)


def test_what_is_derived_is_up_to_date():
    """cog would change nothing: options, records, verbs and the tree are those of today."""
    names = [str(path.relative_to(ROOT)) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES)]
    checked = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr + "run cog as CONTRIBUTING.md says"


def test_licence_and_types_are_what_the_metadata_says():
    """LICENSE is the Apache License 2.0 and is shipped; the package carries the marker of typed code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert (ROOT / "LICENSE").read_text().split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "Typing :: Typed" in project["classifiers"] and (ROOT / "sca_cli" / "py.typed").is_file()


def test_every_page_is_shipped_where_man_looks():
    """The wheel's data puts each page in share/man/manN."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "shared-data"
    ]
    assert data == {f"man/{page.name}": f"share/man/man{page.suffix[1:]}/{page.name}" for page in PAGES}


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed (apt-get install mandoc)")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_well_formed(page: Path):
    """mandoc finds nothing to warn of."""
    linted = subprocess.run(["mandoc", "-Tlint", "-Wwarning", str(page)], capture_output=True, text=True, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed (apt-get install man-db)")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_shows_every_page_without_a_warning(page: Path):
    """man renders each page and groff says nothing."""
    shown = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(page)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "100", "LC_ALL": "C.UTF-8"},
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert page.stem.upper() in shown.stdout


def test_the_model_of_the_manual_works():
    """The model class in sca-plugins(7) is one: it takes its options and answers every conversation."""
    (code,) = re.findall(r"(?ms)^(class Echo:.*?)^\.EE", manual("sca-plugins.7"))
    names: dict[str, Any] = {"Completion": sca_cli.Completion}
    exec(code, names)
    model = names["Echo"]("any", shout="yes")
    said = [[sca_cli.Message(role="user", content=text)] for text in ("one", "two")]
    assert [reply.text for reply in asyncio.run(model.generate(said, sca_cli.Sampling()))] == ["ONE", "TWO"]
    asyncio.run(model.close())


# ---------------------------------------------------------------- the README


def test_readme_is_short_and_finished():
    """The README has at most 150 lines and no placeholder."""
    assert len(README.splitlines()) <= 150
    assert not re.search(r"TODO|FIXME|TRANSCRIPT|FIGURES", README)


def test_readme_tools_are_an_environment(tmp_path: Path):
    """The file of the README is loaded as it is: its functions are tools, described and called by name."""
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```", README)
    assert len(code.splitlines()) <= 22
    (tmp_path / "tools.py").write_text(code)
    tools = plugins.load_environment(plugins.parse_env(f"python:{tmp_path / 'tools.py'}")).tools()
    (converting, convert), (_, postage) = tools.values()
    assert converting.parameters["required"] == ["amount", "source", "target"]
    assert (convert(amount=2, source="EUR", target="USD"), postage(weight=2, price=100)) == (2.16, 8.0)


def braced(path: str) -> list[str]:
    """Return the paths that a shell makes of one with names in braces."""
    before, _, rest = path.partition("{")
    names, _, after = rest.partition("}")
    return [before + name + after for name in names.split(",")]


def test_the_tree_is_the_tree():
    """Every line of the tree is there and says what it is; every file of the repository is under a line."""
    (tree,) = re.findall(r"(?ms)readme\.tree\(\).*?^```\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text())
    lines = [path for line in tree.splitlines() for path in braced(line.split()[0])]
    assert not [line for line in lines if not (ROOT / line).exists()]
    assert not [line for line in tree.splitlines() if len(line.split()) < 3 or len(line) > 110]
    known = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if known.returncode:
        pytest.skip("not a git checkout")
    files = [path for path in known.stdout.splitlines() if (ROOT / path).exists()]
    shown = tuple(line for line in lines if line.endswith("/"))
    untold = {path for path in files if path not in lines and not path.startswith((*shown, ".ci/"))}
    front = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"}
    assert untold <= {".gitignore", "sca_cli/__init__.py", "sca_cli/py.typed", *front}


def test_manual_version_is_the_version():
    """Title lines carry the installed version."""
    assert sca_cli.__version__ == importlib.metadata.version("sca-cli")
    assert not [page.name for page in PAGES if f'"sca {sca_cli.__version__}"' not in page.read_text()]
