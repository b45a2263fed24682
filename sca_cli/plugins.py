"""Find plugins and load each one on first use. A broken plugin causes a warning, never a crash."""

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
    """A registered environment, model or export format."""

    name: str
    target: str
    help: str
    extra: str
    plugin: str
    """Name of the entry point that registered it."""
    argument: str = ""
    """Name of the environment's only option, whose value is all text after the colon; "" if options are `k=v,…`."""
    outside: bool = False
    """The environment runs without a jail; must equal `outside` of its class."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything that the installed plugins offer."""

    manager: pluggy.PluginManager
    environments: dict[str, Entry]
    models: dict[str, Entry]
    exporters: dict[str, Entry]
    broken: dict[str, str]
    """Plugin → the error and how to solve it, in one line."""
    ignored: dict[str, str]
    """Plugin → its functions that look like hooks and are not called, and how to correct them, in one line."""

    def warnings(self) -> list[str]:
        """Return a line for each plugin that is broken or has functions that are not called."""
        return [*self.broken.values(), *self.ignored.values()]


@cache
def registry() -> Registry:
    """Import the entry module of every plugin and collect its registrations."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugin_registry = Registry(manager, {}, {}, {}, {}, {})
    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=_own_plugins_first):
        cure = f"'pip install --force-reinstall {point.dist.name}' or uninstall it" if point.dist else "reinstall it"
        try:
            plugin = point.load()
            manager.register(plugin, point.name)
            if mistakes := _ignored_functions(manager, plugin):
                plugin_registry.ignored[point.name] = f"plugin '{point.name}': {'; '.join(mistakes)}"
            for hook, entries in (
                ("sca_register_environments", plugin_registry.environments),
                ("sca_register_models", plugin_registry.models),
                ("sca_register_exporters", plugin_registry.exporters),
            ):
                _hook_of(manager, hook, point.name)(register=_register_into(entries, point.name))
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; sca continues without it
            plugin_registry.broken[point.name] = (
                f"plugin '{point.name}' is broken: {type(error).__name__}: {error}; {cure}"
            )
    return plugin_registry


def _own_plugins_first(point: importlib.metadata.EntryPoint) -> tuple[bool, str]:
    """Sort the entry points of sca-cli first, so that another distribution cannot take their names."""
    return not point.dist or point.dist.name != "sca-cli", point.name


def _hook_of(manager: pluggy.PluginManager, hook: str, plugin: str) -> pluggy.HookCaller:
    """Return the caller of one plugin's implementation of a hook.

    One plugin is called at a time, so that an error names its plugin and does not stop the others.
    """
    others = [module for name, module in manager.list_name_plugin() if name != plugin]
    return manager.subset_hook_caller(hook, others)


def _ignored_functions(manager: pluggy.PluginManager, plugin: object) -> list[str]:
    """Describe the functions of a registered plugin that pluggy never calls although they look like hooks.

    `PluginManager.check_pending` finds those with an unknown name, but stops at the first of all plugins.
    """
    hooks = [name for name in vars(hookspecs) if name.startswith("sca_")]
    mistakes = [
        f"'{hook}' lacks @hookimpl and is not called; add the marker: from sca_cli import hookimpl"
        for hook in hooks
        if callable(getattr(plugin, hook, None)) and manager.parse_hookimpl_opts(plugin, hook) is None
    ]
    for caller in manager.get_hookcallers(plugin) or []:
        optional = any(each.optionalhook for each in caller.get_hookimpls() if each.plugin is plugin)
        if not caller.has_spec() and not optional:
            near = difflib.get_close_matches(caller.name, hooks, n=1, cutoff=0.5)
            cure = f"did you mean '{near[0]}'?" if near else f"hooks: {', '.join(hooks)}"
            mistakes.append(f"'{caller.name}' is not a hook and is not called; {cure}")
    return mistakes


@cache
def add_commands(app: "typer.Typer") -> None:
    """Let every plugin add its commands, once. If one fails, record it as broken and continue with the others."""
    plugin_registry = registry()
    for name, _ in plugin_registry.manager.list_name_plugin():
        try:
            _hook_of(plugin_registry.manager, "sca_register_commands", name)(app=app)
        except Exception as error:  # noqa: BLE001  a plugin may raise anything; sca continues without it
            plugin_registry.broken[name] = (
                f"plugin '{name}' is broken: {type(error).__name__}: {error}; uninstall it or report it"
            )


def _register_into(entries: dict[str, Entry], plugin: str) -> hookspecs.Register:
    def register(
        name: str,
        target: str,
        *,
        help: str,  # noqa: A002  the name is part of the hook
        extra: str = "",
        argument: str = "",
        outside: bool = False,
    ) -> None:
        if name in entries:
            raise PluginError(f"'{name}' is already registered by plugin '{entries[name].plugin}'")
        entries[name] = Entry(name, target, help, extra, plugin, argument, outside)

    return register


def parse_env(text: str) -> EnvSpec:
    """Parse `NAME[:k=v,…]`, or `NAME:VALUE` for an environment with a free-text option.

    In the second case, other options come before the free text: `NAME:k=v,…,option=VALUE`. `str(EnvSpec)` writes this
    form too, because it sorts the options and the name of the free-text option is the last one.

    Raises:
        UsageError: an option is not `k=v`, or the value is missing.
    """
    name, _, rest = text.partition(":")
    entry = registry().environments.get(name)
    if not entry or not entry.argument:
        return EnvSpec(name=name, options=_options(rest, f"--env {text}"))
    listed = re.fullmatch(rf"((?:{_OPTION}=[^,]*,)*?){entry.argument}=(.*)", rest, re.DOTALL)
    others, value = listed.groups() if listed else ("", rest)
    if not value:
        raise UsageError(
            f"--env {text}: '{name}' needs a {entry.argument}",
            f"write {name}:{entry.argument.upper()}; see 'sca env list'",
        )
    return EnvSpec(name=name, options=_options(others, f"--env {text}") | {entry.argument: value})


def parse_model(text: str) -> tuple[str, str, dict[str, str]]:
    """Parse `PLUGIN:NAME[,k=v…]` into plugin, name and options. NAME may contain colons.

    Raises:
        UsageError: there is no plugin name, or an option is not `k=v`.
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


