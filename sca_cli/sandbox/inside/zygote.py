"""The process inside nsjail that forks confined children, one per program, check or session. Standard library only.

nsjail starts it as the first process of its PID namespace, so the kernel kills every child when it ends. The first
message on its control socket (SOCK_SEQPACKET) gives its role: "program" preloads the modules that hostile code imports,
"world" constructs one environment. After that it answers one request at a time:

    fork N      fork N spare children; the reply has, per child, the host's end of its job socket and its pidfd
    learn KEY   learn a value that all later children need
    end SERIAL  report how a dead child ended; children have serial numbers, from 0

A spare child waits on its job socket. One frame gives it its work and the descriptors for it. The host kills a child
through its pidfd. So sessions share no socket, and no child survives the host. Forking several children at once is
cheaper than one at a time, because the zygote writes to few memory pages between two forks.
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
from sca_cli.sandbox.inside.confine import Confinement, can_mount

JOB, LINK, CHECK_LINK, FOLDER = 3, 4, 5, 6
"""Descriptors of a child: the host's orders; its tool calls; in a world also the check's calls and its own /tmp."""

_PRELOADED = (
    "bisect", "collections", "copy", "datetime", "functools", "heapq", "itertools", "json", "math",
    "operator", "random", "re", "string", "time", "typing",
)  # fmt: skip
"""Modules that most programs import. Each page that a module fills slows down every fork, so others load on demand."""
_libc = ctypes.CDLL(None)
_libc.malloc.restype = _libc.sbrk.restype = ctypes.c_size_t
_libc.malloc.argtypes = (ctypes.c_size_t,)
_libc.sbrk.argtypes = (ctypes.c_ssize_t,)
_libc.madvise.argtypes = (ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
_SIZES = (*(1 << bits for bits in range(16, 10, -1)), *range(1032, 0, -16))  # sizes of heap blocks in bytes
_HUGE_PAGE = 1 << 21
_MADV_NORMAL, _MADV_COLLAPSE = 0, 25
_GATHERED = (
    128  # children between two calls of `_gather`: each write of the zygote breaks up a huge page; chosen by hand
)
_ENDS = 1000  # reports to keep of children whose host has not asked; chosen by hand


class Role(Protocol):
    """The work of a zygote's children."""

    def learn(self, key: str, value: Any) -> None:
        """Learn a value that all later children need."""

    def needs(self) -> tuple[int, int, int]:
        """Return the limits of its children, as the arguments of `Confinement.prepare`."""

    def live(self, job: _socket.socket, confinement: Confinement) -> None:
        """Run in a fresh fork. The fork ends when this returns.

        Args:
            job: descriptor JOB; the host's first frame brings further descriptors, see `await_start`.
            confinement: to apply before the first hostile byte.
        """


def main() -> None:
    """Take the role that the control socket names, then fork until the host closes the socket."""
    control = _control(int(sys.argv[1]))
    data, folder = receive_fds(control, 1 << 20, 1)
    order = json.loads(data)
    is_world = order["role"] == "world"
    if folder and not can_mount(folder[0], order["writable"]):
        order["writable"] = ""
    for fd in folder:
        os.close(fd)
    writes = bool(order.get("writable"))
    confinement = _without_jail() if order.get("outside") else Confinement(world=is_world, writes=writes)
    blob = os.memfd_create("blob", os.MFD_CLOEXEC)  # no file can be made later
    if is_world:
        confinement.seal(order["memory_mb"])  # the environment's own code may have come with the data
    try:
        role, ready = _role(order)
    except BaseException as error:  # noqa: BLE001  a plugin may raise anything; the host needs the message
        send_blob(control, b"failed", _failure(error), blob)
        return
    for fd in (1, 2):
        os.dup2(0, fd)
    send_blob(control, b"ready", ready, blob)
    os.close(blob)
    confinement.prepare(*role.needs())
    if not is_world:
        confinement.seal()
    _Forker(control, role, confinement).serve()
    confinement.ended(())


def _without_jail() -> Confinement:
    from sca_cli.sandbox.inside.unjailed import Unjailed

    return Unjailed()


def _control(fd: int) -> _socket.socket:
    """Move the control socket away from the descriptor numbers of children, and occupy those numbers."""
    moved = fd
    while moved <= CHECK_LINK:
        moved = os.dup(moved)
    for number in (JOB, LINK, CHECK_LINK):
        os.dup2(0, number, inheritable=False)
    return _socket.socket(fileno=moved)


