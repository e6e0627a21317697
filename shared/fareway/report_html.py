"""A report as one self-contained HTML file: charts, tables, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from fareway.athena import Row
from fareway.chart import bars, columns
from fareway.report import Details, Report, saved_share, usd
from fareway.sheet import Sheet, days

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2530;--soft:#5b6875;--paper:#fff;--line:#dde3e9;
--c0:#2f6f9f;--c1:#8cc5a2}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#a3afba;--paper:#14191f;
--line:#2c3640;--c0:#6aa9d8;--c1:#4f9a6c}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;
max-width:60rem;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.1rem;margin:2rem 0 .25rem}
p{color:var(--soft);margin:.25rem 0}
.facts{display:flex;flex-wrap:wrap;gap:1rem;margin:1rem 0;padding:0;list-style:none}
.facts li{border:1px solid var(--line);border-radius:.5rem;padding:.5rem 1rem}
.facts b{display:block;font-size:1.4rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.875rem;margin:.5rem 0}
th,td{border-bottom:1px solid var(--line);padding:.25rem .5rem;text-align:left}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
svg{width:100%;height:auto;margin:.5rem 0}svg text{font-size:12px;fill:var(--soft)}
.grid{stroke:var(--line)}
.c0{fill:var(--c0);background:var(--c0)}.c1{fill:var(--c1);background:var(--c1)}
.legend{display:flex;gap:1rem;margin:0;padding:0;list-style:none;font-size:.875rem}
.legend i{display:inline-block;width:.75rem;height:.75rem;margin-right:.4rem}
"""


def page(figures: Report, behind: Details, sheets: Sequence[Sheet]) -> str:
    """The whole document.

    Args:
        sheets: the tables; what happened by day goes first, and a chart before its table.
    """
    title = f"Fareway: {days(figures.first, figures.last)}"
    ordered = sorted(sheets, key=lambda sheet: sheet.title != "By day")
    return document(title, _facts(figures), ordered, _charts(figures, behind))


def document(
    title: str,
    facts: Sequence[tuple[str, str]],
    sheets: Sequence[Sheet],
    charts: Mapping[str, str],
) -> str:
    """A page of tables.

    Args:
        facts: name and value of what goes first; without a value it is left out.
        charts: a sheet's title -> the SVG that stands before its table.
    """
    shown = "".join(f"<li><b>{escape(v)}</b>{escape(name)}</li>" for name, v in facts if v)
    body = "".join(_section(sheet, charts.get(sheet.title, "")) for sheet in sheets)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body><main><h1>{escape(title)}</h1><ul class="facts">{shown}</ul>{body}</main></body>'
        "</html>\n"
    )


def _facts(figures: Report) -> list[tuple[str, str]]:
    totals, share = figures.totals, saved_share(figures.totals)
    saved = usd(totals, "baseline_usd") - usd(totals, "cost_usd")
    return [
        ("spent", f"{usd(totals, 'cost_usd'):.2f} USD"),
        ("saved", f"{saved:.2f} USD"),
        ("less than all-premium", "" if share is None else f"{share:.1%}"),
        ("requests", f"{figures.requests:,}"),
    ]


def _charts(figures: Report, behind: Details) -> dict[str, str]:
    """A sheet's title -> its chart."""
    by_day = behind.by_day
    spent = [float(usd(row, "cost_usd")) for row in by_day]
    # A day that cost more than its baseline saved nothing; its table says how much it lost.
    saved = [
        max(0.0, float(usd(row, "baseline_usd")) - s) for row, s in zip(by_day, spent, strict=True)
    ]
    return {
        "By day": columns(
            "Spent and saved by day",
            [str(row["day"])[5:] for row in by_day],
            [("spent", spent), ("saved", saved)],
            "USD",
        ),
        "Where the prompts went": bars(
            "Requests by tier and lane",
            [
                (f"{row['tier']}, {row['lane']}", float(row["requests"] or 0), str(row["requests"]))
                for row in figures.by_tier
            ],
        ),
        "Who answered": bars("Spent by model", _by_cost(figures.by_model)),
        "Answers that did not suffice": bars(
            "Share of judged answers that failed, by tier and model", _failed(behind.failed_tiers)
        ),
    }


def _by_cost(rows: Iterable[Row]) -> list[tuple[str, float, str]]:
    spent: dict[str, float] = {}
    for row in rows:
        if row["cost_usd"] is not None:
            name = str(row["served_model"])
            spent[name] = spent.get(name, 0.0) + float(usd(row, "cost_usd"))
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return [(name, amount, f"{amount:.4f} USD") for name, amount in ordered]


def _failed(rows: Iterable[Row]) -> list[tuple[str, float, str]]:
    shares = []
    for row in rows:
        if judged := int(row["judged"] or 0):
            share = int(row["failed"] or 0) / judged
            shares.append((f"{row['tier']}, {row['served_model']}", share, f"{share:.1%}"))
    return shares


def _section(sheet: Sheet, chart: str) -> str:
    about = f"<p>{escape(sheet.about)}</p>" if sheet.about else ""
    head = "".join(
        f'<th scope="col"{_figure(i, sheet)}>{escape(name)}</th>'
        for i, name in enumerate(sheet.headings)
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td{_figure(i, sheet)}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in sheet.rows
    )
    table = (
        f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{rows}</tbody></table>"
    )
    return (
        f"<section><h2>{escape(sheet.title)}</h2>{about}{chart}"
        f'<div class="wide" tabindex="0">{table}</div></section>'
    )


def _figure(column: int, sheet: Sheet) -> str:
    return ' class="n"' if column >= sheet.names and sheet.headings else ""
