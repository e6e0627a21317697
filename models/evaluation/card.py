"""The public data -> every number of the model card: table, held-out scores, measures, plots."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from fareway.policy import Policy
from models.evaluation import plots, tables
from models.evaluation.compare import without_curves
from models.evaluation.routers import Say

ROOT = Path(__file__).parents[2]


def card(data: Path, classifier: Path, policy: Policy, cache: Path, say: Say) -> dict[str, Any]:
    """The folder of public data -> what models.training.evaluate measures of a classifier on it.

    Args:
        classifier: a classifier's folder.
        cache: a folder for the table, and for vectors that are slow to make.

    Raises:
        CalledProcessError: the table could not be made; why is on stderr.
    """
    from models.training.evaluate import evaluate
    from models.training.table import read

    table = cache.resolve() / "table.jsonl.gz"
    say("the table")
    prepare = ("-m", "models.training.prepare", "--data", str(data.resolve()), "--out", str(table))
    subprocess.run([sys.executable, *prepare], cwd=ROOT, check=True, stdout=sys.stderr)
    found: dict[str, Any] = evaluate(read(table), classifier, policy, cache, say)
    return found


def write(found: Mapping[str, Any], out: Path) -> None:
    """metrics.json, and the plots."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(without_curves(found), indent=1, allow_nan=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    if compared := found.get("cost_quality"):
        plots.pair_plot(compared["pairs"], out / "quality_gap")
        if compared["tiers"]:
            plots.tier_plot(compared["tiers"], out / "cost_quality")
    if reliability := found.get("calibration", {}).get("reliability"):
        plots.reliability_plot(reliability, out / "reliability")


def shown(found: Mapping[str, Any]) -> Iterator[Table | str]:
    """The tables of all numbers."""
    for name, group in found.items():
        if name == "cost_quality":
            yield f"{tables.PRICED_BY['list']} ({group['price_version']})"
            for source, pairs in group["pairs"].items():
                for pair, measured in pairs.items():
                    yield tables.of_pair(f"{source}, {pair}", measured)
            for source, tiers in group["tiers"].items():
                yield tables.of_tiers(source, tiers)
            yield tables.LEGEND
        elif isinstance(group, Mapping):
            yield from tables.of_numbers(name, group)
        else:
            yield f"{name}: {group}"