def _share() -> None:
    """Prevent children from copying pages that they only read. Copied pages are most of a fork's cost.

    A garbage collection writes to every object's header, so all current objects are frozen. Each use of an object
    writes to its reference count, so all current objects are made immortal, as None is (PEP 683). They are never freed.
    """
    gc.collect()
    todo: list[Any] = gc.get_objects()  # before the containers below exist, which must be freed
    gc.freeze()
    count = ctypes.c_uint32.from_address
    immortal, fresh = count(id(None)).value, object()
    if immortal < 1 << 30 or count(id(fresh)).value > 2:
        return  # this interpreter stores reference counts elsewhere: children only copy more pages
    visited_ids: set[int] = set()
    while todo:
        fresh_items = [item for item in todo if id(item) not in visited_ids]
        visited_ids.update(map(id, fresh_items))
        codes = [
            item for item in fresh_items if isinstance(item, types.CodeType)
        ]  # the collector does not traverse these
        todo = gc.get_referents(*fresh_items)
        for table in fresh_items:
            if isinstance(table, dict):
                todo += dict.keys(table)  # nor the keys of a dict, if all are strings
        for code in codes:
            todo += (code.co_consts, code.co_names, code.co_name, code.co_qualname, code.co_filename)
            todo += (*code.co_consts, *code.co_names, code.co_linetable, code.co_exceptiontable)
        for item in fresh_items:
            if count(id(item)).value < 1 << 30:
                count(id(item)).value = immortal


def _start_afresh() -> int:
    """Fill the free blocks of the heap, so that later allocations are contiguous and use few pages.

    A child copies each page on which it allocates a block, and blocks that were freed earlier are scattered over many
    pages.

    Returns:
        The address at which later allocations start; it is a multiple of the huge-page size.
    """
    gc.collect()  # this clears the interpreter's free lists
    _libc.malloc_trim(0)
    _libc.sbrk(-_libc.sbrk(0) % _HUGE_PAGE)
    end: int = _libc.sbrk(0)
    for size in _SIZES:
        while _libc.malloc(size) < end:
            pass
    return end


def _take_places() -> list[Any]:
    """Return objects of the types that have free lists, so that their blocks are reused when they are freed."""
    return [([], {}, 0.5 * size, *map(tuple, map(range, range(1, 21)))) for size in range(16)]


def _gather(end: int) -> None:
    """Put the heap below `end` on huge pages, if the kernel can. A fork then copies fewer page-table entries.

    If a process writes to a huge page, the kernel splits it into small pages for that process.
    """
    start = end
    while not _libc.madvise(start - _HUGE_PAGE, _HUGE_PAGE, _MADV_NORMAL):  # the address is mapped
        start -= _HUGE_PAGE
    _libc.madvise(start, end - start, _MADV_COLLAPSE)


def _role(order: dict[str, Any]) -> tuple[Role, Any]:
    if order["role"] == "program":
        # `random` would seed itself anew in each child. All children must get the same numbers.
        register, os.register_at_fork = os.register_at_fork, lambda **_: None
        importlib.import_module("random").seed(order["twin"])
        os.register_at_fork = register
        for name in _PRELOADED:
            importlib.import_module(name)
        if order["twin"]:
            from sca_cli.sandbox.inside import clock

            clock.put_ahead(order["twin"] * clock.STEP_S)
        from sca_cli.sandbox.inside.program import ProgramRole

        sys.path[:] = [entry for entry in sys.path if entry not in order["path"]]
        os.environ.clear()  # PYTHONHASHSEED would show a program which twin it is
        return ProgramRole(order), {}
    sys.path[:] = [*order["path"], *(entry for entry in sys.path if entry not in order["path"])]
    from sca_cli.sandbox.inside.world import WorldRole, build

    role = WorldRole(order, build(order["target"], order["options"]))
    return role, role.ready()


def _failure(error: BaseException) -> dict[str, str]:
    return {
        "type": type(error).__name__,
        "message": str(error),
        "hint": str(getattr(error, "hint", "")),
        "module": str(error.name or "") if isinstance(error, ImportError) else "",
    }


