"""Whether a run keeps its word while the model server fails: 400 attempts, 100 of the requests with a random fault.

    python tests/benchmarks/server_faults.py [--attempts 400] [--faults 100] [--seed 0]

A server on localhost answers half of all tasks right. The faults are error codes, empty bodies, HTML, event streams,
lost connections, filtered replies and others. `sca rollout` must write one record for each attempt, exit with 0, and
the true share of 1/2 must be in the 95 % interval of its estimate. Progress on stderr, one JSON object on stdout; exit
code 1 if one of these is not so.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from sca_cli import app
from sca_cli.evaluation.estimates import AttemptCounts, estimate, pass_at
from sca_cli.records import EnvSpec, Rollout, Task, encode

PER_TASK = 4
RIGHT = "```python\nfinal_answer(7)\n```\n"
WRONG = "```python\nfinal_answer(8)\n```\n"


def completion(text: str | None, finish: str = "stop", **more: Any) -> dict[str, Any]:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": {"completion_tokens": 9}} | more


def faults(good: str) -> dict[str, tuple[int, Any]]:
    """Return name → status and body of each fault; status 0 closes the connection."""
    return {
        "500": (500, {"error": {"message": "engine"}}),
        "503": (503, "<html>busy</html>"),
        "429": (429, {"error": {"message": "rate limit"}}),
        "400": (400, {"error": {"message": "odd request"}}),
        "lost connection": (0, ""),
        "empty": (200, ""),
        "html": (200, "<html>log in</html>"),
        "error with 200": (200, {"error": {"message": "upstream"}}),
        "no choices": (200, {"choices": None}),
        "filter": (200, completion(None, "content_filter")),
        "broken off": (200, completion("", "error")),
        "odd usage": (200, completion(good, usage={"completion_tokens": None})),
        "surrogate": (200, json.dumps(completion(good)).replace("```python", "\\ud83d```python", 1)),
        "event stream": (200, "data: " + json.dumps(completion(good)) + "\n\ndata: [DONE]\n\n"),
        "parts": (200, completion(None) | {"choices": [{"message": {"content": [{"type": "text", "text": good}]}}]}),
        "nested": (200, "[" * 50_000),
    }


class Server:
    """A server whose requests fail at random places of the run."""

    def __init__(self, requests: int, faulty: int, seed: int) -> None:
        draw = random.Random(seed)
        self._faulty = set(draw.sample(range(requests), faulty))
        self._draw, self._lock, self._count = draw, threading.Lock(), 0
        self.met: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, body = outer.reply(request["seed"])
                if not status:
                    self.close_connection = True
                    return
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def reply(self, seed: int) -> tuple[int, Any]:
        """Return status and body for the next request."""
        good = RIGHT if random.Random(seed).random() < 0.5 else WRONG
        with self._lock:
            number, self._count = self._count, self._count + 1
            if number not in self._faulty:
                return 200, completion(good)
            name, fault = self._draw.choice(list(faults(good).items()))
            self.met[name] += 1
            return fault


def main() -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--attempts", type=int, default=400)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    server = Server(options.attempts, options.faults, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        tasks, rollouts = Path(folder) / "tasks.jsonl", Path(folder) / "rollouts.jsonl"
        env = EnvSpec(name="calculation", options={"family": "trade_calculator"})
        check = "def evaluate(answer):\n    return answer == 7"
        lines = [
            encode(Task(env=env, seed=number, instruction=f"Answer 7 ({number}).", evaluate=check))
            for number in range(options.attempts // PER_TASK)
        ]
        tasks.write_bytes(b"\n".join(lines) + b"\n")
        started = time.monotonic()
        model = f"openai:tiny,base_url={server.url}"
        code = app.run(["rollout", str(tasks), "-k", str(PER_TASK), "--model", model, "-o", str(rollouts)])
        seconds = time.monotonic() - started
        records = [msgspec.json.decode(line, type=Rollout) for line in rollouts.read_bytes().splitlines()]
    outcomes = Counter(record.outcome for record in records)
    by_task: dict[str, Counter[str]] = {}
    for record in records:
        by_task.setdefault(record.task.id, Counter())[record.outcome] += 1
    counts = [AttemptCounts(each["pass"], each["pass"] + each["fail"]) for each in by_task.values()]
    interval = estimate(counts, pass_at, 1)
    assert interval is not None
    good = code == 0 and len(records) == options.attempts and interval.low <= 0.5 <= interval.high
    figures = {
        "exit_code": code,
        "records": len(records),
        "outcomes": outcomes,
        "pass_at_1": [interval.value, interval.low, interval.high],
        "faults": sum(server.met.values()),
        "fault_kinds": len(server.met),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(figures))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
