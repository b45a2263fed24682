"""Charts as inline SVG: estimates with their intervals, and curves. The page sets the colours, light or dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sca_cli.records import Interval
from sca_cli.report.markup import share, text

_WIDTH = 400
MOST_CURVES = 4
"""Most curves in one chart; the page has this many line styles."""

_MOST_POINTS = 400
"""Most points of one curve; a longer one is drawn through the means of equal sections. Chosen by hand."""


@dataclass(frozen=True, slots=True)
class Dots:
    """Estimates of one quantity, one for each seed."""

    label: str
    tone: str
    """The role of the arm: base, main or other. It sets the colour."""
    estimates: list[Interval]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(estimate.value for estimate in self.estimates) / len(self.estimates)


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve: points (x, y), and optionally the interval of each y."""

    label: str
    points: list[tuple[float, float]]
    intervals: list[Interval] | None = None


# ---------------------------------------------------------------- dots


def dots(title: str, panels: Sequence[tuple[str, Sequence[Dots]]]) -> str:
    """Return a chart of estimates with intervals, in panels with one common axis of shares.

    Args:
        title: a description for screen readers.
        panels: (heading, rows) of each panel.
    """
    highest = max(estimate.high for _, rows in panels for row in rows for estimate in row.estimates)
    top = next(step for step in (0.1, 0.25, 0.5, 1.0) if highest <= step or step == 1.0)
    marks: list[str] = []
    y = 26.0
    for heading, rows in panels:
        marks.append(f'<text class="panel" x="0" y="{y + 10:.0f}">{text(heading)}</text>')
        y += 18
        for row in rows:
            marks.append(_row(row, y, top))
            y += 20 + 9 * len(row.estimates)
        y += 10
    grid = "".join(_gridline(top * part / 4, top, y) for part in range(5))
    return _svg(title, y, grid + "".join(marks))


def _gridline(value: float, top: float, bottom: float) -> str:
    x = _across(value, top)
    anchor = "start" if value == 0 else "end" if value == top else "middle"
    return (
        f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="18" y2="{bottom:.0f}"/>'
        f'<text class="tick" x="{x:.1f}" y="12" text-anchor="{anchor}">{100 * value:g}\N{NO-BREAK SPACE}%</text>'
    )


def _across(value: float, top: float) -> float:
    return 2 + (_WIDTH - 4) * min(max(value, 0.0), top) / top


def _row(row: Dots, y: float, top: float) -> str:
    label = share(row.mean) + (f" (mean of {len(row.estimates)})" if len(row.estimates) > 1 else "")
    parts = [
        f'<text x="0" y="{y + 11:.0f}">{text(_shortened(row.label, 34))}</text>'
        f'<text x="{_WIDTH}" y="{y + 11:.0f}" text-anchor="end">{label}</text>'
    ]
    for place, estimate in enumerate(row.estimates):
        line = y + 19 + 9 * place
        low, high, at = (_across(value, top) for value in (estimate.low, estimate.high, estimate.value))
        parts.append(
            f'<line class="{row.tone}" x1="{low:.1f}" x2="{high:.1f}" y1="{line:.1f}" y2="{line:.1f}"/>'
            f'<circle class="{row.tone}" cx="{at:.1f}" cy="{line:.1f}" r="3.5"/>'
        )
    if len(row.estimates) > 1:
        x = _across(row.mean, top)
        end = y + 23 + 9 * (len(row.estimates) - 1)
        parts.append(f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 15:.1f}" y2="{end:.1f}"/>')
    return "".join(parts)


def _shortened(label: str, length: int) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


# ---------------------------------------------------------------- curves


def curves(title: str, lines: Sequence[Curve], x_name: str, *, shares: bool = False) -> str:
    """Return a chart of curves with one pair of axes; y starts at 0, or below it if a value is negative.

    Args:
        title: a description for screen readers.
        lines: at most `MOST_CURVES` curves, each with at least one point.
        x_name: the label of the x axis.
        shares: the y values are shares, labelled in per cent.
    """
    lines = [_thinned(line) for line in lines]
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points] + [i.high for line in lines for i in line.intervals or []]
    highest, lowest = max([*ys, 1e-9]), min([*ys, 0.0])
    step = _step(highest - lowest, 4)
    above, below = math.ceil(highest / step - 1e-9), math.ceil(-lowest / step - 1e-9)
    frame = _Frame(min(xs), max(xs), step * above, -step * below)
    parts = [_level(frame, step * index, shares) for index in range(-below, above + 1)]
    parts += [_label(frame, x) for x in dict.fromkeys((frame.left, frame.right))]
    parts.append(f'<text class="tick" x="220" y="216" text-anchor="middle">{text(x_name)}</text>')
    parts += [_line(frame, line, place) for place, line in enumerate(lines)]
    return _svg(title, 220, "".join(parts)) + _legend(lines)


@dataclass(frozen=True, slots=True)
class _Frame:
    left: float
    right: float
    top: float
    bottom: float

    def x(self, value: float) -> float:
        return 44 + 336 * (value - self.left) / ((self.right - self.left) or 1)

    def y(self, value: float) -> float:
        return 196 - 184 * (min(max(value, self.bottom), self.top) - self.bottom) / (self.top - self.bottom)


def _step(highest: float, count: int) -> float:
    """Return a round distance between gridlines, so that about `count` gridlines reach the highest value."""
    size: float = 10.0 ** math.floor(math.log10(highest / count))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor * count >= highest * 0.999)


def _level(frame: _Frame, value: float, shares: bool) -> str:
    y = frame.y(value)
    label = f"{100 * value:g}\N{NO-BREAK SPACE}%" if shares else f"{value:g}"
    return (
        f'<line class="grid" x1="44" x2="392" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="38" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _label(frame: _Frame, value: float) -> str:
    anchor = "end" if value == frame.right and frame.right > frame.left else "start"
    return f'<text class="tick" x="{frame.x(value):.1f}" y="212" text-anchor="{anchor}">{value:g}</text>'


def _line(frame: _Frame, line: Curve, place: int) -> str:
    style = f"s{place % MOST_CURVES}"
    aside = 3.0 * place if line.intervals else 0.0  # shift each curve, so that intervals do not hide each other
    at = [(frame.x(x) + aside, frame.y(y)) for x, y in line.points]
    through = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    parts = [f'<polyline class="{style}" points="{through}"/>']
    if len(line.points) <= 20:
        parts += [f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in at]
    for (x, _), each in zip(at, line.intervals or [], strict=False):
        low, high = frame.y(each.low), frame.y(each.high)
        parts.append(f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>')
    return "".join(parts)


def _thinned(line: Curve) -> Curve:
    size = math.ceil(len(line.points) / _MOST_POINTS)
    if size == 1:
        return line
    sections = [line.points[start : start + size] for start in range(0, len(line.points), size)]
    return Curve(line.label, [(part[-1][0], sum(y for _, y in part) / len(part)) for part in sections])


def _legend(lines: Sequence[Curve]) -> str:
    keys = (
        f'<span class="key"><svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true">'
        f'<polyline class="s{place % MOST_CURVES}" points="0,4 24,4"/></svg> {text(line.label)}</span>'
        for place, line in enumerate(lines)
    )
    return f'<p class="legend">{" ".join(keys)}</p>'


def _svg(title: str, height: float, inside: str) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {height:.0f}"><title>{text(title)}</title>{inside}</svg>'
    )
