"""The process inside nsjail that forks one confined child per program, check or session. Stdlib only.

nsjail starts it as the first process of its PID namespace: when it ends, the kernel kills every child. Its
control socket (SOCK_SEQPACKET) says what to be: "program" preloads what hostile code imports, "world" builds
one environment. Then each message asks for one child and carries its descriptors, the first of which is the
zygote's end of that child's own status socket. When the host writes on it or closes it the child is killed;
when the child has been reaped its end is reported on it. So no two sessions share a reader, and a host that
vanishes leaves no survivors.
"""

import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import types
from typing import Any, Protocol

from sca_cli.sandbox.confine import Confinement

JOB, LINK, CHECK_LINK = 3, 4, 5
"""Descriptors of a child: orders from the host; tool calls; in a world, the tool calls of the check."""

_PRELOADED = (
    "bisect", "collections", "copy", "datetime", "functools", "heapq", "itertools", "json", "math",
    "operator", "random", "re", "string", "time", "typing",
)  # fmt: skip
"""What most programs import. Each page a module fills makes every fork dearer: the rest is read on demand."""


class Role(Protocol):
    """What a zygote's children do."""

    def learn(self, key: str, value: Any) -> None:
        """Take in something that all later children need."""

    def live(self, words: list[str], fds: list[int], confinement: Confinement) -> None:
        """Run in a fresh fork, which ends when this returns.

        Args:
            words: the request, split at blanks.
            fds: its descriptors without the status socket.
            confinement: to be applied before the first hostile byte.
        """


def main() -> None:
    """Become what the control socket says, then fork until the host is gone."""
    control = _control(int(sys.argv[1]))
    order = json.loads(control.recv(1 << 20))
    try:
        role, ready = _role(order)
    except BaseException as error:  # noqa: BLE001  a plugin may fail in any way; the host must be told in words
        send_blob(control, b"failed", _failure(error))
        return
    confinement = _without_jail() if order.get("outside") else Confinement()
    for fd in (1, 2):
        os.dup2(0, fd)
    send_blob(control, b"ready", ready)
    confinement.seal()
    _share()
    ctypes.CDLL(None).malloc_trim(0)
    _serve(control, role, confinement)
    confinement.ended(())


def _without_jail() -> Confinement:
    from sca_cli.sandbox.outside import Free

    return Free()


