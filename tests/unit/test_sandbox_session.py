"""Sessions: turns, tools, judgements, each limit and its reason, and what happens when a part dies."""

import contextlib
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sca_cli.doctor import host
from sca_cli.errors import WorldError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox, Session
from sca_cli.sandbox.host import children
from sca_cli.sandbox.host import sandbox as host_sandbox

pytestmark = pytest.mark.sandbox

RENAME = "set_name('user_1', 'Bob')"
IS_BOB = "def evaluate():\n    return get_user('user_1')['name'] == 'Bob'"


@pytest.fixture
def session(sandbox: Sandbox, shop: EnvSpec) -> Iterator[Session]:
    """Give a fresh session of the shop."""
    with sandbox.session(shop, 1) as opened:
        yield opened


@pytest.fixture(scope="module")
def patient() -> Iterator[Sandbox]:
    """Give a sandbox whose CPU limit is reached long before its time limit, however busy the machine is."""
    with Sandbox(Limits(wall_s=60, cpu_s=1, memory_mb=128, output_bytes=4096, calls=20)) as opened:
        yield opened


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def zygotes(sandbox: Sandbox) -> list[int]:
    """Return the pids of the sandbox's zygotes, as the host sees them."""
    nsjails = [zygote._process.pid for slot in sandbox._pools.values() for zygote in slot._zygotes]
    return [int(pid) for n in nsjails for pid in Path(f"/proc/{n}/task/{n}/children").read_text().split()]


# ---------------------------------------------------------------- programs


def test_a_check_is_true_or_false_by_what_the_program_did(sandbox: Sandbox, shop: EnvSpec) -> None:
    """The same check passes after the change it asks for and fails without it."""
    for code, outcome in ((RENAME, "pass"), ("get_user('user_1')", "fail")):
        with sandbox.session(shop, 1) as session:
            assert session.run(code).ok
            assert session.evaluate(IS_BOB).outcome == outcome


def test_names_live_from_turn_to_turn_and_a_last_expression_is_echoed(session: Session) -> None:
    """Turns share one interpreter, as cells of a notebook do."""
    assert session.run("import math\ndef double(x):\n    return 2 * x\nprint('hi')").output == "hi\n"
    assert session.run("y = double(21)\ny").output == "42\n"
    assert session.run("None").output == ""
    assert session.run("_ + 1").output == "43\n"


def test_calls_are_recorded_by_turn_with_arguments_results_and_errors(session: Session) -> None:
    """A turn's calls are its own; the session has all of them, in order."""
    first = session.run("get_user('user_1')\ntry:\n    get_user(uid='x')\nexcept ToolError as error:\n    print(error)")
    second = session.run(RENAME)
    assert first.output == "no user 'x'\n"
    assert [(c.tool, c.args, c.kwargs, c.result, c.error, c.writes) for c in first.calls] == [
        ("get_user", ["user_1"], {}, {"name": "Ann1"}, "", False),
        ("get_user", [], {"uid": "x"}, None, "no user 'x'", False),
    ]
    assert [(c.tool, c.result, c.writes) for c in second.calls] == [("set_name", "ok", True)]
    assert session.calls == first.calls + second.calls


def test_every_refusal_is_one_class_of_error_in_programs(session: Session) -> None:
    """`except ToolError` catches arguments that do not fit, as it catches refusals; `except TypeError` still does."""
    for kind in ("ToolError", "TypeError"):
        for call in ("get_user()", "get_user(1)", "get_user({1})"):
            assert session.run(f"try:\n    {call}\nexcept {kind} as error:\n    print(error)").output.startswith(
                "get_user()"
            )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("get_user()", "TypeError: get_user() missing a required argument: 'uid'"),
        ("get_user('a', 'b')", "TypeError: get_user() too many positional arguments"),
        ("get_user(id='a')", "TypeError: get_user() missing a required argument: 'uid'"),
        ("get_user(1)", "TypeError: get_user() argument 'uid' must be str, not int 1"),
        ("divide(True)", "TypeError: divide() argument 'a' must be float, not bool True"),
        ("divide(10 ** 400)", "TypeError: divide() argument 'a' must be float"),
        ("add(1, 'x')", "TypeError: add() argument 'numbers' must be list[float], not tuple (1, 'x')"),
        ("get_user({1})", "TypeError: get_user(): Object of type set is not JSON serializable"),
        ("echo(float('nan'))", "TypeError: echo(): Out of range float values are not JSON compliant"),
        ("echo('\\ud800')", "TypeError: echo(): 'utf-8' codec can't encode"),
        ("not_finite()", "ToolError: not_finite(): the result cannot be given"),
        ("get_user('nobody')", "ToolError: no user 'nobody'"),
        ("final_answer({1})", "TypeError: final_answer(): Object of type set is not JSON serializable"),
    ],
)
def test_a_call_that_cannot_be_is_an_exception_the_model_can_read(session: Session, call: str, says: str) -> None:
    """Wrong arity, names, types and values raise in the program, and the program and its world live on."""
    run = session.run(f"x = 1\n{call}")
    assert (run.reason, run.alive) == ("exception", True)
    assert "\n  line 2, in <module>\n" in run.message
    assert run.message.splitlines()[-1].startswith(says), run.message
    assert session.run("x").output == "1\n"


