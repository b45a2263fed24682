"""The limits of the machine: how an error names them, and how much memory there is."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sca_cli import machine, plugins
from sca_cli.errors import SandboxError
from sca_cli.sandbox.host import jail


@pytest.mark.parametrize(
    ("error", "message", "cure"),
    [
        (OSError(errno.EMFILE, ""), "too many open files; the limit is ", "ulimit -n"),
        (OSError(errno.ENFILE, ""), "too many open files; the limit is ", "--concurrency"),
        (MemoryError(), "out of memory", "ulimit -v"),
        (OSError(errno.ENOMEM, ""), "out of memory", "ulimit -v"),
        (BlockingIOError(errno.EAGAIN, ""), "no process or thread can be started", "ulimit -u"),
        (RuntimeError("can't start new thread"), "no process or thread can be started", "ulimit -u"),
        (OSError(errno.ENOSPC, "", "/x"), "no space left on the disk: /x", "free disk space"),
        (OSError(errno.EFBIG, ""), "a file is too large", "ulimit -f"),
        (OSError(errno.EROFS, "", "/x"), "the disk is read-only: /x", "another directory"),
    ],
)
def test_an_error_names_the_limit_that_it_reached(error: Exception, message: str, cure: str) -> None:
    """Each limit has its own message and a hint that raises it."""
    limit = machine.limit_reached(error)
    assert limit
    assert limit.message.startswith(message)
    assert cure in limit.hint
    assert limit.ends_run


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (ModuleNotFoundError("x", name="torch"), "training needs the package 'torch'", "pip install x"),
        (ImportError("libx.so: failed to map segment from shared object"), "cannot be loaded: libx.so", "ulimit -v"),
        (ImportError("libx.so: undefined symbol"), "cannot be loaded: libx.so: undefined symbol", "pip install x"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_not_called_absent(error: ImportError, message: str, hint: str) -> None:
    """An installed package whose libraries do not fit into the memory is an error of its own."""
    missing = plugins.missing_package(error, "training", "pip install x")
    assert message in missing.message
    assert hint in missing.hint


def test_other_errors_reach_no_limit() -> None:
    """An error of the program is not blamed on the machine."""
    for error in (OSError(errno.ENOENT, ""), RuntimeError("x"), KeyError("x")):
        assert machine.limit_reached(error) is None


def test_memory_is_that_of_the_smallest_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a parent group counts, without what the group uses; its file cache is not in use."""
    folder = tmp_path / "job" / "task"
    folder.mkdir(parents=True)
    for place, limit in ((folder, "max"), (folder.parent, str(300 << 20))):
        (place / "memory.max").write_text(f"{limit}\n")
        (place / "memory.current").write_text(f"{120 << 20}\n")
        (place / "memory.stat").write_text(f"anon 1\ninactive_file {20 << 20}\n")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path: "0::/job/task\n" if str(path) == "/proc/self/cgroup" else read(path)
    )
    assert machine.memory_mb() == 200
    assert machine.programs_mb() == 150


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (resource.RLIMIT_NOFILE, 20, "the limit of open files is 20"),
        (resource.RLIMIT_FSIZE, 8 << 10, "the limit of the size of a file is 8 KiB, and a jail needs 1024"),
        (resource.RLIMIT_AS, 300 << 20, "the limit of address space is 300 MiB, and a program may need 712"),
    ],
)
def test_a_jail_that_cannot_start_under_a_limit_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, kind: int, value: int, message: str
) -> None:
    """The limit is named before anything starts, and a usual limit is none."""
    jail.fail_if_limited(512)
    real = resource.getrlimit
    monkeypatch.setattr(resource, "getrlimit", lambda which: (value, value) if which == kind else real(which))
    with pytest.raises(SandboxError, match=message):
        jail.fail_if_limited(512)
    assert any(str(value >> 20) in note or str(value) in note for note in machine.low_limits())


@pytest.mark.parametrize(
    ("closed", "code", "message"),
    [(">&-", 4, "sca env: cannot write stdout: it is closed"), ("2>&-", 0, ""), ("<&- >&- 2>&-", 4, "")],
)
def test_a_closed_standard_stream_has_a_clear_end(closed: str, code: int, message: str) -> None:
    """A closed output is an error in one line; a closed input or error stream is none. There is no traceback."""
    ended = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m sca_cli.app env list {closed}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (ended.returncode, ended.stderr.partition("\n")[0]) == (code, message)


def test_the_library_of_python_that_a_variable_names_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A libpython that the loader found by LD_LIBRARY_PATH is mounted in the jail, and no library of another folder."""
    library = tmp_path / "libpython3.so.1.0"
    library.touch()
    read = Path.read_text
    maps = "7f0-7f1 r-xp 0 00:00 1  /elsewhere/libpython3.so.1.0\n"
    monkeypatch.setattr(Path, "read_text", lambda path: maps if str(path) == "/proc/self/maps" else read(path))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert jail._library_of_the_variable() is None
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere:{tmp_path}")
    assert jail._library_of_the_variable() == library
    assert (str(library), False) in jail.visible([])
