"""Make the file systems that sessions of jailed worlds get as their private /tmp: small, in memory, gone at their end.

The host makes a file system and passes it as a descriptor to one session, which mounts it in a mount namespace of its
own, see `inside/confine.py`. No other process has a name for it. When the session's processes have ended, the
kernel frees it.

A file system can be made by root, or in a user namespace. So if this process may not, a helper process does it: it has
a user namespace in which this user is the root, and nothing else to do.
"""

import contextlib
import ctypes
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from sca_cli.sandbox.host import jail

_REPLY_S = 10.0  # the helper replies in less than a millisecond; chosen by hand
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same on all machines
_CLOSE_ON_EXEC, _SET_STRING, _CREATE = 1, 1, 6
_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_HELPER = "import sys; sys.path.insert(0, {root!r}); from sca_cli.sandbox.host.temporary import main; main()"
_libc = ctypes.CDLL(None, use_errno=True)


class TemporaryFolders:
    """The maker of private file systems for the sessions of one sandbox. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._helper: tuple[socket.socket, jail.TiedProcess] | None = None
        self._impossible = False

    @contextlib.contextmanager
    def new(self) -> Iterator[list[int]]:
        """Yield the descriptor of an empty file system, in a list; an empty list if this machine cannot make one."""
        fds = self._make()
        try:
            yield fds
        finally:
            for fd in fds:
                os.close(fd)

    def close(self) -> None:
        """Stop the helper."""
        with self._lock:
            if self._helper:
                ours, (process, tie) = self._helper
                ours.close()
                process.wait()
                os.close(tie)
                self._helper = None

    def _make(self) -> list[int]:
        with self._lock:
            try:
                if self._impossible:
                    return []
                if not self._helper:
                    try:
                        return [_file_system()]
                    except PermissionError:
                        self._start_helper()
                return self._ask()
            except OSError:
                self._impossible = True  # an old kernel, or no user namespaces: worlds have no writable place
                return []

    def _start_helper(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(_REPLY_S)
        code = _HELPER.format(root=jail.PACKAGE_ROOT)
        with theirs, Path(os.devnull).open("wb") as log:
            self._helper = ours, jail.start_python(code, log.fileno(), theirs.fileno())

    def _ask(self) -> list[int]:
        assert self._helper
        ours, _ = self._helper
        ours.sendall(b"n")
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        if not fds:
            raise ConnectionError("the helper has ended")
        return fds


def main() -> None:
    """Make a file system for each byte that arrives on the helper's socket, in a user namespace."""
    uid, gid = os.getuid(), os.getgid()
    _call(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    with socket.socket(fileno=int(sys.argv[1])) as asker:
        while asker.recv(1):
            made = _file_system()
            socket.send_fds(asker, [b"m"], [made])
            os.close(made)


def _file_system() -> int:
    """Return the descriptor of an empty file system in memory, which is mounted nowhere.

    Raises:
        OSError: the kernel or its settings do not allow it.
    """
    settings = {"size": f"{jail.TMP_MB}m", "nr_inodes": str(jail.TMP_FILES), "mode": "1777"}
    context = _call(_libc.syscall(_FSOPEN, b"tmpfs", _CLOSE_ON_EXEC))
    try:
        for key, value in settings.items():
            _call(_libc.syscall(_FSCONFIG, context, _SET_STRING, key.encode(), value.encode(), 0))
        _call(_libc.syscall(_FSCONFIG, context, _CREATE, None, None, 0))
        return _call(_libc.syscall(_FSMOUNT, context, _CLOSE_ON_EXEC, _NOSUID_NODEV_NOEXEC))
    finally:
        os.close(context)


def _call(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
