"""The seccomp programs of both machines, run here by a small interpreter of the filter's instructions."""

import struct

import pytest

from sca_cli.sandbox.inside.confine import build_filters

ALLOW, KILL, EPERM, ENOTTY, ENOSYS, ENOTSUP, EROFS = 0x7FFF0000, 0x80000000, 0x50001, 0x50019, 0x50026, 0x5005F, 0x5001E
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (number on x86_64, number on aarch64); None where the machine has no such call
ALLOWED = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "mmap": (9, 222), "munmap": (11, 215),
    "brk": (12, 214), "rt_sigaction": (13, 134), "pread64": (17, 67), "openat": (257, 56),
    "newfstatat": (262, 79), "getdents64": (217, 61), "clock_gettime": (228, 113),
    "exit_group": (231, 94), "getrandom": (318, 278), "ppoll": (271, 73), "statx": (332, 291),
    "lseek": (8, 62),
}  # fmt: skip
DENIED = {
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "execve": (59, 221),
    "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "sendto": (44, 206), "prctl": (157, 167),
    "seccomp": (317, 277), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40),
    "memfd_create": (319, 279), "io_uring_setup": (425, 425), "bpf": (321, 280), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "personality": (135, 92),
    "process_vm_writev": (311, 271), "setpriority": (141, 140), "setitimer": (38, 103),
    "timer_create": (222, 107), "setrlimit": (160, 164), "mq_open": (240, 180), "shmget": (29, 194),
    "unlinkat": (263, 35), "ftruncate": (77, 46), "dup3": (292, 24), "pipe2": (293, 59),
    "splice": (275, 76), "sched_setaffinity": (203, 122), "open_by_handle_at": (304, 265),
}  # fmt: skip


def run(programs: tuple[bytes, ...], arch: int, number: int, *args: int) -> int:
    """Return what the filters decide for one call: the kernel obeys the stricter, killing before refusing."""
    decisions = [decide(program, arch, number, *args) for program in programs]
    return KILL if KILL in decisions else min(decisions)


def decide(program: bytes, arch: int, number: int, *args: int) -> int:
    """Return what one filter decides for one call."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *args, *[0] * (6 - len(args)))
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, k = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == 0x06:
            return int(k)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        else:
            taken = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
            at += jump_true if taken else jump_false


@pytest.mark.parametrize("machine", ARCH)
def test_the_filter_allows_what_python_needs_and_nothing_that_reaches_out(machine: str) -> None:
    """Named calls are allowed or denied as listed, on each machine by its own numbers."""
    program, column = build_filters(machine), list(ARCH).index(machine)
    for calls, decision in ((ALLOWED, ALLOW), (DENIED, EPERM)):
        for name, numbers in calls.items():
            if (number := numbers[column]) is not None:
                assert run(program, ARCH[machine], number) == decision, name


@pytest.mark.parametrize("machine", ARCH)
def test_arguments_are_narrowed(machine: str) -> None:
    """fcntl cannot make signals be sent, no ioctl is a terminal's, limits are changed of oneself only."""
    program = build_filters(machine)
    fcntl, ioctl, prlimit = {"x86_64": (72, 16, 302), "aarch64": (25, 29, 261)}[machine]
    assert run(program, ARCH[machine], fcntl, 1, 3) == ALLOW  # F_GETFL
    for command in (
        0,
        4,
        8,
        10,
        15,
        1024,
        1026,
        1030,
        1031,
    ):  # F_DUPFD, F_SETFL, F_SETOWN, F_SETSIG, F_SETOWN_EX, leases, notify
        assert run(program, ARCH[machine], fcntl, 1, command) == EPERM
    for request in (0x5401, 0x5412, 0x5452, 0x8901):  # TCGETS, TIOCSTI, FIOASYNC, FIOSETOWN
        assert run(program, ARCH[machine], ioctl, 1, request) == ENOTTY
    assert run(program, ARCH[machine], prlimit, 0, 7) == ALLOW
    assert run(program, ARCH[machine], prlimit, 1, 7) == EPERM


