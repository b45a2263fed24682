"""The host's view of a jail: its processes, the host's own memory, and traps for escaped programs. Linux only."""

import contextlib
import os
import re
import secrets
import select
import shutil
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from sca_cli.sandbox import Sandbox

MARKER = "PWN"
"""Text that a hostile program prints when it succeeds."""
_SECRET = "A_SECRET_OF_THE_HOST"
_VSOCK_ANY = 0xFFFFFFFF
_REAP_S = 5.0  # a killed process ends much sooner


def descendants() -> set[int]:
    """Return the pids of all live descendants of this process."""
    pids: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {child for pid in level for child in _children(pid)} - pids
        pids |= level
    return pids


def at_work(sandbox: Sandbox) -> set[int]:
    """Return the pids of all live descendants of this process, except nsjails, zygotes and spare children.

    Those can start at any time: a further zygote starts if many cores wait for the first.
    """
    nsjails = sandbox.nsjails()
    zygotes = {child for pid in nsjails for child in _children(pid)}
    return descendants() - set(nsjails) - zygotes - set(sandbox.spares())


def settled(sandbox: Sandbox, pids_before: set[int]) -> bool:
    """Wait until all processes that started since `pids_before` have ended. Return False if that takes too long.

    Args:
        sandbox: the sandbox to watch.
        pids_before: the result of `at_work` before.
    """
    deadline = time.monotonic() + _REAP_S
    while at_work(sandbox) - pids_before:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _children(pid: int) -> set[int]:
    pids: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids |= {int(child) for child in path.read_text().split()}
    return {child for child in pids if not status_of(child).get("State", "Z").startswith("Z")}


def status_of(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status; empty if the process has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return dict(re.findall(r"(?m)^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text()))
    return {}


def memory_mb(field: str = "VmRSS") -> float:
    """Return this process's memory in MiB: by default resident now; for `VmHWM`, the peak since `forget_peak`."""
    return int(status_of(os.getpid())[field].split()[0]) / 1024


def forget_peak() -> None:
    """Restart the measurement of this process's peak memory."""
    with contextlib.suppress(
        OSError
    ):  # without this file the peak counts from the process's start, which still shows the first breach
        Path("/proc/self/clear_refs").write_text("5")


class Trap:
    """A trap for escaped programs: a secret in a file and in the environment, writable files, and listening sockets.

    Set it before the jail starts. Anyone may write to `@OPEN_DIR@` and `@OPEN_FILE@`. Programs name the trap's parts as
    `@SECRET_FILE@`, `@OPEN_DIR@`, `@OPEN_FILE@`, `@TCP@`, `@UDP@` (ports of 127.0.0.1), `@UNIX@` (path), `@ABSTRACT@`
    (name), `@VSOCK@` (port), `@SOURCE@` (a source file of sca) and `@HOST_PID@`.
    """

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)
        self.places: dict[str, str] = {"HOST_PID": str(os.getpid()), "SOURCE": __file__}
        self._listeners: dict[str, socket.socket] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Trap":
        folder_path = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="sca-doctor-")))
        folder_path.chmod(0o755)
        (folder_path / "secret").write_text(self.secret)
        self._folder = folder_path
        self._reset_writable_files()
        os.environ[_SECRET] = self.secret
        self.places |= {
            "SECRET_FILE": f"{folder_path}/secret",
            "OPEN_DIR": f"{folder_path}/open",
            "OPEN_FILE": f"{folder_path}/open/file",
        }
        self._listen()
        return self

    def _reset_writable_files(self) -> None:
        folder = self._folder / "open"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "file").touch()
        folder.chmod(0o777)
        (folder / "file").chmod(0o666)

    def _listen(self) -> None:
        name = f"sca-doctor-{self.secret[:8]}"
        self.places |= {"UNIX": f"{self._folder}/socket", "ABSTRACT": name, "VSOCK": "0"}
        kinds: dict[str, tuple[int, int, Any]] = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix": (socket.AF_UNIX, socket.SOCK_STREAM, self.places["UNIX"]),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{name}"),
            "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM, (_VSOCK_ANY, _VSOCK_ANY)),
        }
        for kind, (family, style, address) in kinds.items():
            with contextlib.suppress(OSError):  # the kernel may lack a socket family
                listener = self._open.enter_context(socket.socket(family, style))
                listener.bind(address)
                if style == socket.SOCK_STREAM:
                    listener.listen(64)
                self._listeners[kind] = listener
                if kind in ("tcp", "udp", "vsock"):
                    self.places[kind.upper()] = str(listener.getsockname()[1])
        Path(self.places["UNIX"]).chmod(0o777)

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        os.environ.pop(_SECRET, None)
        self._open.close()

    @property
    def listening(self) -> list[str]:
        """Kinds of the sockets that are listening."""
        return list(self._listeners)

    def bait(self, code: str) -> str:
        """Return the program with this trap's parts filled in for their names."""
        return re.sub(r"@([A-Z_]+)@", lambda match: self.places.get(match[1], match[0]), code)

    def sprung(self) -> list[str]:
        """Return which parts of the trap were touched since the last call, and reset them."""
        touched = []
        for kind, listener in self._listeners.items():
            while select.select([listener], [], [], 0)[0]:
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(65536)
                else:
                    listener.accept()[0].close()
                touched.append(f"listener {kind}")
        folder = self._folder / "open"
        if (folder / "file").stat().st_size or len(list(folder.iterdir())) > 1:
            touched.append("a file of the host was written")
            self._reset_writable_files()
        return list(dict.fromkeys(touched))

    def signs_in(self, *texts: str) -> list[str]:
        """Return "marker" if the first text contains the marker, and "secret" if any text contains the secret."""
        signs = ["marker"] if MARKER in texts[0] else []
        return signs + (["secret"] if any(self.secret in text for text in texts) else [])
