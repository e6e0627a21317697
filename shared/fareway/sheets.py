"""Figures -> tables of text, which the terminal and the HTML page both show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from fareway.athena import Row
from fareway.prices import PriceTable
from fareway.report import Details, Report, saved_share, usd
from fareway.reprice import Repriced, reconciled
from fareway.sheet import Sheet, days, ms_text, percent_text, usd_text

#: Wasted calls that are shown; the sums tell of all.
SHOWN = 10


def main_sheets(figures: Report, against: tuple[str, Repriced] | None = None) -> list[Sheet]:
    """Where the prompts went, who answered, and all in all.

    Args:
        against: another baseline's name, and all requests at its price.
    """
    return [
        _money("Where the prompts went", "", figures.by_tier, ("tier", "lane")),
        _money("Who answered", "", figures.by_model, ("served_model", "aggregator")),
        Sheet(f"In all, {days(figures.first, figures.last)}", "", (), _totals(figures, against)),
    ]


def detail_sheets(figures: Details, prices: PriceTable) -> list[Sheet]:
    """What is behind the totals; a table with nothing to tell is left out."""
    sheets = [
        _money("By day", "", figures.by_day, ("day",)),
        _money("By key", "", figures.by_key, ("key_id",)),
        _money("By tag", "A request counts for each of its key's tags.", figures.by_tag, ("tag",)),
        _wasted(figures.wasted_premium),
        _failed(figures.failed_tiers),
        _cache(figures.cache_value),
        _classifier(figures.classifier_value),
        _reliability(figures.reliability),
        _latency(figures.latency),
        _reconciled(reconciled(figures.tokens, prices)),
        _forecast(figures.forecast),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def _money(title: str, about: str, rows: Sequence[Row], names: tuple[str, ...]) -> Sheet:
    unpriced = any(int(row["unpriced"] or 0) for row in rows)
    headings = ("requests", "USD", "all-premium", "saved", *(["unpriced"] if unpriced else []))
    return Sheet(
        title,
        about,
        (*(name.replace("_", " ") for name in names), *headings),
        [
            (
                *(str(row[name]) for name in names),
                str(row["requests"]),
                usd_text(row["cost_usd"]),
                usd_text(row["baseline_usd"]),
                percent_text(saved_share(row)),
                *([str(row["unpriced"])] if unpriced else []),
            )
            for row in rows
        ],
        len(names),
    )


def _totals(figures: Report, against: tuple[str, Repriced] | None) -> list[tuple[str, str]]:
    totals = figures.totals
    share = saved_share(totals)
    saved = usd(totals, "baseline_usd") - usd(totals, "cost_usd")
    rows = [
        ("requests in the ledger", f"{totals['requests']}, {totals['answered']} answered"),
        ("spent", f"{usd(totals, 'cost_usd'):.6f} USD"),
        ("all-premium would have cost", f"{usd(totals, 'baseline_usd'):.6f} USD"),
        ("saved", f"{saved:.6f} USD{'' if share is None else f' ({share:.1%})'}"),
        *(_against(*against) if against else ()),
        ("decision cache hits", str(totals["cache_hits"])),
        ("answered after a failover", str(totals["answered_by_failover"])),
    ]
    if int(totals["unpriced"] or 0):
        rows.append(("unpriced, not in the sums", str(totals["unpriced"])))
    if int(totals["estimated"] or 0):
        rows.append(("estimated, in the sums", str(totals["estimated"])))
    rows.append(("classifier, median", ms_text(totals["classifier_p50_ms"]) + " ms"))
    rows.append(("added by Fareway, median", ms_text(totals["overhead_p50_ms"]) + " ms"))
    return rows


def _against(model: str, all_: Repriced) -> Iterable[tuple[str, str]]:
    saved = all_.again_usd - all_.cost_usd
    share = f" ({saved / all_.again_usd:.1%})" if all_.again_usd else ""
    yield f"all at {model} would have cost", f"{all_.again_usd:.6f} USD"
    yield f"saved against {model}", f"{saved:.6f} USD{share}"
    if all_.left_out:
        yield f"not priced again at {model}", str(all_.left_out)


def _wasted(rows: Sequence[Row]) -> Sheet:
    about = ""
    if rows:
        about = (
            f"{rows[0]['calls']} calls, {usd(rows[0], 'calls_usd'):.6f} USD: short prompt, short "
            "answer, no complaint after it. The dearest:"
        )
    headings = ("when", "key", "model", "complexity", "prompt", "completion", "USD")
    return Sheet(
        "Premium calls that were probably unnecessary",
        about,
        headings,
        [
            (
                str(row["occurred_at"])[:16].replace("T", " "),
                *(str(row[name]) for name in ("key_id", "served_model")),
                f"{row['complexity']} ({float(row['score'] or 0):.2f})",
                *(str(row[name]) for name in ("prompt_tokens", "completion_tokens")),
                usd_text(row["cost_usd"]),
            )
            for row in rows[:SHOWN]
        ],
        3,
    )


def _failed(rows: Sequence[Row]) -> Sheet:
    def share(row: Row) -> float | None:
        judged = int(row["judged"] or 0)
        return int(row["failed"] or 0) / judged if judged else None

    columns = ("answered", "judged", "complaints", "lifted_after", "rated_down", "failed")
    return Sheet(
        "Answers that did not suffice",
        "Judged: the user went on after it, or rated it. Failed: a complaint came next, the "
        "session was lifted to a higher tier, or the answer was rated down.",
        ("tier", "model", *(c.replace("_", " ") for c in columns), "of judged", "USD"),
        [
            (
                str(row["tier"]),
                str(row["served_model"]),
                *(str(row[column]) for column in columns),
                percent_text(share(row)),
                usd_text(row["failed_usd"]),
            )
            for row in rows
        ],
        2,
    )


def _cache(rows: Sequence[Row]) -> Sheet:
    return Sheet(
        "Decision cache",
        "What a hit saved is the classifier's mean time on a miss, less its own.",
        ("hit", "requests", "share", "lookup ms", "classifier ms", "saved s", "saved USD"),
        [
            (
                str(row["cache_hit"]),
                str(row["requests"]),
                percent_text(float(row["share"] or 0)),
                ms_text(row["mean_cache_ms"]),
                ms_text(row["mean_classifier_ms"]),
                f"{float(row['saved_ms'] or 0) / 1000:.1f}",
                f"{float(row['saved_usd'] or 0):.6f}",
            )
            for row in rows
        ],
    )


def _classifier(rows: Sequence[Row]) -> Sheet:
    if not rows:
        return Sheet("", "", (), [])
    cost = sum(float(row["classifier_usd"] or 0) for row in rows)
    saved = sum((usd(row, "saved_usd") for row in rows), Decimal(0))
    return Sheet(
        "What classifying cost and brought",
        "",
        (),
        [
            ("prompts routed", str(_total(rows, "routed"))),
            ("of them scored by the classifier", str(_total(rows, "classified"))),
            ("Lambda time of the classifier", f"{cost:.6f} USD"),
            ("saved by routing", f"{saved:.6f} USD"),
        ],
    )


def _reliability(rows: Sequence[Row]) -> Sheet:
    columns = ("requests", "answered", "answered_by_failover", "left_early", "refused", "failed")
    by_aggregator: dict[str, list[Row]] = {}
    for row in rows:
        by_aggregator.setdefault(str(row["aggregator"]), []).append(row)
    return Sheet(
        "Failovers and failures",
        "By who answered in the end. Left early: the caller did not wait for the end.",
        ("aggregator", *(column.replace("_", " ") for column in columns), "failed, share"),
        [
            (
                name,
                *(str(_total(of_it, column)) for column in columns),
                percent_text(_total(of_it, "failed") / max(1, _total(of_it, "requests"))),
            )
            for name, of_it in sorted(
                by_aggregator.items(), key=lambda i: -_total(i[1], "requests")
            )
        ],
    )


def _latency(rows: Sequence[Row]) -> Sheet:
    columns = ("mean_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms")
    return Sheet(
        "Latency by stage, ms",
        "Of answered requests; overhead is what Fareway added.",
        ("stage", "requests", *(column.removesuffix("_ms") for column in columns)),
        [
            (str(row["stage"]), str(row["requests"]), *(ms_text(row[column]) for column in columns))
            for row in rows
        ],
    )


def _reconciled(told: Mapping[tuple[str, str], Repriced]) -> Sheet:
    return Sheet(
        "Providers' charges against list prices",
        "Where the provider said what it charged, which is what counts as spent.",
        ("aggregator", "model", "requests", "charged USD", "list USD", "difference"),
        [
            (
                aggregator,
                model,
                str(sums.requests),
                f"{sums.cost_usd:.6f}",
                f"{sums.again_usd:.6f}",
                percent_text(float(sums.cost_usd / sums.again_usd - 1)) if sums.again_usd else "",
            )
            for (aggregator, model), sums in sorted(told.items(), key=lambda i: -i[1].cost_usd)
            if sums.requests
        ],
        2,
    )


def _forecast(row: Row) -> Sheet:
    amount: Callable[[str], str] = lambda column: f"{float(row[column] or 0):.6f} USD"  # noqa: E731
    if not float(row["month_usd"] or 0):
        return Sheet("", "", (), [])
    return Sheet(
        "This month",
        "The days that are left as the mean of the last seven whole ones, as the least of them and "
        "as the most.",
        (),
        [
            ("spent through yesterday", amount("spent_usd")),
            ("days left, with today", str(row["days_left"])),
            ("forecast", amount("month_usd")),
            ("at least, at most", f"{amount('month_least_usd')}, {amount('month_most_usd')}"),
            ("all-premium would cost", amount("month_baseline_usd")),
        ],
    )


def _total(rows: Iterable[Row], column: str) -> int:
    return sum(int(row[column] or 0) for row in rows)