@pytest.mark.parametrize("machine", ARCH)
def test_a_world_changes_its_own_files_only(machine: str) -> None:
    """A world may write, copy and lock files. Its zygote may enter namespaces of these two kinds, its sessions none."""
    program, column = build_filters(machine, world=True, writes=True), list(ARCH).index(machine)
    zygote, _ = program
    new = {"unlinkat": (263, 35), "ftruncate": (77, 46), "mkdirat": (258, 34), "renameat2": (316, 276)}
    fcntl, unshare, move_mount, capset = (72, 25), (272, 97), (429, 429), (126, 91)
    attributes = {"listxattr": (194, 11), "llistxattr": (195, 12), "flistxattr": (196, 13)}
    for calls, decision in ((ALLOWED, ALLOW), ({**DENIED, **dict.fromkeys(new, (None, None))}, EPERM), (new, ALLOW)):
        for name, numbers in calls.items():
            if (number := numbers[column]) is not None:
                assert run(program, ARCH[machine], number, 0, 0, 0, 0x02) == decision, name
    for number in (unshare[column], move_mount[column], capset[column]):
        assert run(program, ARCH[machine], number, 0x10020000) == EPERM
        assert decide(zygote, ARCH[machine], number, 0x10020000) == ALLOW
    for kinds in (0x10000000, 0x20000, 0x50020000, 0x7E020000, 0):  # one kind only, more kinds, none
        assert decide(zygote, ARCH[machine], unshare[column], kinds) == EPERM
    for command in (5, 6, 7):  # F_GETLK, F_SETLK, F_SETLKW: nobody else has the file, so nothing needs to be done
        assert run(program, ARCH[machine], fcntl[column], 1, command) == EPERM & ~0xFFFF
    assert run(program, ARCH[machine], fcntl[column], 1, 1030) == ALLOW  # F_DUPFD_CLOEXEC
    for command in (0, 4, 8, 10, 15, 37, 1024, 1026, 1031, 1033):
        assert run(program, ARCH[machine], fcntl[column], 1, command) == EPERM
    for numbers in attributes.values():
        assert run(program, ARCH[machine], numbers[column]) == ENOTSUP
    for numbers in ((165, 40), (430, 430), (428, 428), (308, 268)):  # mount, fsopen, open_tree, setns
        assert decide(zygote, ARCH[machine], numbers[column]) == EPERM
    openat, closed = (257, 56)[column], build_filters(machine, world=True)
    for flags in (1, 2, 0o100):  # O_WRONLY, O_RDWR, O_CREAT
        assert run(program, ARCH[machine], openat, 0, 0, flags) == ALLOW
        assert run(closed, ARCH[machine], openat, 0, 0, flags) == EROFS
    assert run(closed, ARCH[machine], openat, 0, 0, 0o2000000) == ALLOW  # O_CLOEXEC
    assert run(closed, ARCH[machine], (2, 56)[column], 0, 1, 1) == EROFS  # open has its flags one place earlier
    for numbers in (*new.values(), unshare, move_mount):
        assert decide(closed[0], ARCH[machine], numbers[column], 0x10020000) == EPERM


@pytest.mark.parametrize("machine", ARCH)
def test_neighbours_cannot_be_reached(machine: str) -> None:
    """No futex on shared memory, no clock and no cores of another process, nothing about the whole machine."""
    program, column = build_filters(machine), list(ARCH).index(machine)
    futex, affinity, clock, sysinfo = ((202, 98), (204, 123), (228, 113), (99, 179))
    assert run(program, ARCH[machine], futex[column], 1, 0x80) == ALLOW
    assert run(program, ARCH[machine], futex[column], 1, 0) == EPERM
    assert run(program, ARCH[machine], affinity[column], 0) == ALLOW
    assert run(program, ARCH[machine], affinity[column], 7) == EPERM
    assert run(program, ARCH[machine], clock[column], 1) == ALLOW
    assert run(program, ARCH[machine], clock[column], 0xFFFFFFFE) == EPERM
    assert run(program, ARCH[machine], sysinfo[column]) == EPERM
    for number in ((39, 110, 186), (172, 173, 178))[column]:
        assert run(program, ARCH[machine], number) == EPERM & ~0xFFFF  # an error that is none: process ids read as 0


@pytest.mark.parametrize("machine", ARCH)
def test_foreign_calls_kill_and_clone3_does_not_exist(machine: str) -> None:
    """Calls of another architecture and x32 numbers kill; clone3 returns ENOSYS, so that libc uses clone."""
    program = build_filters(machine)
    assert run(program, 0x40000003, 1) == KILL  # i386
    assert run(program, ARCH[machine], 0x40000000) == KILL
    assert run(program, ARCH[machine], 435) == ENOSYS


@pytest.mark.parametrize("machine", ARCH)
def test_the_tree_decides_each_number_as_the_table_does(machine: str) -> None:
    """Exactly the listed numbers are allowed, also at the edges of ranges."""
    from sca_cli.sandbox.inside import confine

    program = build_filters(machine)
    _, table, zygote, *special = confine._TABLES[machine]
    special += [table["futex"], table["sched_getaffinity"]]  # decided by an argument
    for number in range(600):
        if number not in (*special, 435):
            assert (run(program, ARCH[machine], number) == ALLOW) == (number in table.values()), number
            allowed = decide(program[0], ARCH[machine], number) == ALLOW
            assert allowed == (number in {*table.values(), *zygote.values()}), number
