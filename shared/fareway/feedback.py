"""A user's opinion of an answer -> their session, a vote on the prompt, and the lake.

The body: `decision_id` or `completion_id`; `rating`, "up" or "down", or a `score` from 0 to 1, of
which less than a half is down; a `reason`. Only a reason that is one of ours is told back: users'
own words are not kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fareway.aws import FAILURES
from fareway.body import field_error, missing, parse_object
from fareway.caller import Caller
from fareway.corrections import Corrections, Tally
from fareway.decisions import Decisions, Remembered
from fareway.errors import DecisionNotFound, MemoryUnavailable
from fareway.escalate import Answered, Session, after_rating
from fareway.lake import FeedbackRow
from fareway.opinions import Opinions
from fareway.policy_tables import Escalation
from fareway.sessions import Sessions

Reason = Literal["wrong", "unclear", "incomplete", "unsafe", "too_slow", "other"]
Id = Annotated[str, Field(min_length=1, max_length=200)]


class Opinion(BaseModel):
    """What a caller says of an answer."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)
    decision_id: Id | None = None
    completion_id: Id | None = None
    rating: Literal["up", "down"] | None = None
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    reason: Annotated[str, Field(max_length=2_000)] | None = None

    @property
    def up(self) -> bool:
        if self.rating is not None:
            return self.rating == "up"
        return self.score is not None and self.score >= 0.5

    @property
    def id(self) -> str:
        """The decision's id, or the completion's."""
        return self.decision_id or self.completion_id or ""

    @property
    def known_reason(self) -> str | None:
        return self.reason if self.reason in get_args(Reason) else None


def parse_opinion(raw: bytes) -> Opinion:
    """A request body -> Opinion.

    Raises:
        BadRequest, PayloadTooLarge: naming the field that is wrong or missing.
    """
    try:
        opinion = Opinion.model_validate(parse_object(raw))
    except ValidationError as error:
        raise field_error(error) from error
    if not opinion.id:
        raise missing("decision_id")
    if opinion.rating is None and opinion.score is None:
        raise missing("rating")
    return opinion


@dataclass(frozen=True, slots=True)
class Feedback:
    """Takes opinions.

    Args:
        now: seconds since the epoch.
    """

    rules: Escalation
    sessions: Sessions
    decisions: Decisions
    corrections: Corrections
    opinions: Opinions
    now: Callable[[], float] = time.time

    async def decision(self, caller: Caller, id_: str) -> Remembered:
        """One decision of the caller's tenant, by its id or its completion's.

        Raises:
            DecisionNotFound: there is none, or it is another tenant's, or older than 30 days.
            MemoryUnavailable: the table does not answer, or there is none.
        """
        if not self.decisions.table:
            raise MemoryUnavailable(
                "This deployment remembers no decisions: set FAREWAY_DECISIONS_TABLE."
            )
        try:
            one = await self.decisions.get(caller.tenant_hash, id_)
        except FAILURES as error:
            raise MemoryUnavailable("Decisions cannot be read right now. Try again.") from error
        if one is None:
            raise DecisionNotFound(
                f"No decision or completion '{id_[:100]}' is known here. Use the "
                "x-fareway-decision-id of an answer of the last 30 days.",
                param="decision_id",
            )
        return one

    async def take(self, caller: Caller, opinion: Opinion) -> dict[str, Any]:
        """Lets an opinion count -> what it did.

        Raises:
            As `decision`.
        """
        one = await self.decision(caller, opinion.id)
        rating = "up" if opinion.up else "down"
        await self.opinions.record(
            FeedbackRow(
                decision_id=one.decision_id,
                occurred_at=datetime.fromtimestamp(self.now(), UTC).isoformat(
                    timespec="milliseconds"
                ),
                tenant_hash=caller.tenant_hash,
                rating=rating,
                score=opinion.score,
                reason=opinion.known_reason,
            )
        )
        session = await self._session(one, opinion.up)
        tally = await self._vote(one, opinion.up)
        return {
            "object": "fareway.feedback",
            "decision_id": one.decision_id,
            "rating": rating,
            "score": opinion.score,
            "reason": opinion.known_reason,
            "session_floor": session.floor if session else None,
            "votes": {"down": tally.down, "up": tally.up, "quorum": self.rules.quorum}
            if tally
            else None,
            "raised": tally.raised if tally else None,
        }

    async def _session(self, one: Remembered, up: bool) -> Session | None:
        """The session with the opinion counted; None where there is none to count it in."""
        if one.session is None or one.answer is None or not self.sessions.table:
            return None
        answer: Answered = one.answer
        changed = await self.sessions.change(
            one.session, lambda s: after_rating(s, answer, up, self.now(), self.rules)
        )
        if changed is None:
            raise MemoryUnavailable("The feedback could not be kept right now. Send it again.")
        return changed

    async def _vote(self, one: Remembered, up: bool) -> Tally | None:
        if one.key is None or one.answer is None or not self.corrections.table:
            return None
        tier = one.answer.tier
        tally = await self.corrections.vote(one.key, one.bands, tier, one.voice, up)
        if tally is None:
            raise MemoryUnavailable("The feedback could not be kept right now. Send it again.")
        return tally
