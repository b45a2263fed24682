"""`Sandbox`: the zygotes of one host process, and the sessions they fork. Thread-safe.

One zygote forks all programs and checks; one more for each environment forks its worlds. They are started on
first use, replaced when they die, and ended by `close`.
"""

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sca_cli import plugins
from sca_cli.errors import MissingError, PluginError, RecordError, SandboxError, ScaError, UsageError
from sca_cli.interfaces import Tool
from sca_cli.records import EnvSpec
from sca_cli.sandbox.host import children, jail
from sca_cli.sandbox.host.outcomes import Limits
from sca_cli.sandbox.host.session import Session

_PROGRAM_START_S = 30.0
_WORLD_START_S = 120.0  # an environment may load its data when it is constructed
_ZYGOTES = max(1, len(os.sched_getaffinity(0)) // 4)  # of one kind; one forks for about four cores
_ENVIRONMENTS = 16  # that have zygotes; beyond, those that were not used for longest are ended, unless in use
_TRIES = 8  # at a zygote that dies while it starts, or as soon as it is up: the machine may be killing at random
_CHILDREN = 50_000  # then a zygote is replaced: what has grown in it, and fragments, goes


class Description(NamedTuple):
    """What an environment says of itself."""

    tools: list[Tool]
    policy: str
    customer: bool
    """Instructions go to a simulated user."""


class Sandbox:
    """Runs programs against worlds. Starts nothing until it is used.

    Args:
        limits: for every session.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}  # the last used last

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, env: EnvSpec) -> Description:
        """Return the tools of an environment, its policy text, and whether an agent serves a customer there.

        Raises:
            PluginError: it cannot be constructed.
            MissingError: nobody registered it, or a package is absent.
            UsageError: an option it does not take.
            RecordError: what an option names is not the data it should be.
            SandboxError: the jail does not start.
        """
        ready = self._world(env).zygote().ready
        return Description([Tool(**tool) for tool in ready["tools"]], ready["policy"], ready["customer"])

    def session(self, env: EnvSpec, seed: int, *, twin: int = 0) -> Session:
        """Fork a world and put the state of `seed` in place.

        Args:
            env: the environment.
            seed: of its state.
            twin: programs and checks with another number have another hash seed, other random numbers and another
                date, so that what depends on these comes out differently.

        Raises:
            PluginError, MissingError, UsageError, RecordError, SandboxError: as `describe`.
        """
        world = self._world(env)
        return Session(
            self.limits,
            spawn_world=lambda fds: world.spawn(f"world {seed}", fds),
            spawn_program=lambda kind, fds, order: self._spawn_program(twin, kind, world, fds, order),
            isolated=world.zygote().ready["isolated"],
            start_s=_WORLD_START_S if world.outside else 0,
        )

    def spares(self) -> list[int]:
        """Return the process ids of children that were forked ahead and wait; all others belong to a session."""
        with self._lock:
            slots = list(self._slots.values())
        return [pid for slot in slots for pid in slot.spares()]

    def nsjails(self) -> list[int]:
        """Return the process ids of all nsjails; each has one child, the zygote, whose children are the sessions'."""
        with self._lock:
            slots = list(self._slots.values())
        return [pid for slot in slots if not slot.outside for pid in slot.pids()]

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
                self._slots[key] = _Slot(
                    f"env{len(self._slots)}", lambda: self._start_world(env, entry), outside=entry.outside
                )
            slot = self._slots[key] = self._slots.pop(key)
            return slot

    def _make_room(self) -> None:
        """End the zygotes of environments that were not used for long; they start again when they are needed."""
        with self._lock:
            started = [slot for slot in self._slots.values() if slot.name and slot.is_started()]
        surplus = len(started) + 1 - _ENVIRONMENTS
        for slot in started:
            if surplus > 0:
                surplus -= slot.rest()

    def _start_world(self, env: EnvSpec, entry: plugins.Entry) -> children.Zygote:
        self._make_room()
        path = _import_path(entry.target)
        order: dict[str, Any] = {"role": "world", "target": entry.target, "options": env.options, "path": path}
        order["outside"] = entry.outside
        mounts = [*path, *_named_paths(env), *map(str, plugins.files_read(env))]
        try:
            return children.Zygote(order | self._figures(), mounts, _WORLD_START_S, outside=entry.outside)
        except children.ZygoteRefused as refusal:
            raise _plain_error(env, entry, refusal) from None
        except children.ZygoteLate:
            message = f"environment '{env.name}' was not there after {_WORLD_START_S:g} s"
            raise PluginError(message, f"importing or constructing it takes too long, or never ends: {env}") from None

    def _spawn_program(self, twin: int, kind: str, world: "_Slot", fds: Sequence[int], order: bytes) -> children.Child:
        """Fork `program` or `check` with the tools of a world."""
        with self._lock:
            slot = self._slots.setdefault(f"programs@{twin}", _Slot("", lambda: self._start_programs(twin)))
        words = f"{kind} {world.name}"
        return slot.spawn(words, fds, order, key=world.name, learn=lambda: world.zygote().ready["tools"])

    def _start_programs(self, twin: int) -> children.Zygote:
        order = {"role": "program", "path": [jail.PACKAGE_ROOT], "twin": twin}
        return children.Zygote(order | self._figures(), jail.guest_files(), _PROGRAM_START_S, hash_seed=twin)

    def _figures(self) -> dict[str, Any]:
        limits = self.limits
        return {
            "memory_mb": limits.memory_mb,
            "cpu_s": limits.cpu_s,
            "reply_bytes": limits.reply_bytes,
            "calls": limits.calls,
        }


class _Slot:
    """A place for zygotes that do the same: one on demand, more where many cores wait for it, replaced when they die.

    A zygote that has had many children is replaced too, and ended when the last of its sessions is.
    """

    def __init__(self, name: str, start: Callable[[], children.Zygote], *, outside: bool = False) -> None:
        self.name = name
        self.outside = outside
        self._start = start
        self._lock = threading.Lock()
        self._zygotes: list[children.Zygote] = []
        self._retired: list[children.Zygote] = []

    def zygote(self) -> children.Zygote:
        """Return a living zygote, one that nobody is asking if possible, started if need be."""
        with self._lock:
            self._look_after()
            idle = [zygote for zygote in self._zygotes if not zygote.busy()]
            if not idle and len(self._zygotes) < _ZYGOTES:
                self._zygotes.append(self._started())
                idle = self._zygotes[-1:]
            return (idle or self._zygotes)[0]

    def _started(self) -> children.Zygote:
        for _ in range(_TRIES - 1):
            with contextlib.suppress(children.ZygoteSilent):
                return self._start()
        return self._start()

    def _look_after(self) -> None:
        self._retired += [zygote for zygote in self._zygotes if zygote.born >= _CHILDREN or not zygote.alive()]
        self._zygotes = [zygote for zygote in self._zygotes if zygote not in self._retired]
        for zygote in [zygote for zygote in self._retired if not (zygote.alive() and zygote.in_use())]:
            zygote.close()
            self._retired.remove(zygote)

    def is_started(self) -> bool:
        """Tell whether it has a zygote."""
        return bool(self._zygotes)

    def rest(self) -> bool:
        """End its zygotes, unless one has a session or somebody is asking for one. Tell whether that was done."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if any(zygote.in_use() for zygote in self._zygotes):
                return False
            for zygote in self._zygotes:
                zygote.close()
            self._zygotes = []
            return True
        finally:
            self._lock.release()

    def spawn(
        self,
        words: str,
        fds: Sequence[int],
        order: bytes = b"",
        key: str = "",
        learn: Callable[[], Any] = lambda: None,
    ) -> children.Child:
        """Start a child, in another zygote if this one turns out to be dead: nothing has run yet.

        Args:
            words: what it should be.
            fds: its descriptors; the caller closes its own copies.
            order: its first, as a frame.
            key: of what the zygote must have learnt.
            learn: returns what that is.

        Raises:
            SandboxError: they all died.
        """
        for _ in range(_TRIES):
            zygote = self.zygote()
            try:
                child = zygote.spare(key, learn)
            except children.ZygoteDied:
                zygote.lost = True
                continue
            try:
                child.start(words, fds, order)
            except OSError:
                child.close()
                zygote.lost = True
                continue
            return child
        raise SandboxError("the jail dies as soon as it is up", "'sca doctor' looks for the cause")

    def pids(self) -> list[int]:
        """Return the process ids of its nsjails."""
        with self._lock:
            return [zygote.pid() for zygote in [*self._zygotes, *self._retired]]

    def spares(self) -> list[int]:
        with self._lock:
            return [pid for zygote in [*self._zygotes, *self._retired] for pid in zygote.spares()]

    def close(self) -> None:
        with self._lock:
            for zygote in [*self._zygotes, *self._retired]:
                zygote.close()
            self._zygotes, self._retired = [], []


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


def _named_paths(env: EnvSpec) -> list[str]:
    """Return the absolute paths among the options: a world may read what its user names."""
    return [value for value in env.options.values() if Path(value).is_absolute()]


def _plain_error(env: EnvSpec, entry: plugins.Entry, refusal: children.ZygoteRefused) -> ScaError:
    """Return the error that a plugin's failure in the jail stands for."""
    if refusal.module:
        package = f"'sca-cli[{entry.extra}]'" if entry.extra else entry.plugin
        return MissingError(f"'{env.name}' needs the package '{refusal.module}'", f"pip install {package}")
    if unknown := plugins.unknown_option(entry, "environment", refusal.message):
        return unknown
    message = f"environment '{env.name}': {refusal.message}"
    for cls in (MissingError, RecordError, UsageError, PluginError):
        if refusal.type == cls.__name__:
            return cls(message, refusal.hint)
    return PluginError(f"environment '{env.name}': {refusal.type}: {refusal.message}", refusal.hint)
