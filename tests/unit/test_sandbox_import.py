"""A world imports code that may have come with the data: what that code can do before and at its import."""

import os
from pathlib import Path

import pytest

from sca_cli import app, plugins
from sca_cli.errors import ExitCode, PluginError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox

pytestmark = pytest.mark.sandbox

PROBES = '''"""Try things at import; the state is what happened."""
import ctypes, mmap, os, resource, socket, threading
import beside.inner
from pathlib import Path

here = Path(__file__).parent


def _tried(work):
    try:
        return f"done: {work()}"[:40]
    except BaseException as error:
        return type(error).__name__


seen = {
    "vsock": _tried(lambda: socket.socket(40, 1)),
    "netlink": _tried(lambda: socket.socket(16, 3)),
    "inet": _tried(lambda: socket.socket()),
    "fork": _tried(os.fork),
    "thread": _tried(threading.Thread(target=print).start),
    "mount": ctypes.CDLL(None).mount(b"x", b"/usr", b"tmpfs", 0, 0),
    "more processes": _tried(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (64, 64))),
    "more data": _tried(lambda: resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))),
    "600 MB": _tried(lambda: len(bytearray(600 << 20))),
    "600 MB shared": _tried(lambda: len(mmap.mmap(-1, 600 << 20))),
    "300 MB": _tried(lambda: len(bytearray(300 << 20))),
    "secret": _tried((here / ("sec" + "ret.txt")).read_text),
    "named secret": _tried((here / "secret.txt").read_text),
    "rates": _tried((here / "rates.json").read_text),
    "imported": beside.inner.NAME,
    "folder": sorted(os.listdir(here)),
}


def count() -> int:
    """Return a number."""
    return os.fork()
'''


def spec(path: Path) -> EnvSpec:
    """Return the one variant of a file of tools."""
    (variant,) = plugins.expand_env(plugins.parse_env(f"python:{path}"))
    return variant


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Write a file of tools with neighbours: a package that it imports, public data, a secret."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "__init__.py").write_text("")
    (tmp_path / "beside" / "inner.py").write_text("from . import other\nNAME = other.NAME\n")
    (tmp_path / "beside" / "other.py").write_text("NAME = 'other'\n")
    (tmp_path / "rates.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("hush")
    (tmp_path / "secret.txt").chmod(0o600)
    (tmp_path / "unused.py").write_text("")
    path = tmp_path / "tools.py"
    path.write_text(PROBES)
    return path


def test_the_import_is_confined(tools: Path) -> None:
    """At its import a file opens no socket, forks nothing, fills little memory, and sees only what it needs."""
    with Sandbox() as sandbox, sandbox.session(spec(tools), 0) as session:
        state = session.state()
    assert isinstance(state, dict)
    assert state["seen"] == {
        "vsock": "PermissionError",
        "netlink": "PermissionError",
        "inet": "PermissionError",
        "fork": "BlockingIOError",
        "thread": "RuntimeError",
        "mount": -1,
        "more processes": "ValueError",
        "more data": "ValueError",
        "600 MB": "MemoryError",
        "600 MB shared": "PermissionError",
        "300 MB": f"done: {300 << 20}",
        "secret": "FileNotFoundError",
        "named secret": "FileNotFoundError",
        "rates": "done: {}",
        "imported": "other",
        "folder": ["beside", "rates.json", "tools.py"],
    }


def test_namespaces_give_an_import_nothing(tmp_path: Path) -> None:
    """At its import a file can enter the namespaces of a session, and there it can neither fork nor mount."""
    path = tmp_path / "tools.py"
    path.write_text(
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None)\n"
        "seen = [libc.unshare(0x10020000), libc.mount(b'', b'/usr', b'tmpfs', 0, 0), libc.syscall(430, b'ramfs', 0)]\n"
        "seen += [libc.syscall(429, -100, b'/usr', -100, b'/lib', 0), libc.chroot(b'/'), libc.sethostname(b'x', 1)]\n"
        "try:\n    os.fork()\nexcept OSError as error:\n    raise SystemExit(f'{seen[1:]} {error.strerror}')\n"
    )
    with Sandbox() as sandbox, pytest.raises(PluginError, match=r"\[-1, -1, -1, -1, -1\] Resource temporarily"):
        sandbox.describe(spec(path))


