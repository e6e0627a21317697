"""`fareway replay-events`: events that a fallback kept -> the ledger's stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import boto3
import typer
from botocore.exceptions import BotoCoreError, ClientError

from fareway import ledger
from fareway.cli.console import err, required, stop
from fareway.settings import Settings


def replay_events(
    log_file: Annotated[
        Path | None,
        typer.Argument(help="A file of log lines, '-' for standard input; none: the bucket's."),
    ] = None,
    stream: Annotated[str, typer.Option(help="Else FAREWAY_LEDGER_STREAM.")] = "",
    bucket: Annotated[str, typer.Option(help="Else FAREWAY_LEDGER_BUCKET.")] = "",
) -> None:
    """Sends kept events to the ledger's stream: from log lines, or from the fallback bucket.

    Safe to repeat: an event that arrives twice is counted once.
    """
    settings = Settings.from_env()
    stream = required(stream or settings.ledger_stream, "--stream", "FAREWAY_LEDGER_STREAM")
    try:
        firehose = boto3.client("firehose")
        if log_file is None:
            bucket = required(bucket or settings.ledger_bucket, "--bucket", "FAREWAY_LEDGER_BUCKET")
            count = ledger.replay_bucket(firehose, stream, boto3.client("s3"), bucket)
        elif str(log_file) == "-":
            count = ledger.replay(firehose, stream, ledger.events_in_log(sys.stdin))
        else:
            with log_file.open(encoding="utf-8", errors="replace") as lines:
                count = ledger.replay(firehose, stream, ledger.events_in_log(lines))
    except (BotoCoreError, ClientError, OSError, RuntimeError) as error:
        stop(str(error))
    err.print(f"replayed {count} events into {stream}", highlight=False)
