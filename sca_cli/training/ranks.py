"""The processes of one training run: `torchrun` or `accelerate launch` start the same command several times.

The first process reads the records, attempts tasks, and writes files; the others receive from it what they train on. A
step's forward passes are divided among the processes, and their gradients are summed, so that a step computes the same
as with one process.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from sca_cli.errors import ScaError

_WAIT = timedelta(hours=12)
"""How long a process waits for another one: attempts at tasks can take long."""


def count() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def number() -> int:
    """Return the number of this process: 0 is the first one."""
    return int(os.environ.get("RANK", "0"))


def follows() -> bool:
    """Return whether this process follows the first one."""
    return number() > 0


def from_first[T](make: Callable[[], T]) -> T:
    """Return, in every process, what the first process makes.

    If it raises an error, the others exit without a message.
    """
    if count() == 1:
        return make()
    if follows():
        made, code = _broadcast(None)
        if code is not None:
            sys.exit(code)
        return made  # type: ignore[no-any-return]
    try:
        result = make()
    except ScaError as error:
        _broadcast((None, int(error.exit_code)))
        raise
    _broadcast((result, None))
    return result


def _broadcast(value: Any) -> Any:
    import torch
    from accelerate import PartialState

    # the launcher's variables say which devices there are
    PartialState(cpu=not torch.cuda.is_available(), timeout=_WAIT)
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def summed(values: dict[str, float]) -> dict[str, float]:
    """Return the sums of some values over all processes, which all call this with the same names."""
    from accelerate.utils import gather_object

    if count() == 1:
        return values
    parts = gather_object([values])
    return {name: sum(part[name] for part in parts) for name in values}


@contextmanager
def silent_followers() -> Iterator[None]:
    """End a following process without a message if the block raises an error: the first process prints it."""
    try:
        yield
    except ScaError as error:
        if follows():
            sys.exit(int(error.exit_code))
        raise
