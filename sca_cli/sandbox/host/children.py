"""Zygotes, and the children that they are asked for: the host's side.

A zygote is up when its READY message arrives on the control socket, never because of an exit code.
"""

import contextlib
import os
import secrets
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sca_cli.errors import SandboxError
from sca_cli.sandbox import wire
from sca_cli.sandbox.host import jail
from sca_cli.sandbox.inside.zygote import read_blob, receive_fds, send_blob, send_fds

_LITTER = 8  # spare children forked at once
_KILL_S = 10.0  # a killed child is gone long before; longer means that the zygote is


class End(msgspec.Struct):
    """How a child ended."""

    wait: int
    """Status as `os.waitpid` gives it."""
    cpu_s: float

    def signal(self) -> int:
        """Return the signal that ended it, or 0."""
        return os.WTERMSIG(self.wait) if os.WIFSIGNALED(self.wait) else 0


_end_decoder = msgspec.json.Decoder(End)


class ZygoteDied(Exception):
    """The zygote is gone, and all its children with it; nobody can say how they would have ended."""


class Child:
    """A forked child: its job socket, and its pidfd to kill it by."""

    def __init__(self, zygote: "Zygote", serial: int, job: int, pidfd: int) -> None:
        self.job = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=job)
        self._zygote, self._serial, self._pidfd = zygote, serial, pidfd

    def start(self, words: str, fds: Sequence[int], order: bytes = b"") -> None:
        """Tell a spare what to be.

        Args:
            words: as its role understands them.
            fds: its descriptors; the caller closes its own copies.
            order: frames that follow.

        Raises:
            OSError: it is gone.
        """
        data = wire.frame(words.encode()) + order
        sent = send_fds(self.job, data, fds)
        if sent < len(data):
            self.job.sendall(data[sent:])

    def kill(self) -> None:
        """Kill the child, unless it has ended."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until a child that was killed or is about to end is dead.

        Raises:
            ZygoteDied: it does not die.
        """
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if not poller.poll(_KILL_S * 1000):
            self._zygote.lost = True
            raise ZygoteDied

    def pid(self) -> int:
        """Return its process id as this process sees it."""
        text = Path(f"/proc/self/fdinfo/{self._pidfd}").read_text()
        return int(text.partition("Pid:")[2].split()[0])

    def end(self) -> End:
        """Return how a dead child ended.

        Raises:
            ZygoteDied: nobody knows.
        """
        return self._zygote.end(self._serial)

    def close(self) -> None:
        """Kill the child and give back what the host holds of it. May be called twice."""
        self.kill()
        self.job.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
            self._zygote.released()


