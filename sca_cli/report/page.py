"""The page: one HTML file without network requests, for light and dark mode, print and phones.

It contains no script, and its content security policy allows none. Text that `markup.text` failed to escape could
therefore not run.
"""

from collections.abc import Iterator

from sca_cli.report import measured, reading, tables
from sca_cli.report.gather import Gathered
from sca_cli.report.markup import number, text

SECTIONS = {
    "scores": ("Scores", measured.scores),
    "funnel": ("Funnel", tables.funnel),
    "learning": ("Learning", measured.learning),
    "coverage": ("Coverage", tables.coverage),
    "agreement": ("Agreement", tables.agreement),
    "cost": ("Cost", tables.cost),
    "tasks": ("Tasks", reading.tasks),
}
"""Id of a section → its name in the navigation, and the function that writes it. A section without records is empty."""

_MOST_MODELS = 6
"""Most models named for one verb in the header; tables name all of them. Chosen by hand."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6470; --line: #d9dde3; --paper: #fff; --block: #f4f6f8;
  --main: #1f5fbf; --other: #b4530a; --base: #6b7280; --third: #2b7a3d; --fourth: #7b3fa0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #a0a8b4; --line: #3a414b; --paper: #15181c;
  --block: #1e2329; --main: #78aeff; --other: #ffab66; --base: #9aa3af; --third: #7ed492; --fourth: #cf9bf0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere; } h4 { font-size: .85rem;
  margin: .75rem 0 .2rem; color: var(--soft); }
a { color: var(--main); } nav a { margin-right: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.note, figcaption, caption { color: var(--soft); font-size: .875rem; } .note { margin: .5rem 0; max-width: 46rem;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .75rem 0 1.25rem; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0; font-weight: 600; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; } thead th { vertical-align: bottom; }
th:first-child { text-align: left; overflow-wrap: anywhere; min-width: 11rem; } tbody th { font-weight: 400; }
table:has(td.words) th:nth-child(2) { text-align: left; }
td.words { text-align: left; overflow-wrap: anywhere; min-width: 11rem; }
.ci { color: var(--soft); font-size: .8rem; white-space: nowrap; }
td.bar { --tint: color-mix(in srgb, var(--main) 22%, transparent); min-width: 6rem;
  background: linear-gradient(to right, var(--tint) calc(var(--of) * 100%), transparent 0); }
.matrix td { border: 1px solid var(--line); min-width: 2rem; text-align: center; }
td.heat { background: color-mix(in srgb, var(--main) calc(8% + var(--of) * 42%), transparent); }
td.empty { background: repeating-linear-gradient(135deg, var(--block) 0 4px, transparent 4px 8px); }
td.bar, td.heat, td.empty { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
figure { margin: 1rem 0; max-width: 34rem; } svg.chart { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .tick { font-size: 10px; fill: var(--soft); }
svg .panel { font-weight: 600; } svg .grid { stroke: var(--line); stroke-width: 1; } svg .mean { stroke: var(--ink);
  stroke-width: 2; }
svg line.base, svg line.main, svg line.other { stroke-width: 2; } svg polyline { fill: none; stroke-width: 1.75; }
.base { stroke: var(--base); fill: var(--paper); stroke-width: 2; } .main { stroke: var(--main); fill: var(--main); }
.other { stroke: var(--other); fill: var(--other); }
.s0 { stroke: var(--main); } .s1 { stroke: var(--other); } .s2 { stroke: var(--third); } .s3 { stroke: var(--fourth);
  }
polyline.s1 { stroke-dasharray: 7 3; } polyline.s2 { stroke-dasharray: 2 3; }
polyline.s3 { stroke-dasharray: 9 3 2 3; }
circle.s0 { fill: var(--main); } circle.s1 { fill: var(--other); } circle.s2 { fill: var(--third); }
circle.s3 { fill: var(--fourth); }
.legend { font-size: .8rem; margin: .25rem 0; } .key { margin-right: 1rem; display: inline-block; }
.key svg { vertical-align: middle; }
.task { border-top: 1px solid var(--line); padding: .75rem 0; } summary { color: var(--soft); font-size: .875rem;
  overflow-wrap: anywhere; }
.said { font-size: 1.05rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; unicode-bidi: isolate; }
pre { margin: 0; padding: .6rem .75rem; background: var(--block); border-radius: 4px;
  font: .8rem/1.45 ui-monospace, monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; }
@media print { :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --block: #f4f4f4; --main: #1f5fbf;
  --other: #b4530a; --base: #6b7280; --third: #2b7a3d; --fourth: #7b3fa0; color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; } .wide { overflow: visible; }
  h2, h3, h4, summary { break-after: avoid; } figure, tr { break-inside: avoid; } td.words { min-width: 0; } }
"""


def page(gathered: Gathered) -> str:
    """Return the report as HTML. The same records give the same bytes."""
    sections = {identity: write(gathered) for identity, (_, write) in SECTIONS.items()}
    links = " ".join(f'<a href="#{each}">{SECTIONS[each][0]}</a>' for each, inside in sections.items() if inside)
    inside = "\n".join(filter(None, sections.values()))
    envs = ", ".join(sorted({env.partition(":")[0] for env in gathered.envs}))
    title = text(f"sca report: {envs}" if envs else "sca report")
    about = "\n".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in _about(gathered) if value)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<dl>
{about}
</dl>
<nav>{links}</nav>
</header>
<main>
{inside}
</main>
</body>
</html>
"""


def _about(gathered: Gathered) -> Iterator[tuple[str, str]]:
    yield "environments", ", ".join(sorted(gathered.envs))
    for verb, models in sorted(gathered.models.items()):
        more = f" and {len(models) - _MOST_MODELS} more" if len(models) > _MOST_MODELS else ""
        yield f"{verb} by", ", ".join(sorted(models)[:_MOST_MODELS]) + more
    yield "seeds", ", ".join(map(str, sorted(gathered.seeds)))
    yield "sca", ", ".join(sorted(gathered.versions))
    counted = ", ".join(f"{number(count)} {kind}{'s' * (count != 1)}" for kind, count in sorted(gathered.kinds.items()))
    yield "records", f"{counted} in {number(gathered.files)} file{'s' * (gathered.files != 1)}"
    yield "left out", "a half line at the end of " * bool(gathered.halves) + _files(len(gathered.halves))


def _files(count: int) -> str:
    return f"{number(count)} file{'s' * (count != 1)}, still being written" if count else ""
