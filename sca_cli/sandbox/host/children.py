"""The host's side of zygotes and of the children that they fork.

A zygote is ready when its READY message arrives on the control socket. Exit codes are not used for this.
"""

import contextlib
import errno
import os
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from sca_cli.errors import SandboxError, UsageError
from sca_cli.sandbox import wire
from sca_cli.sandbox.host import jail
from sca_cli.sandbox.inside.zygote import read_blob, receive_fds, send_blob, send_fds

_FORK_BATCH = 8  # spare children per fork request; chosen by hand
_BLOB_BYTES = 16 << 20  # of a description, which a hostile world may write
_NO_MEMORY = r"bad_alloc|[Cc]annot allocate memory|MemoryError"
_REPLY_S = 30.0  # a zygote that is not stopped forks or reports much sooner; chosen by hand
_KILL_S = 10.0  # a killed child ends much sooner; if it does not, its zygote has ended


class End(msgspec.Struct):
    """How a child ended."""

    wait: int
    """Status in the format of `os.waitpid`."""
    cpu_s: float

    def signal(self) -> int:
        """Return the number of the signal that ended the child, or 0."""
        return os.WTERMSIG(self.wait) if os.WIFSIGNALED(self.wait) else 0


_end_decoder = msgspec.json.Decoder(End)


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of `sca_cli.interfaces.Tool`, with types that can be checked."""

    name: str
    description: str
    parameters: dict[str, Any]
    signature: str
    returns: str
    writes: bool
    result: dict[str, Any]
    ends: bool


class _Ready(msgspec.Struct):
    """The description of a world, see `WorldRole.ready`."""

    tools: list[_Tool]
    policy: str
    customer: bool
    isolated: bool


class ZygoteDied(Exception):
    """The zygote has ended or does not reply, and its children are lost. How the children ended is unknown."""


class Child:
    """A forked child, with its job socket and a pidfd to kill it."""

    def __init__(self, zygote: "Zygote", serial: int, job: int, pidfd: int) -> None:
        self.job = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=job)
        self._zygote, self._serial, self._pidfd = zygote, serial, pidfd

    def start(self, words: str, fds: Sequence[int], order: bytes = b"") -> None:
        """Give a spare child its work.

        Args:
            words: the work, in the format of the zygote's role.
            fds: descriptors for the child; the caller closes its own copies.
            order: further frames for the child.

        Raises:
            OSError: the child has ended, or is stopped and does not read its work.
        """
        self.job.settimeout(_REPLY_S)
        data = wire.frame(words.encode()) + order
        sent = send_fds(self.job, data, fds)
        if sent < len(data):
            self.job.sendall(data[sent:])

    def kill(self) -> None:
        """Kill the child, unless it has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def has_ended(self, wait_s: float) -> bool:
        """Return whether the child has ended; wait some seconds for its end."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(wait_s * 1000))

    def wait(self) -> None:
        """Wait until the child is dead. Call this only for a child that was killed or is about to end.

        Raises:
            ZygoteDied: the child did not end in time, so its zygote must have ended.
        """
        if not self.has_ended(_KILL_S):
            self._zygote.lost = True
            raise ZygoteDied

    def pid(self) -> int:
        """Return the child's process id in the PID namespace of this process."""
        return _pid_of(self._pidfd)

    def end(self) -> End:
        """Return how a dead child ended.

        Raises:
            ZygoteDied: it is unknown.
        """
        return self._zygote.end(self._serial)

    def close(self) -> None:
        """Kill the child and release its socket and pidfd. May be called twice."""
        self.kill()
        self.job.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            self._zygote.released()


