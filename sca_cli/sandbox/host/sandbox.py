"""`Sandbox`: the zygotes of one host process, and the sessions that they fork. Thread-safe.

One zygote forks all programs and checks. Each environment has its own zygote, which forks its worlds. A zygote starts
on first use, is replaced if it ends, and is stopped by `close`. If many cores wait for it, more zygotes of its kind are
started.
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
from sca_cli.sandbox.host.allowed import AllowedEnvs
from sca_cli.sandbox.host.outcomes import Limits
from sca_cli.sandbox.host.session import Session
from sca_cli.sandbox.host.temporary import TemporaryFolders

_PROGRAM_START_S = 30.0
_WORLD_START_S = 120.0  # an environment's constructor may load data; chosen by hand
_ZYGOTES = max(1, len(os.sched_getaffinity(0)) // 4)  # zygotes per pool; one can fork for about four cores
_ENVIRONMENTS = 16  # environments with live zygotes; above this, the least recently used idle ones are stopped
_TRIES = 8  # attempts to start a zygote that ends at once: the machine may kill at random
_CHILDREN = (
    50_000  # children per zygote; it is then replaced, which frees its grown and fragmented memory; chosen by hand
)


class Description(NamedTuple):
    """An environment's description."""

    tools: list[Tool]
    policy: str
    customer: bool
    """The agent serves a customer: a simulated user receives the instruction."""


