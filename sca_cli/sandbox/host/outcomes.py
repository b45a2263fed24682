"""What a session may use and what comes of it: limits, the run of a turn, the judgement of a check."""

from dataclasses import dataclass, field

from sca_cli.records import JSON, Observation, Outcome


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program, one check or one world may use; each limit has its own reason when it is passed."""

    wall_s: float = 10.0
    """`timeout`: seconds of one turn, one check, or one request to the world."""
    cpu_s: int = 5
    """`cpu`: CPU seconds of a program, all turns together, or of a check."""
    memory_mb: int = 512
    """`memory`: MiB of address space on top of the bare interpreter."""
    output_bytes: int = 65536
    """`output`: bytes that one turn may print."""
    reply_bytes: int = 1 << 20
    """`reply`: bytes of an answer or a tool call; a session's calls together may have 16 times as many."""
    calls: int = 200
    """`calls`: tool calls of a program, all turns together, of a check, or of the host."""


@dataclass(slots=True)
class Run:
    """One turn of a program."""

    ok: bool
    """The code ran to its end, or ended in `final_answer`."""
    reason: str = ""
    """Empty, or exception, syntax, timeout, cpu, memory, output, reply, calls, crash, blocked-syscall, world,
    sandbox."""
    message: str = ""
    """The exception with a traceback within the code, or the limit in words."""
    output: str = ""
    """What it printed, standard error included, and the echo of a last expression."""
    answered: bool = False
    """It has called `final_answer`, in this turn or before."""
    answer: JSON = None
    alive: bool = True
    """It can take another turn."""
    calls: list[Observation] = field(default_factory=list)
    """Tool calls made in this turn, with their results."""


@dataclass(slots=True)
class Judgement:
    """What a check found."""

    outcome: Outcome
    reason: str = ""
    """Why it is invalid: as `Run.reason`, or not-bool, no-evaluate."""
    message: str = ""
    calls: list[Observation] = field(default_factory=list)
    """Tool calls the check made, refused ones included."""
