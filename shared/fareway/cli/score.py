"""`fareway classify` and `fareway route`: score one prompt, or a JSONL file of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from fareway.asks import Bounds, Needs
from fareway.classify import Classifier
from fareway.cli.console import out, progress_bar, stop
from fareway.decide import Decision, decide
from fareway.errors import ClassifierUnavailable, ConfigError
from fareway.policy import Policy, load_policy
from fareway.render import render, render_prompt
from fareway.rows import jsonl_rows
from fareway.settings import Settings
from fareway.verdict import Verdict

#: Rows scored at a time: memory stays flat, and the progress bar moves.
CHUNK = 256
CORES = os.cpu_count() or 1

Jsonl = Annotated[
    Path | None,
    typer.Option(
        "--jsonl",
        exists=True,
        dir_okay=False,
        help='A file of lines: {"id", "text"} or {"id", "messages"}.',
    ),
]
Out = Annotated[Path | None, typer.Option("--out", dir_okay=False, help="Where the rows go.")]
Prompt = Annotated[str | None, typer.Argument(help="One prompt.")]
Workers = Annotated[int, typer.Option(min=1, help="Prompts scored side by side; else a core each.")]
PolicyFile = Annotated[Path | None, typer.Option("--policy", help="Another policy.toml.")]


def classify(
    prompt: Prompt = None,
    jsonl: Jsonl = None,
    out_file: Out = None,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Complexity and sensitivity of a prompt, or of each line of a JSONL file."""
    classifier, policy = _load(policy_file)

    def row(messages: Sequence[Mapping[str, Any]], verdict: Verdict) -> dict[str, Any]:
        return _scores(verdict, _decision(policy, messages, verdict))

    _run(prompt, jsonl, out_file, Scoring(classifier, row, workers))


def route(
    prompt: Prompt = None,
    jsonl: Jsonl = None,
    out_file: Out = None,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Where a prompt would go and why; no call is made and no key is needed."""
    classifier, policy = _load(policy_file)

    def row(messages: Sequence[Mapping[str, Any]], verdict: Verdict) -> dict[str, Any]:
        decision = _decision(policy, messages, verdict)
        return _scores(verdict, decision) | {
            "lane": decision.lane,
            "model": decision.candidates[0].model,
            "reason": decision.reason,
        }

    if prompt is None:
        _run(None, jsonl, out_file, Scoring(classifier, row, workers))
    else:
        verdict = classifier.score(render_prompt(prompt))
        messages = [{"role": "user", "content": prompt}]
        _explain(policy, verdict, _decision(policy, messages, verdict))


def _load(policy_file: Path | None) -> tuple[Classifier, Policy]:
    try:
        settings = Settings.from_env()
        policy = load_policy(policy_file or settings.policy_file)
        return Classifier.load(settings.classifier_dir), policy
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    except ClassifierUnavailable as error:
        stop(error.message)


def _decision(policy: Policy, messages: Sequence[Mapping[str, Any]], verdict: Verdict) -> Decision:
    needs = Needs.of({"messages": messages}, None, 1)
    return decide(policy, policy.aggregators, verdict, Bounds(), needs)


def _scores(verdict: Verdict, decision: Decision) -> dict[str, Any]:
    p = {f"p{c}": round(p, 5) for c, p in enumerate(verdict.probabilities, start=1)}
    return {
        "complexity": decision.complexity,
        **p,
        "sensitivity": round(verdict.sensitivity, 5),
        "tier": decision.tier,
    }


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a prompt becomes a row: who scores it, and what the row says."""

    classifier: Classifier
    row: Callable[[Sequence[Mapping[str, Any]], Verdict], dict[str, Any]]
    workers: int


def _run(prompt: str | None, jsonl: Path | None, out_file: Path | None, scoring: Scoring) -> None:
    if (prompt is None) == (jsonl is None):
        stop("give one prompt in quotes, or --jsonl FILE")
    if prompt is not None:
        verdict = scoring.classifier.score(render_prompt(prompt))
        out.print_json(data=scoring.row([{"role": "user", "content": prompt}], verdict))
        return
    assert jsonl is not None
    faults = _score_file(jsonl, out_file, scoring)
    if faults:
        stop(f"{faults} lines could not be scored; their rows have an 'error'")


def _score_file(jsonl: Path, out_file: Path | None, scoring: Scoring) -> int:
    """Writes a row for each line, in the file's order -> how many could not be scored."""
    faults = 0
    with ExitStack() as stack:
        source = stack.enter_context(jsonl.open("rb"))
        total = sum(1 for line in source if line.strip())
        source.seek(0)
        target = stack.enter_context(out_file.open("w", encoding="utf-8")) if out_file else None
        progress = stack.enter_context(progress_bar())
        task = progress.add_task("scoring", total=total)
        lines = jsonl_rows(source)
        while chunk := list(islice(lines, CHUNK)):
            texts = [render(line.messages) for line in chunk if line.messages is not None]
            verdicts = iter(scoring.classifier.score_many(texts, workers=scoring.workers))
            for line in chunk:
                result: dict[str, Any] = {"id": line.entry.get("id")}
                if line.messages is None:
                    faults += 1
                    result["error"] = line.fault
                else:
                    result |= scoring.row(line.messages, next(verdicts))
                print(json.dumps(result), file=target)
            progress.advance(task, len(chunk))
    return faults


def _explain(policy: Policy, verdict: Verdict, decision: Decision) -> None:
    """The decision for a person to read."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    shares = "  ".join(f"{c}: {p:.0%}" for c, p in enumerate(verdict.probabilities, start=1))
    table.add_row(
        "complexity", f"[bold]{decision.complexity}[/] of 5   (score {verdict.score:.2f}; {shares})"
    )
    table.add_row(
        "sensitivity", f"{verdict.sensitivity:.2f}   (threshold {policy.sensitivity.threshold:g})"
    )
    table.add_row("tier", f"[bold]{decision.tier}[/]   ({decision.lane} lane)")
    table.add_row("because", escape(decision.reason))
    for position, candidate in enumerate(decision.candidates[:6]):
        price = candidate.price
        rates = f"{price.input:f} / {price.output:f} USD per Mtok" if price else "unpriced"
        label = "candidates" if position == 0 else ""
        table.add_row(
            label, f"{position + 1}. {candidate.model} at {candidate.aggregator}   [dim]{rates}[/]"
        )
    table.add_row("versions", f"[dim]policy {policy.version}, classifier {verdict.classifier}[/]")
    out.print(table, highlight=False)
