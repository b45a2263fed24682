"""The `mcp` environment against real servers: processes that the protocol's own package runs."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BIN, descendants

from sca_cli import plugins
from sca_cli.errors import UsageError, WorldError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox

pytest.importorskip("mcp", reason="needs the extra mcp")
pytestmark = pytest.mark.sandbox

SERVER = Path(__file__).parents[1] / "mcp_shop.py"


def spec(server: str) -> EnvSpec:
    """Return the one variant of a specification."""
    (found,) = plugins.expand_env(plugins.parse_env(f"mcp:{server}"))
    return found


TILL = spec(f"{sys.executable} {SERVER}")


@pytest.fixture(scope="module")
def opened() -> Iterator[Sandbox]:
    """Give a sandbox whose limits leave a server time to start on a busy machine."""
    with Sandbox(Limits(wall_s=30)) as sandbox:
        yield sandbox


def test_tools_are_described_from_their_schemas(opened: Sandbox) -> None:
    """Names become Python's, schemas are made of what is used here, only tools hinted read-only do not write."""
    tools, policy, _ = opened.describe(TILL)
    assert policy == "You keep the till."
    assert {tool.name: tool.writes for tool in tools} == {
        "amount": False, "pay_out": True, "list_coins": False, "hang": False, "leave": False, "daemon": True,
    }  # fmt: skip
    signatures = {tool.name: tool.signature for tool in tools}
    assert signatures["pay_out"] == "pay_out(cents: int, reason: str = '') -> dict"
    assert signatures["list_coins"] == (
        "list_coins(kind: Literal['big', 'small'], at_most: int | None = None) -> list[int]"
    )


def test_a_server_that_a_package_provides(opened: Sandbox) -> None:
    """One that others wrote: its schemas, hints, results and errors; a check may call what it hints to be read-only."""
    pytest.importorskip("mcp_server_time", reason="needs the development tools")
    clock = spec(f"{sys.executable} -m mcp_server_time --local-timezone Etc/UTC")
    tools = {tool.name: tool for tool in opened.describe(clock).tools}
    wanted = "convert_time(source_timezone: str, time: str, target_timezone: str)"
    assert tools["convert_time"].signature.startswith(wanted)
    assert {name for name, tool in tools.items() if not tool.writes} == {"convert_time", "get_current_time"}
    with opened.session(clock, 0) as session:
        run = session.run(
            "import json\nfound = convert_time('Asia/Tokyo', '09:00', 'Etc/UTC')\n"
            "final_answer(found if isinstance(found, dict) else json.loads(found))"
        )
        assert run.ok and run.answer["time_difference"] == "-9.0h", run
        assert "Invalid timezone" in session.call("get_current_time", ("Mars/Olympus",)).error
        again = "str(convert_time('Asia/Tokyo', '09:00', 'Etc/UTC'))"
        check = f"def evaluate(answer):\n    return answer['time_difference'] in {again}"
        assert session.evaluate(check).outcome == "pass"