class Zygote:
    """A zygote (pre-forked process) in nsjail.

    Args:
        order: the zygote's role and settings, see `zygote.main`.
        mounts: paths it may read, in addition to the interpreter and the libraries.
        timeout_s: seconds until READY must arrive.
        hash_seed: PYTHONHASHSEED of its interpreter.
        outside: run it as a plain process, without nsjail.
        folder: descriptor of a file system. The zygote tests with it whether its sessions can have file systems of
            their own; empty: they cannot.

    Raises:
        SandboxError: nsjail is missing or does not start; the hint says how to solve it.
        ZygoteLate: READY did not arrive in time.
        ZygoteSilent: the zygote ended without any message.
        ZygoteFailed: the zygote started but could not take its role.
        UsageError: the options of the environment are too long.
    """

    def __init__(
        self,
        order: dict[str, Any],
        mounts: Iterable[str],
        timeout_s: float,
        *,
        hash_seed: int = 0,
        outside: bool = False,
        folder: Sequence[int] = (),
    ) -> None:
        self.lost = False
        """One of its children ended without a report, so the zygote cannot be used."""
        self.children_taken = 0
        """Number of children that sessions have used."""
        self.ready: Any = None
        """The value that arrived with READY."""
        self._is_world = order["role"] == "world"
        self._pid = 0  # of the zygote itself, not of its nsjail
        self._living = 0  # children not closed yet, including spares
        self._learnt_keys: set[str] = set()
        self._spares: list[Child] = []
        self._lock = threading.Lock()
        self._count = threading.Lock()  # protects `_living`
        if not outside:
            jail.fail_if_limited(order["memory_mb"])
        self._control, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = os.memfd_create("nsjail-log")
        try:
            with zygote_end:
                self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                end = zygote_end.fileno()
                self._process, self._tie = (
                    jail.start_plain(end, log)
                    if outside
                    else jail.start(end, log, mounts, hash_seed, order.get("writable", ""))
                )
            self.ready = self._await_ready(order, log, timeout_s, folder, outside=outside)
            if not outside:
                jail.prefer_at_out_of_memory(self._process.pid)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(log)

    def _await_ready(
        self, order: dict[str, Any], log: int, timeout_s: float, folder: Sequence[int], *, outside: bool
    ) -> Any:
        self._control.settimeout(timeout_s)
        word, fds = b"", list[int]()
        data = msgspec.json.encode(order)
        try:
            send_fds(self._control, data, folder)
            word, fds, self._pid = _receive_from(self._control)
        except TimeoutError:
            raise ZygoteLate(
                *jail.start_error(f"the jail was not up after {timeout_s:g} s", jail.messages(log))
            ) from None
        except ConnectionError:
            pass
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            raise UsageError(f"the options of the environment are too long: {len(data)} bytes") from None
        self._control.settimeout(_REPLY_S)  # a stopped zygote never replies; it then counts as lost
        self._control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
        if not word:
            messages = jail.messages(log)
            if self._is_world and (line := next((line for line in messages if re.search(_NO_MEMORY, line)), "")):
                raise ZygoteFailed("MemoryError", f"its import ended: {line}", "", "")
            raise (SandboxError if messages else ZygoteSilent)(*jail.start_error("the jail does not start", messages))
        try:
            value = read_blob(fds[0], _BLOB_BYTES)
            if word == b"failed":
                raise ZygoteFailed(**msgspec.convert(value, dict[str, str]))
            if self._is_world:
                msgspec.convert(value, _Ready)
        except (OSError, ValueError, TypeError, IndexError, RecursionError) as error:
            raise ZygoteFailed("PluginError", f"its description cannot be read: {error}", "", "") from None
        if self._is_world and not outside:
            jail.lift_limits(self._pid)
        return value

    def spare(self, key: str, learn: Callable[[], Any]) -> Child:
        """Return a spare child. Thread-safe.

        Args:
            key: the key of a value that the child needs, or "".
            learn: returns that value; called if the zygote does not have it yet.

        Raises:
            ZygoteDied: the zygote has ended, or does not reply.
        """
        with self._lock:
            if key and key not in self._learnt_keys:
                self._teach(key, learn())
            if not self._spares:
                self._fork()
            self.children_taken += 1
            # At random, so that a child cannot learn anything from the fork order.
            return self._spares.pop(secrets.randbelow(len(self._spares)))

    def released(self) -> None:
        """Note that the host has closed one child."""
        with self._count:
            self._living -= 1

    def in_use(self) -> bool:
        """Return whether a session uses one of its children."""
        return self._living > len(self._spares)

    def busy(self) -> bool:
        """Return whether a thread is waiting for this zygote's reply."""
        return self._lock.locked()

    def spares(self) -> list[int]:
        """Return the process ids of the spare children."""
        with self._lock:
            return [child.pid() for child in self._spares]

    def _teach(self, key: str, value: Any) -> None:
        self._drop_spares()  # they were forked before the zygote learnt the value
        blob = os.memfd_create("blob", os.MFD_CLOEXEC)
        try:
            send_blob(self._control, b"learn " + key.encode(), value, blob)
        except OSError:
            raise ZygoteDied from None
        finally:
            os.close(blob)
        self._learnt_keys.add(key)

    def _drop_spares(self) -> None:
        for child in self._spares:
            child.close()
        self._spares.clear()

    def _fork(self) -> None:
        try:
            self._control.send(b"fork %d" % _FORK_BATCH)
            first, fds = receive_fds(self._control, 64, 2 * _FORK_BATCH)
        except OSError:
            first, fds = b"", []
        jobs, pidfds = fds[::2], fds[1::2]
        if not (first.isdigit() and len(jobs) == len(pidfds) and all(map(self._is_own, pidfds))):
            for fd in fds:
                os.close(fd)
            raise ZygoteDied
        self._spares = [
            Child(self, int(first) + n, job, pidfd) for n, (job, pidfd) in enumerate(zip(jobs, pidfds, strict=True))
        ]
        with self._count:
            self._living += len(self._spares)

    def _is_own(self, pidfd: int) -> bool:
        """Return whether a descriptor is the pidfd of a child of this zygote.

        The code of a world may be hostile, and the host kills by this descriptor: it must be that of no other process.
        """
        if not self._is_world:
            return True
        if (pid := _pid_of(pidfd)) <= 0:
            return False
        try:
            parent = int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1])
        except OSError:
            return False
        return parent == self._pid and _pid_of(pidfd) == pid  # the number was not used again in between

    def end(self, serial: int) -> End:
        """Return how a dead child ended, by its serial number. Thread-safe.

        Raises:
            ZygoteDied: it is unknown.
        """
        with self._lock:
            try:
                self._control.send(b"end %d" % serial)
                report = self._control.recv(4096)
            except OSError:
                report = b""
        if report in (b"", b"null"):
            self.lost = True
            raise ZygoteDied
        return _end_decoder.decode(report)

    def pid(self) -> int:
        """Return the process id of its nsjail."""
        return self._process.pid

    def alive(self) -> bool:
        """Return whether the zygote can still fork."""
        return not self.lost and self._process.poll() is None

    def close(self) -> None:
        """End the zygote, all its children and nsjail."""
        self._control.close()
        self._drop_spares()
        process = getattr(self, "_process", None)
        if process is None:
            return
        if self.ready is None:
            process.terminate()  # it may not read its control socket; SIGTERM makes nsjail kill its processes
        try:
            process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            # When nsjail is killed, its jailed processes are killed too.
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(self._tie)