def test_tools_are_python_functions(session: Session) -> None:
    """Tools have a name and a docstring, accept keywords and star arguments, and return JSON values."""
    code = "print(get_user.__name__, get_user.__doc__.splitlines()[0])\nprint(add(1, 2, 3.5), add(), divide(b=4, a=2))"
    assert session.run(code).output == "get_user get_user(uid: str) -> dict[str, Any]\n6.5 0 0.5\n"
    assert session.run("echo((1, {2: None}))").output == "[1, {'2': None}]\n"


def test_the_final_answer_ends_the_program(session: Session) -> None:
    """Nothing after it runs, `except Exception` does not stop it, and the check is given it."""
    run = session.run("try:\n    final_answer({'a': [1, None]})\nexcept Exception:\n    pass\nprint('never')")
    assert (run.ok, run.answered, run.answer, run.output) == (True, True, {"a": [1, None]}, "")
    assert session.evaluate("def evaluate(answer):\n    return answer == {'a': [1, None]}").outcome == "pass"


def test_exit_ends_the_turn(session: Session) -> None:
    """`sys.exit()` is the end of the code; a status other than 0 is an exception."""
    assert session.run("import sys\nsys.exit()").ok
    assert session.run("sys.exit(3)").message.endswith("SystemExit: 3")


def test_a_traceback_shows_the_models_lines_only(session: Session) -> None:
    """Line numbers are those of the code of this turn; our own frames are left out."""
    run = session.run("def f(x):\n    return get_user(x)\n\nf(\n  'x')")
    assert run.message == (
        "Traceback (most recent call last):\n"
        "  line 4, in <module>\n    f(\n  line 2, in f\n    return get_user(x)\n"
        "ToolError: no user 'x'"
    )


# ---------------------------------------------------------------- limits

LIMITS = {
    "timeout": "import time\nprint('before')\ntime.sleep(60)",
    "cpu": "while True:\n    pass",
    "memory": "x = bytearray(1 << 30)",
    "output": "while True:\n    print('x' * 1000)",
    "reply": "final_answer('x' * (2 << 20))",
    "calls": "for n in range(1000):\n    add(n)",
    "crash": "import os\nos._exit(0)",
    "blocked-syscall": "import ctypes\nctypes.CDLL(None).syscall(1 << 30)",
    "syntax": "x = (",
    "exception": "raise SystemError('x')",
}


@pytest.mark.parametrize("reason", LIMITS)
def test_each_limit_has_its_reason_and_the_check_still_judges(
    sandbox: Sandbox, patient: Sandbox, shop: EnvSpec, reason: str
) -> None:
    """A program that passes a limit says which; what it did before is judged all the same."""
    with (sandbox if reason == "timeout" else patient).session(shop, 1) as session:
        assert session.run(RENAME).ok
        run = session.run(LIMITS[reason])
        assert (run.ok, run.reason) == (False, reason)
        assert run.message
        assert run.alive == (reason in ("memory", "syntax", "exception"))
        assert run.output == "before\n" or reason != "timeout"
        assert run.alive or session.run("1").reason == reason
        assert session.evaluate(IS_BOB).outcome == "pass"


