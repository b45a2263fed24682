"""Confine a forked child before it runs the first hostile byte. Standard library only.

Covered: the child closes all descriptors except those it needs; it ends with its zygote; it is not dumpable. Its
address space, CPU time, file size and number of descriptors are limited. A seccomp allow-list permits only reading,
memory, clocks and its own exit. It cannot create a process, run a program, open a socket, send a signal or receive a
descriptor. (`fcntl` and `ioctl` are restricted because F_SETOWN and FIOASYNC would send signals.) All other system
calls fail with EPERM; calls of a foreign architecture and x32 calls kill the process. Process ids read as 0.

A world's zygote imports code that may have come with the data, so its own filter and limits are in force before the
import: until the host has its description, it cannot fork, and its memory is limited.

A session of a world can write to one place only: a small file system in memory that the host made for it. The session
mounts it in a mount namespace of its own, so no other session has a name for its files, and the kernel frees them when
the session's processes have ended. It covers the files that the import wrote to the same place. For this, the zygote's
filter permits calls that the child's filter denies: `unshare` of a user and a mount namespace, `move_mount`, and
`capset` to give up capabilities. Without `mount`, `fsopen` or a descriptor from the host, none of them shows a new file
system. If the kernel does not allow them, a world cannot open any file for writing.

Not covered: the code that a world imports controls the zygote that forks its sessions. Hostile code can share memory
among the sessions of its own environment, by a mapping of a file; it reaches no other environment and no program.
Clocks and /dev/urandom can be read, so a program's result can depend on them; kernel bugs in the permitted calls.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Iterable
from functools import partial

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CPU, _FSIZE, _DATA, _CORE, _PROCESSES, _OPEN_FILES, _AS = 0, 1, 2, 4, 6, 7, 9  # RLIMIT_…, the same on both machines
_INFINITY = (1 << 64) - 1
_PAGE = 4096
_SIGKILL = 9

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOTTY, _EROFS, _ENOSYS, _ENOTSUP = 1, 25, 30, 38, 95
_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|J…|K, BPF_RET|K
_NR, _ARCH, _ARG0, _ARG1, _ARG2, _ARG3 = 0, 4, 16, 24, 32, 40  # offsets in struct seccomp_data, low words
_X32 = 0x40000000
_OPEN_FILES_OF_PROGRAM, _OPEN_FILES_OF_WORLD = 24, 256
"""More of a world: tools leave files open until the garbage collector closes them, such as a connection of sqlite3."""

# System call numbers that CPython needs after its start, from the kernel's syscall tables.
_X86_64 = {
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
    "rt_sigreturn": 15, "pread64": 17, "readv": 19, "writev": 20, "access": 21, "select": 23,
    "sched_yield": 24, "mremap": 25, "madvise": 28, "nanosleep": 35, "exit": 60, "uname": 63,
    "getcwd": 79, "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98,
    "times": 100, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108,
    "sigaltstack": 131, "time": 201, "futex": 202, "sched_getaffinity": 204,
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
    "getrusage": 165, "gettimeofday": 169, "getuid": 174, "geteuid": 175,
    "getgid": 176, "getegid": 177, "brk": 214, "munmap": 215, "mremap": 216,
    "mmap": 222, "mprotect": 226, "madvise": 233, "getrandom": 278, "membarrier": 283, "statx": 291,
    "faccessat2": 439,
}  # fmt: skip
# System calls that only the zygote needs: to fork, reap, send descriptors, and confine a child.
_X86_64_ZYGOTE = {
    "dup": 32, "dup2": 33, "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "socketpair": 53,
    "clone": 56, "wait4": 61, "prctl": 157, "set_robust_list": 273, "pidfd_open": 434, "close_range": 436,
}  # fmt: skip
_AARCH64_ZYGOTE = {
    "dup": 23, "dup3": 24, "set_robust_list": 99, "prctl": 167, "socketpair": 199, "sendto": 206, "recvfrom": 207,
    "shutdown": 210, "sendmsg": 211, "recvmsg": 212, "clone": 220, "wait4": 260, "pidfd_open": 434, "close_range": 436,
}  # fmt: skip
# Additional calls of a session's world: to change its own files. Nothing else is mounted writable.
_X86_64_WORLD = {
    "pwrite64": 18, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83,
    "rmdir": 84, "unlink": 87, "chmod": 90, "fchmod": 91, "mkdirat": 258, "unlinkat": 263, "renameat": 264,
    "fchmodat": 268, "utimensat": 280, "renameat2": 316,
}  # fmt: skip
_AARCH64_WORLD = {
    "mkdirat": 34, "unlinkat": 35, "renameat": 38, "truncate": 45, "ftruncate": 46, "fchmod": 52, "fchmodat": 53,
    "pwrite64": 68, "fsync": 82, "fdatasync": 83, "utimensat": 88, "renameat2": 276,
}  # fmt: skip
_NAMESPACES = {
    # machine: (unshare, move_mount, capset, and the calls that list extended attributes)
    "x86_64": (272, 429, 126, (194, 195, 196)),
    "aarch64": (97, 429, 91, (11, 12, 13)),
}
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_AT_FDCWD, _EMPTY_PATH = -100, 4  # MOVE_MOUNT_F_EMPTY_PATH
_CAPABILITIES = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_TABLES = {
    # machine: (AUDIT_ARCH, allowed, for the zygote, fcntl, ioctl, prlimit64, and getpid, getppid, gettid)
    "x86_64": (0xC000003E, _X86_64, _X86_64_ZYGOTE, 72, 16, 302, 39, 110, 186),
    "aarch64": (0xC00000B7, _AARCH64, _AARCH64_ZYGOTE, 25, 29, 261, 172, 173, 178),
}
_CLONE3 = 435  # the same on all machines; after ENOSYS, libc uses clone, which is denied
_FCNTL_ALLOWED = (1, 2, 3)  # F_GETFD, F_SETFD, F_GETFL; F_SETFL would affect every copy of a descriptor
_DUPFD_CLOEXEC = 1030  # os.scandir copies the descriptor of a directory, and shutil.rmtree needs it
_LOCKS = (5, 6, 7)  # F_GETLK, F_SETLK, F_SETLKW: a session is one process, so a lock of its own files always succeeds
_FUTEX_PRIVATE = 0x80
_FIOCLEX = 0x5451
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_OPEN_TO_WRITE = 0o1 | 0o2 | 0o100  # O_WRONLY, O_RDWR, O_CREAT

WORLD_PROCESSES = 4096
"""Limit of the processes of a world's zygote; the kernel counts those of all jails together. Chosen by hand."""
_FILE_BYTES = 16 << 20  # of a zygote: its messages and its description are files in memory; chosen by hand
_START_BYTES = 64 << 20  # data of an interpreter that has imported sca's own modules, rounded up; measured 14 MiB


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, k)