_OPTION = r"[^\W\d]\w*(?:\.[\w-]+)?"
"""Name of an option: an identifier, or one with a name after it, such as `header.Authorization`."""


def _options(text: str, where: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not re.fullmatch(_OPTION, key):
            raise UsageError(f"{where}: '{part}' is not of the form key=value")
        options[key] = value
    return options


def environment_entry(spec: EnvSpec) -> Entry:
    """Return the registry entry of an environment.

    Raises:
        MissingError: no plugin registered the name; the message suggests the most similar one.
    """
    return _entry(registry().environments, spec.name, "environment")


def suite_entry(spec: EnvSpec) -> Entry:
    """Return the registry entry of a suite: an environment that can list its tasks.

    Raises:
        MissingError: no plugin registered the name; the message suggests the most similar suite.
    """
    entries = registry().environments
    if spec.name in entries:
        return entries[spec.name]
    return _entry({name: entry for name, entry in entries.items() if is_suite(entry)}, spec.name, "suite")


def is_suite(entry: Entry) -> bool:
    """Return whether an environment is a suite: whether it can list the tasks of a benchmark."""
    try:
        return not entry.argument and "listing" in inspect.signature(import_target(entry)).parameters
    except (ScaError, TypeError, ValueError):  # an absent or broken plugin is not a suite
        return False


def _entry(entries: dict[str, Entry], name: str, kind: str) -> Entry:
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1, cutoff=0.5)
    warnings = " · ".join(registry().warnings())
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(entries)) or 'none'}"
    raise MissingError(f"unknown {kind} '{name}'", f"{hint} {warnings}".strip())


def import_target(entry: Entry) -> Any:
    """Import the factory of an entry.

    Raises:
        MissingError: a module is absent; the hint names the command that installs it.
        PluginError: the factory does not exist, or its module raises an error.
    """
    module, _, attribute = entry.target.partition(":")
    with _naming_plugin(entry, f"import {module}"):
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError as error:
            raise _missing_extra(entry, error) from error
        except AttributeError as error:
            raise PluginError(f"plugin '{entry.plugin}': {entry.target} does not exist") from error


@contextmanager
def _naming_plugin(entry: Entry, action: str) -> Iterator[None]:
    """Convert an exception of a plugin into a `PluginError` that names the plugin. Errors of sca pass unchanged."""
    try:
        yield
    except ScaError:
        raise
    except Exception as error:
        error_text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise PluginError(f"plugin '{entry.plugin}': {action}: {error_text}") from error


def _missing_extra(entry: Entry, error: ImportError) -> MissingError:
    package = f"'sca-cli[{entry.extra}]'" if entry.extra else entry.plugin
    return missing_package(error, f"'{entry.name}'", f"pip install {package}")


def missing_package(error: ImportError, user: str, cure: str) -> MissingError:
    """Return the error for a package that cannot be imported.

    Args:
        error: of the import.
        user: what needs the package, for the message.
        cure: the command that installs it.
    """
    if isinstance(error, ModuleNotFoundError):
        return MissingError(f"{user} needs the package '{error.name}'", cure)
    limited = re.search("failed to map segment|allocate memory", str(error))  # of the dynamic loader
    hint = "raise 'ulimit -v', or free memory" if limited else cure
    return MissingError(f"{user} needs a package that cannot be loaded: {error}", hint)


