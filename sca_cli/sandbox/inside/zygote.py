"""The process inside nsjail that forks confined children, each for one program, check or session. Stdlib only.

nsjail starts it as the first process of its PID namespace: when it ends, the kernel kills every child. Its
control socket (SOCK_SEQPACKET) says what to be: "program" preloads what hostile code imports, "world" builds
one environment. After that it answers requests, one at a time:

    fork N      N spare children; the reply carries, for each, the host's end of its job socket and its pidfd
    learn KEY   something that all later children need
    end SERIAL  how a child ended that is dead; children have serial numbers, 0 for the first

A spare waits on its job socket for the frame that says what to be and brings the descriptors for it. The host
kills a child through its pidfd, so no two sessions share a reader, and a host that vanishes leaves no
survivors. Forking some ahead costs less than one at a time: between two forks the zygote writes to little.
"""

import _socket
import ctypes
import gc
import importlib
import itertools
import json
import os
import struct
import sys
import types
from collections.abc import Sequence
from typing import Any, Protocol

from sca_cli.sandbox import wire
from sca_cli.sandbox.inside.confine import Confinement

JOB, LINK, CHECK_LINK = 3, 4, 5
"""Descriptors of a child: orders from the host; tool calls; in a world, the tool calls of the check."""

_PRELOADED = (
    "bisect", "collections", "copy", "datetime", "functools", "heapq", "itertools", "json", "math",
    "operator", "random", "re", "string", "time", "typing",
)  # fmt: skip
"""What most programs import. Each page a module fills makes every fork dearer: the rest is read on demand."""
_libc = ctypes.CDLL(None)
_libc.malloc.restype = _libc.sbrk.restype = ctypes.c_size_t
_libc.malloc.argtypes = (ctypes.c_size_t,)
_libc.sbrk.argtypes = (ctypes.c_ssize_t,)
_libc.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
_SIZES = (*(1 << bits for bits in range(16, 10, -1)), *range(1032, 0, -16))  # of places in a heap
_HUGE_PAGE = 1 << 21
_MADV_NORMAL, _MADV_COLLAPSE = 0, 25
_GATHERED = 128  # children between one gathering and the next: a stray write of ours breaks up a huge page
_ENDS = 1000  # kept of children whose host never asked


class Role(Protocol):
    """What a zygote's children do."""

    def learn(self, key: str, value: Any) -> None:
        """Take in something that all later children need."""

    def needs(self) -> tuple[int, int, int]:
        """Return what its children are left with, as the arguments of `Confinement.prepare`."""

    def live(self, job: _socket.socket, confinement: Confinement) -> None:
        """Run in a fresh fork, which ends when this returns.

        Args:
            job: descriptor JOB; the host's first frame comes with descriptors, see `await_start`.
            confinement: to be applied before the first hostile byte.
        """


def main() -> None:
    """Become what the control socket says, then fork until the host is gone."""
    control = _control(int(sys.argv[1]))
    order = json.loads(control.recv(1 << 20))
    confinement = _without_jail() if order.get("outside") else None
    try:
        role, ready = _role(order)
    except BaseException as error:  # noqa: BLE001  a plugin may fail in any way; the host must be told in words
        send_blob(control, b"failed", _failure(error))
        return
    confinement = confinement or Confinement()
    for fd in (1, 2):
        os.dup2(0, fd)
    send_blob(control, b"ready", ready)
    confinement.prepare(*role.needs())
    confinement.seal()
    _Nursery(control, role, confinement).serve()
    confinement.ended(())


def _without_jail() -> Confinement:
    from sca_cli.sandbox.inside.unjailed import Free

    return Free()