def _search(flips: list[int], allowed: bool) -> list[bytes]:
    """Return instructions that search by bisection whether the loaded number is allowed.

    The kernel runs the filter for every call number each time a filter is installed, so a short path matters.

    Args:
        flips: numbers at which allowed changes to denied or back, ascending.
        allowed: whether numbers below the first flip are allowed.
    """
    if not flips:
        return [_op(_RETURN, _ALLOW if allowed else _ERRNO | _EPERM)]
    middle = len(flips) // 2
    below = _search(flips[:middle], allowed)
    above = _search(flips[middle + 1 :], allowed ^ (middle % 2 == 0))
    return [_op(_JGE, flips[middle], len(below), 0), *below, *above]


def _flips(numbers: set[int]) -> list[int]:
    """Return the numbers at which membership in the set changes, ascending."""
    return sorted(n for n in numbers | {n + 1 for n in numbers} if (n in numbers) != (n - 1 in numbers))


def build_filters(machine: str, *, world: bool = False, writes: bool = False) -> tuple[bytes, bytes]:
    """Return two seccomp programs for a machine (`x86_64` or `aarch64`). A call must pass both.

    The zygote installs the first one, and its children inherit it. Each child adds the second one, which only denies
    the calls that the zygote alone needs. The second one is short, because the kernel translates it again for every
    child.

    Args:
        machine: as `os.uname` names it.
        world: the zygote is a world's. Then shared memory without a file is denied, because it does not count as data.
        writes: the world can write files, and its zygote can give each session a mount namespace. Otherwise a world
            cannot open a file for writing.

    Raises:
        KeyError: there is no table for this machine.
    """
    arch, table, zygote, fcntl, ioctl, prlimit64, *pid_calls = _TABLES[machine]
    unshare, move_mount, capset, list_attributes = _NAMESPACES[machine]
    if writes:
        table = table | (_X86_64_WORLD if machine == "x86_64" else _AARCH64_WORLD)
        zygote = zygote | {"unshare": unshare, "move_mount": move_mount, "capset": capset}
    numbers = {*table.values(), *zygote.values()}
    flips = _flips(numbers)
    commands = (*_FCNTL_ALLOWED, _DUPFD_CLOEXEC) if writes else _FCNTL_ALLOWED
    locks = _LOCKS if writes else ()
    program = [_op(_LOAD, _ARCH), _op(_JEQ, arch, 1), _op(_RETURN, _KILL), _op(_LOAD, _NR)]
    program += [_op(_JGE, _X32, 0, 1), _op(_RETURN, _KILL)]
    special = {
        fcntl: [
            _op(_LOAD, _ARG1),
            *(part for n in commands for part in (_op(_JEQ, n, 0, 1), _op(_RETURN, _ALLOW))),
            *(part for n in locks for part in (_op(_JEQ, n, 0, 1), _op(_RETURN, _ERRNO | 0))),
            _op(_RETURN, _ERRNO | _EPERM),
        ],
        # isatty() uses the ioctl TCGETS. "Not a terminal" is the correct answer to every ioctl here.
        ioctl: [
            _op(_LOAD, _ARG1), _op(_JEQ, _FIOCLEX, 0, 1), _op(_RETURN, _ALLOW),
            _op(_RETURN, _ERRNO | _ENOTTY),
        ],
        # Only of itself. The limits of data and of processes can be read, and set by the host only.
        prlimit64: [
            _op(_LOAD, _ARG0), _op(_JEQ, 0, 1, 0), _op(_RETURN, _ERRNO | _EPERM),
            _op(_LOAD, _ARG1), _op(_JEQ, _DATA, 2, 0), _op(_JEQ, _PROCESSES, 1, 0), _op(_RETURN, _ALLOW),
            _op(_LOAD, _ARG2), _op(_JEQ, 0, 0, 3), _op(_LOAD, _ARG2 + 4), _op(_JEQ, 0, 0, 1), _op(_RETURN, _ALLOW),
            _op(_RETURN, _ERRNO | _EPERM),
        ],
        # A futex on a shared mapping, or the clocks and cores of another process, would affect other processes.
        table["futex"]: [
            _op(_LOAD, _ARG1), _op(_JSET, _FUTEX_PRIVATE, 0, 1), _op(_RETURN, _ALLOW), _op(_RETURN, _ERRNO | _EPERM),
        ],
        table["sched_getaffinity"]: [
            _op(_LOAD, _ARG0), _op(_JEQ, 0, 0, 1), _op(_RETURN, _ALLOW), _op(_RETURN, _ERRNO | _EPERM),
        ],
        **{
            table[name]: [
                _op(_LOAD, _ARG0), _op(_JGE, 1 << 31, 1, 0), _op(_RETURN, _ALLOW), _op(_RETURN, _ERRNO | _EPERM),
            ]
            for name in ("clock_gettime", "clock_getres", "clock_nanosleep")
        },
        # getpid() and the like return 0, so that a program cannot distinguish its runs.
        **{number: [_op(_RETURN, _ERRNO | 0)] for number in pid_calls},
        _CLONE3: [_op(_RETURN, _ERRNO | _ENOSYS)],
    }  # fmt: skip
    if world:
        special[table["mmap"]] = [
            _op(_LOAD, _ARG3), _op(_JSET, _MAP_SHARED, 0, 1), _op(_JSET, _MAP_ANONYMOUS, 1, 0),
            _op(_RETURN, _ALLOW), _op(_RETURN, _ERRNO | _EPERM),
        ]  # fmt: skip
        for name, flags in (("open", _ARG1), ("openat", _ARG2)) if not writes else ():
            if name in table:
                special[table[name]] = [
                    _op(_LOAD, flags), _op(_JSET, _OPEN_TO_WRITE, 0, 1), _op(_RETURN, _ERRNO | _EROFS),
                    _op(_RETURN, _ALLOW),
                ]  # fmt: skip
    if writes:
        special[unshare] = [
            _op(_LOAD, _ARG0), _op(_JEQ, _CLONE_NEWUSER | _CLONE_NEWNS, 0, 1), _op(_RETURN, _ALLOW),
            _op(_RETURN, _ERRNO | _EPERM),
        ]  # fmt: skip
        # shutil.copy2 asks for the extended attributes of a file
        special |= {number: [_op(_RETURN, _ERRNO | _ENOTSUP)] for number in list_attributes}
    for number, block in special.items():
        program += [_op(_JEQ, number, 0, len(block)), *block]
    child_filter = [_op(_LOAD, _NR), *_search(_flips(set(zygote.values())), allowed=True)]
    return b"".join(program + _search(flips, allowed=False)), b"".join(child_filter)


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class _Limit(ctypes.Structure):
    _fields_ = (("soft", ctypes.c_uint64), ("hard", ctypes.c_uint64))