def test_odd_tools_keep_their_schemas_and_get_names_of_their_own(
    opened: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nested properties, references, defaults and null schemas are read; colliding names differ, and each says whose it
    is; a parameter may be called `self`; an image is described; a result that breaks its schema is still the result.
    """
    monkeypatch.setenv("SECRET", "s3")
    odd = spec(
        f"reads=read* image,call_s=20,env.TOKEN=$SECRET,server={sys.executable} {SERVER.with_name('mcp_odd.py')}"
    )
    assert "s3" not in str(odd)
    assert plugins.parse_env(str(odd)) == odd
    tools = {tool.name: tool for tool in opened.describe(odd).tools}
    assert list(tools) == ["nested", "odd", "read_file", "read_file_2", "final_answer_", "image", "null", "lies"]
    assert [name for name, tool in tools.items() if not tool.writes] == ["read_file", "read_file_2", "image"]
    assert tools["nested"].signature == "nested(to: {'street': str}, n: int = 2) -> Any"
    assert tools["nested"].parameters["properties"]["n"] == {"type": "integer", "minimum": 1, "default": 2}
    assert tools["read_file"].description.endswith("Names at the server: read_file is 'read-file'.")
    assert list(tools["odd"].parameters["properties"]) == ["self", "from_", "_filter", "a_b", "a_b_2"]
    with opened.session(odd, 0) as session:
        assert session.call("nested", (), {"to": {"street": "x"}}).result == ["nested", {"to": {"street": "x"}}]
        assert "argument 'to' must be {'street': str}, not dict {}" in session.call("nested", (), {"to": {}}).error
        ran = session.run("final_answer(odd(self='s', from_='f', a_b='1', a_b_2='2'))")
        assert ran.answer == ["odd", {"self": "s", "from": "f", "a b": "1", "a_b": "2"}]
        assert session.call("read_file_2").result == ["read_file", {}]
        assert session.call("image").result == "[image: image/png, 3 bytes, not shown]\n!"
        assert session.call("lies").result == {"y": "s3"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("reads=nothing", "reads=nothing: the server has no such tool"),
        ("call_s=soon", "call_s=soon: not a number of seconds"),
        ("env.TOKEN=$NO_SUCH_VARIABLE", "the variable NO_SUCH_VARIABLE is not set"),
        ("header.Authorization=x", "headers are for a server at a URL"),
        ("speed=1", "no option 'speed'"),
    ],
)
def test_options_that_are_not_valid_are_named(opened: Sandbox, options: str, message: str) -> None:
    """Each is the user's mistake, in one line."""
    with pytest.raises(UsageError, match=re.escape(message)):
        opened.describe(spec(f"{options},server={sys.executable} {SERVER.with_name('mcp_odd.py')}"))


def test_odd_results_are_results_and_errors_are_refusals(opened: Sandbox) -> None:
    """A result without content, or with a part of an unknown kind, and an error with the code of a closed connection:
    the session lives.
    """
    with opened.session(spec(f"{sys.executable} {SERVER.with_name('mcp_odd.py')} results"), 0) as session:
        assert "the tool failed without a message" in session.call("bare_error").error
        assert (session.call("bare").result, session.call("null").result) == ("", "")
        assert session.call("text").result == "hi"
        assert session.call("unknown").result == '{"type": "hologram", "data": 5}\n!'
        assert "boom" in session.call("fails").error
        assert session.call("text").result == "hi"


def test_a_list_of_tools_that_never_ends_is_refused(opened: Sandbox) -> None:
    """A server whose list of tools always has a next page is not taken, and the message says why."""
    with pytest.raises(UsageError, match="does not list its tools: its list has more than 100 pages"):
        opened.describe(spec(f"{sys.executable} {SERVER.with_name('mcp_odd.py')} endless"))


def test_a_session_is_a_server_of_its_own_with_its_seed(opened: Sandbox) -> None:
    """State lives as long as the session, from its seed; a program and its check talk to the same server."""
    with opened.session(TILL, 5) as one, opened.session(TILL, 6) as other:
        assert (one.call("amount").result, other.call("amount").result) == (105, 106)
        ran = one.run(
            "pay_out(cents=5)\npay_out(2, 'tea')\nprint(list_coins('small', at_most=1))\nfinal_answer(amount())"
        )
        assert (ran.output, ran.answer) == ("[1]\n", 98)
        assert other.call("amount").result == 106
        assert one.evaluate("def evaluate(answer):\n    return amount() == answer == 98").outcome == "pass"


def test_errors_are_refusals_and_misfits_never_leave(opened: Sandbox) -> None:
    """The server's own error is a ToolError; arguments that do not fit the schema are refused here."""
    with opened.session(TILL, 0) as session:
        assert "there are 100 cents" in session.call("pay_out", (), {"cents": 500}).error
        assert "must be int, not str '5'" in session.call("pay_out", (), {"cents": "5"}).error
        assert "must be one of 'big', 'small'" in session.call("list_coins", ("huge",)).error
        judged = session.evaluate("def evaluate():\n    pay_out(1)\n    return True")
        assert (judged.outcome, "which a check may not" in judged.message) == ("invalid", True)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("leave", ()), "leave.*Connection closed; stderr: the till is broken"),
        (("hang", (60.0,)), "the server gave no reply within 8 s"),
    ],
)
def test_a_server_that_ends_or_hangs_makes_the_session_invalid(
    opened: Sandbox, call: tuple[str, tuple[float, ...]], said: str
) -> None:
    """The outcome is invalid, with the world as the reason."""
    with opened.session(TILL, 0) as session:
        with pytest.raises(WorldError, match=said):
            session.call(*call)
        judged = session.evaluate("def evaluate():\n    return True")
        assert (judged.outcome, judged.reason) == ("invalid", "world")


