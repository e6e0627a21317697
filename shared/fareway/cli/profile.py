"""`fareway profile`: what routing would make of a log of prompts, before anyone commits."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from fareway.classify import Classifier
from fareway.cli.console import err, out, progress_bar, stop
from fareway.cli.report import print_sheets
from fareway.cli.score import CHUNK, CORES, PolicyFile, Workers
from fareway.errors import BadRequest, ClassifierUnavailable, ConfigError
from fareway.logged import read_log
from fareway.policy import load_policy
from fareway.profile import Profile, Profiler
from fareway.profile_sheets import profile_page, profile_sheets
from fareway.settings import Settings


def profile(
    file: Annotated[
        Path,
        typer.Argument(
            exists=True,
            dir_okay=False,
            help="JSON lines (chat requests, request and response, a batch's input, or objects "
            "with `messages` or `prompt`), or .csv with such columns.",
        ),
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write a page with charts to this file as well.")
    ] = None,
    examples: Annotated[
        bool, typer.Option(help="Show three shortened prompts of each tier.")
    ] = True,
    workers: Workers = CORES,
    policy_file: PolicyFile = None,
) -> None:
    """Tier shares, cost by model set and savings of a log of prompts. Nothing is sent anywhere."""
    begun = time.monotonic()
    try:
        settings = Settings.from_env()
        policy = load_policy(policy_file or settings.policy_file)
        classifier = Classifier.load(settings.classifier_dir)
        found = _profiled(file, Profiler(policy, classifier, examples, workers))
    except ConfigError as error:
        stop("\n  ".join(["the configuration has faults:", *error.faults]))
    except (BadRequest, ClassifierUnavailable) as error:
        stop(error.message)
    except OSError as error:
        stop(f"{file}: {error.strerror}")
    if not found.requests:
        stop("\n  ".join([f"{file}: none of {found.faulty} rows could be read", *found.faults]))
    sheets = profile_sheets(found, policy, time.monotonic() - begun)
    print_sheets(sheets, out)
    if html:
        try:
            html.write_text(profile_page(file.name, found, sheets), encoding="utf-8")
        except OSError as error:
            stop(f"{html}: {error.strerror}")
        err.print(f"written: {html}", markup=False, highlight=False)


def _profiled(file: Path, profiler: Profiler) -> Profile:
    with file.open("rb") as source, progress_bar() as progress:
        rows = read_log(source, str(file))
        task = progress.add_task("bytes read", total=file.stat().st_size)
        while chunk := list(islice(rows, CHUNK)):
            profiler.add(chunk)
            progress.update(task, completed=source.tell())
    return profiler.profile()