def send_fds(sock: _socket.socket, data: bytes, fds: Sequence[int]) -> int:
    """Send bytes and descriptors as one message. Return the number of bytes sent."""
    rights = struct.pack(f"{len(fds)}i", *fds)
    return sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive_fds(sock: _socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """Receive one message. It is empty if the other side is closed.

    Args:
        sock: the socket.
        size: the most bytes to receive.
        most: the most descriptors to receive.
    """
    data, ancillary, _, _ = sock.recvmsg(size, _socket.CMSG_SPACE(4 * most))
    fds: list[int] = []
    for _, _, rights in ancillary:
        fds += struct.unpack(f"{len(rights) // 4}i", rights)
    return data, fds


def send_blob(sock: _socket.socket, word: bytes, value: Any, blob: int) -> None:
    """Send a value of any size. Its text is in a memfd, `blob`, because a packet can hold only about 200 kB."""
    with open(blob, "wb", closefd=False) as file:
        file.write(json.dumps(value).encode())
    send_fds(sock, word, [blob])


def read_blob(fd: int, limit: int = -1) -> Any:
    """Read a value that `send_blob` sent, and close its descriptor.

    Args:
        fd: the descriptor.
        limit: the most bytes to read; -1 for a sender that is trusted.

    Raises:
        OSError: the descriptor is not a file.
        ValueError: the value is not JSON, or too long.
    """
    with open(fd, "rb") as file:
        file.seek(0)
        return json.loads(file.read(limit))


def await_start(job: _socket.socket, numbers: Sequence[int]) -> tuple[list[str], wire.Channel]:
    """Wait until the host gives this spare child its work.

    Args:
        job: the child's job socket.
        numbers: descriptor numbers for the descriptors that arrive, in the same order.

    Returns:
        The words of the first frame, and the channel of later frames.

    Raises:
        EOFError: the child is no longer needed.
    """
    channel = wire.Channel(job.fileno())
    data, fds = receive_fds(job, wire.CHUNK, len(numbers))
    channel.buffer += data
    words = channel.receive(wire.CHUNK).decode().split()
    for fd, number in zip(fds, numbers, strict=False):
        os.dup2(fd, number)
    return words, channel


class _Forker:
    """Fork the children, and store how dead ones ended until the host asks or too many are stored."""

    def __init__(self, control: _socket.socket, role: Role, confinement: Confinement) -> None:
        self._control, self._role, self._confinement = control, role, confinement
        self._serials: dict[int, int] = {}  # pid → serial number
        self._ends: dict[int, bytes] = {}  # serial number → how the child ended
        self._serial_numbers = itertools.count()
        self._memory_prepared = False

    def serve(self) -> None:
        """Answer requests until the host closes the control socket."""
        while self._answer():  # new code of a function takes effect at its next call
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
            self._memory_prepared = False
        else:
            self._reap()
            self._control.send(self._ends.pop(int(value), b"null"))
        return True

    def _reap_while_idle(self) -> None:
        """If children may leave processes behind, kill and reap these until a request arrives."""
        if self._confinement.tick_s:
            import select  # not loaded in a jail: each module makes every fork slower

            while not select.select([self._control], [], [], self._confinement.tick_s)[0]:
                self._reap()

    def _fork(self, count: int) -> None:
        self._reap()
        if not self._memory_prepared:
            self._prepare_memory()
        fds: list[int] = []
        serials = list(itertools.islice(self._serial_numbers, count))
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

    def _prepare_memory(self) -> None:
        """Prepare the memory so that the following forks are cheap."""
        self._memory_prepared = True
        _share()
        self._end = _start_afresh()
        first_allocated = _take_places()
        # Copy the objects that this process writes to, so that they are on other pages than those it only reads.
        self._serials, self._ends = dict(self._serials), dict(self._ends)
        self._serial_numbers = itertools.count(next(self._serial_numbers))
        for function in (*vars(_Forker).values(), receive_fds, send_fds):
            if isinstance(function, types.FunctionType):
                function.__code__ = function.__code__.replace()  # the interpreter counts the runs in the code object
        self._allocated = first_allocated, _take_places()

    def _live(self, job: _socket.socket) -> None:
        try:
            os.dup2(job.fileno(), JOB)
            os.closerange(JOB + 1, self._confinement.last_fd)
            self._role.live(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, JOB), self._confinement)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        """Reap the dead children and store how they ended."""
        while self._serials:
            pid, wait, usage = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            end = b'{"wait":%d,"cpu_s":%f}' % (wait, usage.ru_utime + usage.ru_stime)
            if (serial := self._serials.pop(pid, None)) is not None:  # otherwise it is an orphan of a child
                self._ends[serial] = end
                self._confinement.ended(self._serials)
        while len(self._ends) > _ENDS:
            del self._ends[next(iter(self._ends))]
