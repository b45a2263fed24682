"""Run `sca` command lines in forks of a process that has imported everything already.

    python -P server.py DIRECTORY BIN

Starting `sca` costs half a second of imports, and eight seconds where it trains. A fork costs milliseconds. Each
request of `client.py` gets a process of its own, with the client's files, directory and environment variables. The
tests use this server by default; with `--all` they start every `sca` as a new interpreter.

The server listens on two sockets in DIRECTORY. Requests to `torch` are served by a second process, which imports
PyTorch and the training libraries at the first request. When its standard input is closed, the server removes DIRECTORY
and ends.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_NAME = 15
NAME = b"sca-warm"
"""Name of the server processes: the test for processes that are left behind does not count them."""

LIGHT = ("sca_calculation.environment", "sca_retail.environment", "sca_airline.environment", "sca_scripted")
HEAVY = (
    "sca_cli.training.sft",
    "transformers.trainer",
    "sca_transformers.load",
    "sca_transformers.engine",
    "transformers.models.qwen2.modeling_qwen2",
    "peft",
)


class Server:
    """Accept requests on sockets and fork for each of them.

    Args:
        directory: the sockets are made here.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ready = selectors.DefaultSelector()
        self._listeners = {name: self._listen(directory / name) for name in ("plain", "torch")}
        self._children: dict[int, tuple[int, socket.socket]] = {}
        """Process id → descriptor of the process, and the connection to its client."""
        self._ready.register(0, selectors.EVENT_READ, self._leave)

    def _listen(self, path: Path) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(64)
        self._ready.register(listener, selectors.EVENT_READ, getattr(self, f"_accept_{path.name}"))
        return listener

    def serve(self) -> None:
        """Serve requests. Return in the forks only: the process is then the `sca` of a request."""
        while True:
            # Clients that died come first: a test that kills a run and starts it again must find the old one dead.
            events = sorted(self._ready.select(), key=lambda event: event[0].fileobj in self._listeners.values())
            for key, _ in events:
                if key.data(key.fileobj):
                    return

    def _leave(self, _: object) -> NoReturn:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._directory, ignore_errors=True)
        sys.exit(0)

    def _accept_torch(self, listener: socket.socket) -> bool:
        """Become two processes; the new one imports the training libraries and serves the socket `torch`."""
        if "plain" not in self._listeners:
            return self._accept(listener)
        if os.fork():
            self._ready.unregister(self._listeners.pop("torch"))
            listener.close()
            return False
        self._forget()
        self._ready = selectors.DefaultSelector()
        self._ready.register(0, selectors.EVENT_READ, self._leave)
        self._ready.register(listener, selectors.EVENT_READ, self._accept_torch)
        self._listeners.pop("plain").close()
        preload(HEAVY)
        return False

    def _accept_plain(self, listener: socket.socket) -> bool:
        return self._accept(listener)

    def _accept(self, listener: socket.socket) -> bool:
        """Fork for a request, and return whether this process is the fork."""
        connection, _ = listener.accept()
        try:
            size = int.from_bytes(connection.recv(4, socket.MSG_WAITALL))
            text, files, _, _ = socket.recv_fds(connection, size, 3)
            while len(text) < size:
                text += connection.recv(size - len(text))
            request = json.loads(text)
        except (OSError, ValueError):
            connection.close()  # the client was killed
            return False
        pid = os.fork()
        if pid == 0:
            self._forget()
            for each in (connection, *self._listeners.values()):
                each.close()
            become(request, files)
            return True
        for file in files:
            os.close(file)
        descriptor = os.pidfd_open(pid)
        self._children[pid] = descriptor, connection
        self._ready.register(descriptor, selectors.EVENT_READ, lambda _: self._reap(pid))
        self._ready.register(connection, selectors.EVENT_READ, lambda _: self._hear(pid))
        return False

    def _hear(self, pid: int) -> bool:
        """Pass a signal on that the client got; a client that is gone was killed, and its process is killed too."""
        if pid not in self._children:
            return False
        _, connection = self._children[pid]
        numbers = _received(connection)
        for number in numbers or bytes([signal.SIGKILL]):
            os.kill(pid, number)
        return False if numbers else self._reap(pid)

    def _reap(self, pid: int) -> bool:
        """Wait for a process and send its exit status to the client."""
        if pid not in self._children:
            return False
        descriptor, connection = self._children.pop(pid)
        _, status = os.waitpid(pid, 0)
        self._ready.unregister(descriptor)
        self._ready.unregister(connection)
        os.close(descriptor)
        with contextlib.suppress(OSError):  # the client was killed
            connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))
        connection.close()
        return False

    def _forget(self) -> None:
        """Close what belongs to other requests, in a fork."""
        self._ready.close()
        for descriptor, connection in self._children.values():
            os.close(descriptor)
            connection.close()
        self._children.clear()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(16)
    except OSError:
        return b""


def become(request: dict[str, Any], files: list[int]) -> None:
    """Take over files, directory, environment variables, arguments and import path of a request."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"sca", 0, 0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setpgid(0, 0)
    spare = [os.dup2(file, 100 + index, inheritable=False) for index, file in enumerate(files)]
    for file in files:
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = None, None, None  # type: ignore[assignment]
    for number in (0, 1, 2):
        os.close(number)
    for number, file in zip(request["open"], spare, strict=True):
        os.dup2(file, number)
        os.close(file)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if number in request["open"]:
            errors = "backslashreplace" if number == 2 else "strict"
            lines = number == 2 or (number == 1 and os.isatty(1))
            mode = "w" if number else "r"
            stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
            stream.reconfigure(line_buffering=lines)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environ"])
    paths = [path for path in request["environ"].get("PYTHONPATH", "").split(":") if path and path not in sys.path]
    sys.path[1:1] = paths
    importlib.invalidate_caches()
    sys.argv[1:] = request["arguments"]


def preload(modules: tuple[str, ...]) -> None:
    """Import modules, those that are installed."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            print(f"warm: {module} is not installed", file=sys.stderr)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    directory, bin_directory = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path.insert(0, bin_directory)
    sys.argv = [f"{bin_directory}/sca"]
    from sca_cli import app

    app.every_command()
    preload(LIGHT)
    server = Server(Path(directory))
    print("ready", flush=True)
    server.serve()
    app.main()