def _control(fd: int) -> socket.socket:
    """Move the control socket away from the numbers that children use, and occupy those."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, CHECK_LINK + 1)
    for number in (JOB, LINK, CHECK_LINK):
        os.dup2(0, number, inheritable=False)
    return socket.socket(fileno=moved)


def _share() -> None:
    """Keep children from copying the pages they only read: most of what a fork costs is copied pages.

    A collection would write to every object's header, so what exists now is frozen. Each use of an object
    would write to its reference count, so what exists now is made immortal, as None is (PEP 683): nothing
    here is ever freed.
    """
    gc.collect()
    todo: list[Any] = gc.get_objects()  # before `seen` and the like exist, which are to be freed
    gc.freeze()
    count = ctypes.c_uint32.from_address
    immortal, fresh = count(id(None)).value, object()
    if immortal < 1 << 30 or count(id(fresh)).value > 2:
        return  # an interpreter that keeps its counts elsewhere; children copy more, and that is all
    seen: set[int] = set()
    while todo:
        found = [item for item in todo if id(item) not in seen]
        seen.update(map(id, found))
        codes = [item for item in found if isinstance(item, types.CodeType)]  # the collector does not look into these
        todo = gc.get_referents(*found)
        for code in codes:
            todo += (code.co_consts, code.co_names, code.co_name, code.co_qualname, code.co_filename)
            todo += (*code.co_consts, *code.co_names, code.co_linetable, code.co_exceptiontable)
        for item in found:
            if count(id(item)).value < 1 << 30:
                count(id(item)).value = immortal


def _role(order: dict[str, Any]) -> tuple[Role, Any]:
    if order["role"] == "program":
        # `random` would have every child seed itself from the system; all shall see the same numbers.
        register, os.register_at_fork = os.register_at_fork, lambda **_: None
        importlib.import_module("random").seed(0)
        os.register_at_fork = register
        for name in _PRELOADED:
            importlib.import_module(name)
        from sca_cli.sandbox.program import Programs

        sys.path[:] = [entry for entry in sys.path if entry not in order["path"]]
        return Programs(order), {}
    sys.path[:0] = [entry for entry in order["path"] if entry not in sys.path]
    from sca_cli.sandbox.server import Worlds, build

    worlds = Worlds(order, build(order["target"], order["options"]))
    return worlds, worlds.ready()


def _failure(error: BaseException) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "hint": str(getattr(error, "hint", "")),
        "module": str(error.name or "") if isinstance(error, ImportError) else "",
    }


def send_blob(sock: socket.socket, word: bytes, value: Any) -> None:
    """Send a value of any size: the text travels in a memfd, since a packet holds only about 200 kB."""
    blob = os.memfd_create("blob", os.MFD_CLOEXEC)
    try:
        with open(blob, "wb", closefd=False) as file:
            file.write(json.dumps(value).encode())
        socket.send_fds(sock, [word], [blob])
    finally:
        os.close(blob)


def read_blob(fd: int) -> Any:
    """Read what `send_blob` sent and close its descriptor."""
    with open(fd, "rb") as file:
        file.seek(0)
        return json.loads(file.read())


def _serve(control: socket.socket, role: Role, confinement: Confinement) -> None:
    children = _Children(confinement)
    children.poller.register(control, select.POLLIN)
    while True:
        ready = [fd for fd, _ in children.poller.poll()]
        for fd in ready:
            children.handle(fd)
        # Last, because a new child may be given a descriptor number that an event of this round still speaks
        # of.
        if control.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(control, 4096, 8)
        if not message:
            return
        words = message.decode().split()
        if words[0] == "learn":
            role.learn(words[1], read_blob(fds[0]))
            _share()
            continue
        pid = os.fork()
        if not pid:
            try:
                role.live(words, fds[1:], confinement)
            finally:
                os._exit(1)
        children.adopt(pid, fds[0])
        for fd in fds[1:]:
            os.close(fd)


class _Children:
    """The living children: their status sockets and pidfds, watched by one poller."""

    def __init__(self, confinement: Confinement) -> None:
        self.poller = select.poll()
        self._confinement = confinement
        self._pids: dict[int, int] = {}  # status socket, until it has spoken → pid
        self._ends: dict[int, tuple[int, int]] = {}  # pidfd → pid, status socket

    def adopt(self, pid: int, status: int) -> None:
        end = os.pidfd_open(pid)
        self._pids[status] = pid
        self._ends[end] = (pid, status)
        self.poller.register(status, select.POLLIN)
        self.poller.register(end, select.POLLIN)

    def handle(self, fd: int) -> None:
        """Kill the child whose host spoke or left; report the child that has ended."""
        if fd in self._pids:
            os.kill(self._pids.pop(fd), signal.SIGKILL)
            self.poller.unregister(fd)
        elif fd in self._ends:
            self._reap(fd, *self._ends.pop(fd))

    def _reap(self, end: int, pid: int, status: int) -> None:
        _, wait, usage = os.wait4(pid, 0)
        self._confinement.ended(other for other, _ in self._ends.values())
        if self._pids.pop(status, None):
            self.poller.unregister(status)
        self.poller.unregister(end)
        report = {"wait": wait, "cpu_s": usage.ru_utime + usage.ru_stime, "rss_mb": usage.ru_maxrss / 1024}
        with contextlib.suppress(OSError):  # the host need not be listening any more
            os.write(status, json.dumps(report).encode())
        os.close(status)
        os.close(end)
