"""Measure whether `sca verify` gives each task its verdict exactly once while processes around it are killed.

    python tests/benchmarks/faults.py [--tasks 10000] [--kill-every 25] [--die-every 400] [--proofs]

The good and the defective tasks of `tests/defects` (without the flaky ones, some in a world that
raises) go through `sca verify --all` three times: undisturbed; to a file, while zygotes, nsjails and verify itself
are killed and the run is resumed; and to a pipe that is read irregularly, while zygotes and
nsjails are killed. Both outputs must equal the first. Progress and differences go to stderr, one JSON object to
stdout; exit code 1 if there are differences.
"""

import argparse
import ctypes
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SCA = str(Path(sys.prefix) / "bin" / "sca")
DEFECTS = Path(__file__).parents[1] / "defects"
STALL_S = 1.5
FAULTY_ONE_IN = 8
_PIPE_BYTES = 4096
_POLL_S = 0.01
_PR_SET_CHILD_SUBREAPER = 36


def tasks(count: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Yield `count` tasks with new ids; some are in a world that raises at one of its calls."""
    files = [(DEFECTS / name).read_text().splitlines() for name in ("good.jsonl", "planted.jsonl")]
    records = [json.loads(line) for lines in files for line in lines]
    steady = [record for record in records if record["extra"].get("defect") != "flaky"]
    draw.shuffle(steady)
    for number, record in enumerate(islice(cycle(steady), count)):
        task = record | {"id": f"task-{number}"}
        if task["env"]["name"] != "calculation" and draw.randrange(FAULTY_ONE_IN) == 0:
            task["env"] = {"name": task["env"]["name"], "options": {"faults": "1"}}
        yield task


def started(arguments: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start `sca verify --all` with the worlds of the tasks."""
    path = os.pathsep.join(filter(None, [str(DEFECTS / "site"), os.environ.get("PYTHONPATH", "")]))
    return subprocess.Popen(
        [SCA, "verify", "--all", "-q", *arguments],
        stdin=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": path}, **options,
    )  # fmt: skip


# ---------------------------------------------------------------- faults


def processes() -> dict[int, tuple[int, str]]:
    """Return pid → parent and name of all living processes."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            head, _, tail = entry.read_text().rpartition(")")
            state, parent = tail.split()[:2]
            if state != "Z":
                found[int(entry.parent.name)] = int(parent), head.partition("(")[2]
    return found


def jails(root: int) -> dict[str, list[int]]:
    """Return the nsjails that a process has started, and the zygotes inside them."""
    living = processes()
    outer = [pid for pid, (parent, name) in living.items() if parent == root and name == "nsjail"]
    return {"nsjail": outer, "zygote": [pid for pid, (parent, _) in living.items() if parent in outer]}


def strike(root: int, draw: random.Random) -> str:
    """Kill a random nsjail or zygote of a process; return which it was, or "" where there was none."""
    kind = draw.choice(("nsjail", "zygote"))
    victims = jails(root)[kind]
    if not victims:
        return ""
    with suppress(ProcessLookupError):
        os.kill(draw.choice(sorted(victims)), signal.SIGKILL)
    return kind


class Storm:
    """Kill about one jail every `kill_every` finished tasks, so that a machine of any speed makes progress.

    Args:
        kill_every: tasks between two kills, on average.
        draw: decides when a process is killed, and which one.
    """

    def __init__(self, kill_every: int, draw: random.Random) -> None:
        self.struck: Counter[str] = Counter()
        self._every, self._draw = kill_every, draw
        self._next = self._after(0)

    def _after(self, done: int) -> int:
        return done + self._draw.randint(1, 2 * self._every)

    def pass_over(self, root: int, done: int) -> bool:
        """Kill a process if it is time; return whether one was killed."""
        if done < self._next:
            return False
        kind = strike(root, self._draw)
        self.struck[kind] += bool(kind)
        self._next = self._after(done)
        return bool(kind)


def undisturbed(source: list[str], target: str) -> None:
    """Verify a file without any fault.

    Args:
        source: the file, and options of `sca verify`.
        target: where the verdicts go.
    """
    code = started([*source, "-o", target]).wait()
    if code:
        raise SystemExit(f"sca verify: exit code {code} without any fault")


def to_file(source: list[str], target: str, storm: Storm, die_every: int, draw: random.Random) -> Counter[str]:
    """Verify a file while processes are killed; verify itself is killed now and then, and resumed.

    Returns:
        How often it was killed ("verify") and how often it ended with an error ("stopped").
    """
    ends: Counter[str] = Counter()
    while ends["stopped"] <= 100:
        process = started([*source, "-o", target, "--resume"])
        lines = _Lines(target)
        death = lines.count() + draw.randint(1, 2 * die_every)
        while process.poll() is None:
            done = lines.count()
            if done >= death:
                process.kill()
                break
            storm.pass_over(process.pid, done)
            time.sleep(_POLL_S)
        code = process.wait()
        if code == 0:
            return ends
        ends["verify" if code == -signal.SIGKILL else "stopped"] += 1
        print(f"{lines.count()} done, verify ended with {code}, goes on", file=sys.stderr)
    raise SystemExit("sca verify stops again and again")


class _Lines:
    """Counts the whole lines of a file that grows."""

    def __init__(self, path: str) -> None:
        self._path, self._count, self._read = Path(path), 0, 0

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            self._read += len(data)
            self._count += data.count(b"\n")
        return self._count


def to_pipe(source: list[str], target: str, storm: Storm) -> int:
    """Verify a file into a small pipe while processes are killed and the reader pauses; return the exit code."""
    drain, filled = os.pipe()
    fcntl.fcntl(drain, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    process = started(source, stdout=filled)
    os.close(filled)
    done = 0
    with os.fdopen(drain, "rb", buffering=0) as pipe, Path(target).open("wb") as copy:
        while data := pipe.read(_PIPE_BYTES):
            copy.write(data)
            done += data.count(b"\n")
            if storm.pass_over(process.pid, done):
                time.sleep(STALL_S)
    return process.wait()


# ---------------------------------------------------------------- the results


def differences(expected: str, got: str) -> dict[str, list[str]]:
    """Return the ids of the tasks that are missing, doubled, out of place, or have another verdict.

    `verdict` is another outcome, stage or reason; `evidence` only another message, answer or list of calls.
    """
    wanted, found = _records(expected), _records(got)
    counts = Counter(task["id"] for task in found)
    verdicts = {task["id"]: task["verdict"] for task in found}
    missing = [task["id"] for task in wanted if task["id"] not in counts]
    present = [task for task in wanted if task["id"] in counts]
    other = [task["id"] for task in present if verdicts[task["id"]] != task["verdict"]]
    gist = {task["id"]: _gist(task["verdict"]) for task in present}
    return {
        "missing": missing,
        "doubled": [key for key, times in counts.items() if times > 1],
        "disordered": [a["id"] for a, b in zip(present, found, strict=False) if a["id"] != b["id"]][:1],
        "verdict": [key for key in other if _gist(verdicts[key]) != gist[key]],
        "evidence": [key for key in other if _gist(verdicts[key]) == gist[key]],
    }


def _records(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_bytes().splitlines()]


def _gist(verdict: dict[str, Any]) -> tuple[Any, ...]:
    checks = [(c["name"], c["outcome"], c.get("reason"), c.get("where")) for c in verdict.get("checks", [])]
    return verdict["passed"], verdict["stage"], checks


def show(name: str, expected: str, got: str, wrong: dict[str, list[str]]) -> None:
    """Print each difference in a line."""
    was, became = ({task["id"]: task for task in _records(path)} for path in (expected, got))
    for kind, keys in wrong.items():
        for key in keys:
            print(f"{name}: {kind}: {key} {was[key]['extra']}", file=sys.stderr)
            for records in (was, became):
                if key in records:
                    print(f"    {json.dumps(records[key]['verdict'])[:1000]}", file=sys.stderr)


def strays() -> int:
    """Return how many processes are left behind, after a time in which they could end."""
    deadline = time.monotonic() + 10
    while left := [pid for pid, (parent, _) in processes().items() if parent == os.getpid()]:
        if time.monotonic() > deadline:
            return len(left)
        time.sleep(0.05)
    return 0


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Verify the stream three times and return counts and differences."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    draw = random.Random(options.seed)
    stream, expected, filed, piped = (str(folder / name) for name in ("tasks", "expected", "filed", "piped"))
    Path(stream).write_text("".join(json.dumps(task) + "\n" for task in tasks(options.tasks, draw)))
    source = [stream, "--check-seconds", str(options.check_seconds), *([] if options.proofs else ["--paper"])]
    calm_s, _ = _timed("undisturbed", lambda: undisturbed(source, expected))
    storm = Storm(options.kill_every, draw)
    filed_s, ends = _timed("to a file", lambda: to_file(source, filed, storm, options.die_every, draw))
    rain = Storm(options.kill_every, draw)
    piped_s, code = _timed("to a pipe", lambda: to_pipe(source, piped, rain))
    wrong = {name: differences(expected, got) for name, got in (("file", filed), ("pipe", piped))}
    for name, got in (("file", filed), ("pipe", piped)):
        show(name, expected, got, wrong[name])
    return {
        "tasks": options.tasks,
        "stages": dict(Counter(task["verdict"]["stage"] for task in _records(expected)).most_common()),
        "undisturbed_s": calm_s,
        "file": {"seconds": filed_s, "killed": dict(storm.struck), **ends, **_counts(wrong["file"])},
        "pipe": {"seconds": piped_s, "killed": dict(rain.struck), "exit_code": code, **_counts(wrong["pipe"])},
        "strays": strays(),
    }


def _counts(wrong: dict[str, list[str]]) -> dict[str, int]:
    return {f"{kind}_differences": len(keys) for kind, keys in wrong.items()}


def _timed[T](name: str, work: Callable[[], T]) -> tuple[float, T]:
    start = time.monotonic()
    result = work()
    taken = round(time.monotonic() - start, 1)
    print(f"{name}: {taken} s", file=sys.stderr)
    return taken, result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--kill-every", type=int, default=25, help="tasks between two kills of a jail, on average")
    parser.add_argument("--die-every", type=int, default=400, help="tasks between two kills of verify, on average")
    parser.add_argument("--check-seconds", type=float, default=10.0, help="as for sca verify")
    parser.add_argument("--proofs", action="store_true", help="all stages; else only the paper's filter")
    parser.add_argument("--seed", type=int, default=0)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(parser.parse_args(), Path(folder))
    print(json.dumps({"benchmark": "faults"} | found))
    differ = any(value for part in ("file", "pipe") for key, value in found[part].items() if "_differences" in key)
    raise SystemExit(int(differ or found["strays"] > 0))


if __name__ == "__main__":
    main()