@pytest.mark.parametrize(
    ("reason", "source"),
    [
        ("timeout", "import time\ndef evaluate():\n    time.sleep(60)"),
        ("cpu", "def evaluate():\n    while True:\n        pass"),
        ("memory", "def evaluate():\n    return bool(bytearray(1 << 30))"),
        ("calls", "def evaluate():\n    while True:\n        get_user('user_1')"),
        ("crash", "import os\ndef evaluate():\n    os._exit(0)"),
        ("exception", "def evaluate():\n    assert False"),
        ("exception", "def evaluate(answer, more):\n    return True"),
        ("exception", "import sys\nsys.exit(0)"),
        ("syntax", "def evaluate()\n    return True"),
        ("syntax", "\ud800"),
        ("not-bool", "def evaluate():\n    return 1"),
        ("not-bool", "class T:\n    def __eq__(s, o):\n        return True\ndef evaluate():\n    return T()"),
        ("no-evaluate", "x = 1"),
        (
            "no-evaluate",
            "class Evaluate:\n    def __call__(self):\n        return True\nevaluate = Evaluate()",
        ),
        ("reply", "import os\ndef evaluate():\n    os.write(3, b'\\xff\\xff\\xff\\x7f')"),
        ("reply", 'import os\ndef evaluate():\n    os.write(3, b\'\\x12\\0\\0\\0{"reason":"world"}\')'),
        ("reply", "import os\ndef evaluate():\n    os.write(3, b'\\x0d\\0\\0\\0{\"verdict\":1}')"),
    ],
)
def test_a_check_that_says_neither_true_nor_false_is_invalid(
    sandbox: Sandbox, patient: Sandbox, shop: EnvSpec, reason: str, source: str
) -> None:
    """Anything but exactly True or False is no verdict, and says why."""
    with (sandbox if reason == "timeout" else patient).session(shop, 1) as session:
        session.run(RENAME)
        judgement = session.evaluate(source)
    assert (judgement.outcome, judgement.reason) == ("invalid", reason)


def test_the_hosts_memory_stays_flat_under_a_flood(sandbox: Sandbox, shop: EnvSpec) -> None:
    """Hundreds of megabytes of output and answers leave the host a few megabytes larger at most."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for code in (
        "import os\nwhile True:\n    os.write(1, b'x' * 65536)",
        "final_answer('x' * (8 << 20))",
    ) * 3:
        with sandbox.session(shop, 1) as session:
            run = session.run(code)
            assert run.reason in ("output", "reply")
            assert len(run.output) <= sandbox.limits.output_bytes + 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10


# ---------------------------------------------------------------- checks


def test_a_check_cannot_write(session: Session) -> None:
    """A writing tool refuses a check: nothing changes, it is recorded, and the check may handle it."""
    source = (
        "def evaluate():\n    try:\n        set_name('user_1', 'Bob')\n    except ToolError:\n        pass\n"
        "    return get_user('user_1')['name'] == 'Bob'"
    )
    session.run("1")
    judgement = session.evaluate(source)
    assert judgement.outcome == "fail"
    assert [(call.tool, call.refused) for call in judgement.calls] == [
        ("set_name", True),
        ("get_user", False),
    ]


def test_the_program_is_dead_before_the_check_begins(session: Session) -> None:
    """A program that works on after its turn, whose end it claimed itself, has no say in the check."""
    claim = b'{"reason":"","message":"","answered":true,"answer":1}'
    run = session.run(
        "import os, time\n"
        f"os.write(3, {len(claim).to_bytes(4, 'little') + claim!r})\n"
        "time.sleep(0.3)\nwhile True:\n    set_name('user_1', 'Bob')"
    )
    assert (run.ok, run.answer) == (True, 1)
    source = "import time\ndef evaluate():\n    time.sleep(0.6)\n    return get_user('user_1')['name'] == 'Ann1'"
    assert session.evaluate(source).outcome == "pass"


def test_a_check_shares_nothing_with_the_program_or_with_other_checks(sandbox: Sandbox, shop: EnvSpec) -> None:
    """Names, builtins and modules changed by one child are as they were in the next."""
    code = "import builtins, json\nbuiltins.bool = lambda *a: True\njson.dumps = None\nevaluate = lambda: True"
    source = (
        "import builtins\ndef evaluate():\n    builtins.N = getattr(builtins, 'N', 0) + 1\n"
        "    return builtins.N == 1 and bool(0) is False and not {'x', 'final_answer'} & set(globals())"
    )
    for _ in range(2):
        with sandbox.session(shop, 1) as session:
            session.run(code)
            assert session.evaluate(source).outcome == "pass"


def test_a_session_is_judged_once(session: Session) -> None:
    """The check ends the session: a second one, a call or a look at the state is an error."""
    assert session.evaluate(IS_BOB).outcome == "fail"
    with pytest.raises(RuntimeError):
        session.evaluate(IS_BOB)
    with pytest.raises(WorldError):
        session.state()
    with pytest.raises(WorldError):
        session.call("get_user", ["user_1"])


# ---------------------------------------------------------------- worlds


def test_a_host_can_call_tools_itself(session: Session) -> None:
    """JSON tool calls reach the same world; what a model gets wrong is the observation's error."""
    assert session.call("get_user", kwargs={"uid": "user_1"}).result == {"name": "Ann1"}
    assert session.call("add", kwargs={"numbers": [1, 2, 3]}).args == [1, 2, 3]
    assert session.call("set_name", ["user_1", "Bob"]).writes
    assert session.call("get_user", ["x"]).error == "no user 'x'"
    assert session.call("get_user", [1]).error.startswith("TypeError: get_user() argument 'uid' must be str")
    assert "no tool named 'rename'" in session.call("rename", ["x"]).error
    assert session.call("echo", [float("nan")]).error.startswith("TypeError: echo()")
    session.answer({"done": True})
    state: Any = session.state()
    assert state["users"]["user_1"] == {"name": "Bob"}
    source = "def evaluate(answer):\n    return answer['done'] and get_user('user_1')['name'] == 'Bob'"
    assert session.evaluate(source).outcome == "pass"


