"""The private /tmp of a world: ordinary tools can use it, its size is limited, and no other session sees it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sca_cli import plugins
from sca_cli.errors import WorldError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox, Session
from sca_cli.sandbox.host import jail, temporary

TOOLS = '''"""Tools that use files."""
import ctypes
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

AT_IMPORT = tempfile.mkdtemp()


def note(text: str) -> list[str]:
    """Write and read a temporary file."""
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file:
        file.write(text)
        file.flush()
        return [Path(file.name).read_text(), *os.listdir(tempfile.gettempdir())]


def copies() -> list[str]:
    """Copy, rename and delete files and directories."""
    with tempfile.TemporaryDirectory() as name:
        first = Path(name, "first")
        first.write_text("1")
        shutil.copy2(first, Path(name, "second"))
        shutil.copytree(name, f"{name}-copy")
        shutil.rmtree(f"{name}-copy")
        first.rename(Path(name, "third"))
        return sorted(os.listdir(name))


def rows() -> int:
    """Use a database in a file."""
    with sqlite3.connect(Path(tempfile.gettempdir(), "rows.db")) as database:
        database.execute("CREATE TABLE IF NOT EXISTS rows (x)")
        database.execute("INSERT INTO rows VALUES (1)")
        return database.execute("SELECT count(*) FROM rows").fetchone()[0]


def left_open(files: int) -> int:
    """Keep databases open, as a tool does that waits for the garbage collector."""
    return len([sqlite3.connect(Path(tempfile.mkdtemp(), "x.db")).execute("CREATE TABLE x (y)") for _ in range(files)])


def keep(name: str) -> list[str]:
    """Write a file and list all files."""
    Path(tempfile.gettempdir(), name).write_text(name)
    return sorted(os.listdir(tempfile.gettempdir()))


def fill(files: int, mb: int) -> str:
    """Write some files of this size, as far as possible."""
    for number in range(files):
        try:
            Path(tempfile.gettempdir(), str(number)).write_bytes(bytes(mb << 20))
        except OSError as error:
            return f"{error.strerror}"
    return "all"


def of_the_import() -> bool:
    """Tell whether the directory that the import made is there."""
    return Path(AT_IMPORT).exists()


def elsewhere() -> list[str]:
    """Return the directories outside the temporary one that can be written."""
    places = ["/", "/usr", "/lib", "/dev", "/dev/shm", "/run", str(Path(__file__).parent), "/tmp", "/var/tmp"]
    written = []
    for place in places:
        try:
            Path(place, "mark").write_text("")
            written.append(place)
        except OSError:
            pass
    return [place for place in written if place != tempfile.gettempdir()]


def calls() -> list[int]:
    """Return what new namespaces and mounts return: -1 each."""
    libc = ctypes.CDLL(None)
    return [
        libc.unshare(0x10020000), libc.unshare(0x20000), libc.syscall(429, 0, b"", -100, b"/usr", 4),
        libc.mount(b"x", b"/usr", b"tmpfs", 0, 0), libc.umount2(b"/tmp", 2), libc.umount2(b"/var/tmp", 2),
        libc.syscall(430, b"tmpfs", 0), libc.syscall(428, -100, b"/", 1), libc.chroot(b"/usr"),
    ]
'''


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> EnvSpec:
    """Return the environment of a file of tools that use files."""
    path = tmp_path_factory.mktemp("tools") / "tools.py"
    path.write_text(TOOLS)
    (variant,) = plugins.expand_env(plugins.parse_env(f"python:{path}"))
    return variant


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Return a sandbox."""
    with Sandbox(Limits(wall_s=20)) as opened:
        yield opened


@pytest.fixture
def session(sandbox: Sandbox, tools: EnvSpec) -> Iterator[Session]:
    """Return a session of the tools that use files."""
    with sandbox.session(tools, 0) as opened:
        yield opened


@pytest.mark.sandbox
def test_tools_can_use_temporary_files(session: Session) -> None:
    """`tempfile`, `shutil` and a database in a file work, and a temporary file is gone when the tool closes it."""
    text, name = session.call("note", ["hello"]).result
    assert text == "hello" and name.endswith(".txt")
    assert session.call("copies").result == ["second", "third"]
    assert [session.call("rows").result for _ in range(2)] == [1, 2]
    assert session.call("keep", ["a"]).result == ["a", "rows.db"]
    with_program = session.run("final_answer(keep('b'))")
    assert with_program.answer == ["a", "b", "rows.db"]


