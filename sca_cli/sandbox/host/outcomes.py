"""The limits of a session, the result of a turn (`Run`) and the result of a check (`Judgement`)."""

from dataclasses import dataclass, field

from sca_cli.records import JSON, Observation, Outcome, TaskLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for one program, one check or one world.

    The docstring of each field begins with the reason that is recorded when that limit is exceeded, such as `timeout`.
    """

    wall_s: float = 10.0
    """`timeout`: seconds for one turn, one check, or one request to the world."""
    cpu_s: int = 5
    """`cpu`: CPU seconds of a program (all turns together) or of a check."""
    memory_mb: int = 512
    """`memory`: MiB of address space in addition to that of the bare interpreter."""
    output_bytes: int = 65536
    """`output`: bytes that one turn may print."""
    reply_bytes: int = 1 << 20
    """`reply`: bytes of one answer or one tool call. All calls of a session together may have 16 times this number of
    bytes.
    """
    calls: int = 200
    """`calls`: tool calls of a program (all turns together), of a check, or of the host."""

    @classmethod
    def of(cls, limits: TaskLimits) -> "Limits":
        """Return the limits that a task records."""
        return cls(
            wall_s=limits.check_seconds,
            cpu_s=limits.cpu_seconds,
            memory_mb=limits.memory_mb,
            output_bytes=limits.output_bytes,
            reply_bytes=limits.reply_bytes,
            calls=limits.tool_calls,
        )


@dataclass(slots=True)
class Run:
    """The result of one turn of a program."""

    ok: bool
    """The code ran to its end or called `final_answer`."""
    reason: str = ""
    """The reason if the turn failed, else empty: exception, syntax, timeout, cpu, memory, output, reply, calls, crash,
    blocked-syscall, world, sandbox.
    """
    message: str = ""
    """The exception with a traceback within the program's code, or a text about the exceeded limit."""
    output: str = ""
    """The program's output: standard output, standard error, and the value of a last expression."""
    answered: bool = False
    """The program has called `final_answer`, in this turn or before."""
    answer: JSON = None
    alive: bool = True
    """The program can run another turn."""
    calls: list[Observation] = field(default_factory=list)
    """Tool calls of this turn, with their results."""


@dataclass(slots=True)
class Judgement:
    """The result of a check."""

    outcome: Outcome
    reason: str = ""
    """The reason if it is invalid: one of `Run.reason`, not-bool or no-evaluate."""
    message: str = ""
    calls: list[Observation] = field(default_factory=list)
    """Tool calls of the check, including blocked writes."""