class Zygote:
    """A zygote under nsjail.

    Args:
        order: what it should become, see `zygote.main`.
        mounts: paths it may read besides the interpreter and the libraries.
        timeout_s: how long it may take to say READY.
        hash_seed: of its interpreter.
        outside: run it as a plain process, without nsjail.

    Raises:
        SandboxError: nsjail is missing or does not start; the hint holds the cure.
        ZygoteLate: it did not say READY in time.
        ZygoteSilent: it ended before it said anything.
        ZygoteRefused: it is up, but cannot become what it should.
    """

    def __init__(
        self,
        order: dict[str, Any],
        mounts: Iterable[str],
        timeout_s: float,
        *,
        hash_seed: int = 0,
        outside: bool = False,
    ) -> None:
        self.lost = False
        """A child of it ended without a report."""
        self.born = 0
        """How many children were taken."""
        self.ready: Any = None
        """What it said with READY."""
        self._living = 0  # children that are not closed, spares among them
        self._known: set[str] = set()
        self._spares: list[Child] = []
        self._lock = threading.Lock()
        self._count = threading.Lock()  # of `_living`
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log = os.memfd_create("nsjail-log")
        try:
            with theirs:
                end = theirs.fileno()
                tied = jail.start_plain(end, log) if outside else jail.start(end, log, mounts, hash_seed)
                self._process, self._tie = tied
            self.ready = self._await_ready(order, log, timeout_s)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(log)

    def _await_ready(self, order: dict[str, Any], log: int, timeout_s: float) -> Any:
        self._control.settimeout(timeout_s)
        word, fds = b"", list[int]()
        try:
            self._control.send(msgspec.json.encode(order))
            word, fds = receive_fds(self._control, 64, 1)
        except TimeoutError:
            raise ZygoteLate(*jail.start_error(f"the jail was not up after {timeout_s:g} s", jail.said(log))) from None
        except ConnectionError:
            pass
        self._control.settimeout(None)
        if not word:
            said = jail.said(log)
            raise (SandboxError if said else ZygoteSilent)(*jail.start_error("the jail does not start", said))
        value = read_blob(fds[0])
        if word == b"failed":
            raise ZygoteRefused(**value)
        return value

    def spare(self, key: str, learn: Callable[[], Any]) -> Child:
        """Take a child that waits to be started. Thread-safe.

        Args:
            key: of what it must have learnt, or "".
            learn: returns what the zygote learns under this key if it has not yet.

        Raises:
            ZygoteDied: it is gone.
        """
        with self._lock:
            if key and key not in self._known:
                self._teach(key, learn())
            if not self._spares:
                self._fork()
            self.born += 1
            return self._spares.pop(secrets.randbelow(len(self._spares)))  # its place in the litter tells it nothing

    def released(self) -> None:
        """Count a child that the host has closed."""
        with self._count:
            self._living -= 1

    def in_use(self) -> bool:
        """Tell whether a session has a child of it."""
        return self._living > len(self._spares)

    def busy(self) -> bool:
        """Tell whether somebody is asking it for something."""
        return self._lock.locked()

    def spares(self) -> list[int]:
        """Return the process ids of the children that wait."""
        with self._lock:
            return [child.pid() for child in self._spares]

    def _teach(self, key: str, value: Any) -> None:
        self._drop_spares()  # these will never know
        try:
            send_blob(self._control, b"learn " + key.encode(), value)
        except OSError:
            raise ZygoteDied from None
        self._known.add(key)

    def _drop_spares(self) -> None:
        for child in self._spares:
            child.close()
        self._spares.clear()

    def _fork(self) -> None:
        try:
            self._control.send(b"fork %d" % _LITTER)
            first, fds = receive_fds(self._control, 64, 2 * _LITTER)
        except OSError:
            first = b""
        if not first:
            raise ZygoteDied
        pairs = zip(fds[::2], fds[1::2], strict=True)
        self._spares = [Child(self, int(first) + n, job, pidfd) for n, (job, pidfd) in enumerate(pairs)]
        with self._count:
            self._living += len(self._spares)

    def end(self, serial: int) -> End:
        """Return how a dead child ended. Thread-safe.

        Raises:
            ZygoteDied: nobody knows.
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
        """Tell whether it can be expected to fork."""
        return not self.lost and self._process.poll() is None

    def close(self) -> None:
        """End the zygote, all its children and nsjail."""
        self._control.close()
        self._drop_spares()
        process = getattr(self, "_process", None)
        if process is None:
            return
        if self.ready is None:
            process.terminate()  # it may never look at its control socket; SIGTERM makes nsjail kill what it jails
        try:
            process.wait(_KILL_S)
        except subprocess.TimeoutExpired:
            # The death of nsjail kills what it jails, too.
            process.send_signal(signal.SIGKILL)
            process.wait()
        os.close(self._tie)


class ZygoteLate(SandboxError):
    """The zygote did not say READY in time."""


class ZygoteSilent(SandboxError):
    """The zygote ended before it, or nsjail, said anything: somebody killed it, or it cannot run here at all."""


class ZygoteRefused(Exception):
    """The zygote is up but cannot become what it should.

    Args:
        type: name of the exception's class.
        message: its text.
        hint: its hint, or "".
        module: what could not be imported, or "".
    """

    def __init__(self, type: str, message: str, hint: str, module: str) -> None:  # noqa: A002  as it is on the wire
        super().__init__(message)
        self.type, self.message, self.hint, self.module = type, message, hint, module