def test_host_calls_are_limited_too(session: Session) -> None:
    """After the last call allowed each further one is an error, not an end."""
    errors = [session.call("add", [1]).error for _ in range(25)]
    assert errors[:20] == [""] * 20
    assert all("more than 20 tool calls" in error for error in errors[20:])


@pytest.mark.parametrize("code", ["divide(1, 0)", "not_json()", "leave()", "sleep(60)"])
def test_an_environments_fault_is_nobodys_failure(session: Session, code: str) -> None:
    """An exception that is no ToolError, a result that is not JSON, a world that dies: all invalid."""
    assert session.run(RENAME).ok
    run = session.run(code)
    assert run.reason in ("world", "timeout")
    assert not run.alive
    judgement = session.evaluate(IS_BOB)
    assert (judgement.outcome, judgement.reason) == ("invalid", "world")


def test_a_fault_in_a_host_call_raises(session: Session) -> None:
    """The host hears of a fault as WorldError with the exception's text, then and ever after."""
    for _ in range(2):
        with pytest.raises(WorldError, match="divide\\(\\): ZeroDivisionError"):
            session.call("divide", [1, 0])


def test_a_world_that_cannot_be_reset_is_invalid(sandbox: Sandbox, shop: EnvSpec) -> None:
    """A fault in `reset` shows in the first turn and in the judgement."""
    with sandbox.session(EnvSpec(name=shop.name, options={"fault": "reset"}), 7) as session:
        assert session.run("1").reason == "world"
        judgement = session.evaluate(IS_BOB)
        assert judgement.reason == "world" and "reset(7): KeyError: 7" in judgement.message


def test_a_world_is_confined_as_well(session: Session) -> None:
    """An environment's own code can open no socket, write no file and start no process."""
    for what in ("socket", "file", "fork"):
        error = session.call("touch_outside", [what]).result
        assert error in ("PermissionError", "OSError", "FileNotFoundError"), what


def test_a_result_too_large_to_give_is_a_refusal(session: Session) -> None:
    """A result that is too large is a refusal, and the world stays valid."""
    assert "more than can be given" in session.call("fill", [2 << 20]).error
    assert session.run("len(fill(1000))").output == "1000\n"


def test_the_record_of_calls_is_bounded(session: Session) -> None:
    """A program cannot make the host keep more than a few replies' worth of results."""
    run = session.run("for n in range(40):\n    fill(500000)")
    assert run.reason in ("reply", "calls")
    assert sum(len(str(call.result)) for call in run.calls) <= 17 << 20


def test_a_program_that_does_not_read_replies_only_harms_itself(session: Session) -> None:
    """A program that does not read replies is ended, and the session is judged in its current state."""
    call = b'["fill",[900000],{}]'
    frame = len(call).to_bytes(4, "little") + call
    run = session.run(f"import os\nfor n in range(5):\n    os.write(4, {frame!r})")
    assert not run.alive and run.reason == "timeout"
    assert session.evaluate(IS_BOB).outcome == "fail"


