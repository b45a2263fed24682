"""What runs in the jail in the other designs of the verify benchmark: program, tools, state and check in one process.

Measuring sticks only: the program can reach the state, the check and the verdict. Started with a descriptor of a socket
on which each line is an order, {"programs": […], "evaluate": …}, answered by a list of verdicts.
"""

import io
import json
import os
import socket
import sys
from typing import Any

from ledger import Ledger


def world(state: str) -> Ledger:
    """Return a world with the state of a file."""
    ledger = Ledger()
    with open(state) as file:  # noqa: PTH123  pathlib is one more module to load in the jail
        ledger.restore(json.load(file))
    return ledger


def verdict(ledger: Ledger, program: str, evaluate: str) -> bool:
    """Run a program and its check against a world."""
    answers: list[Any] = []
    names: dict[str, Any] = {name: getattr(ledger, name) for name in ("look", "row", "put")}
    ledger.reset(1)
    sys.stdout = io.StringIO()
    exec(program, names | {"final_answer": answers.append})
    checks: dict[str, Any] = dict(names)
    exec(evaluate, checks)
    return checks["evaluate"](answers[0] if answers else None) is True


def forked(ledger: Ledger, program: str, evaluate: str, confine: Any) -> bool:
    """Do the same in a child."""
    ours, theirs = socket.socketpair()  # the zygote's filter knows no pipes
    if not (pid := os.fork()):
        try:
            os.dup2(theirs.fileno(), 3)
            confine.apply()
            os.write(3, b"T" if verdict(ledger, program, evaluate) else b"F")
        finally:
            os._exit(0)
    theirs.close()
    said = os.read(ours.fileno(), 1)
    ours.close()
    os.waitpid(pid, 0)
    return said == b"T"


def main() -> None:
    """Answer orders until the host is gone."""
    lines = socket.socket(fileno=int(sys.argv[1])).makefile("rw", encoding="utf-8")
    ledger, confine = world(sys.argv[2]), None
    if sys.argv[3] == "fork":
        import gc

        from sca_cli.sandbox.inside.confine import Confinement

        confine = Confinement()
        confine.prepare(4, 512, 5)
        confine.seal()
        gc.collect()
        gc.freeze()
    for line in lines:
        order = json.loads(line)
        judge = [
            forked(ledger, program, order["evaluate"], confine)
            if confine
            else verdict(ledger, program, order["evaluate"])
            for program in order["programs"]
        ]
        lines.write(json.dumps(judge) + "\n")
        lines.flush()


if __name__ == "__main__":
    main()
