"""A user's outcome file -> what models did with prompts, and what it cost.

A line of JSONL (or .jsonl.gz) is {"text" or "messages", "outcomes": {model: 0 to 1}} and may have
"cost_usd": {model: USD} or "usage": {model: {"prompt_tokens", "completion_tokens"}}, and "group":
prompts of one group stay on one side when a baseline is trained. A faulty line is named and left
out.

A completion's price is its cost_usd, else its usage at list prices. Where the file tells neither
for any, the list prices of a completion of an assumed length stand in, which the report says. What
has no price is unknown, never 0.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from fareway.asks import Needs
from fareway.errors import BadRequest
from fareway.policy import Policy
from fareway.prices import NANO, Price, Usage
from fareway.render import render
from fareway.rows import Row, jsonl_rows
from models.evaluation.curves import Floats, Integers

PricedBy = Literal["file", "list", "nothing"]
MOST_USD = 1_000_000  # of one completion: more is a mistake, and sums stay within 64 bits
#: The token counts of a `usage`, as fareway.prices names them.
COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Entry:
    """One prompt, and what is known of each model that was asked it."""

    messages: Sequence[Mapping[str, Any]]
    outcomes: Mapping[str, float]
    cost_usd: Mapping[str, Decimal]
    usage: Mapping[str, Usage]
    group: str


@dataclass(frozen=True)
class Outcomes:
    """What M models did with N prompts.

    Args:
        outcomes: (M, N), 0 to 1; nan where a model was not asked.
        nano_usd: (M, N) what the completions cost; 0 where `priced` is false.
        priced: (M, N) whether the cost is known.
        priced_by: the file's own costs or usage, list prices of an assumed length, or nothing.
    """

    texts: list[str]
    groups: list[str]
    models: tuple[str, ...]
    outcomes: Floats
    nano_usd: Integers
    priced: np.ndarray[Any, np.dtype[np.bool_]]
    priced_by: PricedBy

    def of(self, *models: str) -> tuple[Integers, Floats, Integers | None]:
        """Models -> the n prompts that all of them were asked, (m, n) outcomes and (m, n) costs.

        Where some of these prompts are priced for all models, the others are left out; where none
        are, or the last model costs nothing to compare with, the costs are None.
        """
        rows = [self.models.index(model) for model in models]
        asked = ~np.isnan(self.outcomes[rows]).any(0)
        priced = asked & self.priced[rows].all(0)
        places = np.flatnonzero(priced if priced.any() else asked)
        cells = np.ix_(rows, places)
        nano_usd = self.nano_usd[cells]
        told = bool(priced.any() and nano_usd[-1].any())
        return places, self.outcomes[cells], nano_usd if told else None

    def mean(self, model: str) -> float:
        return float(np.nanmean(self.outcomes[self.models.index(model)]))

    def asked(self, model: str) -> int:
        return int((~np.isnan(self.outcomes[self.models.index(model)])).sum())

    def usd_per_call(self, model: str) -> Decimal | None:
        """The mean cost of its priced completions."""
        row = self.models.index(model)
        calls = int(self.priced[row].sum())
        return int(self.nano_usd[row].sum()) * NANO / calls if calls else None


def read_outcomes(file: Path, policy: Policy, fault: Callable[[str], None]) -> Outcomes:
    """An outcome file -> its outcomes; `fault` hears of each line that is left out.

    Raises:
        BadRequest: no line is left.
        OSError: it cannot be read.
    """
    entries = []
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        for row in jsonl_rows(cast(Iterable[bytes], lines)):
            try:
                entries.append(entry_of(row))
            except ValueError as error:
                fault(str(error))
    if not entries:
        raise BadRequest(f"{file}: no line has a prompt and outcomes")
    return collect(entries, policy)


def entry_of(row: Row) -> Entry:
    """A line -> its entry.

    Raises:
        ValueError: what is wrong with it, by its number.
    """
    if row.messages is None:
        raise ValueError(row.fault)
    try:
        outcomes = _by_model(row.entry, "outcomes", _outcome)
        if not outcomes:
            raise ValueError("it has no 'outcomes'")
        group = row.entry.get("group")
        return Entry(
            messages=row.messages,
            outcomes=outcomes,
            cost_usd=_by_model(row.entry, "cost_usd", _money),
            usage=_by_model(row.entry, "usage", _usage),
            group=render(row.messages) if group is None else str(group),
        )
    except ValueError as error:
        raise ValueError(f"line {row.number}: {error}") from error


def collect(
    entries: Sequence[Entry], policy: Policy, listed_as: Mapping[str, str] | None = None
) -> Outcomes:
    """Entries -> one table.

    Args:
        listed_as: model -> its name in the price list, where the two differ.
    """
    models = tuple(sorted({model for entry in entries for model in entry.outcomes}))
    prices = {m: policy.prices.find((listed_as or {}).get(m, m)) for m in models}
    told = any(entry.cost_usd or entry.usage for entry in entries)
    shape = (len(models), len(entries))
    outcomes, nano_usd = np.full(shape, np.nan), np.zeros(shape, np.int64)
    priced = np.zeros(shape, bool)
    for place, entry in enumerate(entries):
        assumed = None if told else _assumed(entry, policy)
        for row, model in enumerate(models):
            outcomes[row, place] = entry.outcomes.get(model, np.nan)
            cost = _cost(entry, model, prices[model], assumed)
            if cost is not None and model in entry.outcomes:
                priced[row, place], nano_usd[row, place] = True, round(cost / NANO)
    by: PricedBy = "nothing" if not priced.any() else "file" if told else "list"
    return Outcomes(
        texts=[render(entry.messages) for entry in entries],
        groups=[entry.group for entry in entries],
        models=models,
        outcomes=outcomes,
        nano_usd=nano_usd,
        priced=priced,
        priced_by=by,
    )


def _cost(entry: Entry, model: str, price: Price | None, assumed: Usage | None) -> Decimal | None:
    if model in entry.cost_usd:
        return entry.cost_usd[model]
    usage = entry.usage.get(model, assumed)
    return None if usage is None or price is None else price.cost_usd(usage)


def _assumed(entry: Entry, policy: Policy) -> Usage:
    """The tokens that the router itself assumes for a cost bound."""
    needs = Needs.of({"messages": entry.messages}, None, 1)
    return Usage(needs.prompt_tokens, policy.expected_completion_tokens, estimated=True)


def _by_model(
    entry: Mapping[str, Any], name: str, value_of: Callable[[Any], Any]
) -> dict[str, Any]:
    """A column's values by model; null is not known."""
    given = entry.get(name) or {}
    if not isinstance(given, dict):
        raise ValueError(f"its {name!r} is not an object of models")
    values = {}
    for model, value in given.items():
        try:
            if value is not None:
                values[model] = value_of(value)
        except ValueError as error:
            raise ValueError(f"its {name!r} of {model!r} is {error}") from error
    return values


def _outcome(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"no number from 0 to 1: {value!r}")
    return float(value)


def _money(value: Any) -> Decimal:
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        cost = Decimal("NaN")
    if isinstance(value, bool) or not cost.is_finite() or not 0 <= cost < MOST_USD:
        raise ValueError(f"no amount of USD: {value!r}")
    return cost


def _usage(value: Any) -> Usage:
    counts = {n: value.get(n, 0) for n in COUNTS} if isinstance(value, dict) else {}
    if not counts or not set(COUNTS[:2]) <= value.keys() or not _all_counts(counts.values()):
        raise ValueError("no object of prompt_tokens and completion_tokens")
    return Usage(**counts)


def _all_counts(values: Iterable[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)
