"""Users' opinions -> the lake, one small object each. Never on a completion's path."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fareway.aws import FAILURES, Aws
from fareway.lake import FeedbackRow, json_lines
from fareway.log import log


@dataclass(slots=True)
class Opinions:
    """Writes opinions.

    Args:
        bucket: the ledger's; empty: none are written.
        budget_s: how long a write may take, seconds.
    """

    aws: Aws
    bucket: str = ""
    budget_s: float = 1.5

    async def record(self, row: FeedbackRow) -> bool:
        """Writes one -> whether the lake has it. Never raises: sessions and votes count anyway."""
        if not self.bucket:
            return False
        try:
            async with asyncio.timeout(self.budget_s):
                s3 = await self.aws.client("s3")
                await s3.put_object(Bucket=self.bucket, Key=row.key, Body=json_lines([row]))
        except FAILURES as error:
            log("error", "feedback write failed", error=type(error).__name__)
            return False
        return True
