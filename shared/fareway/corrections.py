"""Votes on a prompt's answers -> the tier at which the prompt starts, for its whole tenant.

One user's displeasure raises their own session, never the tenant: only a quorum of users raises
the prompt, and only for some days. A user has one vote on a prompt at a tier, the latest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fareway.aws import FAILURES, Aws, condition_failed
from fareway.escalate import above
from fareway.log import log
from fareway.policy import TIERS, Tier
from fareway.policy_tables import Escalation


@dataclass(frozen=True, slots=True)
class Tally:
    """Users who complained and users who were glad, and what came of it."""

    down: int
    up: int
    raised: Tier | None = None


@dataclass(slots=True)
class Corrections:
    """Votes and corrections, in the table of entries.

    Args:
        table: empty: there are none.
        forget: told of the keys whose entries changed.
        budget_s: how long counting a vote may take, seconds.
        now: seconds since the epoch.
    """

    aws: Aws
    table: str
    rules: Escalation
    forget: Callable[[Sequence[str]], None]
    budget_s: float = 0.5
    now: Callable[[], float] = time.time

    async def vote(
        self, key: str, bands: Sequence[str], tier: Tier, voice: str, up: bool
    ) -> Tally | None:
        """Counts one user's vote on an answer; with a quorum, raises the prompt over its tier.

        Args:
            key: of the root of the prompts that repeat each other; `bands` are where it is found.
            tier: that answered.
            voice: who votes, hashed.

        Returns:
            None where the table did not take it.
        """
        if not self.table:
            return None
        try:
            async with asyncio.timeout(self.budget_s):
                tally = await self._count(key, tier, voice, up)
                if tally.down - tally.up < self.rules.quorum or above(tier) == tier:
                    return tally
                raised = above(tier)
                await asyncio.gather(*(self._raise(k, key, raised) for k in (key, *bands)))
        except FAILURES as error:
            log("warning", "vote failed", error=type(error).__name__)
            return None
        self.forget([key, *bands])
        return Tally(tally.down, tally.up, raised)

    async def _count(self, key: str, tier: Tier, voice: str, up: bool) -> Tally:
        """All of a prompt's votes go `hold_days` after the first; the next one begins anew."""
        mine, other = ("glad", "sorry") if up else ("sorry", "glad")
        name = f"votes:{key}:{tier}"
        try:
            votes = await self._update(
                name,
                f"ADD {mine} :voice DELETE {other} :voice "
                "SET expires_at = if_not_exists(expires_at, :gone)",
                "attribute_not_exists(expires_at) OR expires_at > :now",
                voice,
            )
        except FAILURES as error:
            if not condition_failed(error):
                raise
            votes = await self._update(
                name,
                f"SET {mine} = :voice, expires_at = :gone REMOVE {other}",
                "expires_at <= :now",
                voice,
            )
        sorry, glad = (len(votes.get(name, {}).get("SS", ())) for name in ("sorry", "glad"))
        return Tally(sorry, glad)

    async def _update(self, name: str, change: str, condition: str, voice: str) -> dict[str, Any]:
        """Changes an item of votes, where the condition holds -> the item."""
        client = await self.aws.client("dynamodb")
        answer = await client.update_item(
            TableName=self.table,
            Key={"key": {"S": name}},
            UpdateExpression=change,
            ConditionExpression=condition,
            ExpressionAttributeValues={
                ":voice": {"SS": [voice]},
                ":gone": {"N": str(self._until())},
                ":now": {"N": str(int(self.now()))},
            },
            ReturnValues="ALL_NEW",
        )
        return dict(answer["Attributes"])

    async def _raise(self, name: str, key: str, tier: Tier) -> None:
        """Marks an entry; a band's only while it still leads to this prompt."""
        client = await self.aws.client("dynamodb")
        values: dict[str, Any] = {
            ":tier": {"S": tier},
            ":top": {"S": TIERS[-1]},
            ":until": {"N": str(self._until())},
            ":now": {"N": str(int(self.now()))},
        }
        # late votes on a lower tier take nothing back
        condition = "(attribute_not_exists(raised) OR raised <> :top OR raised_until < :now)"
        if name != key:
            values[":of"] = {"S": key}
            condition += " AND root = :of"
        try:
            await client.update_item(
                TableName=self.table,
                Key={"key": {"S": name}},
                UpdateExpression="SET raised = :tier, raised_until = :until, expires_at = :until",
                ExpressionAttributeValues=values,
                ConditionExpression=condition,
            )
        except FAILURES as error:
            if not condition_failed(error):
                raise

    def _until(self) -> int:
        return int(self.now()) + self.rules.hold_days * 24 * 3600
