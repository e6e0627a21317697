"""The rollup function's door: a schedule's tick, or an event that names days -> days summed up."""

from collections.abc import Mapping
from datetime import UTC, datetime

import boto3

from fareway.athena import Athena
from fareway.rollup import Rollup, days_asked
from fareway.settings import Settings

settings = Settings.from_env()
athena = Athena(boto3.client("athena"), settings.athena_workgroup, settings.ledger_database)
rollup = Rollup(athena, boto3.client("s3"), settings.ledger_bucket)


def handler(event: Mapping[str, object], _: object) -> dict[str, int]:
    """`{"from": "2026-11-01", "to": "2026-11-30"}` makes a month; another event, what is recent."""
    return rollup.make(*days_asked(event, datetime.now(UTC).date()))
