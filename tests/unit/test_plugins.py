"""Plugins: found, named, and never able to take the program with them."""

import subprocess
import sys
from pathlib import Path

import pluggy
import pytest
import typer

from sca_cli import app, plugins
from sca_cli.commands.shared.weights import weights_of
from sca_cli.errors import MissingError, PluginError, UsageError
from sca_cli.records import EnvSpec

WORKING = """
from sca_cli import Environment, hookimpl, tool
class Place(Environment):
    def __init__(self, size: str = "1"):
        self.size = int(size)
@hookimpl
def sca_register_environments(register):
    register("place", "{name}:Place", help="a place")
    register("lost", "{name}:Nothing", help="does not exist")
    register("wrong", "builtins:dict", help="not an environment")
    register("needy", "no_such_package.x:Y", help="needs a package", extra="vllm")
@hookimpl
def sca_register_models(register):
    register("quick", "{name}:Place", help="a model")
"""


def test_a_plugin_from_outside_is_found_like_ours(add_plugin) -> None:
    """An installed distribution with an entry point is all it takes."""
    add_plugin("outside", WORKING.format(name="outside"))
    found = plugins.registry()
    assert {"calculation", "place"} <= found.environments.keys()
    assert {"scripted", "quick"} <= found.models.keys()
    assert found.environments["place"].plugin == "outside"
    assert found.broken.get("outside") is None
    assert plugins.load_environment(EnvSpec(name="place", options={"size": "3"})).size == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def (", "SyntaxError"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        (
            "from sca_cli import hookimpl\n@hookimpl\ndef sca_register_environments(register): 1 / 0",
            "ZeroDivisionError",
        ),
        (
            "from sca_cli import hookimpl\n@hookimpl\n"
            "def sca_register_environments(register): register('calculation', 'x:y', help='')",
            "'calculation' is already registered",
        ),
        ("from sca_cli import hookimpl\n@hookimpl\ndef sca_register_models(wrong): pass", "wrong"),
    ],
    ids=["import", "syntax", "raises", "hook", "twice", "signature"],
)
def test_a_broken_plugin_is_a_warning_that_names_the_cure(add_plugin, capfd, source: str, said: str) -> None:
    """Whatever is wrong with a plugin, the others work, `sca plugins` succeeds, and stderr says which and
    what to do.
    """
    add_plugin("broken", source)
    assert app.run(["plugins"]) == 0
    out, err = capfd.readouterr()
    assert "calculation" in out
    assert "scripted" in out
    assert "sca plugins: plugin 'broken' is broken: " in err
    assert said in err
    assert "'pip install --force-reinstall broken' or uninstall it" in err
    assert "Traceback" not in err


def test_a_plugin_that_breaks_while_adding_commands_is_a_warning(add_plugin, capfd) -> None:
    """A failing command hook takes nothing else with it."""
    add_plugin(
        "broken",
        "from sca_cli import hookimpl\n@hookimpl\ndef sca_register_commands(app): raise RuntimeError('no')",
    )
    assert app.run(["plugins"]) == 0
    assert "plugin 'broken' is broken: RuntimeError: no" in capfd.readouterr().err


