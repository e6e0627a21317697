"""A request -> the decision of it: what the prompt is, what is remembered, what is allowed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

from fareway.asks import Needs
from fareway.cache import prompt_hash
from fareway.conversation import Conversation
from fareway.decide import PREFIX, Lift, complexity_of, decide, pass_through, pinned_tier
from fareway.errors import FarewayError
from fareway.escalate import Session, Turn, after_turn, highest, lift, stay
from fareway.explore import Asks, explore, luck_of
from fareway.follow_up import FollowUp, follow_up
from fareway.policy import Policy, Tier
from fareway.record import Asked, Routed, Shadowed
from fareway.verdicts import Found, Prompt, Verdicts
from fareway.wire import ChatRequest


@dataclass(frozen=True, slots=True)
class Judge:
    """The way to a decision.

    Args:
        aggregators: names of those that can be called, in the policy's order.
        now: seconds since the epoch.
        shadow: a policy that decides too, for a share of requests, and acts on none.
    """

    policy: Policy
    verdicts: Verdicts
    aggregators: tuple[str, ...]
    now: Callable[[], float] = time.time
    shadow: Policy | None = None

    async def route(self, asked: Asked[ChatRequest]) -> Routed:
        """The decision, without the call.

        Raises:
            ModelNotFound: an unknown `fareway/...` model.
            BadRequest: nothing within the request's bounds fits.
        """
        chat, talk = asked.request, asked.conversation
        needs = Needs.of(chat.body, chat.max_completion_tokens, chat.choices)
        hashed = prompt_hash(asked.caller.tenant, chat.body)
        decision_id = f"dec_{uuid.uuid4().hex}"
        if not chat.model.startswith(PREFIX):
            decision = pass_through(self.policy, self.aggregators, chat.model)
            return Routed(decision_id, decision, hashed, needs)
        pin = pinned_tier(chat.model)
        session_key = talk.key if talk else None
        prompt = Prompt(asked.caller.tenant, chat.body, hashed, session_key)
        found = await self.verdicts.of(prompt, alone=asked.alone)
        turn = Turn(self._said(chat, found), hashed, self._base(found), self.now())
        session = after_turn(found.session or Session(), turn, self.policy.escalation)
        lifts = self._lifts(found, turn, session, needs, talk)
        asks = (self.aggregators, found.verdict, asked.bounds, needs, pin, lifts)
        decision = decide(self.policy, *asks)
        decision = explore(self.policy, decision, luck_of(decision_id, "explore"), *asks)
        if found.hit == "derivative":
            first, *others = decision.reasons
            told = (f"{first}, that of a prompt which this one repeats", *others)
            decision = replace(decision, reasons=told)
        shadow = self._shadow(decision_id, asks)
        return Routed(decision_id, decision, hashed, needs, found, turn, session, shadow)

    def _shadow(self, decision_id: str, asks: Asks) -> Shadowed | None:
        """What the shadow policy would do with what was asked."""
        if self.shadow is None or luck_of(decision_id, "shadow") >= self.policy.shadow.share:
            return None
        try:
            tier = decide(self.shadow, *asks).tier
        except FarewayError:  # nothing of its models fits
            tier = None
        return Shadowed(self.shadow.version, tier)

    def _said(self, chat: ChatRequest, found: Found) -> FollowUp | None:
        """What the turn says of the answer before it."""
        said, before = follow_up(chat.messages), found.session
        if said is None and before and before.last:
            # Of a client that sends no history the answer before is the session's.
            *earlier, last = chat.messages
            said = follow_up([*earlier, {"role": "assistant", "content": "…"}, last])
        return said

    def _base(self, found: Found) -> Tier:
        """The tier that would have the prompt if it stood alone."""
        if found.verdict is None:
            return self.policy.unclassified_tier
        return highest(self.policy.tier(complexity_of(self.policy, found.verdict)), found.raised)

    def _lifts(
        self, found: Found, turn: Turn, session: Session, needs: Needs, talk: Conversation | None
    ) -> list[Lift]:
        """What corrections and the session ask for, in order."""
        lifts = []
        if found.raised:
            lifts.append(Lift(found.raised, f"raised to {found.raised}: users complained of it"))
        if floor := lift(session, turn.said):
            lifts.append(floor)
        last = found.session.last if found.session else None
        if (
            found.session
            and last
            and found.verdict
            and not (talk and talk.is_after_another(last.said))
        ):
            base = highest(turn.base, session.floor)
            sensitive = found.verdict.sensitivity >= self.policy.sensitivity.threshold
            warm = stay(
                self.policy, self.aggregators, found.session, base, sensitive, needs, turn.at
            )
            lifts += [warm] if warm else []
        return lifts