def test_seeds_make_states(sandbox: Sandbox, shop: EnvSpec) -> None:
    """Same seed, same state; another seed, another."""
    states = []
    for seed in (1, 1, 2):
        with sandbox.session(shop, seed) as session:
            states.append(session.state())
    assert states[0] == states[1] != states[2]


def test_a_world_introduces_itself(sandbox: Sandbox, shop: EnvSpec, counter: EnvSpec) -> None:
    """The first observation is that of the session's seed; an environment that gives none has an empty one."""
    with sandbox.session(counter, 7) as there, sandbox.session(shop, 7) as here:
        assert there.first_observation() == "The customer is user_1, Ann7."
        assert here.first_observation() == ""
    assert (sandbox.describe(counter).customer, sandbox.describe(shop).customer) == (True, False)


def test_programs_are_the_same_in_every_zygote(shop: EnvSpec) -> None:
    """Hash order and `random` are fixed, so a program does the same in another sandbox."""
    seen = set()
    for _ in range(2):
        with Sandbox() as sandbox:
            for _ in range(2):
                with sandbox.session(shop, 1) as session:
                    seen.add(
                        session.run("import random\n(random.random(), hash('x'), list({'a', 'b', 'c', 'd'}))").output
                    )
    assert len(seen) == 1


# ---------------------------------------------------------------- many, and the end


def test_sessions_at_once_do_not_see_each_other(sandbox: Sandbox, shop: EnvSpec) -> None:
    """Eight threads, each with sessions of its own, each get their own state and verdicts."""

    def one(number: int) -> bool:
        with sandbox.session(shop, number) as session:
            run = session.run(f"before = get_user('user_1')['name']\nset_name('user_1', 'N{number}')\nbefore")
            judgement = session.evaluate(f"def evaluate():\n    return get_user('user_1')['name'] == 'N{number}'")
            return run.output == f"'Ann{number}'\n" and judgement.outcome == "pass"

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(64)))


def test_a_dead_zygote_is_invalid_then_replaced(shop: EnvSpec) -> None:
    """Killing the jail of a session makes the outcome invalid, and the next session works."""
    with Sandbox(Limits(wall_s=5)) as sandbox:
        for victim in range(2):
            with sandbox.session(shop, 1) as session:
                assert session.run(RENAME).ok
                os.kill(zygotes(sandbox)[victim], signal.SIGKILL)
                time.sleep(0.1)
                run = session.run("1")
                assert run.reason == "sandbox" or victim == 0
                judgement = session.evaluate(IS_BOB)
                assert (judgement.outcome, judgement.reason) == ("invalid", "sandbox")
            with sandbox.session(shop, 1) as session:
                session.run(RENAME)
                assert session.evaluate(IS_BOB).outcome == "pass"


def test_a_process_that_is_killed_from_outside_is_no_crash(sandbox: Sandbox, shop: EnvSpec) -> None:
    """A killed program or world makes the session invalid by the sandbox; a program that closes its channel crashes."""
    with sandbox.session(shop, 1) as session:
        assert session.run("1").ok
        assert session._guest
        os.kill(session._guest.child.pid(), signal.SIGKILL)
        assert session.run("2").reason == "sandbox"
    with sandbox.session(shop, 1) as session:
        os.kill(session._world.pid(), signal.SIGKILL)
        assert session.evaluate(IS_BOB).reason == "sandbox"
    with sandbox.session(shop, 1) as session:
        assert session.run("import os, time\nos.close(3)\ntime.sleep(60)").reason in ("crash", "timeout")