def test_nothing_a_session_started_outlives_it(no_strays: None) -> None:  # noqa: ARG001  it is what is proved
    """A server that starts a process in a session of its own, which starts another, leaves neither; close() neither."""
    with Sandbox(Limits(wall_s=30)) as sandbox:
        standing: set[int] | None = None
        for _ in range(2):
            with sandbox.session(TILL, 0) as session:
                started = session.call("daemon").result
                assert list(descendants(os.getpid()).values()).count("sleep") == 2
            deadline = time.monotonic() + 5  # the zygote looks for what has ended several times a second
            while Path(f"/proc/{started}").exists() or "sleep" in descendants(os.getpid()).values():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            left = set(descendants(os.getpid())) - set(sandbox.spares())
            assert left == (standing or left)
            standing = left
        session = sandbox.session(TILL, 0)
        session.call("daemon")
    session.close()


def test_a_host_that_is_killed_leaves_nothing(no_strays: None) -> None:  # noqa: ARG001  it is what is proved
    """Whoever ran the sandbox may die without a word: its servers, and what they started, die too."""
    code = (
        "import os, sys; from sca_cli.records import EnvSpec; from sca_cli.sandbox import Limits, Sandbox\n"
        "session = Sandbox(Limits(wall_s=30)).session(EnvSpec(name='mcp', options={'server': sys.argv[1]}), 0)\n"
        "session.call('daemon'); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, TILL.options["server"]], check=False, timeout=120)
    assert ended.returncode == -9


def test_a_served_environment_is_the_environment(opened: Sandbox) -> None:
    """`sca env serve` is a server: through it an environment has the same tools, seeds, results, state and policy."""
    direct = EnvSpec(name="calculation", options={"family": "travel_itinerary"})
    served = spec(f"{BIN / 'sca'} env serve calculation:family=travel_itinerary --mcp")
    tools, policy, _ = opened.describe(direct)
    through, through_policy, _ = opened.describe(served)
    assert through_policy == policy
    assert [(tool.name, tool.writes) for tool in through] == [(tool.name, tool.writes) for tool in tools]
    assert [set(tool.parameters["properties"]) for tool in through] == [
        set(tool.parameters["properties"]) for tool in tools
    ]
    with opened.session(direct, 11) as here, opened.session(served, 11) as there:
        assert here.state() == there.state() != {}
        for call in (
            ("sum", (), {"numbers": [1, 2]}),
            ("find_flights", (), {"x": 1}),
            ("budget_calculator", (1, 2, 3)),
        ):
            mine, theirs = here.call(*call), there.call(*call)
            assert (mine.result, bool(mine.error)) == (theirs.result, bool(theirs.error))


def spec_of_file(path: Path) -> EnvSpec:
    """Return the specification of a Python file."""
    return EnvSpec(name="python", options={"target": str(path)})


def test_a_served_file_is_found_from_where_it_was_typed(
    opened: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sca env serve` takes an environment's options as every verb does: a relative path is resolved. Defaults and the
    schema of the result are served, too.
    """
    tmp_path.chmod(0o755)
    (tmp_path / "till.py").write_text("def amount(less: int = 1) -> int:\n    'Cents.'\n    return 5 - less\n")
    monkeypatch.chdir(tmp_path)
    served = spec(f"{BIN / 'sca'} env serve python:till.py --mcp")
    assert opened.describe(served).tools == opened.describe(spec_of_file(tmp_path / "till.py")).tools
    with opened.session(served, 0) as session:
        assert session.call("amount").result == 4


def test_a_server_over_http(opened: Sandbox, tmp_path: Path) -> None:
    """`--env mcp:URL` talks to `sca env serve --http PORT`, which has one state for all sessions, and all variants."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(BIN / "sca"), "env", "serve", "calculation", "--http", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    try:
        _wait_for(port)
        with opened.session(spec(f"http://127.0.0.1:{port}/mcp"), 0) as session:
            assert session.call("reverse_string", ("abc",)).result == "cba"
            assert session.call("reverse_string", (), {"s": "xy"}).result == "yx"
            assert session.call("count_nucleotides", ("AAC",)).result["A"] == 2
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no server")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("/no/such/program", "No such file or directory"),
        ("/bin/true", "the server is gone"),
        ("http://127.0.0.1:9/mcp", "the server is gone: ConnectError"),
    ],
)
def test_no_server_is_the_users_mistake(opened: Sandbox, server: str, said: str) -> None:
    """A command that cannot run, a program that is no server, and an address without a server are usage errors."""
    with pytest.raises(UsageError, match=said):
        opened.describe(spec(server))


def test_what_a_server_says_before_it_ends_is_in_the_error(opened: Sandbox, tmp_path: Path) -> None:
    """The last lines of its stderr, whether it ends at once or only where a session starts it."""
    path = tmp_path / "server.py"
    path.write_text("import sys\nprint('reading prices', file=sys.stderr)\nraise OSError('no prices.db')\n")
    said = r"the server is gone: .*; stderr: .*server\.py\", line 3, in <module> \| .* \| OSError: no prices\.db$"
    with pytest.raises(UsageError, match=said):
        opened.describe(spec(f"{sys.executable} {path}"))
    path = tmp_path / "later.py"
    path.write_text(f"import os, runpy\nif 'SCA_SEED' in os.environ:\n    raise OSError('no seed')\n"
                    f"runpy.run_path({str(SERVER)!r}, run_name='__main__')\n")  # fmt: skip
    with opened.session(spec(f"{sys.executable} {path}"), 0) as session, pytest.raises(WorldError, match="OSError: no"):
        session.call("amount")


def test_a_server_of_somebody_elses(opened: Sandbox) -> None:
    """The reference server for time works: its tools, its refusals, and its last words on stderr if it does not
    start.
    """
    if not (server := shutil.which("mcp-server-time")):
        pytest.skip("needs the program mcp-server-time, of the package of that name, on PATH")
    berlin = spec(f"{server} --local-timezone Europe/Berlin")
    assert [tool.name for tool in opened.describe(berlin).tools] == ["get_current_time", "convert_time"]
    with opened.session(berlin, 0) as session:
        given = {"source_timezone": "Europe/Berlin", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        assert session.call("convert_time", (), given).result["target"]["timezone"] == "Asia/Tokyo"
        assert "nvalid timezone" in session.call("get_current_time", ("Europe/Nowhere",)).error
        ran = session.run("final_answer(convert_time('UTC', '10:30', 'UTC')['time_difference'])")
        assert ran.answer == "+0.0h"
    with pytest.raises(UsageError, match=r"stderr: .*unrecognized arguments: --nonsense"):
        opened.describe(spec(f"{server} --nonsense"))


def test_files_of_the_command_are_recorded_by_their_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are good in any directory; words that are no files stay as they are."""
    monkeypatch.chdir(SERVER.parent)
    assert spec("python mcp_shop.py --flag 'a b'").options == {"server": f"python {SERVER} --flag 'a b'"}


def test_a_server_gets_few_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is given where programs are and the language, and what an option names; no key of the user."""
    from sca_mcp.connection import _target

    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    monkeypatch.setenv("LANG", "C.UTF-8")
    target = _target("server --quiet", {"SCA_SEED": "3"})
    assert not isinstance(target, str)
    assert target.env is not None
    assert {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "SCA_SEED": "3"}.items() <= target.env.items()
    assert target.env.keys() <= {
        "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SCA_SEED",
    }  # fmt: skip
