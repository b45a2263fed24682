"""What the host can see of a jail: the processes in it, our own memory, and traps for whoever gets out. Linux only."""

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
"""What a hostile program prints when it has got what it wants."""
_SECRET = "A_SECRET_OF_THE_HOST"
_VSOCK_ANY = 0xFFFFFFFF
_REAP_S = 5.0  # a killed process is gone long before


def descendants() -> set[int]:
    """Return the pids of all living processes below this one."""
    found: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {child for pid in level for child in _children(pid)} - found
        found |= level
    return found


def at_work(sandbox: Sandbox) -> set[int]:
    """Return the pids of all living processes below this one but nsjails, zygotes and children that wait for a session.

    More of these may be started at any time: one zygote forks for about four cores.
    """
    nsjails = sandbox.nsjails()
    zygotes = {child for pid in nsjails for child in _children(pid)}
    return descendants() - set(nsjails) - zygotes - set(sandbox.spares())


def settled(sandbox: Sandbox, standing: set[int]) -> bool:
    """Tell whether no other processes are at work than before, as soon as that is so."""
    deadline = time.monotonic() + _REAP_S
    while at_work(sandbox) - standing:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found |= {int(child) for child in path.read_text().split()}
    return {child for child in found if not status_of(child).get("State", "Z").startswith("Z")}


def status_of(pid: int) -> dict[str, str]:
    """Return what /proc says of a process; nothing when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return dict(re.findall(r"(?m)^(\w+):\s*(.*)$", Path(f"/proc/{pid}/status").read_text()))
    return {}


def memory_mb(field: str = "VmRSS") -> float:
    """Return the resident memory of this process; with `VmHWM` the most it has had since `forget_peak`."""
    return int(status_of(os.getpid())[field].split()[0]) / 1024


def forget_peak() -> None:
    """Begin a new measurement of the most memory this process has had."""
    with contextlib.suppress(OSError):  # a kernel without it measures since the start, and sees the first breach
        Path("/proc/self/clear_refs").write_text("5")


class Trap:
    """A secret in a file and in the environment, a file and a directory anyone may write, and listening sockets.

    To be set before the jail starts. Programs name its parts as `@SECRET_FILE@`, `@OPEN_DIR@`, `@OPEN_FILE@`,
    `@TCP@`, `@UDP@` (ports of 127.0.0.1), `@UNIX@` (path), `@ABSTRACT@` (name), `@VSOCK@` (port), `@SOURCE@` (a file of
    this program) and `@HOST_PID@`.
    """

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)
        self.places: dict[str, str] = {"HOST_PID": str(os.getpid()), "SOURCE": __file__}
        self._listeners: dict[str, socket.socket] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Trap":
        top = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="sca-doctor-")))
        top.chmod(0o755)
        (top / "secret").write_text(self.secret)
        self._top = top
        self._lay_open()
        os.environ[_SECRET] = self.secret
        self.places |= {"SECRET_FILE": f"{top}/secret", "OPEN_DIR": f"{top}/open", "OPEN_FILE": f"{top}/open/file"}
        self._listen()
        return self

    def _lay_open(self) -> None:
        folder = self._top / "open"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "file").touch()
        folder.chmod(0o777)
        (folder / "file").chmod(0o666)

    def _listen(self) -> None:
        name = f"sca-doctor-{self.secret[:8]}"
        self.places |= {"UNIX": f"{self._top}/socket", "ABSTRACT": name, "VSOCK": "0"}
        kinds: dict[str, tuple[int, int, Any]] = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix": (socket.AF_UNIX, socket.SOCK_STREAM, self.places["UNIX"]),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{name}"),
            "vsock": (socket.AF_VSOCK, socket.SOCK_STREAM, (_VSOCK_ANY, _VSOCK_ANY)),
        }
        for kind, (family, style, address) in kinds.items():
            with contextlib.suppress(OSError):  # a kernel need not have every family
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
        """Names of the kinds of socket that wait for somebody."""
        return list(self._listeners)

    def bait(self, code: str) -> str:
        """Return a program with the names of this trap's parts filled in."""
        return re.sub(r"@([A-Z_]+)@", lambda match: self.places.get(match[1], match[0]), code)

    def sprung(self) -> list[str]:
        """Return what has been touched since the last look, and set it again."""
        found = []
        for kind, listener in self._listeners.items():
            while select.select([listener], [], [], 0)[0]:
                if listener.type == socket.SOCK_DGRAM:
                    listener.recv(65536)
                else:
                    listener.accept()[0].close()
                found.append(f"listener {kind}")
        folder = self._top / "open"
        if (folder / "file").stat().st_size or len(list(folder.iterdir())) > 1:
            found.append("a file of the host was written")
            self._lay_open()
        return list(dict.fromkeys(found))

    def told(self, *texts: str) -> list[str]:
        """Return what is in texts that should not be: the marker in the first, the secret in any."""
        found = ["marker"] if MARKER in texts[0] else []
        return found + (["secret"] if any(self.secret in text for text in texts) else [])