def test_a_stopped_process_ends_by_a_time_out(shop: EnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped program, world or zygote: a reason within the limits, and the next session works."""
    monkeypatch.setattr(children, "_REPLY_S", 0.3)
    monkeypatch.setattr(children, "_KILL_S", 0.3)
    with Sandbox(Limits(wall_s=0.3)) as sandbox:
        with sandbox.session(shop, 1) as session:
            assert session.run("1").ok
            assert session._guest
            os.kill(session._guest.child.pid(), signal.SIGSTOP)
            assert session.run("2").reason == "timeout"
        with sandbox.session(shop, 1) as session:
            os.kill(session._world.pid(), signal.SIGSTOP)
            run = session.run("get_user('user_1')")
            assert (run.reason, run.message) == ("world", "the environment gave no reply within 0.3 s")
        for pool in list(sandbox._pools.values()):
            for zygote in pool._zygotes:
                zygote._drop_spares()
        for zygote_pid in zygotes(sandbox):
            os.kill(zygote_pid, signal.SIGSTOP)
        with sandbox.session(shop, 1) as session:
            session.run(RENAME)
            assert session.evaluate(IS_BOB).outcome == "pass"


def test_nothing_is_left_behind(shop: EnvSpec, no_strays: None) -> None:  # noqa: ARG001
    """Closing ends every process and closes every descriptor, running programs included."""
    descriptors = open_descriptors()
    with Sandbox(Limits(wall_s=60)) as sandbox:
        busy = 0
        for number in range(17):
            with sandbox.session(shop, 1) as session:
                session.run(RENAME)
                session.evaluate(IS_BOB)
            if not number:
                busy = open_descriptors()
        assert open_descriptors() == busy  # the number of spares is the same as after the first session
        with sandbox.session(shop, 1) as session:
            closer = threading.Timer(0.2, sandbox.close)
            closer.start()
            assert session.run("import time\ntime.sleep(60)").reason == "sandbox"
            closer.join()
    assert open_descriptors() == descriptors


def living(sandbox: Sandbox) -> int:
    """Return how many children of the zygotes are not dead."""
    pids = [pid for z in zygotes(sandbox) for pid in Path(f"/proc/{z}/task/{z}/children").read_text().split()]
    return sum(" Z " not in Path(f"/proc/{pid}/stat").read_text() for pid in pids)


def test_a_closed_session_kills_what_runs(sandbox: Sandbox, shop: EnvSpec) -> None:
    """A program that runs between turns ends with its session, and so does its world."""
    with sandbox.session(shop, 1) as session:
        session.run("1")
        before = living(sandbox)
    deadline = time.monotonic() + 5
    while living(sandbox) != before - 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert living(sandbox) == before - 2


def test_a_zygote_that_had_many_children_is_replaced(shop: EnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zygote that had many children ends with its last open session; new sessions get another zygote."""
    monkeypatch.setattr(host_sandbox, "_CHILDREN", 3)
    with Sandbox() as sandbox:
        with sandbox.session(shop, 1) as early:
            early.run(RENAME)
            first = zygotes(sandbox)
            for _ in range(4):
                with sandbox.session(shop, 1) as session:
                    session.run(RENAME)
                    assert session.evaluate(IS_BOB).outcome == "pass"
            assert not set(first) & set(zygotes(sandbox))
            assert all(Path(f"/proc/{pid}").exists() for pid in first)
            assert early.evaluate(IS_BOB).outcome == "pass"
        with sandbox.session(shop, 1) as session:
            session.run(RENAME)
        assert not any(Path(f"/proc/{pid}").exists() for pid in first)


def test_many_cores_get_many_zygotes(shop: EnvSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another zygote starts while one is busy, up to the limit, and none of them is counted as work."""
    monkeypatch.setattr(host_sandbox, "_ZYGOTES", 2)
    others = host.descendants()
    with Sandbox() as sandbox:
        for _ in range(3):
            slot = next(iter(sandbox._pools.values()), None)
            with slot._zygotes[0]._lock if slot else contextlib.nullcontext():
                sandbox.session(shop, 1).close()
        assert len(zygotes(sandbox)) == 2
        assert host.settled(sandbox, others)


def test_environments_that_were_not_used_for_long_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `_ENVIRONMENTS` environments keep a process; one with open sessions keeps it, and one that was ended starts
    again.
    """
    monkeypatch.setattr(host_sandbox, "_ENVIRONMENTS", 2)
    families = ("message_decoder", "dna_sequencer", "trade_calculator", "travel_itinerary")
    envs = [EnvSpec(name="calculation", options={"family": family}) for family in families]
    with Sandbox() as sandbox, sandbox.session(envs[0], 1) as busy:
        for env in (envs[1], envs[2], envs[3], envs[1]):
            with sandbox.session(env, 1) as session:
                assert session.evaluate("def evaluate():\n    return True").outcome == "pass"
        started = [name for name, slot in sandbox._pools.items() if slot.name and slot.is_started()]
        assert started == [str(envs[0]), str(envs[1])]
        assert busy.call("string_length", ["four"]).result == 4
