"""A table of text, and how figures stand in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table.

    Args:
        about: what it tells, a sentence or two.
        headings: of the columns; empty for rows of a name and a value.
        names: how many columns, from the left, hold names; the others hold figures.
    """

    title: str
    about: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    names: int = 1


def days(first: date, last: date) -> str:
    return str(first) if first == last else f"{first} to {last}"


def usd_text(text: str | None) -> str:
    """A sum of nothing priced is not known; it is not shown as 0."""
    return "" if text is None else f"{Decimal(text):.6f}"


def ms_text(text: str | None) -> str:
    return f"{float(text or 0):.1f}"


def percent_text(share: float | None) -> str:
    return "" if share is None else f"{share:z.1%}"
