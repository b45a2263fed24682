"""What a session of an environment costs: its reset in a fresh fork, a tool call, and the memory it adds.

    python tests/benchmarks/worlds.py [ENV …] [--sessions 50]

ENV is what `--env` takes (retail). Each world is built once and shared as the sandbox shares it, then forked for
every session; nothing runs in the jail. `private_dirty` is what a session has of its own after its reset. Tool calls
are those of the solutions of the environment's held-out tasks. Progress on stderr, one JSON object on stdout.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca_cli import Environment, plugins
from sca_cli.interfaces import tools_of
from sca_cli.records import EnvSpec, Task, decode
from sca_cli.sandbox.inside.zygote import _share


def session(world: Environment, seed: int) -> tuple[float, float]:
    """Fork, reset, and return the seconds the reset took and the MB that are then the child's own."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        started = time.perf_counter()
        world.reset(seed)
        taken = time.perf_counter() - started
        rollup = Path("/proc/self/smaps_rollup").read_text()
        dirty_kb = int(re.findall(r"Private_Dirty:\s+(\d+)", rollup)[0])
        os.write(writing, json.dumps([taken, dirty_kb / 1024]).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123  a descriptor, not a path
        seconds, megabytes = json.loads(file.read())
    os.waitpid(pid, 0)
    return seconds, megabytes


def calls(spec: EnvSpec) -> list[float]:
    """Return the seconds of each tool call that the solutions of the held-out tasks make."""
    seconds: list[float] = []
    path = type(plugins.load_environment(spec)).eval_path()
    tasks = [decode(line) for line in path.read_bytes().splitlines()] if path else []
    worlds: dict[str, Environment] = {}
    for task in tasks:
        assert isinstance(task, Task)
        if not spec.options.items() <= task.env.options.items():
            continue
        world = worlds.setdefault(str(task.env), plugins.load_environment(task.env))
        world.reset(task.seed)
        names = {name: timed(method, seconds) for name, (_, method) in tools_of(world).items()}
        exec(task.solution, names | {"final_answer": lambda _: None})
    return seconds


def timed(method: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """Return the method, with its time written down."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = method(*args, **kwargs)
        seconds.append(time.perf_counter() - started)
        return result

    return call


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("envs", nargs="*", default=["retail"], metavar="ENV")
    parser.add_argument("--sessions", type=int, default=50, help="forks of each world (50)")
    options = parser.parse_args()
    figures: dict[str, Any] = {"benchmark": "worlds", "sessions": options.sessions}
    for text in options.envs:
        print(text, file=sys.stderr)
        spec = plugins.parse_env(text)
        started = time.perf_counter()
        world = plugins.load_environment(spec)
        figures[f"{text}_construct_ms"] = round(1000 * (time.perf_counter() - started), 1)
        if seconds := calls(spec):
            figures[f"{text}_tool_call_median_us"] = round(1e6 * statistics.median(seconds), 1)
        _share()
        sessions = [session(world, seed) for seed in range(options.sessions)]
        figures[f"{text}_reset_median_ms"] = round(1000 * statistics.median(taken for taken, _ in sessions), 2)
        figures[f"{text}_reset_max_ms"] = round(1000 * max(taken for taken, _ in sessions), 2)
        figures[f"{text}_private_dirty_median_mb"] = round(statistics.median(mb for _, mb in sessions), 2)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