def _control(fd: int) -> _socket.socket:
    """Move the control socket away from the numbers that children use, and occupy those."""
    moved = fd
    while moved <= CHECK_LINK:
        moved = os.dup(moved)
    for number in (JOB, LINK, CHECK_LINK):
        os.dup2(0, number, inheritable=False)
    return _socket.socket(fileno=moved)


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
        for table in found:
            if isinstance(table, dict):
                todo += dict.keys(table)  # nor into a table's keys, if all are texts
        for code in codes:
            todo += (code.co_consts, code.co_names, code.co_name, code.co_qualname, code.co_filename)
            todo += (*code.co_consts, *code.co_names, code.co_linetable, code.co_exceptiontable)
        for item in found:
            if count(id(item)).value < 1 << 30:
                count(id(item)).value = immortal


def _start_afresh() -> int:
    """Use up the free places of the heap, so that what is allocated next lies side by side on few pages.

    A child copies each page on which it is given a place, and places that were freed here are scattered.

    Returns:
        Where what is allocated next begins, which is where a huge page may.
    """
    gc.collect()  # the lists of free objects are cleared
    _libc.malloc_trim(0)
    _libc.sbrk(-_libc.sbrk(0) % _HUGE_PAGE)
    end: int = _libc.sbrk(0)
    for size in _SIZES:
        while _libc.malloc(size) < end:
            pass
    return end


def _take_places() -> list[Any]:
    """Return objects in the places that the interpreter keeps, of those that have ended, for others of their kind."""
    return [([], {}, 0.5 * size, *map(tuple, map(range, range(1, 21)))) for size in range(16)]


def _gather(end: int) -> None:
    """Put the heap below `end` on huge pages, where the kernel can: to copy an entry for each is much of a fork's cost.

    A huge page that somebody writes to becomes small ones again, for him.
    """
    start = end
    while not _libc.madvise(start - _HUGE_PAGE, _HUGE_PAGE, _MADV_NORMAL):  # it is there
        start -= _HUGE_PAGE
    _libc.madvise(start, end - start, _MADV_COLLAPSE)


def _role(order: dict[str, Any]) -> tuple[Role, Any]:
    if order["role"] == "program":
        # `random` would have every child seed itself from the system; all shall see the same numbers.
        register, os.register_at_fork = os.register_at_fork, lambda **_: None
        importlib.import_module("random").seed(order["twin"])
        os.register_at_fork = register
        for name in _PRELOADED:
            importlib.import_module(name)
        if order["twin"]:
            from sca_cli.sandbox.inside import clock

            clock.put_ahead(order["twin"] * clock.STEP_S)
        from sca_cli.sandbox.inside.program import Programs

        sys.path[:] = [entry for entry in sys.path if entry not in order["path"]]
        return Programs(order), {}
    sys.path[:0] = [entry for entry in order["path"] if entry not in sys.path]
    from sca_cli.sandbox.inside.world import Worlds, build

    worlds = Worlds(order, build(order["target"], order["options"]))
    return worlds, worlds.ready()


def _failure(error: BaseException) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "hint": str(getattr(error, "hint", "")),
        "module": str(error.name or "") if isinstance(error, ImportError) else "",
    }


