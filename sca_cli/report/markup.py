"""HTML in small: text that a model wrote made harmless, numbers in figures, tables.

What is returned here is markup; what is taken is text, unless it says otherwise.
"""

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence

from sca_cli.analysis.text_values import as_float
from sca_cli.records import JSON, Interval

NOTHING = "\N{EN DASH}"
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories of characters that cannot be seen, or that turn the direction of what follows."""


def text(value: object) -> str:
    """Return text as markup: nothing in it is markup, and characters that cannot be seen are named."""
    return html.escape("".join(_seen(character) for character in str(value)))


def _seen(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _UNSEEN:
        return character
    return f"⟨U+{ord(character):04X}⟩"


def code(program: str) -> str:
    """Return a program or a reply as a block."""
    return f"<pre><code>{text(program)}</code></pre>"


def number(value: JSON) -> str:
    """Return a number in figures, thousands apart; a dash for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(as_float(value)):
        return NOTHING
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def share(value: float) -> str:
    """Return a share in per cent."""
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
    """Return a time in minutes; a dash for one that was not taken."""
    return NOTHING if seconds is None else f"{seconds / 60:,.1f}"


def cell(markup: str, *, of: float | None = None, kind: str = "") -> str:
    """Return a cell of a table; `of` from 0 to 1 is shown as a bar or a shade, as its kind has it."""
    css = f' class="{kind}"' if kind else ""
    shade = f' style="--of:{of:.3f}"' if of is not None else ""
    return f"<td{css}{shade}>{markup}</td>"


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], *, caption: str = "", kind: str = "") -> str:
    """Return a table that scrolls by itself where it is wider than the screen.

    Args:
        head: markup of the headings.
        rows: markup of the heading of each row, and its cells.
        caption: markup.
        kind: CSS class.
    """
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in head)
    body = "\n".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, cells in rows)
    told = f"<caption>{caption}</caption>" if caption else ""
    css = f' class="{kind}"' if kind else ""
    return (
        f'<div class="wide"><table{css}>{told}<thead><tr>{headings}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(drawn: str, caption: str) -> str:
    """Return a chart with a caption; both are markup."""
    return f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>"


def section(identity: str, title: str, *parts: str) -> str:
    """Return a section of markup, or nothing where all its parts are empty."""
    inside = "\n".join(filter(None, parts))
    return f'<section id="{identity}">\n<h2>{text(title)}</h2>\n{inside}\n</section>' if inside else ""


def note(words: str) -> str:
    """Return a remark; it is markup."""
    return f'<p class="note">{words}</p>'
