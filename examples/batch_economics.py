"""What 10,000 items cost overnight: `python -m examples.batch_economics`. No call is made.

The shares of the tiers are the shipped classifier's on the demo's 100 prompts, taken 100 times. The
token counts are an assumption, stated and to be changed (`--prompt-tokens`, `--completion-tokens`):
500 and 350, a page with a question and an answer of a few paragraphs. Prices are the list that
ships with Fareway; what has no batch endpoint is at full price. With other shares or lengths the
sum is another one.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fareway.batch.lanes import Lane, Offers, decision_of, lane_of
from fareway.batch.rows import Row
from fareway.classify import Classifier
from fareway.policy import Policy, load_policy
from fareway.prices import Usage
from fareway.render import render
from fareway.settings import Settings

PROMPTS = Path(__file__).with_name("prompts.csv")
ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class Share:
    """The items of one lane and what they cost, USD: there, and by the same model at once."""

    lane: Lane
    items: int
    cost_usd: Decimal
    realtime_usd: Decimal


def lanes(policy: Policy, classifier: Classifier) -> list[Lane]:
    """Where each of the demo's prompts would go, if every provider and aggregator had a key."""
    with PROMPTS.open(encoding="utf-8", newline="") as file:
        rows = [
            Row(number, record["id"], [{"role": "user", "content": record["prompt"]}])
            for number, record in enumerate(csv.DictReader(file), start=2)
        ]
    offers = Offers(("openai", "anthropic"), tuple(policy.aggregators))
    verdicts = classifier.score_many([render(row.messages) for row in rows])
    return [
        lane_of(policy, offers, row, decision_of(policy, offers, row, verdict))
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def shares(found: list[Lane], items: int, prompt: int, completion: int) -> list[Share]:
    """Lanes of a sample -> the same shares of so many items, each of so many tokens."""
    told = []
    for (provider, model), count in sorted(Counter((x.provider, x.model) for x in found).items()):
        lane = next(x for x in found if (x.provider, x.model) == (provider, model))
        assert lane.price is not None
        number = items * count // len(found)
        one = lane.price.cost_usd(Usage(prompt, completion, batch=lane.batch))
        at_once = lane.price.cost_usd(Usage(prompt, completion))
        told.append(Share(lane, number, number * one, number * at_once))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--prompt-tokens", type=int, default=500)
    parser.add_argument("--completion-tokens", type=int, default=350)
    args = parser.parse_args()
    settings = Settings.from_env()
    policy = load_policy(settings.policy_file)
    found = lanes(policy, Classifier.load(settings.classifier_dir))
    parts = shares(found, args.items, args.prompt_tokens, args.completion_tokens)
    tokens = Usage(args.prompt_tokens, args.completion_tokens)
    baseline = args.items * policy.baseline_price().cost_usd(tokens)

    table = Table("tier", "model", "answered by", "items", "USD", "USD in real time")
    for part in parts:
        by = f"{part.lane.provider}, batch" if part.lane.batch else "an aggregator, in real time"
        table.add_row(
            part.lane.tier,
            part.lane.model,
            by,
            f"{part.items:,}",
            f"{part.cost_usd:.2f}",
            f"{part.realtime_usd:.2f}",
        )
    console = Console(highlight=False)
    console.print(
        f"{args.items:,} items of {args.prompt_tokens} prompt and {args.completion_tokens} "
        f"completion tokens, prices {policy.prices.version}"
    )
    console.print(table)
    cost = sum((part.cost_usd for part in parts), Decimal(0))
    realtime = sum((part.realtime_usd for part in parts), Decimal(0))
    console.print(
        f"routed, in batches {cost:.2f} USD; routed, in real time {realtime:.2f} USD; "
        f"all to {policy.baseline} in real time {baseline:.2f} USD"
    )


if __name__ == "__main__":
    main()
