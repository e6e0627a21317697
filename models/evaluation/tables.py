"""What was measured -> tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from rich.table import Table

from fareway.policy import TIERS

#: What sends a prompt to its tier whatever the cuts are.
STILL = ("oracle", *(f"always-{tier}" for tier in TIERS))
WIDEST = 8  # columns of a table of whatever there is
LEGEND = (
    "cost: over that of always calling the strong model, or premium. equal quality: the least cost "
    "at which theirs is reached; at 95 %: that much of the gap. Below each: its 95 % interval"
)
PRICED_BY = {
    "file": "costs are the file's own (its cost_usd, or its usage at list prices)",
    "list": "costs are not told: list prices of completions of an assumed length, the same for all",
    "nothing": "no cost is known of any model: only shares of calls are told",
}


def of_report(found: Mapping[str, Any]) -> Iterator[Table | str]:
    """Of report.report: the models, each pair, and the tiers."""
    stands_for: dict[str, list[str]] = {}
    for tier, model in found["tiers"]["models"].items():
        stands_for.setdefault(model, []).append(tier)
    table = _table("The models", ("model", "tier"), ("prompts", "mean outcome", "USD per 1,000"))
    for name, model in found["models"].items():
        usd = model["usd_per_call"]
        table.add_row(
            name,
            ", ".join(stands_for.get(name, ())),
            str(model["prompts"]),
            f"{model['quality']:.3f}",
            "unpriced" if usd is None else f"{Decimal(usd) * 1000:.4f}",
        )
    yield table
    yield f"{PRICED_BY[found['priced_by']]} ({found['price_version']})"
    for pair in found["pairs"]:
        yield of_pair(f"{pair['weak']} > {pair['strong']}", pair)
    yield of_tiers("Our tiers, at the policy's cuts", found["tiers"])
    yield LEGEND


def of_pair(title: str, found: Mapping[str, Any]) -> Table:
    """Of compare.cost_quality."""
    alone, prompts = found["only_strong"], found["prompts"]
    table = _table(
        f"{title}: {prompts} prompts, of which only the strong model did {alone}",
        ("router",),
        ("AUC", "APGR", "CPT50", "CPT80", "equal quality", "at 95 %"),
    )
    for name, router in found["routers"].items():
        table.add_row(
            _bold(name),
            _interval(router["auc"], "{:.3f}"),
            _interval(router["apgr"], "{:.3f}"),
            _interval(router["cpt50"], "{:.0f}"),
            _interval(router["cpt80"], "{:.0f}"),
            *_costs(router),
        )
    return table


def of_tiers(title: str, found: Mapping[str, Any]) -> Table:
    """Of compare.tier_quality, and the models that stand for the tiers."""
    measured = found["measured"]
    shares = ", ".join(
        f"{share:.0%} {tier} ({found['models'][tier]})"
        for tier, share in zip(TIERS, measured["shares"], strict=True)
    )
    table = _table(
        f"{title}: {measured['prompts']} prompts, {shares}",
        ("router",),
        ("mean outcome", "cost", "equal quality", "at 95 %"),
    )
    for name, router in measured["routers"].items():
        table.add_row(
            _bold(name),
            _interval(router["quality"], "{:.3f}"),
            _cost(router, "cost", "{:.1%}"),
            *(("", "") if name in STILL else _costs(router)),
        )
    return table


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _costs(router: Mapping[str, Any]) -> tuple[str, str]:
    return _cost(router, "cost_equal", "{:.0%}"), _cost(router, "cost_95", "{:.0%}")


def _cost(router: Mapping[str, Any], name: str, form: str) -> str:
    return _interval(router[name], form) if name in router else "unpriced"


def _interval(measured: list[float | None], form: str) -> str:
    value, low, high = measured
    if value is None:
        return "not told"
    if low is None or high is None or low == value == high:
        return form.format(value)
    return f"{form.format(value)}\n[dim]{form.format(low)}-{form.format(high)}[/]"


def _bold(name: str) -> str:
    return f"[bold]{name}[/]" if name == "fareway" else name


def of_numbers(title: str, found: Mapping[str, Any]) -> Iterator[Table]:
    """Of models.training.evaluate: a table of each group of numbers, whatever there is.

    What is there to be drawn, lists of lists, is left out.
    """
    groups = {name: value for name, value in found.items() if isinstance(value, Mapping)}
    plain = {name: v for name, v in found.items() if name not in groups and not _drawn(v)}
    columns = list(dict.fromkeys(column for group in groups.values() for column in group))
    if groups and not plain and not any(map(_deep, groups.values())) and len(columns) <= WIDEST:
        table = _table(title, ("",), tuple(columns))
        for name, group in groups.items():
            table.add_row(_bold(name), *(_number(group.get(column)) for column in columns))
        yield table
        return
    if plain:
        table = _table(title, ("",), ("",))
        table.show_header = False
        for name, value in plain.items():
            table.add_row(name, _number(value))
        yield table
    for name, group in groups.items():
        yield from of_numbers(f"{title}, {name}", group)


def _deep(group: Mapping[str, Any]) -> bool:
    return any(isinstance(value, Mapping) or _drawn(value) for value in group.values())


def _drawn(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, list) for part in value)


def _number(value: Any) -> str:
    if isinstance(value, list):
        return " / ".join(map(_number, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
