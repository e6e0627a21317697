"""What is kept of a request once it is over: its session, its decision, its complaint.

All of it is written side by side, beside the cost event. A table that does not take it costs
memory, and the request nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from fareway.aws import FAILURES
from fareway.conversation import Conversation, answer_hash
from fareway.corrections import Corrections
from fareway.cost import CostEvent
from fareway.decide import Candidate
from fareway.decisions import Decisions, Remembered
from fareway.escalate import Answered, Session, after_turn
from fareway.explain import explained
from fareway.log import log
from fareway.policy_tables import Escalation
from fareway.record import Asked, Routed
from fareway.sessions import Sessions
from fareway.wire import Request


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request.

    Args:
        candidate: that answered; None where nothing did.
        text: its content as a client sends it back, for the session's key alone.
        completion_id: the answer's own id.
    """

    event: CostEvent
    candidate: Candidate | None = None
    text: str = ""
    completion_id: str | None = None


@dataclass(frozen=True, slots=True)
class Remembering:
    """The three memories that a request leaves something in."""

    rules: Escalation
    sessions: Sessions
    decisions: Decisions
    corrections: Corrections

    async def after(self, asked: Asked[Request], routed: Routed, outcome: Outcome) -> int:
        """Keeps what is to be kept -> how many of the writes failed. Never raises."""
        if not (self.decisions.table or self.sessions.table):
            return 0
        answer = _answered(routed, outcome)
        key = _session_key(asked.conversation, outcome)
        kept = await asyncio.gather(
            self._decision(asked, routed, outcome, key, answer),
            self._session(routed, key, answer),
            self._complaint(asked, routed),
            return_exceptions=True,
        )
        for error in kept:
            if isinstance(error, BaseException):  # a bug: it must not lose what was answered
                log("error", "memory failed", error=type(error).__name__)
        return len(kept) - kept.count(True)

    async def _decision(
        self,
        asked: Asked[Request],
        routed: Routed,
        outcome: Outcome,
        session: str | None,
        answer: Answered | None,
    ) -> bool:
        if not self.decisions.table:
            return True
        talk, found, entry = asked.conversation, routed.found, routed.found.entry
        # a derivative's own entry lives on when those that led to it are gone
        own = (found.key,) if entry and found.key and found.key != entry.root else ()
        one = Remembered(
            routed.decision_id,
            explained(routed, asked.bounds, outcome.event),
            answer,
            entry.root if entry else None,
            (*entry.bands, *own) if entry else (),
            session,
            talk.voice if talk else "",
            outcome.completion_id,
        )
        return await self.decisions.keep(asked.caller.tenant_hash, one)

    async def _session(self, routed: Routed, key: str | None, answer: Answered | None) -> bool:
        turn = routed.turn
        if key is None or turn is None or not self.sessions.table:
            return True

        def change(session: Session) -> Session:
            heard = after_turn(session, turn, self.rules)
            return replace(heard, last=answer) if answer else heard

        return (
            await self.sessions.change(key, change, routed.found.session or Session()) is not None
        )

    async def _complaint(self, asked: Asked[Request], routed: Routed) -> bool:
        """A complaint of the answer before is a vote on its prompt."""
        before, turn, talk = routed.found.session, routed.turn, asked.conversation
        if not (turn and turn.said == "complaint" and talk and before and before.last):
            return True
        last = before.last
        if turn.hashed == before.turn or last.decision_id in before.counted:
            return True
        if talk.is_after_another(last.said):
            return True  # it is of an answer of another conversation of this session
        try:
            failed = await self.decisions.get(asked.caller.tenant_hash, last.decision_id)
        except FAILURES:
            return False
        if failed is None or failed.key is None:
            return True
        vote = self.corrections.vote(failed.key, failed.bands, last.tier, talk.voice, up=False)
        return await vote is not None


def _answered(routed: Routed, outcome: Outcome) -> Answered | None:
    event, candidate = outcome.event, outcome.candidate
    if candidate is None or candidate.tier is None:
        return None
    return Answered(
        routed.decision_id,
        candidate.tier,
        candidate.aggregator,
        candidate.model,
        event.prompt_tokens or 0,
        event.completion_tokens or 0,
        (event.cached_tokens or 0) + (event.cache_write_tokens or 0),
        routed.turn.at if routed.turn else 0.0,
        answer_hash(outcome.text),
    )


def _session_key(talk: Conversation | None, outcome: Outcome) -> str | None:
    """Where the next turn will look; the state of before moves there with the first answer."""
    return talk.key_after(outcome.text) if talk else None
