"""CostEvent -> Firehose -> Parquet in S3. If Firehose fails: S3. If S3 fails: one log line.

Each fallback can be read back with `fareway replay-events`; an event that arrives twice has the
same `decision_id`, and the queries count it once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from fareway.aws import Aws
from fareway.cost import COLUMNS, CostEvent
from fareway.log import log

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_s3 import S3Client

FALLBACK_PREFIX = "ledger-fallback/"
LOG_MESSAGE = "ledger event"
_FAILURES = (BotoCoreError, ClientError, TimeoutError, OSError)


@dataclass(slots=True)
class Ledger:
    """Records events, in the best place that takes them.

    Args:
        stream: Firehose delivery stream; empty: straight to the fallbacks.
        bucket: S3 bucket of the fallback objects; empty: straight to the log.
        budget_s: how long each of the two may take, seconds.
        rest_s: how long a stream that failed is left alone, seconds.
    """

    aws: Aws
    stream: str
    bucket: str
    budget_s: float
    rest_s: float = 10.0
    clock: Callable[[], float] = time.monotonic
    _stream_again_at: float = field(default=0.0)

    async def record(self, event: CostEvent) -> str:
        """Records one event -> where it went: `firehose`, `s3` or `log`. Never raises."""
        record = event.record()
        if self.stream and self.clock() >= self._stream_again_at:
            try:
                async with asyncio.timeout(self.budget_s):
                    firehose = await self.aws.client("firehose")
                    await firehose.put_record(
                        DeliveryStreamName=self.stream, Record={"Data": line(record)}
                    )
                return "firehose"
            except _FAILURES as error:
                self._stream_again_at = self.clock() + self.rest_s
                log("error", "ledger stream failed", error=type(error).__name__)
        if self.bucket:
            try:
                async with asyncio.timeout(self.budget_s):
                    s3 = await self.aws.client("s3")
                    await s3.put_object(
                        Bucket=self.bucket,
                        Key=f"{FALLBACK_PREFIX}{event.occurred_at[:10]}/{event.decision_id}.json",
                        Body=line(record),
                    )
                return "s3"
            except _FAILURES as error:
                log("error", "ledger fallback failed", error=type(error).__name__)
        # With neither of them set up, as under `fareway serve`, the log is the ledger.
        log("error" if self.stream or self.bucket else "info", LOG_MESSAGE, event=record)
        return "log"


def line(record: dict[str, Any]) -> bytes:
    """One record as the stream takes it: a JSON object and a newline."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


# Reading the fallbacks back; never on the request path.


def events_in_log(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events in log lines, however CloudWatch wrapped them; other lines are passed over.

    An event of an older version may lack columns that came later; they are null in the table.
    """
    for text in lines:
        start = text.find("{")
        if start < 0 or LOG_MESSAGE not in text:
            continue
        try:
            entry = json.loads(text[start:])
        except ValueError:
            continue
        if LOG_MESSAGE not in entry.get("message", ""):
            continue
        if "event" not in entry:  # CloudWatch's own JSON with our line inside
            yield from events_in_log([entry["message"]])
        elif "decision_id" in entry["event"] and set(entry["event"]) <= set(COLUMNS):
            yield entry["event"]


def replay(firehose: FirehoseClient, stream: str, records: Iterable[dict[str, Any]]) -> int:
    """Puts records into the stream, up to 100 a call; those refused are sent again.

    Firehose takes 500 a call; MiniStack writes each by itself, and would take minutes for so many.

    Raises:
        ClientError, BotoCoreError: the stream does not take them; nothing was deleted yet.
        RuntimeError: it went on refusing some of them.
    """
    sent, batch = 0, list[bytes]()
    for record in records:
        batch.append(line(record))
        if len(batch) == 100:
            sent += _put_batch(firehose, stream, batch)
            batch = []
    return sent + (_put_batch(firehose, stream, batch) if batch else 0)


def _put_batch(firehose: FirehoseClient, stream: str, batch: list[bytes]) -> int:
    left = batch
    for _ in range(5):
        answer = firehose.put_record_batch(
            DeliveryStreamName=stream, Records=[{"Data": data} for data in left]
        )
        outcomes = answer["RequestResponses"]
        left = [d for d, o in zip(left, outcomes, strict=True) if o.get("ErrorCode")]
        if not left:
            return len(batch)
    raise RuntimeError(f"the stream {stream} goes on refusing {len(left)} records")


def replay_bucket(firehose: FirehoseClient, stream: str, s3: S3Client, bucket: str) -> int:
    """Replays every fallback object and deletes it once it is in the stream -> how many."""
    replayed = 0
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=FALLBACK_PREFIX)
    for page in pages:
        keys = [entry["Key"] for entry in page.get("Contents", [])]
        bodies = (s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys)
        replayed += replay(firehose, stream, map(json.loads, bodies))
        for key in keys:
            s3.delete_object(Bucket=bucket, Key=key)
    return replayed
