"""The conformance suite: each broken promise is found by the check it belongs to, and by no other without cause."""

import re
from dataclasses import replace
from pathlib import Path

import misbehaving
import pytest

from sca_cli import plugins, streams
from sca_cli.conformance import checks
from sca_cli.conformance.checks import CHECKS, CheckResult, Subject
from sca_cli.records import EnvSpec, Task
from sca_cli.sandbox import Sandbox

pytestmark = pytest.mark.sandbox


def findings(name: str, module: str = "misbehaving") -> dict[str, CheckResult]:
    """Register an environment, examine it, and return check → finding."""
    key = name.lower()
    plugins.registry().environments[key] = plugins.Entry(key, f"{module}:{name}", "", "", "tests")
    path = getattr(misbehaving, name).eval_path() if module == "misbehaving" else None
    tasks = list(streams.read([str(path)], Task)) if path else []
    try:
        with Sandbox(checks.LIMITS) as sandbox:
            found = list(checks.examine(Subject(sandbox, EnvSpec(name=key), tasks)))
    finally:
        del plugins.registry().environments[key]
    return {finding.check: finding for finding in found}


def failed(found: dict[str, CheckResult]) -> dict[str, str]:
    """Return check → reason of those that failed."""
    return {check: finding.reason for check, finding in found.items() if finding.outcome == "fail"}


def test_an_environment_that_keeps_its_promises_passes() -> None:
    """A sound environment passes every check, only checks without a subject are skipped, and latency is reported for
    each tool.
    """
    found = findings("Counter")
    assert set(found) == {"a world starts", *CHECKS}
    assert {check: one.outcome for check, one in found.items() if one.outcome != "ok"} == {
        "held-out tasks hold": "skipped"
    }
    assert found["sessions are apart"].reason.startswith("64 at once, ")
    changed = int(found["sessions are apart"].reason.split(", ")[1].split()[0])
    assert 16 <= changed <= 32
    assert found["readers change nothing"].reason.startswith("1 reading tools; calls that succeeded: count ")
    assert found["readers change nothing"].reason.endswith(" of 20")
    assert set(found["latency"].figures) == {"reset()", "opening and reading the state", "count", "add"}
    assert all(0 <= figure < 10_000 for figure in found["latency"].figures.values())


