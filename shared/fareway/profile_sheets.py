"""A profile -> its tables for the terminal, and its page."""

from __future__ import annotations

from collections.abc import Iterator

from fareway.chart import bars
from fareway.policy import TIERS, Policy
from fareway.profile import LENGTHS, PREMIUM, Profile, Range
from fareway.report_html import document
from fareway.sheet import Sheet

SHARES, COSTS = "Where the prompts would go", "What they would cost"


def profile_sheets(found: Profile, policy: Policy, seconds: float) -> list[Sheet]:
    """All tables; one with nothing to tell is left out.

    Args:
        seconds: that it took.
    """
    sheets = [
        _shares(found),
        _costs(found, policy),
        Sheet("Examples", "Three prompts of each tier, by lot.", ("tier", "prompt"), [
            (tier, text) for tier, texts in found.examples.items() for text in texts
        ], names=2),
        Sheet("Fields understood", "", ("field", "rows"), [
            (name, f"{rows:,}") for name, rows in sorted(found.fields.items())
        ]),
        Sheet("Rows that could not be read", "The first of them.", (), [
            (fault,) for fault in found.faults
        ]),
        Sheet("In all", "", (), list(_totals(found, seconds))),
    ]  # fmt: skip
    return [sheet for sheet in sheets if sheet.rows]


def profile_page(name: str, found: Profile, sheets: list[Sheet]) -> str:
    """One self-contained HTML file.

    Args:
        name: of the file that was read.
    """
    routed = found.sets[0]
    shares = [
        (f"{tier}, {lane}, {model}", float(way.requests), f"{way.requests / found.requests:.1%}")
        for (tier, lane, model), way in found.ways.items()
    ]
    costs = [(one.name, one.usd.value, f"{one.usd.value:.4f} USD") for one in found.sets]
    facts = [
        ("requests", f"{found.requests:,}"),
        ("by the policy's tiers", f"{routed.usd.value:.4f} USD"),
        ("less than all-premium", _share(routed.saving)),
        ("sensitive", f"{found.sensitive / found.requests:.1%}"),
    ]
    charts = {
        SHARES: bars("Requests by tier, lane and model", shares),
        COSTS: bars("Cost by model set", costs),
    }
    return document(f"Fareway: {name}", facts, sheets, charts)


def _shares(found: Profile) -> Sheet:
    rows = [
        (
            tier if lane == "standard" else f"{tier}, {lane}",
            model,
            f"{way.requests:,}",
            f"{way.requests / found.requests:.1%}",
            f"{way.nano_usd / 1e9:.6f}",
        )
        for (tier, lane, model), way in found.ways.items()
    ]
    return Sheet(SHARES, "", ("tier", "model", "requests", "share", "USD"), rows, 2)


def _costs(found: Profile, policy: Policy) -> Sheet:
    about = (
        "At list prices, the same tokens at every model. Saved against all-premium; in brackets a "
        "90 % interval by resampling the rows"
    )
    if assumed := found.lengths.get("assumed", 0):
        least, expected, most = (int(policy.expected_completion_tokens * part) for part in LENGTHS)
        about += (
            f", from {least} to {most} tokens an answer: the log does not tell the length of "
            f"{assumed:,} answers, {expected} are assumed, or their limit where it is lower"
        )
    rows = [
        (
            f"{one.name} ({one.model})" if one.model else one.name,
            _span(one.usd, found.requests),
            "" if one.name == PREMIUM else _share(one.saving),
        )
        for one in found.sets
    ]
    return Sheet(COSTS, f"{about}.", ("model set", "USD of 1,000 requests", "saved"), rows)


def _totals(found: Profile, seconds: float) -> Iterator[tuple[str, str]]:
    yield "requests", f"{found.requests:,}"
    for tier in TIERS:
        in_tier = sum(way.requests for (name, _, _), way in found.ways.items() if name == tier)
        yield tier, f"{in_tier / found.requests:.1%}"
    yield "sensitive", f"{found.sensitive:,} ({found.sensitive / found.requests:.1%})"
    lengths = (f"{found.lengths[kind]:,} {kind}" for kind in sorted(found.lengths))
    yield "lengths of answers", ", ".join(lengths)
    for name in ("prompt_tokens", "completion_tokens"):
        tokens = sum(getattr(way, name) for way in found.ways.values())
        yield name.replace("_", " "), f"{tokens:,}"
    if found.faulty:
        yield "rows that could not be read", f"{found.faulty:,}"
    yield "time", f"{seconds:.1f} s, {1000 * seconds / found.requests:.1f} ms a prompt"
    for one in found.sets[:2]:
        yield f"cost of {one.name}", f"{one.usd.value:.6f} USD"
    yield "saved", _share(found.sets[0].saving)


def _share(saving: Range) -> str:
    return f"{saving.value:z.1%} ({saving.low:z.1%} to {saving.high:z.1%})"


def _span(usd: Range, requests: int) -> str:
    value, low, high = (n * 1000 / requests for n in (usd.value, usd.low, usd.high))
    return f"{value:.4f}" if low == high else f"{value:.4f} ({low:.4f} to {high:.4f})"
