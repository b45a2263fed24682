"""`sca doctor`: check whether the jail holds on this machine, also against a file of hostile programs."""

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import typer

from sca_cli import machine, messages
from sca_cli.doctor import corpus, layers
from sca_cli.doctor.corpus import GroupReport, Hostile
from sca_cli.doctor.layers import Layer
from sca_cli.errors import ExitCode


class DoctorReport(msgspec.Struct):
    """The output of `--json`."""

    ok: bool
    layers: list[Layer]
    corpus: dict[str, GroupReport] = {}
    notes: list[str] = []
    """Limits of this machine or process that a usual run may reach."""


def run(programs: Sequence[Hostile]) -> Iterator[Layer | tuple[Hostile, list[str]]]:
    """Probe all layers. If all hold, run the hostile programs."""
    sound = True
    for layer in layers.examine():
        sound = sound and layer.ok
        yield layer
    if sound and programs:
        with corpus.Arena(layers.environment()) as arena:
            for hostile in programs:
                yield hostile, arena.signs(hostile)


def command(
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus",
            metavar="FILE",
            help="Also run the hostile programs in a JSONL file; repeat it for several files.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.", show_default=False)] = False,
) -> ExitCode:
    """Prove that the jail works on this machine, layer by layer.

    \b
    Example:
      sca doctor && sca doctor --corpus tests/hostile.jsonl

    For each layer that does not hold it prints a cure, and the exit code is 4. Hostile programs run only if all layers
    hold.
    """
    programs = corpus.read(files or [])
    report = DoctorReport(True, [], notes=machine.low_limits())
    results = []
    for result in run(programs):
        if isinstance(result, Layer):
            report.layers.append(result)
        else:
            results.append(result)
            _count(len(results), len(programs))
    report.corpus = corpus.by_group(results)
    got_through = any(group.through for group in report.corpus.values())
    report.ok = all(layer.ok for layer in report.layers) and not got_through
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        _print(report)
    return ExitCode.OK if report.ok else ExitCode.MISSING


def _count(done: int, total: int) -> None:
    """Show the progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} programs", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _print(report: DoctorReport) -> None:
    _table("layer", [(layer.layer, layer.ok, layer.seen) for layer in report.layers])
    for layer in report.layers:
        if not layer.ok:
            messages.show(f"\n{layer.layer} does not hold: {layer.seen}\ncure: {layer.cure}")
    for limit in report.notes:
        messages.show(f"note: {limit}")
    if report.corpus:
        messages.show("")
        _table("group", [(name, not group.through, _summary(group)) for name, group in report.corpus.items()])
        for group in report.corpus.values():
            for identity, signs in group.through.items():
                messages.show(f"{identity} got through: {'; '.join(signs)}")


def _summary(group: GroupReport) -> str:
    return f"{group.run} run, {len(group.through)} got through: {', '.join(group.through)}".removesuffix(": ")


def _table(head: str, rows: list[tuple[str, bool, str]]) -> None:
    if not sys.stdout.isatty():
        for name, holds, seen in rows:
            messages.show(f"{name:<15} {'ok' if holds else 'FAILED':<7} {seen}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(head, "", "seen")
    for name, holds, seen in rows:
        table.add_row(
            Text(messages.visible(name)),
            Text("ok", "green") if holds else Text("FAILED", "bold red"),
            Text(messages.visible(seen)),
        )
    Console().print(table)
