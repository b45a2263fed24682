"""Finding plugins and loading them, one at a time, on first use. A broken plugin is a warning, never a crash."""

import difflib
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pluggy

from sca_cli import hookspecs
from sca_cli.errors import MissingError, PluginError, ScaError, UsageError
from sca_cli.interfaces import Environment, Model
from sca_cli.records import EnvSpec

if TYPE_CHECKING:
    from pathlib import Path

    import typer

GROUP = "sca"


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered environment or model."""

    name: str
    target: str
    help: str
    extra: str
    plugin: str
    """Name of the entry point it came from."""
    argument: str = ""
    """The environment's only option, which takes all that follows the colon as it stands; "" for `k=v,…`."""
    outside: bool = False
    """The environment runs without a jail; its class says the same."""


@dataclass(frozen=True, slots=True)
class Registry:
    """All that the installed plugins offer."""

    manager: pluggy.PluginManager
    environments: dict[str, Entry]
    models: dict[str, Entry]
    broken: dict[str, str]
    """Plugin → what went wrong and the cure, one line."""


@cache
def registry() -> Registry:
    """Import every plugin's front module and collect what it registers."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    found = Registry(manager, {}, {}, {})
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=_ours_first):
        cure = f"'pip install --force-reinstall {point.dist.name}' or uninstall it" if point.dist else "reinstall it"
        try:
            plugin = point.load()
            manager.register(plugin, point.name)
            for hook, entries in (
                ("sca_register_environments", found.environments),
                ("sca_register_models", found.models),
            ):
                if implementation := getattr(plugin, hook, None):
                    implementation(register=_register_into(entries, point.name))
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way; it must not take the program with it
            found.broken[point.name] = f"plugin '{point.name}' is broken: {type(error).__name__}: {error}; {cure}"
    return found


def _ours_first(point: importlib.metadata.EntryPoint) -> tuple[bool, str]:
    """Order entry points so that a name of ours cannot be taken by another distribution."""
    return not point.dist or point.dist.name != "sca-cli", point.name


@cache
def add_commands(app: "typer.Typer") -> None:
    """Let every plugin add its commands, once; one that fails is broken and the others go on."""
    found = registry()
    for name, plugin in found.manager.list_name_plugin():
        if implementation := getattr(plugin, "sca_register_commands", None):
            try:
                implementation(app=app)
            except Exception as error:  # noqa: BLE001  as above
                found.broken[name] = (
                    f"plugin '{name}' is broken: {type(error).__name__}: {error}; uninstall it or report it"
                )


def _register_into(entries: dict[str, Entry], plugin: str) -> hookspecs.Register:
    def register(
        name: str,
        target: str,
        *,
        help: str,  # noqa: A002  the hook's own word
        extra: str = "",
        argument: str = "",
        outside: bool = False,
    ) -> None:
        if name in entries:
            raise PluginError(f"'{name}' is already registered by plugin '{entries[name].plugin}'")
        entries[name] = Entry(name, target, help, extra, plugin, argument, outside)

    return register


def parse_env(text: str) -> EnvSpec:
    """Read `NAME[:k=v,…]`, or `NAME:VALUE` of an environment whose one option takes all that follows.

    The latter may be written `NAME:option=VALUE` too, which is how `str` of a specification writes it.

    Raises:
        UsageError: an option is not `k=v`, or the value is missing.
    """
    name, _, rest = text.partition(":")
    entry = registry().environments.get(name)
    if not entry or not entry.argument:
        return EnvSpec(name=name, options=_options(rest, f"--env {text}"))
    value = rest.removeprefix(f"{entry.argument}=")
    if not value:
        raise UsageError(
            f"--env {text}: '{name}' needs a {entry.argument}",
            f"write {name}:{entry.argument.upper()}; 'sca env list' says more",
        )
    return EnvSpec(name=name, options={entry.argument: value})


def parse_model(text: str) -> tuple[str, str, dict[str, str]]:
    """Read `PLUGIN:NAME[,k=v…]` into plugin, name and options. NAME may hold colons.

    Raises:
        UsageError: no plugin named, or an option is not `k=v`.
    """
    plugin, colon, rest = text.partition(":")
    if not colon:
        if plugin in registry().models:
            return plugin, "", {}
        raise UsageError(
            f"--model {text}: not of the form PLUGIN:NAME", f"plugins: {', '.join(sorted(registry().models))}"
        )
    name, _, options = rest.partition(",")
    return plugin, name, _options(options, f"--model {text}")


def _options(text: str, where: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"{where}: '{part}' is not of the form key=value")
        options[key] = value
    return options


def environment_entry(spec: EnvSpec) -> Entry:
    """Return the entry of an environment.

    Raises:
        MissingError: nobody registered it; names the nearest.
    """
    return _entry(registry().environments, spec.name, "environment")


def suite_entry(spec: EnvSpec) -> Entry:
    """Return the entry of a suite: an environment that can list its tasks.

    Raises:
        MissingError: nobody registered the name; names the nearest suite.
    """
    known = registry().environments
    if spec.name in known:
        return known[spec.name]
    return _entry({name: entry for name, entry in known.items() if is_suite(entry)}, spec.name, "suite")


def is_suite(entry: Entry) -> bool:
    """Return whether an environment is a suite: whether it can list the tasks of a benchmark."""
    try:
        return not entry.argument and "listing" in inspect.signature(import_target(entry)).parameters
    except (ScaError, TypeError, ValueError):  # it is absent or broken, and not what was asked for
        return False


def _entry(entries: dict[str, Entry], name: str, what: str) -> Entry:
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1, cutoff=0.5)
    broken = " · ".join(registry().broken.values())
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(entries)) or 'none'}"
    raise MissingError(f"unknown {what} '{name}'", f"{hint} {broken}".strip())


def import_target(entry: Entry) -> Any:
    """Import what an entry names.

    Raises:
        MissingError: a module is absent; names the command that installs it.
        PluginError: the target does not exist, or its module fails.
    """
    module, _, attribute = entry.target.partition(":")
    with _blamed(entry, f"import {module}"):
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise _missing_extra(entry, error) from error
        except AttributeError as error:
            raise PluginError(f"plugin '{entry.plugin}': {entry.target} does not exist") from error


@contextmanager
def _blamed(entry: Entry, doing: str) -> Iterator[None]:
    """Make what a plugin raises in a block an error that names it; errors of ours pass."""
    try:
        yield
    except ScaError:
        raise
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise PluginError(f"plugin '{entry.plugin}': {doing}: {told}") from error


def _missing_extra(entry: Entry, error: ImportError) -> MissingError:
    package = f"'sca-cli[{entry.extra}]'" if entry.extra else entry.plugin
    return MissingError(f"'{entry.name}' needs the package '{error.name}'", f"pip install {package}")


def load_environment(spec: EnvSpec) -> Environment:
    """Build an environment in this process: to list its tools, never to run hostile arguments.

    Raises:
        MissingError: unknown, or a package is absent.
        UsageError: an option it does not take.
        PluginError: it fails, or is not an `Environment`.
    """
    entry = environment_entry(spec)
    with _blamed(entry, f"environment '{spec.name}'"):
        environment = _construct(entry, "environment", (), spec.options)
    if not isinstance(environment, Environment):
        raise PluginError(f"environment '{spec.name}' is a {type(environment).__name__}, not a sca_cli.Environment")
    return environment


def files_read(spec: EnvSpec) -> "list[Path]":
    """Return the files that an environment reads besides its package, see `Environment.reads`."""
    read: list[Path] = _asked(spec, "reads", [], spec.options)
    return read


def expand_env(spec: EnvSpec) -> list[EnvSpec]:
    """Return the variants that a specification stands for, see `Environment.variants`."""
    return [
        EnvSpec(name=spec.name, options=options) for options in _asked(spec, "variants", [spec.options], spec.options)
    ]


def eval_path(spec: EnvSpec) -> "Path | None":
    """Return the held-out tasks that an environment ships with, see `Environment.eval_path`."""
    path: Path | None = _asked(spec, "eval_path", None)
    return path


def _asked(spec: EnvSpec, method: str, default: Any, *args: Any) -> Any:
    """Return what the class of an environment says; a factory that is no class says nothing.

    Raises:
        PluginError: it fails.
    """
    entry = environment_entry(spec)
    factory = import_target(entry)
    if not isinstance(factory, type) or not issubclass(factory, Environment):
        return default
    with _blamed(entry, f"{method}() of environment '{spec.name}'"):
        return getattr(factory, method)(*args)


def load_model(text: str) -> Model:
    """Build a model from `PLUGIN:NAME[,k=v…]`.

    Raises:
        MissingError: unknown plugin, missing extra, no such weights.
        UsageError: an option it does not take.
    """
    plugin, name, options = parse_model(text)
    entry = _entry(registry().models, plugin, "model plugin")
    model: Model = _construct(entry, "model plugin", (name,), options)
    return model


def _construct(entry: Entry, what: str, args: tuple[str, ...], options: dict[str, str]) -> Any:
    factory = import_target(entry)
    try:
        return factory(*args, **options)
    except ScaError:
        raise
    except ImportError as error:
        raise _missing_extra(entry, error) from error
    except TypeError as error:
        if unknown := unknown_option(entry, what, str(error)):
            raise unknown from error
        raise
    except (ValueError, OSError) as error:
        raise UsageError(f"{what} '{entry.name}': {error}") from error


def unknown_option(entry: Entry, what: str, complaint: str) -> UsageError | None:
    """Return the error for an option that a factory does not take, by what Python says of it, or None."""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", complaint)
    if not unexpected:
        return None
    taken = inspect.signature(import_target(entry)).parameters.values()
    known = [each.name for each in taken if each.default is not each.empty]
    near = difflib.get_close_matches(unexpected[1], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}" if known else ""
    return UsageError(f"{what} '{entry.name}' has no option '{unexpected[1]}'", hint)


def fail_if_unknown(envs: list[EnvSpec], models: list[str]) -> None:
    """Check names before any work is done.

    Raises:
        MissingError: a name nobody registered.
        UsageError: a specification that cannot be read.
    """
    for spec in envs:
        environment_entry(spec)
    for text in models:
        _entry(registry().models, parse_model(text)[0], "model plugin")
