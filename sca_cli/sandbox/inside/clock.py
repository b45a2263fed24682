"""Change the date for the programs of a twin, inside its jail.

The kernel's user namespaces have no clock of their own, so this replaces Python's clocks. Covered: `time` and
`datetime`. Not covered: a program that asks the kernel in another way.
"""

import datetime
import time
from typing import Any

STEP_S = 345_678_912
"""4,000 days and some hours, minutes and seconds, so that every part of a date changes. Chosen by hand."""


class _LikeReal(type):
    """The metaclass of a replacement: instances and subclasses of the real class count as those of its replacement.

    Classes derived from a replacement behave as usual.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        return type.__instancecheck__(_real(cls), instance)

    def __subclasscheck__(cls, other: type) -> bool:
        return type.__subclasscheck__(_real(cls), other)


def _real(cls: type) -> type:
    return cls.__mro__[1] if cls in (datetime.date, datetime.datetime) else cls


def put_ahead(seconds: int) -> None:
    """Move this process's clocks forward for the rest of its life.

    Args:
        seconds: the shift.
    """
    real, real_ns = time.time, time.time_ns
    setattr(time, "time", lambda: real() + seconds)  # noqa: B010  an assignment would not pass the type checker
    setattr(time, "time_ns", lambda: real_ns() + seconds * 10**9)  # noqa: B010
    for name in ("localtime", "gmtime", "ctime"):
        setattr(time, name, _of_now(getattr(time, name)))
    strftime = time.strftime
    setattr(time, "strftime", lambda format_text, when=None: strftime(format_text, when or time.localtime()))  # noqa: B010
    _replace_classes()


def _of_now(function: Any) -> Any:
    return lambda when=None: function(time.time() if when is None else when)


def _replace_classes() -> None:
    class date(datetime.date, metaclass=_LikeReal):
        @classmethod
        def today(cls) -> Any:
            return cls.fromtimestamp(time.time())

    class later(datetime.datetime, metaclass=_LikeReal):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(datetime.UTC).replace(tzinfo=None)

    later.__name__ = later.__qualname__ = "datetime"
    for replacement in (date, later):
        replacement.__module__ = "datetime"
        setattr(datetime, replacement.__name__, replacement)
