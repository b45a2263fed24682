"""Measure whether memory is constant for any length of a stream: `challenge | verify`, real pipes, a real sandbox.

    python tests/benchmarks/streams.py [--sizes 1000,10000,100000]

Explorations are written to the first command's stdin as fast as it reads them, tasks are counted at the output
of the second. Most replies are no task (`--all` writes them too), one in `TASK_EVERY` is a task that the
sandbox proves: this way 100000 records take minutes. Peak resident memory is the kernel's VmHWM of each command,
without the jails.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCA = str(Path(sys.prefix) / "bin" / "sca")
_TASK = """\
<instruction>
Which text do you get when you write the word {word} backwards?
</instruction>
<evaluation_function>
def evaluate(answer):
    return answer == '{answer}'
</evaluation_function>
<solution>
final_answer(reverse_string('{word}'))
</solution>
<failure_case>
final_answer('{word}')
</failure_case>
<failure_case>
final_answer('')
</failure_case>
<failure_case>
final_answer(None)
</failure_case>
"""
TASK_EVERY = 50
_WORDS = ("drawer", "stressed", "reknits", "repaid")


def explorations(count: int) -> Iterator[bytes]:
    """Yield `count` exploration records of about a kilobyte each."""
    env = {"name": "calculation", "options": {"family": "message_decoder"}}
    seen = [{"tool": "reverse_string", "args": [f"word {place}"], "result": f"{place} drow"} for place in range(8)]
    for seed in range(count):
        record = {"kind": "exploration", "env": env, "seed": seed, "observations": seen}
        yield json.dumps(record).encode() + b"\n"


class Stage:
    """One command of the pipe."""

    def __init__(self, command: list[str], stdin: int, stdout: int, errors: Any) -> None:
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=errors)
        self.peak_mib = 0.0
        self._sampler = threading.Thread(target=self._sample)
        self._sampler.start()

    def _sample(self) -> None:
        """Read the peak again and again: the kernel keeps it only as long as the process lives."""
        status = Path(f"/proc/{self.process.pid}/status")
        while self.process.poll() is None:
            if peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
                self.peak_mib = int(peak[1]) / 1024
            time.sleep(0.05)

    def wait(self) -> int:
        """Wait for the process and return its exit code."""
        self._sampler.join()
        return self.process.wait()


def measure(count: int, rules: Path) -> dict[str, float]:
    """Send `count` records through the pipe and return its figures."""
    challenge = [SCA, "challenge", "--model", f"scripted:{rules}", "--all", "-q"]
    with tempfile.TemporaryFile() as errors:
        first_in, feed = os.pipe()
        second_in, first_out = os.pipe()
        drain, second_out = os.pipe()
        for end in (feed, drain):
            os.set_inheritable(end, False)
        started = time.perf_counter()
        stages = [
            Stage(challenge, first_in, first_out, errors),
            Stage([SCA, "verify", "--all", "-q"], second_in, second_out, errors),
        ]
        for end in (first_in, first_out, second_in, second_out):
            os.close(end)
        feeder = threading.Thread(target=_feed, args=(feed, count))
        feeder.start()
        lines = _drain(drain, count)
        codes = [stage.wait() for stage in stages]
        taken = time.perf_counter() - started
        feeder.join()
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    if lines != count or any(codes):
        raise SystemExit(f"{lines} records of {count} came out; exit codes {codes}\n{text}")
    return {
        "records": count,
        "challenge_peak_rss_mib": round(stages[0].peak_mib, 1),
        "verify_peak_rss_mib": round(stages[1].peak_mib, 1),
        "wall_s": round(taken, 1),
        "records_per_s": round(count / taken, 1),
    }


def _feed(descriptor: int, count: int) -> None:
    with os.fdopen(descriptor, "wb") as file:
        for line in explorations(count):
            file.write(line)


def _drain(descriptor: int, count: int) -> int:
    lines = 0
    shown = time.monotonic()
    while chunk := os.read(descriptor, 1 << 16):
        lines += chunk.count(b"\n")
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(f"\r{lines} of {count}", end="", file=sys.stderr, flush=True)
    os.close(descriptor)
    print(f"\r{lines} of {count}", file=sys.stderr)
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000", help="lengths of the streams, records")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "rules.jsonl"
        tasks = [_TASK.format(word=word, answer=word[::-1]) for word in _WORDS]
        replies = [reply for task in tasks for reply in [task, *["I would rather not."] * (TASK_EVERY - 1)]]
        rules.write_text(json.dumps({"replies": [replies]}) + "\n")
        figures = [measure(size, rules) for size in sizes]
    growth = {
        f"{stage}_peak_rss_last_to_first_ratio": round(
            figures[-1][f"{stage}_peak_rss_mib"] / figures[0][f"{stage}_peak_rss_mib"], 3
        )
        for stage in ("challenge", "verify")
    }
    print(json.dumps({"benchmark": "streams", "sizes": figures} | growth))


if __name__ == "__main__":
    main()
