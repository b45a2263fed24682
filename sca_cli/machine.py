"""The limits of this machine and this process: memory, open files, CPU time. Name the limit that an error reached."""

import errno
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from sca_cli.errors import MachineError

_OPEN_FILES = 1 << 16
"""Open files that a process of sca asks for, if its hard limit allows them. Chosen by hand."""
_CPU_RESERVE_S = 2
"""Seconds of CPU time before the hard limit at which a run is ended with a message."""
_CGROUPS = Path("/sys/fs/cgroup")
_MEMORY_MB = 4096
"""Available memory in MiB with which a usual run has no need to wait for memory: 8 programs at the default limit."""
_SHARE = 0.75
"""Part of the available memory that programs in jails may take together; the rest is for worlds and the host."""


def prepare() -> None:
    """Prepare this process: replace closed standard streams, raise the soft limit of open files, watch the CPU limit.

    A closed standard stream is replaced by /dev/null, so that no file gets its descriptor number. If standard output
    was closed, its replacement cannot be written, and `fail_if_stdout_is_closed` reports this. If standard error was
    closed, messages are lost.
    """
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        if _is_closed(descriptor):
            os.open(os.devnull, mode)  # it gets the lowest free number
            os.set_inheritable(descriptor, True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != resource.RLIM_INFINITY:
        signal.signal(signal.SIGXCPU, _end_by_cpu_limit)
        if soft == hard and hard > _CPU_RESERVE_S:  # at the hard limit the kernel kills without a signal to handle
            resource.setrlimit(resource.RLIMIT_CPU, (hard - _CPU_RESERVE_S, hard))


def _end_by_cpu_limit(*_: Any) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)  # the kernel repeats it every second
    raise MachineError(
        "the limit of CPU time is reached (ulimit -t)", "raise the limit; --resume continues, if the verb has it"
    )


def _is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def fail_if_stdout_is_closed() -> None:
    """Check that standard output was not closed when this process started.

    Raises:
        MachineError: it was.
    """
    if not _is_writable(1):
        raise _stdout_closed()


def _is_writable(descriptor: int) -> bool:
    if _is_closed(descriptor):
        return False
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def _stdout_closed() -> MachineError:
    return MachineError("cannot write stdout: it is closed", "write to a file or to /dev/null")


def limit_reached(error: BaseException) -> MachineError | None:
    """Return the error that names the limit of the machine which an exception reached, or None if it reached none."""
    fewer = "or run fewer at once (--concurrency)"
    number = error.errno if isinstance(error, OSError) else 0
    if number in (errno.EMFILE, errno.ENFILE):
        count = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return MachineError(f"too many open files; the limit is {count}", f"raise 'ulimit -n', {fewer}")
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return MachineError("out of memory", f"free memory or raise 'ulimit -v', {fewer}")
    if number == errno.EAGAIN or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
        return MachineError("no process or thread can be started", f"raise 'ulimit -u' or 'ulimit -v', {fewer}")
    if number == errno.EBADF and not _is_writable(1):
        return _stdout_closed()
    if number in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(f"no space left on the disk{_file_of(error)}", "free disk space")
    if number == errno.EFBIG:
        return MachineError(f"a file is too large{_file_of(error)}", "raise 'ulimit -f'")
    if number == errno.EROFS:
        return MachineError(f"the disk is read-only{_file_of(error)}", "write to another directory")
    return None


def _file_of(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return f": {name}" if name else ""


def low_limits() -> list[str]:
    """Return one line for each limit of this machine or process that a usual run may reach."""
    notes = []
    for kind, text, enough in (
        (resource.RLIMIT_NOFILE, "open files: {0} (ulimit -n); a run may need a lower --concurrency", 1024),
        (resource.RLIMIT_NPROC, "processes: {0} (ulimit -u); a run may need a lower --concurrency", 512),
        (resource.RLIMIT_AS, "address space: {1} MiB (ulimit -v); local models and training need more", None),
        (resource.RLIMIT_CPU, "CPU time: {0} s (ulimit -t); a longer run is stopped, and --resume continues", None),
        (resource.RLIMIT_FSIZE, "file size: {1} MiB (ulimit -f); a larger output is not written", None),
    ):
        hard = resource.getrlimit(kind)[1]
        if hard != resource.RLIM_INFINITY and (enough is None or hard < enough):
            notes.append(text.format(hard, hard >> 20))
    if memory_mb() < _MEMORY_MB:
        notes.append(f"memory: {memory_mb()} MiB available; few programs run at once")
    return notes


# ---------------------------------------------------------------- memory


def memory_mb() -> int:
    """Return the memory in MiB that is available: of the machine, or of this process's control groups if less."""
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available_kib = int(meminfo["MemAvailable"].split()[0])
    return min([available_kib << 10, *_group_limits()]) >> 20


def _group_limits() -> Iterator[int]:
    """Yield the bytes that each control group of this process still allows, for version 2 and version 1."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = _CGROUPS / controllers
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            with suppress(OSError, ValueError):  # not mounted here, or "max"
                limit, usage = (int((folder / name).read_text()) for name in names)
                yield max(0, limit - usage + _cached(folder))


def _cached(folder: Path) -> int:
    """Return the bytes of a group's file cache that the kernel can free."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def programs_mb() -> int:
    """Return the memory in MiB that the programs of a run may take together."""
    return max(1, int(memory_mb() * _SHARE))
