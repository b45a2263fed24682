"""Ask `server.py` to run a `sca` command line, and end as it ends: same exit code, or same signal.

python -I -S client.py DIRECTORY ARGUMENT...
"""

import os
import signal
import socket
import sys


def is_open(number: int) -> bool:
    """Tell whether a file descriptor is open."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


HEAVY = ("transformers:", "embedded:")
numbers = [number for number in (0, 1, 2) if is_open(number)]

import json  # noqa: E402  it may open files, which would then take the numbers of closed ones

directory, *arguments = sys.argv[1:]
words = [*arguments, os.environ.get("SCA_MODEL", "")]
needs_torch = words[0] in ("train", "distill") or any(word.startswith(HEAVY) for word in words)
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.path.join(directory, "torch" if needs_torch else "plain"))  # noqa: PTH118  pathlib is slow
request = {"arguments": arguments, "cwd": os.getcwd(), "environ": dict(os.environ), "open": numbers}  # noqa: PTH109
text = json.dumps(request).encode()
connection.sendall(len(text).to_bytes(4))
sent = socket.send_fds(connection, [text], numbers)
connection.sendall(text[sent:])
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
nothing = os.open(os.devnull, os.O_RDWR)
for number in numbers:
    os.dup2(nothing, number)
answer = connection.recv(4, socket.MSG_WAITALL)
code = int.from_bytes(answer, signed=True) if len(answer) == 4 else 70
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