def send_fds(sock: _socket.socket, data: bytes, fds: Sequence[int]) -> int:
    """Send bytes and descriptors as one message. Return how many bytes went."""
    rights = struct.pack(f"{len(fds)}i", *fds)
    return sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive_fds(sock: _socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Receive a message of at most `size` bytes with at most `most` descriptors; empty when the other side is gone."""
    data, ancillary, _, _ = sock.recvmsg(size, _socket.CMSG_SPACE(4 * most))
    fds: list[int] = []
    for _, _, rights in ancillary:
        fds += struct.unpack(f"{len(rights) // 4}i", rights)
    return data, fds


def send_blob(sock: _socket.socket, word: bytes, value: Any) -> None:
    """Send a value of any size: the text travels in a memfd, since a packet holds only about 200 kB."""
    blob = os.memfd_create("blob", os.MFD_CLOEXEC)
    try:
        with open(blob, "wb", closefd=False) as file:
            file.write(json.dumps(value).encode())
        send_fds(sock, word, [blob])
    finally:
        os.close(blob)


def read_blob(fd: int) -> Any:
    """Read what `send_blob` sent and close its descriptor."""
    with open(fd, "rb") as file:
        file.seek(0)
        return json.loads(file.read())


def await_start(job: _socket.socket, numbers: Sequence[int]) -> tuple[list[str], wire.Channel]:
    """Wait until a spare is told what to be.

    Args:
        job: its job socket.
        numbers: where the descriptors that come along are put, in their order.

    Returns:
        The words of the first frame, and the channel that later frames come through.

    Raises:
        EOFError: it is not needed any more.
    """
    channel = wire.Channel(job.fileno())
    data, fds = receive_fds(job, wire.CHUNK, len(numbers))
    channel.buffer += data
    words = channel.receive(wire.CHUNK).decode().split()
    for fd, number in zip(fds, numbers, strict=False):
        os.dup2(fd, number)
    return words, channel


class _Nursery:
    """Forks the children and keeps what became of the dead until the host asks or loses interest."""

    def __init__(self, control: _socket.socket, role: Role, confinement: Confinement) -> None:
        self._control, self._role, self._confinement = control, role, confinement
        self._serials: dict[int, int] = {}  # pid → serial number
        self._ends: dict[int, bytes] = {}  # serial number → how it ended
        self._births = itertools.count()
        self._settled = False

    def serve(self) -> None:
        """Answer requests until the host is gone."""
        while self._answer():  # a function that ends can get new code
            pass

    def _answer(self) -> bool:
        self._reap_while_idle()
        message, fds = receive_fds(self._control, 4096, 1)
        if not message:
            return False
        word, value = message.decode().split()
        if word == "fork":
            self._fork(int(value))
        elif word == "learn":
            self._role.learn(value, read_blob(fds[0]))
            self._settled = False
        else:
            self._reap()
            self._control.send(self._ends.pop(int(value), b"null"))
        return True

    def _reap_while_idle(self) -> None:
        """Where children may leave something behind, look after them until there is a request."""
        if self._confinement.tick_s:
            import select  # not loaded in a jail: each module makes every fork dearer

            while not select.select([self._control], [], [], self._confinement.tick_s)[0]:
                self._reap()

    def _fork(self, count: int) -> None:
        self._reap()
        if not self._settled:
            self._settle()
        fds: list[int] = []
        serials = list(itertools.islice(self._births, count))
        if not serials[0] % _GATHERED:
            _gather(self._end)
        for serial in serials:
            ours, theirs = _socket.socketpair()
            if not (pid := os.fork()):
                self._live(theirs)
            theirs.close()
            fds += [ours.detach(), os.pidfd_open(pid)]
            self._serials[pid] = serial
        send_fds(self._control, b"%d" % serials[0], fds)
        for fd in fds:
            os.close(fd)

    def _settle(self) -> None:
        """Make the forks that follow cheap."""
        self._settled = True
        _share()
        self._end = _start_afresh()
        first = _take_places()
        # What this process writes to it makes anew, apart from all that it only reads.
        self._serials, self._ends = dict(self._serials), dict(self._ends)
        self._births = itertools.count(next(self._births))
        for function in (*vars(_Nursery).values(), receive_fds, send_fds):
            if isinstance(function, types.FunctionType):
                function.__code__ = function.__code__.replace()  # in which the interpreter counts how often it runs
        self._taken = first, _take_places()

    def _live(self, job: _socket.socket) -> None:
        try:
            os.dup2(job.fileno(), JOB)
            os.closerange(JOB + 1, self._confinement.last_fd)
            self._role.live(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, JOB), self._confinement)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        """Reap the dead."""
        while self._serials:
            pid, wait, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            end = b'{"wait":%d,"cpu_s":%f}' % (wait, usage.ru_utime + usage.ru_stime)
            if (serial := self._serials.pop(pid, None)) is not None:  # else an orphan that a child has left us
                self._ends[serial] = end
                self._confinement.ended(self._serials)
        while len(self._ends) > _ENDS:
            del self._ends[next(iter(self._ends))]