def load_environment(spec: EnvSpec) -> Environment:
    """Construct an environment in this process, to list its tools. Never run hostile arguments with it.

    Raises:
        MissingError: the environment is unknown, or a package is absent.
        UsageError: the environment has no such option.
        PluginError: the constructor raises an error, or the result is not an `Environment`.
    """
    entry = environment_entry(spec)
    with _naming_plugin(entry, f"environment '{spec.name}'"):
        environment = _construct(entry, "environment", (), spec.options)
    if not isinstance(environment, Environment):
        raise PluginError(f"environment '{spec.name}' is a {type(environment).__name__}, not a sca_cli.Environment")
    return environment


def files_read(spec: EnvSpec) -> "list[Path]":
    """Return the files that an environment reads outside its package, see `Environment.reads`."""
    paths: list[Path] = _call_class_method(spec, "reads", [], spec.options)
    return paths


def expand_env(spec: EnvSpec) -> list[EnvSpec]:
    """Return the variants that a specification describes, see `Environment.variants`."""
    return [
        EnvSpec(name=spec.name, options=options)
        for options in _call_class_method(spec, "variants", [spec.options], spec.options)
    ]


def eval_path(spec: EnvSpec) -> "Path | None":
    """Return the path of the held-out tasks that are installed with an environment, see `Environment.eval_path`."""
    path: Path | None = _call_class_method(spec, "eval_path", None)
    return path


def _call_class_method(spec: EnvSpec, method: str, default: Any, *args: Any) -> Any:
    """Call a class method of an environment. Return `default` if the factory is not a subclass of `Environment`.

    Raises:
        PluginError: the method raises an error.
    """
    entry = environment_entry(spec)
    factory = import_target(entry)
    if not isinstance(factory, type) or not issubclass(factory, Environment):
        return default
    with _naming_plugin(entry, f"{method}() of environment '{spec.name}'"):
        return getattr(factory, method)(*args)


def load_model(text: str) -> Model:
    """Build a model from `PLUGIN:NAME[,k=v…]`.

    Raises:
        MissingError: the plugin is unknown, an extra is missing, or the weights do not exist.
        UsageError: the model has no such option.
    """
    plugin, name, options = parse_model(text)
    entry = _entry(registry().models, plugin, "model plugin")
    model: Model = _construct(entry, "model plugin", (name,), options)
    return model


def load_exporter(name: str) -> Any:
    """Return the function that writes a format, see `sca_register_exporters`.

    Raises:
        MissingError: no plugin registered the format, or a package is absent.
        PluginError: its module raises an error.
    """
    return import_target(_entry(registry().exporters, name, "export format"))


@contextmanager
def naming_package(name: str) -> Iterator[None]:
    """Context manager: convert an ImportError of an export format into a `MissingError` that names the cure."""
    try:
        yield
    except ImportError as error:
        raise _missing_extra(registry().exporters[name], error) from error


def model_weights(text: str) -> str | None:
    """Return where the weights of `PLUGIN:NAME[,k=v…]` are: a directory or a hub name. None: not on this machine.

    Only the plugin that registered PLUGIN is asked, through the hook `sca_model_weights`.

    Raises:
        MissingError: the plugin is unknown, an extra is missing, or the weights cannot be downloaded.
        PluginError: the hook raises another error.
    """
    plugin, name, _ = parse_model(text)
    entry = _entry(registry().models, plugin, "model plugin")
    with _naming_plugin(entry, "sca_model_weights()"):
        try:
            weights: str | None = _hook_of(registry().manager, "sca_model_weights", entry.plugin)(
                plugin=plugin, name=name
            )
        except ImportError as error:
            raise _missing_extra(entry, error) from error
    return weights


def _construct(entry: Entry, kind: str, args: tuple[str, ...], options: dict[str, str]) -> Any:
    factory = import_target(entry)
    try:
        return factory(*args, **options)
    except ScaError:
        raise
    except ImportError as error:
        raise _missing_extra(entry, error) from error
    except TypeError as error:
        if unknown := unknown_option(entry, kind, str(error)):
            raise unknown from error
        raise
    except (ValueError, OSError) as error:
        raise UsageError(f"{kind} '{entry.name}': {error}") from error


def unknown_option(entry: Entry, kind: str, complaint: str) -> UsageError | None:
    """Return the error for an option that a factory does not accept, or None for any other error.

    Args:
        entry: the factory's entry.
        kind: the kind of plugin, for the message.
        complaint: the text of Python's TypeError.
    """
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", complaint)
    if not unexpected:
        return None
    parameters = inspect.signature(import_target(entry)).parameters.values()
    option_names = [each.name for each in parameters if each.default is not each.empty]
    near = difflib.get_close_matches(unexpected[1], option_names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known options: {', '.join(option_names)}" if option_names else ""
    return UsageError(f"{kind} '{entry.name}' has no option '{unexpected[1]}'", hint)


def fail_if_unknown(envs: list[EnvSpec], models: list[str]) -> None:
    """Check the names of environments and models before any work starts.

    Raises:
        MissingError: no plugin registered a name.
        UsageError: a specification cannot be parsed.
    """
    for spec in envs:
        environment_entry(spec)
    for text in models:
        _entry(registry().models, parse_model(text)[0], "model plugin")
