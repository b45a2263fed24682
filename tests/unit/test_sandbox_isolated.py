"""Isolated environments: the check sees the state, in a world that no program has touched."""

import pytest

from sca_cli import plugins
from sca_cli.errors import PluginError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox

pytestmark = pytest.mark.sandbox
NOTEBOOK = EnvSpec(name="notebook")
CHECK = "def evaluate():\n    return cell('answer') == 42"


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the worlds of `isolated.py`."""
    for name in ("Notebook", "Forgetful", "Liar"):
        entry = plugins.Entry(name.lower(), f"isolated:{name}", "", "", "tests")
        monkeypatch.setitem(plugins.registry().environments, name.lower(), entry)


def judged(program: str, check: str = CHECK) -> tuple[str, str, str]:
    """Run a program, then the check; return outcome, reason and message."""
    with Sandbox(Limits(wall_s=5)) as sandbox, sandbox.session(NOTEBOOK, 3) as session:
        if program:
            ran = session.run(program)
            assert ran.ok, ran.message
        found = session.evaluate(check)
        return found.outcome, found.reason, found.message


def test_the_check_sees_the_state_the_program_left() -> None:
    """What the program changed is there after the move into the new world, and the seed's state is too."""
    assert judged("run('cells[\"answer\"] = 6 * 7')")[0] == "pass"
    assert judged("run('cells[\"answer\"] = 6 * 8')")[0] == "fail"
    assert judged("", "def evaluate():\n    return cell('seed') == 3")[0] == "pass"


def test_what_the_program_did_to_the_tools_is_gone() -> None:
    """A program that replaces a tool's code in its own world gains nothing: the check calls another world's."""
    forged = "run('type(world).cell = lambda self, name: 42\\nworld.cells[\"x\"] = 1')"
    assert judged(forged)[:2] == ("invalid", "exception")
    checked = "def evaluate():\n    return cell('x') == 1"
    assert judged(forged, checked)[0] == "pass"
    replaced = "run('world._tools = {}\\nimport gc\\ncells[\"answer\"] = 41')"
    assert judged(replaced)[0] == "fail"


@pytest.mark.parametrize(
    "state",
    [
        "type(world).state = lambda self: {1, 2}",
        "type(world).state = lambda self: 1 / 0",
        "type(world).state = lambda self: 'text'",
        "import os; os.write(3, bytes([5, 0, 0, 0]) + b'[1,2]')",
    ],
    ids=["no JSON", "raises", "cannot be restored", "forged frame"],
)
def test_a_world_that_was_taken_over_makes_the_check_invalid(state: str) -> None:
    """A state that cannot be read or restored makes the outcome invalid."""
    with Sandbox(Limits(wall_s=5)) as sandbox, sandbox.session(NOTEBOOK, 0) as session:
        session.run(f"run({state!r})")
        found = session.evaluate("def evaluate():\n    return True")
    assert (found.outcome, found.reason) == ("invalid", "world")


def test_an_isolated_environment_must_be_able_to_restore() -> None:
    """An isolated environment without restore(state) is refused before any program runs."""
    with Sandbox() as sandbox, pytest.raises(PluginError, match=r"needs restore\(state\)"):
        sandbox.describe(EnvSpec(name="forgetful"))


def test_class_and_registration_agree_on_outside() -> None:
    """An environment whose class says outside and whose registration does not is refused."""
    with Sandbox() as sandbox, pytest.raises(PluginError, match="its class says outside = True"):
        sandbox.describe(EnvSpec(name="liar"))


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ("{'alarm': 'sandbox', 'message': 'hi', 'where': 'program'}", "not a report of this session"),
        ("{'checked': -3}", "not a report of this session"),
        ("{'calls': [{'tool': 'x', 'args': ['y' * 100_000]}] * 20}", "it reports without end"),
    ],
    ids=["another's reason", "less than no calls", "without end"],
)
def test_what_a_world_that_was_taken_over_reports_is_bounded(report: str, said: str) -> None:
    """A world's forged reports end its own session only, and do not fill the host's memory."""
    plain = {"number": 0, "alarm": "", "message": "", "where": "", "checked": 0, "calls": [], "state": None}
    program = (
        f"import json, os\ntext = json.dumps({plain!r} | {report}).encode()\n"
        "frame = len(text).to_bytes(4, 'little') + text\nwhile True:\n    sent = 0\n"
        "    while sent < len(frame):\n        sent += os.write(3, frame[sent:])"
    )
    with Sandbox(Limits(wall_s=5)) as sandbox, sandbox.session(NOTEBOOK, 3) as session:
        ran = session.run(f"run({program!r})")
        assert (ran.ok, ran.reason) == (False, "world")
        assert said in ran.message
        assert len(session.calls) < 2000
        assert session.evaluate(CHECK).reason == "world"
