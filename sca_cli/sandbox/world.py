"""`Sandbox`: the zygotes of one host process, and the sessions they fork. Thread-safe.

One zygote forks all programs and checks; one more for each environment forks its worlds. They are started on
first use, replaced when they die, and ended by `close`.
"""

import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sca_cli import plugins
from sca_cli.errors import MissingError, PluginError, SandboxError, ScaError, UsageError
from sca_cli.interfaces import Tool
from sca_cli.records import EnvSpec
from sca_cli.sandbox import jail
from sca_cli.sandbox.outcomes import Limits
from sca_cli.sandbox.session import Session

_PROGRAM_START_S = 30.0
_WORLD_START_S = 120.0  # an environment may load its data when it is constructed


class Sandbox:
    """Runs programs against worlds. Starts nothing until it is used.

    Args:
        limits: for every session.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, env: EnvSpec) -> tuple[list[Tool], str]:
        """Return the tools of an environment and its policy text.

        Raises:
            PluginError: it cannot be constructed.
            MissingError: nobody registered it, or a package is absent.
            UsageError: an option it does not take.
            SandboxError: the jail does not start.
        """
        ready = self._world(env).zygote().ready
        return [Tool(**tool) for tool in ready["tools"]], ready["policy"]

    def session(self, env: EnvSpec, seed: int) -> Session:
        """Fork a world and put the state of `seed` in place.

        Raises:
            PluginError, MissingError, UsageError, SandboxError: as `describe`.
        """
        world = self._world(env)
        return Session(
            self.limits,
            spawn_world=lambda fds: world.spawn(lambda _: f"world {seed}", fds),
            spawn_program=lambda kind, fds: self._spawn_program(kind, world, fds),
        )

    def close(self) -> None:
        """End everything that was started. Sessions that are still open become invalid."""
        with self._lock:
            slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            slot.close()

    def _world(self, env: EnvSpec) -> "_Slot":
        entry = plugins.environment_entry(env)
        key = str(env)
        with self._lock:
            if key not in self._slots:
                self._slots[key] = _Slot(f"env{len(self._slots)}", lambda: self._start_world(env, entry))
            return self._slots[key]

    def _start_world(self, env: EnvSpec, entry: plugins.Entry) -> jail.Zygote:
        path = _import_path(entry.target)
        order = {"role": "world", "target": entry.target, "options": env.options, "path": path}
        named = [value for value in env.options.values() if value.startswith("/") and Path(value).exists()]
        try:
            return jail.Zygote(order | self._figures(), [*path, *named], _WORLD_START_S)
        except jail.ZygoteRefused as refusal:
            raise _plain_error(env, entry, refusal) from None

    def _spawn_program(self, kind: str, world: "_Slot", fds: Sequence[int]) -> jail.Child:
        """Fork `program` or `check` with the tools of a world."""
        with self._lock:
            slot = self._slots.setdefault("", _Slot("programs", self._start_programs))

        def request(zygote: jail.Zygote) -> str:
            if world.name not in zygote.known:
                zygote.learn(world.name, world.zygote().ready["tools"])
            return f"{kind} {world.name}"

        return slot.spawn(request, fds)

    def _start_programs(self) -> jail.Zygote:
        order = {"role": "program", "path": [jail.PACKAGE_ROOT]}
        return jail.Zygote(order | self._figures(), jail.guest_files(), _PROGRAM_START_S)

    def _figures(self) -> dict[str, Any]:
        limits = self.limits
        return {
            "memory_mb": limits.memory_mb,
            "cpu_s": limits.cpu_s,
            "reply_bytes": limits.reply_bytes,
            "calls": limits.calls,
        }


class _Slot:
    """A place for one zygote, filled on demand and again when it has died."""

    def __init__(self, name: str, start: Callable[[], jail.Zygote]) -> None:
        self.name = name
        self._start = start
        self._lock = threading.Lock()
        self._zygote: jail.Zygote | None = None

    def zygote(self) -> jail.Zygote:
        """Return the living zygote, started if need be."""
        with self._lock:
            if self._zygote and not self._zygote.alive():
                self._zygote.close()
                self._zygote = None
            if not self._zygote:
                self._zygote = self._start()
            return self._zygote

    def spawn(self, request: Callable[[jail.Zygote], str], fds: Sequence[int]) -> jail.Child:
        """Ask for a child, once more if the zygote turns out to be dead: nothing has run yet.

        Raises:
            SandboxError: it died twice.
        """
        for _ in range(2):
            zygote = self.zygote()
            try:
                return zygote.spawn(request(zygote), fds)
            except jail.ZygoteDied:
                zygote.lost = True
        raise SandboxError("the jail dies as soon as it is up", "'sca doctor' looks for the cause")

    def close(self) -> None:
        with self._lock:
            if self._zygote:
                self._zygote.close()
                self._zygote = None


def _import_path(target: str) -> list[str]:
    """Return the directories from which a world imports: ours, and where the plugin's package is found.

    Some editable installs are found by a hook and not through `sys.path`; their place is added.
    """
    path = [str(Path(entry).absolute()) for entry in sys.path if Path(entry).exists()]
    path.append(jail.PACKAGE_ROOT)
    spec = importlib.util.find_spec(target.partition(":")[0].partition(".")[0])
    for place in (spec.submodule_search_locations or [spec.origin or ""]) if spec else ():
        path.append(str(Path(place).parent))
    return list(dict.fromkeys(entry for entry in path if entry != "/"))


def _plain_error(env: EnvSpec, entry: plugins.Entry, refusal: jail.ZygoteRefused) -> ScaError:
    """Return the error that a plugin's failure in the jail stands for."""
    if refusal.module:
        package = f"'sca-cli[{entry.extra}]'" if entry.extra else entry.plugin
        return MissingError(f"'{env.name}' needs the package '{refusal.module}'", f"pip install {package}")
    if unexpected := re.search(r"unexpected keyword argument '(\w+)'", refusal.message):
        return UsageError(f"environment '{env.name}' has no option '{unexpected.group(1)}'")
    message = f"environment '{env.name}': {refusal.message}"
    for cls in (MissingError, UsageError, PluginError):
        if refusal.type == cls.__name__:
            return cls(message, refusal.hint)
    return PluginError(f"environment '{env.name}': {refusal.type}: {refusal.message}", refusal.hint)
