"""What a zygote does before it forks."""

import os
import subprocess
import sys

import pytest

SHARED = """
import ctypes, os
from sca_cli.sandbox.inside import zygote

count = lambda value: ctypes.c_uint32.from_address(id(value)).value
table = {f"key {os.getpid()}": [f"value {os.getpid()}"]}
zygote._share()
((key, value),) = table.items()
print([count(each) == count(None) for each in (table, key, value, value[0])])
"""


def test_what_is_shared_is_never_written_by_its_readers() -> None:
    """Objects and dictionary keys get the fixed reference count of None, so that readers never write to shared
    memory.
    """
    done = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, check=True)
    assert done.stdout.decode() == "[True, True, True, True]\n"


GATHERED = """
from sca_cli.sandbox.inside import zygote

values = [f"value {n}" for n in range(100_000)]
end = zygote._start_afresh()
zygote._gather(end)
heap = open("/proc/self/smaps").read().partition("[heap]")[2].partition("VmFlags")[0]
print(all(id(value) < end for value in values), id([f"value {len(values)}"][0]) >= end, end % zygote._HUGE_PAGE)
print(values == [f"value {n}" for n in range(100_000)], int(heap.partition("AnonHugePages:")[2].split()[0]))
"""


def test_what_is_only_read_is_gathered_on_huge_pages() -> None:
    """Existing values keep their contents and move to huge pages if the kernel has them; new values are placed after
    them.
    """
    done = subprocess.run(
        [sys.executable, "-c", GATHERED], capture_output=True, check=True, env=os.environ | {"PYTHONMALLOC": "malloc"}
    )
    before, after = done.stdout.decode().splitlines()
    assert before == "True True 0"
    assert after.startswith("True")
    if after == "True 0":
        pytest.skip("the kernel gives no huge page when asked to")
