"""Programs that try to get out, to get in, to stay or to win: none does, and the next honest session is
right.

`tests/hostile.jsonl` holds them, one a line: name, group, role (`program`, or `evaluate` for what is run as
the check) and code. A program prints a line with PWN when it gets what it wants. A check of role `evaluate`
must not pass.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import descendants

from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox

pytestmark = pytest.mark.sandbox

PROGRAMS = [json.loads(line) for line in (Path(__file__).parents[1] / "hostile.jsonl").read_text().splitlines()]
IS_BOB = "def evaluate(answer):\n    return get_user('user_1')['name'] == 'Bob'"


@pytest.fixture(scope="module")
def small(shop: EnvSpec) -> Iterator[Sandbox]:
    """Give a sandbox whose limits are reached soon, with both its zygotes up."""
    with Sandbox(Limits(wall_s=3.0, cpu_s=1, memory_mb=64)) as opened:
        with opened.session(shop, 1) as session:
            session.run("1")
        yield opened


@pytest.mark.parametrize("program", PROGRAMS, ids=[program["name"] for program in PROGRAMS])
def test_a_hostile_program_gets_nothing(
    small: Sandbox,
    shop: EnvSpec,
    program: dict[str, str],
) -> None:
    """No PWN in its output, no forged verdict, and honest sessions beside and after it are right."""
    processes = set(descendants(os.getpid())) - set(small.spares())
    with small.session(shop, 1) as before, small.session(shop, 1) as session:
        assert before.run("set_name('user_1', 'Bob')").ok
        if program["role"] == "evaluate":
            assert session.evaluate(program["code"]).outcome != "pass"
        else:
            assert "PWN" not in session.run(program["code"]).output
            assert session.evaluate(IS_BOB).outcome == "fail"
        assert before.evaluate(IS_BOB).outcome == "pass"
    for code, outcome in (("set_name('user_1', 'Bob')", "pass"), ("get_user('user_1')", "fail")):
        with small.session(shop, 1) as after:
            assert after.run(code).ok
            assert after.evaluate(IS_BOB).outcome == outcome
    deadline = time.monotonic() + 10
    while set(descendants(os.getpid())) - set(small.spares()) != processes:
        assert time.monotonic() < deadline, "a process is left behind"
        time.sleep(0.02)
