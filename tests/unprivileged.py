"""Run Python as an unprivileged user (uid 65534), even where only root may enter the interpreter's directory."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534

# In its own mount namespace, make the interpreter reachable for every user at its usual path.
_SHOW = """
mount --bind {prefix} {aside}
mount -t tmpfs -o mode=755 tmpfs {top}
mkdir -p {prefix}
mount --bind {aside} {prefix}
"""
_BECOME = 'exec setpriv --reuid {nobody} --regid {nobody} --clear-groups "$@"'


def python(arguments: Sequence[str], aside: Path) -> list[str]:
    """Return a command that runs this Python as the unprivileged user; if we are not root, as the current user.

    Args:
        arguments: the arguments of Python.
        aside: an empty directory; it only serves as a mount point.
    """
    command = [sys.executable, *arguments]
    if os.geteuid() != 0:
        return command
    prefix = Path(sys.base_prefix).resolve()
    top = Path(*prefix.parts[:2])
    hidden = top.stat().st_mode & 0o001 == 0
    show = _SHOW.format(prefix=prefix, aside=aside, top=top) if hidden else ""
    return ["unshare", "-m", "sh", "-ec", show + _BECOME.format(nobody=NOBODY), "sh", *command]


def why_not(aside: Path) -> str:
    """Return the reason why the unprivileged user cannot run Python with sca here, or ""."""
    if os.geteuid() != 0:
        return "only root can become nobody; all else runs unprivileged then"
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return "unshare(1) and setpriv(1) are needed"
    command = python(["-c", "import sca_cli.sandbox.host.sandbox"], aside)
    tried = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    return f"nobody cannot reach the interpreter or sca: {tried.stderr[-300:]}" if tried.returncode else ""