# `resource` and `mmap` are not used: each module that is a shared library makes every fork slower.
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED = ctypes.c_void_p(-1).value
_MAP_PRIVATE_ANONYMOUS = 0x22

type _Step = Callable[[], int | None]
"""A step that a process applies to itself; it returns 0 or None on success."""


def _limit(kind: int, soft: int, hard: int) -> _Step:
    return partial(_libc.setrlimit, kind, ctypes.byref(_Limit(soft, hard)))


def _hard_limit(kind: int) -> int:
    limit = _Limit()
    _libc.getrlimit(kind, ctypes.byref(limit))
    return int(limit.hard)


def _address_space() -> int:
    """Return the number of bytes that this process has mapped, without /proc.

    The kernel rejects a mapping that would exceed RLIMIT_AS. So the smallest limit at which it accepts a new mapping
    gives the size.
    """
    hard = _hard_limit(_AS)
    low, high = 0, 1 << 40
    while high - low > _PAGE:
        middle = (low + high) // 2
        _limit(_AS, middle, hard)()
        place = _libc.mmap(None, _PAGE, 0, _MAP_PRIVATE_ANONYMOUS, -1, 0)
        _limit(_AS, hard, hard)()
        if place == _MAP_FAILED:
            low = middle
        else:
            _libc.munmap(place, _PAGE)
            high = middle
    return high


