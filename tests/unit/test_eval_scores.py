"""The table of scores that people read."""

from sca_cli.commands.eval_scores import counted, score_of, table
from sca_cli.records import EnvSpec, Rollout, Task


def test_environments_with_long_options_stay_in_their_column() -> None:
    """Of a path or a command line the end is shown; the record has all of it."""
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
