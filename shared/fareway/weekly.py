"""The ledger's last weeks -> a proposal and its report in S3. Nothing is applied."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import boto3

from fareway.athena import Athena, load_query
from fareway.evidence import Row
from fareway.log import log
from fareway.policy_store import policy_in_force
from fareway.proposal import Proposal, propose
from fareway.settings import Settings

#: Days of the ledger that are read.
DAYS = 28
_TYPES = {"json": "application/json", "md": "text/markdown", "svg": "image/svg+xml"}


def ledger_rows(settings: Settings, first: date, last: date) -> list[Row]:
    """The routed requests of some days (UTC, both ends included).

    Raises:
        QueryFailed, ClientError, BotoCoreError: Athena could not answer.
    """
    client = boto3.client("athena")
    athena = Athena(client, settings.athena_workgroup, settings.ledger_database)
    return list(athena.run(load_query("tuner", first, last)))


def weekly(settings: Settings, today: date) -> dict[str, Any]:
    """Writes `proposals/<day>/` into the ledger's bucket -> what was found, in short.

    Raises:
        As `ledger_rows`; ClientError, BotoCoreError: the bucket does not take a file.
    """
    rows = ledger_rows(settings, today - timedelta(days=DAYS), today)
    made = propose(rows, policy_in_force(settings), today)
    s3 = boto3.client("s3")
    for name, text in made.files.items():
        s3.put_object(
            Bucket=settings.ledger_bucket,
            Key=f"proposals/{today.isoformat()}/{name}",
            Body=text.encode(),
            ContentType=_TYPES.get(name.rsplit(".", 1)[-1], "text/plain"),
        )
    return _told(made)


def _told(made: Proposal) -> dict[str, Any]:
    found = made.tuning
    told = {
        "proposed": made.version,
        "why": found.why,
        "requests": found.requests,
        "explored": found.explored,
    }
    log("info", "tuned", **told)
    return told
