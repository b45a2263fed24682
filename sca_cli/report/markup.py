"""Small functions that return HTML: escaped text, formatted numbers, tables.

All return values are markup. Arguments are text, unless a docstring says that they are markup.
"""

import html
import math
from collections.abc import Iterable, Sequence

from sca_cli.analysis.text_values import as_float
from sca_cli.messages import visible
from sca_cli.records import JSON, Interval

NOTHING = "\N{EN DASH}"
"""Shown for a missing value."""


def text(value: object) -> str:
    """Return text as markup: tags are escaped, and invisible characters are replaced by their code points."""
    return html.escape(visible(str(value)))


def code(program: str) -> str:
    """Return a program or a reply as a block of code."""
    return f"<pre><code>{text(program)}</code></pre>"


def number(value: JSON) -> str:
    """Return a number with commas between thousands; a dash for a value that is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(as_float(value)):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def share(value: float) -> str:
    """Return a share (0 to 1) in per cent."""
    return f"{value:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def estimate(value: Interval) -> str:
    """Return a share with its interval, in per cent."""
    return f'{share(value.value)} <span class="ci">[{100 * value.low:.1f}, {100 * value.high:.1f}]</span>'


def points(value: Interval) -> str:
    """Return a difference of shares with its interval, in percentage points."""
    return f'{100 * value.value:+.1f} <span class="ci">[{100 * value.low:+.1f}, {100 * value.high:+.1f}]</span>'


def factor(value: Interval) -> str:
    """Return a ratio with its interval."""
    return f'{value.value:.2f} <span class="ci">[{value.low:.2f}, {value.high:.2f}]</span>'


def minutes(seconds: float | None) -> str:
    """Return a time in minutes; a dash if it was not measured."""
    return NOTHING if seconds is None else f"{seconds / 60:,.1f}"


def cell(markup: str, *, of: float | None = None, kind: str = "") -> str:
    """Return a cell of a table.

    Args:
        markup: the content.
        of: a share from 0 to 1, drawn as a bar or a shade; the CSS class decides which. None: not drawn.
        kind: CSS class.
    """
    css = f' class="{kind}"' if kind else ""
    shade = f' style="--of:{of:.3f}"' if of is not None else ""
    return f"<td{css}{shade}>{markup}</td>"


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], *, caption: str = "", kind: str = "") -> str:
    """Return a table, with its own scroll bar if it is wider than the screen.

    Args:
        head: markup of the column headings.
        rows: (markup of the heading, cells) of each row.
        caption: markup of the caption.
        kind: CSS class.
    """
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in head)
    body = "\n".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, cells in rows)
    caption_tag = f"<caption>{caption}</caption>" if caption else ""
    css = f' class="{kind}"' if kind else ""
    return (
        f'<div class="wide"><table{css}>{caption_tag}<thead><tr>{headings}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(chart: str, caption: str) -> str:
    """Return a chart with a caption; both are markup."""
    return f"<figure>{chart}<figcaption>{caption}</figcaption></figure>"


def section(identity: str, title: str, *parts: str) -> str:
    """Return a section with these parts, which are markup; "" if all parts are empty."""
    inside = "\n".join(filter(None, parts))
    return f'<section id="{identity}">\n<h2>{text(title)}</h2>\n{inside}\n</section>' if inside else ""


def note(words: str) -> str:
    """Return a remark as a paragraph; `words` is markup."""
    return f'<p class="note">{words}</p>'
