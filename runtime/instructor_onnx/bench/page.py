"""Sections -> one HTML page that needs nothing else: no network, no script, light and dark, wide and narrow.

Every text may be a stranger's, from a bundle or a file of figures: `_e` escapes each, and the page's own policy forbids
scripts and requests besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _e

from instructor_onnx.bench import compare, drawing, report
from instructor_onnx.bench.compare import Comparison
from instructor_onnx.bench.conclusions import busy, count, hints, is_quiet, mixed_rate, recommendations, remarks
from instructor_onnx.bench.results import Results
from instructor_onnx.bench.tables import Section, Table

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
CSS = """
:root{color-scheme:light dark;--ink:#1c2127;--soft:#4a535e;--line:#dfe3e8;--back:#f4f6f8;--warn:#8a4b00;
--warnback:#fff4e0}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf0;--soft:#b9c1cb;--line:#333a43;--back:#0e1216;--warn:#ffc36b;
--warnback:#2b2213}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main,header,footer{max-width:1240px;margin:0 auto;padding:0 20px}
header{padding-top:28px}footer{padding-bottom:32px;color:var(--soft);font-size:14px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px}h2{font-size:19px;margin:0 0 2px}p{margin:4px 0 12px}
.soft{color:var(--soft)}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:16px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:18px 0 0;padding:0}
.tiles div{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tiles dt{color:var(--soft);font-size:14px}.tiles dd{margin:0;font-size:24px;line-height:1.25}
.tiles dd+dd{font-size:14px;line-height:1.4;color:var(--soft)}
.pair{display:grid;grid-template-columns:minmax(0,1fr);gap:16px;align-items:start}
@media(min-width:1000px){.pair.both{grid-template-columns:minmax(0,430px) minmax(0,1fr)}}
figure{margin:0;max-width:480px}svg{display:block;width:100%;height:auto}
.scroll{overflow-x:auto}
.scroll:focus-visible{outline:2px solid var(--s0);outline-offset:2px}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px 5px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child{text-align:left}thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
tbody th{font-weight:500}
table.words td{text-align:left;white-space:normal}
@media(max-width:500px){main,header,footer{padding-left:12px;padding-right:12px}
tbody th{white-space:normal;overflow-wrap:normal;min-width:6em}table{font-size:13px}
th,td{padding-right:9px}section{padding:12px}
.tiles{grid-template-columns:1fr 1fr}.tiles dd{font-size:20px}}
ul{margin:6px 0;padding-left:20px}code{font:14px/1.5 ui-monospace,monospace}
.warn{color:var(--warn);background:var(--warnback)}
"""


def page(results: Results) -> str:
    """The page of one run."""
    machine = results.machine
    said = [
        f"{machine.processor}, {count(machine.threads, 'thread')}, {machine.system}",
        f"instructor-onnx {results.instructor_onnx}, {results.measured_at}; {results.seconds:g} s a figure",
    ]
    settings = [f"{each.purpose}: <code>{_e(str(each))}</code>" for each in recommendations(results)]
    doubt = [] if is_quiet(results.load) else [_e(report.NOT_QUIET)]
    notes = [*remarks(results), *hints(results)]
    body = [
        _callout(busy(results.load), quiet=is_quiet(results.load)),
        _list_section("Recommended settings", [*settings, *doubt]),
        *map(_section, report.sections(results)),
        _list_section("Remarks", map(_e, notes[1:])),
        _list_section("Not measured", [f"{_e(each.what)}: {_e(each.why)}" for each in results.left_out]),
    ]
    return _whole(f"{results.model}, measured", said, _tiles(results), body)


def comparison_page(comparison: Comparison) -> str:
    """The page of two runs."""
    said = [compare.heading("A", comparison.a), compare.heading("B", comparison.b)]
    models = " and ".join(dict.fromkeys([comparison.a.model, comparison.b.model]))
    first, *rest = compare.sections(comparison)
    unlike = _list_section("What is unlike besides", map(_e, compare.unlike(comparison)))
    return _whole(f"{models}, two runs", said, "", [_section(first), unlike, *map(_section, rest)])


def _whole(title: str, said: Iterable[str], tiles: str, body: Iterable[str]) -> str:
    lines = "".join(f'<p class="soft">{_e(line)}</p>' for line in said)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_e(POLICY)}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_e(title)}</title><style>{drawing.css(standalone=False)}{CSS}</style></head>\n"
        f"<body><header><h1>{_e(title)}</h1>{lines}{tiles}</header>\n<main>{chr(10).join(body)}</main>\n"
        "<footer><p>Times are of <code>INSTRUCTOR.encode</code> on the CPU, from texts to vectors, each variant on "
        "each engine in a process of its own. Made by <code>instructor-onnx bench</code>.</p></footer></body></html>\n"
    )


def _tiles(results: Results) -> str:
    """Four figures for who reads no further."""
    quick = min(results.variants, key=lambda measured: measured.latency[0].p50_ms)
    steady = max(results.variants, key=mixed_rate)
    soon = min(results.variants, key=lambda measured: measured.cold_start.seconds)
    query = quick.latency[0]
    figures = [
        ("shortest query, median", f"{query.p50_ms:.3g} ms", f"{quick.name}, {count(query.tokens, 'token')}"),
        ("texts of mixed lengths", f"{mixed_rate(steady):,.0f} tokens/s", steady.name),
        ("cold start", f"{soon.cold_start.seconds:.2f} s", soon.name),
    ]
    sizes = [(measured.resident_bytes, measured.name) for measured in results.variants if measured.resident_bytes]
    if sizes:
        least, name = min(sizes)
        figures.append(("memory after the first vector", f"{least / 1e6:,.0f} MB", name))
    tiles = (
        f"<div><dt>{_e(what)}</dt><dd>{_e(value)}</dd><dd>{_e(whose)}</dd></div>" for what, value, whose in figures
    )
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _section(section: Section) -> str:
    drawn = f"<figure>{drawing.svg(section.drawing)}</figure>" if section.drawing else ""
    note = f'<p class="soft">{_e(section.note)}</p>' if section.note else ""
    return (
        f'<section><h2>{_e(section.title)}</h2>{note}<div class="pair{" both" if drawn else ""}">{drawn}'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{_e(section.title)}: table">'
        f"{_table(section.table)}</div></div></section>"
    )


def _table(table: Table) -> str:
    titles = "".join(f'<th scope="col">{_e(title)}</th>' for title in table.titles)
    rows = "".join(
        f'<tr><th scope="row">{_e(name)}</th>{"".join(f"<td>{_e(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in table.rows
    )
    words = ' class="words"' if len(table.titles) == 2 else ""
    return f"<table{words}><thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"


def _callout(said: str, *, quiet: bool) -> str:
    return f"<section{'' if quiet else ' class=warn'}>{_e(said)}</section>"


def _list_section(title: str, items: Iterable[str]) -> str:
    """`items` are HTML."""
    lines: Sequence[str] = [f"<li>{item}</li>" for item in items]
    return f"<section><h2>{_e(title)}</h2><ul>{''.join(lines)}</ul></section>" if lines else ""
