"""The page of evidence as HTML: a verdict, the sections, what was not run, and where everything is from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from foretell.sim.report.page import document, figure, table
from foretell.sim.report.svg import legend
from foretell.validate.charts import against, scatter, shares
from foretell.validate.evidence import ROWS, Check, Grid, Made, NotRun, Residuals, Scatter, Section, missed

LARGEST = 2_000_000
"""Bytes."""
_LINES = (
    "Full line: the forecast equals the measurement; dashed: ±10 %. Errors beyond an axis are drawn "
    "at its end. A point says what it is under the pointer; the tables have the figures."
)
_WORDS = {True: ("met", "✓ met"), False: ("missed", "✗ missed"), None: ("dim", "not measured")}


def page(sections: Sequence[tuple[Section, Made]], absent: Sequence[NotRun]) -> str:
    """Make the page; of charts with very many points only so many are drawn that it stays below LARGEST.

    Args:
        sections: what was checked, and when and with what.
        absent: what was not.

    Returns:
        HTML with its style and charts inside: no script, and nothing that a browser would load.

    """
    for drawn in (1500, 500, 150):
        made = _page(sections, absent, drawn)
        if len(made.encode()) <= LARGEST:
            break
    return made


def _page(sections: Sequence[tuple[Section, Made]], absent: Sequence[NotRun], drawn: int) -> str:
    alone = [section for section, _ in sections]
    parts = [
        '<a class="skip" href="#verdict">To the verdict</a>',
        "<header><h1>Is foretell right? What it was checked against, and how far off it is</h1>",
        f"<p>{escape(_promise(sections))}</p>{_contents(alone)}</header>",
        _verdict(alone, absent),
        *(_section(section, made, drawn) for section, made in sections),
        _coverage(alone),
        _absent(absent),
        _provenance(sections),
    ]
    return document("foretell: the evidence", "".join(parts))


def _promise(sections: Sequence[tuple[Section, Made]]) -> str:
    days = sorted({made.date[:10] for _, made in sections if made.date})
    when = f" Its figures are of {days[0]}{f' to {days[-1]}' if len(days) > 1 else ''}." if days else ""
    return (
        "foretell forecasts latency, throughput, memory and energy of servers of language models. This page "
        "sets its forecasts beside what others, and we, measured. It is made by one command from the output "
        "of the others, misses included: a target is judged by its figures, not by what a summary says of "
        f"itself.{when}"
    )


def _contents(sections: Sequence[Section]) -> str:
    links = [("verdict", "Verdict"), *((one.key, one.title) for one in sections)]
    links += [("coverage", "Intervals"), ("not-run", "Not run"), ("provenance", "Provenance")]
    items = "".join(f'<li><a href="#{key}">{escape(text)}</a></li>' for key, text in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _verdict(sections: Sequence[Section], absent: Sequence[NotRun]) -> str:
    judged = [check for section in sections for check in section.checks]
    met = [check.met for check in judged]
    rows = "".join(
        f'<tr><th scope=row><a href="#{one.key}">{escape(one.title)}</a></th><td>{escape(one.answer)}.</td>'
        f'<td class="tally">{_tally(one.checks)}</td></tr>'
        for one in sections
    )
    wrong = "".join(
        f"<li><b>{escape(one.title)}</b>{_list(_wrong(one), '')}</li>" for one in sections if any(missed(one))
    )
    left = ", ".join(one.title for one in absent)
    return (
        '<section id="verdict" aria-labelledby="verdict-h"><h2 id="verdict-h">Verdict</h2>'
        f"<p><b>{met.count(True)} of {len(met)} targets are met, {met.count(False)} missed, "
        f"{met.count(None)} not measured.</b>{escape(f' Not on this page: {left}.' if left else '')}</p>"
        + table(("checked against", "how much, and what it showed", "targets"), rows, "", "text")
        + "<h3>Where we are wrong</h3>"
        + (
            f'<ul class="wrong">{wrong}</ul>'
            if wrong
            else "<p>Nothing on this page is off by more than was asked.</p>"
        )
        + "</section>"
    )


def _wrong(section: Section) -> Iterable[str]:
    """What is missed: the targets in one line, as many as there are; then the rest."""
    targets = [f"{one.name} {one.reached} (asked {one.asked})" for one in section.checks if one.met is False]
    return [*([f"Missed targets: {'; '.join(targets)}"] if targets else []), *section.misses]


def _tally(checks: Sequence[Check]) -> str:
    if not checks:
        return '<span class="dim">none asked</span>'
    met = [check.met for check in checks]
    parts = [
        f'<span class="{style}">{text}</span>'
        for style, text, n in (
            ("met", f"✓ {met.count(True)} met", met.count(True)),
            ("missed", f"✗ {met.count(False)} missed", met.count(False)),
            ("dim", f"{met.count(None)} not measured", met.count(None)),
        )
        if n
    ]
    return "<br>".join(parts)


def _section(section: Section, made: Made, drawn: int) -> str:
    parts = [
        f'<section id="{section.key}" aria-labelledby="{section.key}-h">',
        f'<h2 id="{section.key}-h">{escape(section.title)}</h2>',
        f'<p class="answer">{escape(section.answer)}.</p>',
        f"<dl><dt>Claim</dt><dd>{escape(section.claim)}</dd><dt>How it was checked</dt>",
        *(f"<dd>{escape(text)}</dd>" for text in section.how),
        "<dt>What would have made it fail</dt>",
        f"<dd>{escape('; '.join(section.would_fail))}.</dd>",
        "<dt>Again</dt>",
        f"<dd><code>{escape(section.command)}</code></dd></dl>",
    ]
    if section.checks:
        parts += ["<h3>Against the targets</h3>", _checks(section.checks)]
    parts.append("<h3>Known misses</h3>")
    beside = "Those of the table above, and no others." if any(missed(section)) else "None."
    parts.append(_list(section.misses, beside))
    if section.charts:
        parts += [
            "<h3>Forecast and measured</h3>",
            f'<p class="dim">{_LINES}</p>',
            _charts(section.charts, drawn),
        ]
    for grid in section.grids:
        parts.append(_grid(grid))
    if section.absent:
        parts += ["<h3>Left out, and caveats</h3>", _list(section.absent, "")]
    parts.append(
        f'<p class="dim">{escape(_line(made))} Measured data: {escape(section.source)}</p></section>'
    )
    return "".join(parts)


def _line(made: Made) -> str:
    return f"Figures of {made.date or 'an unknown date'}, {made.origin}."


def _checks(checks: Sequence[Check]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(one.name)}</th><td>{escape(one.asked)}</td><td>{escape(one.reached)}</td>"
        f"<td class={_WORDS[one.met][0]}>{_WORDS[one.met][1]}</td></tr>"
        for one in checks
    )
    return table(("target", "asked", "reached", "judged"), rows, "")


def _list(lines: Iterable[str], otherwise: str) -> str:
    items = list(lines)
    more = f"<li>and {len(items) - ROWS} more</li>" if len(items) > ROWS else ""
    shown = "".join(f"<li>{escape(line)}</li>" for line in items[:ROWS])
    return f"<ul>{shown}{more}</ul>" if items else f"<p>{escape(otherwise)}</p>" if otherwise else ""


def _charts(charts: Sequence[Scatter | Residuals], drawn: int) -> str:
    parts: list[str] = []
    names: Sequence[str] = ()
    for chart in charts:
        if tuple(chart.series) != tuple(names):
            names = tuple(chart.series)
            parts += [
                "</div>" if parts else "",
                legend(names) if len(names) > 1 else "",
                '<div class="pair">',
            ]
        parts.append(figure(_drawn(chart, drawn), chart.caption))
    return f"{''.join(parts)}</div>" if parts else ""


def _drawn(chart: Scatter | Residuals, drawn: int) -> str:
    if isinstance(chart, Scatter):
        return scatter(chart.series, f"{chart.caption}: forecast over measured", 0.1, chart.unit, drawn)
    return against(chart.series, chart.caption, chart.across, chart.limit, drawn)


def _grid(grid: Grid) -> str:
    if not grid.rows:
        return ""
    rows = "".join(
        f"<tr><th scope=row>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in grid.rows[:ROWS]
    )
    more = f" (the first {ROWS} of {len(grid.rows)} rows)" if len(grid.rows) > ROWS else ""
    return table(grid.heads, rows, grid.caption + more)


def _coverage(sections: Sequence[Section]) -> str:
    found = {one.what: (one.share, one.count) for section in sections for one in section.coverage}
    body = (
        "<p>A forecast comes with an interval that should hold nine of ten measurements. How many it "
        "held, by what was measured (rows of one server are no independent draws):</p>"
        + '<div class="small">'
        + figure(shares(found, "Share of measurements inside the intervals"), "Inside the intervals")
        + "</div>"
        if found
        else "<p>No section on this page has intervals.</p>"
    )
    return _part("coverage", "Intervals: how often they held", body)


def _absent(absent: Sequence[NotRun]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(one.title)}</th><td>{escape(one.reason)}</td>"
        f"<td>{f'<code>{escape(one.command)}</code>' if one.command else '–'}</td></tr>"
        for one in absent
    )
    body = (
        table(("what", "why it is not here", "what would make it"), rows, "", "text")
        if rows
        else "<p>Everything was run.</p>"
    )
    return _part("not-run", "Not run here", body)


def _provenance(sections: Sequence[tuple[Section, Made]]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(section.title)}</th>"
        + "".join(
            f"<td>{escape(text or '–')}</td>"
            for text in (made.date, made.versions, made.machine, made.origin)
        )
        + f"<td>{escape(section.source)}</td></tr>"
        for section, made in sections
    )
    heads = ("section", "date", "versions", "machine", "figures", "measured data and licence")
    return _part("provenance", "Where every figure is from", table(heads, rows, "", "text"))


def _part(key: str, title: str, body: str) -> str:
    return (
        f'<section id="{key}" aria-labelledby="{key}-h"><h2 id="{key}-h">{escape(title)}</h2>{body}</section>'
    )
