"""Feed broken bytes to everything that reads what a stranger wrote, and see that it fails in its own way only.

    python tests/benchmarks/fuzz.py [--examples 1000000] [--targets request,channel,…] [--seed 0]

Each example is a valid frame or record with up to six edits: a bit flipped, bytes cut off, deleted, doubled or put in,
two examples spliced. Whatever a target raises that is not its own kind of error is a finding, and so is a value that
it let through although its contract forbids it. Findings with their input on stderr, one JSON object on stdout; exit
code 1 if there are any. `tests/unit/test_fuzz.py` drives the same targets with hypothesis.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

import msgspec
from test_records import full_records

from sca_cli import streams
from sca_cli.errors import RecordError
from sca_cli.records import decode, encode
from sca_cli.sandbox import wire
from sca_cli.sandbox.host import session
from sca_cli.sandbox.host.guest import CheckReply, Ended, TurnReply, decode_hostile
from sca_cli.sandbox.inside import world

LIMIT = 4096
"""Bytes a frame may have here; small, so that edits of the length pass it."""

_SHOWN = 10  # findings of one kind that are printed
_PARTS = (
    b"", b"\n", b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"\\", b"\\ud800", b"\\u0000", b"{", b"}", b"[", b"]", b",",
    b":", b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0", b"1.", b"1" * 30, b"9" * 5000, b"[" * 150,
    b'{"a":' * 150, b"[" * 20_000, b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\x10\0\0",
    b'"kind":"task",', b'"extra":{"a":[]},',
)  # fmt: skip

type Edit = tuple[str, int, int, int]
"""What is done, where, how long (or which bit), and with which part or other example."""

EDITS = ("flip", "cut", "delete", "double", "insert", "splice")


def edited(data: bytes, edits: Sequence[Edit], others: Sequence[bytes]) -> bytes:
    """Return the data with edits made one after the other; numbers are taken modulo what there is."""
    for kind, place, length, which in edits:
        at = place % (len(data) + 1)
        end = at + 1 + length % 40
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << length % 8]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "delete":
            data = data[:at] + data[end:]
        elif kind == "double":
            data = data[:end] + data[at:]
        elif kind == "insert":
            data = data[:at] + _PARTS[which % len(_PARTS)] + data[at:]
        elif kind == "splice":
            other = others[which % len(others)]
            data = data[:at] + other[length % (len(other) + 1) :]
    return data


# ---------------------------------------------------------------- targets


class Wrong(Exception):
    """A target let something through that its contract forbids."""


def _finite(value: Any) -> bool:
    level = [value]
    while level:
        item = level.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return False
        level += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return True


def request(data: bytes) -> None:
    """Read a tool call as a world does."""
    world._Service._request(None, data)  # type: ignore[arg-type]  # it is asked nothing


def report(data: bytes) -> None:
    """Read what a world says, and pass its calls on as the host does."""
    msgspec.json.encode(session._report_decoder.decode(data).calls)


def finite(data: bytes) -> None:
    """Read one JSON text from the wire, which has no NaN and no infinities."""
    if not _finite(wire.loads(data)):
        raise Wrong("a number that is not finite")


def dumps(data: bytes) -> None:
    """Write to the wire whatever Python reads as JSON, which is more than JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    again = wire.loads(wire.dumps(value))
    if again != value:
        raise Wrong("another value")


def channel(data: bytes) -> None:
    """Take frames out of a stream of bytes, and read them, until it ends."""
    reader, writer = os.pipe()
    try:
        os.write(writer, data[:60_000])  # a pipe holds 64 KiB
        os.close(writer)
        link = wire.Channel(reader)
        while True:
            payload = link.receive(LIMIT)
            if len(payload) > LIMIT:
                raise Wrong("a frame beyond the limit")
            wire.loads(payload)
    finally:
        os.close(reader)


def turn(data: bytes) -> None:
    """Read what a program says after a turn, and pass it on as the host does."""
    msgspec.json.encode(decode_hostile(TurnReply, data).answer)


def verdict(data: bytes) -> None:
    """Read what a check says."""
    found = decode_hostile(CheckReply, data).verdict
    if found is not None and type(found) is not bool:
        raise Wrong("a verdict that is neither True nor False")


def record(data: bytes) -> None:
    """Decode one line as a record, and write it again."""
    encode(decode(data))


_blob = os.memfd_create("fuzz")


def read(data: bytes) -> None:
    """Read a file of records, and write each again."""
    os.ftruncate(_blob, 0)
    os.pwrite(_blob, data, 0)
    for found in streams.read([f"/proc/self/fd/{_blob}"]):
        encode(found)


TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[type[Exception], ...]]] = {
    "request": (request, (wire.FrameError,)),
    "report": (report, (ValueError, RecursionError)),
    "finite": (finite, (wire.FrameError,)),
    "dumps": (dumps, (TypeError, ValueError)),
    "channel": (channel, (wire.FrameError, EOFError)),
    "turn": (turn, (Ended,)),
    "verdict": (verdict, (Ended,)),
    "record": (record, (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)),
    "read": (read, (RecordError,)),
}
"""What is driven, and the errors it may raise."""


def examples(target: str) -> list[bytes]:
    """Return valid inputs of a target."""
    values: list[Any] = [
        ["get_user", ["user_1"], {"key": "ä\u2028"}],
        ["result", {"a": [1, 2.5, -3e-7, None, True], "b": {"c": []}}],
        {"code": "print('x')\nfinal_answer(1)"},
        {"tool": ["add", [1, 2], {}], "number": 3},
        [[[[[]]]], "", 12345678901234567890],
    ]
    payloads = [wire.dumps(value) for value in values]
    if target == "channel":
        return [b"".join(map(wire.frame, payloads[start:] + payloads[:start])) for start in range(len(payloads))]
    if target == "turn":
        head = b'{"reason":"%s","message":"m","answered":true,"answer":%s}'
        return [head % (reason, payload) for reason in (b"", b"exception") for payload in payloads]
    if target == "verdict":
        return [b'{"verdict":true}', b'{"verdict":false}', b'{"reason":"not-bool","message":"evaluate returned int"}']
    if target == "request":
        return [payloads[0], b'["add",[1,2],{}]', b'["view",[],{"deep":[[[{"a":null}]]]}]']
    if target == "report":
        head = b'{"number":%d,"alarm":"%s","message":"m","where":"program","checked":%d,"calls":[%s],"state":%s}'
        call = b'{"tool":"add","args":[1,2],"kwargs":{"key":"x"},"writes":true,"error":"","result":%s}'
        given = ((0, b"calls", 0), (3, b"", 1))
        return [head % (*each, call % payload, payload) for each in given for payload in payloads]
    if target in ("record", "read"):
        lines = [encode(record) for record in full_records()]
        whole = b"\n".join(lines) + b"\n"
        return lines if target == "record" else [*(line + b"\n" for line in lines), whole, b"\n" + lines[1] + b"\r\n"]
    return payloads


# ---------------------------------------------------------------- the loop


def drive(target: str, count: int, seed: int) -> dict[str, Any]:
    """Feed a target this number of examples; return the counts of its reactions."""
    function, own = TARGETS[target]
    draw = random.Random(f"{target} {seed}")
    number = draw.getrandbits
    seeds = examples(target)
    outcomes: Counter[str] = Counter()
    slowest, started = 0.0, time.perf_counter()
    for done in range(count):
        edits = [(EDITS[number(16) % 6], number(16), number(16), number(16)) for _ in range(1 + number(16) % 6)]
        data = edited(seeds[number(16) % len(seeds)], edits, seeds)
        begun = time.perf_counter()
        try:
            function(data)
            outcomes["fine"] += 1
        except own as error:
            outcomes[type(error).__name__] += 1
        except Exception as error:  # noqa: BLE001  a foreign exception is what is looked for
            name = f"finding: {type(error).__name__}"
            outcomes[name] += 1
            if outcomes[name] <= _SHOWN:
                print(f"{target}: {type(error).__name__}: {error}\n    {data[:400]!r}", file=sys.stderr, flush=True)
        slowest = max(slowest, time.perf_counter() - begun)
        if done % 100_000 == 99_999:
            print(f"{target}: {done + 1} of {count}", file=sys.stderr, flush=True)
    taken = time.perf_counter() - started
    return {
        "examples": count,
        "examples_per_s": round(count / taken),
        "slowest_ms": round(1000 * slowest, 1),
        "findings": sum(times for name, times in outcomes.items() if name.startswith("finding")),
        "outcomes": dict(outcomes.most_common()),
    }


def main() -> None:
    """Drive the targets and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1_000_000, help="for each target")
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = {target: drive(target, options.examples, options.seed) for target in options.targets.split(",")}
    print(json.dumps({"benchmark": "fuzz"} | found))
    raise SystemExit(int(any(figures["findings"] for figures in found.values())))


if __name__ == "__main__":
    main()
