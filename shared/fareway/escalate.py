"""What a session has seen + its next turn -> the tier that it asks for at least. Pure.

Only upward: a complaint of an answer lifts the session one tier over what failed, a second
complaint one more; satisfied turns and idle time let it down again, a tier at a time. One answer
is counted once, by whatever way its user complains of it; who thinks better of it takes that back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fareway.asks import Needs
from fareway.decide import Lift, tier_candidates
from fareway.follow_up import FollowUp
from fareway.policy import TIERS, Policy, Tier
from fareway.policy_tables import Escalation
from fareway.prices import Usage

#: How long a provider's prompt cache is taken to last after its use, seconds. Sources:
#: platform.openai.com/docs/guides/prompt-caching (5 to 10 minutes), docs.claude.com/en/docs/
#: build-with-claude/prompt-caching (5 minutes).
WARM_S = 300
#: Answers whose complaint or praise is remembered as counted.
COUNTED = 8


@dataclass(frozen=True, slots=True)
class Answered:
    """The last answer of a session.

    Args:
        model: the policy's name of the model that answered; `aggregator` is where.
        warm_tokens: of its prompt, tokens that the provider read from its cache or wrote to it.
        at: when it was asked for, seconds since the epoch.
        said: hash of its words; None where there are none.
    """

    decision_id: str
    tier: Tier
    aggregator: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    warm_tokens: int
    at: float = 0.0
    said: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What is remembered of a session; its words are not.

    Args:
        floor: the tier below which it does not go; None: it is left to the classifier.
        calm: turns without a complaint since the floor last moved.
        at: when it was last heard of, seconds since the epoch.
        turn: hash of the last turn that was counted: sent again, it is not counted again.
        counted: decision ids of answers that were complained of, and, after a `+`, of those that
            were praised, the latest last.
        version: of the stored state; 0 where there is none.
    """

    floor: Tier | None = None
    calm: int = 0
    at: float = 0.0
    turn: str = ""
    last: Answered | None = None
    counted: tuple[str, ...] = ()
    version: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A user's turn, as far as its session is concerned.

    Args:
        said: what it says of the answer before it; None where it follows none.
        hashed: the prompt hash.
        base: the tier that would have it if nothing were remembered of the session.
        at: seconds since the epoch.
    """

    said: FollowUp | None
    hashed: str
    base: Tier
    at: float


def above(tier: Tier) -> Tier:
    """The next tier up; premium stays."""
    return TIERS[min(TIERS.index(tier) + 1, len(TIERS) - 1)]


def below(tier: Tier) -> Tier | None:
    """The next tier down as a floor; None where there is nothing to hold."""
    lower = TIERS.index(tier) - 1
    return TIERS[lower] if lower > 0 else None


def highest(*tiers: Tier | None) -> Tier:
    """The greatest of the tiers that there are; at least one is."""
    return max((t for t in tiers if t is not None), key=TIERS.index)


def after_turn(session: Session, turn: Turn, rules: Escalation) -> Session:
    """The session once its user has spoken again."""
    if turn.hashed == session.turn:
        return session
    rested = replace(_rested(session, turn.at, rules), at=turn.at, turn=turn.hashed)
    if turn.said == "complaint":
        return _complained(rested, rested.last, turn.base)
    if turn.said is None or rested.floor is None:
        return rested
    calm = rules.calm_turns if turn.said == "satisfied" else rested.calm + 1
    if calm < rules.calm_turns:
        return replace(rested, calm=calm)
    return replace(rested, calm=0, floor=below(rested.floor))


def after_rating(
    session: Session, answer: Answered, up: bool, now: float, rules: Escalation
) -> Session:
    """The session once an answer of it was rated, by whoever calls the endpoint for it."""
    rested = _rested(session, now, rules)
    if not up:
        return replace(_complained(rested, answer, answer.tier), at=now)
    praise = f"+{answer.decision_id}"
    if praise in rested.counted:
        return replace(rested, at=now)
    floor = below(rested.floor) if rested.floor else None
    return replace(_counting(rested, praise, answer.decision_id), at=now, calm=0, floor=floor)


def _complained(session: Session, answer: Answered | None, base: Tier) -> Session:
    if answer is None:
        return replace(session, calm=0, floor=above(highest(session.floor, base)))
    if answer.decision_id in session.counted:
        return session
    floor = above(highest(session.floor, answer.tier))
    counting = _counting(session, answer.decision_id, f"+{answer.decision_id}")
    return replace(counting, calm=0, floor=floor)


def _counting(session: Session, what: str, instead_of: str) -> Session:
    kept = (one for one in session.counted if one != instead_of)
    return replace(session, counted=(*kept, what)[-COUNTED:])


def _rested(session: Session, now: float, rules: Escalation) -> Session:
    """A tier down for each idle stretch since it was last heard of."""
    floor, idle_s = session.floor, now - session.at
    while floor is not None and idle_s >= rules.idle_s:
        floor, idle_s = below(floor), idle_s - rules.idle_s
    return session if floor == session.floor else replace(session, floor=floor, calm=0)


def lift(session: Session, said: FollowUp | None) -> Lift | None:
    """What the session asks for, in words."""
    if session.floor is None:
        return None
    why = "the last answer was complained of" if said == "complaint" else "an earlier complaint"
    return Lift(session.floor, f"session raised to {session.floor}: {why}")


def stay(
    policy: Policy,
    aggregators: Sequence[str],
    session: Session,
    base: Tier,
    sensitive: bool,
    needs: Needs,
    now: float,
) -> Lift | None:
    """Whether to stay where the provider has the conversation in its prompt cache.

    Moving down to a cheaper model means to pay for the whole prompt anew. Where that costs no
    less than to go on at the last answer's model, there is no reason to move.

    Args:
        base: the tier that would have the turn, what corrections and the session ask for counted.
        now: seconds since the epoch.
    """
    last = session.last
    if last is None or now - last.at > WARM_S or not last.warm_tokens:
        return None
    if TIERS.index(last.tier) <= TIERS.index(base) or needs.prompt_tokens < last.warm_tokens:
        return None
    here = tier_candidates(policy, aggregators, last.tier, sensitive)
    there = tier_candidates(policy, aggregators, base, sensitive)
    if (
        not here
        or not there
        or (here[0].aggregator, here[0].model) != (last.aggregator, last.model)
    ):
        return None
    warm = Usage(needs.prompt_tokens, last.completion_tokens, cached_tokens=last.warm_tokens)
    cold = Usage(needs.prompt_tokens, last.completion_tokens)
    assert here[0].price is not None  # the policy's models are priced
    assert there[0].price is not None
    if here[0].price.cost_usd(warm) > there[0].price.cost_usd(cold):
        return None
    return Lift(
        last.tier,
        f"kept at {last.tier}: {last.warm_tokens} tokens in {last.model}'s prompt cache make it "
        f"no dearer than {base}",
    )