def test_a_reset_is_timed_apart_from_reading_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that takes long to read does not make `reset` slow."""
    slow = plugins.Entry("slow", "misbehaving:Slow", "", "", "tests")
    monkeypatch.setitem(plugins.registry().environments, "slow", slow)
    with Sandbox(checks.LIMITS) as sandbox:
        subject = Subject(sandbox, EnvSpec(name="slow"))
        checks.calls_are_fast(subject)
    assert subject.figures["reset()"] < 20 <= subject.figures["opening and reading the state"]


def test_calls_of_solutions_find_a_writing_tool_that_is_not_marked() -> None:
    """A held-out solution reveals an unmarked writing tool that refuses random arguments. If all are marked, the report
    counts the successful calls of each reading tool.
    """
    env = EnvSpec(name="retail")
    shipped = streams.read([str(plugins.eval_path(env))], Task)
    task = next(task for task in shipped if re.search("(?s)get_order_details.*cancel_pending", task.solution))
    with Sandbox(checks.LIMITS) as sandbox:
        subject = Subject(sandbox, env, [task], sandbox.describe(env).tools)
        told = checks.readers_change_nothing(subject)
        assert re.match(r"9 reading tools; calls that succeeded: .*get_order_details [1-9]\d* of 2[1-9], ", told)
        assert ", think 20 of 20" in told
        subject.tools = [
            replace(tool, writes=tool.writes and tool.name != "cancel_pending_order") for tool in subject.tools
        ]
        found = r"cancel_pending_order\('#W.*\) changed \$.*; mark it with @tool\(writes=True\)"
        with pytest.raises(checks.Broken, match=found):
            checks.readers_change_nothing(subject)


@pytest.mark.parametrize(
    ("name", "check", "reason"),
    [
        ("Bare", "tools are described", "it has no tools"),
        ("Clock", "same seed, same state", r"seed 0 gave two states: \$"),
        ("Dice", "same seed, same state", r"seed 0 gave two states: \$.die: 0"),
        ("Secretive", "other seeds, other states", r"it has tools that write, and `state\(\)` shows nothing"),
        (
            "Tuples",
            "state is plain data",
            r"the state changes when it is written as JSON: \$.pair: \(1, 2\), then \[1, 2\]",
        ),
        ("Half", "state can be restored", r"seed 0: \$.a: 0, then 1"),
        (
            "Sneaky",
            "readers change nothing",
            r"peek\(name=.*\) changed \$.b: 10, then 11; mark it with @tool\(writes=True\)",
        ),
        ("Hasty", "odd arguments are survived", r"take\(number=2147483648\) was refused and changed \$.b"),
        (
            "Fragile",
            "odd arguments are survived",
            r"look\(name=''\) fails without a refusal: look\(\): KeyError: ''; raise Tool",
        ),
        ("Forgiving", "bad arguments are refused", r"count\(\) was not refused"),
        ("Random", "sessions are apart", "the same calls on the same seed end differently"),
        ("Mistaken", "held-out tasks hold", "stage 'solution' rejects task [0-9a-f]{16}: solution fail"),
    ],
)
def test_a_broken_promise_is_found_by_its_check(name: str, check: str, reason: str) -> None:
    """The check that a promise belongs to fails, and says what it saw."""
    assert re.search(reason, failed(findings(name)).get(check, "passed"))


def test_a_world_whose_tools_all_write_keeps_its_promises() -> None:
    """No session only reads there, and none is asked to have its first state."""
    assert failed(findings("Writing")) == {}


def test_no_state_is_told_and_is_no_failure() -> None:
    """An environment without a state passes; the check of its seeds is skipped and says so."""
    found = findings("Stateless")
    assert failed(found) == {}
    assert (found["other seeds, other states"].outcome, found["other seeds, other states"].reason) == (
        "skipped",
        "it has no state",
    )


def test_a_fixed_start_state_is_noted() -> None:
    """Every seed may give the same state; the user reads how to vary it."""
    assert failed(results := findings("Constant")) == {}
    assert results["other seeds, other states"].outcome == "note"
    assert "reset(seed)" in results["other seeds, other states"].reason


@pytest.mark.parametrize("name", ["SetInState", "NoState", "NoRestore"])
def test_a_state_that_fails_is_a_line_and_the_other_checks_run(name: str) -> None:
    """A set in the state, and a `state()` or `restore()` that raises, fail their checks; none ends the test."""
    results = findings(name)
    assert set(results) == {"a world starts", *CHECKS}
    assert "state can be restored" in failed(results)


def test_variables_that_are_not_part_of_the_state_are_listed() -> None:
    """A check that compares states names what it cannot see."""
    results = findings("Hiding")
    for check in ("state is plain data", "readers change nothing"):
        assert results[check].reason.endswith("no check sees a change: cache (Lock)")


def test_what_does_not_start_fails_at_once() -> None:
    """An environment whose tool evaluates is refused at the start; that is the finding, with the cure."""
    found = findings("Evaluating", "evaluating")
    assert list(found) == ["a world starts"]
    assert "tool 'calculate' may run its arguments as code" in found["a world starts"].reason
    assert "isolated = True" in found["a world starts"].reason


def test_an_isolated_environment_may_evaluate() -> None:
    """An isolated environment may evaluate text as code; the report names the place."""
    found = findings("Notebook", "isolated")
    assert found["tools do not evaluate"].outcome == "ok"
    assert "isolated; run: isolated.py:" in found["tools do not evaluate"].reason
    assert found["state can be restored"].outcome == "ok"


def test_a_file_is_imported_in_its_world_only(tmp_path: Path) -> None:
    """`sca env test python:FILE` asks the jailed world: FILE runs in no process that can write."""
    path = tmp_path / "tools.py"
    mark = tmp_path / "ran"
    path.write_text(
        f"import pathlib\ntry:\n    pathlib.Path({str(mark)!r}).write_text('')\nexcept OSError:\n    pass\n"
        "count = {'n': 0}\n\n\ndef read() -> int:\n    '''Return n.'''\n    return count['n']\n"
    )
    (variant,) = plugins.expand_env(plugins.parse_env(f"python:{path}"))
    with Sandbox(checks.LIMITS) as sandbox:
        results = list(checks.examine(checks.Subject(sandbox, variant, [])))
    assert {result.check: result.outcome for result in results}["state can be restored"] == "ok"
    assert not mark.exists()
