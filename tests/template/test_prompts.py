"""examples/prompts.csv: the demo's traffic is mixed as it claims to be."""

import csv
from collections import Counter

import pytest

from local.cloud import ROOT


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (ROOT / "examples" / "prompts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_is_whole(rows: list[dict[str, str]]) -> None:
    assert list(rows[0]) == ["id", "prompt", "kind", "language", "expected_tier"]
    assert all(value.strip() == value != "" for row in rows for value in row.values())
    assert len({row["id"] for row in rows}) == len(rows)


def test_the_mix_is_65_20_15(rows: list[dict[str, str]]) -> None:
    assert Counter(r["expected_tier"] for r in rows) == {"cheap": 65, "mid": 20, "premium": 15}


def test_the_world_speaks_more_than_english(rows: list[dict[str, str]]) -> None:
    assert len({row["language"] for row in rows}) >= 6


def test_some_prompts_come_again(rows: list[dict[str, str]]) -> None:
    again = len(rows) - len({row["prompt"] for row in rows})
    assert again >= 8


def test_a_repeat_is_expected_where_its_first_was(rows: list[dict[str, str]]) -> None:
    known = {row["prompt"]: row["expected_tier"] for row in rows}
    assert all(known[row["prompt"]] == row["expected_tier"] for row in rows)