@pytest.mark.sandbox
def test_a_tool_can_keep_many_files_open(session: Session) -> None:
    """sqlite3 closes a connection when the garbage collector finds it, so a tool holds many of them at a time."""
    assert session.call("left_open", [60]).result == 60


@pytest.mark.sandbox
def test_no_session_sees_the_files_of_another(sandbox: Sandbox, tools: EnvSpec) -> None:
    """Two sessions at the same time, and one after them, each find an empty directory, also with the same file name."""
    with sandbox.session(tools, 0) as one, sandbox.session(tools, 0) as other:
        assert one.call("keep", ["same"]).result == ["same"]
        assert other.call("keep", ["its own"]).result == ["its own"]
        assert one.call("keep", ["more"]).result == ["more", "same"]
    with sandbox.session(tools, 0) as later:
        assert later.call("keep", ["later"]).result == ["later"]


@pytest.mark.sandbox
def test_the_files_of_a_session_are_limited(sandbox: Sandbox, tools: EnvSpec) -> None:
    """Neither one large file, nor several, nor many empty ones exceed the limits of a session."""
    full = "No space left on device"
    for files, mb, end in (
        (1, 8, "all"),
        (15, 1, "all"),
        (1000, 0, "all"),
        (1, 17, "File too large"),
        (17, 1, full),
        (1100, 0, full),
    ):
        with sandbox.session(tools, 0) as session:
            assert session.call("fill", [files, mb]).result == end, (files, mb)


@pytest.mark.sandbox
def test_nothing_else_is_writable(session: Session) -> None:
    """A world writes to its own directory only, and can change neither mounts nor namespaces."""
    assert session.call("elsewhere").result == []
    assert session.call("calls").result == [-1] * 9


@pytest.mark.sandbox
def test_the_import_can_write_files_that_no_session_sees(session: Session) -> None:
    """Code that makes a temporary directory at its import starts; a session finds an empty place."""
    assert session.call("of_the_import").result is False
    assert session.call("keep", ["first"]).result == ["first"]


@pytest.mark.sandbox
def test_a_machine_without_private_files_has_no_shared_ones(
    tools: EnvSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel or its settings do not allow a private directory, a world can open no file for writing."""
    file = tmp_path / "plain.py"
    file.write_text(
        Path(tools.options["target"]).read_text().replace("AT_IMPORT = tempfile.mkdtemp()", "AT_IMPORT = ''")
    )
    (variant,) = plugins.expand_env(plugins.parse_env(f"python:{file}"))

    def of_no_use(_: temporary.TemporaryFolders) -> list[int]:
        return [os.open("/dev/null", os.O_RDONLY)]

    for make in (lambda _: [], of_no_use):
        monkeypatch.setattr(temporary.TemporaryFolders, "_make", make)
        with (
            Sandbox() as other,
            other.session(variant, 0) as session,
            pytest.raises(WorldError, match="No usable temp"),
        ):
            session.call("keep", ["x"])


@pytest.mark.sandbox
def test_the_kernel_frees_the_files(sandbox: Sandbox, tools: EnvSpec) -> None:
    """After many sessions that filled their files, the memory of the machine's file systems is as before."""
    before = _shared_kb()
    for _ in range(12):
        with sandbox.session(tools, 0) as session:
            session.call("fill", [12, 1])
    assert _shared_kb() - before < 100 << 10  # MiB that they filled: 144


def _shared_kb() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Shmem:"))


def test_the_place_is_one_that_hides_no_file() -> None:
    """A world whose own files are below /tmp has its temporary files in /var/tmp."""
    assert jail.writable_place(["/usr"]) in ("/tmp", "/var/tmp")
    assert jail.writable_place(["/tmp/project/tools.py", "/dev/null"]) in ("/var/tmp", "/tmp")


def test_a_helper_makes_them_for_who_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this process may not make a file system, a helper in a user namespace does; without one there is none."""

    def refuse() -> int:
        raise PermissionError

    monkeypatch.setattr(temporary, "_file_system", refuse)
    folders = temporary.TemporaryFolders()
    with folders.new() as fds:
        if not fds:
            pytest.skip("no user namespaces here")
        assert stat.S_IMODE(os.fstat(fds[0]).st_mode) == 0o1777
        inside = os.open(".", os.O_RDONLY, dir_fd=fds[0])
        assert os.listdir(inside) == []  # noqa: PTH208  a descriptor, not a path
        os.close(inside)
    folders.close()

    def end(*_: object) -> None:
        raise BlockingIOError

    monkeypatch.setattr(temporary.TemporaryFolders, "_start_helper", end)
    with folders.new() as fds:
        assert fds == []