def test_only_children_are_killed_by_their_descriptor(shop: EnvSpec) -> None:
    """The pidfd of the host or of any process that is no child of the zygote is not taken for one of its children."""
    with Sandbox() as sandbox, sandbox.session(shop, 1) as session:
        session.state()
        zygote = next(iter(sandbox._pools.values()))._zygotes[0]
        assert all(zygote._is_own(spare._pidfd) for spare in zygote._spares)
        for pid in (os.getpid(), os.getppid(), zygote.pid(), zygote._pid):
            descriptor = os.pidfd_open(pid)
            assert not zygote._is_own(descriptor)
            os.close(descriptor)
        assert not zygote._is_own(0)


@pytest.mark.parametrize(
    "text", ["x = bytearray(700 << 20)", 'import os\nos.write(2, b"what(): std::bad_alloc\\n")\nos.abort()']
)
def test_an_import_that_fills_the_memory_is_named(tmp_path: Path, text: str) -> None:
    """A file whose import needs more memory than it may have is an error of the file, with the limit."""
    path = tmp_path / "tools.py"
    path.write_text(f"{text}\n")
    with Sandbox() as sandbox, pytest.raises(PluginError, match=r"MemoryError|bad_alloc") as raised:
        sandbox.describe(spec(path))
    assert raised.value.hint == "the limit of its memory is 512 MiB: raise --memory-mb, as in --memory-mb 2048"


def test_a_higher_limit_lets_an_import_fill_more(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The option that the error names works for the verbs that come before `verify`."""
    path = tmp_path / "tools.py"
    path.write_text('_size = len(bytearray(700 << 20))\ndef size() -> int:\n    """Tell it."""\n    return _size\n')
    for verb in (["env", "show", f"python:{path}"], ["explore", "--env", f"python:{path}", "-n", "1"]):
        assert app.run(verb) == ExitCode.MISSING
        assert "--memory-mb 2048" in capfd.readouterr().err
        assert app.run([*verb, "--memory-mb", "900"]) == ExitCode.OK
    assert '"result":734003200' in capfd.readouterr().out


@pytest.mark.parametrize(
    "forgery",
    [
        "world.WorldRole.ready = lambda self: {'tools': 7}",
        "world.WorldRole.ready = lambda self: ['x']",
        "world.WorldRole.ready = lambda self: {'tools': [{'name': 1}], 'policy': ''}",
        "zygote.send_blob = lambda sock, *_: zygote.send_fds(sock, b'ready', [0])",
        "zygote.send_blob = lambda sock, *_: zygote.send_fds(sock, b'failed', [zygote.os.open('/dev/urandom', 0)])",
        "zygote.send_blob = lambda sock, *_: sock.send(b'ready')",
    ],
)
def test_a_forged_description_is_an_error_of_the_plugin(tmp_path: Path, forgery: str) -> None:
    """Code that replaces the zygote's own functions can make its description unreadable, and no more."""
    path = tmp_path / "tools.py"
    path.write_text(f"from sca_cli.sandbox.inside import world, zygote\n{forgery}\n")
    path.write_text(path.read_text() + 'def f() -> int:\n    """Return 1."""\n    return 1\n')
    with Sandbox() as sandbox, pytest.raises(PluginError, match="its description cannot be read"):
        sandbox.describe(spec(path))


def test_an_import_that_takes_the_namespaces_costs_its_own_records(tmp_path: Path) -> None:
    """Then no session of this environment starts: an error of the plugin, which ends no run, unlike a broken jail."""
    path = tmp_path / "tools.py"
    path.write_text(
        'import ctypes\nctypes.CDLL(None).unshare(0x10020000)\ndef f() -> int:\n    """Return 1."""\n    return 1\n'
    )
    with Sandbox() as sandbox:
        with pytest.raises(PluginError, match="ends right after it starts"), sandbox.session(spec(path), 0):
            pass
        with sandbox.session(EnvSpec(name="calculation"), 0) as session:
            assert session.call("count_nucleotides", ["AAC"]).result["A"] == 2
