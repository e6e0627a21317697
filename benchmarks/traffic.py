"""Synthetic but realistic traffic: a seed -> the cost events, arrivals and opinions of some weeks.

Sessions of tenants with keys and tags, by the hour of the day; prompts of a hidden difficulty that
the classifier sees through noise; tiers, models and prices of the shipped policy; aggregators that
fail and are failed over; streams; users who complain of what did not suffice; events that arrive
twice, days late, or both. Nothing of it was measured: it has the shape of traffic, not its truth.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from fareway.bill import Bill, bill
from fareway.cost import CostEvent
from fareway.explore import luck_of
from fareway.lake import FeedbackRow
from fareway.policy import TIERS, Policy, Tier, load_policy
from fareway.prices import Usage
from fareway.settings import Settings

#: How busy each hour is (UTC), beside the others.
HOURS = (2, 1, 1, 1, 1, 2, 4, 8, 12, 14, 14, 13, 12, 14, 15, 14, 12, 10, 8, 7, 6, 5, 4, 3)
#: Key -> tenant, tags, share of the traffic.
KEYS = {
    "k-shop": ("shop", {"team": "support", "app": "chat"}, 40),
    "k-shop-mail": ("shop", {"team": "support", "app": "mail"}, 15),
    "k-code": ("forge", {"team": "engineering"}, 25),
    "k-batch": ("forge", {"team": "engineering", "app": "nightly"}, 10),
    "k-trial": ("trial", {}, 10),
}
#: Tier -> the difficulty (1 to 5) up to which its answers satisfy.
REACH: dict[Tier, float] = {"cheap": 2.6, "mid": 4.2, "premium": 5.0}
#: What a direct caller asks for; the last is known to no price list.
DIRECT = ("gpt-5", "claude-sonnet-5.5", "acme/unlisted-1")


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event, and the day on which Firehose wrote it."""

    event: CostEvent
    day: date

    def record(self) -> dict[str, object]:
        return {**self.event.record(), "dt": self.day.isoformat()}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened.

    Args:
        events: each once, in no order.
        arrivals: as the lake has them: some twice, some late.
    """

    events: list[CostEvent]
    arrivals: list[Arrival]
    opinions: list[FeedbackRow]


@dataclass(slots=True)
class _Talk:
    """A session on its way."""

    session_hash: str
    key_id: str
    at: datetime
    difficulty: float
    floor: Tier | None = None
    failed: bool | None = None  # whether the last answer did; None before there is one
    history_tokens: int = 0


@dataclass(slots=True)
class Generator:
    """Makes traffic.

    Args:
        days: how many, from `first`.
    """

    seed: int
    first: date
    days: int
    policy: Policy = field(default_factory=lambda: load_policy(Settings().policy_file))
    draw: random.Random = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)

    def traffic(self, events: int) -> Traffic:
        """As many events as asked, with what arrived of them, and users' opinions."""
        happened: list[CostEvent] = []
        opinions: list[FeedbackRow] = []
        while len(happened) < events:
            for event, failed in self._session():
                happened.append(event)
                opinions += self._opinions(event, failed)
        happened = happened[:events]
        known = {event.decision_id for event in happened}
        opinions = [opinion for opinion in opinions if opinion.decision_id in known]
        return Traffic(happened, [a for e in happened for a in self._arrivals(e)], opinions)

    def _session(self) -> Iterator[tuple[CostEvent, bool]]:
        """Each turn of a session, and whether its answer failed its user."""
        draw = self.draw
        day = self.first + timedelta(days=draw.randrange(self.days))
        hour = draw.choices(range(24), HOURS)[0]
        at = datetime(day.year, day.month, day.day, hour, draw.randrange(60), tzinfo=UTC)
        key = draw.choices(list(KEYS), [share for *_, share in KEYS.values()])[0]
        talk = _Talk(f"{draw.getrandbits(64):016x}", key, at, 1 + 4 * draw.betavariate(1.2, 2.4))
        for _ in range(min(8, 1 + int(draw.expovariate(0.8)))):
            event = self._direct(talk) if draw.random() < 0.04 else self._turn(talk)
            yield event, bool(talk.failed)
            talk.at += timedelta(seconds=draw.uniform(20, 400))
            talk.difficulty = min(5.0, max(1.0, talk.difficulty + draw.gauss(0, 0.5)))

    def _turn(self, talk: _Talk) -> CostEvent:
        draw, policy = self.draw, self.policy
        said = None
        if talk.failed is not None:
            complains = 0.6 if talk.failed else 0.03
            said = (
                "complaint" if draw.random() < complains else draw.choice(("neutral", "satisfied"))
            )
        score = round(min(5.0, max(1.0, talk.difficulty + draw.gauss(0, 0.45))), 4)
        complexity = policy.complexity(score)
        base = policy.tier(complexity)
        if said == "complaint":
            talk.floor = TIERS[min(2, TIERS.index(talk.floor or base) + 1)]
        tier = max(base, talk.floor or base, key=TIERS.index)
        sensitive = draw.random() < 0.04
        lane = "sensitive" if sensitive else "standard"
        if sensitive:
            tier = "premium"
        hit = draw.choices(("none", "local", "table", "derivative"), (60, 12, 20, 8))[0]
        asked = draw.choices(("fareway/auto", f"fareway/{tier}"), (97, 3))[0]
        lifted = tier != base and not sensitive
        free = not lifted and not sensitive and asked == "fareway/auto"
        explored = free and luck_of(f"{talk.session_hash}{talk.at}", "explore") < 0.02
        if explored:
            tier = "mid" if tier != "mid" else draw.choice(("cheap", "premium"))
        names = policy.tiers[tier].sensitive if sensitive else policy.tiers[tier].models
        event = self._event(
            talk,
            tier=tier,
            lane=lane,
            complexity=complexity,
            score=score,
            **_chances(score),
            sensitivity=0.8 if sensitive else 0.02,
            cache_hit=hit,
            follow_up=said,
            session_floor=talk.floor,
            escalated=lifted,
            raised=tier if lifted and draw.random() < 0.05 else None,
            explored=explored,
            requested_model=asked,
            classifier_ms=0.0 if hit in ("local", "table") else self._ms(6, 0.4),
            cache_ms=self._ms(0.02, 0.5) if hit == "local" else self._ms(4, 0.4),
            reason=f"complexity {complexity} (score {score:.2f})",
        )
        answered = self._answered(event, names)
        if answered.status == 200:
            talk.failed = talk.difficulty > REACH[tier] + draw.gauss(0, 0.3)
        return answered

    def _direct(self, talk: _Talk) -> CostEvent:
        model = self.draw.choices(DIRECT, (6, 3, 1))[0]
        event = self._event(talk, requested_model=model, reason="passed through")
        return self._answered(event, [model])

    def _event(self, talk: _Talk, **fields: object) -> CostEvent:
        self._count += 1
        tenant, tags, _ = KEYS[talk.key_id]
        values: dict[str, object] = {
            "decision_id": f"dec_{self.seed}_{self._count:07d}",
            "occurred_at": talk.at.isoformat(timespec="milliseconds"),
            "tenant_hash": f"{tenant:0<16}",
            "key_id": talk.key_id,
            "tags": json.dumps(tags, sort_keys=True) if tags else None,
            "session_hash": talk.session_hash,
            "prompt_hash": f"{self.draw.getrandbits(128):032x}",
            **dict.fromkeys(("p1", "p2", "p3", "p4", "p5", "score", "complexity")),
            "sensitivity": None,
            "tier": None,
            "lane": "direct",
            "cache_hit": "none",
            "raised": None,
            "follow_up": None,
            "session_floor": None,
            "escalated": False,
            "propensity": None,
            "explored": False,
            "shadow_policy": None,
            "shadow_tier": None,
            "stream": self.draw.random() < 0.35,
            "classifier_ms": 0.0,
            "cache_ms": 0.0,
            "policy_version": self.policy.version,
            "classifier_version": "synthetic",
            "price_version": self.policy.prices.version,
            **dict.fromkeys(("served_model", "aggregator", "first_token_ms")),
            **dict.fromkeys(("prompt_tokens", "cached_tokens", "cache_write_tokens")),
            **dict.fromkeys(("completion_tokens", "reasoning_tokens", "audio_tokens")),
            **dict.fromkeys(("cost_usd", "cost_source", "baseline_usd")),
            "attempts": 0,
            "failovers": 0,
            "upstream_ms": 0.0,
            "total_ms": 0.0,
            "status": 200,
            **fields,
        }
        return CostEvent(**values)  # type: ignore[arg-type]

    def _answered(self, event: CostEvent, names: list[str]) -> CostEvent:
        """The event with what its candidates did: answers, failovers, failures."""
        draw, attempts, failovers, upstream_ms = self.draw, 0, 0, 0.0
        own = self._ms(3, 0.3) + event.classifier_ms + event.cache_ms
        candidates = [(a, name) for name in names for a in self.policy.aggregators]
        for aggregator, name in candidates[:4]:
            fails = draw.random() < self._failing(aggregator, event.occurred_at)
            attempts += 1 + (fails and draw.random() < 0.7)
            spent = self._ms(900, 0.6)
            upstream_ms += spent
            if fails:
                failovers += 1
                continue
            usage, bill_, served = self._billed(event, aggregator, name)
            left = draw.random() < 0.004
            return replace(
                event,
                served_model=served,
                aggregator=aggregator,
                attempts=attempts,
                failovers=failovers,
                prompt_tokens=usage.prompt_tokens,
                cached_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
                completion_tokens=usage.completion_tokens,
                reasoning_tokens=usage.reasoning_tokens,
                audio_tokens=0,
                cost_usd=bill_.cost_usd,
                cost_source=bill_.source,
                baseline_usd=bill_.baseline_usd,
                first_token_ms=round(own + spent * 0.3, 3) if event.stream else None,
                upstream_ms=round(upstream_ms, 3),
                total_ms=round(upstream_ms + own, 3),
                status=499 if left else 200,
            )
        return replace(
            event,
            attempts=attempts,
            failovers=failovers,
            upstream_ms=round(upstream_ms, 3),
            total_ms=round(upstream_ms + own, 3),
            status=502,
        )

    def _failing(self, aggregator: str, occurred_at: str) -> float:
        """Tokenmix has a bad morning each Monday, and both do in its worst hour."""
        at = datetime.fromisoformat(occurred_at)
        if at.weekday() == 0 and at.hour == 9:
            return 0.7
        if at.weekday() == 0 and 8 <= at.hour <= 11 and aggregator == "tokenmix":
            return 0.9
        return 0.03 if aggregator == "tokenmix" else 0.015

    def _billed(self, event: CostEvent, aggregator: str, name: str) -> tuple[Usage, Bill, str]:
        draw, policy = self.draw, self.policy
        model = policy.models.get(name)
        served = model.ids.get(aggregator, name) if model else name
        prompt = int(min(190_000, draw.lognormvariate(5.6, 1.3))) + 8
        # However hard it seemed, one answer in eight is a word or a line.
        length = 3.0 if draw.random() < 0.12 else 4.6 + 0.3 * (event.complexity or 2)
        completion = int(min(8_000, draw.lognormvariate(length, 0.9))) + 1
        cached = (
            int(prompt * draw.uniform(0.3, 0.9)) if prompt > 1_024 and draw.random() < 0.5 else 0
        )
        written = min(prompt - cached, 512) if "claude" in served and cached else 0
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=int(completion * 0.6) if "gpt-5" in served else 0,
            estimated=draw.random() < 0.01,
        )
        price = policy.prices.find(served)
        told = None
        if aggregator == "openrouter" and price and draw.random() < 0.9:
            # One in fifty is charged above the list, as a price that rose a while ago is.
            told = price.cost_usd(usage) * (Decimal("1.1") if draw.random() < 0.02 else 1)
        return (
            usage,
            bill(usage, told, served, None, policy.prices, policy.baseline_price()),
            served,
        )

    def _arrivals(self, event: CostEvent) -> Iterator[Arrival]:
        draw = self.draw
        day = date.fromisoformat(event.occurred_at[:10])
        late = timedelta(days=draw.randint(1, 3) if draw.random() < 0.005 else 0)
        yield Arrival(event, day + late)
        if draw.random() < 0.01:
            yield Arrival(event, day + timedelta(days=draw.choice((0, 0, 1, 3))))

    def _opinions(self, event: CostEvent, failed: bool) -> Iterator[FeedbackRow]:
        draw = self.draw
        if event.status != 200 or event.tier is None or draw.random() > 0.03:
            return
        at = datetime.fromisoformat(event.occurred_at) + timedelta(seconds=15)
        ratings = ["down" if failed else "up"]
        if draw.random() < 0.1:  # who changes their mind
            ratings.append("up" if failed else "down")
        for number, rating in enumerate(ratings):
            yield FeedbackRow(
                decision_id=event.decision_id,
                occurred_at=(at + timedelta(seconds=number)).isoformat(timespec="milliseconds"),
                tenant_hash=event.tenant_hash,
                rating=rating,
                score=None,
                reason="wrong" if rating == "down" else None,
            )

    def _ms(self, median: float, spread: float) -> float:
        return round(median * self.draw.lognormvariate(0, spread), 3)


def _chances(score: float) -> dict[str, float]:
    """Probabilities of the two complexities beside a score, of which it is the expectation."""
    low = min(4, int(score))
    return {f"p{c}": 0.0 for c in range(1, 6)} | {
        f"p{low}": low + 1 - score,
        f"p{low + 1}": score - low,
    }
