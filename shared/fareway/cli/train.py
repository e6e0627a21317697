"""`fareway train`: labelled prompts -> the shipped classifier with its heads corrected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from fareway.classify import Classifier
from fareway.cli.console import err, out, progress_bar, stop
from fareway.cli.score import CORES, Workers
from fareway.errors import BadRequest, ClassifierUnavailable, ConfigError
from fareway.policy import load_policy
from fareway.render import render
from fareway.rows import read_rows
from fareway.settings import Settings

if TYPE_CHECKING:
    from fareway.learn import Labels, Learned, Seen

CHUNK = 64  # prompts encoded between two steps of the bar


def train(
    data: Annotated[
        Path,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='Lines of {"text" or "messages", "complexity": 1 to 5} and, where known, '
            '"sensitive": true or false. `fareway label` writes such lines.',
        ),
    ],
    out_dir: Annotated[
        Path, typer.Option("--out", file_okay=False, help="Its folder, for FAREWAY_CLASSIFIER_DIR.")
    ] = Path("classifier"),
    workers: Workers = CORES,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", help="Another policy.toml.")
    ] = None,
) -> None:
    """Corrects the classifier's heads by your own labels; needs `pip install fareway\\[train]`.

    A head is changed only where it is better on rows held out.
    """
    try:
        from fareway.graft import graft
        from fareway.learn import learn
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        stop(f"{package} is missing: pip install 'fareway[train]'")
    try:
        settings = Settings.from_env()
        policy = load_policy(policy_file or settings.policy_file)
        classifier = Classifier.load(settings.classifier_dir)
        texts, labels = _read(data)
        learned = learn(policy, _seen(classifier, texts, workers), labels)
        _print(labels, learned)
        better = {name: head for name, head in learned.items() if head.compared.better}
        if not better:
            stop(
                "nothing is written: no head is better on rows held out than before, beyond chance"
            )
        notes = {"rows": len(texts), "held_out": {n: head.report for n, head in better.items()}}
        corrections = {name: head.correction for name, head in better.items()}
        version = graft(settings.classifier_dir, out_dir, corrections, notes)
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    except (BadRequest, ClassifierUnavailable) as error:
        stop(error.message)
    except OSError as error:
        stop(str(error))
    err.print(f"corrected {' and '.join(better)}; version {version}", highlight=False)
    err.print(f"to use it: FAREWAY_CLASSIFIER_DIR={out_dir}", highlight=False, soft_wrap=True)


def _read(data: Path) -> tuple[list[str], list[Labels]]:
    """The labelled rows of a file; what is wrong with the others is told."""
    from fareway.learn import read_labels

    texts, labels, unlabelled = [], [], 0
    for row in read_rows(data):
        try:
            found = read_labels(row)
        except BadRequest as error:
            err.print(f"left out: {error.message}", markup=False, highlight=False)
            continue
        if found is None or row.messages is None:
            unlabelled += 1
            continue
        texts.append(render(row.messages))
        labels.append(found)
    if unlabelled:
        err.print(f"left out: {unlabelled} rows without a complexity", highlight=False)
    return texts, labels


def _seen(classifier: Classifier, texts: list[str], workers: int) -> Seen:
    """What the classifier makes of the texts."""
    from fareway.learn import Seen

    states, complexity, sensitivity = [], [], []
    with progress_bar() as progress:
        task = progress.add_task("encoding", total=len(texts))
        for begin in range(0, len(texts), CHUNK):
            chunk = texts[begin : begin + CHUNK]
            states += list(classifier.states(classifier.tokens(chunk), workers=workers))
            for verdict in classifier.score_many(chunk, workers=workers):
                complexity.append(verdict.probabilities)
                sensitivity.append((1 - verdict.sensitivity, verdict.sensitivity))
            progress.advance(task, len(chunk))
    return Seen(texts, np.array(states, float), np.array(complexity), np.array(sensitivity))


def _print(labels: Sequence[Labels], learned: Mapping[str, Learned]) -> None:
    """The labels, and each head before and after."""
    counts = Counter(of.complexity for of in labels)
    shares = ", ".join(f"{counts[c]} of {c}" for c in range(1, 6))
    err.print(f"{len(labels)} labelled rows: {shares}", highlight=False)
    if absent := [str(c) for c in range(1, 6) if not counts[c]]:
        err.print(
            f"no row has {', '.join(absent)}: the new head will seldom say so", highlight=False
        )
    table = Table("on rows held out", "before", "after", "verdict")
    for head in learned.values():
        gain = f"{head.compared.gain:+.3f} ± {head.compared.error:.3f}"
        verdict = f"{'better' if head.compared.better else 'not better'}, {gain}"
        for position, figures in enumerate(head.report):
            table.add_row(*figures, "" if position else verdict)
        table.add_section()
    out.print(table)
    if "sensitivity" not in learned:
        err.print("sensitivity stays as it is: too few rows say whether they are sensitive")