def _receive_from(sock: socket.socket) -> tuple[bytes, list[int], int]:
    """Receive a word, at most one descriptor, and the process id of the sender, which the kernel guarantees."""
    credentials = struct.Struct("3i")  # struct ucred: pid, uid, gid
    word, ancillary, _, _ = sock.recvmsg(64, socket.CMSG_SPACE(4) + socket.CMSG_SPACE(credentials.size))
    by_kind = {kind: data for _, kind, data in ancillary}
    rights, sender = by_kind.get(socket.SCM_RIGHTS, b""), by_kind.get(socket.SCM_CREDENTIALS, b"")
    fds = [fd for (fd,) in struct.iter_unpack("i", rights[: len(rights) // 4 * 4])]
    return word, fds, credentials.unpack(sender)[0] if sender else 0


def _pid_of(pidfd: int) -> int:
    """Return the process id of a pidfd as this process sees it; -1 if it has ended, 0 if it is no pidfd."""
    text = _read(f"/proc/self/fdinfo/{pidfd}")
    return int(text.partition(b"\nPid:")[2].split()[0]) if b"\nPid:" in text else 0


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123  a third of the time of `Path.read_bytes`
        return file.read()


class ZygoteLate(SandboxError):
    """READY did not arrive in time."""


class ZygoteSilent(SandboxError):
    """The zygote ended, and neither it nor nsjail wrote a message. It was killed, or it cannot run on this machine."""


class ZygoteFailed(Exception):
    """The zygote started but could not take its role.

    Args:
        type: class name of its exception.
        message: text of the exception.
        hint: hint of the exception, or "".
        module: name of a module that could not be imported, or "".
    """

    def __init__(self, type: str, message: str, hint: str, module: str) -> None:  # noqa: A002  the name on the wire
        super().__init__(message)
        self.type, self.message, self.hint, self.module = type, message, hint, module
