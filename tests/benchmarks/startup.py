"""How long `sca --help` takes, as a multiple of `python -c "import typer"`, which it cannot do without.

    python tests/benchmarks/startup.py [--runs N]

The two are run in turn, so that both see the same machine. Progress on stderr, one JSON object on stdout.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "sca_help": [str(Path(sys.prefix) / "bin" / "sca"), "--help"],
    "sca_plugins": [str(Path(sys.prefix) / "bin" / "sca"), "plugins"],
    "import_typer": [sys.executable, "-c", "import typer"],
    "python": [sys.executable, "-c", ""],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one run."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30, help="runs of each command (30)")
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(runs + 1):
        for name, command in COMMANDS.items():
            taken = seconds(command)
            if number:  # the first round fills the page cache
                times[name].append(taken)
        print(f"\rround {number} of {runs}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in times.items()}
    figures: dict[str, float] = {f"{name}_median_ms": round(1000 * value, 1) for name, value in medians.items()}
    figures["help_to_import_typer_ratio"] = round(medians["sca_help"] / medians["import_typer"], 3)
    figures["plugins_to_import_typer_ratio"] = round(medians["sca_plugins"] / medians["import_typer"], 3)
    print(json.dumps({"benchmark": "startup", "runs": runs} | figures))


if __name__ == "__main__":
    main()