def test_a_plugin_adds_a_command(add_plugin, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of a plugin is a verb of sca, registered once however often sca is run."""
    monkeypatch.setattr(app, "app", typer.Typer(no_args_is_help=True))
    app.app.command("plugins")(lambda: None)
    add_plugin(
        "more",
        "from sca_cli import hookimpl\ndef hello(): print('hello')\n"
        "@hookimpl\ndef sca_register_commands(app): app.command('hello')(hello)",
    )
    assert app.run(["hello"]) == 0
    assert app.run(["hello"]) == 0
    assert capfd.readouterr().out == "hello\nhello\n"
    assert len(app.app.registered_commands) == 2


UNMARKED = """
from sca_cli import hookimpl
def sca_register_environments(register):
    register("place", "outside:Place", help="a place")
@hookimpl
def sca_register_models(register):
    register("quick", "outside:Place", help="a model")
"""


def test_a_hook_without_the_marker_is_not_called(add_plugin, capfd) -> None:
    """A function named like a hook does nothing without @hookimpl; a warning says so, and the other hooks work."""
    add_plugin("outside", UNMARKED)
    assert app.run(["plugins"]) == 0
    out, err = capfd.readouterr()
    assert "quick" in out
    assert "place" not in out.split()
    assert (
        "sca plugins: plugin 'outside': 'sca_register_environments' lacks @hookimpl and is not called; "
        "add the marker: from sca_cli import hookimpl\n"
    ) in err


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("sca_register_model", "did you mean 'sca_register_models'?"),
        (
            "zzz",
            "hooks: sca_register_environments, sca_register_models, sca_register_exporters, sca_register_commands, "
            "sca_model_weights",
        ),
    ],
)
def test_a_misspelt_hook_is_a_warning(add_plugin, capfd, name: str, cure: str) -> None:
    """A marked function that implements no hook is reported with the most similar hook; the plugin's others work."""
    add_plugin(
        "outside", f"{UNMARKED.replace('def sca_reg', '@hookimpl\ndef sca_reg', 1)}@hookimpl\ndef {name}(): pass\n"
    )
    assert app.run(["plugins"]) == 0
    out, err = capfd.readouterr()
    assert {"quick", "place"} <= set(out.split())
    assert err == f"sca plugins: plugin 'outside': '{name}' is not a hook and is not called; {cure}\n"
    with pytest.raises(pluggy.PluginValidationError, match=f"unknown hook '{name}'"):
        plugins.registry().manager.check_pending()


def test_an_optional_hook_is_no_mistake(add_plugin) -> None:
    """A plugin may implement a hook of a later sca and mark it so."""
    add_plugin(
        "outside", "from sca_cli import hookimpl\n@hookimpl(optionalhook=True)\ndef sca_register_later(): pass\n"
    )
    assert plugins.registry().warnings() == []


def test_our_plugins_have_no_mistakes() -> None:
    """Every hook of the plugins in this repository is marked and known."""
    assert plugins.registry().warnings() == []
    plugins.registry().manager.check_pending()


WEIGHTS = """
from sca_cli import hookimpl
@hookimpl
def sca_register_models(register):
    register("{model}", "{model}:Model", help="a model", extra="vllm")
@hookimpl
def sca_model_weights(plugin, name):
    {body}
"""


def test_a_plugin_says_where_the_weights_are(add_plugin) -> None:
    """The hook gets both parts of PLUGIN:NAME, without options; the model's class is not imported."""
    add_plugin("outside", WEIGHTS.format(model="quick", body="return f'/weights/{plugin}/{name}' if name else None"))
    assert weights_of("quick:a/b,k=v") == "/weights/quick/a/b"
    with pytest.raises(UsageError, match="--base is missing: 'quick' has no weights on this machine"):
        weights_of("quick:")


def test_only_the_plugin_of_a_model_is_asked_for_its_weights(add_plugin) -> None:
    """A plugin cannot give other weights for a model of another plugin."""
    add_plugin("outside", WEIGHTS.format(model="quick", body="return '/elsewhere'"))
    assert plugins.model_weights("transformers:a/b") == "a/b"
    assert plugins.model_weights("vllm:a/b,gpus=2") == "a/b"
    assert plugins.model_weights("openai:a") is None
    assert plugins.model_weights("quick:a") == "/elsewhere"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("import no_such_package", MissingError, "'quick' needs the package 'no_such_package'"),
        ("1 / 0", PluginError, r"plugin 'outside': sca_model_weights\(\): ZeroDivisionError: division by zero"),
    ],
)
def test_a_failing_weights_hook_names_its_plugin(add_plugin, body: str, error: type[Exception], message: str) -> None:
    """An absent package names the extra, any other error the plugin."""
    add_plugin("outside", WEIGHTS.format(model="quick", body=body))
    with pytest.raises(error, match=message):
        plugins.model_weights("quick:a")


