"""The ledger's last days -> one object of summed-up rows for each, so that a page reads little.

A day is made anew as a whole each time, from the events that have arrived by then: late ones count,
and a run that is repeated changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from fareway.athena import LATE_DAYS, Athena, load_query
from fareway.lake import ROLLUP_PREFIX, RollupRow, json_lines

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Rollup:
    """Makes days.

    Args:
        bucket: the ledger's.
    """

    athena: Athena
    s3: S3Client
    bucket: str

    def make(self, first: date, last: date) -> dict[str, int]:
        """Makes every day from `first` to `last` (UTC, both included) -> day -> its rows.

        A day without events has no object.

        Raises:
            QueryFailed: Athena could not answer; nothing was written.
            ClientError, BotoCoreError: S3 does not take an object; days before it are written.
        """
        rows = defaultdict[str, list[RollupRow]](list)
        for row in map(RollupRow.of, self.athena.run(load_query("rollup_days", first, last))):
            rows[row.day].append(row)
        for day, of_day in rows.items():
            self.s3.put_object(
                Bucket=self.bucket,
                Key=f"{ROLLUP_PREFIX}dt={day}/rollup.json",
                Body=json_lines(of_day),
            )
        return {day: len(of_day) for day, of_day in rows.items()}


def days_asked(event: Mapping[str, object], today: date) -> tuple[date, date]:
    """The first and the last day that an event asks for.

    Args:
        event: `from` and `to`, ISO dates; without `from`: the days of which an event may have
            arrived today, or yesterday after the last run, and without `to`: up to today.

    Raises:
        ValueError: one of them is no date.
    """
    first, last = event.get("from"), event.get("to")
    return (
        date.fromisoformat(str(first)) if first else today - timedelta(days=LATE_DAYS + 1),
        date.fromisoformat(str(last)) if last else today,
    )
