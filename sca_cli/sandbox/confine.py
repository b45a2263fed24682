"""What a forked child does to itself before the first hostile byte. Standard library only.

Covered: every descriptor but the ones it needs is closed; it dies with its zygote; it is not dumpable; its
address space, CPU time, file size and descriptors are limited; a seccomp allow-list leaves reading, memory,
clocks and its own exit. No process can be made, no program run, no socket opened, no signal sent (`fcntl` and
`ioctl` are narrowed because F_SETOWN and FIOASYNC would send one), no descriptor received. Everything else
fails with EPERM; a foreign architecture and x32 calls kill.

Not covered: clocks and /dev/urandom can be read, so a program can be made to depend on them; bugs of the
kernel in the calls that are left.
"""

import ctypes
import functools
import mmap
import os
import resource
import struct
from collections.abc import Iterable

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOTTY, _ENOSYS = 1, 25, 38
_LOAD, _JEQ, _JGE, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data, low words
_X32 = 0x40000000
_NOFILE = 24

# Numbers of the calls that CPython needs once it is up; from the kernel's syscall tables.
_X86_64 = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
    "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "access": 21, "select": 23,
    "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "getpid": 39, "exit": 60, "uname": 63,
    "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99,
    "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110,
    "sigaltstack": 131, "gettid": 186, "time": 201, "futex": 202, "sched_getaffinity": 204,
    "getdents64": 217, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
    "clock_nanosleep": 230, "exit_group": 231, "openat": 257, "newfstatat": 262, "readlinkat": 267,
    "faccessat": 269, "pselect6": 270, "ppoll": 271, "getrandom": 318, "membarrier": 324, "statx": 332,
    "faccessat2": 439,
}  # fmt: skip
_AARCH64 = {
    "getcwd": 17, "faccessat": 48, "openat": 56, "close": 57, "getdents64": 61, "lseek": 62, "read": 63,
    "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pselect6": 72, "ppoll": 73, "readlinkat": 78,
    "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94, "futex": 98, "nanosleep": 101,
    "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123,
    "sched_yield": 124, "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigreturn": 139, "times": 153, "uname": 160, "getrlimit": 163,
    "getrusage": 165, "gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175,
    "getgid": 176, "getegid": 177, "gettid": 178, "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216,
    "mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278, "membarrier": 283, "statx": 291,
    "faccessat2": 439,
}  # fmt: skip
_TABLES = {
    # machine: (AUDIT_ARCH, allowed, fcntl, ioctl, prlimit64)
    "x86_64": (0xC000003E, _X86_64, 72, 16, 302),
    "aarch64": (0xC00000B7, _AARCH64, 25, 29, 261),
}
_CLONE3 = 435  # the same everywhere; ENOSYS makes libc fall back to clone, which is refused
_FCNTL_ALLOWED = (1, 2, 3, 4)  # F_GETFD, F_SETFD, F_GETFL, F_SETFL
_FIOCLEX = 0x5451


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, k)


def _search(flips: list[int], allowed: bool) -> list[bytes]:
    """Return instructions that find by bisection whether the loaded number is allowed.

    The kernel runs the whole filter for every call number each time one is installed, so a short path
    matters.

    Args:
        flips: numbers at which allowed becomes denied or denied allowed, ascending.
        allowed: whether numbers below the first flip are allowed.
    """
    if not flips:
        return [_op(_RETURN, _ALLOW if allowed else _ERRNO | _EPERM)]
    middle = len(flips) // 2
    below = _search(flips[:middle], allowed)
    above = _search(flips[middle + 1 :], allowed ^ (middle % 2 == 0))
    return [_op(_JGE, flips[middle], len(below), 0), *below, *above]


def build_filter(machine: str) -> bytes:
    """Return the seccomp program of a machine (`x86_64` or `aarch64`).

    Raises:
        KeyError: no table for this machine.
    """
    arch, table, fcntl, ioctl, prlimit64 = _TABLES[machine]
    numbers = set(table.values())
    flips = sorted(n for n in numbers | {n + 1 for n in numbers} if (n in numbers) != (n - 1 in numbers))
    program = [_op(_LOAD, _ARCH), _op(_JEQ, arch, 1), _op(_RETURN, _KILL), _op(_LOAD, _NR)]
    program += [_op(_JGE, _X32, 0, 1), _op(_RETURN, _KILL)]
    special = {
        fcntl: [
            _op(_LOAD, _ARG1),
            *(part for n in _FCNTL_ALLOWED for part in (_op(_JEQ, n, 0, 1), _op(_RETURN, _ALLOW))),
            _op(_RETURN, _ERRNO | _EPERM),
        ],
        # isatty() asks TCGETS: "not a terminal" is the true answer to every ioctl here.
        ioctl: [
            _op(_LOAD, _ARG1), _op(_JEQ, _FIOCLEX, 0, 1), _op(_RETURN, _ALLOW),
            _op(_RETURN, _ERRNO | _ENOTTY),
        ],
        prlimit64: [
            _op(_LOAD, _ARG0), _op(_JEQ, 0, 0, 1), _op(_RETURN, _ALLOW), _op(_RETURN, _ERRNO | _EPERM),
        ],
        _CLONE3: [_op(_RETURN, _ERRNO | _ENOSYS)],
    }  # fmt: skip
    for number, block in special.items():
        program += [_op(_JEQ, number, 0, len(block)), *block]
    return b"".join(program + _search(flips, allowed=False))


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _address_space() -> int:
    """Return how many bytes this process has mapped; there is no /proc to ask.

    The kernel refuses a mapping that would pass RLIMIT_AS, so the limit at which it begins to refuse is the
    answer.
    """
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    low, high = 0, 1 << 40
    try:
        while high - low > mmap.PAGESIZE:
            middle = (low + high) // 2
            resource.setrlimit(resource.RLIMIT_AS, (middle, hard))
            try:
                mmap.mmap(-1, mmap.PAGESIZE).close()
                high = middle
            except (OSError, MemoryError):
                low = middle
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return high


class Confinement:
    """The parts of the confinement that one zygote computes once for all its children."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        program = build_filter(os.uname().machine)
        self._filter = _FilterProgram(len(program) // 8, program)
        set_filter = functools.partial(libc.prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(self._filter))
        self._steps = (functools.partial(libc.prctl, _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), set_filter)
        self._prctl = libc.prctl
        self._base = _address_space()
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._last_fd = most if most != resource.RLIM_INFINITY else 1 << 20

    def seal(self) -> None:
        """Set in the zygote what its children inherit: no new privileges, no core, no file content, not
        dumpable.

        Raises:
            OSError: the kernel refused.
        """
        if self._prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) or self._prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def apply(self, first_closed: int, memory_mb: int, cpu_s: int) -> None:
        """Confine this process for good.

        Args:
            first_closed: descriptors from this number on are closed.
            memory_mb: MiB of address space on top of what the zygote has mapped.
            cpu_s: CPU seconds until SIGXCPU; SIGKILL follows a second later.

        Raises:
            OSError: the kernel refused; nothing hostile may run.
        """
        os.closerange(first_closed, self._last_fd)
        room = self._base + (memory_mb << 20)
        resource.setrlimit(resource.RLIMIT_AS, (room, room))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_NOFILE, _NOFILE))
        for step in self._steps:
            if step():
                raise OSError(ctypes.get_errno(), "cannot confine")

    def ended(self, living: Iterable[int]) -> None:
        """Clean up after a child that has been reaped; here it can have left nothing."""