def test_the_embedded_model_gives_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--base embedded:` starts from the directory in the cache, without importing torch."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = tmp_path / "sca" / "models" / "smollm2-135m-instruct"
    directory.mkdir(parents=True)
    assert weights_of("embedded:") == str(directory)
    code = (
        "import sys; from sca_cli import plugins; "
        "assert plugins.model_weights('embedded:') and plugins.registry().warnings() == []; "
        "print(sorted({'torch', 'transformers', 'vllm', 'openai', 'mcp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("name", "hint"), [("calcluation", "did you mean 'calculation'"), ("zzz", "known: airline")])
def test_an_unknown_environment_suggests_the_nearest(name: str, hint: str) -> None:
    """A misspelt name is answered with the nearest, another with all there are."""
    with pytest.raises(MissingError, match=f"unknown environment '{name}'") as raised:
        plugins.environment_entry(EnvSpec(name=name))
    assert hint in raised.value.hint


def test_an_unknown_model_suggests_the_nearest() -> None:
    """The same for model plugins."""
    with pytest.raises(MissingError, match="unknown model plugin 'transformer'") as raised:
        plugins.fail_if_unknown([], ["transformer:x"])
    assert raised.value.hint == "did you mean 'transformers'?"


def test_an_unknown_name_mentions_what_is_broken(add_plugin) -> None:
    """The error for an unknown environment names the broken plugins."""
    add_plugin("broken", "raise RuntimeError('no luck')")
    with pytest.raises(MissingError) as raised:
        plugins.environment_entry(EnvSpec(name="place"))
    assert "plugin 'broken' is broken: RuntimeError: no luck" in raised.value.hint


def test_targets_that_do_not_hold_are_named(add_plugin) -> None:
    """A factory that does not exist or makes something else breaks the contract; a missing package names its
    extra.
    """
    add_plugin("outside", WORKING.format(name="outside"))
    with pytest.raises(PluginError, match="plugin 'outside': outside:Nothing does not exist"):
        plugins.load_environment(EnvSpec(name="lost"))
    with pytest.raises(PluginError, match=r"'wrong' is a dict, not a sca_cli\.Environment"):
        plugins.load_environment(EnvSpec(name="wrong"))
    with pytest.raises(MissingError, match="'needy' needs the package 'no_such_package'") as raised:
        plugins.load_environment(EnvSpec(name="needy"))
    assert raised.value.hint == "pip install 'sca-cli[vllm]'"


def test_unknown_options_and_bad_values_are_usage_errors(add_plugin) -> None:
    """An option an environment does not take is named; what its constructor says of a value is passed on."""
    add_plugin("outside", WORKING.format(name="outside"))
    with pytest.raises(UsageError, match="environment 'place' has no option 'colour'") as raised:
        plugins.load_environment(EnvSpec(name="place", options={"colour": "red"}))
    assert raised.value.hint == "known options: size"
    with pytest.raises(UsageError, match="environment 'place' has no option 'syze'") as raised:
        plugins.load_environment(EnvSpec(name="place", options={"syze": "3"}))
    assert raised.value.hint == "did you mean 'size'?"
    with pytest.raises(UsageError, match="environment 'place': invalid literal"):
        plugins.load_environment(EnvSpec(name="place", options={"size": "big"}))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("shop", EnvSpec(name="shop")),
        ("shop:", EnvSpec(name="shop")),
        ("shop:a=1,b=x=y", EnvSpec(name="shop", options={"a": "1", "b": "x=y"})),
    ],
)
def test_environments_are_read_as_typed(text: str, spec: EnvSpec) -> None:
    """NAME[:k=v,…]; a value may hold an equals sign."""
    assert plugins.parse_env(text) == spec


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("python", "/srv/a,b=c:d.py:Till"),
        ("mcp", "http://127.0.0.1:8000/mcp?a=1,b=2"),
        ("mcp", "env A=1 server --flag=x,y 'a b'"),
    ],
)
def test_one_option_may_take_the_rest_as_it_stands(name: str, value: str) -> None:
    """Commas, colons and equals signs are the value's own; what `str` gives is read back as the same."""
    spec = plugins.parse_env(f"{name}:{value}")
    assert spec.options == {plugins.registry().environments[name].argument: value}
    assert plugins.parse_env(str(spec)) == spec


def test_an_option_that_takes_the_rest_must_be_given() -> None:
    """A missing value is a usage error."""
    for text in ("python", "python:", "python:target="):
        with pytest.raises(UsageError, match="'python' needs a target"):
            plugins.parse_env(text)


@pytest.mark.parametrize("text", ["shop:a", "shop:=1", "shop:a b=1", "shop:1a=2"])
def test_options_that_are_not_pairs_are_refused(text: str) -> None:
    """An option that is not key=value is a usage error that shows it."""
    with pytest.raises(UsageError, match=f"--env {text}: '.*' is not of the form key=value"):
        plugins.parse_env(text)


def test_models_are_read_as_typed() -> None:
    """PLUGIN:NAME[,k=v…]; a name may hold colons and slashes; a plugin alone has no name."""
    assert plugins.parse_model("scripted:a/b:c.jsonl,delay_s=1") == (
        "scripted",
        "a/b:c.jsonl",
        {"delay_s": "1"},
    )
    assert plugins.parse_model("scripted") == ("scripted", "", {})
    with pytest.raises(UsageError, match="--model gpt: not of the form PLUGIN:NAME") as raised:
        plugins.parse_model("gpt")
    assert "scripted" in raised.value.hint