class Sandbox:
    """Run programs against worlds. Nothing is started before the first use.

    Args:
        limits: the limits of every session.
        allowed: the environments that the user named, if records name the environments to start. None: every
            environment is allowed.
    """

    def __init__(self, limits: Limits | None = None, allowed: AllowedEnvs | None = None) -> None:
        self.limits = limits or Limits()
        self._allowed = allowed
        self._resolved: dict[tuple[str, tuple[tuple[str, str], ...]], EnvSpec] = {}
        self._folders = TemporaryFolders()
        self._lock = threading.Lock()
        self._pools: dict[str, _ZygotePool] = {}  # least recently used first

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, env: EnvSpec) -> Description:
        """Return an environment's tools, its policy text, and whether the agent serves a customer.

        Raises:
            PluginError: the environment cannot be constructed.
            MissingError: no plugin registered it, or a package is absent.
            UsageError: the environment has no such option.
            NotAllowedError: the user must allow it, and has not.
            RecordError: a data file named by an option is not valid.
            SandboxError: the jail does not start.
        """
        ready = self._world(env).zygote().ready
        return Description([Tool(**tool) for tool in ready["tools"]], ready["policy"], ready["customer"])

    def session(self, env: EnvSpec, seed: int, *, twin: int = 0) -> Session:
        """Fork a world and set the state that belongs to `seed`.

        Args:
            env: the environment.
            seed: the seed of its state.
            twin: number of the twin, 0 for none. Programs and checks of another number get another hash seed, another
                random seed and another date, so results that depend on these differ.

        Raises:
            PluginError, MissingError, UsageError, NotAllowedError, RecordError, SandboxError: as for `describe`.
        """
        world = self._world(env)
        return Session(
            self.limits,
            spawn_world=lambda fds: self._spawn_world(world, seed, fds),
            spawn_program=lambda kind, fds, order: self._spawn_program(twin, kind, world, fds, order),
            isolated=world.zygote().ready["isolated"],
            start_s=_WORLD_START_S if world.outside else 0,
        )

    def spares(self) -> list[int]:
        """Return the process ids of spare children. All other children belong to a session."""
        with self._lock:
            pools = list(self._pools.values())
        return [pid for pool in pools for pid in pool.spares()]

    def nsjails(self) -> list[int]:
        """Return the process ids of all nsjails. Each has one child, the zygote, which forks the sessions' children."""
        with self._lock:
            pools = list(self._pools.values())
        return [pid for pool in pools if not pool.outside for pid in pool.pids()]

    def close(self) -> None:
        """Stop all zygotes and their children. Sessions that are still open become invalid."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()
        self._folders.close()

    def _world(self, env: EnvSpec) -> "_ZygotePool":
        """Return the pool of an environment. Every environment starts here, so this is where one is refused."""
        env = self._permitted(env)
        entry = plugins.environment_entry(env)
        key = str(env)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _ZygotePool(
                    f"env{len(self._pools)}", lambda: self._start_world(env, entry), outside=entry.outside
                )
            pool = self._pools[key] = self._pools.pop(key)
            return pool

    def _permitted(self, env: EnvSpec) -> EnvSpec:
        if self._allowed is None:
            return env
        key = env.name, tuple(sorted(env.options.items()))
        if key not in self._resolved:
            self._resolved[key] = self._allowed.resolve(env)
        return self._resolved[key]

    def _stop_unused(self) -> None:
        """Stop the zygotes of the least recently used environments. They start again when needed."""
        with self._lock:
            started = [pool for pool in self._pools.values() if pool.name and pool.is_started()]
        surplus = len(started) + 1 - _ENVIRONMENTS
        for pool in started:
            if surplus > 0:
                surplus -= pool.stop_if_idle()

    def _start_world(self, env: EnvSpec, entry: plugins.Entry) -> children.Zygote:
        self._stop_unused()
        path = _import_path(entry.target)
        order: dict[str, Any] = {"role": "world", "target": entry.target, "options": env.options, "path": path}
        order["outside"] = entry.outside
        mounts = [*path, *_named_paths(env), *map(str, plugins.files_read(env))]
        try:
            with self._folders.new() as folder:
                order["writable"] = jail.writable_place(mounts) if folder and not entry.outside else ""
                return children.Zygote(
                    order | self._limits_order(),
                    mounts,
                    _WORLD_START_S,
                    outside=entry.outside,
                    folder=folder if order["writable"] else (),
                )
        except children.ZygoteFailed as failure:
            raise _error_of_failure(env, entry, failure, self.limits.memory_mb) from None
        except children.ZygoteLate:
            message = f"environment '{env.name}' was not there after {_WORLD_START_S:g} s"
            raise PluginError(message, f"importing or constructing it takes too long, or never ends: {env}") from None

    def _spawn_world(self, world: "_ZygotePool", seed: int, fds: Sequence[int]) -> children.Child:
        """Fork a world. If it is jailed, it gets an empty /tmp of its own."""
        words = f"world {seed}"
        if world.outside:
            return world.spawn(words, fds)
        with self._folders.new() as folder:
            return world.spawn(words, [*fds, *folder])

    def _spawn_program(
        self, twin: int, kind: str, world: "_ZygotePool", fds: Sequence[int], order: bytes
    ) -> children.Child:
        """Fork a `program` or a `check` that has the tools of a world."""
        with self._lock:
            pool = self._pools.setdefault(f"programs@{twin}", _ZygotePool("", lambda: self._start_programs(twin)))
        words = f"{kind} {world.name}"
        return pool.spawn(words, fds, order, key=world.name, learn=lambda: world.zygote().ready["tools"])

    def _start_programs(self, twin: int) -> children.Zygote:
        order = {"role": "program", "path": [jail.PACKAGE_ROOT], "twin": twin}
        hash_seed = twin + 1  # never 0, which `sys.flags` shows: a program must not know which twin it is
        return children.Zygote(order | self._limits_order(), jail.guest_files(), _PROGRAM_START_S, hash_seed=hash_seed)

    def _limits_order(self) -> dict[str, Any]:
        limits = self.limits
        return {
            "memory_mb": limits.memory_mb,
            "cpu_s": limits.cpu_s,
            "reply_bytes": limits.reply_bytes,
            "calls": limits.calls,
        }


class _ZygotePool:
    """A pool of interchangeable zygotes. It starts one on demand, and more if many cores wait.

    A zygote that has ended is replaced. A zygote that had many children is also replaced; it is stopped when its last
    session has ended.
    """

    def __init__(self, name: str, start: Callable[[], children.Zygote], *, outside: bool = False) -> None:
        self.name = name
        self.outside = outside
        self._start = start
        self._lock = threading.Lock()
        self._zygotes: list[children.Zygote] = []
        self._retired: list[children.Zygote] = []
        self._failure: ScaError | None = None

    def zygote(self) -> children.Zygote:
        """Return a live zygote, preferably an idle one; start one if needed."""
        with self._lock:
            self._retire_old()
            idle = [zygote for zygote in self._zygotes if not zygote.busy()]
            if not idle and len(self._zygotes) < _ZYGOTES:
                self._zygotes.append(self._start_one())
                idle = self._zygotes[-1:]
            return (idle or self._zygotes)[0]

    def _start_one(self) -> children.Zygote:
        if self._failure:  # an environment that does not start costs its time-out once, not once for each record
            raise type(self._failure)(self._failure.message, self._failure.hint)
        try:
            for _ in range(_TRIES - 1):
                with contextlib.suppress(children.ZygoteSilent):
                    return self._start()
            return self._start()
        except ScaError as error:
            if not error.ends_run:
                self._failure = error
            raise

    def _retire_old(self) -> None:
        self._retired += [
            zygote for zygote in self._zygotes if zygote.children_taken >= _CHILDREN or not zygote.alive()
        ]
        self._zygotes = [zygote for zygote in self._zygotes if zygote not in self._retired]
        for zygote in [zygote for zygote in self._retired if not (zygote.alive() and zygote.in_use())]:
            zygote.close()
            self._retired.remove(zygote)

    def is_started(self) -> bool:
        """Return whether the pool has a zygote."""
        return bool(self._zygotes)

    def stop_if_idle(self) -> bool:
        """Stop the pool's zygotes if no session uses them and no thread waits for them. Return whether it did."""
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
        """Start a child. If a zygote has ended, use another one: the child has not run anything yet.

        Args:
            words: the child's work, in the format of the zygote's role.
            fds: descriptors for the child; the caller closes its own copies.
            order: the child's first frame.
            key: the key of a value that the zygote must have learnt, or "".
            learn: returns that value.

        Raises:
            SandboxError: every zygote ended.
            PluginError: every zygote of an environment ended.
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
        if self.name:  # the environment's own code may do that, and other environments start
            raise PluginError(f"the environment's process ends right after it starts, or stops: {_TRIES} attempts")
        message = f"the jail ends right after it starts, or stops: {_TRIES} attempts"
        raise SandboxError(message, "run 'sca doctor' to find the cause")

    def pids(self) -> list[int]:
        """Return the process ids of the pool's nsjails."""
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
    """Return the directories from which a world imports: those of `sys.path`, ours, and that of the plugin's package.

    Some editable installs are found by an import hook and not through `sys.path`; this adds their directory.
    """
    path = [str(Path(entry).absolute()) for entry in sys.path if Path(entry).exists()]
    path.append(jail.PACKAGE_ROOT)
    spec = importlib.util.find_spec(target.partition(":")[0].partition(".")[0])
    for place in (spec.submodule_search_locations or [spec.origin or ""]) if spec else ():
        path.append(str(Path(place).parent))
    return list(dict.fromkeys(entry for entry in path if entry != "/"))


def _named_paths(env: EnvSpec) -> list[str]:
    """Return the absolute paths among the options. A world may read the paths that its user names."""
    return [value for value in env.options.values() if Path(value).is_absolute()]


def _error_of_failure(env: EnvSpec, entry: plugins.Entry, failure: children.ZygoteFailed, memory_mb: int) -> ScaError:
    """Return the error to raise when a plugin fails in the jail."""
    if failure.module:
        package = f"'sca-cli[{entry.extra}]'" if entry.extra else entry.plugin
        return MissingError(f"'{env.name}' needs the package '{failure.module}'", f"pip install {package}")
    if unknown := plugins.unknown_option(entry, "environment", failure.message):
        return unknown
    message = f"environment '{env.name}': {failure.message}"
    if failure.type == "MemoryError" or "MemoryError" in failure.message:
        hint = f"the limit of its memory is {memory_mb} MiB: raise --memory-mb, as in --memory-mb {4 * memory_mb}"
        return PluginError(message.rstrip(": "), hint)
    for cls in (MissingError, RecordError, UsageError, PluginError):
        if failure.type == cls.__name__:
            return cls(message, failure.hint)
    return PluginError(f"environment '{env.name}': {failure.type}: {failure.message}", failure.hint)
