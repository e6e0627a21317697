"""`fareway eval`: the numbers of the model card, or what routing does for a user's own outcomes.

The measuring is in models/evaluation, which is in a checkout and never in a deployment.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from fareway.classify import Classifier
from fareway.cli.console import err, out, progress_bar, stop
from fareway.cli.score import CORES, Workers
from fareway.errors import BadRequest, ClassifierUnavailable, ConfigError
from fareway.policy import TIERS, Policy, Tier, load_policy
from fareway.settings import PACKAGE, Settings
from fareway.verdict import Verdict

CHUNK = 64  # prompts scored between two steps of the bar
CHECKOUT = PACKAGE.parents[1]


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="The public data: all of the model card."),
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='Your own: lines of {"text" or "messages", "outcomes": {model: 0 to 1}} and, if '
            'known, "cost_usd": {model: USD} or "usage": {model: {"prompt_tokens", '
            '"completion_tokens"}}, and "group"; or such a file as .gz.',
        ),
    ] = None,
    weak: Annotated[
        list[str] | None, typer.Option(help="With --outcomes, repeatable. Else the cheapest.")
    ] = None,
    strong: Annotated[str | None, typer.Option(help="With --outcomes. Else the best.")] = None,
    tier: Annotated[
        list[str] | None,
        typer.Option(help="With --outcomes, repeatable: cheap=MODEL, mid=MODEL, premium=MODEL."),
    ] = None,
    out_dir: Annotated[
        Path, typer.Option("--out", file_okay=False, help="Where metrics.json and the plots go.")
    ] = Path("evaluation"),
    cache: Annotated[
        Path | None, typer.Option(file_okay=False, help="Keeps what is slow to make, for later.")
    ] = None,
    workers: Workers = CORES,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", help="Another policy.toml.")
    ] = None,
) -> None:
    """Measures the router against baselines: cost and quality, with intervals and plots.

    With --data all that the model card tells; with --outcomes the classifier, as it is, on outcomes
    of your own. Needs a checkout and the extra `eval`.
    """
    if (data is None) == (outcomes is None):
        stop("give --data DIR, or --outcomes FILE")
    _find_measures()
    try:
        settings = Settings.from_env()
        policy = load_policy(policy_file or settings.policy_file)
        if data is not None:
            _card(data, settings.classifier_dir, policy, cache or out_dir / "cache", out_dir)
        elif outcomes is not None:
            models = _Models(weak or [], strong, _named(tier or []))
            classifier = Classifier.load(settings.classifier_dir)
            _report(outcomes, models, classifier, workers, policy, cache, out_dir)
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    except (BadRequest, ClassifierUnavailable) as error:
        stop(error.message)
    except (OSError, EOFError, subprocess.CalledProcessError) as error:
        stop(str(error))
    files = ", ".join(sorted(file.name for file in out_dir.iterdir() if file.is_file()))
    err.print(f"wrote {out_dir}: {files}", highlight=False, soft_wrap=True)


def _card(data: Path, classifier: Path, policy: Policy, cache: Path, out_dir: Path) -> None:
    from models.evaluation import card

    found = card.card(data, classifier, policy, cache, _say)
    card.write(found, out_dir)
    _print(card.shown(found))


@dataclass(frozen=True, slots=True)
class _Models:
    """The models that were named; the others are chosen from the file."""

    weak: Sequence[str]
    strong: str | None
    tiers: Mapping[Tier, str]


def _report(
    file: Path,
    models: _Models,
    classifier: Classifier,
    workers: int,
    policy: Policy,
    cache: Path | None,
    out_dir: Path,
) -> None:
    from models.evaluation import choice, report, tables
    from models.evaluation.outcome_file import read_outcomes

    found = read_outcomes(file, policy, lambda fault: _say(f"left out: {fault}"))
    pairs = choice.pairs_of(found, models.weak, models.strong)
    tiers = choice.tiers_of(found, models.tiers, pairs)
    verdicts = _scored(classifier, found.texts, workers)
    scores = np.array([verdict.score for verdict in verdicts])
    measured = report.report(found, scores, pairs, tiers, policy, cache, _say)
    report.write(measured, out_dir)
    _print(tables.of_report(measured))
    flagged = np.mean([v.sensitivity >= policy.sensitivity.threshold for v in verdicts])
    _say(f"{flagged:.1%} of the prompts are sensitive; that lane is left aside here")


def _scored(classifier: Classifier, texts: Sequence[str], workers: int) -> list[Verdict]:
    verdicts: list[Verdict] = []
    with progress_bar() as progress:
        task = progress.add_task("scoring", total=len(texts))
        for begin in range(0, len(texts), CHUNK):
            chunk = texts[begin : begin + CHUNK]
            verdicts += classifier.score_many(chunk, workers=workers)
            progress.advance(task, len(chunk))
    return verdicts


def _print(parts: Iterable[Any]) -> None:
    for part in parts:
        out.print(part, highlight=False)


def _say(step: str) -> None:
    err.print(step, markup=False, highlight=False, soft_wrap=True)


def _find_measures() -> None:
    """Makes models/evaluation importable, or says what is missing."""
    if not (CHECKOUT / "models" / "evaluation").is_dir():
        stop("fareway eval runs in a checkout: clone Fareway, `make setup`, `uv run fareway eval`")
    if str(CHECKOUT) not in sys.path:
        sys.path.append(str(CHECKOUT))
    try:
        import models.evaluation.card
        import models.training.evaluate  # noqa: F401
    except ModuleNotFoundError as error:
        stop(f"{error.name} is missing: `make setup`, or pip install 'fareway[eval]'")


def _named(given: Sequence[str]) -> dict[Tier, str]:
    """`cheap=MODEL` of each tier that was given."""
    named: dict[Tier, str] = {}
    for text in given:
        name, _, model = text.partition("=")
        known = next((tier for tier in TIERS if tier == name), None)
        if known is None or not model:
            raise BadRequest(f"--tier is one of {', '.join(TIERS)}, `=`, and a model; not {text!r}")
        named[known] = model
    return named
