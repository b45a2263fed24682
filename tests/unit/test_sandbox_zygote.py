"""What a zygote does before it forks."""

import subprocess
import sys

SHARED = """
import ctypes, os
from sca_cli.sandbox import zygote

count = lambda value: ctypes.c_uint32.from_address(id(value)).value
table = {f"key {os.getpid()}": [f"value {os.getpid()}"]}
zygote._share()
((key, value),) = table.items()
print([count(each) == count(None) for each in (table, key, value, value[0])])
"""


def test_what_is_shared_is_never_written_by_its_readers() -> None:
    """Objects and the keys of tables get the reference count of None, which nobody changes."""
    done = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, check=True)
    assert done.stdout.decode() == "[True, True, True, True]\n"