def import_limits(memory_mb: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return two sets of limits of a world's zygote: during the import of its environment, and after it.

    Args:
        memory_mb: MiB that the import may use. A session may use as many MiB in addition.

    Returns:
        Two dictionaries, RLIMIT number → its value, in processes or bytes.
    """
    data = _START_BYTES + (memory_mb << 20)
    return {_PROCESSES: 0, _DATA: data}, {_PROCESSES: WORLD_PROCESSES, _DATA: data + (memory_mb << 20)}


def mount(folder: int, place: str) -> None:
    """Make a file system visible to this process and its children only.

    The mount namespace needs a user namespace, in which this process has all capabilities. It gives them up.

    Args:
        folder: descriptor of the file system, see `host/temporary.py`.
        place: the directory where it is mounted.

    Raises:
        OSError: the kernel does not allow it.
    """
    unshare, move_mount, capset, _ = _NAMESPACES[os.uname().machine]
    head, none = struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)  # effective, permitted, inheritable: 64 bits each
    _apply((
        partial(_libc.syscall, unshare, _CLONE_NEWUSER | _CLONE_NEWNS),
        partial(_libc.syscall, move_mount, folder, b"", _AT_FDCWD, os.fsencode(place), _EMPTY_PATH),
        partial(_libc.syscall, capset, head, none),
        partial(_libc.prctl, _PR_SET_DUMPABLE, 0, 0, 0, 0),  # the kernel resets it when capabilities change
    ))  # fmt: skip


def can_mount(folder: int, place: str) -> bool:
    """Return whether the kernel allows `mount` here; another process tries it."""
    if not (pid := os.fork()):
        try:
            mount(folder, place)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def _apply(steps: Iterable[_Step]) -> None:
    for step in steps:
        if step():
            raise OSError(ctypes.get_errno(), "cannot confine")


class Confinement:
    """The confinement of a zygote's children; the zygote computes most of it once for all of them."""

    tick_s: float | None = None
    """Seconds between two searches for ended children; None: the zygote searches only on request."""

    def __init__(self, *, world: bool = False, writes: bool = False) -> None:
        self._file_bytes = min(_FILE_BYTES, _hard_limit(_FSIZE)) if writes else 0
        self._open_files = min(_OPEN_FILES_OF_WORLD if writes else _OPEN_FILES_OF_PROGRAM, _hard_limit(_OPEN_FILES))
        filters = build_filters(os.uname().machine, world=world, writes=writes)
        self._filters = [_FilterProgram(len(text) // 8, text) for text in filters]
        self._of_zygote, self._of_child = (
            partial(_libc.prctl, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(each)) for each in self._filters
        )
        max_fds = _hard_limit(_OPEN_FILES)
        self.last_fd = max_fds if max_fds != _INFINITY else 1 << 20
        """The highest possible descriptor number."""

    def seal(self, import_mb: int = 0) -> None:
        """Apply to the zygote the restrictions that its children inherit.

        They are: no core dump, small files in memory only, not dumpable, no new privileges, the first filter.

        Args:
            import_mb: MiB of data that the zygote may have until the host lifts the limit, see `lifted`; it cannot
                fork until then. 0: no such limit.

        Raises:
            OSError: the kernel rejected one of them.
        """
        no_core, no_new_privileges = ((_PR_SET_DUMPABLE, 0, 0, 0, 0), (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        file_bytes = min(_FILE_BYTES, _hard_limit(_FSIZE))
        until_lifted: tuple[_Step, ...] = ()
        if import_mb:
            now, later = import_limits(import_mb)
            processes, data = (min(later[kind], _hard_limit(kind)) for kind in (_PROCESSES, _DATA))
            until_lifted = (_limit(_PROCESSES, now[_PROCESSES], processes), _limit(_DATA, now[_DATA], data))
        _apply((
            *until_lifted, _limit(_CORE, 0, 0), _limit(_FSIZE, file_bytes, file_bytes),
            partial(_libc.prctl, *no_core), partial(_libc.prctl, *no_new_privileges), self._of_zygote,
        ))  # fmt: skip

    def prepare(self, first_closed: int, memory_mb: int, cpu_s: int) -> None:
        """Compute in the zygote the steps that `apply` will take.

        Args:
            first_closed: descriptors from this number on are closed.
            memory_mb: MiB of address space in addition to what the zygote has mapped.
            cpu_s: CPU seconds until SIGXCPU; SIGKILL follows one second later.
        """
        # the user may have set lower limits
        max_bytes = min(_address_space() + (memory_mb << 20), _hard_limit(_AS))
        cpu_s = min(cpu_s, _hard_limit(_CPU) - 1)
        self._steps: tuple[_Step, ...] = (
            partial(os.closerange, first_closed, self.last_fd),
            _limit(_AS, max_bytes, max_bytes),
            _limit(_CPU, cpu_s, cpu_s + 1),
            _limit(_FSIZE, self._file_bytes, self._file_bytes),
            _limit(_OPEN_FILES, self._open_files, self._open_files),
            partial(_libc.prctl, _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0),
            self._of_child,
        )

    def apply(self) -> None:
        """Confine this process permanently.

        Raises:
            OSError: the kernel rejected a step; nothing hostile may run.
        """
        _apply(self._steps)

    def ended(self, living: Iterable[int]) -> None:
        """Clean up after a child that has been reaped. In a jail it can leave nothing behind."""


class Rehearsal(Confinement):
    """A confinement with the same interface that does nothing, for a zygote that rehearses a child's work."""

    def __init__(self) -> None:
        ask = partial(_libc.getrlimit, _CPU, ctypes.byref(_Limit()))
        self._steps = (partial(os.closerange, 1 << 20, 1 << 20), ask)
