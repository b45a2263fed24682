"""The table of scores that people read."""

from sca_cli.evaluation.scores import counted, score_of, table
from sca_cli.records import EnvSpec, Rollout, Task


def test_environments_with_long_options_stay_in_their_column() -> None:
    """The table shows the end of a long path or command line; the record has all of it."""
    envs = [
        EnvSpec(name="calculation", options={"family": "trade_calculator"}),
        EnvSpec(name="mcp", options={"server": f"python {'/home/ann/projects' * 4}/shop/server.py --quiet"}),
    ]
    tasks = [Task(id=env.name, env=env, instruction="i", evaluate="e") for env in envs]
    rollouts = [Rollout(task=task, outcome=outcome) for task in tasks for outcome in ("pass", "fail")]
    score = score_of(counted(rollouts), "tiny", 2, None)
    assert set(score.by_env) == set(map(str, envs))
    rows = [line for line in table([score]).splitlines() if line.startswith("  Pass@1, ")]
    assert [row[:46].strip() for row in rows] == [
        "Pass@1, calculation:family=trade_calculator",
        "Pass@1, mcp:…projects/shop/server.py --quiet",
    ]
    assert {row.index(" 50.0%") for row in rows} == {47}


def rows_of(envs: list[EnvSpec]) -> list[str]:
    """Return the names of the rows that environments have in the table."""
    tasks = [Task(id=str(env), env=env, instruction="i", evaluate="e") for env in envs]
    score = score_of(counted([Rollout(task=task, outcome="pass") for task in tasks]), "tiny", 1, None)
    lines = [line for line in table([score]).splitlines() if line.startswith("  Pass@1, ")]
    return [line.partition("100.0%")[0].strip() for line in lines]


def test_families_of_one_checkout_are_told_apart() -> None:
    """The path that all families of a suite have hid which is which; what they share is left out."""
    path = "/home/ann/projects/benchmarks/code-act"
    families = [EnvSpec(name="m3tooleval", options={"family": f, "path": path}) for f in ("kitchen", "signposts")]
    assert rows_of(families) == ["Pass@1, m3tooleval:family=kitchen", "Pass@1, m3tooleval:family=signposts"]
    domains = [EnvSpec(name="taubench", options={"path": path} | more) for more in ({}, {"domain": "airline"})]
    assert rows_of(domains) == ["Pass@1, taubench:domain=airline", "Pass@1, taubench"]


def test_names_that_end_alike_are_shown_in_full() -> None:
    """Two long paths with the same end would be one name."""
    paths = [f"/home/{who}/projects/benchmarks/shared/code-act" for who in ("ann", "bob")]
    assert rows_of([EnvSpec(name="m3tooleval", options={"path": path}) for path in paths]) == [
        f"Pass@1, m3tooleval:path={path}" for path in paths
    ]
